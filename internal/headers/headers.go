// Package headers answers "which field is this, does it carry exactly one value, and
// is it spelt by its grammar?" for the HTTP fields that the rooms read.
//
// The names are in the canonical form of net/http, so that a lookup in an
// [http.Header] map neither allocates nor canonicalises again.
package headers

import "net/http"

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
