package main

import (
	"context"
	"sync/atomic"
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
	least atomic.Int64 // a time.Duration
	used  atomic.Bool  // proofs have been remembered
}

func newSharedMemory(cache dpop.ReplayCache, f *kongfile.File) *sharedMemory {
	m := &sharedMemory{ReplayCache: cache}
	m.widen(f)
	return m
}

// windowOf is for how long a plugin of f can accept a proof that is used now.
func windowOf(f *kongfile.File) time.Duration {
	window := proofLifetime
	for _, p := range f.Attached {
		if p.OpenID != nil {
			window = max(window, p.OpenID.Proof.Lifetime)
		}
	}
	return window + proofSkew
}

func (m *sharedMemory) window() time.Duration { return time.Duration(m.least.Load()) }

// widen makes the memory keep proofs for as long as f needs. It keeps none for less
// than before, since requests under way are judged by what was in force before.
func (m *sharedMemory) widen(f *kongfile.File) {
	m.least.Store(int64(max(m.window(), windowOf(f))))
	if memory, ok := m.ReplayCache.(*dpop.MemoryCache); ok {
		// A memory learns the windows of the verifiers that are made with it, and takes a
		// proof that it may have forgotten for one that was used. This one is behind m.
		_, _ = dpop.New("https://gateway.invalid", dpop.WithLifetime(m.window()-proofSkew), dpop.WithSkew(proofSkew), dpop.WithReplayCache(memory, nil))
	}
}

func (m *sharedMemory) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	m.used.Store(true)
	if least := time.Now().Add(m.window()); until.Before(least) {
		until = least
	}
	return m.ReplayCache.Add(ctx, jkt, id, until)
}
