// Package dpopclient answers "how does this client prove, on every request, that
// it holds the key its access token is bound to?" (DPoP, RFC 9449).
//
// A [Transport] is an [http.RoundTripper] that adds a fresh proof to each request,
// and to the retry after a nonce challenge:
//
//	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
//	if err != nil {
//		return err
//	}
//	transport, err := dpopclient.New(key,
//		dpopclient.WithOrigins("https://api.example"),
//		dpopclient.WithTokenSource(tokens),
//	)
//	if err != nil {
//		return err // every mistake, one per line
//	}
//	client := &http.Client{Transport: transport}
//	resp, err := client.Get("https://api.example/orders")
//
// # Where the token goes
//
// The access token, and every proof, goes to the origins of [WithOrigins] and to
// no other server; a proof without a token goes to the URLs of [WithTokenEndpoint]. A
// RoundTripper sees each hop of a redirect as a request of its own, so the rule
// holds here and not in the http.Client:
//
//   - A redirect within one origin gets a new proof, made for the new URL.
//   - A request that any redirect brought from another origin goes on without
//     Authorization, Proxy-Authorization and DPoP, whatever its own headers say, and
//     even if both origins are configured: a server must not be able to aim the
//     client's authority at another one.
//   - A request to an origin that is not configured goes out without a proof. If
//     it carries an access token (scheme DPoP or Bearer) it is refused with
//     [ErrOrigin]; other schemes, such as Basic, are the caller's own affair.
//   - Plain http is refused with [ErrInsecure]; see [DangerouslyAllowLoopbackHTTP].
//
// # Which token
//
// [WithTokenSource] supplies it. A request's own "Authorization: DPoP <token>"
// takes precedence; without a token source it is the only way. Bearer is refused
// with [ErrTokenType] where DPoP is configured. A request to a configured origin
// that has neither is sent as it is, without a proof.
//
// A token source of golang.org/x/oauth2 fits in three lines, and this package
// does not depend on that module:
//
//	dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
//		t, err := source.Token()
//		if err != nil {
//			return "", "", err
//		}
//		return t.AccessToken, t.TokenType, nil
//	})
//
// So that the authorization server binds the token to the key, the token request
// itself needs a proof: give the token endpoint to [WithTokenEndpoint] and an
// http.Client with the same Transport to oauth2 (as the oauth2.HTTPClient value of
// its context). A refresh then uses the same key, as it must (RFC 9449, section 5).
//
// # Nonces
//
// The newest nonce of each server is kept, apart for each origin and for its two
// roles, and goes into the next proof. A challenge that asks for a nonce (401 and
// use_dpop_nonce from a resource server, 400 from a token endpoint) is answered by
// exactly one retry, if the request has no body or a GetBody. Otherwise, and
// if the server challenges again, the caller gets the server's response.
//
// # What it does not do
//
// It does not look into access tokens, fetch or refresh them, or follow redirects.
// It does not check that a token is bound to the key: the server does.
//
// # Requests that are sent again
//
// A proof is good once. [http.Transport] sends an idempotent request again by itself
// when a connection that was kept alive breaks; this Transport notices, and gives each
// transmission a proof of its own. It cannot do that for another base that repeats
// requests, so a library for retries belongs around the Transport.
package dpopclient
