package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

// keyWithShortX has an x that starts with a zero byte.
func keyWithShortX(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	width := (curve.Params().BitSize + 7) / 8
	for {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		point, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		if point[1] == 0 && (width != 66 || point[2] == 0) {
			return key
		}
	}
}

func published(t *testing.T, jwk object) (keys []jose.Key, skipped []error) {
	t.Helper()
	keys, skipped, err := jose.ParseKeySet(mustJSON(t, object{"keys": []any{jwk}}))
	require.NoError(t, err)
	return keys, skipped
}

// JOSE-KEY-01, B12: the numbers of published keys are repaired, those of proofs are not.
func TestTheNumbersOfPublishedKeysAreRepaired(t *testing.T) {
	trimmed := func(b []byte) []byte { return new(big.Int).SetBytes(b).Bytes() }
	zeros := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return append(make([]byte, n), b...) }
	}
	both := func(f, g func([]byte) []byte) func([]byte) []byte {
		return func(b []byte) []byte { return f(g(b)) }
	}
	rsaKey, ed := testKeys()["RS256"], testKeys()["EdDSA"]
	type row struct {
		name   string
		key    *josetest.Key
		member string
		change func([]byte) []byte
		fault  error // nil: repaired
	}
	rows := []row{
		{"n with a zero in front", rsaKey, "n", zeros(1), nil},
		{"n with many zeros in front", rsaKey, "n", zeros(300), nil},
		{"e as AAEAAQ", rsaKey, "e", zeros(1), nil},
		{"e of 8 bytes", rsaKey, "e", zeros(5), nil},
		{"e is zero", rsaKey, "e", func([]byte) []byte { return []byte{0, 0} }, jose.ErrKey},
		{"n is zero", rsaKey, "n", func([]byte) []byte { return make([]byte, 256) }, jose.ErrKey},
		{"n with a zero behind", rsaKey, "n", func(b []byte) []byte { return append(b, 0) }, jose.ErrKey},
		{"an Ed25519 x with a zero in front", ed, "x", zeros(1), jose.ErrKey},
		{"an Ed25519 x of 31 bytes", ed, "x", func(b []byte) []byte { return b[1:] }, jose.ErrKey},
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		short := josetest.FromSigner(alg, keyWithShortX(t, curve))
		rows = append(rows,
			row{alg + " x without its leading zeros", short, "x", trimmed, nil},
			row{alg + " x with a zero in front", short, "x", zeros(1), nil},
			row{alg + " y with a zero in front", short, "y", zeros(1), nil},
			row{alg + " x with zeros other than its own", short, "x", both(zeros(3), trimmed), nil},
			row{alg + " x cut at the end", short, "x", func(b []byte) []byte { return b[:len(b)-1] }, jose.ErrKey},
			row{alg + " x with a one in front", short, "x", func(b []byte) []byte { return append([]byte{1}, b...) }, jose.ErrKey},
			row{alg + " x is zero", short, "x", func([]byte) []byte { return []byte{0} }, jose.ErrKey},
		)
	}
	for _, test := range rows {
		t.Run("JOSE-KEY-01 "+test.name, func(t *testing.T) {
			good := test.key.JWK()
			jwk := with(good, object{test.member: b64(test.change(unb64(t, good[test.member])))})
			require.NotEqual(t, good[test.member], jwk[test.member])
			keys, skipped := published(t, jwk)
			if test.fault != nil {
				require.Empty(t, keys)
				require.ErrorIs(t, skipped[0], test.fault)
			} else {
				require.Empty(t, skipped)
				require.True(t, test.key.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(keys[0].Public))
				thumbprint, err := jose.Thumbprint(keys[0].Public)
				require.NoError(t, err)
				require.Equal(t, test.key.Thumbprint(), thumbprint, "of the repaired form")
			}
			_, _, err := jose.ParseKey(mustJSON(t, jwk))
			require.Error(t, err, "in a proof")
		})
	}
}

// JOSE-KEY-06, JWKS-08, B10: null is absent in published keys, private members
// included, and in a proof it is not.
func TestANullInAPublishedKeyIsAbsent(t *testing.T) {
	key := testKeys()["RS256"]
	for _, name := range []string{"alg", "use", "kid", "key_ops", "crv", "x", "y", "d", "p", "q", "dp", "dq", "qi", "oth", "k", "x5c", "any"} {
		jwk := with(key.JWK(), nil)
		jwk[name] = nil
		keys, skipped := published(t, jwk)
		require.Empty(t, skipped, "JOSE-KEY-06 %s", name)
		require.Len(t, keys, 1, name)
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		jwk := with(key.JWK(), nil)
		jwk[name] = nil
		_, _, err := jose.ParseKey(mustJSON(t, jwk))
		require.Equal(t, jose.ErrPrivateKey, err, "JOSE-KEY-06 %s", name)
		jwk[name] = ""
		_, skipped := published(t, jwk)
		require.ErrorIs(t, skipped[0], jose.ErrPrivateKey, "an empty %s is not null", name)
	}
	for _, name := range []string{"kty", "n", "e"} { // required members
		jwk := with(key.JWK(), nil)
		jwk[name] = nil
		_, skipped := published(t, jwk)
		require.ErrorIs(t, skipped[0], jose.ErrKey, name)
	}
}

func TestB24AByteOrderMarkBeforeAKeySetIsIgnored(t *testing.T) {
	raw := mustJSON(t, object{"keys": []any{testKeys()["ES256"].JWK()}})
	keys, _, err := jose.ParseKeySet(append([]byte("\ufeff"), raw...))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	_, _, err = jose.ParseKeySet(append([]byte("\ufeff\ufeff"), raw...))
	require.Equal(t, jose.ErrKeySet, err)
	_, _, err = jose.ParseKey(append([]byte("\ufeff"), mustJSON(t, testKeys()["ES256"].JWK())...))
	require.Equal(t, jose.ErrKey, err)
}
