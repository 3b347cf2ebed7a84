// Package recall answers: do we know already, or is the question under way?
//
// It is what oidc, oidc/introspect and oidc/exchange share: [Memory] holds what
// an issuer said, bounded; [Refusals] holds briefly what it refused; [Flights]
// asks each question once at a time, with a bounded number under way.
//
// Keys are hashes of 32 bytes. Nothing here knows what they are hashes of.
package recall

import (
	"encoding/binary"
	"hash"
	"time"
)

// HashStrings writes texts to h so that no other list of texts is written the same.
func HashStrings(h hash.Hash, texts ...string) {
	var length [8]byte
	write := func(n int) {
		binary.BigEndian.PutUint64(length[:], uint64(n))
		h.Write(length[:])
	}
	write(len(texts))
	for _, t := range texts {
		write(len(t))
		h.Write([]byte(t))
	}
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Earlier returns the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
