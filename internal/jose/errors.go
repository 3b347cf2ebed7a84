package jose

// Error says what is wrong with a JWS or a key. Its values are comparable with
// ==, and returning one does not allocate. It never holds any of the input.
type Error uint8

// The kinds of [Error].
const (
	_ Error = iota
	// ErrForm: not three parts of canonical base64url (RFC 7515, section 7.1).
	ErrForm
	// ErrTooLarge: longer than the caller's limit.
	ErrTooLarge
	// ErrEncrypted: five parts, so a JWE (RFC 7516, section 9).
	ErrEncrypted
	// ErrHeader: the header is not a strict JSON object, or has no alg, or a
	// member has the wrong JSON type.
	ErrHeader
	// ErrCritical: crit is present, or b64 is anything but true. No extension
	// is understood here (RFC 7515, section 4.1.11; RFC 7797, section 7).
	ErrCritical
	// ErrTooDeep: the JSON of a header or a key set is nested deeper than 8.
	ErrTooDeep
	// ErrAlgorithm: not one of [Algorithms].
	ErrAlgorithm
	// ErrKey: the key is malformed: a member is missing, not canonical, of the
	// wrong width, or the point is not on the curve.
	ErrKey
	// ErrKeyType: a well-formed key of a type or on a curve that is not supported.
	ErrKeyType
	// ErrPrivateKey: a private or symmetric member is present, or kty is oct
	// (RFC 9449, section 4.2).
	ErrPrivateKey
	// ErrWeakKey: RSA outside 2048 to 4096 bits, with an unacceptable exponent or
	// with the fingerprint of CVE-2017-15361, or an Ed25519 point of small order.
	ErrWeakKey
	// ErrKeyUse: use or key_ops say that the key does not verify signatures.
	ErrKeyUse
	// ErrKeyMismatch: algorithm and key do not belong together.
	ErrKeyMismatch
	// ErrSignature: the key did not make this signature.
	ErrSignature
	// ErrKeySet: the document is not a JWK Set (RFC 7517, section 5).
	ErrKeySet
)

// Error returns a fixed text that starts with "jose: ".
func (e Error) Error() string {
	switch e {
	case ErrForm:
		return "jose: not a compact JWS"
	case ErrTooLarge:
		return "jose: longer than the limit"
	case ErrEncrypted:
		return "jose: encrypted (JWE), expected signed (JWS)"
	case ErrHeader:
		return "jose: malformed header"
	case ErrCritical:
		return "jose: header demands an extension that is not understood"
	case ErrTooDeep:
		return "jose: header or key set nested deeper than 8"
	case ErrAlgorithm:
		return "jose: algorithm not supported"
	case ErrKey:
		return "jose: malformed key"
	case ErrKeyType:
		return "jose: key type or curve not supported"
	case ErrPrivateKey:
		return "jose: private or symmetric key"
	case ErrWeakKey:
		return "jose: weak key: size, exponent, origin or order out of bounds"
	case ErrKeyUse:
		return "jose: key is not meant for verifying signatures"
	case ErrKeyMismatch:
		return "jose: algorithm and key do not belong together"
	case ErrSignature:
		return "jose: signature does not verify"
	case ErrKeySet:
		return "jose: not a JWK Set"
	}
	return "jose: unknown error"
}
