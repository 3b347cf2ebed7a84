// Package jose answers "is this compact JWS well formed, and did this key sign it?"
package jose

import "crypto"

// CONTRACT STUB: internal/jose's owner replaces this file, keeping these names.

// Error is what can be wrong with a JWS or a key; a small integer, so that returning one costs nothing.
type Error uint8

func (e Error) Error() string { return "jose: stub" }

// Representative kinds (the owner adds what is needed).
const (
	_ Error = iota
	ErrForm
	ErrTooLarge
	ErrHeader
	ErrCritical
	ErrPayload
	ErrAlgorithm
	ErrKey
	ErrPrivateKey
	ErrKeyMismatch // algorithm and key do not belong together
	ErrSignature
)

// Message is one parsed compact JWS whose signature nobody has checked yet.
type Message struct {
	Header  Header
	Payload []byte // decoded; a single JSON object, valid UTF-8, no duplicate names, depth within the limit
}

// Header holds the protected header members that this module acts on.
type Header struct {
	Algorithm string // alg, exact
	Type      string // typ, as received; compare with [IsType]
	KeyID     string // kid
	JWK       []byte // jwk as received JSON, nil if absent
}

// Parse parses compact. maxDepth limits the nesting of the payload.
func Parse(compact string, maxSize, maxDepth int) (*Message, error) { panic("stub") }

// Verify reports whether key made the message's signature with the header's algorithm.
func (m *Message) Verify(key crypto.PublicKey) error { panic("stub") }

// IsType reports whether typ names the media type want ("at+jwt", "dpop+jwt"):
// ASCII case-insensitively and with one optional "application/" prefix.
func IsType(typ, want string) bool { panic("stub") }

// Algorithms that this package can verify, in the order of preference.
func Algorithms() []string { panic("stub") }

// CheckKey reports whether key is acceptable for alg: kind, curve, size, exponent, small order.
func CheckKey(alg string, key crypto.PublicKey) error { panic("stub") }

// Key is a validated public key.
type Key struct {
	Public    crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	KeyID     string
	Algorithm string // alg member, "" if absent
	Use       string // use member (key sets only)
}

// ParseKey parses the jwk of a proof: strict, no private member, canonical base64url.
// The thumbprint is RFC 7638 with SHA-256, base64url without padding.
func ParseKey(raw []byte) (key Key, thumbprint string, err error) { panic("stub") }

// ParseKeySet parses an issuer's JWK Set. Keys that cannot be used to verify are skipped
// and described in skipped; err is non-nil only if the document itself is broken.
func ParseKeySet(raw []byte) (keys []Key, skipped []error, err error) { panic("stub") }

// Thumbprint computes the RFC 7638 SHA-256 thumbprint of a public key.
func Thumbprint(key crypto.PublicKey) (string, error) { panic("stub") }

// Unmarshal decodes one strict JSON object into v: case-sensitive names, no duplicates,
// valid UTF-8, nothing after it, depth at most maxDepth; unknown members are ignored.
func Unmarshal(raw []byte, v any, maxDepth int) error { panic("stub") }

// NumericDate is RFC 7519's: seconds since the epoch, possibly fractional. Its UnmarshalJSON
// refuses strings, booleans, null, and values that time.Time cannot hold.
// (The owner chooses the representation; Time() returns the instant and Present whether it was there.)
type NumericDate struct{ stub int }
