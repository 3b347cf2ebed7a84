package jose

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// The markers that the authors of the attack publish with their detection tool: bit n
// of the marker of a prime says that n is a remainder which a weak modulus can have.
var publishedMarkers = map[uint]string{
	11: "1026", 13: "5658", 17: "107286", 19: "199410", 37: "67109890", 53: "5310023542746834", 61: "1455791217086302986",
	71: "20052041432995567486", 73: "6041388139249378920330", 79: "207530445072488465666", 97: "79228162521181866724264247298",
	103: "1760368345969468176824550810518", 107: "50079290986288516948354744811034", 109: "473022961816146413042658758988474",
}

func TestTheRemaindersOfTheFingerprintAreThePublishedOnes(t *testing.T) {
	for p, text := range publishedMarkers {
		marker, ok := new(big.Int).SetString(text, 10)
		require.True(t, ok)
		for n := range p {
			require.Equal(t, marker.Bit(int(n)) == 1, isPowerOf65537(n, p), "%d mod %d", n, p)
		}
	}
}

func TestTheFingerprintTakesEveryPrimeThatTells(t *testing.T) {
	listed := map[uint]bool{}
	for _, group := range rocaPrimes {
		product := uint(1)
		for _, p := range group {
			require.False(t, listed[p], p)
			listed[p] = true
			product *= p
		}
		require.Less(t, product, uint(1)<<32)
	}
	bits := 0.0
	for p := uint(3); p <= 167; p++ {
		if !big.NewInt(int64(p)).ProbablyPrime(10) {
			continue
		}
		powers := 0
		for n := uint(1); n < p; n++ {
			if isPowerOf65537(n, p) {
				powers++
			}
		}
		require.Equal(t, powers < int(p)-1, listed[p], "prime %d: %d of %d remainders", p, powers, p-1)
		bits -= math.Log2(float64(powers) / float64(p))
	}
	require.Greater(t, bits, 27.0, "how improbable the fingerprint is otherwise, as a power of two")
	t.Logf("2^-%.1f", bits)
}

func TestTheRemainderIsThatOfTheLargeNumber(t *testing.T) {
	n := new(big.Int).Exp(big.NewInt(3), big.NewInt(2000), nil)
	for _, m := range []uint{1, 11, 90576629, 116525033, 1<<32 - 1} {
		require.EqualValues(t, new(big.Int).Mod(n, new(big.Int).SetUint64(uint64(m))).Uint64(), remainder(n, m))
	}
}
