package mcpguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mcpguard"
)

// The cost of the door: the median of a request through it less that of one through the
// guard alone, in raw P-256 verifications of the same run. It must be at most 0.05. The
// SDK is replaced by a handler that does nothing.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	g, err := w.guardOf()
	require.NoError(b, err)
	token := "Bearer " + w.Issuer.Token(w.changes("alice", "app")...)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	door := func(opts ...mcpguard.Option) http.Handler {
		h, err := mcpguard.New(w.server, append(opts, mcpguard.WithGuard(g, nil))...)
		require.NoError(b, err)
		return h.EndpointOf(nothing)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	digest := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(b, err)
	body := rpc(1, "look")
	alone := g.Wrap(nothing)
	for name, h := range map[string]http.Handler{"plain": door(), "origins": door(mcpguard.WithOrigins(app)), "tool scopes": door(mcpguard.WithToolScopes(toolScopes))} {
		b.Run(name, func(b *testing.B) {
			// One of each in turn, so that other load on the machine affects both alike.
			var signatures, guards, doors []time.Duration
			timed := func(h http.Handler) time.Duration {
				r := httptest.NewRequest("POST", w.resource, strings.NewReader(body))
				r.Header["Authorization"] = []string{token}
				rec := httptest.NewRecorder()
				began := time.Now()
				h.ServeHTTP(rec, r)
				took := time.Since(began)
				if rec.Code != 200 {
					b.Fatal(rec.Code, rec.Body)
				}
				return took
			}
			for b.Loop() {
				began := time.Now()
				ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig)
				signatures = append(signatures, time.Since(began))
				guards = append(guards, timed(alone))
				doors = append(doors, timed(h))
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2])
			}
			b.ReportMetric((median(doors)-median(guards))/median(signatures), "signatures/door")
			b.ReportMetric(median(guards)/median(signatures), "signatures/guard")
		})
	}
}
