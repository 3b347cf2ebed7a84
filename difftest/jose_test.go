package difftest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
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

// FuzzSigned signs whatever header and payload it is given, so that the fuzzer
// gets behind the signature: what is accepted here, go-jose accepts too.
func FuzzSigned(f *testing.F) {
	for _, header := range []string{
		`{"alg":"EdDSA"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"1","x":{"y":[1]}}`, `{"alg":"EdDSA","b64":true}`,
		`{"alg":"EdDSA","crit":["b64"],"b64":true}`, `{"alg":"EdDSA","alg":"EdDSA"}`, `{"alg":"ES256"}`, `{"ALG":"EdDSA"}`,
	} {
		f.Add([]byte(header), []byte(`{"jti":"1"}`))
	}
	f.Add([]byte(`{"alg":"EdDSA"}`), []byte(`{"jti":"1","jti":"2"}`))
	key := testKeys()["EdDSA"]
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		compact := key.SignRaw(header, payload)
		m, err := jose.Parse(compact, 64<<10)
		if err != nil || m.Verify(key.Signer.Public()) != nil {
			return
		}
		if m.Header.Algorithm != "EdDSA" {
			t.Fatalf("%s verifies under a header that says %q", header, m.Header.Algorithm)
		}
		theirs, err := gojose.ParseSignedCompact(compact, []gojose.SignatureAlgorithm{gojose.EdDSA})
		if err != nil {
			var all map[string]json.RawMessage
			if err := json.Unmarshal(header, &all); err != nil {
				t.Fatalf("%q: %v", header, err)
			}
			for _, ignored := range []string{"jwk", "x5c", "nonce", "cty", "jku", "x5u"} {
				if _, ok := all[ignored]; ok {
					return // go-jose reads them
				}
			}
			t.Fatalf("go-jose does not parse %q: %v", header, err)
		}
		got, err := theirs.Verify(key.Signer.Public())
		if err != nil || !bytes.Equal(got, payload) || theirs.Signatures[0].Protected.KeyID != m.Header.KeyID {
			t.Fatalf("go-jose: %q, %v", got, err)
		}
	})
}

type equaler interface{ Equal(crypto.PublicKey) bool }

// FuzzKey: no input makes the parsers panic, and a key that they accept is the one
// that go-jose reads, as far as go-jose takes the numbers in the form that they have.
func FuzzKey(f *testing.F) {
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "EdDSA"} {
		raw := mustJSON(f, testKeys()[alg].JWK())
		f.Add(raw)
		f.Add([]byte(`{"use":"sig","kid":"1","alg":"` + alg + `",` + string(raw[1:])))
	}
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"AA"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"AAAA","y":""}`))
	f.Add([]byte(`{"kty":"RSA","n":"AA","e":"AQAB","d":null}`))
	f.Add([]byte(`{"e":"g","n":"!",` + string(mustJSON(f, testKeys()["ES256"].JWK())[1:])))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, thumbprint, err := jose.ParseKey(raw)
		if err == nil {
			compareWithGoJOSE(t, raw, key.Public)
			if again, err := jose.Thumbprint(key.Public); again != thumbprint || err != nil {
				t.Fatalf("thumbprint %q, of the key %q, %v", thumbprint, again, err)
			}
		}
		keys, _, err := jose.ParseKeySet(append(append([]byte(`{"keys":[`), raw...), "]}"...))
		if err != nil || len(keys) != 1 {
			return
		}
		// go-jose refuses the coordinates that are repaired, so it gets the key in the
		// form that a proof would have.
		compareWithGoJOSE(t, repaired(t, raw, keys[0].Public), keys[0].Public)
	})
}

// repaired returns raw with its coordinates in the width of the curve, by
// arithmetic other than internal/jose's.
func repaired(t *testing.T, raw []byte, public crypto.PublicKey) []byte {
	t.Helper()
	pub, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return raw
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "y"} {
		value, err := base64.RawURLEncoding.DecodeString(all[name].(string))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b64(new(big.Int).SetBytes(value).FillBytes(make([]byte, (pub.Curve.Params().BitSize+7)/8)))
	}
	return mustJSON(t, all)
}

func compareWithGoJOSE(t *testing.T, raw []byte, public crypto.PublicKey) {
	t.Helper()
	// go-jose would look into members that are ignored here, as those of another
	// kty are.
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	members := map[string][]string{"EC": {"kty", "crv", "x", "y"}, "OKP": {"kty", "crv", "x"}, "RSA": {"kty", "n", "e"}}
	required := make(map[string]any)
	for _, name := range members[all["kty"].(string)] {
		required[name] = all[name]
	}
	var theirs gojose.JSONWebKey
	if err := json.Unmarshal(mustJSON(t, required), &theirs); err != nil {
		t.Fatalf("go-jose does not parse %s: %v", raw, err)
	}
	if !public.(equaler).Equal(theirs.Key) {
		t.Fatalf("%s: %v, go-jose %v", raw, public, theirs.Key)
	}
}
