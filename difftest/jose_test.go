package difftest_test

import (
	"bytes"
	"crypto"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

// FuzzParse: what internal/jose accepts, with the key that it brings along, go-jose
// accepts with the same payload and key.
func FuzzParse(f *testing.F) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		f.Add(goodProof(testKeys()[alg]))
		f.Add(testKeys()[alg].SignRaw([]byte(`{"alg":"`+alg+`","jwk":{}}`), []byte(`{}`)))
	}
	f.Add(josetest.Compact([]byte(`{"alg":"ES256","typ":"at+jwt"}`), []byte(`{"a":[1]}`), make([]byte, 64)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c.d.e")
	known := []gojose.SignatureAlgorithm{
		gojose.ES256, gojose.ES384, gojose.ES512, gojose.EdDSA, gojose.PS256, gojose.PS384,
		gojose.PS512, gojose.RS256, gojose.RS384, gojose.RS512,
	}
	f.Fuzz(func(t *testing.T, compact string) {
		m, err := jose.Parse(compact, 64<<10)
		if err != nil {
			return
		}
		_ = m.Verify(testKeys()["ES256"].Signer.Public())
		key, thumbprint, err := jose.ParseKey(m.Header.JWK)
		if err != nil || key.Usable(m.Header.Algorithm) != nil || m.Verify(key.Public) != nil {
			return
		}
		if m.Header.Algorithm == "Ed25519" {
			return // go-jose does not know RFC 9864
		}
		theirs, err := gojose.ParseSignedCompact(compact, known)
		if err != nil {
			t.Fatalf("go-jose does not parse %q: %v", compact, err)
		}
		embedded := theirs.Signatures[0].Protected.JSONWebKey
		payload, err := theirs.Verify(embedded)
		if err != nil || !bytes.Equal(payload, m.Payload) {
			t.Fatalf("go-jose does not verify %q: %q, %v", compact, payload, err)
		}
		sum, err := embedded.Thumbprint(crypto.SHA256)
		if err != nil || b64(sum) != thumbprint {
			t.Fatalf("thumbprint %q, go-jose %q, %v", thumbprint, b64(sum), err)
		}
	})
}
