package revocation_test

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

func ExampleNew() {
	roots := x509.NewCertPool() // The CAs of the clients' certificates.
	checker, err := revocation.New(revocation.WithHosts("pki.example"))
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := mtlspop.New(mtlspop.WithRoots(roots), mtlspop.WithRevocation(checker, nil))
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}

func TestTheVerifierAsksTheChecker(t *testing.T) {
	root := newCA(t, nil, "root")
	says := ocsp.Good
	server := newSite(t, responder(t, root, func(*big.Int) int { return says }))
	client := issue(t, root, func(c *x509.Certificate) {
		c.OCSPServer, c.ExtKeyUsage = []string{server.URL}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	verify := func() error {
		verifier, err := mtlspop.New(mtlspop.WithRoots(pool), mtlspop.WithRevocation(newChecker(t), nil))
		require.NoError(t, err)
		r := httptest.NewRequest("GET", "https://api.example/", nil)
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{client.cert}}
		_, err = verifier.Verify(r, mtlspop.Thumbprint(client.cert))
		return err
	}
	require.NoError(t, verify())
	says = ocsp.Revoked
	require.Equal(t, mtlspop.ErrRevoked, verify())
	server.Close()
	requireUnknown(t, verify())
}

func BenchmarkCheckRemembered(b *testing.B) {
	root := newCA(b, nil, "root")
	server := newSite(b, responder(b, root, func(*big.Int) int { return ocsp.Good }))
	checker := newChecker(b, revocation.WithAnswerLifetime(1<<40))
	chain := []*x509.Certificate{issue(b, root, withOCSP(server.URL)).cert, root.cert}
	b.ReportAllocs()
	for b.Loop() {
		if err := checker.Check(b.Context(), chain); err != nil {
			b.Fatal(err)
		}
	}
}
