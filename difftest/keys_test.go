package difftest_test

import (
	"encoding/base64"
	"sync"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

// testKeys returns one key per algorithm; those with RSA share a modulus, since
// making one takes long.
var testKeys = sync.OnceValue(func() map[string]*josetest.Key {
	keys := map[string]*josetest.Key{}
	var rsaKey *josetest.Key
	for _, alg := range jose.Algorithms() {
		switch alg[:2] {
		case "RS", "PS":
			if rsaKey == nil {
				rsaKey = josetest.NewKey(alg)
			}
			keys[alg] = josetest.FromSigner(alg, rsaKey.Signer)
		default:
			keys[alg] = josetest.NewKey(alg)
		}
	}
	return keys
})

func goodProof(key *josetest.Key) string {
	return key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}, map[string]any{
		"jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": "https://api.example/orders/17", "iat": 1562262618,
	})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
