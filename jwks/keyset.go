package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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
	byName     map[name][]crypto.PublicKey // the kid "" has the keys of every kid
	kids       map[string]bool
	members    map[digest]bool
	pointers   map[crypto.PublicKey]bool // members, by identity: a cheaper first look
	skipped    []string
	generation uint64 // of the content, never 0
}

// parseKeySet refuses a set that is no use: broken, too large, or empty once
// the keys that cannot verify are gone.
func parseKeySet(raw []byte, maxKeys int) (*keySet, error) {
	keys, skipped, err := jose.ParseKeySet(raw)
	if err != nil {
		return nil, fmt.Errorf("jwks: not a key set: %w", err)
	}
	if n := len(keys) + len(skipped); n > maxKeys {
		return nil, fmt.Errorf("jwks: set of %d keys, more than %d", n, maxKeys)
	}
	set := &keySet{
		byName:   make(map[name][]crypto.PublicKey),
		kids:     make(map[string]bool),
		members:  make(map[digest]bool),
		pointers: make(map[crypto.PublicKey]bool),
	}
	for _, reason := range skipped {
		set.skipped = append(set.skipped, reason.Error())
	}
	var content []string
	for _, key := range keys {
		if entry, err := set.add(key); err != nil {
			set.skipped = append(set.skipped, fmt.Sprintf("jwks: key %q: %v", key.KeyID, err))
		} else {
			content = append(content, entry)
		}
	}
	if len(set.members) == 0 {
		return nil, errors.Join(append(skipped, errors.New("jwks: set without a usable key"))...)
	}
	slices.Sort(content) // the order of a set means nothing
	set.generation = generation(content)
	return set, nil
}

// add files key under every name that a token may use for it, and returns what
// distinguishes it from others.
func (s *keySet) add(key jose.Key) (entry string, err error) {
	if key.Use != "" && key.Use != "sig" {
		return "", fmt.Errorf("use %q", key.Use) // RFC 7517, section 4.2.
	}
	d, err := digestOf(key.Public)
	if err != nil {
		return "", err
	}
	algs := fitting(key)
	if len(algs) == 0 {
		return "", fmt.Errorf("no algorithm for it (alg %q)", key.Algorithm)
	}
	for _, alg := range algs {
		s.file(name{alg, ""}, key.Public)
		if key.KeyID != "" {
			s.file(name{alg, key.KeyID}, key.Public)
			s.kids[key.KeyID] = true
		}
	}
	s.members[d] = true
	if _, slice := key.Public.(ed25519.PublicKey); !slice {
		s.pointers[key.Public] = true
	}
	return fmt.Sprintf("%x %q %q", d, key.KeyID, key.Algorithm), nil
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

func (s *keySet) contains(key crypto.PublicKey) bool {
	if _, slice := key.(ed25519.PublicKey); !slice && s.known(key) {
		return true
	}
	d, err := digestOf(key)
	return err == nil && s.members[d]
}

// known looks key up by identity, which only pointers have.
func (s *keySet) known(key crypto.PublicKey) bool {
	switch key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		return s.pointers[key]
	}
	return false
}

// fitting returns the algorithms that key may verify.
func fitting(key jose.Key) []string {
	var algs []string
	for _, alg := range jose.Algorithms() {
		if permits(key.Algorithm, alg) && jose.CheckKey(alg, key.Public) == nil {
			algs = append(algs, alg)
		}
	}
	return algs
}

// permits reports whether a key whose alg member is stated may verify alg.
// EdDSA is what an Ed25519 key was called before RFC 9864; tokens and sets of
// one issuer do not always change over at the same time.
func permits(stated, alg string) bool {
	edwards := func(alg string) bool { return alg == "EdDSA" || alg == "Ed25519" }
	return stated == "" || stated == alg || edwards(stated) && edwards(alg)
}

// A digest stands for a public key.
type digest [sha256.Size]byte

var errKeyType = errors.New("unknown kind of key")

func digestOf(key crypto.PublicKey) (digest, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return hash('O', key), nil
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil {
			return digest{}, errKeyType
		}
		point, err := key.Bytes()
		if err != nil {
			return digest{}, err
		}
		return hash('E', point), nil // the length tells the curve
	case *rsa.PublicKey:
		if key == nil || key.N == nil {
			return digest{}, errKeyType
		}
		e := binary.BigEndian.AppendUint64(nil, uint64(key.E))
		return hash('R', append(e, key.N.Bytes()...)), nil
	}
	return digest{}, errKeyType
}

func hash(kind byte, b []byte) digest {
	return sha256.Sum256(append([]byte{kind}, b...))
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
