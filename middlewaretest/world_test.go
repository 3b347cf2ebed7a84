package middlewaretest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestAWorldInThreeLines(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	w.Serve(w.Guard(middleware.WithRules(middleware.Scopes("orders:read"))).Wrap(http.HandlerFunc(greet)))
	resp, err := w.Client(oidctest.Scope("orders:read"), oidctest.Claim("sub", "alice")).Get(w.URL + "/orders")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "hello alice ", string(body))

	resp, err = w.Client().Get(w.URL + "/orders")
	require.NoError(t, err)
	defer resp.Body.Close()
	middlewaretest.AssertRefused(t, resp, "rule_scope")

	resp, err = w.Anonymous().Get(w.URL + "/orders")
	require.NoError(t, err)
	defer resp.Body.Close()
	middlewaretest.AssertRefused(t, resp, "no_credentials")
}

// failures are what a test reports, and nothing else of it.
type failures struct {
	testing.TB
	texts []string
}

func (f *failures) Helper() {}
func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func TestAllGuardedFindsRoutesWithoutAGuard(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	guard := w.Guard()
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{id}", guard.Wrap(http.HandlerFunc(greet)))
	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(http.HandlerFunc(greet)))
	mux.HandleFunc("GET /admin", greet)
	mux.HandleFunc("DELETE /orders", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /public", guard.AllowAnonymous().Wrap(http.HandlerFunc(greet)))
	mux.Handle("api.example/tenants/{tenant}/users/{$}", guard.Wrap(http.HandlerFunc(greet)))

	middlewaretest.AllGuarded(t, mux, "GET /orders/{id}", "POST /orders", "api.example/tenants/{tenant}/users/{$}")

	for _, route := range []string{"GET /admin", "DELETE /orders", "GET /public", "GET /none", "orders"} {
		f := &failures{TB: t}
		middlewaretest.AllGuarded(f, mux, route)
		require.NotEmpty(t, f.texts, route)
	}
	f := &failures{TB: t}
	middlewaretest.AllGuarded(f, mux)
	require.Len(t, f.texts, 1)

	// A router that serves another spelling of the path without the guard.
	lax := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/orders" {
			guard.Wrap(http.HandlerFunc(greet)).ServeHTTP(rw, r)
		}
	})
	f = &failures{TB: t}
	middlewaretest.AllGuarded(f, lax, "GET /orders")
	require.Contains(t, strings.Join(f.texts, "\n"), "this spelling of /orders is not guarded")
}

// AssertRefused recognises the refusal of every reason that a guard gives, and none of
// another status or code.
func TestAssertRefusedTellsReasonsApart(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	var reason string
	observer := middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { reason = o.Reason })
	guard := w.Guard(observer)
	panics := middleware.RuleFunc("a bug", func(*http.Request, *middleware.Credential) bool { panic("a bug") })
	for name, row := range map[string]struct {
		guard  *middleware.Guard
		client *http.Client
	}{
		"no credentials":  {guard, w.Anonymous()},
		"expired":         {guard, w.Client(oidctest.ExpiresIn(-time.Hour))},
		"audience":        {guard, w.Client(oidctest.Claim("aud", "x"))},
		"scope":           {guard.Require(middleware.Scopes("never")), w.Client()},
		"step up":         {guard.Require(middleware.StepUp(0, "gold")), w.Client()},
		"a panic":         {guard.Require(panics), w.Client()},
		"no descriptions": {w.Guard(observer, middleware.WithErrorMembers()), w.Client(oidctest.ExpiresIn(-time.Hour))},
	} {
		w.Serve(row.guard.Wrap(http.HandlerFunc(greet)))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r, err := http.NewRequest(method, w.URL+"/orders", nil)
			require.NoError(t, err)
			resp, err := row.client.Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			middlewaretest.AssertRefused(t, resp, reason)
			for _, other := range []string{"stray_proof", "early_data", "no such reason", ""} {
				f := &failures{TB: t}
				middlewaretest.AssertRefused(f, resp, other)
				require.NotEmpty(t, f.texts, "%s, %s for %q", name, reason, other)
			}
		}
	}
	passed := httptest.NewRecorder().Result()
	f := &failures{TB: t}
	middlewaretest.AssertRefused(f, passed, "token_expired")
	require.NotEmpty(t, f.texts)
}
