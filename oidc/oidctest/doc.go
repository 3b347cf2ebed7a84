// Package oidctest answers "what would the issuer have sent?" It is an issuer to
// test with: discovery, key set, token endpoint and introspection over TLS, with
// key rotation, outages, and every fault that the code under test should survive.
//
//	func TestOrders(t *testing.T) {
//		issuer := oidctest.NewIssuer(t)
//		v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
//		...
//		token := issuer.Token(oidctest.Scope("orders:write"), oidctest.BoundToKey(jkt))
//	}
//
// It plays the other side of the wire and shares no code with the verifier: what
// it signs, hashes and checks, it does with the standard library.
//
// It does not do what an authorization server is for: it does not check who the user is.
// It gives a token to every caller; see [Issuer.Token].
package oidctest
