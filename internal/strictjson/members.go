package strictjson

import "bytes"

// Object reads one strict JSON object member by member, in one pass and without
// an allocation. (One with more than 32 names open at once takes a few.)
//
// What was read counts only once Next has returned false and Err is nil, since the
// object may be broken further on.
//
// An Object may be used again, and not concurrently. The zero Object has no
// members and an error.
type Object struct {
	scanner
	at           int // where Next goes on
	some         bool
	ended        bool
	nullIsAbsent bool

	// Where the member is. Not slices: to write a pointer takes a write barrier.
	name, value span
}

// Start begins to read raw, in which null is a value like any other. The object
// itself has depth 1; maxDepth is what is allowed in all.
func (o *Object) Start(raw []byte, maxDepth int) {
	*o = Object{scanner: scanner{raw: raw, maxDepth: maxDepth}}
	o.at = skipSpace(raw, 0)
	switch {
	case !o.is(o.at, '{'):
		o.fail(ErrMalformed)
	case maxDepth < 1:
		o.fail(ErrTooDeep)
	}
	o.at++
}

// StartDocument is Start for what an issuer says: metadata, published keys,
// answers, and the claim sets of its tokens. Next passes over a member that is
// null, as if it were absent, unless it is one of those that may not be null (see
// the package documentation).
func (o *Object) StartDocument(raw []byte, maxDepth int) {
	o.Start(raw, maxDepth)
	o.nullIsAbsent = true
}

// mayBeNull reports whether null stands for the absence of the member. It is the
// table of the whole module.
func mayBeNull(name []byte) bool {
	switch string(name) {
	case "cnf", // RFC 7800: what a token is bound to
		"active",             // RFC 7662, section 2.2: the verdict
		"issuer", "jwks_uri", // RFC 8414, section 2
		"keys": // RFC 7517, section 5
		return false
	}
	return true
}

// Next reads the next member. It reports false at the end of the object, and at
// the first fault.
func (o *Object) Next() bool {
	for o.next() {
		if o.nullIsAbsent && string(o.Value()) == "null" && mayBeNull(o.Name()) {
			continue
		}
		return true
	}
	return false
}

func (o *Object) next() bool {
	if o.fault != 0 || o.ended {
		return false
	}
	i, more := o.separator(o.at, '}', o.some)
	if !more {
		if i >= 0 && skipSpace(o.raw, i) != len(o.raw) {
			o.fail(ErrMalformed)
		}
		o.ended = true
		return false
	}
	o.some = true
	if i = o.memberName(i, 0); i < 0 {
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
// without white space around it. It shares memory with the input.
func (o *Object) Value() []byte { return o.raw[o.value.start:o.value.end:o.value.end] }

// Text sets dst to what the value says, which must be a string.
func (o *Object) Text(dst *string) {
	var text []byte
	if o.Bytes(&text); text != nil {
		*dst = string(text)
	}
}

// Bytes is Text without a copy, if the string has no escapes: what it sets dst to
// shares memory with the input. It is never nil after a success.
func (o *Object) Bytes(dst *[]byte) {
	text, ok := Bytes(o.Value())
	if !ok {
		o.fail(ErrMalformed)
		return
	}
	*dst = text
}

// List sets dst to the elements of the value, which must be an array of strings.
func (o *Object) List(dst *[]string) {
	list, ok := Texts(o.Value())
	if !ok {
		o.fail(ErrMalformed)
		return
	}
	*dst = list
}

// TextOrList is List for a value that may also be one string (RFC 7519, section 4.1.3).
func (o *Object) TextOrList(dst *[]string) {
	if text, ok := Text(o.Value()); ok {
		*dst = []string{text}
		return
	}
	o.List(dst)
}

// Date sets dst to the value, which must be a date.
func (o *Object) Date(dst *NumericDate) {
	if !dst.parse(o.Value()) {
		o.fail(ErrMalformed)
	}
}

// NearestDate is Date, but takes a number outside of the years that a
// [NumericDate] can hold for their beginning or end: a time in milliseconds lies in
// the future, and the caller can tell by how much at least.
func (o *Object) NearestDate(dst *NumericDate) {
	if !dst.parse(o.Value()) && !dst.nearest(o.Value()) {
		o.fail(ErrMalformed)
	}
}

// Refuse is for a caller that finds a value of the wrong type itself.
func (o *Object) Refuse() { o.fail(ErrMalformed) }

// Err is the first fault, [ErrMalformed] or [ErrTooDeep], or nil.
func (o *Object) Err() error {
	switch {
	case o.fault != 0:
		return o.fault
	case o.raw == nil:
		return ErrMalformed
	}
	return nil
}

// Text returns what the JSON string value says; ok is false if value is no
// string. Precondition: value is strict JSON, such as [Object.Value], or empty.
func Text(value []byte) (text string, ok bool) {
	b, ok := Bytes(value)
	return string(b), ok
}

// Bytes is Text without a copy, if the string has no escapes. It is not nil if ok.
func Bytes(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	text = value[1 : len(value)-1 : len(value)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		text = appendUnescaped(make([]byte, 0, len(text)), text)
	}
	return text, true
}

// Texts returns the elements of value, a JSON array of strings; ok is false if it
// is anything else. Precondition: as for [Text].
func Texts(value []byte) (list []string, ok bool) {
	list = []string{}
	ok = each(value, func(element []byte) bool {
		text, ok := Text(element)
		list = append(list, text)
		return ok
	})
	return list, ok
}

// Elements returns the elements of value, a JSON array, as they stand in it; ok is
// false if it is anything else. Precondition: as for [Text].
func Elements(value []byte) (elements [][]byte, ok bool) {
	elements = [][]byte{}
	ok = each(value, func(element []byte) bool {
		elements = append(elements, element)
		return true
	})
	return elements, ok
}

// each calls visit with the elements of value, a JSON array, until it returns false.
func each(value []byte, visit func(element []byte) bool) bool {
	if len(value) == 0 || value[0] != '[' {
		return false
	}
	s := scanner{raw: value, maxDepth: len(value)}
	for i, more := s.separator(1, ']', false); more; i, more = s.separator(i, ']', true) {
		start := i
		if i = s.skipValue(i, 1); i < 0 || !visit(value[start:i:i]) {
			return false
		}
	}
	return s.fault == 0
}
