package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
)

// Verify reports whether key made the message's signature with the header's
// algorithm. The key is checked against the algorithm first, as [CheckKey]
// does.
//
// The error is ErrSignature, or what CheckKey returns.
func (m *Message) Verify(key crypto.PublicKey) error {
	a := lookup(m.Header.Algorithm)
	if a.family == 0 {
		return ErrAlgorithm
	}
	if fault := a.check(key); fault != 0 {
		return fault
	}
	if !a.verify(key, m.signed, m.signature) {
		return ErrSignature
	}
	return nil
}

// Precondition: a.check(key) has passed.
func (a *algorithm) verify(key crypto.PublicKey, signed, signature []byte) bool {
	switch a.family {
	case familyECDSA:
		return a.verifyECDSA(key.(*ecdsa.PublicKey), signed, signature)
	case familyPKCS1:
		digest, n := a.digest(signed)
		return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), a.hash, digest[:n], signature) == nil
	case familyPSS:
		// RFC 7518, section 3.5: the salt is as long as the hash.
		digest, n := a.digest(signed)
		opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(key.(*rsa.PublicKey), a.hash, digest[:n], signature, &opts) == nil
	case familyEd25519:
		return ed25519.Verify(key.(ed25519.PublicKey), signed, signature)
	}
	return false
}

// verifyECDSA takes r and s in fixed width, one after the other (RFC 7518, section 3.4).
// crypto/ecdsa's entry for r and s as big.Int makes the same ASN.1, with nine allocations
// more.
func (a *algorithm) verifyECDSA(key *ecdsa.PublicKey, signed, signature []byte) bool {
	if len(signature) != 2*a.width {
		return false
	}
	digest, n := a.digest(signed)
	var buf [maxSignatureDER]byte
	return ecdsa.VerifyASN1(key, digest[:n], appendDER(buf[:0], signature))
}

func (a *algorithm) digest(signed []byte) (digest [sha512.Size]byte, n int) {
	switch a.hash {
	case crypto.SHA256:
		sum := sha256.Sum256(signed)
		return digest, copy(digest[:], sum[:])
	case crypto.SHA384:
		sum := sha512.Sum384(signed)
		return digest, copy(digest[:], sum[:])
	default:
		digest = sha512.Sum512(signed)
		return digest, len(digest)
	}
}

// Two integers of 67 bytes, each with tag and length, in a sequence with a
// two-byte length.
const maxSignatureDER = 3 + 2*(2+67)

// appendDER appends the ASN.1 form of a signature r || s.
// Precondition: signature has an even length of at most 132.
func appendDER(dst, signature []byte) []byte {
	r, s := signature[:len(signature)/2], signature[len(signature)/2:]
	r, s = minimal(r), minimal(s)
	length := lenDER(r) + lenDER(s)
	dst = append(dst, 0x30)
	if length > 127 {
		dst = append(dst, 0x81)
	}
	dst = append(dst, byte(length))
	return appendIntegerDER(appendIntegerDER(dst, r), s)
}

// minimal drops leading zero bytes, but not the last byte.
func minimal(n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n
}

func lenDER(n []byte) int {
	return 2 + len(n) + int(n[0]>>7)
}

// appendIntegerDER appends n as a positive INTEGER: a set first bit would mean
// a negative one.
func appendIntegerDER(dst, n []byte) []byte {
	dst = append(dst, 0x02, byte(lenDER(n)-2))
	if n[0]>>7 == 1 {
		dst = append(dst, 0)
	}
	return append(dst, n...)
}
