// Package tallytest answers: what does it cost to watch a guard?
//
// It is for the benchmarks of otelguard and promguard.
package tallytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	issuerURL = "https://issuer.example"
	origin    = "https://api.example"
	batch     = 32
)

// Attached measures what attached adds to a DPoP request that passes and whose token was
// seen before, in parts of one raw verification of a P-256 signature of the same run. in
// makes the context of each request; nil for none. The three are measured by turns, in
// short batches: x-raw is of the fastest batches, which is what an idle machine would
// show, x-raw-median of all.
func Attached(b *testing.B, in func() context.Context, attached ...middleware.Option) {
	b.Helper()
	issuer, key := oidctest.NewIssuer(b, oidctest.InMemory(issuerURL)), josetest.NewKey("ES256")
	plain, watched := guard(b, issuer), guard(b, issuer, attached...)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	prepared := func() (all []*http.Request) {
		for range batch {
			r := request(key, token)
			if in != nil {
				r = r.WithContext(in())
			}
			all = append(all, r)
		}
		return all
	}
	verify := verification(b)
	check := func(g *middleware.Guard, requests []*http.Request) float64 {
		return each(b, func(i int) bool { _, err := g.Check(requests[i]); return err == nil })
	}
	check(plain, prepared())
	check(watched, prepared())
	var raw, without, with []float64
	for b.Loop() {
		p, w := prepared(), prepared()
		raw = append(raw, each(b, verify))
		without, with = append(without, check(plain, p)), append(with, check(watched, w))
	}
	b.ReportMetric((slices.Min(with)-slices.Min(without))/slices.Min(raw), "x-raw")
	b.ReportMetric((median(with)-median(without))/median(raw), "x-raw-median")
	b.ReportMetric(0, "ns/op")
}

func guard(b *testing.B, issuer *oidctest.Issuer, more ...middleware.Option) *middleware.Guard {
	b.Helper()
	g, err := middleware.New(append(more,
		middleware.WithTokens(oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin)))...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.Close() })
	return g
}

func request(key *josetest.Key, token string) *http.Request {
	ath := sha256.Sum256([]byte(token))
	r := httptest.NewRequest(http.MethodGet, "/orders/42", nil)
	r.Host = "api.example"
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}, map[string]any{
		"jti": rand.Text(), "htm": r.Method, "htu": origin + "/orders/42", "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}))
	return r
}

func verification(b *testing.B) func(int) bool {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	return func(int) bool { return ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) }
}

// each is how long one run takes, in nanoseconds.
func each(b *testing.B, run func(i int) bool) float64 {
	begin := time.Now()
	for i := range batch {
		if !run(i) {
			b.Fatal("refused")
		}
	}
	return float64(time.Since(begin)) / batch
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
