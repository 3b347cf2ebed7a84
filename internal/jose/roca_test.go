package jose_test

import (
	"crypto/rsa"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
)

// weakModulus returns a modulus of the given size whose two factors have the form
// of CVE-2017-15361: k*M + (65537^a mod M), M the product of the first primes. The
// fingerprint does not depend on whether the factors are prime.
func weakModulus(t *testing.T, bits, primes int) *big.Int {
	t.Helper()
	m := big.NewInt(1)
	for p, found := int64(2), 0; found < primes; p++ {
		if big.NewInt(p).ProbablyPrime(10) {
			m.Mul(m, big.NewInt(p))
			found++
		}
	}
	random := rand.New(rand.NewPCG(uint64(bits), uint64(primes)))
	// Three quarters of the largest factor, so that the product has all its bits.
	least := new(big.Int).Lsh(big.NewInt(3), uint(bits/2-2))
	factor := func() *big.Int {
		a := new(big.Int).Exp(big.NewInt(65537), big.NewInt(random.Int64()), m)
		k := new(big.Int).Div(least, m)
		k.Add(k, big.NewInt(1+random.Int64N(1<<20)))
		return a.Add(a, k.Mul(k, m))
	}
	n := new(big.Int).Mul(factor(), factor())
	require.Equal(t, bits, n.BitLen())
	return n
}

func TestAKeyOfTheROCAFormIsWeak(t *testing.T) {
	rsaKey := testKeys()["RS256"].JWK()
	for _, size := range []struct{ bits, primes int }{{2048, 126}, {3072, 126}, {4096, 225}} {
		n := weakModulus(t, size.bits, size.primes)
		require.NotZero(t, n.Bit(0))
		jwk := with(rsaKey, object{"n": b64(n.Bytes())})
		_, _, err := jose.ParseKey(mustJSON(t, jwk))
		require.Equal(t, jose.ErrWeakKey, err, "in a proof, %d bits", size.bits)
		_, skipped := published(t, jwk)
		require.ErrorIs(t, skipped[0], jose.ErrWeakKey, "in a key set, %d bits", size.bits)
		require.Equal(t, jose.ErrWeakKey, jose.CheckKey("PS256", &rsa.PublicKey{N: n, E: 65537}))

		// Next to it stands one that is none.
		other := new(big.Int).Add(n, big.NewInt(2))
		_, _, err = jose.ParseKey(mustJSON(t, with(rsaKey, object{"n": b64(other.Bytes())})))
		require.NoError(t, err, "%d bits", size.bits)
	}
}

// The probability of the fingerprint is some 2^-30; a group of primes that is
// skipped, or one that every modulus passes, would show here.
func TestOtherModuliDoNotHaveTheFingerprint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := new(big.Int).Lsh(big.NewInt(1), 2047)
		for shift := uint(0); shift < 1984; shift += 62 {
			n.Or(n, new(big.Int).Lsh(big.NewInt(random.Int64()>>1), shift))
		}
		n.SetBit(n, 0, 1)
		require.NoError(t, jose.CheckKey("RS256", &rsa.PublicKey{N: n, E: 65537}))
	}
}
