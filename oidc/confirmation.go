package oidc

import (
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// The confirmation methods that this module enforces.
const (
	memberJKT = "jkt"      // RFC 9449, section 6.1
	memberX5T = "x5t#S256" // RFC 8705, section 3.1
)

// parseConfirmation parses cnf; nil is a token without one.
//
// RFC 7800, section 3.1 lets a recipient ignore members that it does not
// understand. Ignoring the only ones would turn a token that was bound to
// something into a bearer token, so a cnf that leaves nothing to enforce is
// refused, unless each of its members is in ignored.
func parseConfirmation(raw json.RawMessage, ignored []string) (Confirmation, error) {
	if raw == nil {
		return Confirmation{}, nil
	}
	var c Confirmation
	var o strictjson.Object
	none, others := true, false // members, and such that may not be ignored
	for o.Start(raw, maxTokenDepth); o.Next(); none = false {
		var err error
		switch name := string(o.Name()); name {
		case memberJKT:
			c.JKT, err = canonicalThumbprint(o.Value())
		case memberX5T:
			c.X5T, err = canonicalThumbprint(o.Value())
		default:
			others = others || !slices.Contains(ignored, name)
		}
		if err != nil {
			return Confirmation{}, err
		}
	}
	if o.Err() != nil || none || others && !c.Bound() {
		return Confirmation{}, ErrConfirmation
	}
	return c, nil
}

// canonicalThumbprint decodes a JSON string of 43 base64url characters to 32
// octets and encodes them again. The last character carries two bits that mean
// nothing: RFC 8705's own example sets them, so they are tolerated.
func canonicalThumbprint(raw json.RawMessage) (string, error) {
	s, ok := strictjson.Text(raw)
	if !ok {
		return "", ErrConfirmation
	}
	var octets [32]byte
	// Go's decoder skips CR and LF. With one of them, 43 characters are less than 32 octets.
	if len(s) != base64.RawURLEncoding.EncodedLen(len(octets)) {
		return "", ErrConfirmation
	}
	if n, err := base64.RawURLEncoding.Decode(octets[:], []byte(s)); err != nil || n != len(octets) {
		return "", ErrConfirmation
	}
	// Most are canonical already.
	var canonical [43]byte
	if base64.RawURLEncoding.Encode(canonical[:], octets[:]); string(canonical[:]) == s {
		return s, nil
	}
	return string(canonical[:]), nil
}
