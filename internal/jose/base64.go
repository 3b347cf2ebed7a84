package jose

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// Strict refuses trailing bits that are not zero, so that an byte string has
// exactly one encoding.
var base64url = base64.RawURLEncoding.Strict()

// appendDecoded appends the bytes that the canonical, unpadded base64url src
// stands for.
//
// It takes eight characters at a time, and leaves the last ones, where trailing
// bits may be, to encoding/base64. That would take twice as long for all of them,
// since it skips line breaks, even when strict, and they have to be looked for.
// The form is RFC 7515, section 2, and unused bits are zero (RFC 4648, section 3.5).
func appendDecoded(dst, src []byte) ([]byte, bool) {
	n := base64url.DecodedLen(len(src))
	dst = slices.Grow(dst, n)
	out := dst[len(dst) : len(dst)+n]
	for ; len(src) > 12 && len(out) >= 8; src, out = src[8:], out[6:] {
		in := (*[8]byte)(src)
		a, b, c, d := sextets[in[0]], sextets[in[1]], sextets[in[2]], sextets[in[3]]
		e, f, g, h := sextets[in[4]], sextets[in[5]], sextets[in[6]], sextets[in[7]]
		if a|b|c|d|e|f|g|h == notSextet {
			return dst, false
		}
		binary.BigEndian.PutUint64(out, uint64(a)<<58|uint64(b)<<52|uint64(c)<<46|uint64(d)<<40|
			uint64(e)<<34|uint64(f)<<28|uint64(g)<<22|uint64(h)<<16)
	}
	dst = dst[:len(dst)+n-len(out)]
	for _, c := range src {
		if sextets[c] == notSextet {
			return dst, false
		}
	}
	dst, err := base64url.AppendDecode(dst, src)
	return dst, err == nil
}

const notSextet = 0xff

// sextets are the six bits that each character stands for.
var sextets = func() (table [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for c := range table {
		table[c] = notSextet
	}
	for bits, c := range []byte(alphabet) {
		table[c] = byte(bits)
	}
	return table
}()
