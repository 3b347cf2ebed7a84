// Package clientauth answers: how do we prove ourselves to an issuer?
//
//	auth := clientauth.PrivateKeyJWT("api", keys)
//	i, err := introspect.New(issuer, "https://api.example", auth)
//
// There is one constructor for each method of the IANA registry "OAuth Token
// Endpoint Authentication Methods", and [Bearer]. They report no mistakes
// themselves: [Method.Check] does, and what is given a Method calls it.
//
// # On its own
//
// A Method can authenticate any request to a token, introspection or revocation
// endpoint. Authenticate adds what belongs in header and form; a method that
// needs a client certificate says so by Certificate:
//
//	form := url.Values{"grant_type": {"client_credentials"}}
//	header := make(http.Header)
//	if err := auth.Authenticate(ctx, "https://issuer.example", header, form); err != nil {
//		return err
//	}
//
// Call it once per transmission: an assertion is good for one request.
//
// # What it does not check
//
// The endpoint. What proves the client goes to whatever URL the request has.
package clientauth
