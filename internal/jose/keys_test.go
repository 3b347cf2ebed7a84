package jose_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// testKeys returns one key per algorithm, the RSA ones sharing one modulus,
// since making one takes long.
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

// otherKeys has a second key for each algorithm but those with RSA.
var otherKeys = sync.OnceValue(func() map[string]*josetest.Key {
	keys := map[string]*josetest.Key{}
	for _, alg := range jose.Algorithms() {
		if alg[1] != 'S' || alg[0] == 'E' {
			keys[alg] = josetest.NewKey(alg)
		}
	}
	return keys
})

const testMaxSize = 8 << 10

// proofClaims are the claims of a proof that these tests look at.
type proofClaims struct {
	ID       string                 // jti
	Method   string                 // htm
	IssuedAt strictjson.NumericDate // iat
}

func (c *proofClaims) read(payload []byte) error {
	var o strictjson.Object
	for o.Start(payload, 8); o.Next(); {
		switch string(o.Name()) {
		case "jti":
			o.Text(&c.ID)
		case "htm":
			o.Text(&c.Method)
		case "iat":
			o.Date(&c.IssuedAt)
		}
	}
	return o.Err()
}

func goodClaims() map[string]any {
	return map[string]any{
		"jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": "https://api.example/orders/17",
		"iat": 1562262618, "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
	}
}

func goodProof(key *josetest.Key) string {
	return key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}, goodClaims())
}

// accept does with a proof all that this room can do with one.
func accept(proof string) (claims proofClaims, thumbprint string, err error) {
	m, err := jose.Parse(proof, testMaxSize)
	if err != nil {
		return claims, "", err
	}
	key, thumbprint, err := jose.ParseKey(m.Header.JWK)
	if err != nil {
		return claims, "", err
	}
	if err := key.Usable(m.Header.Algorithm); err != nil {
		return claims, "", err
	}
	if err := claims.read(m.Payload); err != nil {
		return claims, "", err
	}
	return claims, thumbprint, m.Verify(key.Public)
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
