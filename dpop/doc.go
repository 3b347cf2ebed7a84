// Package dpop answers "is this proof good for this request and this token?"
// (RFC 9449, Demonstrating Proof of Possession).
//
//	verifier, err := dpop.New("https://api.example")
//	if err != nil {
//		log.Fatal(err)
//	}
//	// token is verified already, and thumbprint is the jkt of its cnf claim.
//	proof, err := verifier.Verify(r, token, thumbprint)
//
// # The checks
//
// [Verifier.Verify] makes the twelve checks of RFC 9449, section 4.3. All must
// pass. They run in this order: the cheap ones first, and the replay cache last,
// so that a proof takes space there when everything else about it is good:
//
//  1. exactly one DPoP field, within the size limit
//  2. its value is one well-formed JWT in compact form
//  4. typ is dpop+jwt
//  5. alg is asymmetric and one of [WithAlgorithms]
//  7. jwk is a public key, valid, fit for alg, without any private member
//  3. every required claim is there, with its right JSON type
//  8. htm is the request's method
//  9. htu is the request's target URI: a configured origin and the raw path
//  11. iat, exp and nbf allow the proof now (with nonces: see check 10)
//  12. ath is the hash of the access token, and
//     the key's thumbprint is the one that the token is bound to
//  6. the signature verifies with jwk
//  10. with [WithNonces]: nonce is ours and young enough
//     --  the jti of this key has not been seen before (section 11.1)
//
// # Target URI
//
// What a proof must name in htu comes from the configuration and from the
// request's raw path, never from a Host or X-Forwarded-* field: otherwise a
// malicious service could replay the proofs that it receives, by sending its own
// name as the Host. The request's Host must be that of a configured origin too (or
// one of [WithInternalHosts], where a proxy replaces it). A path prefix that a
// proxy strips is a part of the configured origin.
//
// htu is compared with the request's path as it stands, without query and fragment:
// as it is spelt (except for the case of hex digits), and in the normal form of
// RFC 3986, sections 6.2.2 and 6.2.3, in which characters that no URI may hold are
// escaped. The path of the request is never normalised, since routers read it as it
// stands: a proof for "/orders" is not good for "/admin/../orders".
//
// # Time, nonces and replay
//
// A proof is good while now-lifetime <= iat <= now+skew. With nonces, the age of
// the nonce takes the place of that window, as section 4.3, check 11, permits:
// iat must still be a number, but a client with a wrong clock is served, unless
// [CheckIssuedAt] is given.
//
// Within that time every proof passes once. A [ReplayCache] keeps the used ones. The
// default, a [MemoryCache], knows the proofs of one process. Replicas that share the
// work need a shared cache: without one, a proof can be used once at each of them.
//
// # What it does not check
//
// The issuer of the access token, whether the token is valid, and what it permits.
// That jkt is what the token says. Whether the connection was encrypted: https in the
// configured origin is what the client believes, not what this process has seen.
package dpop
