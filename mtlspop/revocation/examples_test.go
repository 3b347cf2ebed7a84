package revocation_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"time"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

// A verifier that refuses revoked certificates. A certificate whose issuer says nothing
// of it is refused as well.
func Example_verifier() {
	roots := x509.NewCertPool() // the CAs of the clients; an empty pool is a mistake
	_, err := mtlspop.New(
		mtlspop.WithRoots(roots),
		mtlspop.WithRevocation(revocation.New(revocation.WithHosts("ocsp.ca.example", "crl.ca.example"))),
	)
	fmt.Println(err)
	// Output: mtlspop: WithRoots: the pool is empty, and would refuse every certificate
}

// A service that would rather accept than be away: the operator is told of each
// certificate about which nothing could be learnt.
func ExampleWithObserver() {
	checker, err := revocation.New(
		revocation.DangerouslyPassUnknown(),
		revocation.WithObserver(func(_ context.Context, cert *x509.Certificate, err error) {
			log.Printf("certificate %v: %v", cert.SerialNumber, err)
		}),
		revocation.WithTimeout(2*time.Second),
		revocation.WithAnswerLifetime(10*time.Minute),
	)
	fmt.Println(checker != nil, err)
	// Output: true <nil>
}

// Lists only, through the company's proxy: for CAs without OCSP.
func ExampleAskListsOnly() {
	proxy, err := url.Parse("http://proxy.internal:3128")
	if err != nil {
		log.Fatal(err)
	}
	checker, err := revocation.New(
		revocation.AskListsOnly(),
		revocation.WithProxy(http.ProxyURL(proxy)),
		revocation.WithMaxListSize(8<<20),
	)
	fmt.Println(checker != nil, err)
	// Output: true <nil>
}
