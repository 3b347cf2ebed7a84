package mcpguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The cost of the door: Door less Guard, in units of Signature. It must be at most 0.05.
// The SDK is replaced by a handler that does nothing.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	g, err := w.guardOf()
	require.NoError(b, err)
	token := "Bearer " + w.Issuer.Token(w.changes("alice", "app", oidctest.Scope("tools:call"))...)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	door := func(opts ...mcpguard.Option) http.Handler {
		h, err := mcpguard.New(w.server, append(opts, mcpguard.WithGuard(g, nil))...)
		require.NoError(b, err)
		return h.EndpointOf(nothing)
	}
	run := func(name string, h http.Handler) {
		b.Run(name, func(b *testing.B) {
			body := rpc(1, "look")
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("POST", w.resource, strings.NewReader(body))
				r.Header["Authorization"] = []string{token}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	digest := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(b, err)
	b.Run("Signature", func(b *testing.B) {
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig)
		}
	})
	run("Guard", g.Wrap(nothing))
	run("Door", door())
	run("Door with origins", door(mcpguard.WithOrigins(app)))
	run("Door with tool scopes", door(mcpguard.WithToolScopes(toolScopes)))
}
