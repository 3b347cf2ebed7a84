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
// rotated its keys; then a cooldown holds, so that made-up kids cannot turn the
// service against its issuer. A bad signature under a known kid fetches nothing.
//
// While the cooldown holds, an unknown kid is [ErrNoKey], whether it is made up or
// was rotated in just now: nobody can tell without asking, and an answer of "come
// back later" to made-up kids would let strangers have clients with bad tokens try
// for ever. So whoever sends made-up kids can have tokens under a new key refused
// for one cooldown, though not longer: the first question after it finds the
// key, whoever causes it. Tokens under the keys that are known are not affected, nor
// those of an issuer that publishes a key for as long as its answers may be
// cached before it signs with it: the refresh in the background finds that one.
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
// It verifies no signature and knows nothing of tokens. It trusts whoever
// answers for the URL: take the URL from your own configuration or from a
// discovery document that you have checked, never from a token (jku).
package jwks
