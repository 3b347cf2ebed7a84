// Package auth0 is a service on github.com/auth0/go-jwt-middleware, before and after.
package auth0

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

type claims struct {
	Scope string `json:"scope"`
}

func (*claims) Validate(context.Context) error { return nil }

// Before demands a token of the issuer and the scope orders:read.
func Before(client *http.Client, issuer, audience string) (http.Handler, error) {
	issuerURL, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	keys := jwks.NewCachingProvider(issuerURL, 5*time.Minute, jwks.WithCustomClient(client))
	tokens, err := validator.New(keys.KeyFunc, validator.ES256, issuer, []string{audience},
		validator.WithCustomClaims(func() validator.CustomClaims { return new(claims) }))
	if err != nil {
		return nil, err
	}
	return jwtmiddleware.New(tokens.ValidateToken).CheckJWT(http.HandlerFunc(ordersBefore)), nil
}

func ordersBefore(w http.ResponseWriter, r *http.Request) {
	token := r.Context().Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims)
	if !slices.Contains(strings.Fields(token.CustomClaims.(*claims).Scope), "orders:read") {
		http.Error(w, "insufficient scope", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, "the orders of", token.RegisteredClaims.Subject)
}
