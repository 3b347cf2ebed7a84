package grpcguard_test

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net"
	"net/http"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// serveHTTP serves by net/http, and returns a connection to it. What the server logs is
// a failure.
func (w *world) serveHTTP(h http.Handler) *grpc.ClientConn {
	identity := w.ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"api.example"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	server := &http.Server{Handler: h, ErrorLog: log.New(complaints{w}, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{identity.TLS()}, NextProtos: []string{"h2"}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(listener, "", "")
	}()
	w.t.Cleanup(func() {
		server.Close()
		<-done
	})
	return w.dial(&host{addr: listener.Addr().String()})
}

// complaints fails the test.
type complaints struct{ *world }

func (c complaints) Write(line []byte) (int, error) {
	c.t.Errorf("net/http complains: %s", line)
	return len(line), nil
}
