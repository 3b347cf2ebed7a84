package jose

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unicode/utf8"
)

// Object reads one strict JSON object member by member, in one pass and without
// an allocation: for what comes with every request. [Unmarshal], which decodes by
// reflection, takes three times as long.
//
//	var o jose.Object
//	for o.Start(raw, 8); o.Next(); {
//		switch string(o.Name()) {
//		case "jti":
//			o.Text(&id)
//		}
//	}
//	if err := o.Err(); err != nil {
//		return err
//	}
//
// It accepts exactly what Unmarshal accepts, and has the same limits: a fuzz
// target holds one against the other. What was read counts only once Next has
// returned false and Err is nil, since the object may be broken further on.
//
// An Object may be used again, and not concurrently.
type Object struct {
	raw      []byte
	at       int // where Next goes on
	maxDepth int
	members  int // of all objects so far
	ended    bool
	fault    Error
	names    names

	// Where the member is. Not slices: to write a pointer takes a write barrier.
	name, value span
}

// Start begins to read raw; maxDepth is as for [Unmarshal].
func (o *Object) Start(raw []byte, maxDepth int) {
	*o = Object{raw: raw, maxDepth: maxDepth}
	o.at = skipSpace(raw, 0)
	switch {
	case !o.is(o.at, '{'):
		o.fail(ErrPayload)
	case maxDepth < 1:
		o.fail(ErrTooDeep)
	}
	o.at++
}

// Next reads the next member. It reports false at the end of the object, and at
// the first fault.
func (o *Object) Next() bool {
	if o.fault != 0 || o.ended {
		return false
	}
	i, more := o.separator(o.at, '}', o.members > 0)
	if !more {
		if i >= 0 && skipSpace(o.raw, i) != len(o.raw) {
			o.fail(ErrPayload)
		}
		o.ended = true
		return false
	}
	if i = o.memberName(i, scope{}); i < 0 {
		return false
	}
	o.name = o.names.last()
	if o.at = o.skipValue(i, 1); o.at < 0 {
		return false
	}
	o.value = span{uint32(i), uint32(o.at)}
	return true
}

// Name is the name of the member, unescaped.
func (o *Object) Name() []byte { return o.textOf(o.name) }

// Value is the value of the member as it stands in the input: valid JSON,
// without white space around it.
func (o *Object) Value() []byte { return o.raw[o.value.start:o.value.end:o.value.end] }

// Text sets dst to what the value, a string, says. It leaves dst alone if the
// value is null, and everything else is a fault.
func (o *Object) Text(dst *string) {
	var text []byte
	if o.Octets(&text); text != nil {
		*dst = string(text)
	}
}

// Octets is Text without a copy, if the string has no escapes: what it sets dst to
// shares memory with the input.
func (o *Object) Octets(dst *[]byte) {
	value := o.Value()
	if string(value) == "null" {
		return
	}
	text, ok := unquoted(value)
	if !ok {
		o.fail(ErrPayload)
		return
	}
	*dst = text
}

// Date sets dst to the value. What is not a date, null included, is a fault.
func (o *Object) Date(dst *NumericDate) {
	if dst.UnmarshalJSON(o.Value()) != nil {
		o.fail(ErrPayload)
	}
}

// Err is the first fault, [ErrPayload] or [ErrTooDeep], or nil.
func (o *Object) Err() error {
	if o.fault != 0 {
		return o.fault
	}
	return nil
}

// Text returns what the JSON string value says; ok is false if value is no
// string. Precondition: value is strict JSON, such as [Object.Value], or empty.
func Text(value []byte) (text string, ok bool) {
	octets, ok := unquoted(value)
	return string(octets), ok
}

// Texts returns the elements of value, a JSON array of strings; ok is false if it
// is anything else. Precondition: as for [Text].
func Texts(value []byte) (list []string, ok bool) {
	if len(value) == 0 || value[0] != '[' {
		return nil, false
	}
	o := Object{raw: value, maxDepth: 1}
	list = []string{}
	for i, more := o.separator(1, ']', false); more; i, more = o.separator(i, ']', true) {
		start := i
		if value[start] != '"' {
			return nil, false
		}
		i, _ = o.skipString(i)
		text, _ := Text(value[start:i])
		list = append(list, text)
	}
	return list, true
}

// malformed is Err for a text that is not a payload.
func (o *Object) malformed(as Error) Error {
	if o.fault == ErrPayload {
		return as
	}
	return o.fault
}

// fail records the first fault. Its result stands for no position.
func (o *Object) fail(fault Error) int {
	if o.fault == 0 {
		o.fault = fault
	}
	return -1
}

// What follows goes forward in o.raw: each function takes a position and returns
// the one behind what it has read, or -1 after a fault.

func (o *Object) is(i int, c byte) bool { return i < len(o.raw) && o.raw[i] == c }

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// separator reads what stands in front of a member or an element, or behind the
// last one; more tells which.
func (o *Object) separator(i int, closing byte, comma bool) (next int, more bool) {
	i = skipSpace(o.raw, i)
	switch {
	case o.is(i, closing):
		return i + 1, false
	case !comma:
		return i, true
	case o.is(i, ','):
		return skipSpace(o.raw, i+1), true
	}
	return o.fail(ErrPayload), false
}

// memberName reads a name, which must be another one than those that the object
// has had so far, with its colon.
func (o *Object) memberName(i int, s scope) int {
	start := i
	if !o.is(i, '"') {
		return o.fail(ErrPayload)
	}
	i, escaped := o.skipString(i)
	if i < 0 {
		return i
	}
	if o.members++; o.members > maxMembers {
		return o.fail(ErrTooDeep)
	}
	name := span{uint32(start + 1), uint32(i - 1)}
	if escaped {
		text, _ := unquoted(o.raw[start:i])
		name = o.names.unescape(text, len(o.raw))
	}
	if o.seen(name, s) {
		return o.fail(ErrPayload)
	}
	if i = skipSpace(o.raw, i); !o.is(i, ':') {
		return o.fail(ErrPayload)
	}
	return skipSpace(o.raw, i+1)
}

// seen reports whether the object has this name already, and adds it.
func (o *Object) seen(name span, s scope) bool {
	text := o.textOf(name)
	if o.names.filter.add(maphash.Bytes(filterSeed, text) + s.number*filterStep) {
		for i := s.first; i < o.names.n; i++ {
			if bytes.Equal(o.textOf(o.names.at(i)), text) {
				return true
			}
		}
	}
	o.names.push(name)
	return false
}

func (o *Object) textOf(s span) []byte {
	if n := uint32(len(o.raw)); s.start >= n {
		return o.names.unescaped[s.start-n : s.end-n : s.end-n]
	}
	return o.raw[s.start:s.end:s.end]
}

// skipValue reads a value. depth is that of the object or array around it.
func (o *Object) skipValue(i, depth int) int {
	if i >= len(o.raw) {
		return o.fail(ErrPayload)
	}
	switch c := o.raw[i]; {
	case c == '"':
		i, _ = o.skipString(i)
		return i
	case c == '{' || c == '[':
		if depth++; depth > o.maxDepth {
			return o.fail(ErrTooDeep)
		}
		if c == '{' {
			return o.skipObject(i+1, depth)
		}
		return o.skipArray(i+1, depth)
	case c == '-' || isDigit(c):
		return o.skipNumber(i)
	case c == 't':
		return o.skipLiteral(i, "true")
	case c == 'f':
		return o.skipLiteral(i, "false")
	case c == 'n':
		return o.skipLiteral(i, "null")
	}
	return o.fail(ErrPayload)
}

func (o *Object) skipObject(i, depth int) int {
	s := scope{o.names.n, uint64(o.members)}
	for comma := false; ; comma = true {
		next, more := o.separator(i, '}', comma)
		if !more {
			o.names.n = s.first
			return next
		}
		if next = o.memberName(next, s); next < 0 {
			return next
		}
		if i = o.skipValue(next, depth); i < 0 {
			return i
		}
	}
}

func (o *Object) skipArray(i, depth int) int {
	for comma := false; ; comma = true {
		next, more := o.separator(i, ']', comma)
		if !more {
			return next
		}
		if i = o.skipValue(next, depth); i < 0 {
			return i
		}
	}
}

func (o *Object) skipLiteral(i int, literal string) int {
	if end := i + len(literal); end <= len(o.raw) && string(o.raw[i:end]) == literal {
		return end
	}
	return o.fail(ErrPayload)
}

// skipNumber is RFC 8259, section 6.
func (o *Object) skipNumber(i int) int {
	if o.raw[i] == '-' {
		i++
	}
	if o.is(i, '0') {
		i++
	} else if i = o.skipDigits(i); i < 0 {
		return i
	}
	if o.is(i, '.') {
		if i = o.skipDigits(i + 1); i < 0 {
			return i
		}
	}
	if o.is(i, 'e') || o.is(i, 'E') {
		if i++; o.is(i, '+') || o.is(i, '-') {
			i++
		}
		return o.skipDigits(i)
	}
	return i
}

// skipDigits demands at least one.
func (o *Object) skipDigits(i int) int {
	start := i
	for i < len(o.raw) && isDigit(o.raw[i]) {
		i++
	}
	if i == start {
		return o.fail(ErrPayload)
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skipPlain returns the position, from i on, of the first octet that does not
// stand for itself in a JSON string: a quote, a backslash, a control character,
// or what is not ASCII. It takes eight octets at a time.
func skipPlain(raw []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(raw); i += 8 {
		x := binary.LittleEndian.Uint64(raw[i:])
		quote, backslash := x^'"'*ones, x^'\\'*ones
		// The high bit of an octet is set if subtracting made it wrap. A wrap may
		// spoil the octets above, never those below, so the lowest one is right.
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

// skipString reads a string with its quotes. Precondition: o.raw[i] is the first one.
func (o *Object) skipString(i int) (end int, escaped bool) {
	raw := o.raw
	for i++; ; {
		switch i = skipPlain(raw, i); {
		case i == len(raw) || raw[i] < 0x20:
			return o.fail(ErrPayload), escaped
		case raw[i] == '"':
			return i + 1, escaped
		case raw[i] == '\\':
			escaped = true
			if i = o.skipEscape(i + 1); i < 0 {
				return i, escaped
			}
		default:
			r, n := utf8.DecodeRune(raw[i:])
			if r == utf8.RuneError && n == 1 {
				return o.fail(ErrPayload), escaped
			}
			i += n
		}
	}
}

// skipEscape reads what follows a backslash.
func (o *Object) skipEscape(i int) int {
	if i >= len(o.raw) {
		return o.fail(ErrPayload)
	}
	switch o.raw[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		return o.skipUnicode(i + 1)
	}
	return o.fail(ErrPayload)
}

// skipUnicode reads the digits of \u and, of a surrogate pair, the second half.
func (o *Object) skipUnicode(i int) int {
	switch unit := o.hex4(i); {
	case unit < 0, 0xdc00 <= unit && unit < 0xe000:
		return o.fail(ErrPayload)
	case 0xd800 <= unit && unit < 0xdc00:
		if low := o.hex4(i + 6); !o.is(i+4, '\\') || !o.is(i+5, 'u') || low < 0xdc00 || low >= 0xe000 {
			return o.fail(ErrPayload)
		}
		return i + 10
	}
	return i + 4
}

// hex4 is the value of the four hexadecimal digits at i, or -1.
func (o *Object) hex4(i int) (unit int) {
	if i+4 > len(o.raw) {
		return -1
	}
	for _, c := range o.raw[i : i+4] {
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

// scope is one object: where its names begin, and a number that no other object
// with names has.
type scope struct {
	first  int
	number uint64
}

// span is a part of the input or, beyond its end, of what was unescaped.
type span struct{ start, end uint32 }

// names are those of the objects that are open at a position, the outermost
// first.
type names struct {
	n         int
	few       [24]span // more than most objects have
	rest      []span
	unescaped []byte
	filter    filter
}

func (s *names) at(i int) span {
	if i < len(s.few) {
		return s.few[i]
	}
	return s.rest[i-len(s.few)]
}

func (s *names) last() span { return s.at(s.n - 1) }

func (s *names) push(name span) {
	if s.n < len(s.few) {
		s.few[s.n] = name
	} else {
		s.rest = append(s.rest[:s.n-len(s.few)], name)
	}
	s.n++
}

func (s *names) unescape(text []byte, rawLen int) span {
	start := rawLen + len(s.unescaped)
	s.unescaped = append(s.unescaped, text...)
	return span{uint32(start), uint32(start + len(text))}
}

// filter tells most names that are new from those that may have been there (a
// Bloom filter). With maxMembers names in it, one in twenty is looked for in vain.
// The hash is keyed, so that nobody can choose names that are.
type filter [32]uint64

// filterStep keeps the names of one object from looking like those of another.
const filterStep = 0x9e3779b97f4a7c15

var filterSeed = maphash.MakeSeed()

// add reports whether the filter may have had the hash before.
func (f *filter) add(hash uint64) bool {
	one, other := &f[hash>>59], &f[hash>>54&31]
	oneBit, otherBit := uint64(1)<<(hash&63), uint64(1)<<(hash>>6&63)
	had := *one&oneBit != 0 && *other&otherBit != 0
	*one |= oneBit
	*other |= otherBit
	return had
}
