package jose

import "bytes"

// number is a big-endian integer among the members of a key.
type number struct {
	kty, name string
	member    func(*jwk) *[]byte
	width     func(*jwk) int // in bytes; 0 is as few as possible
}

// numbers is the table of repairs: for each type of key that this package
// verifies with, which members are numbers, and how wide RFC 7518 has them.
//
// Issuers write these numbers as their big integers come, with a zero byte in
// front, or without those that the width asks for: a coordinate of 31 or 33 bytes,
// e as AAEAAQ. Such a number has one value, so in a published key leading zero
// bytes are taken away or added up to the width, and the key is checked afterwards
// like any other. Nothing else is repaired: neither base64url nor a value. In the
// jwk of a proof nothing is repaired at all, where one key would have several
// thumbprints.
//
// The x of an OKP key (RFC 8037, section 2) is no number but a string of bytes, of
// which each counts.
var numbers = [...]number{
	{"EC", "x", func(j *jwk) *[]byte { return &j.x }, curveWidth},    // RFC 7518, section 6.2.1.2
	{"EC", "y", func(j *jwk) *[]byte { return &j.y }, curveWidth},    // section 6.2.1.3
	{"RSA", "n", func(j *jwk) *[]byte { return &j.n }, minimalWidth}, // section 6.3.1.1
	{"RSA", "e", func(j *jwk) *[]byte { return &j.e }, minimalWidth}, // section 6.3.1.2
}

func minimalWidth(*jwk) int { return 0 }

func curveWidth(j *jwk) int {
	_, width := curveNamed(j.crv)
	return width
}

// repair rewrites the numbers of a published key in the form that RFC 7518 asks
// for. What is not base64url, or too wide, is left for the checks to refuse.
func (j *jwk) repair() {
	for _, n := range numbers {
		if n.kty != string(j.kty) {
			continue
		}
		member := n.member(j)
		value, ok := appendDecoded(nil, *member)
		if !ok || len(value) == 0 {
			continue
		}
		*member = encoded(widened(value, n.width(j)))
	}
}

// widened returns the big-endian integer n in width bytes, or in more if it does
// not fit; at least one byte is left.
func widened(n []byte, width int) []byte {
	n = minimal(n)
	if missing := width - len(n); missing > 0 {
		return append(make([]byte, missing), n...)
	}
	return bytes.Clone(n)
}
