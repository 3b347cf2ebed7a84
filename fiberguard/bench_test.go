package fiberguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// BenchmarkDoor compares Fiber with the guard to Fiber without it and to the guard alone,
// in units of one raw signature verification of the same run (x-raw). The door costs what
// is left of "guarded Fiber" without the other two.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	guard, err := middleware.New(middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))), middleware.AllowUnbound())
	require.NoError(b, err)
	token := w.issuer.Token()
	handler := func(c fiber.Ctx) error { return c.SendStatus(204) }
	with, without := fiber.New(), fiber.New()
	with.Get("/orders", fiberguard.Wrap(guard), handler)
	without.Get("/orders", handler)
	fiberRun := func(app *fiber.App) func() bool {
		serve := app.Handler()
		var q fasthttp.Request
		q.SetRequestURI("/orders")
		q.SetHost("api.example")
		q.Header.Set("Authorization", "Bearer "+token)
		for name, value := range common {
			q.Header.Set(name, value)
		}
		return func() bool {
			var ctx fasthttp.RequestCtx
			ctx.Init(&q, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
			serve(&ctx)
			return ctx.Response.StatusCode() == 204
		}
	}
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	for name, value := range common {
		r.Header.Set(name, value)
	}
	h := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	hash := make([]byte, 32)
	signature, err := ecdsa.SignASN1(rand.Reader, key, hash)
	require.NoError(b, err)
	raw := func() bool { return ecdsa.VerifyASN1(&key.PublicKey, hash, signature) }

	for _, bench := range []struct {
		name string
		run  func() bool
	}{
		{"guard alone", func() bool {
			w := nothing{make(http.Header)}
			h.ServeHTTP(w, r)
			return true
		}},
		{"Fiber", fiberRun(without)},
		{"guarded Fiber", fiberRun(with)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !bench.run() {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(ratio(bench.run, raw), "x-raw")
		})
	}
}

// common are fields that come with many requests.
var common = map[string]string{
	"User-Agent": "client/1.0", "Accept": "application/json", "Accept-Encoding": "gzip", "X-Forwarded-For": "192.0.2.1",
	"X-Forwarded-Proto": "https", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

// nothing is a response that is thrown away.
type nothing struct{ header http.Header }

func (n nothing) Header() http.Header         { return n.header }
func (n nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n nothing) WriteHeader(int)             {}

// ratio is the time of f over that of g: the median of many short measurements of both,
// side by side, since other processes of a busy machine interrupt some of them.
func ratio(f, g func() bool) float64 {
	ratios := make([]float64, 501)
	for i := range ratios {
		begun := time.Now()
		for range 20 {
			f()
		}
		between := time.Now()
		for range 20 {
			g()
		}
		ratios[i] = float64(between.Sub(begun)) / float64(time.Since(between))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
