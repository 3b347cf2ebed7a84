package mtlspop

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
)

// thumbprint is the SHA-256 digest of a certificate's DER.
type thumbprint [sha256.Size]byte

// thumbprintOfNothing is what a terminator sends that hashes the certificate
// it did not receive. It names no certificate.
var thumbprintOfNothing = thumbprint(sha256.Sum256(nil))

// errNoThumbprint is the caller's mistake, not the client's. A token without
// x5t#S256 is not bound to a certificate, and no certificate can be right or
// wrong for it; to answer nil would turn a forgotten check into a passed one.
var errNoThumbprint = errors.New("mtlspop: Verify was called without a thumbprint")

// Thumbprint returns the x5t#S256 of cert: the SHA-256 digest of its DER,
// base64url without padding, 43 characters (RFC 8705, section 3.1).
//
// It panics if cert is nil or was not parsed from DER (cert.Raw is empty):
// the digest of nothing names no certificate.
func Thumbprint(cert *x509.Certificate) string {
	if len(cert.Raw) == 0 {
		panic("mtlspop: Thumbprint of a certificate without DER")
	}
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parseThumbprint reads an x5t#S256.
//
// It does not insist on zero bits in the last character: the example in
// RFC 8705, section 3.1, has others, and bytes are what gets compared.
func parseThumbprint(x5t string) (t thumbprint, ok bool) {
	const encodedSize = 43
	if len(x5t) != encodedSize {
		return thumbprint{}, false
	}
	// A copy on the stack, since Decode wants a slice.
	var encoded [encodedSize]byte
	copy(encoded[:], x5t)
	// The decoder skips line breaks, which then are missing from n.
	n, err := base64.RawURLEncoding.Decode(t[:], encoded[:])
	if err != nil || n != len(t) {
		return thumbprint{}, false
	}
	return t, true
}

// equal takes the same time whatever the digests are. They are public: this only
// spares the reader a proof of that.
func (t thumbprint) equal(other thumbprint) bool {
	return subtle.ConstantTimeCompare(t[:], other[:]) == 1
}
