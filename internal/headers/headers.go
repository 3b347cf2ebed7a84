// Package headers answers "which field is this, and does it carry exactly one
// value?" for the HTTP fields that the rooms read.
//
// The names are in the canonical form of net/http, so that a lookup in an
// [http.Header] map neither allocates nor canonicalises again.
package headers

import (
	"net/http"
	"strings"
)

// Canonical field names. The standard library canonicalises "DPoP" to "Dpop".
const (
	Authorization   = "Authorization"
	DPoP            = "Dpop"
	DPoPNonce       = "Dpop-Nonce"
	WWWAuthenticate = "Www-Authenticate"
	EarlyData       = "Early-Data"
)

// Single returns the value of the field with the given canonical name, and how
// many field lines carry that name. The value is meaningful only if n is 1:
// the first of several values is never an answer.
func Single(h http.Header, canonicalName string) (value string, n int) {
	switch values := h[canonicalName]; len(values) {
	case 0:
		return "", 0
	case 1:
		return values[0], 1
	default:
		return "", len(values)
	}
}

// IsToken68 reports whether s is a token68 (RFC 9110, section 11.2), which is
// also what RFC 6750, section 2.1, calls b64token.
func IsToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	// Eight at a time: tokens and proofs are long, and each request is asked twice.
	for ; len(s) >= 8; s = s[8:] {
		if other[s[0]]|other[s[1]]|other[s[2]]|other[s[3]]|other[s[4]]|other[s[5]]|other[s[6]]|other[s[7]] != 0 {
			return false
		}
	}
	for i := range len(s) {
		if other[s[i]] != 0 {
			return false
		}
	}
	return true
}

// other is not 0 for the octets that are not in a token68.
var other = func() (table [256]byte) {
	const token68 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	for c := range table {
		if strings.IndexByte(token68, byte(c)) < 0 {
			table[c] = 1
		}
	}
	return table
}()

// IsVisible reports whether s is not empty and all VSCHAR but the space: what an
// access token may consist of (RFC 6749, appendix A.12, without the space).
func IsVisible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// IsScope reports whether s is one scope-token (RFC 6749, section 3.3).
func IsScope(s string) bool { return IsVisible(s) && !strings.ContainsAny(s, `"\`) }
