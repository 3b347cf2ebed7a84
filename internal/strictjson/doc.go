// Package strictjson answers "which members does this JSON object have?" for bytes
// that a client, or an issuer, sent.
//
//	var o strictjson.Object
//	for o.Start(raw, 8); o.Next(); {
//		switch string(o.Name()) {
//		case "jti":
//			o.Text(&id)
//		case "iat":
//			o.Date(&issuedAt)
//		}
//	}
//	if err := o.Err(); err != nil {
//		return err
//	}
//
// # What is strict
//
// One object and nothing after it (RFC 8259), in valid UTF-8 without a byte order
// mark and without lone surrogates; no name twice in one object, at any depth and
// however it is escaped; names are compared exactly; the nesting is bounded. All
// of that holds for members that the caller ignores too. encoding/json matches
// names regardless of case, keeps the last duplicate and replaces invalid UTF-8,
// so that two readers of one text can see two contents.
//
// Nothing else is limited: an object may have as many members as its text has
// room for, so the caller's limit on the size of the text is the only other limit.
// The time that a text takes grows with its length and with nothing else, also if
// an attacker writes it.
//
// # Absent, null, wrong type
//
// One rule for the whole module, with two sides:
//
//	                                          absent        null           wrong type
//	Start: JOSE headers, proofs, cnf          the caller's  wrong type     malformed
//	StartDocument: metadata, published keys,  the caller's  absent         malformed
//	  introspection and token answers,
//	  JWT payloads
//	  but cnf, active, issuer, jwks_uri and   the caller's  wrong type     malformed
//	  keys in them
//
// Issuers write null for an optional member that they have no value for; a client
// has no reason to. cnf, active, issuer, jwks_uri and keys decide whom and what to
// trust, so a null there is a fault and not an omission. Whether an absent member
// is a fault is the caller's decision, and a null is never evidence for anything.
//
// A member has the wrong type if the caller reads it as something that it is not:
// the text of a number, the list of a string. Members that the caller does not
// read may have any type.
//
// # What this package does not check
//
// What members mean, and which of them are required. A byte order mark before a
// document of a configured issuer is the caller's to remove, see [WithoutBOM].
package strictjson

import "bytes"

// Error says what is wrong with a JSON text. Its values are comparable with ==,
// and returning one does not allocate. It never holds any of the input.
type Error uint8

// The kinds of [Error].
const (
	_ Error = iota
	// ErrMalformed: not exactly one strict JSON object, or a member has the wrong type.
	ErrMalformed
	// ErrTooDeep: objects and arrays are nested deeper than the caller's limit.
	ErrTooDeep
)

// Error returns a fixed text that starts with "strictjson: ".
func (e Error) Error() string {
	switch e {
	case ErrMalformed:
		return "strictjson: not a strict JSON object of the expected shape"
	case ErrTooDeep:
		return "strictjson: nested deeper than the limit"
	}
	return "strictjson: unknown error"
}

// WithoutBOM returns document without the byte order mark of UTF-8 in front of it,
// which RFC 8259, section 8.1, lets a reader ignore. It is for what a configured
// issuer publishes or answers; a mark in a token or a proof is a fault.
func WithoutBOM(document []byte) []byte {
	return bytes.TrimPrefix(document, []byte("\xef\xbb\xbf"))
}
