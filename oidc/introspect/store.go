package introspect

import (
	"context"
	"time"
)

// Store is a place where the answers of an introspection endpoint are
// shared between the replicas of a service: Redis, memcached, a table. Give it to
// [WithStore]. It is asked only for tokens that the [Introspector] does
// not remember itself, and holds only answers that the token is active.
//
// An implementation must be safe for concurrent use, and should give up quickly:
// requests wait for it. An error counts as not found, so that the service
// works, slower, without the store. Two things must hold:
//
//   - Get returns only what Set was given under the same key. An attacker that can write
//     into the store can make this service accept a token, bound to the attacker's key,
//     so the values should be sealed (AEAD, with the key as additional data).
//   - Get returns nothing that is older than its ttl. Should it do so, the
//     answer's own times still hold.
type Store interface {
	// Get returns the value that was set under key, if it is still there. The caller
	// does not modify it.
	Get(ctx context.Context, key [32]byte) (value []byte, found bool, err error)

	// Set stores value under key for ttl, which is positive; it replaces what was
	// there. It must not keep or modify value after it has returned.
	//
	// The key is a SHA-256 hash of the token and of what identifies the question
	// (issuer, audience, client); the token itself is in neither key nor value. value
	// is opaque: it holds the claims, so it is personal data.
	Set(ctx context.Context, key [32]byte, value []byte, ttl time.Duration) error
}
