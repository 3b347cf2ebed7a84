package mtlspop_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/keybound-go/middleware/mtlspop"
)

// A service that terminates TLS itself must ask its clients for certificates.
func ExampleRequestClientCert() {
	server := &http.Server{
		Addr:      ":8443",
		TLSConfig: mtlspop.RequestClientCert(&tls.Config{MinVersion: tls.VersionTLS13}),
	}
	fmt.Println(server.TLSConfig.ClientAuth)
	// Output: RequestClientCert
}

// Behind nginx at 10.1.2.3, which is configured with
//
//	proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
func ExampleWithForwardedCertificate() {
	v, err := mtlspop.New(mtlspop.WithForwardedCertificate(
		"X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.1.2.3/32")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.ForwardedHeaders())
	// Output: [X-Client-Cert]
}

// Roots that come from a file which changes now and then.
func ExampleWithRootsFunc() {
	var roots atomic.Pointer[x509.CertPool]
	reload := func(pem []byte) {
		pool := x509.NewCertPool()
		if pool.AppendCertsFromPEM(pem) {
			roots.Store(pool) // always a new one
		}
	}
	reload(nil) // to be called at start, and whenever the file has changed

	_, err := mtlspop.New(mtlspop.WithRootsFunc(roots.Load))
	fmt.Println(err)
	// Output: <nil>
}

// Every mistake is reported at once.
func ExampleNew() {
	_, err := mtlspop.New(
		mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.ThumbprintHex, netip.MustParsePrefix("0.0.0.0/0")),
		mtlspop.RequireValidity(),
	)
	fmt.Println(err)
	// Output:
	// mtlspop: WithForwardedCertificate: trusted prefix 0.0.0.0/0 is far too wide: there is no way to trust all addresses, or a large share of them
	// mtlspop: RequireValidity needs a certificate, and the format ThumbprintHex forwards none
}
