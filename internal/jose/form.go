package jose

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// Form is what a token looks like, before anything is asked about it or remembered.
type Form uint8

// The kinds of [Form].
const (
	// Opaque: nothing about the token says that it is JOSE.
	Opaque Form = iota
	// Signed: a canonical compact JWS (RFC 7515, section 7.1).
	Signed
	// Encrypted: a canonical compact JWE (RFC 7516, section 7.1).
	Encrypted
	// Malformed: it looks like JOSE, and is neither of the two. Issuers decide what
	// they count as one token: some ignore padding, a dot at the end, or the bits of
	// the last character that mean nothing. One token must not be as many as there
	// are spellings of it.
	Malformed
)

// FormOf tells the form of a token, which is a text without white space.
//
// A text with a dot, and whose first part decodes, however leniently, to text that
// starts with "{", is JOSE; and so is a text that itself starts with "{"
// (RFC 7515, section 7.2). It must then be a canonical JWS (three parts, none empty, and
// no enc in the header) or a canonical JWE (five parts, of which the second alone may be
// empty, and a header with alg and enc).
func FormOf(raw string) Form {
	if strings.HasPrefix(raw, "{") {
		return Malformed
	}
	first, _, dotted := strings.Cut(raw, ".")
	if !dotted || !startsHeader(first) {
		return Opaque
	}
	if n := strings.Count(raw, "."); n != 2 && n != 4 {
		return Malformed
	}
	parts := strings.Split(raw, ".")
	buf := make([]byte, 0, base64url.DecodedLen(len(raw)))
	var header []byte
	for i, part := range parts {
		decoded, ok := appendDecoded(buf[:0], []byte(part))
		if !ok || part == "" && !(i == 1 && len(parts) == 5) {
			return Malformed
		}
		if i == 0 {
			header = bytes.Clone(decoded)
		}
	}
	switch alg, enc, ok := algorithms(header); {
	case !ok:
		return Malformed
	case len(parts) == 3 && alg && !enc.present:
		return Signed
	case len(parts) == 5 && alg && enc.text:
		return Encrypted
	}
	return Malformed
}

type encMember struct{ present, text bool }

// algorithms reports whether a header has a string alg, and what it has as enc; ok is
// false if it is not a strict JSON object.
func algorithms(header []byte) (alg bool, enc encMember, ok bool) {
	var o strictjson.Object
	for o.Start(header, maxHeaderDepth); o.Next(); {
		switch string(o.Name()) {
		case "alg":
			_, alg = strictjson.Text(o.Value())
		case "enc":
			enc.present = true
			_, enc.text = strictjson.Text(o.Value())
		}
	}
	return alg, enc, o.Err() == nil
}

// startsHeader reports whether the first part of a token can be read as a JSON object,
// by a decoder of base64 or base64url that skips what is not of its alphabet, or
// stops at it.
func startsHeader(part string) bool {
	if strings.HasPrefix(part, "eyJ") { // the usual case
		return true
	}
	kept := strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case r == '-', r == '+':
			return '-'
		case r == '_', r == '/':
			return '_'
		}
		return -1
	}, part)
	if len(kept)%4 == 1 {
		kept = kept[:len(kept)-1]
	}
	text, _ := base64.RawURLEncoding.DecodeString(kept) // trailing bits are ignored
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	text = bytes.TrimLeft(text, " \t\r\n")
	if !bytes.HasPrefix(text, []byte("{")) {
		return false
	}
	next := bytes.TrimLeft(text[1:], " \t\r\n")
	return len(next) == 0 || next[0] == '"' || next[0] == '}' || isText(text)
}

// isText tells a text from the random bytes that an opaque token with a dot in it can
// stand for.
func isText(text []byte) bool {
	return utf8.Valid(text) && !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' })
}
