package fiberguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The cost of the door: Fiber with the guard, beside Fiber without it and the guard
// alone.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	guard, err := middleware.New(middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))), middleware.AllowUnbound())
	require.NoError(b, err)
	token := w.issuer.Token()
	handler := func(c fiber.Ctx) error { return c.SendStatus(204) }
	with, without := fiber.New(), fiber.New()
	with.Get("/orders", fiberguard.Wrap(guard), handler)
	without.Get("/orders", handler)
	for _, bench := range []struct {
		name string
		app  *fiber.App
	}{{"guarded Fiber", with}, {"Fiber", without}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			serve := bench.app.Handler()
			var q fasthttp.Request
			q.SetRequestURI("/orders")
			q.SetHost("api.example")
			q.Header.Set("Authorization", "Bearer "+token)
			for b.Loop() {
				var ctx fasthttp.RequestCtx
				ctx.Init(&q, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
				if serve(&ctx); ctx.Response.StatusCode() != 204 {
					b.Fatal(ctx.Response.StatusCode())
				}
			}
		})
	}
	b.Run("guard", func(b *testing.B) {
		b.ReportAllocs()
		r := httptest.NewRequest("GET", "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		h := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		for b.Loop() {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	b.Run("signature", func(b *testing.B) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		sum := make([]byte, 32)
		sig, _ := ecdsa.SignASN1(rand.Reader, key, sum)
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, sum, sig)
		}
	})
}
