package recall

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Owner says on behalf of which client an entry takes a place, and of which subject
// within the client. They are hashes, keyed with a secret of this process. The zero
// Owner stands for all entries whose owner is not known.
type Owner struct{ client, subject uint64 }

var ownerSeed = maphash.MakeSeed()

// OwnerOf returns the Owner for a client id and a subject; either may be "".
func OwnerOf(client, subject string) Owner {
	return Owner{maphash.String(ownerSeed, client), maphash.String(ownerSeed, subject)}
}

// Memory is a bounded map whose places are shared out fairly. When it is full, a new
// entry takes the place of one that is over; else of one whose client has the most,
// of that client's subject that has the most. Of owners that have as many as each
// other, the one is chosen whose entry was used least recently; of the entries of one
// owner, the newest: an owner that can make as many entries as it likes displaces
// what it has just made. A Memory looks at a sample of its entries, which makes it
// cheap, and wrong only among entries that are nearly alike.
//
// Entries carry their own times: nothing goes by itself, and there is no goroutine.
// The zero Memory is not usable; see [NewMemory]. Its methods may be called
// concurrently.
type Memory[V any] struct{ shards []*shard[V] }

const (
	leastOfShard = 256 // places; fewer would be shared out unevenly
	mostShards   = 64
	sampled      = 16 // entries that are looked at to find one that goes
)

// shard is the part of a Memory for some of the keys, which are hashes.
type shard[V any] struct {
	size  int
	clock atomic.Uint64 // the number of entries that were set

	mu      sync.RWMutex
	at      map[[32]byte]*place[V]
	list    []*place[V] // of at, in no order
	clients map[uint64]int
	owners  map[Owner]int
}

type place[V any] struct {
	key   [32]byte
	value V
	owner Owner
	until time.Time
	index int    // in list
	since uint64 // by the clock of the shard
	used  atomic.Uint64
}

// NewMemory returns a Memory of at most size entries.
func NewMemory[V any](size int) Memory[V] {
	n := min(max(1, size/leastOfShard), mostShards)
	m := Memory[V]{make([]*shard[V], n)}
	for i := range m.shards {
		m.shards[i] = &shard[V]{
			size:    size/n + min(1, max(0, size%n-i)),
			at:      make(map[[32]byte]*place[V]),
			clients: make(map[uint64]int),
			owners:  make(map[Owner]int),
		}
	}
	return m
}

func (m Memory[V]) shard(key *[32]byte) *shard[V] {
	return m.shards[(int(key[31])|int(key[30])<<8)%len(m.shards)]
}

// Get returns the value of key, if there is one.
func (m Memory[V]) Get(key [32]byte) (v V, ok bool) {
	s := m.shard(&key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.at[key]
	if p == nil {
		return v, false
	}
	if now := s.clock.Load(); p.used.Load() != now {
		p.used.Store(now)
	}
	return p.value, true
}

// Set sets the value of key, which is of no use from until on. If there is no room,
// another entry goes for it.
func (m Memory[V]) Set(key [32]byte, by Owner, until time.Time, v V) {
	s := m.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.at[key]
	switch {
	case p != nil:
		s.count(p.owner, -1)
	case len(s.list) >= s.size:
		s.remove(s.leastMissed())
		fallthrough
	default:
		p = &place[V]{key: key, index: len(s.list), since: s.clock.Load()}
		s.at[key] = p
		s.list = append(s.list, p)
	}
	p.value, p.owner, p.until = v, by, until
	s.count(by, +1)
	p.used.Store(s.clock.Add(1))
}

// Delete forgets key.
func (m Memory[V]) Delete(key [32]byte) {
	s := m.shard(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.at[key]; p != nil {
		s.remove(p)
	}
}

// Len is how many entries there are.
func (m Memory[V]) Len() (n int) {
	for _, s := range m.shards {
		s.mu.RLock()
		n += len(s.list)
		s.mu.RUnlock()
	}
	return n
}

// Held is about how many entries a client has.
func (m Memory[V]) Held(by Owner) (n int) {
	for _, s := range m.shards {
		s.mu.RLock()
		n += s.clients[by.client]
		s.mu.RUnlock()
	}
	return n
}

// leastMissed returns the entry of a sample that goes.
//
// Precondition, also of remove and count: s.mu is held. There is an entry.
func (s *shard[V]) leastMissed() *place[V] {
	var sample [sampled]*place[V]
	now := time.Now()
	worst := s.list[rand.IntN(len(s.list))]
	for i := range sample {
		p := s.list[rand.IntN(len(s.list))]
		if !now.Before(p.until) {
			return p
		}
		sample[i] = p
		if s.goesBefore(p, worst) {
			worst = p
		}
	}
	for _, p := range sample {
		if p.owner == worst.owner && p.since > worst.since {
			worst = p
		}
	}
	return worst
}

// goesBefore compares what the owners of two entries have, and how they are used.
func (s *shard[V]) goesBefore(a, b *place[V]) bool {
	if x, y := s.clients[a.owner.client], s.clients[b.owner.client]; x != y {
		return x > y
	}
	if x, y := s.owners[a.owner], s.owners[b.owner]; x != y {
		return x > y
	}
	return a.used.Load() < b.used.Load()
}

func (s *shard[V]) remove(p *place[V]) {
	last := s.list[len(s.list)-1]
	s.list[p.index], last.index = last, p.index
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	delete(s.at, p.key)
	s.count(p.owner, -1)
}

func (s *shard[V]) count(by Owner, n int) {
	if s.clients[by.client] += n; s.clients[by.client] == 0 {
		delete(s.clients, by.client)
	}
	if s.owners[by] += n; s.owners[by] == 0 {
		delete(s.owners, by)
	}
}
