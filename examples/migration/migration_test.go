// Package migration holds services that move from other libraries to this one, and the
// test of what the move changes.
package migration

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/examples/migration/auth0"
	"github.com/keybound-go/middleware/examples/migration/golangjwt"
	"github.com/keybound-go/middleware/examples/migration/gooidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const origin = "https://api.example"

// TestTheServiceBeforeAndAfter: the same bearer tokens are good before and after the
// move. Only after it a token that is bound to a key needs the key, and an ID token is no
// access token.
func TestTheServiceBeforeAndAfter(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	with := func(h http.Handler, err error) http.Handler {
		t.Helper()
		require.NoError(t, err)
		return h
	}
	services := map[string]struct{ before, after http.Handler }{
		"go-jwt-middleware": {
			with(auth0.Before(issuer.Client(), issuer.URL, oidctest.Audience)),
			with(auth0.After(issuer.Client(), issuer.URL, oidctest.Audience, origin)),
		},
		"go-oidc": {
			with(gooidc.Before(issuer.Client(), issuer.URL, oidctest.Audience)),
			with(gooidc.After(issuer.Client(), issuer.URL, oidctest.Audience, origin)),
		},
		"golang-jwt": {
			with(golangjwt.Before(issuer.Client(), issuer.URL, oidctest.Audience, issuer.Endpoint(oidctest.KeySet))),
			with(golangjwt.After(issuer.Client(), issuer.URL, oidctest.Audience, origin)),
		},
	}
	// Where the three services differed before the move.
	ofGoJWTMiddleware := map[string]int{
		"no token":                          400,
		"its owner, with a proof":           500, // its answer to another scheme
		"an ID token for this very service": 403, // which has no scope
	}
	key := dpoptest.NewKey(t)
	scope := oidctest.Scope("orders:read")
	bound := issuer.Token(scope, oidctest.BoundToKey(key.Thumbprint()))
	for name, service := range services {
		for request, row := range map[string]struct {
			authorization string
			proof         string
			before, after int
		}{
			"a bearer token":                    {"Bearer " + issuer.Token(scope), "", 200, 200},
			"no token":                          {"", "", 401, 401},
			"a token for another service":       {"Bearer " + issuer.Token(scope, oidctest.Claim("aud", "https://other.example")), "", 401, 401},
			"a token that is over":              {"Bearer " + issuer.Token(scope, oidctest.ExpiresIn(-600e9)), "", 401, 401},
			"a stolen token, sent as bearer":    {"Bearer " + bound, "", 200, 401},
			"its owner, with a proof":           {"DPoP " + bound, key.Proof("GET", origin+"/orders", bound), 401, 200},
			"an ID token for this very service": {"Bearer " + issuer.Token(scope, oidctest.IDToken(oidctest.Audience)), "", 200, 401},
		} {
			t.Run(name+": "+request, func(t *testing.T) {
				before := row.before
				if other, ok := ofGoJWTMiddleware[request]; ok && name == "go-jwt-middleware" {
					before = other
				}
				require.Equal(t, before, send(service.before, row.authorization, row.proof), "before")
				require.Equal(t, row.after, send(service.after, row.authorization, row.proof), "after")
			})
		}
	}
	t.Run("go-jwt-middleware: a token without the scope", func(t *testing.T) {
		service := services["go-jwt-middleware"]
		require.Equal(t, 403, send(service.before, "Bearer "+issuer.Token(), ""))
		require.Equal(t, 403, send(service.after, "Bearer "+issuer.Token(), ""))
	})
}

func send(h http.Handler, authorization, proof string) int {
	r := httptest.NewRequest("GET", origin+"/orders", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
