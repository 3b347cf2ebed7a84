package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

type object = map[string]any

// with returns a copy of jwk in which changes are made; nil removes a member.
func with(jwk object, changes object) object {
	jwk = maps.Clone(jwk)
	maps.Copy(jwk, changes)
	maps.DeleteFunc(jwk, func(_ string, v any) bool { return v == nil })
	return jwk
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, v any) []byte {
	t.Helper()
	decoded, err := base64.RawURLEncoding.DecodeString(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// modulus returns an odd number of exactly bits bits. It is no product of two
// primes, which does not show.
func modulus(bits int) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return b64(n.SetBit(n, 0, 1).Bytes())
}

func TestParseKeyRefusesAnyFault(t *testing.T) {
	ec, rsaKey, ed := testKeys()["ES256"].JWK(), testKeys()["RS256"].JWK(), testKeys()["EdDSA"].JWK()
	x := unb64(t, ec["x"])
	p := elliptic.P256().Params().P
	reduced := new(big.Int).Add(new(big.Int).SetBytes(x), p)
	zeros := b64(make([]byte, 32))
	type row struct {
		name string
		jwk  object
		want error
	}
	rows := []row{
		{"a good EC key", ec, nil},
		{"a good RSA key", rsaKey, nil},
		{"a good Ed25519 key", ed, nil},
		{"JWK-4 unknown members are ignored", with(ec, object{"ext": true, "key_ops": []string{}, "use": "enc", "kid": 7, "iat": 1, "x5c": "x"}), nil},
		{"JWK-4 AMB-23 key_ops and ext of a browser", with(ec, object{"ext": true, "key_ops": []string{"verify"}}), nil},
		{"JWK-4 members of another key type", with(ed, object{"n": "AQ", "e": "AQ", "y": "AQ"}), nil},
		{"no kty", with(ec, object{"kty": nil}), jose.ErrKey},
		{"kty a number", with(ec, object{"kty": 1}), jose.ErrKey},
		{"kty in lower case", with(ec, object{"kty": "ec"}), jose.ErrKeyType},
		{"JWKS-01 kty FOO", with(ec, object{"kty": "FOO"}), jose.ErrKeyType},
		{"JOSE-KEY-06 kty oct", object{"kty": "oct"}, jose.ErrPrivateKey},
		{"JOSE-KEY-01 no x", with(ec, object{"x": nil}), jose.ErrKey},
		{"JOSE-KEY-01 no y", with(ec, object{"y": nil}), jose.ErrKey},
		{"JOSE-KEY-01 y a number", with(ec, object{"y": 1}), jose.ErrKey},
		{"JOSE-KEY-01 short x", with(ec, object{"x": b64(x[1:])}), jose.ErrKey},
		{"JOSE-KEY-01 long x", with(ec, object{"x": b64(append([]byte{0}, x...))}), jose.ErrKey},
		{"JOSE-KEY-01 off the curve", with(ec, object{"x": ec["y"], "y": ec["x"]}), jose.ErrKey},
		{"JOSE-KEY-01 the zero point", with(ec, object{"x": zeros, "y": zeros}), jose.ErrKey},
		{"JOSE-KEY-01 x beyond the prime", with(ec, object{"x": b64(bytes.Repeat([]byte{0xff}, 32))}), jose.ErrKey},
		{"JOSE-KEY-01 x plus the prime, in 33 bytes", with(ec, object{"x": b64(reduced.Bytes())}), jose.ErrKey},
		{"JOSE-KEY-02 no crv", with(ec, object{"crv": nil}), jose.ErrKey},
		{"JOSE-KEY-02 crv P-256K", with(ec, object{"crv": "P-256K"}), jose.ErrKeyType},
		{"JOSE-KEY-02 crv secp256k1", with(ec, object{"crv": "secp256k1"}), jose.ErrKeyType},
		{"JOSE-KEY-05 crv P-192", with(ec, object{"crv": "P-192"}), jose.ErrKeyType},
		{"JOSE-KEY-05 crv P-224", with(ec, object{"crv": "P-224"}), jose.ErrKeyType},
		{"JOSE-KEY-02 crv of another width", with(ec, object{"crv": "P-384"}), jose.ErrKey},
		{"JOSE-KEY-02 crv in lower case", with(ec, object{"crv": "p-256"}), jose.ErrKeyType},
		{"B64-01 a newline in x", with(ec, object{"x": ec["x"].(string)[:42] + "\n"}), jose.ErrKey},
		{"B64-01 a newline inserted into x", with(ec, object{"x": ec["x"].(string) + "\n"}), jose.ErrKey},
		{"B64-01 padding after x", with(ec, object{"x": ec["x"].(string) + "="}), jose.ErrKey},
		{"B64-01 the other alphabet", with(rsaKey, object{"n": strings.NewReplacer("-", "+", "_", "/").Replace(modulus(2048)[:300] + "-_" + modulus(2048)[302:])}), jose.ErrKey},
		{"B64-02 trailing bits in x", with(ec, object{"x": lastCharacterPlusOne(ec["x"].(string))}), jose.ErrKey},
		{"JOSE-KEY-03 RSA 1024", with(rsaKey, object{"n": modulus(1024)}), jose.ErrWeakKey},
		{"JOSE-KEY-03 RSA 2047", with(rsaKey, object{"n": modulus(2047)}), jose.ErrWeakKey},
		{"JOSE-KEY-03 RSA 2048", with(rsaKey, object{"n": modulus(2048)}), nil},
		{"JOSE-KEY-04 RSA 4096", with(rsaKey, object{"n": modulus(4096)}), nil},
		{"JOSE-KEY-04 RSA 4097", with(rsaKey, object{"n": modulus(4097)}), jose.ErrWeakKey},
		{"JOSE-KEY-04 RSA 16384", with(rsaKey, object{"n": modulus(16384)}), jose.ErrWeakKey},
		{"JOSE-KEY-04 n even", with(rsaKey, object{"n": b64(append(unb64(t, modulus(2048))[:255], 2))}), jose.ErrKey},
		{"JOSE-KEY-04 n zero", with(rsaKey, object{"n": "AA"}), jose.ErrKey},
		{"JOSE-KEY-04 n with a leading zero byte", with(rsaKey, object{"n": b64(append([]byte{0}, unb64(t, rsaKey["n"])...))}), jose.ErrKey},
		{"JOSE-KEY-04 e = 1", with(rsaKey, object{"e": "AQ"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 3", with(rsaKey, object{"e": "Aw"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 65536", with(rsaKey, object{"e": "AQAA"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 65539", with(rsaKey, object{"e": "AQAD"}), nil},
		{"JOSE-KEY-04 e even", with(rsaKey, object{"e": "AQAC"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 2^31-1", with(rsaKey, object{"e": "f____w"}), nil},
		{"JOSE-KEY-04 e = 2^31+1", with(rsaKey, object{"e": "gAAAAQ"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 2^32+65537", with(rsaKey, object{"e": "AQABAAE"}), jose.ErrWeakKey},
		{"JOSE-KEY-04 e with a leading zero byte", with(rsaKey, object{"e": "AAEAAQ"}), jose.ErrKey},
		{"JOSE-KEY-04 e a number", with(rsaKey, object{"e": 65537}), jose.ErrKey},
		{"no e", with(rsaKey, object{"e": nil}), jose.ErrKey},
		{"no n", with(rsaKey, object{"n": nil}), jose.ErrKey},
		{"JOSE-KEY-07 Ed25519 of 31 bytes", with(ed, object{"x": b64(make([]byte, 31))}), jose.ErrKey},
		{"JOSE-KEY-07 Ed25519 of 33 bytes", with(ed, object{"x": b64(make([]byte, 33))}), jose.ErrKey},
		{"JOSE-KEY-07 no x", with(ed, object{"x": nil}), jose.ErrKey},
		{"JOSE-KEY-07 y = p", with(ed, object{"x": b64(littleEndian(edwardsP))}), jose.ErrKey},
		{"JOSE-KEY-07 y = p-3, the largest that is no small order", with(ed, object{"x": b64(littleEndian(new(big.Int).Sub(edwardsP, big.NewInt(3))))}), nil},
		{"JOSE-ED X25519", with(ed, object{"crv": "X25519"}), jose.ErrKeyType},
		{"JOSE-ED Ed448", with(ed, object{"crv": "Ed448"}), jose.ErrKeyType},
		{"JOSE-ED no crv", with(ed, object{"crv": nil}), jose.ErrKey},
		{"JOSE-ED OKP on an EC curve", with(ed, object{"crv": "P-256"}), jose.ErrKeyType},
		{"BCP-3.1 alg a number", with(ec, object{"alg": 1}), jose.ErrKey},
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		for _, key := range []object{ec, rsaKey, ed} {
			rows = append(rows, row{fmt.Sprintf("JOSE-KEY-06 %v with %s", key["kty"], name), with(key, object{name: "AQ"}), jose.ErrPrivateKey})
		}
	}
	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			key, thumbprint, err := jose.ParseKey(mustJSON(t, test.jwk))
			if err != test.want {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if (err == nil) != (key.Public != nil) || (err == nil) != (thumbprint != "") {
				t.Errorf("a key on an error, or none without one: %+v", key)
			}
		})
	}
}

func TestParseKeyIsStrictAboutJSON(t *testing.T) {
	good := string(mustJSON(t, testKeys()["ES256"].JWK()))
	for _, test := range []struct {
		name, raw string
		want      jose.Error
	}{
		{"JOSE-KEY-06 even a null d", `{"d":null,` + good[1:], jose.ErrPrivateKey},
		{"JOSE-KEY-06 an escaped d", `{"\u0064":"AQ",` + good[1:], jose.ErrPrivateKey},
		{"JSON-01 kty twice", `{"kty":"EC",` + good[1:], jose.ErrKey},
		{"JSON-01 kty twice, once escaped", `{"\u006bty":"EC",` + good[1:], jose.ErrKey},
		{"JSON-02 KTY is another name", `{"KTY":"EC"}`, jose.ErrKey},
		{"JSON-03 invalid UTF-8", "{\"a\":\"\xff\"," + good[1:], jose.ErrKey},
		{"JSON-04 something after it", good + "0", jose.ErrKey},
		{"JSON-04 not an object", `[` + good + `]`, jose.ErrKey},
		{"JSON-04 null", `null`, jose.ErrKey},
		{"JSON-04 nothing", ``, jose.ErrKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := jose.ParseKey([]byte(test.raw)); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestMembersOfOtherKeyTypesAreNoPartOfTheThumbprint(t *testing.T) {
	// JKT-3: one key has one thumbprint.
	for alg, other := range map[string]string{"Ed25519": "y", "ES256": "n", "RS256": "x"} {
		key := testKeys()[alg]
		if _, got, err := jose.ParseKey(mustJSON(t, with(key.JWK(), object{other: "AQ"}))); got != key.Thumbprint() || err != nil {
			t.Errorf("%s with %s: %q, %v", alg, other, got, err)
		}
	}
}

func TestAnAlgorithmFitsOneKindOfKey(t *testing.T) {
	fits := func(alg, key string) bool {
		isRSA := func(s string) bool { return s[1] == 'S' && s[0] != 'E' }
		isEd := func(s string) bool { return s[0] == 'E' && s[1] != 'S' }
		return alg == key || isRSA(alg) && isRSA(key) || isEd(alg) && isEd(key)
	}
	for _, alg := range jose.Algorithms() {
		for _, other := range jose.Algorithms() {
			t.Run("BCP-3.1 JOSE-KEY-02 "+alg+" with a key for "+other, func(t *testing.T) {
				want := error(jose.ErrKeyMismatch)
				if fits(alg, other) {
					want = nil
				}
				public := testKeys()[other].Signer.Public()
				if err := jose.CheckKey(alg, public); err != want {
					t.Errorf("CheckKey: %v, want %v", err, want)
				}
				if err := (jose.Key{Public: public}).Usable(alg); err != want {
					t.Errorf("Usable: %v, want %v", err, want)
				}
			})
		}
	}
}

func TestTheAlgOfAKeyMustAgree(t *testing.T) {
	for _, test := range []struct {
		key, own, alg string
		want          error
	}{
		{"ES256", "ES256", "ES256", nil},
		{"ES256", "", "ES256", nil},
		{"ES256", "ES384", "ES256", jose.ErrKeyMismatch},
		{"ES256", "es256", "ES256", jose.ErrKeyMismatch},
		{"ES256", "ECDH-ES", "ES256", jose.ErrKeyMismatch},
		{"RS256", "RS256", "PS256", jose.ErrKeyMismatch},
		{"RS256", "PS256", "PS384", jose.ErrKeyMismatch},
		{"EdDSA", "Ed25519", "EdDSA", nil},
		{"EdDSA", "EdDSA", "Ed25519", nil},
		{"EdDSA", "Ed448", "EdDSA", jose.ErrKeyMismatch},
		{"ES256", "none", "none", jose.ErrAlgorithm},
	} {
		t.Run("BCP-3.1 JOSE-ED jwk.alg "+test.own+" with "+test.alg, func(t *testing.T) {
			changes := object{}
			if test.own != "" {
				changes["alg"] = test.own
			}
			key, _, err := jose.ParseKey(mustJSON(t, with(testKeys()[test.key].JWK(), changes)))
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Usable(test.alg); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestCheckKeyRefusesWhatIsNoSoundKey(t *testing.T) {
	ec := testKeys()["ES256"].Signer.Public().(*ecdsa.PublicKey)
	big2048 := new(big.Int).SetBytes(unb64(t, modulus(2048)))
	//lint:ignore SA1019 a key that no parser returns
	offCurve := &ecdsa.PublicKey{Curve: ec.Curve, X: ec.Y, Y: ec.X}
	for _, test := range []struct {
		name string
		alg  string
		key  crypto.PublicKey
		want jose.Error
	}{
		{"BCP-3.2 none", "none", ec, jose.ErrAlgorithm},
		{"BCP-3.2 no algorithm", "", ec, jose.ErrAlgorithm},
		{"BCP-3.1 an HMAC secret", "HS256", []byte("secret"), jose.ErrAlgorithm},
		{"nil", "ES256", nil, jose.ErrKeyMismatch},
		{"a nil EC key", "ES256", (*ecdsa.PublicKey)(nil), jose.ErrKey},
		{"an empty EC key", "ES256", new(ecdsa.PublicKey), jose.ErrKey},
		{"an EC key by value", "ES256", *ec, jose.ErrKeyMismatch},
		{"a private EC key", "ES256", testKeys()["ES256"].Signer, jose.ErrKeyMismatch},
		{"JOSE-KEY-01 off the curve", "ES256", offCurve, jose.ErrKey},
		{"a nil RSA key", "RS256", (*rsa.PublicKey)(nil), jose.ErrKey},
		{"an empty RSA key", "RS256", new(rsa.PublicKey), jose.ErrKey},
		{"a negative RSA key", "RS256", &rsa.PublicKey{N: new(big.Int).Neg(big2048), E: 65537}, jose.ErrKey},
		{"JOSE-KEY-03 RSA 2047", "PS256", &rsa.PublicKey{N: new(big.Int).SetBytes(unb64(t, modulus(2047))), E: 65537}, jose.ErrWeakKey},
		{"JOSE-KEY-04 RSA 4097", "PS256", &rsa.PublicKey{N: new(big.Int).SetBytes(unb64(t, modulus(4097))), E: 65537}, jose.ErrWeakKey},
		{"JOSE-KEY-04 e negative", "PS256", &rsa.PublicKey{N: big2048, E: -65537}, jose.ErrWeakKey},
		{"JOSE-KEY-04 e = 3", "PS256", &rsa.PublicKey{N: big2048, E: 3}, jose.ErrWeakKey},
		{"JOSE-KEY-07 an empty Ed25519 key", "EdDSA", ed25519.PublicKey{}, jose.ErrKey},
		{"JOSE-KEY-07 31 bytes", "EdDSA", make(ed25519.PublicKey, 31), jose.ErrKey},
		{"JOSE-KEY-07 the identity", "Ed25519", append(ed25519.PublicKey{1}, make([]byte, 31)...), jose.ErrWeakKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := jose.CheckKey(test.alg, test.key); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestThumbprintsAreOverRequiredMembersOnly(t *testing.T) {
	for _, alg := range jose.Algorithms() {
		t.Run("JKT-3 "+alg, func(t *testing.T) {
			key := testKeys()[alg]
			want := key.Thumbprint()
			decorated := with(key.JWK(), object{"alg": alg, "kid": "1", "use": "sig", "zz": 1, "a": 1})
			if key.JWK()["kty"] == "RSA" {
				decorated = with(decorated, object{"crv": "P-256", "x": "AQ", "y": "AQ"})
			} else {
				decorated = with(decorated, object{"n": "AQ", "e": "AQ"})
			}
			for _, jwk := range []object{key.JWK(), decorated} {
				if _, got, err := jose.ParseKey(mustJSON(t, jwk)); got != want || err != nil {
					t.Errorf("%q, %v, want %q", got, err, want)
				}
			}
			if got, err := jose.Thumbprint(key.Signer.Public()); got != want || err != nil {
				t.Errorf("Thumbprint: %q, %v, want %q", got, err, want)
			}
		})
	}
	t.Run("JKT-3 escapes are undone first", func(t *testing.T) {
		key := testKeys()["ES256"]
		raw := strings.Replace(string(mustJSON(t, key.JWK())), `"kty":"EC"`, `"k\u0074y":"\u0045C"`, 1)
		if _, got, err := jose.ParseKey([]byte(raw)); got != key.Thumbprint() || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestThumbprintRefusesWhatHasNone(t *testing.T) {
	for _, key := range []crypto.PublicKey{
		nil, "key", (*ecdsa.PublicKey)(nil), new(ecdsa.PublicKey), (*rsa.PublicKey)(nil), new(rsa.PublicKey),
		ed25519.PublicKey{}, ed25519.PublicKey(nil), []byte("secret"),
	} {
		t.Run(fmt.Sprintf("%T", key), func(t *testing.T) {
			if got, err := jose.Thumbprint(key); err == nil || got != "" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
