package revocation

import (
	"sync"
	"time"
)

// How long a failure is remembered: the first of a row, and the last ones.
const (
	firstPause = 5 * time.Second
	maxPause   = 30 * time.Second
)

// maxFailures bounds the failures that are remembered. A source or certificate beyond
// that is asked again, which costs a fetch and nothing else.
const maxFailures = 10_000

// failures remembers what could not be learned, so that a source which is silent costs
// a request now and then, and not each of them. It is safe for concurrent use.
type failures[K comparable] struct {
	mu      sync.Mutex
	entries map[K]failure
}

// failure is the last of a row of failures.
type failure struct {
	err   error
	until time.Time // when the next attempt may be made
	pause time.Duration
}

func newFailures[K comparable]() *failures[K] {
	return &failures[K]{entries: make(map[K]failure)}
}

// last returns the failure of key that no success has ended. It is in force, and no
// attempt is to be made, until its time is over.
func (m *failures[K]) last(key K) (f failure, inForce bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f = m.entries[key]
	return f, f.err != nil && time.Now().Before(f.until)
}

// note remembers that an attempt failed: for five seconds, and for twice as long with
// every further one of a row, up to thirty.
func (m *failures[K]) note(key K, err error, pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if before, ok := m.entries[key]; ok && now.Sub(before.until) < maxPause {
		pause = max(pause, min(2*before.pause, maxPause))
	}
	if _, ok := m.entries[key]; !ok && len(m.entries) >= maxFailures {
		m.makeRoom(now)
	}
	m.entries[key] = failure{err: err, until: now.Add(pause), pause: pause}
}

// makeRoom needs mu. It looks at some failures and removes those that are over, or any
// one if none is. The order of a map is random enough.
func (m *failures[K]) makeRoom(now time.Time) {
	const sample = 32
	looked := 0
	var last K
	for key, f := range m.entries {
		if last = key; now.After(f.until) {
			delete(m.entries, key)
		}
		if looked++; looked == sample {
			break
		}
	}
	if len(m.entries) >= maxFailures {
		delete(m.entries, last)
	}
}

// clear forgets the failures of key, since an attempt was successful.
func (m *failures[K]) clear(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
}
