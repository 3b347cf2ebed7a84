// Package jwks answers "which public keys does this issuer sign with, right now?"
//
//	source, err := jwks.New("https://issuer.example/jwks")
//	if err != nil {
//		log.Fatal(err) // every mistake, one per line
//	}
//	defer source.Close()
//	keys, err := source.Keys(ctx, "ES256", kid) // of a token's header
//	switch {
//	case errors.Is(err, jwks.ErrNoKey):
//		// the token's fault: 401
//	case err != nil:
//		// ours or the issuer's: 503, see ErrUnavailable
//	}
//
// A [Source] holds the issuer's last good JWK Set (RFC 7517, section 5). The
// first use fetches it; from then on it is refreshed in the background, as
// often as the server's Cache-Control asks for within bounds, and a token under
// a known kid never waits for the network.
//
// A kid that is not in the set causes one fetch, since the issuer may have
// rotated its keys; then a cooldown holds, so that invented kids cannot turn the
// service against its issuer. A bad signature under a known kid fetches nothing.
//
// While the cooldown holds, an unknown kid is [ErrNoKey], whether it is invented or
// was rotated in just now: the two cannot be told apart without asking, and
// answering 503 to invented kids would make clients with bad tokens retry forever.
// So an attacker that sends invented kids can have tokens under a new key refused for
// one cooldown, and no longer: the first question after it finds the key. Tokens
// under known keys are not affected. Nor are those of an issuer that publishes a key,
// before it signs with it, for as long as its answers may be cached: the refresh in
// the background finds that key.
//
// An outage of the issuer goes unnoticed as long as the set is younger than
// [WithMaxStale]. After that, and before the first fetch has succeeded, there
// are no keys: [ErrUnavailable]. An empty, broken or oversized answer counts as
// an outage; it never replaces a good set.
//
// Keys are skipped, one by one, if they cannot verify a signature: of an
// unknown type, too short, for encryption, symmetric, or private.
//
// # What it does not check
//
// It verifies no signature and knows nothing of tokens. It trusts the server that
// answers for the URL: take the URL from your own configuration or from a
// discovery document that you have checked, never from a token (jku).
package jwks
