package jose

import (
	"bytes"
	"encoding/json"
	"errors"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal decodes raw, which must be exactly one strict JSON object, into v,
// a non-nil pointer to a struct or a map. Names match exactly, and unknown
// members are ignored, but not unchecked: a duplicate name, invalid UTF-8 or a
// lone surrogate refuses the object wherever it stands. A member that is null
// leaves a plain field at its zero value.
//
// The object itself has depth 1; maxDepth is what is allowed in all. The error
// is [ErrPayload] or [ErrTooDeep]. On an error v may be half filled.
func Unmarshal(raw []byte, v any, maxDepth int) error {
	if exceeds(raw, maxDepth) {
		return ErrTooDeep
	}
	// JSON null would decode into anything.
	if !startsObject(raw) {
		return ErrPayload
	}
	if err := jsonv2.Unmarshal(raw, v); err != nil {
		return ErrPayload
	}
	return nil
}

func startsObject(raw []byte) bool {
	return jsontext.Value(raw).Kind() == '{'
}

// maxMembers limits the members of all objects of one JSON text. Issuers send some
// dozens; what a parser does for each of them, above all to find a name that is
// there twice, is what makes a large object expensive, long before a signature
// has shown who sends it.
const maxMembers = 256

// exceeds reports whether the objects and arrays of raw are nested deeper than
// maxDepth, or have more than maxMembers members. It is exact for valid JSON, and
// cheap for everything else, so that it can run before a parser that recurses.
func exceeds(raw []byte, maxDepth int) bool {
	// Counting one octet is some ten times as fast as looking for strings, and
	// shows for almost every token that it cannot exceed.
	count := func(c byte) int { return bytes.Count(raw, []byte{c}) }
	if count('{')+count('[') <= maxDepth && count(':') <= maxMembers {
		return false
	}
	return larger(raw, maxDepth, maxMembers)
}

// tooDeep is exceeds for the key sets of configured issuers, which may have many members.
func tooDeep(raw []byte, maxDepth int) bool { return larger(raw, maxDepth, len(raw)) }

func larger(raw []byte, maxDepth, maxMembers int) bool {
	depth, members := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		case ':':
			if members++; members > maxMembers {
				return true
			}
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// memberReader takes the members of one JSON object, in order: the name
// unescaped, the value as it stands in the input, valid and without white space
// around it.
type memberReader interface {
	member(name, value []byte) Error
}

// object walks one JSON object.
type object struct {
	raw    []byte
	reader memberReader
	fault  Error // the first one of reader
}

var errStop = errors.New("jose: stop")

// readMembers hands the members of the JSON object raw to reader. It returns
// the reader's first fault, or malformed if raw is not a strict JSON object.
func readMembers(raw []byte, malformed Error, reader memberReader) Error {
	o := object{raw: raw, reader: reader}
	if err := jsonv2.Unmarshal(raw, &o); err != nil {
		if o.fault != 0 {
			return o.fault
		}
		return malformed
	}
	return 0
}

// UnmarshalJSONFrom implements [jsonv2.UnmarshalerFrom]. It reads values
// out of raw instead of copying them.
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return errStop
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		quoted, err := o.next(dec)
		if err != nil {
			return err
		}
		name, _ := unquoted(quoted)
		value, err := o.next(dec)
		if err != nil {
			return err
		}
		if o.fault = o.reader.member(name, value); o.fault != 0 {
			return errStop
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (o *object) next(dec *jsontext.Decoder) ([]byte, error) {
	value, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return o.raw[end-len(value) : end : end], nil
}

// unquoted returns what the JSON string value stands for; ok is false if value
// is not a string. Precondition: value is valid JSON.
func unquoted(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(value, '\\') >= 0 {
		text, err := jsontext.AppendUnquote(nil, value)
		return text, err == nil
	}
	return value[1 : len(value)-1], true
}

var (
	_ jsonv2.UnmarshalerFrom = (*object)(nil)
	_ jsonv2.UnmarshalerFrom = (*NumericDate)(nil)
	_ json.Unmarshaler       = (*NumericDate)(nil)
)
