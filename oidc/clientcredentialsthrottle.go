package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"time"
)

// The throttle's two buckets. An id may have five secrets refused in a row, and
// all ids together a hundred.
const (
	guessEvery  = 10 * time.Second // what one refusal costs its client id
	guessBurst  = 5
	globalEvery = 100 * time.Millisecond // what one refusal costs all of them
	globalBurst = 100
	sweepAbove  = 1024 // client ids remembered before those that are in the clear again are dropped
)

// throttle limits how many secrets are tried at the issuer. A trial takes its
// place in the id's bucket beforehand, so that many at once are no way around it,
// and gives it back unless it is refused. The bucket for all ids counts refusals
// only: many clients that start at once are none.
//
// Each bucket is one instant, at which it will be empty (the generic cell rate algorithm).
//
// Invariant: an id with no trial under way is forgotten once its instant has
// passed. Since refusals in all come at a limited rate, so do ids that have one.
type throttle struct {
	mu    sync.Mutex
	all   time.Time
	ids   map[[sha256.Size]byte]time.Time
	sweep int // the size of ids at which to sweep
}

func newThrottle() *throttle {
	return &throttle{ids: make(map[[sha256.Size]byte]time.Time), sweep: sweepAbove}
}

// client names a client id in the throttle: ids can be long.
func (t *throttle) client(key *[sha256.Size]byte, id string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(id))
	mac.Sum(sum[:0])
	return sum
}

// take returns 0 if a secret may be tried for client, else how long to wait.
func (t *throttle) take(client [sha256.Size]byte, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over := later(t.all, now).Sub(now) - (globalBurst-1)*globalEvery; over > 0 {
		return over
	}
	empty := later(t.ids[client], now)
	if over := empty.Sub(now) - (guessBurst-1)*guessEvery; over > 0 {
		return over
	}
	t.ids[client] = empty.Add(guessEvery)
	t.clean(now)
	return 0
}

// giveBack returns what take took, for a trial that was no wrong guess.
func (t *throttle) giveBack(client [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	empty, ok := t.ids[client]
	if !ok {
		return
	}
	if empty = empty.Add(-guessEvery); empty.After(time.Now()) {
		t.ids[client] = empty
	} else {
		delete(t.ids, client)
	}
}

// refused counts a wrong guess among those of all clients.
func (t *throttle) refused(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = later(t.all, now).Add(globalEvery)
}

// clean drops the ids whose buckets are empty, now and then.
func (t *throttle) clean(now time.Time) {
	if len(t.ids) < t.sweep {
		return
	}
	for id, empty := range t.ids {
		if !empty.After(now) {
			delete(t.ids, id)
		}
	}
	t.sweep = max(sweepAbove, 2*len(t.ids))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
