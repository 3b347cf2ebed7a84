// Package oidc answers "what does this access token say, and who says so?"
//
//	v, err := oidc.New("https://issuer.example/realms/main", "https://api.example")
//	if err != nil {
//		log.Fatal(err) // every mistake, one per line
//	}
//	defer v.Close()
//	token, err := v.VerifyToken(ctx, raw)
//
// [New] makes a [Verifier] of JWT access tokens (RFC 9068), and [AnyOf] combines
// those of several issuers. Package introspect asks the issuer about tokens that
// say nothing by themselves (RFC 7662, RFC 9701). Each is a token verifier of
// package middleware. A service that uses one issuer in several ways makes an
// [Issuer], which they share.
//
// # The issuer
//
// Metadata and keys are found by discovery (RFC 8414, OpenID Connect Discovery),
// fetched when the first token needs them and kept fresh in the background until
// Close. The issuer may be down when the service starts. While it is down, what
// is known stays in use for a day; when nothing is known, the error is one of
// ours and the answer 503: whether the token is good is not known.
//
// Both forms of the metadata URL are tried, OpenID Connect's first, and the other if
// there is nothing at that. RFC 9068, section 4 has issuers keep the two consistent;
// this is not checked. The issuer that the document names must be the configured
// one, character for character.
//
//	reply                                              what it means
//	200, application/json, an object of our issuer     the metadata
//	4xx, but not 408 or 429                            not here: the other URL is asked
//	408, 429, 5xx; no reply                            an outage
//	anything else: web pages, empty bodies, {}, other  a mistake in the configuration; counts as an
//	  types, other issuers, redirects elsewhere          outage
//
// A byte order mark in front is ignored. An optional member that is null is absent,
// and one of the wrong type makes the document malformed. Documents may have 1 MiB.
//
// # Issuers that are not quite RFC 9068
//
// The default accepts tokens of RFC 9068 and nothing else. Issuers that deviate
// have a named [Profile], which says what it accepts in place of what:
//
//	v, err := oidc.New("https://keycloak.example/realms/main", "https://api.example",
//		oidc.WithProfile(oidc.Keycloak))
//
// No profile accepts an ID token, whatever its audience, not even with
// [DangerouslyAcceptAnyAudience].
//
// # What is remembered
//
// A token that has been verified is not verified again while its entry is in the
// cache, but its times are looked at with each request, and once the issuer
// withdraws the key that signed it, it is not accepted any more. The cache is
// bounded, holds hashes and claims but no tokens, and nothing about tokens that
// were refused. Withdrawn tokens it does not notice: a JWT is good until it
// expires, unless package introspect asks the issuer.
//
// # What it does not check
//
// Who presents the token: a [Token] with a [Confirmation] is good only together
// with a proof or a certificate, and enforcing that is the work of package
// middleware, with dpop and mtlspop. Nor scopes, nor what any other claim means.
package oidc
