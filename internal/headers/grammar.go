package headers

import "strings"

// The character classes of the RFCs, one bit each.
const (
	token68 = 1 << iota // RFC 9110, section 11.2, without the padding
	token               // tchar of RFC 9110, section 5.6.2
	visible             // VSCHAR without the space: 0x21 to 0x7e
	nqchar              // NQCHAR of RFC 6749, appendix A: visible without " and \
)

var classes = func() (table [256]uint8) {
	const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for c := byte(0x21); c <= 0x7e; c++ {
		table[c] |= visible
		if c != '"' && c != '\\' {
			table[c] |= nqchar
		}
	}
	for _, c := range []byte(alphanumeric + "-._~+/") {
		table[c] |= token68
	}
	for _, c := range []byte(alphanumeric + "!#$%&'*+-.^_`|~") {
		table[c] |= token
	}
	return table
}()

// consists reports whether s is not empty and all of class.
func consists(s string, class uint8) bool {
	if s == "" {
		return false
	}
	// Eight at a time: tokens and proofs are long, and each request is asked twice.
	for ; len(s) >= 8; s = s[8:] {
		if classes[s[0]]&classes[s[1]]&classes[s[2]]&classes[s[3]]&classes[s[4]]&classes[s[5]]&classes[s[6]]&classes[s[7]]&class == 0 {
			return false
		}
	}
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// IsToken68 reports whether s is a token68 (RFC 9110, section 11.2), which is
// also what RFC 6750, section 2.1, calls b64token.
func IsToken68(s string) bool { return consists(strings.TrimRight(s, "="), token68) }

// IsToken reports whether s is a token (RFC 9110, section 5.6.2): the name of a
// field, a method or a scheme.
func IsToken(s string) bool { return consists(s, token) }

// LeadingToken returns the token at the start of s, "" if there is none: the scheme of
// a field with credentials.
func LeadingToken(s string) string {
	for i := range len(s) {
		if classes[s[i]]&token == 0 {
			return s[:i]
		}
	}
	return s
}

// IsVisible reports whether s is not empty and all VSCHAR but the space: what an
// access token may consist of (RFC 6749, appendix A.12, without the space).
func IsVisible(s string) bool { return consists(s, visible) }

// IsNonce reports whether s is 1*NQCHAR (RFC 9449, section 8.1; RFC 6749, appendix A).
func IsNonce(s string) bool { return consists(s, nqchar) }

// IsScope reports whether s is one scope-token (RFC 6749, section 3.3), which is
// spelt like a nonce.
func IsScope(s string) bool { return consists(s, nqchar) }
