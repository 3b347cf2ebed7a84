package middlewaretest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// A whole service in a test: an honest client, and one without credentials.
func ExampleNewWorld() {
	t := new(testing.T) // a test gets its own
	w := middlewaretest.NewWorld(t)
	w.Serve(w.Guard(middleware.WithRules(middleware.Scopes("orders:read"))).Wrap(http.HandlerFunc(greet)))
	resp, err := w.Client(oidctest.Scope("orders:read")).Get(w.URL + "/orders")
	require.NoError(t, err)
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// Every route of a mux has a guard, except those that are public on purpose.
func ExampleAllGuarded() {
	t := new(testing.T) // a test gets its own
	w := middlewaretest.NewWorld(t)
	mux := http.NewServeMux()
	mux.Handle("GET /orders", w.Guard().Wrap(http.HandlerFunc(greet)))
	middlewaretest.AllGuarded(t, mux, "GET /orders")
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A refusal, for the reason that the test means.
func ExampleAssertRefused() {
	t := new(testing.T) // a test gets its own
	w := middlewaretest.NewWorld(t)
	w.Serve(w.Guard().Wrap(http.HandlerFunc(greet)))
	resp, err := w.Anonymous().Get(w.URL + "/orders")
	require.NoError(t, err)
	middlewaretest.AssertRefused(t, resp, "no_credentials")
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}
