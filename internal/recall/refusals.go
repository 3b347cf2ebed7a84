package recall

import (
	"encoding/binary"
	"sync"
	"time"
)

// Refusals remembers, briefly, what was refused, with a reason. Any client can
// have as much refused as it likes. So, unlike [Memory], it takes no care of what it
// forgets, and never more room or time than it has from the start: a key has
// eight places where it can be, and takes the place of the refusal that ends
// first. The zero Refusals is not usable; see [NewRefusals].
//
// Invariant: keys are hashes, so that they spread evenly. A client that crafts
// colliding keys evicts only its own refusals.
type Refusals[R any] struct{ sets []refusalSet[R] }

// places is how many places a key can have.
const places = 8

type refusalSet[R any] struct {
	mu    sync.Mutex
	slots [places]refusal[R]
	// Invariant: no refusal that lost its place was asked for after this.
	displaced time.Time
}

// refusal is one of them. The zero refusal is over. One that is over keeps its
// place until another takes it.
type refusal[R any] struct {
	key    [32]byte
	reason R
	asked  time.Time
	until  time.Time
}

// NewRefusals returns Refusals with room for size of them.
func NewRefusals[R any](size int) Refusals[R] {
	return Refusals[R]{make([]refusalSet[R], max(1, size/places))}
}

func (r Refusals[R]) set(key [32]byte) *refusalSet[R] {
	return &r.sets[binary.BigEndian.Uint64(key[:])%uint64(len(r.sets))]
}

// Find reports whether key is refused at now, and why.
func (r Refusals[R]) Find(key [32]byte, now time.Time) (reason R, refused bool) {
	set := r.set(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.slots {
		if s := &set.slots[i]; s.key == key {
			return s.reason, now.Before(s.until)
		}
	}
	return reason, false
}

// LastAsked returns when the question was asked that ended in the last refusal of
// key, or a later time if that is not known any more.
func (r Refusals[R]) LastAsked(key [32]byte) time.Time {
	set := r.set(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.slots {
		if s := &set.slots[i]; s.key == key {
			return s.asked
		}
	}
	return set.displaced
}

// Add remembers for d that key was refused, to a question asked at asked.
func (r Refusals[R]) Add(key [32]byte, reason R, asked time.Time, d time.Duration) {
	set := r.set(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	slot := &set.slots[0]
	for i := range set.slots {
		s := &set.slots[i]
		if s.key == key {
			slot = s
			break
		}
		if s.until.Before(slot.until) {
			slot = s
		}
	}
	if slot.key != key {
		set.displaced = Later(set.displaced, slot.asked)
	}
	*slot = refusal[R]{key, reason, asked, asked.Add(d)}
}

// Len is how many places are taken.
func (r Refusals[R]) Len() (n int) {
	for i := range r.sets {
		set := &r.sets[i]
		set.mu.Lock()
		for _, s := range set.slots {
			if !s.until.IsZero() {
				n++
			}
		}
		set.mu.Unlock()
	}
	return n
}
