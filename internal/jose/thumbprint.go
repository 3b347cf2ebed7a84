package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
)

// Thumbprint returns the RFC 7638 thumbprint of key with SHA-256, in base64url
// without padding. key is of a type that [CheckKey] accepts. The error is
// ErrKeyType or ErrKey.
func Thumbprint(key crypto.PublicKey) (string, error) {
	var j jwk
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		point, fault := pointOf(pub)
		if fault != 0 {
			return "", fault
		}
		width := len(point) / 2
		j.kty, j.crv = []byte("EC"), []byte(pub.Curve.Params().Name)
		j.x, j.y = encoded(point[1:1+width]), encoded(point[1+width:])
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil || pub.N.Sign() <= 0 || pub.E <= 0 {
			return "", ErrKey
		}
		j.kty = []byte("RSA")
		j.n, j.e = encoded(pub.N.Bytes()), encoded(big.NewInt(int64(pub.E)).Bytes())
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return "", ErrKey
		}
		j.kty, j.crv, j.x = []byte("OKP"), []byte("Ed25519"), encoded(pub)
	default:
		return "", ErrKeyType
	}
	return j.thumbprint(), nil
}

// pointOf returns 0x04 || x || y.
func pointOf(pub *ecdsa.PublicKey) ([]byte, Error) {
	//lint:ignore SA1019 a half-empty key would make crypto/ecdsa panic
	if pub == nil || pub.Curve == nil || pub.X == nil || pub.Y == nil {
		return nil, ErrKey
	}
	switch pub.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return nil, ErrKeyType
	}
	point, err := pub.Bytes()
	if err != nil {
		return nil, ErrKey
	}
	return point, 0
}

func encoded(b []byte) []byte {
	return base64url.AppendEncode(nil, b)
}

// thumbprint hashes the required members as received (RFC 7638, section 3).
// Precondition: they are canonical base64url and known names, which need no
// escaping.
func (j *jwk) thumbprint() string {
	var buf [1024]byte
	sum := sha256.Sum256(j.appendRequired(buf[:0]))
	return string(base64url.AppendEncode(buf[:0], sum[:]))
}

// appendRequired appends the required members and no others, in lexicographic
// order and without white space. Precondition: as for thumbprint.
func (j *jwk) appendRequired(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, `"crv":"`, j.crv)
	dst = appendMember(dst, `"e":"`, j.e)
	dst = appendMember(dst, `"kty":"`, j.kty)
	dst = appendMember(dst, `"n":"`, j.n)
	dst = appendMember(dst, `"x":"`, j.x)
	dst = appendMember(dst, `"y":"`, j.y)
	return append(dst, '}')
}

func appendMember(dst []byte, nameAndQuote string, value []byte) []byte {
	if value == nil {
		return dst
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, nameAndQuote...)
	dst = append(dst, value...)
	return append(dst, '"')
}
