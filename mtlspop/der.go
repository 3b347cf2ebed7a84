package mtlspop

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// strictBase64 refuses bits beyond the last byte, so that one certificate has
// one spelling. It still skips line breaks.
var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 decodes src into a slice of its own.
//
// Precondition: src holds no line breaks.
func decodeBase64(src []byte) ([]byte, bool) {
	dst := make([]byte, strictBase64.DecodedLen(len(src)))
	n, err := strictBase64.Decode(dst, src)
	return dst[:n], err == nil && n > 0
}

// parseBase64 reads a field that holds base64 on one line.
func parseBase64(value string) ([]byte, bool) {
	if strings.ContainsAny(value, "\r\n") {
		return nil, false
	}
	der, err := strictBase64.DecodeString(value)
	return der, err == nil && len(der) > 0
}

// parseDERChain reads a field that holds a leaf and up to maxChain more. Old
// versions of Traefik percent-encode it; base64 has no percent sign. It returns nil for
// what is not one.
func parseDERChain(value string) (ders [][]byte) {
	value, err := url.PathUnescape(value)
	if err != nil {
		return nil
	}
	for member := range strings.SplitSeq(value, ",") {
		der, ok := parseBase64(member)
		if !ok || len(ders) > maxChain {
			return nil
		}
		ders = append(ders, der)
	}
	return ders
}

// parseHexThumbprint reads a SHA-256 digest, in digits of either case.
func parseHexThumbprint(value string) (t thumbprint, ok bool) {
	if len(value) != hex.EncodedLen(len(t)) {
		return thumbprint{}, false
	}
	_, err := hex.Decode(t[:], []byte(value))
	return t, err == nil
}
