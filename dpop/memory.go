package dpop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

const (
	defaultCapacity = 1 << 20
	maxCapacity     = 1 << 30

	// A proof that is good for longer than that is a mistake of the caller.
	maxAhead = 24 * time.Hour

	shardBits  = 6
	shardCount = 1 << shardBits
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
// returns [ErrReplayCacheFull]. Memory is taken as proofs come, some 30 octets
// for each, and given back as they expire, a whole bucket of time at once.
//
// # Fairness
//
// A key may have as many proofs in the cache as there is room left for the other
// keys. So a client that floods the service takes half of the room at the most,
// and m of them, each with a token bound to a key of its own, leave 1/(m+1) of
// it to the rest. Up to there the capacity is everybody's.
//
// # Clocks
//
// A bucket is given up when both the wall clock and the monotonic clock say so.
// If the wall clock is then set back to before that time, the cache cannot tell
// what it has seen, and returns errors until the clock is past it again.
type MemoryCache struct {
	capacity int64
	idSeed   maphash.Seed
	keySeed  maphash.Seed

	buckets atomic.Pointer[[]*bucket] // live; replaced, never changed
	rotate  sync.Mutex                // held to replace it

	// dropped is the latest end of a bucket that was given up, in Unix seconds.
	dropped atomic.Int64

	shards [shardCount]shard
}

// shard holds the proofs with the same first bits of their hash, by bucket.
type shard struct {
	mu     sync.Mutex
	tables []*table // by end, ascending
	_      [32]byte // fills up a cache line
}

// NewMemoryCache makes an empty cache.
func NewMemoryCache(opts ...MemoryOption) (*MemoryCache, error) {
	c := memoryConfig{Set: options.For("dpop"), capacity: defaultCapacity}
	options.Each(c.Set, opts, func(opt MemoryOption) { opt.applyMemory(&c) })
	if err := c.Err(); err != nil {
		return nil, err
	}
	m := &MemoryCache{
		capacity: int64(c.capacity),
		idSeed:   maphash.MakeSeed(),
		keySeed:  maphash.MakeSeed(),
	}
	m.buckets.Store(new([]*bucket))
	return m, nil
}

var (
	errKeyShare = fmt.Errorf("%w for this key: it has as many proofs as there is room left for others", ErrReplayCacheFull)
	errPast     = errors.New("dpop: replay cache: proof from a time that is forgotten; the clock was set back")
	errFarAhead = fmt.Errorf("dpop: replay cache: asked to remember a proof for more than %v", maxAhead)
)

// Add is [ReplayCache.Add]. It does not block for long, and does not use the context.
func (c *MemoryCache) Add(_ context.Context, jkt string, id [32]byte, until time.Time) (fresh bool, err error) {
	if c.capacity == 0 {
		return false, ErrReplayCacheFull
	}
	now := time.Now()
	b, err := c.bucketFor(now, until)
	if err != nil {
		return false, err
	}
	d := newDigest(&id)
	// Where it is put is nobody's to know, so that nobody can pile his proofs up in
	// one place.
	hash := maphash.Bytes(c.idSeed, d[:])
	s := &c.shards[hash>>(64-shardBits)]

	s.mu.Lock()
	defer s.mu.Unlock()
	// Invariant: who passes here finds what everybody before has added, since the
	// same value decides which tables go.
	dropped := c.dropped.Load()
	if until.Unix() < dropped {
		return false, errPast
	}
	s.drop(dropped)
	for _, t := range s.tables {
		if t.contains(hash, &d) {
			return false, nil
		}
	}
	key := maphash.String(c.keySeed, jkt)
	if err := c.admit(b, key); err != nil {
		return false, err
	}
	if !s.table(b.end).add(c.idSeed, hash, &d) {
		b.release(key)
		return false, ErrReplayCacheFull
	}
	return true, nil
}

// drop forgets the tables of buckets that ended at or before end.
// Precondition: s.mu is held.
func (s *shard) drop(end int64) {
	gone := 0
	for gone < len(s.tables) && s.tables[gone].end <= end {
		gone++
	}
	if gone > 0 {
		s.tables = slices.Delete(s.tables, 0, gone)
	}
}

// table returns the table of the bucket that ends at end, and makes it if need be.
// Precondition: s.mu is held.
func (s *shard) table(end int64) *table {
	i, ok := slices.BinarySearchFunc(s.tables, end, func(t *table, end int64) int {
		return cmp.Compare(t.end, end)
	})
	if !ok {
		s.tables = slices.Insert(s.tables, i, newTable(end))
	}
	return s.tables[i]
}

// admit counts one more proof of key in b, or says why it must not be there.
func (c *MemoryCache) admit(b *bucket, key uint64) error {
	b.count.Add(1)
	live := *c.buckets.Load()
	used := int64(0)
	for _, other := range live {
		used += other.count.Load()
	}
	room := c.capacity - used
	if room < 0 {
		b.count.Add(-1)
		return ErrReplayCacheFull
	}
	// With half of the room left, no key can have more than is left.
	if used > c.capacity/2 && share(live, key) > room {
		b.count.Add(-1)
		return errKeyShare
	}
	b.sketch.add(key, 1)
	return nil
}

// bucket stands for the proofs that are forgotten at the same time.
type bucket struct {
	end      int64     // Unix seconds; every until in it is before that
	deadline time.Time // the same instant, on the monotonic clock too

	_      [64]byte // what everybody writes, apart from what everybody reads
	count  atomic.Int64
	sketch sketch
}

func (b *bucket) release(key uint64) {
	b.count.Add(-1)
	b.sketch.add(key, ^uint32(0))
}

// expired needs both clocks: one that jumps forward for a moment must not make
// the cache forget.
func (b *bucket) expired(now time.Time) bool {
	return now.Unix() >= b.end && !now.Before(b.deadline)
}

// bucketFor returns the bucket for a proof, and drops those that have expired.
func (c *MemoryCache) bucketFor(now, until time.Time) (*bucket, error) {
	ahead := until.Sub(now.Round(0))
	switch {
	case ahead > maxAhead:
		return nil, errFarAhead
	case ahead < 0:
		return nil, errPast
	}
	end := bucketEnd(until, ahead)
	if live := *c.buckets.Load(); len(live) > 0 && !live[0].expired(now) {
		if i, ok := find(live, end); ok {
			return live[i], nil
		}
	}
	return c.rotated(now, end), nil
}

// find looks for the bucket that ends at end among few, in ascending order.
func find(live []*bucket, end int64) (i int, ok bool) {
	return slices.BinarySearchFunc(live, end, func(b *bucket, end int64) int {
		return cmp.Compare(b.end, end)
	})
}

// bucketEnd rounds until up, to a power of two of seconds that is between an
// eighth and a quarter of the time ahead. So there are about eight buckets
// however long proofs live.
func bucketEnd(until time.Time, ahead time.Duration) int64 {
	width := int64(1) << bits.Len64(uint64(ahead/(8*time.Second)))
	return (until.Unix()/width + 1) * width
}

// rotated drops the buckets that have expired, makes the one with the given end
// if need be, and returns it.
func (c *MemoryCache) rotated(now time.Time, end int64) *bucket {
	c.rotate.Lock()
	defer c.rotate.Unlock()
	live := *c.buckets.Load()
	for i, b := range slices.Backward(live) {
		if b.expired(now) {
			c.dropped.Store(max(c.dropped.Load(), b.end))
			live = live[i+1:]
			break
		}
	}
	live = slices.Clone(live)
	i, ok := find(live, end)
	if !ok {
		deadline := now.Add(time.Unix(end, 0).Sub(now.Round(0)))
		live = slices.Insert(live, i, &bucket{end: end, deadline: deadline})
	}
	c.buckets.Store(&live)
	return live[i]
}
