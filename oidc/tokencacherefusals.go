package oidc

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// refusals remembers, briefly, what was refused. Anybody can have as much
// refused as they like, so unlike [memory] it takes no care of what it
// forgets, and never more room or time than it has from the start: a key has
// eight places where it can be, and takes that of the one that ends first.
//
// Invariant: keys are hashes, so that they spread evenly. Who picks theirs to
// meet in one place displaces their own refusals.
type refusals struct{ sets []refusalSet }

type refusalSet struct {
	mu    sync.Mutex
	slots [8]refusal
	// Invariant: no refusal that lost its place was asked for after this.
	displaced time.Time
}

// refusal is one of them. The zero refusal is over. One that is over keeps its
// place until another takes it.
type refusal struct {
	key    [sha256.Size]byte
	reason TokenError
	asked  time.Time
	until  time.Time
}

func newRefusals(size int) refusals {
	return refusals{make([]refusalSet, max(1, size/len(refusalSet{}.slots)))}
}

func (r refusals) set(key [sha256.Size]byte) *refusalSet {
	return &r.sets[binary.BigEndian.Uint64(key[:])%uint64(len(r.sets))]
}

// find reports whether key is refused at now, and why.
func (r refusals) find(key [sha256.Size]byte, now time.Time) (reason TokenError, refused bool) {
	set := r.set(key)
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.slots {
		if s := &set.slots[i]; s.key == key {
			return s.reason, now.Before(s.until)
		}
	}
	return 0, false
}

// lastAsked returns when the question was asked that key was last refused to, or a
// later time if that is not known any more.
func (r refusals) lastAsked(key [sha256.Size]byte) time.Time {
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

// add remembers for d that key was refused, to a question asked at asked.
func (r refusals) add(key [sha256.Size]byte, reason TokenError, asked time.Time, d time.Duration) {
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
		set.displaced = later(set.displaced, slot.asked)
	}
	*slot = refusal{key, reason, asked, asked.Add(d)}
}
