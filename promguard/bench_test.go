package promguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// BenchmarkAttached measures what a logger and metrics add to a DPoP request that
// passes, in parts of one raw verification of a P-256 signature of the same run. The
// three are measured by turns, in short batches. x-raw is of the fastest batches, which
// is what an idle machine would show; x-raw-median is of all.
func BenchmarkAttached(b *testing.B) {
	const batch, url = 32, "https://issuer.example"
	issuer, proofs := oidctest.NewIssuer(b, oidctest.InMemory(url)), josetest.NewKey("ES256")
	guard := func(more ...middleware.Option) *middleware.Guard {
		g, err := middleware.New(append(more,
			middleware.WithTokens(oidc.New(url, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
			middleware.WithDPoP(dpop.New("https://api.example")))...)
		require.NoError(b, err)
		b.Cleanup(func() { g.Close() })
		return g
	}
	plain := guard()
	attached := guard(middleware.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil))), middleware.WithObserver(newMetrics(b).Observe))
	token := issuer.Token(oidctest.BoundToKey(proofs.Thumbprint()))
	ath := sha256.Sum256([]byte(token))
	prepared := func() (all []*http.Request) {
		for range batch {
			r := httptest.NewRequest(http.MethodGet, "/orders/42", nil)
			r.Host = "api.example"
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", proofs.Sign(map[string]any{"typ": "dpop+jwt", "jwk": proofs.JWK()}, map[string]any{
				"jti": rand.Text(), "htm": "GET", "htu": "https://api.example/orders/42", "iat": time.Now().Unix(),
				"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
			}))
			all = append(all, r)
		}
		return all
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	digest := sha256.Sum256([]byte("message"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(b, err)
	each := func(run func(i int) bool) float64 {
		begin := time.Now()
		for i := range batch {
			if !run(i) {
				b.Fatal("refused")
			}
		}
		return float64(time.Since(begin)) / batch
	}
	check := func(g *middleware.Guard, requests []*http.Request) float64 {
		return each(func(i int) bool { _, err := g.Check(requests[i]); return err == nil })
	}
	var raw, without, with []float64
	for b.Loop() {
		p, a := prepared(), prepared()
		raw = append(raw, each(func(int) bool { return ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) }))
		without, with = append(without, check(plain, p)), append(with, check(attached, a))
	}
	b.ReportMetric((slices.Min(with)-slices.Min(without))/slices.Min(raw), "x-raw")
	b.ReportMetric((median(with)-median(without))/median(raw), "x-raw-median")
	b.ReportMetric(0, "ns/op")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
