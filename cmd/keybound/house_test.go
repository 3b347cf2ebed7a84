package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// All uses of the library by the tests of the command are in this file.

// keybound runs the command in this process.
func keybound(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out, err bytes.Buffer
	code = run(ctx, args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// syncBuffer is a buffer for a command that still runs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// freeAddress is an address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// runningIssuer is "keybound issuer" with flags.
type runningIssuer struct {
	url, caFile string
	out         *syncBuffer
}

func startIssuerCommand(t *testing.T, flags ...string) *runningIssuer {
	t.Helper()
	i := &runningIssuer{url: "https://" + freeAddress(t), caFile: filepath.Join(t.TempDir(), "ca.pem"), out: &syncBuffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, append([]string{"issuer", "--url", i.url, "--ca-file", i.caFile}, flags...), strings.NewReader(""), i.out, i.out)
	}()
	t.Cleanup(func() {
		cancel()
		require.Equal(t, exitOK, <-ended, i.out.String())
	})
	require.Eventually(t, func() bool { return strings.Contains(i.out.String(), "listening") }, 5*time.Second, 5*time.Millisecond, i.out.String())
	return i
}

func (i *runningIssuer) client(t *testing.T) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(i.caFile)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// service is a guarded service over TLS that asks for client certificates. The file
// caFile has its CA, and that of the issuer too.
type service struct {
	url, caFile string
}

func startService(t *testing.T, issuer *runningIssuer, dpopOptions ...dpop.Option) *service {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.TLS = mtlspop.RequestClientCert(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	tokens, err := oidc.New(issuer.url, "https://api.example", oidc.WithHTTPClient(issuer.client(t)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = tokens.Close() })
	guard, err := middleware.New(
		middleware.WithTokens(tokens, nil),
		middleware.WithDPoP(dpop.New(server.URL, dpopOptions...)),
		middleware.WithMTLS(mtlspop.New()),
	)
	require.NoError(t, err)
	server.Config.Handler = guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.FromContext(r.Context())
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+c.Token.Subject+" "+strings.Join(c.Token.Scopes, ",")+" "+string(body))
	}))
	caFile := filepath.Join(t.TempDir(), "all.pem")
	ca, err := os.ReadFile(issuer.caFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(caFile, append(ca, pen.CertificatePEM(server.Certificate().Raw)...), 0o600))
	return &service{server.URL, caFile}
}

func withNonces() dpop.Option {
	return dpop.WithNonces(dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef")))
}

// startServiceFor is a guarded service for an issuer that does not run yet: it reads the
// issuer's CA when it first needs it. A faulty one lets a proof be used twice, and offers
// HTTP/2.
func startServiceFor(t *testing.T, issuer, issuerCA string, faulty bool) *service {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.TLS = mtlspop.RequestClientCert(nil)
	server.EnableHTTP2 = faulty
	server.StartTLS()
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ca, err := os.ReadFile(issuerCA)
			if err != nil {
				return nil, err
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(ca)
			return (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(ctx, network, addr)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	// A short cooldown: each run of the command has an issuer with new keys.
	tokens, err := oidc.New(issuer, "https://api.example", oidc.WithHTTPClient(client), oidc.WithCooldown(time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { _ = tokens.Close() })
	var opts []dpop.Option
	if faulty {
		opts = append(opts, dpop.DangerouslyAllowReplay())
	}
	guard, err := middleware.New(
		middleware.WithTokens(tokens, nil),
		middleware.WithDPoP(dpop.New(server.URL, opts...)),
		middleware.WithMTLS(mtlspop.New()),
	)
	require.NoError(t, err)
	server.Config.Handler = guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "orders") }))
	caFile := filepath.Join(t.TempDir(), "service.pem")
	require.NoError(t, os.WriteFile(caFile, pen.CertificatePEM(server.Certificate().Raw), 0o600))
	return &service{server.URL, caFile}
}
