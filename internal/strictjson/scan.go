package strictjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner goes forward in raw: its functions take a position and return the one
// behind what they have read, or -1 after a fault.
type scanner struct {
	raw      []byte
	maxDepth int
	fault    Error
	names    names
}

// span is a part of the input or, beyond its end, of what was unescaped.
type span struct{ start, end uint32 }

// fail records the first fault. Its result stands for no position.
func (s *scanner) fail(fault Error) int {
	if s.fault == 0 {
		s.fault = fault
	}
	return -1
}

func (s *scanner) is(i int, c byte) bool { return i < len(s.raw) && s.raw[i] == c }

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// separator reads what stands in front of a member or an element, or behind the
// last one; more tells which.
func (s *scanner) separator(i int, closing byte, comma bool) (next int, more bool) {
	i = skipSpace(s.raw, i)
	switch {
	case s.is(i, closing):
		return i + 1, false
	case !comma:
		return i, true
	case s.is(i, ','):
		return skipSpace(s.raw, i+1), true
	}
	return s.fail(ErrMalformed), false
}

// memberName reads a name with its colon. The name must differ from those that the
// object has had so far; first is where those begin.
func (s *scanner) memberName(i, first int) int {
	start := i
	if !s.is(i, '"') {
		return s.fail(ErrMalformed)
	}
	i, escaped := s.skipString(i)
	if i < 0 {
		return i
	}
	name := span{uint32(start + 1), uint32(i - 1)}
	if escaped {
		name = s.names.unescape(s.raw[start+1:i-1], len(s.raw))
	}
	if !s.add(name, first) {
		return s.fail(ErrMalformed)
	}
	if i = skipSpace(s.raw, i); !s.is(i, ':') {
		return s.fail(ErrMalformed)
	}
	return skipSpace(s.raw, i+1)
}

// skipValue reads a value. depth is that of the object or array around it.
func (s *scanner) skipValue(i, depth int) int {
	if i >= len(s.raw) {
		return s.fail(ErrMalformed)
	}
	switch c := s.raw[i]; {
	case c == '"':
		i, _ = s.skipString(i)
		return i
	case c == '{' || c == '[':
		if depth++; depth > s.maxDepth {
			return s.fail(ErrTooDeep)
		}
		if c == '{' {
			return s.skipObject(i+1, depth)
		}
		return s.skipArray(i+1, depth)
	case c == '-' || isDigit(c):
		return s.skipNumber(i)
	case c == 't':
		return s.skipLiteral(i, "true")
	case c == 'f':
		return s.skipLiteral(i, "false")
	case c == 'n':
		return s.skipLiteral(i, "null")
	}
	return s.fail(ErrMalformed)
}

func (s *scanner) skipObject(i, depth int) int {
	first := s.names.n
	for comma := false; ; comma = true {
		next, more := s.separator(i, '}', comma)
		if !more {
			s.names.truncate(first)
			return next
		}
		if next = s.memberName(next, first); next < 0 {
			return next
		}
		if i = s.skipValue(next, depth); i < 0 {
			return i
		}
	}
}

func (s *scanner) skipArray(i, depth int) int {
	for comma := false; ; comma = true {
		next, more := s.separator(i, ']', comma)
		if !more {
			return next
		}
		if i = s.skipValue(next, depth); i < 0 {
			return i
		}
	}
}

func (s *scanner) skipLiteral(i int, literal string) int {
	if end := i + len(literal); end <= len(s.raw) && string(s.raw[i:end]) == literal {
		return end
	}
	return s.fail(ErrMalformed)
}

// skipNumber is RFC 8259, section 6.
func (s *scanner) skipNumber(i int) int {
	if s.raw[i] == '-' {
		i++
	}
	if s.is(i, '0') {
		i++
	} else if i = s.skipDigits(i); i < 0 {
		return i
	}
	if s.is(i, '.') {
		if i = s.skipDigits(i + 1); i < 0 {
			return i
		}
	}
	if s.is(i, 'e') || s.is(i, 'E') {
		if i++; s.is(i, '+') || s.is(i, '-') {
			i++
		}
		return s.skipDigits(i)
	}
	return i
}

// skipDigits demands at least one.
func (s *scanner) skipDigits(i int) int {
	start := i
	for i < len(s.raw) && isDigit(s.raw[i]) {
		i++
	}
	if i == start {
		return s.fail(ErrMalformed)
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skipPlain returns the position, from i on, of the first byte that does not
// stand for itself in a JSON string: a quote, a backslash, a control character,
// or what is not ASCII. It takes eight bytes at a time.
func skipPlain(raw []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(raw); i += 8 {
		x := binary.LittleEndian.Uint64(raw[i:])
		quote, backslash := x^'"'*ones, x^'\\'*ones
		// The high bit of an byte is set if subtracting made it wrap. A wrap may
		// spoil the bytes above, never those below, so the lowest one is right.
		special := ((x-' '*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash | x) & highs
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for i < len(raw) && raw[i] >= ' ' && raw[i] < utf8.RuneSelf && raw[i] != '"' && raw[i] != '\\' {
		i++
	}
	return i
}

// skipString reads a string with its quotes. Precondition: s.raw[i] is the first one.
func (s *scanner) skipString(i int) (end int, escaped bool) {
	raw := s.raw
	for i++; ; {
		switch i = skipPlain(raw, i); {
		case i == len(raw) || raw[i] < 0x20:
			return s.fail(ErrMalformed), escaped
		case raw[i] == '"':
			return i + 1, escaped
		case raw[i] == '\\':
			escaped = true
			if i = s.skipEscape(i + 1); i < 0 {
				return i, escaped
			}
		default:
			r, n := utf8.DecodeRune(raw[i:])
			if r == utf8.RuneError && n == 1 {
				return s.fail(ErrMalformed), escaped
			}
			i += n
		}
	}
}

// skipEscape reads what follows a backslash.
func (s *scanner) skipEscape(i int) int {
	if i >= len(s.raw) {
		return s.fail(ErrMalformed)
	}
	switch s.raw[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		return s.skipUnicode(i + 1)
	}
	return s.fail(ErrMalformed)
}

// skipUnicode reads the digits of \u and, of a surrogate pair, the second half.
func (s *scanner) skipUnicode(i int) int {
	switch unit := s.hex4(i); {
	case unit < 0, 0xdc00 <= unit && unit < 0xe000:
		return s.fail(ErrMalformed)
	case 0xd800 <= unit && unit < 0xdc00:
		if low := s.hex4(i + 6); !s.is(i+4, '\\') || !s.is(i+5, 'u') || low < 0xdc00 || low >= 0xe000 {
			return s.fail(ErrMalformed)
		}
		return i + 10
	}
	return i + 4
}

// hex4 is the value of the four hexadecimal digits at i, or -1.
func (s *scanner) hex4(i int) int { return hex4(s.raw, i) }

func hex4(raw []byte, i int) (unit int) {
	if i+4 > len(raw) {
		return -1
	}
	for _, c := range raw[i : i+4] {
		switch lower := c | 0x20; {
		case isDigit(c):
			unit = unit<<4 | int(c-'0')
		case 'a' <= lower && lower <= 'f':
			unit = unit<<4 | int(lower-'a'+10)
		default:
			return -1
		}
	}
	return unit
}

// appendUnescaped appends what src, a JSON string without its quotes, stands for.
// Precondition: src has passed skipString.
func appendUnescaped(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		if src[i] != '\\' {
			dst = append(dst, src[i])
			continue
		}
		switch i++; src[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := rune(hex4(src, i+1))
			if i += 4; utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, rune(hex4(src, i+3)))
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, src[i])
		}
	}
	return dst
}
