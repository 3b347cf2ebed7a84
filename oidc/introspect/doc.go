// Package introspect answers: what does the issuer say of this token, right now?
//
//	issuer, err := oidc.NewIssuer("https://issuer.example/realms/main")
//	...
//	defer issuer.Close()
//	i, err := introspect.New(issuer, "https://api.example", clientauth.SecretBasic("api", secret))
//
// [New] makes an [Introspector], which asks the issuer about tokens that say
// nothing by themselves (RFC 7662, RFC 9701). [Then] combines it with a verifier of
// JWTs whose revocation matters; [OrElse] serves JWTs in one way and opaque tokens
// in another. Each is a token verifier of package middleware.
package introspect
