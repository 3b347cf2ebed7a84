package jose

import (
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const maxKeySetDepth = 8

// ParseKeySet parses an issuer's JWK Set (RFC 7517, section 5). The caller
// bounds the length of raw.
//
// A key that cannot verify signatures here is skipped, and described in
// skipped: of another type, too weak, private, malformed, or meant for
// something else by use, key_ops or alg. A description wraps an [Error] and
// holds the key's position and kid, never key material. keys has what is left,
// possibly nothing. err is ErrKeySet or ErrTooDeep, if the document as a whole
// is not strict JSON, or has no array of keys.
func ParseKeySet(raw []byte) (keys []Key, skipped []error, err error) {
	if tooDeep(raw, maxKeySetDepth) {
		return nil, nil, ErrTooDeep
	}
	var set keySet
	if fault := readMembers(raw, ErrKeySet, &set); fault != 0 {
		return nil, nil, fault
	}
	if set.keys == nil {
		return nil, nil, ErrKeySet
	}
	for i, raw := range set.keys {
		key, fault := parseSetKey(raw)
		if fault != 0 {
			skipped = append(skipped, fmt.Errorf("jose: key %d of the set, kid %.64q: %w", i, key.KeyID, fault))
			continue
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

type keySet struct {
	keys []jsontext.Value // nil if absent
}

func (s *keySet) member(name, value []byte) Error {
	if string(name) != "keys" {
		return 0
	}
	if jsonv2.Unmarshal(value, &s.keys) != nil {
		return ErrKeySet
	}
	return 0
}

// parseSetKey returns one key of a set; on a fault, what describes it.
func parseSetKey(raw []byte) (Key, Error) {
	var j jwk
	fault := readMembers(raw, ErrKey, &j)
	var key Key
	if kid, ok := unquoted(j.kid); ok {
		key.KeyID = string(kid)
	} else if j.kid != nil {
		return key, ErrKey
	}
	if fault != 0 {
		return key, fault
	}
	if fault := j.checkUse(); fault != 0 {
		return key, fault
	}
	use, _ := unquoted(j.use)
	key.Use, key.Algorithm = string(use), string(j.alg)
	j.trimModulus()
	key.Public, fault = j.setKey()
	if fault == 0 && key.Algorithm != "" && key.Usable(key.Algorithm) != nil {
		fault = ErrKeyMismatch
	}
	return key, fault
}

// trimModulus drops the leading zero octet that some issuers write, as ASN.1
// would. A proof has no such excuse: it would have several thumbprints.
func (j *jwk) trimModulus() {
	n, ok := appendDecoded(nil, j.n)
	if ok && len(n) > 1 && n[0] == 0 {
		j.n = encoded(n[1:])
	}
}

// checkUse is RFC 7517, sections 4.2 and 4.3: a key without use and key_ops is
// for anything.
func (j *jwk) checkUse() Error {
	if j.use != nil && string(j.use) != `"sig"` {
		return ErrKeyUse
	}
	if j.ops == nil {
		return 0
	}
	var operations []string
	if j.ops[0] != '[' || jsonv2.Unmarshal(j.ops, &operations) != nil {
		return ErrKey
	}
	for _, operation := range operations {
		if operation == "verify" {
			return 0
		}
	}
	return ErrKeyUse
}
