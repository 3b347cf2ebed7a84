package main

import (
	"context"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
)

// What package dpop takes where nothing is said.
const (
	proofLifetime = time.Minute
	proofSkew     = 30 * time.Second
)

// sharedMemory is the memory of used proofs of all plugins. Each of them asks it to
// remember a proof for as long as its own settings can accept it. Another plugin may
// accept the same proof for longer: by a longer lifetime, or by its own view of the
// proof's age, from the nonce or from iat. So it remembers each for as long as any of
// them could accept a proof that is used now.
type sharedMemory struct {
	dpop.ReplayCache
	window time.Duration
}

func newSharedMemory(cache dpop.ReplayCache, f *kongfile.File) *sharedMemory {
	window := proofLifetime
	for _, p := range f.Attached {
		if p.OpenID != nil {
			window = max(window, p.OpenID.Proof.Lifetime)
		}
	}
	return &sharedMemory{cache, window + proofSkew}
}

func (m *sharedMemory) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	if least := time.Now().Add(m.window); until.Before(least) {
		until = least
	}
	return m.ReplayCache.Add(ctx, jkt, id, until)
}
