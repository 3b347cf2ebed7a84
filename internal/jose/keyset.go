package jose

import (
	"fmt"

	"github.com/keybound-go/middleware/internal/strictjson"
)

const maxKeySetDepth = 8

// ParseKeySet parses an issuer's JWK Set (RFC 7517, section 5), in front of which
// a byte order mark is ignored. The caller bounds the length of raw.
//
// A key that cannot verify signatures here is skipped, and described in
// skipped: of another type, too weak, private, malformed, or meant for
// something else by use, key_ops or alg. A description wraps an [Error] and
// holds the key's position and kid, never key material. keys has what is left,
// possibly nothing. err is ErrKeySet or ErrTooDeep, if the document as a whole
// is not strict JSON, or has no array of keys.
//
// An optional member of a key that is null is absent. Numbers are repaired as far
// as the table of repairs says.
func ParseKeySet(raw []byte) (keys []Key, skipped []error, err error) {
	elements, fault := keysOf(strictjson.WithoutBOM(raw))
	if fault != 0 {
		return nil, nil, fault
	}
	for i, element := range elements {
		key, fault := parseSetKey(element)
		if fault != 0 {
			skipped = append(skipped, fmt.Errorf("jose: key %d of the set, kid %.64q: %w", i, key.KeyID, fault))
			continue
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

// keysOf returns the elements of keys.
func keysOf(raw []byte) (elements [][]byte, fault Error) {
	found := false
	var o strictjson.Object
	for o.StartDocument(raw, maxKeySetDepth); o.Next(); {
		if string(o.Name()) == "keys" {
			elements, found = strictjson.Elements(o.Value())
		}
	}
	switch {
	case o.Err() == strictjson.ErrTooDeep:
		return nil, ErrTooDeep
	case o.Err() != nil, !found:
		return nil, ErrKeySet
	}
	return elements, 0
}

// parseSetKey returns one key of a set; on a fault, what describes it.
func parseSetKey(raw []byte) (key Key, fault Error) {
	var j jwk
	var o strictjson.Object
	for o.StartDocument(raw, maxKeySetDepth); o.Next(); {
		// After a fault the kid may still come, which describes the key.
		if f := j.member(o.Name(), o.Value()); fault == 0 {
			fault = f
		}
	}
	kid, ok := strictjson.Text(j.kid)
	key.KeyID = kid
	if o.Err() != nil || j.kid != nil && !ok {
		return key, ErrKey
	}
	if fault != 0 {
		return key, fault
	}
	if fault := j.checkUse(); fault != 0 {
		return key, fault
	}
	key.Use, _ = strictjson.Text(j.use)
	key.Algorithm = string(j.alg)
	j.repair()
	key.Public, fault = j.setKey()
	if fault == 0 && key.Algorithm != "" && key.Usable(key.Algorithm) != nil {
		fault = ErrKeyMismatch
	}
	return key, fault
}

// checkUse is RFC 7517, sections 4.2 and 4.3: a key without use and key_ops is
// for anything.
func (j *jwk) checkUse() Error {
	if use, ok := strictjson.Bytes(j.use); j.use != nil && (!ok || string(use) != "sig") {
		return ErrKeyUse
	}
	if j.ops == nil {
		return 0
	}
	operations, ok := strictjson.Texts(j.ops)
	if !ok {
		return ErrKey
	}
	for _, operation := range operations {
		if operation == "verify" {
			return 0
		}
	}
	return ErrKeyUse
}
