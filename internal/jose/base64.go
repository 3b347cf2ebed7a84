package jose

import (
	"bytes"
	"encoding/base64"
)

// Strict refuses trailing bits that are not zero, so that an octet string has
// exactly one encoding.
var base64url = base64.RawURLEncoding.Strict()

// appendDecoded appends the octets that the canonical, unpadded base64url src
// stands for.
func appendDecoded(dst, src []byte) ([]byte, bool) {
	// The decoder skips line breaks even when strict. It refuses every other
	// octet outside the alphabet.
	if bytes.IndexByte(src, '\n') >= 0 || bytes.IndexByte(src, '\r') >= 0 {
		return dst, false
	}
	dst, err := base64url.AppendDecode(dst, src)
	return dst, err == nil
}
