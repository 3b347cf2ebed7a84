package redisstore_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/redisstore"
)

// startTLSServer starts a server that speaks TLS only, with a certificate of ca.
func startTLSServer(t *testing.T, ca *mtlspoptest.CA) (addr string) {
	t.Helper()
	id := ca.Issue("127.0.0.1", func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	certificate := id.TLS()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	require.NoError(t, err)
	cert := write("cert.pem", "CERTIFICATE", certificate.Certificate[0])
	port := freePort(t)
	startServer(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", write("key.pem", "PRIVATE KEY", key),
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
}

func TestAnErrorSaysWhereAndWhy(t *testing.T) {
	ca, other := mtlspoptest.NewCA(t, "CA of the store"), mtlspoptest.NewCA(t, "another CA")
	encrypted := startTLSServer(t, ca)
	plain := startServer(t)
	stopped := startServer(t)
	stopped.kill()
	for _, tt := range []struct {
		name, addr string
		tls        *tls.Config
		want       []string // empty: no error
	}{
		{"the right CA", encrypted, &tls.Config{RootCAs: ca.Pool()}, nil},
		{"G13 the wrong CA", encrypted, &tls.Config{RootCAs: other.Pool()}, []string{encrypted, "certificate signed by unknown authority"}},
		{"another name in the certificate", encrypted, &tls.Config{RootCAs: ca.Pool(), ServerName: "redis.example"}, []string{encrypted, "redis.example"}},
		{"TLS for a server without", plain.addr(), &tls.Config{RootCAs: ca.Pool()}, []string{plain.addr()}},
		{"no TLS for a server with", encrypted, nil, []string{encrypted}},
		{"no server", stopped.addr(), nil, []string{stopped.addr(), "connection refused"}},
		{"a server that never answers", silentAddr(t), nil, []string{"127.0.0.1:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, tt.addr, func(o *redis.Options) { o.TLSConfig, o.DialTimeout = tt.tls, 500*time.Millisecond })
			replay, err := redisstore.NewReplayCache(client)
			require.NoError(t, err)
			tokens := newTokenCache(t, client, tokenKey(0))
			_, _, tokenErr := tokens.Get(t.Context(), randomID())
			began := time.Now()
			_, err = replay.Add(context.Background(), "jkt", randomID(), soon())
			require.Less(t, time.Since(began), timeout+slack)
			if tt.want == nil {
				require.NoError(t, err)
				require.NoError(t, tokenErr)
				return
			}
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.ErrorContains(t, err, "redisstore: replay cache: ")
			require.ErrorContains(t, tokenErr, "redisstore: token cache: ")
			t.Log(err)
		})
	}
	t.Run("an answer of the server is the whole reason", func(t *testing.T) {
		s := startServer(t, "--requirepass", "S3CR3T")
		client := newClient(t, s.addr(), func(o *redis.Options) { o.Password = "WR0NG" })
		_, err := newReplayCache(t, client).Add(t.Context(), "jkt", randomID(), soon())
		require.ErrorContains(t, err, "answer of "+s.addr()+": WRONGPASS")
		require.NotContains(t, err.Error(), "WR0NG")
	})
	t.Run("a store that is back explains nothing", func(t *testing.T) {
		s := startServer(t)
		s.kill()
		cache := newReplayCache(t, s.client(), patient())
		_, err := cache.Add(t.Context(), "jkt", randomID(), soon())
		require.ErrorContains(t, err, "connection refused")
		s.start()
		require.Eventually(t, func() bool {
			_, err := cache.Add(t.Context(), "jkt", randomID(), soon())
			return err == nil
		}, 5*time.Second, 10*time.Millisecond)
		resume := s.pause()
		defer resume()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = cache.Add(ctx, "jkt", randomID(), soon())
		require.ErrorContains(t, err, "no answer from "+s.addr())
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Row 18 of the mistakes of operators: the one line of the refusal has the address and
// the cause.
func TestTheLogLineNamesTheStoreAndTheCause(t *testing.T) {
	stopped := net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
	w := middlewaretest.NewWorld(t)
	store, err := redisstore.NewReplayCache(newClient(t, stopped))
	require.NoError(t, err)
	verifier, err := oidc.New(w.Issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.Issuer.Client()))
	require.NoError(t, err)
	defer verifier.Close()
	var out bytes.Buffer
	guard, err := middleware.New(middleware.WithTokens(verifier, nil), middleware.WithDPoP(dpop.New(w.URL, dpop.WithReplayCache(store, nil))),
		middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	require.NoError(t, err)
	w.Serve(guard.Wrap(http.NotFoundHandler()))
	resp, err := w.Client().Get(w.URL + "/orders")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	var line string
	for l := range strings.Lines(out.String()) {
		if strings.Contains(l, "request refused") {
			require.Empty(t, line, "one line")
			line = l
		}
	}
	for _, want := range []string{"level=ERROR", "reason=unavailable_replay_cache", stopped, "connection refused", "hint=\"the replay cache does not answer"} {
		require.Contains(t, line, want)
	}
	require.ErrorContains(t, guard.Ready(t.Context()), stopped)
}
