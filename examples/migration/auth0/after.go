package auth0

import (
	"fmt"
	"net/http"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

// After demands the same, and of a token that is bound to a key a proof of that key.
func After(client *http.Client, issuer, audience, origin string) (http.Handler, error) {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer, audience, oidc.WithHTTPClient(client))), // at Auth0: oidc.WithProfile(oidc.Auth0)
		middleware.WithDPoP(dpop.New(origin)),
		middleware.AllowUnbound(), // until every client binds its tokens
		middleware.WithRules(middleware.Scopes("orders:read")),
	)
	if err != nil {
		return nil, err
	}
	return guard.Wrap(http.HandlerFunc(ordersAfter)), nil
}

func ordersAfter(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	fmt.Fprintln(w, "the orders of", credential.Token.Subject)
}
