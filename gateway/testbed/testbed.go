// Package testbed answers "what stands around the gateway?": an issuer, httpbin as
// the service behind, and a CA with the certificate of a server on the loopback
// interface. It is for the tests, and for the playground that the README starts
// with.
package testbed

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/mccutchen/go-httpbin/v2/httpbin"

	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Bed is everything around one gateway.
type Bed struct {
	CA      *mtlspoptest.CA // of the servers
	Issuer  *oidctest.Issuer
	Httpbin string // its URL

	// The files of the CA's certificate, and of the gateway's certificate and key.
	CAFile, CertFile, KeyFile string

	tb testing.TB
}

// New starts a Bed whose files are in dir.
func New(tb testing.TB, dir string, opts ...oidctest.Option) *Bed {
	tb.Helper()
	b := &Bed{CA: mtlspoptest.NewCA(tb, "Testbed Root"), tb: tb}
	identity := b.CA.Issue("127.0.0.1", func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.DNSNames = []string{"localhost"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	b.startIssuer(identity.TLS(), opts)

	service := httptest.NewServer(httpbin.New())
	tb.Cleanup(service.Close)
	b.Httpbin = service.URL

	key, err := x509.MarshalPKCS8PrivateKey(identity.Key)
	if err != nil {
		tb.Fatalf("testbed: %v", err)
	}
	b.CAFile = b.writePEM(filepath.Join(dir, "ca.pem"), "CERTIFICATE", b.CA.Certificate.Raw)
	b.CertFile = b.writePEM(filepath.Join(dir, "server.crt"), "CERTIFICATE", identity.Certificate.Raw)
	b.KeyFile = b.writePEM(filepath.Join(dir, "server.key"), "PRIVATE KEY", key)
	return b
}

// startIssuer serves the issuer with a certificate of our own CA, which can be
// written to a file.
func (b *Bed) startIssuer(identity tls.Certificate, opts []oidctest.Option) {
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{identity}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	b.Issuer = oidctest.NewIssuer(b.tb, append(opts, oidctest.InMemory("https://"+server.Listener.Addr().String()+"/realms/main"))...)
	server.Config.Handler = b.Issuer
	server.StartTLS()
	b.tb.Cleanup(server.Close)
}

// Client is an HTTP client that trusts the CA, with a certificate or without one.
func (b *Bed) Client(certificate *mtlspoptest.Client) *http.Client {
	config := &tls.Config{RootCAs: b.CA.Pool(), MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.TLS()}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	b.tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// PEM is a certificate as it stands in a file.
func PEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func (b *Bed) writePEM(name, kind string, der []byte) string {
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		b.tb.Fatalf("testbed: %v", err)
	}
	return name
}
