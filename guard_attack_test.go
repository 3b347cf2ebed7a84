package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// MTLS_POP variants.
func TestAttackMTLSPoP(t *testing.T) {
	w := newWorld(t)
	accepting := middleware.WithMTLS(mtlspop.New(mtlspop.AcceptMTLSPoP()))
	lax := w.guard(withDPoP(), accepting, middleware.AllowUnbound())
	anon := lax.AllowAnonymous()
	pre := w.guard(withDPoP(), accepting, middleware.AllowUnbound(), middleware.PassPreflights())
	both := w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()), oidctest.BoundToCertificate(w.cert.Certificate))
	for name, tok := range map[string]string{"unbound": w.issuer.Token(), "jkt": w.dpopToken(), "both": both} {
		for gname, g := range map[string]*middleware.Guard{"lax": lax, "anon": anon, "pre": pre} {
			for _, proof := range []bool{false, true} {
				for _, val := range []string{"MTLS_POP " + tok, "mtls_pop  " + tok, "MTLS_POP\t" + tok, "MTLS_POP", "MTLS_POP " + tok + " ", "MTLS-POP " + tok, "MTLS_POP Bearer " + tok} {
					r := w.certRequest("/r")
					r.Header.Set("Authorization", val)
					if proof {
						r.Header.Set("DPoP", w.proof("GET", origin+"/r", tok))
					}
					rec := serve(g, r)
					require.False(t, rec.called, "%s %s %q", name, gname, val)
					v := g.Judge(context.Background(), middleware.RequestOf(r))
					require.False(t, v.Pass)
				}
			}
		}
	}
	// A nested guard that does not know the scheme, or that has other parts.
	for _, inner := range []*middleware.Guard{w.guard(middleware.AllowUnbound()), w.guard(withDPoP(), middleware.WithMTLS(mtlspop.New()), middleware.AllowUnbound())} {
		for _, tok := range []string{w.issuer.Token(), w.certToken()} {
			called := false
			r := w.certRequest("/r")
			r.Header.Set("Authorization", "MTLS_POP "+tok)
			lax.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))).ServeHTTP(httptest.NewRecorder(), r)
			t.Log(called)
		}
	}
}

func TestAttackObservers(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, first := range []bool{true, false} {
		boom := middleware.WithObserver(func(context.Context, middleware.Outcome) { panic("boom") })
		count := middleware.WithObserver(func(context.Context, middleware.Outcome) { n++ })
		opts := []middleware.Option{boom, count}
		if !first {
			opts = []middleware.Option{count, boom}
		}
		g := w.guard(append(opts, middleware.AllowUnbound())...)
		called := false
		r := get("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
		require.Panics(t, func() {
			g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(httptest.NewRecorder(), r)
		})
		require.False(t, called)
		require.Panics(t, func() { g.Judge(t.Context(), middleware.RequestOf(r)) })
	}
}
