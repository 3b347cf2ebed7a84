// Package golangjwt is a service on github.com/golang-jwt/jwt with keyfunc, before and
// after.
package golangjwt

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// Before demands a token of the issuer, whose key set is at keySet.
func Before(client *http.Client, issuer, audience, keySet string) (http.Handler, error) {
	keys, err := keyfunc.NewDefaultOverrideCtx(context.Background(), []string{keySet}, keyfunc.Override{Client: client})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		var claims jwt.RegisteredClaims
		_, err := parser.ParseWithClaims(raw, &claims, keys.KeyfuncCtx(r.Context()))
		if !ok || err != nil {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, "the orders of", claims.Subject)
	}), nil
}
