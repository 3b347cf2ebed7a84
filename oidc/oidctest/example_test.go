package oidctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// orders is the handler under test: it wants the scope orders:read.
func orders(v *oidc.Verifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := v.VerifyToken(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil || !strings.Contains(strings.Join(token.Scopes, " "), "orders:read") {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "orders of %s", token.Subject)
	})
}

// TestOrders is what a test of such a handler may look like.
func TestOrders(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })

	for name, token := range map[string]string{
		"good":        issuer.Token(oidctest.Scope("orders:read")),
		"other scope": issuer.Token(oidctest.Scope("orders:write")),
		"expired":     issuer.Token(oidctest.Scope("orders:read"), oidctest.Claim("exp", 1)),
	} {
		r := httptest.NewRequest("GET", "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		orders(v).ServeHTTP(w, r)
		if passed := w.Code == http.StatusOK; passed != (name == "good") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// A program that is no test, such as a demonstration, starts the issuer by itself.
func ExampleStart() {
	issuer, err := oidctest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer issuer.Close()
	resp, err := issuer.Client().Get(issuer.Endpoint(oidctest.KeySet))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}
