package jose_test

import (
	"fmt"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/internal/strictjson"
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
	m, err := jose.Parse(compact, 8<<10)
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
	var o strictjson.Object
	for o.Start(m.Payload, 8); o.Next(); {
		if string(o.Name()) == "jti" {
			o.Text(&id)
		}
	}
	if err := o.Err(); err != nil {
		return "", err
	}
	return id, m.Verify(key.Public)
}
