package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
)

type family uint8

const (
	_ family = iota
	familyECDSA
	familyPKCS1
	familyPSS
	familyEd25519
)

// algorithm is one row of the table: what a signature algorithm demands.
type algorithm struct {
	name   string
	family family
	hash   crypto.Hash
	curve  elliptic.Curve
	width  int // bytes of one coordinate, and of r and s
}

// lookup is the table (RFC 7518, section 3.1; RFC 8037, section 3.1;
// RFC 9864, section 2.2). The zero algorithm stands for an unknown name.
// There is no entry for none, and no way to add one (RFC 8725, section 3.2).
func lookup(name string) algorithm {
	switch name {
	case "ES256":
		return algorithm{"ES256", familyECDSA, crypto.SHA256, elliptic.P256(), 32}
	case "ES384":
		return algorithm{"ES384", familyECDSA, crypto.SHA384, elliptic.P384(), 48}
	case "ES512":
		return algorithm{"ES512", familyECDSA, crypto.SHA512, elliptic.P521(), 66}
	case "PS256":
		return algorithm{"PS256", familyPSS, crypto.SHA256, nil, 0}
	case "PS384":
		return algorithm{"PS384", familyPSS, crypto.SHA384, nil, 0}
	case "PS512":
		return algorithm{"PS512", familyPSS, crypto.SHA512, nil, 0}
	case "EdDSA":
		return algorithm{"EdDSA", familyEd25519, 0, nil, 0}
	case "Ed25519":
		return algorithm{"Ed25519", familyEd25519, 0, nil, 0}
	case "RS256":
		return algorithm{"RS256", familyPKCS1, crypto.SHA256, nil, 0}
	case "RS384":
		return algorithm{"RS384", familyPKCS1, crypto.SHA384, nil, 0}
	case "RS512":
		return algorithm{"RS512", familyPKCS1, crypto.SHA512, nil, 0}
	}
	return algorithm{}
}

// Algorithms returns the signature algorithms that this package verifies, in
// the order of preference. The slice is the caller's.
func Algorithms() []string {
	return []string{
		"ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
		"EdDSA", "Ed25519", "RS256", "RS384", "RS512",
	}
}

// sameAlgorithm reports whether a and b name one operation. EdDSA here always
// means Ed25519 (RFC 9864, section 4.1.2).
func sameAlgorithm(a, b string) bool {
	return a == b || isEd25519(a) && isEd25519(b)
}

func isEd25519(alg string) bool { return alg == "EdDSA" || alg == "Ed25519" }

// CheckKey reports whether key is acceptable for alg: its kind and curve fit,
// and it is a sound key in itself. key is an *ecdsa.PublicKey, an
// *rsa.PublicKey or an ed25519.PublicKey; anything else fits nothing.
//
// The error is ErrAlgorithm, ErrKeyMismatch, ErrKey or ErrWeakKey.
func CheckKey(alg string, key crypto.PublicKey) error {
	a := lookup(alg)
	if a.family == 0 {
		return ErrAlgorithm
	}
	if fault := a.check(key); fault != 0 {
		return fault
	}
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		// On the curve, and not the point at infinity (RFC 8725, section 3.4).
		// Verifying checks that again by itself.
		if _, err := pub.Bytes(); err != nil {
			return ErrKey
		}
	case *rsa.PublicKey:
		if isROCA(pub.N) {
			return ErrWeakKey
		}
	}
	return nil
}

// check is CheckKey without what depends on the key alone and takes longer: the curve
// equation and the fingerprint of ROCA. Both are looked at when a key is parsed.
func (a *algorithm) check(key crypto.PublicKey) Error {
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		if a.family != familyECDSA {
			return ErrKeyMismatch
		}
		return a.checkECDSA(pub)
	case *rsa.PublicKey:
		if a.family != familyPKCS1 && a.family != familyPSS {
			return ErrKeyMismatch
		}
		return checkRSA(pub)
	case ed25519.PublicKey:
		if a.family != familyEd25519 {
			return ErrKeyMismatch
		}
		return checkEd25519(pub)
	}
	return ErrKeyMismatch
}

func (a *algorithm) checkECDSA(pub *ecdsa.PublicKey) Error {
	//lint:ignore SA1019 a half-empty key would make crypto/ecdsa panic
	if pub == nil || pub.X == nil || pub.Y == nil {
		return ErrKey
	}
	if pub.Curve != a.curve {
		return ErrKeyMismatch
	}
	return 0
}

const (
	minRSABits     = 2048
	maxRSABits     = 4096 // 16384 bits, which fit into a proof, take 10 ms to verify
	minRSAExponent = 65537
	maxRSAExponent = 1<<31 - 1
)

func checkRSA(pub *rsa.PublicKey) Error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 || pub.N.Bit(0) == 0 {
		return ErrKey
	}
	// crypto/rsa itself is content with 1024 bits.
	if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return ErrWeakKey
	}
	if pub.E < minRSAExponent || pub.E > maxRSAExponent || pub.E%2 == 0 {
		return ErrWeakKey
	}
	return 0
}

// checkEd25519 refuses what crypto/ed25519 would accept: with a point of small
// order as the key, there are signatures that verify for any message, without any
// private key. The y coordinate, without the sign of x,
// tells these points apart.
func checkEd25519(pub ed25519.PublicKey) Error {
	if len(pub) != ed25519.PublicKeySize {
		return ErrKey
	}
	y := [ed25519.PublicKeySize]byte(pub)
	y[31] &= 0x7f
	switch string(y[:]) {
	case edwardsOrder1, edwardsOrder2, edwardsOrder4, edwardsOrder8a, edwardsOrder8b:
		return ErrWeakKey
	}
	if !canonicalY(&y) {
		return ErrKey
	}
	return 0
}

// The y coordinates of all points whose order divides 8, little-endian.
const (
	edwardsOrder1  = "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	edwardsOrder2  = "\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	edwardsOrder4  = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	edwardsOrder8a = "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05"
	edwardsOrder8b = "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a"
)

// canonicalY reports whether y is below the field's prime, 2^255-19
// (RFC 8032, section 5.1.3).
func canonicalY(y *[ed25519.PublicKeySize]byte) bool {
	if y[31] != 0x7f || y[0] < 0xed {
		return true
	}
	for _, c := range y[1:31] {
		if c != 0xff {
			return true
		}
	}
	return false
}
