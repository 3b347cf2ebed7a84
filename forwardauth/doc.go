// Package forwardauth answers: may the request that a proxy asks about pass, and who sent
// it?
//
// It is a Guard for services in any language, behind nginx (auth_request), Caddy
// (forward_auth), Traefik (forwardAuth) or HAProxy (a few lines of Lua): the proxy holds
// a request back, asks a [Handler] about it in a subrequest, and lets it pass if the
// answer is 200.
//
//	guard, err := middleware.New(...)
//	...
//	answers, err := forwardauth.New(guard,
//		forwardauth.WithProxy(forwardauth.NGINX, netip.MustParsePrefix("10.1.2.3/32")))
//	...
//	server := &http.Server{Addr: "10.1.2.4:9090", Handler: answers}
//
// The configurations of the proxies are in docs/terminators.md; they are run and attacked
// by tests in interop/terminators.
//
// # What is judged
//
// The Guard judges the request that the client has sent, and no subrequest: its method,
// target and Host come from the three fields of the [Dialect], each of which must come
// exactly once, from a peer that [WithProxy] trusts; everything else, such as
// Authorization, DPoP and a forwarded certificate, from the fields that the proxy has
// copied. From any other peer every request is refused, whatever is in it. A proof is
// used up by the subrequest. A request counts as a CORS preflight only if the proxy says
// "X-Original-Body: none".
//
// # What the service is told
//
// Each answer, of whatever status, holds each of these fields exactly once, for the proxy
// to copy into the request that passes. What the client itself has sent under these names
// MUST be removed or replaced by the proxy.
//
//	X-Auth-Outcome     pass, anonymous (it may pass, and nothing is known of its sender) or refused; never empty
//	X-Auth-Issuer      iss of the token
//	X-Auth-Subject     sub of the token
//	X-Auth-Client      client_id of the token
//	X-Auth-Scope       its scopes, with a space between
//	X-Auth-Binding     dpop, certificate, both or none: what the request has proven
//	X-Auth-Assertion   the same, signed ([WithAssertion])
//
// They are empty if there is nothing to say. Bytes of a value that are not printable
// ASCII, and the percent sign, are percent-encoded.
//
// A service reads them from the proxy's address alone. If others can reach it too, or if
// it is a Go service with a Guard of its own, [WithAssertion] signs the same for one
// service, and a [Receiver] in front of that Guard reads it.
//
// # What it does not do
//
// It does not read bodies. It does not change the request that the proxy holds back: a
// session's cookie reaches the service, and so does the client's token unless the proxy
// removes it. Binding rules belong to the Guard here; the service behind sees no proof.
package forwardauth
