// Package replayset answers "has this proof been used before, within its time?" for
// one process: the data structures behind dpop.MemoryCache, and the arithmetic of
// Verifiers that share a memory.
//
// [Set] is a set of digests, in buckets by the time at which they may be forgotten,
// each a table that grows a page at a time. A sketch for each bucket counts proofs by
// key in a fixed space, so that one key cannot fill the set for the others.
package replayset

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A proof that is good for longer than that is a mistake of the caller.
	maxAhead = 24 * time.Hour

	shardBits  = 6
	shardCount = 1 << shardBits
)

// What keeps a proof out of a [Set].
var (
	// ErrFull: there is no room.
	ErrFull = errors.New("replayset: full")
	// ErrShare: there is room, but not for this key: it has as many proofs as there
	// is room left for the other keys.
	ErrShare = fmt.Errorf("%w for this key: it has as many proofs as there is room left for others", ErrFull)
	// ErrPast: the time of the proof is over, or the clock was set back.
	ErrPast = errors.New("replayset: proof from a time that is forgotten; the clock was set back")
	// ErrFarAhead: the proof is to be remembered for too long.
	ErrFarAhead = fmt.Errorf("replayset: asked to remember a proof for more than %v", maxAhead)
)

// Set remembers digests, each until a time of its own, and never forgets one before:
// when it is full, [Set.Add] returns an error. Make one with [New]; the zero Set is
// full. It is safe for concurrent use, starts no goroutine, and needs no closing.
//
// A bucket of digests is given up when both the wall clock and the monotonic clock
// say so. If the wall clock is then set back to before that time, the set cannot tell
// what it has seen, and returns errors until the clock is past it again.
type Set struct {
	capacity int64
	idSeed   maphash.Seed
	keySeed  maphash.Seed

	buckets atomic.Pointer[[]*bucket] // live; replaced, never changed
	rotate  sync.Mutex                // held to replace it

	// dropped is the latest end of a bucket that was given up, in Unix seconds.
	dropped atomic.Int64

	shards [shardCount]shard
}

// shard holds the digests with the same first bits of their hash, by bucket.
type shard struct {
	mu     sync.Mutex
	tables []*table // by end, ascending
	_      [32]byte // fills up a cache line
}

// New makes an empty set that has room for as many digests as capacity says.
func New(capacity int) *Set {
	s := &Set{
		capacity: int64(capacity),
		idSeed:   maphash.MakeSeed(),
		keySeed:  maphash.MakeSeed(),
	}
	s.buckets.Store(new([]*bucket))
	return s
}

// Add records id, of which the first 16 bytes count, up to and including until, for
// the key that has signed it. It reports whether id was not there before. Of several
// that add the same id at the same time, exactly one gets true.
func (s *Set) Add(key string, id [32]byte, until time.Time) (fresh bool, err error) {
	if s.capacity == 0 {
		return false, ErrFull
	}
	now := time.Now()
	b, err := s.bucketFor(now, until)
	if err != nil {
		return false, err
	}
	d := newDigest(&id)
	// The hash is keyed, so that clients cannot aim their proofs at one shard.
	hash := maphash.Bytes(s.idSeed, d[:])
	in := &s.shards[hash>>(64-shardBits)]

	in.mu.Lock()
	defer in.mu.Unlock()
	// Invariant: past this check every digest added earlier is still there, since the
	// same value decides which tables are dropped.
	dropped := s.dropped.Load()
	if until.Unix() < dropped {
		return false, ErrPast
	}
	in.drop(dropped)
	for _, t := range in.tables {
		if t.contains(hash, &d) {
			return false, nil
		}
	}
	owner := maphash.String(s.keySeed, key)
	if err := s.admit(b, owner); err != nil {
		return false, err
	}
	if !in.table(b.end).add(s.idSeed, hash, &d) {
		b.release(owner)
		return false, ErrFull
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

// Len returns how many digests the set holds, and how many it has room for. Those whose
// time is over may still count.
func (s *Set) Len() (held, room int) {
	for _, b := range *s.buckets.Load() {
		held += int(b.count.Load())
	}
	return held, int(s.capacity)
}

// admit counts one more proof of key in b, or says why it must not be there.
func (s *Set) admit(b *bucket, key uint64) error {
	b.count.Add(1)
	live := *s.buckets.Load()
	used := int64(0)
	for _, other := range live {
		used += other.count.Load()
	}
	room := s.capacity - used
	if room < 0 {
		b.count.Add(-1)
		return ErrFull
	}
	// With half of the room left, no key can have more than is left.
	if used > s.capacity/2 && share(live, key) > room {
		b.count.Add(-1)
		return ErrShare
	}
	b.sketch.add(key, 1)
	return nil
}

// bucket stands for the proofs that are forgotten at the same time.
type bucket struct {
	end      int64     // Unix seconds; every until in it is before that
	deadline time.Time // the same instant, on the monotonic clock too

	_      [64]byte // what every Add writes, apart from what every Add reads
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
func (s *Set) bucketFor(now, until time.Time) (*bucket, error) {
	ahead := until.Sub(now.Round(0))
	switch {
	case ahead > maxAhead:
		return nil, ErrFarAhead
	case ahead < 0:
		return nil, ErrPast
	}
	end := bucketEnd(until, ahead)
	if live := *s.buckets.Load(); len(live) > 0 && !live[0].expired(now) {
		if i, ok := find(live, end); ok {
			return live[i], nil
		}
	}
	return s.rotated(now, end), nil
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
func (s *Set) rotated(now time.Time, end int64) *bucket {
	s.rotate.Lock()
	defer s.rotate.Unlock()
	live := *s.buckets.Load()
	for i, b := range slices.Backward(live) {
		if b.expired(now) {
			s.dropped.Store(max(s.dropped.Load(), b.end))
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
	s.buckets.Store(&live)
	return live[i]
}
