// Package exchange answers: which token do this client id and secret get?
//
//	issuer, err := oidc.NewIssuer("https://issuer.example/realms/main")
//	...
//	defer issuer.Close()
//	guard, err := middleware.New(
//		middleware.WithTokens(issuer.Verifier("https://api.example")),
//		middleware.WithExchange(exchange.New(issuer)),
//		middleware.AllowUnbound())
//
// It is for callers that can send Basic credentials and nothing else: an [Exchange]
// turns them into an access token, by the client credentials grant.
package exchange
