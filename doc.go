// Package middleware answers "may this request reach its handler?" for HTTP
// services whose access tokens are sender-constrained: bound to a key (DPoP,
// RFC 9449) or to a client certificate (RFC 8705), so that a stolen token is
// useless to an attacker without the key or the certificate.
//
//	guard, err := middleware.New(
//		middleware.WithTokens(oidc.New("https://issuer.example/realms/main", "https://api.example")),
//		middleware.WithDPoP(dpop.New("https://api.example")),
//		middleware.WithMTLS(mtlspop.New()),
//	)
//	if err != nil {
//		log.Fatal(err) // every mistake in every part, one per line
//	}
//	mux.Handle("GET /orders", guard.Wrap(orders))
//	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(create))
//
// A [Guard] puts four small packages into one order, which [Guard.Check] states:
// oidc says what the access token means, dpop whether the proof is good for this
// request and this token, mtlspop whether the request came over the right
// certificate, and the rules of this package what else a route demands. Each of
// them can be used alone.
//
// # What is decided, and how the client learns of it
//
// A token that is bound must prove its binding, whatever the rules say, by all
// the means that its cnf claim names. A token that is bound by a means for which
// the guard has no verifier is refused: it is never treated as a bearer token. A
// token that is bound to nothing is refused unless [AllowUnbound] is set.
//
// Refusals that the client can do something about are 401, 403 or 400, with a
// challenge for each scheme that could succeed (RFC 9110, section 11.6.1), DPoP
// first, one field line each. Where no decision can be made, because the issuer
// or the replay cache cannot be reached, the answer is 503 without a challenge:
// a client that was told invalid_token would throw away a good token. A header
// beyond the limits is 431. In every one of these cases, and after a panic in a
// part, the handler is not called.
//
// What the guard sets is in the final response, whatever the handler does to the
// header map before it, also behind 1xx responses:
//
//   - Refusals carry Cache-Control: no-store, and their challenges.
//   - A response that renews a DPoP nonce (RFC 9449, section 8.2) or sets a session
//     cookie carries Cache-Control: no-store.
//   - A response to a request by session cookie carries Vary: Cookie and
//     Cache-Control: private, in place of a handler's public.
//   - A response to a request that was judged by a forwarded certificate has the
//     name of that field in Vary (RFC 9440, section 2.4).
//
// To every other request the handler answers with the server's own ResponseWriter.
// Where the guard has set something the handler gets a writer with the same optional
// interfaces (http.Flusher, http.Hijacker, io.ReaderFrom, http.Pusher), and
// http.ResponseController reaches the rest.
//
// # Rules for deployers
//
// These are in the words of RFC 2119.
//
//   - The origin given to dpop.New MUST be the one that clients use, with the
//     path prefix that a proxy in front strips, if it does. It is never taken
//     from the request: a server that believes the Host of a request accepts
//     proofs that were made for others.
//   - A service with several replicas MUST give them one replay cache
//     ([dpop.WithReplayCache]), or a proof can be used once at each. Nonces work
//     across replicas that share the key.
//   - Clocks of servers SHOULD be synchronised to within a few seconds.
//   - The guard MUST be outside every handler and middleware that acts on the
//     request, but inside the CORS middleware, so that preflights are answered
//     and refusals carry CORS fields. That middleware MUST name Authorization and
//     DPoP in Access-Control-Allow-Headers ("*" does not cover Authorization), and
//     DPoP-Nonce and WWW-Authenticate in Access-Control-Expose-Headers.
//   - A reverse proxy behind the guard MUST NOT forward Upgrade for any protocol
//     but WebSocket: after a switch to h2c, the client sends requests to the
//     service that no guard has seen. It SHOULD remove DPoP-Nonce from the
//     responses of its backends. Package reverseproxy makes a
//     [net/http/httputil.ReverseProxy] do this and more; use it with
//     [ForwardBearer] or [HideCredentials].
//   - A certificate MUST be taken from a header only from the proxy that writes
//     it; mtlspop asks for its address, and cannot be told to trust every peer.
//   - A server that wants client certificates itself SHOULD ask for them with
//     [mtlspop.RequestClientCert]: crypto/tls asks only at the handshake.
//   - Handlers MUST NOT act on an OPTIONS request when [PassPreflights] is set, nor
//     on GET and HEAD with [WithSession]: browsers send cookies with the requests
//     of other sites.
//
// # Nested guards
//
// A Guard inside another relies on what the outer one verified for this very
// request with the same part: the token, the proof and the certificate are
// verified once, and each guard's rules apply. A handler that makes a request in
// process with its own request's context does not lend it its credential.
//
// # Transports that are not net/http
//
// [Guard.Judge] takes a [Request] in a form that no transport owns, and returns a
// [Verdict]: the credential for [NewContext], or the status, fields and body of the
// refusal. It is for RPC interceptors, messages from a queue, and proxies that ask for a
// decision.
//
// # What it does not do
//
// It reads no request bodies, so that a token in a form is not found
// (RFC 6750, section 2.2), and no token in a query (section 2.3). It does not obtain
// tokens for users. With [WithSession] a cookie stands for a token that was presented
// once; nothing is stored on the server.
package middleware
