package clientauth

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/keybound-go/middleware/internal/josesign"
)

// signingKey is a Key that has been looked at.
type signingKey struct {
	key *josesign.Key
	id  string
	jwk json.RawMessage // the public key, as it is published
}

func newSigningKey(k Key) (*signingKey, error) {
	key, err := josesign.New(k.Signer, k.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("clientauth: Key: %w", err)
	}
	id := cmp.Or(k.KeyID, key.Thumbprint())
	var jwk map[string]string
	if err := json.Unmarshal([]byte(key.JWK()), &jwk); err != nil {
		return nil, fmt.Errorf("clientauth: Key: %w", err)
	}
	jwk["kid"], jwk["alg"], jwk["use"] = id, key.Algorithm(), "sig"
	published, err := json.Marshal(jwk)
	if err != nil {
		return nil, fmt.Errorf("clientauth: Key: %w", err)
	}
	return &signingKey{key, id, published}, nil
}
