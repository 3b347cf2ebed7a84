package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Entra ID's scheme for certificate-bound tokens: it needs an option, and a token that is
// bound to a certificate, whatever else the guard allows.
func TestTheSchemeMTLSPoP(t *testing.T) {
	w := newWorld(t)
	accepting := middleware.WithMTLS(mtlspop.New(mtlspop.AcceptMTLSPoP()))
	g := w.guard(withDPoP(), accepting)
	lax := w.guard(withDPoP(), accepting, middleware.AllowUnbound())
	without := w.guard()
	request := func(scheme, token string) *http.Request {
		r := w.certRequest("/r")
		r.Header.Set("Authorization", scheme+" "+token)
		return r
	}

	for _, scheme := range []string{"MTLS_POP", "mtls_pop"} {
		serve(g, request(scheme, w.certToken())).accepted(t)
		serve(lax, request(scheme, w.certToken())).accepted(t)
	}
	serve(g, request("Bearer", w.certToken())).accepted(t)
	serve(without, request("MTLS_POP", w.certToken())).refused(t, 401)

	other := get("/r")
	other.Header.Set("Authorization", "MTLS_POP "+w.certToken())
	serve(lax, other).refused(t, 401) // no certificate

	for name, token := range map[string]string{
		"an unbound token":             w.issuer.Token(),
		"a token that is bound to key": w.dpopToken(),
		"an expired one":               w.certToken(oidctest.ExpiresIn(-3600e9)),
		"no token":                     "",
		"two":                          "a b",
	} {
		t.Run(name, func(t *testing.T) {
			for _, g := range []*middleware.Guard{g, lax} {
				got := serve(g, request("MTLS_POP", token))
				require.Contains(t, []int{400, 401}, got.Code)
				require.False(t, got.called)
			}
		})
	}
	r := request("MTLS_POP", w.certToken())
	r.Header.Add("Authorization", "Bearer "+w.certToken())
	serve(lax, r).refused(t, 400)

	// An inner guard makes the same demand of what an outer one has verified.
	inner := w.guard(withDPoP(), accepting, middleware.AllowUnbound())
	rec := handled(lax.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))), request("MTLS_POP", w.issuer.Token()))
	require.Equal(t, 401, rec.Code)
	rec = handled(lax.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))), request("MTLS_POP", w.certToken()))
	require.Equal(t, 200, rec.Code)

	// What stands behind sees a bearer token where it is told so.
	var seen string
	forwarding := w.guard(accepting, middleware.ForwardBearer())
	token := w.certToken()
	handled(forwarding.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") })), request("MTLS_POP", token))
	require.Equal(t, "Bearer "+token, seen)
}

func handled(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}
