package jose_test

import (
	"crypto"
	"errors"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

func TestAKeySetLosesOnlyTheKeysThatAreOfNoUse(t *testing.T) {
	ec, rsaKey, ed := testKeys()["ES256"].JWK(), testKeys()["RS256"].JWK(), testKeys()["EdDSA"].JWK()
	type public interface{ Equal(crypto.PublicKey) bool }
	for _, test := range []struct {
		name string
		jwk  any
		want error // nil: kept
	}{
		{"an EC key", with(ec, object{"kid": "1", "use": "sig", "alg": "ES256"}), nil},
		{"an RSA key with all that issuers add", with(rsaKey, object{"kid": "1", "use": "sig", "alg": "RS256", "x5c": []string{"MIIB"}, "x5t": "AQ", "x5t#S256": "AQ", "x5u": "https://a.example", "issuer": "x", "nbf": 1}), nil},
		{"no kid, use, or alg", ed, nil},
		{"alg Ed25519", with(ed, object{"alg": "Ed25519"}), nil},
		{"JWKS-02 key_ops with verify", with(ec, object{"key_ops": []string{"sign", "verify"}}), nil},
		{"JOSE-KEY-04 n with a leading zero byte, as some issuers write it", with(rsaKey, object{"n": b64(append([]byte{0}, unb64(t, rsaKey["n"])...))}), nil},
		{"JWKS-01 kty FOO", with(ec, object{"kty": "FOO"}), jose.ErrKeyType},
		{"JWKS-01 kty AKP", object{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQ"}, jose.ErrKeyType},
		{"JWKS-01 no kty", with(ec, object{"kty": nil}), jose.ErrKey},
		{"JWKS-01 no x", with(ec, object{"x": nil}), jose.ErrKey},
		{"JWKS-01 an oversized x", with(ec, object{"x": b64(make([]byte, 100))}), jose.ErrKey},
		{"JWKS-01 an Ed25519 key of 31 bytes", with(ed, object{"x": b64(make([]byte, 31))}), jose.ErrKey},
		{"JWKS-01 off the curve", with(ec, object{"x": ec["y"]}), jose.ErrKey},
		{"JWKS-01 P-256K", with(ec, object{"crv": "secp256k1"}), jose.ErrKeyType},
		{"JWKS-01 X25519", with(ed, object{"crv": "X25519"}), jose.ErrKeyType},
		{"JWKS-01 JOSE-KEY-03 RSA 1024", with(rsaKey, object{"n": modulus(1024)}), jose.ErrWeakKey},
		{"JWKS-01 JOSE-KEY-04 RSA 8192", with(rsaKey, object{"n": modulus(8192)}), jose.ErrWeakKey},
		{"JWKS-01 JOSE-KEY-04 e = 3", with(rsaKey, object{"e": "Aw"}), jose.ErrWeakKey},
		{"JWKS-01 JOSE-KEY-07 small order", with(ed, object{"x": b64(make([]byte, 32))}), jose.ErrWeakKey},
		{"JWKS-01 a string", "key", jose.ErrKey},
		{"JWKS-01 null", nil, jose.ErrKey},
		{"JWKS-01 kid a number", with(ec, object{"kid": 1}), jose.ErrKey},
		{"JWKS-02 use enc", with(rsaKey, object{"use": "enc"}), jose.ErrKeyUse},
		{"JWKS-02 use a number", with(rsaKey, object{"use": 1}), jose.ErrKeyUse},
		{"JWKS-02 key_ops without verify", with(ec, object{"key_ops": []string{"sign", "deriveKey"}}), jose.ErrKeyUse},
		{"JWKS-02 key_ops empty", with(ec, object{"key_ops": []string{}}), jose.ErrKeyUse},
		{"JWKS-02 key_ops a string", with(ec, object{"key_ops": "verify"}), jose.ErrKey},
		{"JWKS-02 alg of an encryption", with(rsaKey, object{"alg": "RSA-OAEP"}), jose.ErrKeyMismatch},
		{"BCP-3.1 alg of another curve", with(ec, object{"alg": "ES384"}), jose.ErrKeyMismatch},
		{"JWKS-08 JOSE-KEY-06 oct", object{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}, jose.ErrPrivateKey},
		{"JWKS-08 JOSE-KEY-06 a private EC key", with(ec, object{"d": "c2VjcmV0"}), jose.ErrPrivateKey},
		{"JWKS-08 JOSE-KEY-06 a private RSA member", with(rsaKey, object{"qi": "c2VjcmV0"}), jose.ErrPrivateKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			good := testKeys()["ES384"]
			set := object{"keys": []any{test.jwk, with(good.JWK(), object{"kid": "good"})}, "other": 1}
			keys, skipped, err := jose.ParseKeySet(mustJSON(t, set))
			if err != nil {
				t.Fatal(err)
			}
			last := keys[len(keys)-1]
			if !good.Signer.Public().(public).Equal(last.Public) || last.KeyID != "good" {
				t.Errorf("the good key is lost: %+v", keys)
			}
			if test.want == nil {
				if len(keys) != 2 || len(skipped) != 0 {
					t.Fatalf("%v, %v", keys, skipped)
				}
				return
			}
			if len(keys) != 1 || len(skipped) != 1 || !errors.Is(skipped[0], test.want) {
				t.Fatalf("%v, %v, want %v", keys, skipped, test.want)
			}
			if text := skipped[0].Error(); !strings.HasPrefix(text, "jose: key 0 of the set") || strings.Contains(text, "c2VjcmV0") {
				t.Error(text)
			}
		})
	}
}

func TestAKeySetKeepsWhatSelectsAKey(t *testing.T) {
	for _, alg := range jose.Algorithms() {
		key := testKeys()[alg]
		set := object{"keys": []any{with(key.JWK(), object{"kid": "a\"b", "use": "sig", "alg": alg})}}
		keys, skipped, err := jose.ParseKeySet(mustJSON(t, set))
		if err != nil || len(keys) != 1 || len(skipped) != 0 {
			t.Fatal(alg, keys, skipped, err)
		}
		if k := keys[0]; k.KeyID != "a\"b" || k.Use != "sig" || k.Algorithm != alg {
			t.Errorf("%+v", k)
		}
		if err := keys[0].Usable(alg); err != nil {
			t.Error(alg, err)
		}
		m, err := jose.Parse(goodProof(key), testMaxSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(keys[0].Public); err != nil {
			t.Error(alg, err)
		}
		if got, err := jose.Thumbprint(keys[0].Public); got != key.Thumbprint() || err != nil {
			t.Error(alg, got, err)
		}
	}
}

func TestAHostileKidIsDescribedHarmlessly(t *testing.T) {
	kid := strings.Repeat("x", 64<<10) + "\n\x1b[31m"
	set := object{"keys": []any{object{"kid": "\n\x1b[31m\u2028"}, object{"kid": kid}}}
	_, skipped, err := jose.ParseKeySet(mustJSON(t, set))
	if err != nil || len(skipped) != 2 {
		t.Fatal(skipped, err)
	}
	t.Run("BCP-3.10 no control characters, bounded length", func(t *testing.T) {
		for _, s := range skipped {
			if text := s.Error(); len(text) > 300 || strings.ContainsAny(text, "\n\x1b\u2028") {
				t.Errorf("%.400q", text)
			}
		}
	})
}

func TestADocumentThatIsNoKeySetIsAnError(t *testing.T) {
	good := string(mustJSON(t, testKeys()["ES256"].JWK()))
	for _, test := range []struct {
		name, raw string
		want      error
	}{
		{"a set without keys", `{"keys":[]}`, nil},
		{"nothing", ``, jose.ErrKeySet},
		{"HTML", `<html>`, jose.ErrKeySet},
		{"null", `null`, jose.ErrKeySet},
		{"an array", `[` + good + `]`, jose.ErrKeySet},
		{"a single key", good, jose.ErrKeySet},
		{"no keys", `{}`, jose.ErrKeySet},
		{"keys null", `{"keys":null}`, jose.ErrKeySet},
		{"keys an object", `{"keys":` + good + `}`, jose.ErrKeySet},
		{"JSON-02 Keys", `{"Keys":[` + good + `]}`, jose.ErrKeySet},
		{"JSON-01 keys twice", `{"keys":[],"keys":[` + good + `]}`, jose.ErrKeySet},
		{"JSON-01 a member of a key twice", `{"keys":[{"kty":"EC",` + good[1:] + `]}`, jose.ErrKeySet},
		{"JSON-03 invalid UTF-8", "{\"keys\":[" + good + "],\"a\":\"\xff\"}", jose.ErrKeySet},
		{"JSON-04 something after it", `{"keys":[]}{}`, jose.ErrKeySet},
		{"JSON-04 cut short", `{"keys":[` + good, jose.ErrKeySet},
		{"JSON-04 a nesting bomb", `{"keys":` + strings.Repeat("[", 1<<20), jose.ErrTooDeep},
	} {
		t.Run("JWKS-01 "+test.name, func(t *testing.T) {
			keys, _, err := jose.ParseKeySet([]byte(test.raw))
			if err != test.want || len(keys) != 0 {
				t.Errorf("%v, %v, want %v", keys, err, test.want)
			}
		})
	}
}
