package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/keybound-go/middleware/internal/jose"
)

const (
	// maxCandidates bounds the signatures that one token can make us verify.
	maxCandidates = 16

	defaultMaxKeys = 100
)

// name is what a token says about the key it was signed with.
type name struct{ alg, kid string }

// A keySet is the usable part of a JWK Set, arranged for the questions that are
// asked. It is immutable.
type keySet struct {
	byName      map[name][]crypto.PublicKey // the kid "" has the keys of every kid
	kids        map[string]bool
	thumbprints map[string]bool
	objects     map[any]bool // the same keys by identity
	skipped     []string
	generation  uint64 // of the content, never 0
}

// parseKeySet refuses a set that is no use: broken, too large, or empty once
// the keys that cannot verify are gone.
func parseKeySet(raw []byte, maxKeys int) (*keySet, error) {
	keys, skipped, err := jose.ParseKeySet(raw)
	if err != nil {
		// Not wrapped: the kinds of internal/jose are a client's faults, and this is
		// the issuer's.
		return nil, fmt.Errorf("jwks: not a key set: %v", err)
	}
	if n := len(keys) + len(skipped); n > maxKeys {
		return nil, fmt.Errorf("jwks: set of %d keys, more than the %d of WithMaxKeys", n, maxKeys)
	}
	set := &keySet{
		byName:      make(map[name][]crypto.PublicKey),
		kids:        make(map[string]bool),
		thumbprints: make(map[string]bool),
		objects:     make(map[any]bool),
	}
	for _, reason := range skipped {
		set.skipped = append(set.skipped, reason.Error())
	}
	var content []string
	for _, key := range keys {
		if entry, fault := set.add(key); fault != nil {
			set.skipped = append(set.skipped, fmt.Sprintf("jwks: key %q: %v", key.KeyID, fault))
		} else {
			content = append(content, entry)
		}
	}
	if len(set.thumbprints) == 0 {
		return nil, fmt.Errorf("jwks: set without a usable key (%d skipped): %s", len(set.skipped), first(set.skipped))
	}
	slices.Sort(content) // the order of a set means nothing
	set.generation = generation(content)
	return set, nil
}

// keyIDs are the names that tokens can use, for the operator.
func (set *keySet) keyIDs() []string {
	ids := slices.Sorted(maps.Keys(set.kids))
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

func first(reasons []string) string {
	if len(reasons) == 0 {
		return "it is empty"
	}
	return reasons[0]
}

// add files key under every name that a token may use for it, and returns what
// distinguishes it from others.
func (s *keySet) add(key jose.Key) (entry string, err error) {
	thumbprint, err := jose.Thumbprint(key.Public)
	if err != nil {
		return "", err
	}
	algs := fitting(key)
	if len(algs) == 0 {
		return "", jose.ErrKeyMismatch
	}
	for _, alg := range algs {
		s.file(name{alg, ""}, key.Public)
		if key.KeyID != "" {
			s.file(name{alg, key.KeyID}, key.Public)
			s.kids[key.KeyID] = true
		}
	}
	s.thumbprints[thumbprint] = true
	s.objects[identity(key.Public)] = true
	return fmt.Sprintf("%s %q %q", thumbprint, key.KeyID, key.Algorithm), nil
}

func (s *keySet) file(n name, key crypto.PublicKey) {
	for _, k := range s.byName[n] {
		if k.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
			return // listed twice, tried once
		}
	}
	s.byName[n] = append(s.byName[n], key)
}

// candidates returns the keys under kid that fit alg, and whether the set knows
// kid at all.
func (s *keySet) candidates(alg, kid string) (keys []crypto.PublicKey, known bool) {
	keys = s.byName[name{alg, kid}]
	return keys, len(keys) > 0 || s.kids[kid]
}

// contains looks at the object first, which is cheap and hits as long as the
// content of the set stays as it is, and then at the key.
func (s *keySet) contains(key crypto.PublicKey) bool {
	if s.objects[identity(key)] {
		return true
	}
	thumbprint, err := jose.Thumbprint(key)
	return err == nil && s.thumbprints[thumbprint]
}

// fitting returns the algorithms that key may verify.
func fitting(key jose.Key) []string {
	return slices.DeleteFunc(jose.Algorithms(), func(alg string) bool { return key.Usable(alg) != nil })
}

// identity is what makes key this very object in memory, nil if nothing does.
func identity(key crypto.PublicKey) any {
	switch key := key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		return key
	case ed25519.PublicKey:
		if len(key) > 0 {
			return &key[0]
		}
	}
	return nil
}

// generation condenses the content of a set. A hash rather than a counter: a
// set that comes back is the same set.
func generation(content []string) uint64 {
	h := sha256.New()
	for _, entry := range content {
		fmt.Fprintln(h, entry)
	}
	return max(binary.BigEndian.Uint64(h.Sum(nil)), 1)
}
