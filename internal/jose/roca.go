package jose

import (
	"math/big"
	"math/bits"
)

// The fingerprint of CVE-2017-15361: a library in smart cards and TPMs made primes
// of the form k*M + (65537^a mod M), M the product of the first primes, from whose
// products the primes can be computed (Nemec, Sys, Svenda, Klinec, Matyas: The
// Return of Coppersmith's Attack, ACM CCS 2017). The remainder of such a modulus by
// each small prime is a power of 65537; that of another modulus is so for all of
// rocaPrimes with a probability of about 2^-30.
//
// These are the primes up to 167, which M has for every size of key, without those
// of which every remainder is a power of 65537 and tells nothing. They stand in
// groups whose products fit into 32 bits.
var rocaPrimes = [...][]uint{
	{11, 13, 17, 19, 37, 53}, {61, 71, 73, 79}, {97, 103, 107, 109}, {127, 151, 157},
}

// isROCA reports whether the modulus n has the fingerprint.
func isROCA(n *big.Int) bool {
	for _, group := range rocaPrimes {
		product := uint(1)
		for _, p := range group {
			product *= p
		}
		// The first group tells almost every other modulus.
		rest := remainder(n, product)
		for _, p := range group {
			if !isPowerOf65537(rest%p, p) {
				return false
			}
		}
	}
	return true
}

// remainder is n mod m. Precondition: m < 1<<32, n >= 0.
func remainder(n *big.Int, m uint) (rest uint) {
	words := n.Bits()
	for i := len(words) - 1; i >= 0; i-- {
		_, rest = bits.Div(rest, uint(words[i]), m)
	}
	return rest
}

// isPowerOf65537 reports whether n is a power of 65537 modulo the prime p.
func isPowerOf65537(n, p uint) bool {
	power := uint(1)
	for {
		if power == n {
			return true
		}
		if power = power * 65537 % p; power == 1 {
			return false
		}
	}
}
