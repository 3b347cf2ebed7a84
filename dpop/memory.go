package dpop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/replayset"
)

const (
	defaultCapacity = 1 << 20
	maxCapacity     = 1 << 30
)

// MemoryOption configures a [MemoryCache].
type MemoryOption interface{ applyMemory(*memoryConfig) }

type memoryConfig struct {
	*options.Set
	capacity int
}

type memoryOptionFunc func(*memoryConfig)

func (f memoryOptionFunc) applyMemory(c *memoryConfig) { f(c) }

// WithCacheSize sets how many proofs a [MemoryCache] remembers at the same time.
// The default is 1,048,576, which at a lifetime of 60 s and a skew of 30 s is
// enough for some 10,000 requests per second, and takes up to 40 MB when they come.
func WithCacheSize(proofs int) MemoryOption {
	return memoryOptionFunc(func(c *memoryConfig) {
		if !c.Once("WithCacheSize") {
			return
		}
		if proofs < 1 || proofs > maxCapacity {
			c.Problem("WithCacheSize: %d is not between 1 and %d", proofs, maxCapacity)
		}
		c.capacity = proofs
	})
}

// MemoryCache is a [ReplayCache] in the memory of this process. Make one with
// [NewMemoryCache]; the zero MemoryCache is full. It is safe for concurrent
// use, starts no goroutine, and needs no closing.
//
// It never forgets a proof that could still be accepted: when it is full, Add
// returns [ErrReplayCacheFull]. Memory is taken as proofs come, some 30 bytes
// for each, and given back as they expire, a whole bucket of time at once.
//
// # Fairness
//
// The cache is fair by key, and not by client. A key may have as many proofs in it as
// there is room left for the other keys: a client that floods the service with proofs
// of one key takes half of the room at the most, and m keys leave 1/(m+1) of it to the
// rest. A client that gets tokens for many keys of its own counts as many: if the
// issuer sets no limit to that, a limit of requests by client or address belongs in
// front of the guard. Up to there the capacity belongs to all keys together.
//
// # Several Verifiers
//
// Verifiers may share a cache. It then remembers a proof for the longest of their
// windows, whichever of them has accepted it. One that comes later, and would accept a
// proof for longer than the cache has remembered those before, refuses the proofs
// of that time as too old.
//
// # Clocks
//
// A bucket of proofs is given up when both the wall clock and the monotonic clock say
// so. If the wall clock is then set back to before that time, the cache cannot tell
// what it has seen, and returns errors until the clock is past it again.
type MemoryCache struct {
	set    *replayset.Set // nil in the zero MemoryCache
	ledger replayset.Ledger
}

// NewMemoryCache makes an empty cache.
func NewMemoryCache(opts ...MemoryOption) (*MemoryCache, error) {
	c := memoryConfig{Set: options.For("dpop"), capacity: defaultCapacity}
	options.Each(c.Set, opts, func(opt MemoryOption) { opt.applyMemory(&c) })
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &MemoryCache{set: replayset.New(c.capacity)}, nil
}

// Len returns how many proofs the cache holds, and how many it has room for. Proofs
// whose time is over may still count.
func (c *MemoryCache) Len() (proofs, room int) {
	if c.set == nil {
		return 0, 0
	}
	return c.set.Len()
}

var errKeyShare = fmt.Errorf("%w for this key: it has as many proofs as there is room left for others", ErrReplayCacheFull)

// Add is [ReplayCache.Add]. It does not block for long.
func (c *MemoryCache) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (fresh bool, err error) {
	if use, ok := replayset.UseFrom(ctx); ok {
		return c.add(use, jkt, id)
	}
	return c.record(jkt, id, until)
}

// add is Add for a use of a proof of which the Verifier is known.
func (c *MemoryCache) add(use replayset.Use, jkt string, id [32]byte) (fresh bool, err error) {
	until, err := c.ledger.Until(use, time.Now())
	if err != nil {
		return false, err
	}
	return c.record(jkt, id, until)
}

func (c *MemoryCache) record(jkt string, id [32]byte, until time.Time) (fresh bool, err error) {
	if c.set == nil {
		return false, ErrReplayCacheFull
	}
	switch fresh, err = c.set.Add(jkt, id, until); {
	case err == nil:
		return fresh, nil
	case errors.Is(err, replayset.ErrShare):
		return false, errKeyShare
	case errors.Is(err, replayset.ErrFull):
		return false, ErrReplayCacheFull
	default:
		return false, fmt.Errorf("dpop: replay cache: %w", err)
	}
}
