package ginguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/ginguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The cost of the door: gin with the guard, beside gin without it and the guard alone.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	guard, err := middleware.New(middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))), middleware.AllowUnbound())
	require.NoError(b, err)
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
	handler := func(c *gin.Context) { c.Status(204) }
	with, without := gin.New(), gin.New()
	with.GET("/orders", ginguard.Wrap(guard), handler)
	without.GET("/orders", handler)
	for _, bench := range []struct {
		name string
		h    http.Handler
	}{
		{"guarded gin", with}, {"gin", without},
		{"guard", guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rec := httptest.NewRecorder()
				if bench.h.ServeHTTP(rec, r); rec.Code != 204 {
					b.Fatal(rec.Code)
				}
			}
		})
	}
	b.Run("signature", func(b *testing.B) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		sum := make([]byte, 32)
		sig, _ := ecdsa.SignASN1(rand.Reader, key, sum)
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, sum, sig)
		}
	})
}
