package jose

import "github.com/keybound-go/middleware/internal/strictjson"

// Header holds the protected header members that this module acts on. All
// others are ignored, above all jku, x5u and x5c: nothing in a header is ever
// fetched or trusted.
type Header struct {
	Algorithm string // alg, exact; not necessarily a known one
	Type      string // typ as received; compare it with [IsType]
	KeyID     string // kid: the sender's claim, any text
	JWK       []byte // jwk, a JSON object as received, for [ParseKey]; nil if absent
}

func (h *Header) parse(raw []byte) Error {
	var o strictjson.Object
	for o.Start(raw, maxHeaderDepth); o.Next(); {
		if fault := h.member(o.Name(), o.Value()); fault != 0 {
			return fault
		}
	}
	switch {
	case o.Err() == strictjson.ErrTooDeep:
		return ErrTooDeep
	case o.Err() != nil, h.Algorithm == "":
		return ErrHeader
	}
	return 0
}

// member takes one parameter. Those without a case here are ignored
// (RFC 7515, section 4): jku and x5u are never followed, and kid is only compared
// (RFC 8725, section 3.10).
func (h *Header) member(name, value []byte) Error {
	switch string(name) {
	case "alg":
		return setString(&h.Algorithm, value)
	case "typ":
		return setString(&h.Type, value)
	case "kid":
		return setString(&h.KeyID, value)
	case "jwk":
		if value[0] != '{' {
			return ErrHeader
		}
		h.JWK = value
	case "crit":
		// RFC 7515, section 4.1.11: whatever it lists is not understood here,
		// and an empty or malformed list is invalid.
		return ErrCritical
	case "b64":
		// RFC 7797, section 7: never false in a JWT.
		if string(value) != "true" {
			return ErrCritical
		}
	}
	return 0
}

func setString(dst *string, value []byte) Error {
	text, ok := strictjson.Bytes(value)
	if !ok {
		return ErrHeader
	}
	*dst = interned(text)
	return 0
}

// interned is string(text) without an allocation for what most headers say.
func interned(text []byte) string {
	if a := lookup(string(text)); a.family != 0 {
		return a.name
	}
	switch string(text) {
	case "dpop+jwt":
		return "dpop+jwt"
	case "at+jwt":
		return "at+jwt"
	case "JWT":
		return "JWT"
	}
	return string(text)
}

// IsType reports whether typ names the media type want, such as "at+jwt":
// ASCII case-insensitively, and with one optional "application/" in front of
// typ (RFC 7515, section 4.1.9). Precondition: want is lower case and holds no
// slash.
func IsType(typ, want string) bool {
	const prefix = "application/"
	if len(typ) == len(prefix)+len(want) && equalFoldASCII(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return equalFoldASCII(typ, want)
}

// equalFoldASCII, unlike [strings.EqualFold], does not take the Kelvin sign for a k.
func equalFoldASCII(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
