package oidc

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"
)

// TokenCache is a place where the answers of an introspection endpoint are
// shared between the replicas of a service: Redis, memcached, a table. Give it to
// [WithSharedCache]. It is asked only for tokens that the [Introspector] does
// not remember itself, and holds only answers that the token is active.
//
// An implementation must be safe for concurrent use, and should give up quickly:
// requests wait for it. An error counts as not found, so that the service
// works, slower, without the store. Two things must hold:
//
//   - Get returns only what Set was given under the same key. Whoever can write
//     into the store can make this service accept a token, bound to a key of
//     theirs, so the values should be sealed (AEAD, with the key as additional data).
//   - Get returns nothing that is older than its ttl. Should it do so, the
//     answer's own times still hold.
type TokenCache interface {
	// Get returns the value that was set under key, if it is still there. The caller does not modify it.
	Get(ctx context.Context, key [32]byte) (value []byte, found bool, err error)

	// Set stores value under key for ttl, which is positive; it replaces what was there. It must not
	// keep or modify value after it has returned.
	//
	// The key is a SHA-256 hash of the token and of what identifies the question (issuer, audience,
	// client); the token itself is in neither key nor value. value is opaque: it holds the claims,
	// so it is personal data.
	Set(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error
}

// memory is a bounded map. When it is full, it keeps what is asked for often over what is new (W-TinyLFU), so that a
// flood of things never seen before does not wash out what is in use. Entries carry their own times: there is no
// clock here, and so no goroutine.
type memory[V any] struct{ entries *otter.Cache[[32]byte, V] }

func newMemory[V any](size int) memory[V] {
	return memory[V]{otter.Must(&otter.Options[[32]byte, V]{
		MaximumSize: size,
		// Evicting on the goroutine that writes, not on one of its own, holds the bound at all times.
		Executor: func(f func()) { f() },
	})}
}

func (m memory[V]) get(key [32]byte) (V, bool) { return m.entries.GetIfPresent(key) }
func (m memory[V]) set(key [32]byte, v V)      { m.entries.Set(key, v) }
func (m memory[V]) delete(key [32]byte)        { m.entries.Invalidate(key) }
func (m memory[V]) size() int                  { return m.entries.EstimatedSize() }
