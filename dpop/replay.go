package dpop

import (
	"context"
	"time"
)

// ReplayCache remembers used proofs. An implementation must be safe for concurrent use.
// It is asked once for each proof that has passed every other check.
type ReplayCache interface {
	// Add records id until the given time, and reports whether it was not
	// there before. id alone identifies a proof: it is a SHA-256, of which an
	// implementation may keep the first 16 bytes only. jkt is the thumbprint of
	// the proof's key, for an implementation that shares its room between keys.
	//
	// Looking and recording must be one atomic step: if two callers add the same
	// id at the same time, exactly one gets true. An implementation that first
	// looks and then writes lets a proof be used twice.
	//
	// The record must stay up to and including until: after that, the Verifier that
	// asks refuses the proof for its age. An implementation that drops it earlier, to
	// make room or on a restart, lets a proof be used again. One that keeps it longer
	// costs memory.
	//
	// If it cannot tell, Add returns an error and the request is refused with 503.
	// An implementation that returns true instead turns every outage of its
	// store into a replay. It should give up well before a client does.
	Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (fresh bool, err error)
}
