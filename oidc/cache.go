package oidc

import (
	"cmp"
	"crypto/sha256"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/recall"
)

// cache holds tokens that were verified, and nothing about those that were not:
// to take room in it one must have tokens of the issuer. It holds no token, only
// the hash of each, by which it cannot be presented again.
//
// A nil cache is empty and stays so.
type cache struct {
	entries recall.Memory[*entry]
	signers *issuer.Signers
}

// entry is one verified token. The token is immutable.
type entry struct {
	token     Token
	signature issuer.Signature
}

// newCache returns a cache of at most size tokens. It runs no goroutine: the
// upkeep is done by its callers.
func newCache(size int, signers *issuer.Signers) *cache {
	if size == 0 {
		return nil
	}
	return &cache{recall.NewMemory[*entry](size), signers}
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
	if !c.signers.Include(&e.signature) {
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
