package mtlspop

import (
	"net/url"
	"strings"
)

// The delimiters of RFC 7468, section 5.
const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
	pemSpace = " \t\r\n"
)

// parsePEM reads a field that holds one certificate.
func parsePEM(value string) ([]byte, bool) {
	der, rest, ok := nextPEM(unescapePEM(value))
	return der, ok && rest == ""
}

// parsePEMChain reads a field that holds a leaf and up to maxChain more. It returns nil
// for what is not one.
func parsePEMChain(value string) (ders [][]byte) {
	for text := unescapePEM(value); text != ""; {
		der, rest, ok := nextPEM(text)
		if !ok || len(ders) > maxChain {
			return nil
		}
		ders, text = append(ders, der), rest
	}
	return ders
}

// parseBase64PEM reads a field that holds one certificate, encoded once more.
func parseBase64PEM(value string) ([]byte, bool) {
	text, ok := parseBase64(value)
	if !ok {
		return nil, false
	}
	der, rest, ok := nextPEM(string(text))
	return der, ok && rest == ""
}

// unescapePEM returns the text of a field, which is percent-encoded if there
// is a percent sign in it: PEM has none. A plus sign is data, as in a path. The text of
// a field that is encoded badly is empty.
func unescapePEM(value string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	// A terminator that encodes, encodes the spaces and line ends too.
	if strings.ContainsAny(value, pemSpace) {
		return ""
	}
	text, err := url.PathUnescape(value)
	if err != nil {
		return ""
	}
	return text
}

// nextPEM returns the DER of the first certificate in text and what follows.
//
// encoding/pem wants lines, finds the first certificate behind any text, and
// allows headers. In a field the line ends have become spaces, and anything
// but certificates is a sign of something wrong.
func nextPEM(text string) (der []byte, rest string, ok bool) {
	text, ok = strings.CutPrefix(text, pemBegin)
	if !ok {
		return nil, "", false
	}
	body, rest, ok := strings.Cut(text, pemEnd)
	if !ok {
		return nil, "", false
	}
	der, ok = decodeBase64(withoutSpace(body))
	return der, strings.TrimLeft(rest, pemSpace), ok
}

// withoutSpace returns body without spaces and line ends.
func withoutSpace(body string) []byte {
	compact := make([]byte, 0, len(body))
	for {
		end := strings.IndexAny(body, pemSpace)
		if end < 0 {
			return append(compact, body...)
		}
		compact = append(compact, body[:end]...)
		body = body[end+1:]
	}
}
