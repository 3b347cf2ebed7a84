package dpop

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keybound-go/middleware/internal/outage"
)

// readyFor is how long the answer of a store to a readiness probe holds.
const readyFor = 5 * time.Second

// Ready reports whether proofs can be judged now: whether the replay cache answers, if
// it has a method Check(context.Context) error, as redisstore's has. It asks the cache
// once in five seconds at the most, however many callers there are. A cache without
// that method is taken for ready.
func (v *Verifier) Ready(ctx context.Context) error {
	if v == nil || len(v.origins) == 0 {
		return errNotNew
	}
	store, ok := v.replay.(interface{ Check(context.Context) error })
	if !ok {
		return nil
	}
	return v.readiness.ask(ctx, store.Check)
}

// readiness remembers the last answer of a store. Its zero value has none.
type readiness struct {
	mu   sync.Mutex
	till time.Time
	err  error
}

func (r *readiness) ask(ctx context.Context, check func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.till) {
		return r.err
	}
	err := check(ctx)
	if err != nil {
		err = outage.As(outage.ReplayCache, fmt.Errorf("dpop: replay cache: %w", err))
		if ctx.Err() != nil {
			return err // the caller gave up: that says nothing of the store
		}
	}
	r.till, r.err = time.Now().Add(readyFor), err
	return err
}
