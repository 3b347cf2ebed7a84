package jose_test

import (
	"fmt"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

func Example() {
	sender := josetest.NewKey("ES256")
	compact := sender.Sign(
		map[string]any{"typ": "dpop+jwt", "jwk": sender.JWK()},
		map[string]any{"jti": "e1j3V_bKic8-LAEB", "iat": 1562262618},
	)
	id, err := verify(compact)
	fmt.Println(id, err)
	// Output: e1j3V_bKic8-LAEB <nil>
}

func verify(compact string) (id string, err error) {
	m, err := jose.Parse(compact, 8<<10, 8)
	if err != nil {
		return "", err
	}
	key, _, err := jose.ParseKey(m.Header.JWK)
	if err != nil {
		return "", err
	}
	if err := key.Usable(m.Header.Algorithm); err != nil {
		return "", err
	}
	var claims struct {
		ID       string           `json:"jti"`
		IssuedAt jose.NumericDate `json:"iat"`
	}
	if err := jose.Unmarshal(m.Payload, &claims, 8); err != nil {
		return "", err
	}
	return claims.ID, m.Verify(key.Public)
}
