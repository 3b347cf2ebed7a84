package mtlspoptest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
)

// Server is an HTTPS server on a loopback address that asks every client for a
// certificate and takes any.
type Server struct {
	URL string // https://127.0.0.1:port

	tb    testing.TB
	roots *x509.CertPool
}

// NewServer starts a server for h, which is closed when the test ends. Each
// edit returns the TLS configuration to use instead of its argument, which it
// may also change: mtlspop.RequestClientCert is such a function.
func NewServer(tb testing.TB, h http.Handler, edit ...func(*tls.Config) *tls.Config) *Server {
	tb.Helper()
	ca := NewCA(tb, "Server Root")
	identity := ca.Issue("server", func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	config := &tls.Config{
		Certificates: []tls.Certificate{identity.TLS()},
		ClientAuth:   tls.RequestClientCert,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	for _, e := range edit {
		config = e(config)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("mtlspoptest: %v", err)
	}
	server := &http.Server{
		Handler:   h,
		TLSConfig: config,
		// Handshakes that fail are the business of the client's test.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeTLS(listener, "", "") // always fails, in the end with ErrServerClosed
	}()
	tb.Cleanup(func() {
		server.Close()
		<-done
	})
	return &Server{URL: "https://" + listener.Addr().String(), tb: tb, roots: ca.Pool()}
}

// Client returns an HTTP client that trusts the server and presents the
// certificate of c, or none if c is nil. It resumes TLS sessions; its
// Transport is an [*http.Transport] of its own.
func (s *Server) Client(c *Client) *http.Client {
	config := &tls.Config{RootCAs: s.roots, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if c != nil {
		config.Certificates = []tls.Certificate{c.TLS()}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	s.tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
