package oidc

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"sync/atomic"

	"github.com/keybound-go/middleware/internal/recall"
)

// cache holds tokens that were verified, and nothing about those that were not:
// to take room in it one must have tokens of the issuer. It holds no token, only
// the hash of each, by which it cannot be presented again.
//
// A nil cache is empty and stays so.
type cache struct {
	entries recall.Memory[*entry]
	signers
}

// signers tells whether the key that signed a token is still the issuer's.
type signers struct {
	keys    KeySource
	current func() uint64 // nil if the key source counts no generations
}

// entry is one verified token. All but generation is immutable.
type entry struct {
	token Token
	key   crypto.PublicKey // what signed it
	// Invariant: at some time since the key source was in this generation, it contained
	// key.
	generation atomic.Uint64
}

// newCache returns a cache of at most size tokens. It runs no goroutine: the
// upkeep is done by its callers.
func newCache(size int, keys KeySource) *cache {
	if size == 0 {
		return nil
	}
	return &cache{recall.NewMemory[*entry](size), signersOf(keys)}
}

func signersOf(keys KeySource) signers {
	s := signers{keys: keys}
	if g, ok := keys.(generations); ok {
		s.current = g.Generation
	}
	return s
}

func (c *cache) generation() uint64 {
	if c == nil {
		return 0
	}
	return c.signers.generation()
}

// generation is the key source's, or 0 if it counts none or has no keys.
func (s *signers) generation() uint64 {
	if s.current == nil {
		return 0
	}
	return s.current()
}

// include reports whether the issuer still publishes the key that signed the token of
// an entry.
func (s *signers) include(e *entry) bool {
	generation := s.generation()
	if generation != 0 && generation == e.generation.Load() {
		return true
	}
	if !s.keys.Contains(e.key) {
		return false
	}
	e.generation.Store(generation)
	return true
}

// get returns an entry whose key the issuer still publishes. Times are not
// looked at.
func (c *cache) get(id [sha256.Size]byte) (*entry, bool) {
	if c == nil {
		return nil, false
	}
	e, ok := c.entries.Get(id)
	if !ok {
		return nil, false
	}
	if !c.include(e) {
		c.entries.Delete(id)
		return nil, false
	}
	return e, true
}

func (c *cache) add(id [sha256.Size]byte, e *entry) {
	if c != nil {
		c.entries.Set(id, recall.OwnerOf(cmp.Or(e.token.ClientID, e.token.Subject), e.token.Subject), e.token.Expiry, e)
	}
}

func (c *cache) remove(id [sha256.Size]byte) { c.entries.Delete(id) }

func (c *cache) len() int {
	if c == nil {
		return 0
	}
	return c.entries.Len()
}
