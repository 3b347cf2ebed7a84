package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// Key is a public key that passed every check that does not depend on the
// algorithm of a message.
type Key struct {
	Public    crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	KeyID     string           // kid (key sets only), "" if absent
	Algorithm string           // alg member, "" if absent
	Use       string           // use member (key sets only), "" if absent
}

// Usable reports whether the key may verify a signature made with alg: the
// key's own alg, if it has one, names the same operation, and its kind, curve
// and size fit (RFC 8725, section 3.1). EdDSA and Ed25519 are the same
// operation. It is for keys that [ParseKey] or [ParseKeySet] returned: their
// points are known to be on the curve, which [CheckKey] would find out again.
//
// The error is ErrAlgorithm, ErrKeyMismatch, ErrKey or ErrWeakKey.
func (k Key) Usable(alg string) error {
	a := lookup(alg)
	if a.family == 0 {
		return ErrAlgorithm
	}
	if k.Algorithm != "" && !sameAlgorithm(k.Algorithm, alg) {
		return ErrKeyMismatch
	}
	if fault := a.check(k.Public); fault != 0 {
		return fault
	}
	return nil
}

// ParseKey parses the jwk of a proof's header, a JSON object. It refuses any
// private member whatever its value, and coordinates and numbers that are not
// in their one canonical form, without any repair. Other members are ignored, such as
// kid, use, key_ops and ext, which browsers add; alg is kept for [Key.Usable].
//
// thumbprint is RFC 7638's with SHA-256, in base64url without padding, over the
// members as received.
//
// Precondition: raw is [Header].JWK, whose depth Parse has bounded.
//
// The error is ErrKey, ErrKeyType, ErrPrivateKey or ErrWeakKey.
func ParseKey(raw []byte) (key Key, thumbprint string, err error) {
	var j jwk
	var o strictjson.Object
	for o.Start(raw, maxHeaderDepth); o.Next(); {
		if fault := j.member(o.Name(), o.Value()); fault != 0 {
			return Key{}, "", fault
		}
	}
	if o.Err() != nil {
		return Key{}, "", ErrKey
	}
	public, fault := j.public()
	if fault != 0 {
		return Key{}, "", fault
	}
	return Key{Public: public, Algorithm: interned(j.alg)}, j.thumbprint(), nil
}

// jwk holds the members of a JSON Web Key (RFC 7517): strings without their
// quotes, nil if absent. What a key set adds is kept as raw JSON.
type jwk struct {
	kty, crv, x, y, n, e, alg []byte
	kid, use, ops             []byte // raw JSON values
}

// member takes one member. Those without a case here are ignored (RFC 7517, section 4).
func (j *jwk) member(name, value []byte) Error {
	switch string(name) {
	case "kty":
		return setText(&j.kty, value)
	case "crv":
		return setText(&j.crv, value)
	case "x":
		return setText(&j.x, value)
	case "y":
		return setText(&j.y, value)
	case "n":
		return setText(&j.n, value)
	case "e":
		return setText(&j.e, value)
	case "alg":
		return setText(&j.alg, value)
	case "kid":
		j.kid = value
	case "use":
		j.use = value
	case "key_ops":
		j.ops = value
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
		// RFC 9449, section 4.3, check 7. In a proof null is no excuse; in a published
		// key it has been passed over.
		return ErrPrivateKey
	}
	return 0
}

func setText(dst *[]byte, value []byte) Error {
	text, ok := strictjson.Bytes(value)
	if !ok || len(text) == 0 {
		return ErrKey
	}
	*dst = text
	return 0
}

// public makes the key out of the members that its type requires, and drops
// the others, so that they are not part of the thumbprint.
func (j *jwk) public() (crypto.PublicKey, Error) {
	switch string(j.kty) {
	case "EC":
		j.n, j.e = nil, nil
		return j.ecdsa()
	case "RSA":
		j.crv, j.x, j.y = nil, nil, nil
		return j.rsa()
	case "OKP":
		j.y, j.n, j.e = nil, nil, nil
		return j.ed25519()
	case "oct":
		return nil, ErrPrivateKey
	case "":
		return nil, ErrKey
	}
	return nil, ErrKeyType
}

// ecdsa demands both coordinates in full width (RFC 7518, section 6.2.1.2).
func (j *jwk) ecdsa() (crypto.PublicKey, Error) {
	curve, width := curveNamed(j.crv)
	if curve == nil {
		return nil, unsupported(j.crv)
	}
	var buf [1 + 2*66]byte
	buf[0] = 4 // SEC 1, section 2.3.3: uncompressed
	if !decodeExactly(buf[1:1+width], j.x) || !decodeExactly(buf[1+width:1+2*width], j.y) {
		return nil, ErrKey
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, buf[:1+2*width])
	if err != nil {
		return nil, ErrKey
	}
	return pub, 0
}

func curveNamed(name []byte) (curve elliptic.Curve, width int) {
	switch string(name) {
	case "P-256":
		return elliptic.P256(), 32
	case "P-384":
		return elliptic.P384(), 48
	case "P-521":
		return elliptic.P521(), 66
	}
	return nil, 0
}

// unsupported tells a missing crv from one that is not known here.
func unsupported(crv []byte) Error {
	if crv == nil {
		return ErrKey
	}
	return ErrKeyType
}

// rsa demands minimal encodings (RFC 7518, sections 2 and 6.3.1), and refuses
// an oversized number before it makes one.
func (j *jwk) rsa() (crypto.PublicKey, Error) {
	if j.n == nil || j.e == nil {
		return nil, ErrKey
	}
	if len(j.n) > base64url.EncodedLen(maxRSABits/8) || len(j.e) > base64url.EncodedLen(4) {
		return nil, ErrWeakKey
	}
	var buf [maxRSABits/8 + 4]byte
	n, ok := appendDecoded(buf[:0:maxRSABits/8], j.n)
	if !ok || n[0] == 0 {
		return nil, ErrKey
	}
	e, ok := appendDecoded(buf[maxRSABits/8:maxRSABits/8], j.e)
	if !ok || e[0] == 0 {
		return nil, ErrKey
	}
	exponent := 0
	for _, c := range e {
		exponent = exponent<<8 | int(c)
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponent}
	if fault := checkRSA(pub); fault != 0 {
		return nil, fault
	}
	if isROCA(pub.N) {
		return nil, ErrWeakKey
	}
	return pub, 0
}

// ed25519 is RFC 8037, section 2.
func (j *jwk) ed25519() (crypto.PublicKey, Error) {
	if string(j.crv) != "Ed25519" {
		return nil, unsupported(j.crv)
	}
	pub := make(ed25519.PublicKey, ed25519.PublicKeySize)
	if !decodeExactly(pub, j.x) {
		return nil, ErrKey
	}
	if fault := checkEd25519(pub); fault != 0 {
		return nil, fault
	}
	return pub, 0
}

// decodeExactly fills dst with the bytes that src stands for.
func decodeExactly(dst, src []byte) bool {
	if len(src) != base64url.EncodedLen(len(dst)) {
		return false
	}
	_, ok := appendDecoded(dst[:0], src)
	return ok
}
