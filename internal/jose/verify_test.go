package jose_test

import (
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

func TestAGoodProofOfEveryAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range jose.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			key := testKeys()[alg]
			claims, thumbprint, err := accept(goodProof(key))
			if err != nil {
				t.Fatal(err)
			}
			if thumbprint != key.Thumbprint() {
				t.Errorf("thumbprint %q, want %q", thumbprint, key.Thumbprint())
			}
			if claims.Method != "GET" || claims.IssuedAt.Time().Unix() != 1562262618 {
				t.Errorf("claims %+v", claims)
			}
		})
	}
}
