package jwks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/jwks"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// useless are keys that cannot verify a signature here; each is refused alone.
func useless(kid string) map[string]map[string]any {
	ec := josetest.NewKey("ES256")
	short := slices.Repeat([]byte{0xab, 0xcd, 0xef, 0x01}, 32) // 1024 bits
	wide := slices.Repeat([]byte{0xab, 0xcd, 0xef, 0x01}, 144) // 4608 bits
	shifted := jwk(ec)
	shifted["y"] = shifted["x"]
	without := jwk(ec)
	delete(without, "y")
	all := map[string]map[string]any{
		"unknown kty":                {"kty": "FOO", "x": "AQAB"},
		"AKP":                        {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AQAB"},
		"no kty":                     {"x": "AQAB"},
		"kty that is a number":       {"kty": 1},
		"RSA 1024":                   {"kty": "RSA", "n": b64(short), "e": "AQAB"},
		"RSA 4608":                   {"kty": "RSA", "n": b64(wide), "e": "AQAB"},
		"RSA with an even exponent":  jwk(rsaKey(), "e", b64([]byte{1, 0, 0})),
		"RSA without n":              {"kty": "RSA", "e": "AQAB"},
		"EC off the curve":           shifted,
		"EC without y":               without,
		"EC of another curve":        {"kty": "EC", "crv": "secp256k1", "x": jwk(ec)["x"], "y": jwk(ec)["y"]},
		"OKP X25519":                 {"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))},
		"Ed25519 of small order":     {"kty": "OKP", "crv": "Ed25519", "x": b64(append([]byte{1}, make([]byte, 31)...))},
		"Ed25519 of 31 bytes":        {"kty": "OKP", "crv": "Ed25519", "x": b64(make([]byte, 31))},
		"oct":                        {"kty": "oct", "k": b64(short)},
		"EC with d":                  jwk(ec, "d", b64(short[:32])),
		"RSA with d":                 jwk(rsaKey(), "d", b64(short)),
		"for encryption":             jwk(ec, "use", "enc"),
		"for something else":         jwk(ec, "use", "foo"),
		"key_ops without verify":     jwk(ec, "key_ops", []string{"sign"}),
		"alg of another type":        jwk(ec, "alg", "RS256"),
		"alg for key agreement":      jwk(ec, "alg", "ECDH-ES"),
		"alg that is symmetric":      jwk(ec, "alg", "HS256"),
		"alg none":                   jwk(ec, "alg", "none"),
		"alg of the other curve":     jwk(ec, "alg", "ES384"),
		"kid that is a number":       jwk(ec, "kid", 7),
		"alg that is not any string": jwk(ec, "alg", []string{"ES256"}),
	}
	for _, key := range all {
		if _, own := key["kid"]; !own {
			key["kid"] = kid
		}
	}
	return all
}

func TestUselessKeysAreSkippedOneByOne(t *testing.T) {
	good := josetest.NewKey("ES256")
	for name, key := range useless("bad") {
		t.Run("JWKS-01 "+name, func(t *testing.T) {
			s, i := start(t, []map[string]any{key, named(good, "good")})
			requireKeys(t, s, "ES256", "good", good)
			for _, alg := range []string{"ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519", "HS256", "none"} {
				requireNoKey(t, s, alg, "bad")
			}
			requireKeys(t, s, "ES256", "", good)
			require.LessOrEqual(t, i.count(), 2)
			require.Equal(t, 1, s.Status().Keys)
			require.Len(t, s.Status().Skipped, 1, "and reported")
		})
	}
	t.Run("JWKS-01 all of them beside one good key", func(t *testing.T) {
		set := []map[string]any{}
		for _, key := range useless("bad") {
			set = append(set, key)
		}
		s, _ := start(t, append(set, named(good, "good")))
		requireKeys(t, s, "ES256", "good", good)
	})
	t.Run("JWKS-01 all of them and no good key is no set", func(t *testing.T) {
		set := []map[string]any{}
		for _, key := range useless("bad") {
			set = append(set, key)
		}
		s, _ := start(t, set)
		err := s.Prefetch(t.Context())
		requireUnavailable(t, err)
		require.ErrorContains(t, err, fmt.Sprintf("(%d skipped)", len(set)))
		require.Less(t, len(err.Error()), 300)
		_, kind := errors.AsType[jose.Error](err)
		require.False(t, kind, "the issuer's mistake is not the client's")
	})
}

func TestUse(t *testing.T) {
	sig, enc := josetest.NewKey("ES256"), josetest.NewKey("ES256")
	s, _ := start(t, []map[string]any{
		named(enc, "enc", "use", "enc"),
		named(sig, "sig", "use", "sig"),
		named(enc, "derive", "key_ops", []string{"deriveKey"}),
		named(sig, "ops", "key_ops", []string{"verify"}),
		named(enc, "shared", "use", "enc"),
		named(sig, "shared", "use", "sig"),
	})
	t.Run("JWKS-02 use enc", func(t *testing.T) { requireNoKey(t, s, "ES256", "enc") })
	t.Run("JWKS-02 key_ops without verify", func(t *testing.T) { requireNoKey(t, s, "ES256", "derive") })
	t.Run("JWKS-02 use sig", func(t *testing.T) { requireKeys(t, s, "ES256", "sig", sig) })
	t.Run("JWKS-02 key_ops with verify", func(t *testing.T) { requireKeys(t, s, "ES256", "ops", sig) })
	t.Run("JWKS-02 both under one kid", func(t *testing.T) { requireKeys(t, s, "ES256", "shared", sig) })
	t.Run("JWKS-02 without kid", func(t *testing.T) { requireKeys(t, s, "ES256", "", sig) })
}

func TestSeveralKeysUnderOneKid(t *testing.T) {
	p256, p256b, p384 := josetest.NewKey("ES256"), josetest.NewKey("ES256"), josetest.NewKey("ES384")
	edwards := josetest.NewKey("Ed25519")
	s, i := start(t, []map[string]any{
		named(rsaKey(), "1"), named(p256, "1"), named(p384, "1"), named(edwards, "1"),
		named(rsaKey(), "2", "alg", "PS256"), named(p256, "2"), named(p256b, "2"),
		named(p256, "3"), named(p256, "3", "use", "sig"),
		named(edwards, "4", "alg", "EdDSA"),
	})
	t.Run("JWKS-03 narrowed by kty", func(t *testing.T) {
		requireKeys(t, s, "RS256", "1", rsaKey())
		requireKeys(t, s, "PS512", "1", rsaKey())
		requireKeys(t, s, "ES256", "1", p256)
	})
	t.Run("JWKS-03 narrowed by crv", func(t *testing.T) {
		requireKeys(t, s, "ES384", "1", p384)
		requireKeys(t, s, "EdDSA", "1", edwards)
		requireKeys(t, s, "Ed25519", "1", edwards)
	})
	t.Run("JWKS-03 narrowed by alg", func(t *testing.T) {
		requireKeys(t, s, "PS256", "2", rsaKey())
		requireNoKey(t, s, "RS256", "2")
	})
	t.Run("JWKS-03 what cannot be narrowed is all tried", func(t *testing.T) { requireKeys(t, s, "ES256", "2", p256, p256b) })
	t.Run("JWKS-03 the same key twice is tried once", func(t *testing.T) { requireKeys(t, s, "ES256", "3", p256) })
	t.Run("JWKS-03 EdDSA is the old name of Ed25519", func(t *testing.T) {
		requireKeys(t, s, "EdDSA", "4", edwards)
		requireKeys(t, s, "Ed25519", "4", edwards)
	})
	t.Run("JWKS-03 a known kid without a fitting key fetches nothing", func(t *testing.T) {
		requireNoKey(t, s, "ES512", "1")
		require.Equal(t, 1, i.count())
	})
	t.Run("JWKS-03 the kid is compared exactly", func(t *testing.T) {
		for _, kid := range []string{"1 ", " 1", "01", "1\x00"} {
			requireNoKey(t, s, "ES256", kid)
		}
	})
}

func TestWithoutKid(t *testing.T) {
	fresh := func(n int) (keys []*josetest.Key, set []map[string]any) {
		for k := range n {
			key := josetest.NewKey("Ed25519")
			keys = append(keys, key)
			set = append(set, named(key, fmt.Sprint(k)))
		}
		return keys, append(set, named(rsaKey(), "rsa"))
	}
	for _, n := range []int{1, 3, 16} {
		t.Run(fmt.Sprintf("JWKS-04 %d keys of the right type", n), func(t *testing.T) {
			keys, set := fresh(n)
			s, _ := start(t, set)
			requireKeys(t, s, "Ed25519", "", keys...)
			requireKeys(t, s, "RS256", "", rsaKey())
		})
	}
	t.Run("JWKS-04 17 keys are too many", func(t *testing.T) {
		keys, set := fresh(17)
		s, i := start(t, set)
		requireNoKey(t, s, "Ed25519", "")
		_, err := s.Keys(t.Context(), "Ed25519", "")
		require.Equal(t, jwks.ErrTooManyKeys, err)
		requireKeys(t, s, "Ed25519", "16", keys[16])
		requireKeys(t, s, "RS256", "", rsaKey())
		require.Equal(t, 1, i.count(), "and no newer set would help")
	})
	t.Run("JWKS-04 17 keys under one kid are too many as well", func(t *testing.T) {
		_, set := fresh(17)
		for _, key := range set {
			key["kid"] = "same"
		}
		s, _ := start(t, set)
		requireNoKey(t, s, "Ed25519", "same")
	})
	t.Run("JWKS-04 a key without kid is found without kid only", func(t *testing.T) {
		key := josetest.NewKey("ES256")
		s, _ := start(t, []map[string]any{jwk(key)})
		requireKeys(t, s, "ES256", "", key)
		requireNoKey(t, s, "ES256", "other")
	})
	t.Run("JWKS-04 no key of the right type", func(t *testing.T) {
		s, i := start(t, []map[string]any{named(josetest.NewKey("ES256"), "1")})
		for range 10 {
			requireNoKey(t, s, "RS256", "")
		}
		require.LessOrEqual(t, i.count(), 2)
	})
}

func TestLimits(t *testing.T) {
	key := josetest.NewKey("ES256")
	crowd := func(n int) (set []map[string]any) {
		for k := range n {
			set = append(set, named(key, fmt.Sprint(k)))
		}
		return set
	}
	t.Run("JWKS-08 100 keys", func(t *testing.T) {
		s, _ := start(t, crowd(100))
		require.NoError(t, s.Prefetch(t.Context()))
	})
	t.Run("JWKS-08 101 keys", func(t *testing.T) {
		s, _ := start(t, crowd(101))
		require.ErrorContains(t, s.Prefetch(t.Context()), "set of 101 keys, more than the 100")
	})
	t.Run("JWKS-08 skipped keys count", func(t *testing.T) {
		s, _ := start(t, append(crowd(2), map[string]any{"kty": "FOO"}), jwks.WithMaxKeys(2))
		requireUnavailable(t, s.Prefetch(t.Context()))
	})
	t.Run("JWKS-08 over 1 MiB", func(t *testing.T) {
		s, i := start(t, nil)
		i.say(document(named(key, "1")) + strings.Repeat(" ", 1<<20))
		require.ErrorContains(t, s.Prefetch(t.Context()), "too large")
	})
	t.Run("JWKS-08 private and symmetric keys are refused and reported", func(t *testing.T) {
		bad := useless("bad")
		s, _ := start(t, []map[string]any{bad["EC with d"], bad["RSA with d"], bad["oct"], named(key, "good")})
		requireKeys(t, s, "ES256", "good", key)
		requireNoKey(t, s, "ES256", "bad")
		require.Len(t, s.Status().Skipped, 3)
		for _, reason := range s.Status().Skipped {
			require.Contains(t, reason, "private or symmetric")
			require.NotContains(t, reason, "q83v", "no key material")
		}
	})
}

func TestDocumentsThatAreNoKeySet(t *testing.T) {
	for name, body := range map[string]string{
		"empty":            ``,
		"null":             `null`,
		"HTML":             `<html><body>Sign in</body></html>`,
		"an array":         `[]`,
		"no keys":          `{}`,
		"keys null":        `{"keys":null}`,
		"keys an object":   `{"keys":{}}`,
		"empty keys":       `{"keys":[]}`,
		"Keys":             `{"Keys":[` + strings.TrimSuffix(strings.TrimPrefix(document(named(josetest.NewKey("ES256"), "1")), `{"keys":[`), `]}`) + `]}`,
		"cut off":          strings.TrimSuffix(document(named(josetest.NewKey("ES256"), "1")), "}"),
		"useless keys":     document(map[string]any{"kty": "FOO", "kid": "x"}),
		"trailing garbage": document(named(josetest.NewKey("ES256"), "1")) + "x",
	} {
		t.Run(name, func(t *testing.T) {
			s, i := start(t, nil)
			i.say(body)
			requireUnavailable(t, s.Prefetch(t.Context()))
			want := "not a key set"
			switch name {
			case "empty keys":
				want = "set without a usable key (0 skipped): it is empty"
			case "useless keys":
				want = `set without a usable key (1 skipped): jose: key 0 of the set, kid "x"`
			}
			require.Contains(t, s.Status().LastError, want)
			require.Zero(t, s.Generation())
			require.Equal(t, 1, i.count())
			_, kind := errors.AsType[jose.Error](s.Prefetch(t.Context()))
			require.False(t, kind, "the issuer's mistake is not the client's")
			requireUnavailable(t, s.Prefetch(t.Context()))
			require.Equal(t, 1, i.count(), "the wait holds for empty sets too")
		})
	}
}

// Whatever the issuer says, there is a set with keys, or an error that is not a panic.
func FuzzKeySet(f *testing.F) {
	f.Add(document())
	f.Add(document(named(josetest.NewKey("ES256"), "1")))
	for _, key := range useless("bad") {
		f.Add(document(key))
	}
	f.Add(`{"keys":[null,{},[],1,"x",{"kty":null}]}`)
	f.Add(`{"keys":[],"keys":[]}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, i := start(t, nil)
		defer s.Close()
		i.say(body)
		err := s.Prefetch(t.Context())
		if err != nil {
			requireUnavailable(t, err)
			require.NotContains(t, err.Error(), "panic")
			require.Zero(t, s.Generation())
			return
		}
		require.Positive(t, s.Status().Keys)
		require.NotZero(t, s.Generation())
	})
}

func TestContains(t *testing.T) {
	ec, edwards, gone := josetest.NewKey("ES256"), josetest.NewKey("Ed25519"), josetest.NewKey("ES384")
	s, i := start(t, []map[string]any{named(ec, "1"), named(edwards, "2"), named(rsaKey(), "3"), named(gone, "4")})
	require.False(t, s.Contains(ec.Signer.Public()), "no set yet")
	require.Zero(t, i.count(), "never touches the network")
	require.NoError(t, s.Prefetch(t.Context()))
	found, err := s.Keys(t.Context(), "ES256", "1")
	require.NoError(t, err)
	require.True(t, s.Contains(found[0]), "the same pointer")
	for _, k := range []*josetest.Key{ec, edwards, rsaKey(), gone} {
		require.True(t, s.Contains(k.Signer.Public()), "another pointer to the same key: %s", k.Algorithm)
	}
	for name, key := range map[string]any{
		"nil": nil, "string": "key", "slice": []string{"key"}, "private key": ec.Signer,
		"nil ecdsa": (*ecdsa.PublicKey)(nil), "zero ecdsa": &ecdsa.PublicKey{}, "ecdsa without a point": &ecdsa.PublicKey{Curve: elliptic.P256()}, "zero rsa": &rsa.PublicKey{},
		"short ed25519":       ed25519.PublicKey{1},
		"empty ed25519":       ed25519.PublicKey{},
		"ecdsa off the curve": &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, //lint:ignore SA1019 hostile on purpose
		"another key":         josetest.NewKey("ES256").Signer.Public(),
		"ecdsa by value":      *ec.Signer.Public().(*ecdsa.PublicKey),
	} {
		require.False(t, s.Contains(key), name)
	}
}

func TestGenerationIsThatOfTheContent(t *testing.T) {
	a, b := josetest.NewKey("ES256"), josetest.NewKey("ES256")
	generation := func(set ...map[string]any) uint64 {
		s, _ := start(t, set)
		require.Zero(t, s.Generation())
		require.NoError(t, s.Prefetch(t.Context()))
		require.NotZero(t, s.Generation())
		return s.Generation()
	}
	one := generation(named(a, "1"), named(b, "2"))
	require.Equal(t, one, generation(named(b, "2"), named(a, "1")), "the order means nothing")
	require.Equal(t, one, generation(named(b, "2", "x5t", "abc"), named(a, "1"), map[string]any{"kty": "FOO"}), "nor what is not used")
	for name, set := range map[string][]map[string]any{
		"a key less":     {named(a, "1")},
		"another kid":    {named(a, "1"), named(b, "3")},
		"kids exchanged": {named(a, "2"), named(b, "1")},
		"alg stated":     {named(a, "1", "alg", "ES256"), named(b, "2")},
		"another key":    {named(a, "1"), named(josetest.NewKey("ES256"), "2")},
	} {
		require.NotEqual(t, one, generation(set...), name)
	}
}
