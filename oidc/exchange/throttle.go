package exchange

import (
	"crypto/sha256"
	"hash"
	"net/netip"
	"sync"
	"time"

	"github.com/keybound-go/middleware/internal/recall"
)

// bucket is a limit: burst at once, and one more each time that every has passed.
// Its state is one instant, at which it will be empty (the generic cell rate algorithm).
type bucket struct {
	every time.Duration
	burst int
}

// over returns how long to wait until there is room for one more.
func (b bucket) over(empty, now time.Time) time.Duration {
	return recall.Later(empty, now).Sub(now) - time.Duration(b.burst-1)*b.every
}

// The limits of secrets that are refused. Who is over one of the first two is
// refused without asking the issuer, and who is over one of the others waits in line.
var (
	perPair   = bucket{10 * time.Second, 5}         // of one caller, for one client id
	perID     = bucket{time.Second, 20}             // of all callers, for one client id
	perCaller = bucket{100 * time.Millisecond, 100} // of one caller, for all client ids
	perIssuer = bucket{10 * time.Millisecond, 1000} // of all callers, for all client ids
)

const (
	lineEvery  = 50 * time.Millisecond // the line moves on by one
	longest    = 5 * time.Second       // wait in line
	overrun    = 10 * time.Second      // for which there still is a line after the last guess
	sweepAbove = 4096                  // instants remembered before those that are over are dropped
	siteBits   = 48                    // of an IPv6 address name a site; within one, addresses cost nothing
)

// throttle limits how many secrets are tried at the issuer, and by whom, so that
// no caller uses up what others need: a limit that all share would let whoever
// guesses lock out the clients that this process does not know yet.
//
// A trial takes its place in the first two buckets beforehand, so that many at once
// are no way around them, and gives it back unless it is refused. The others count refusals
// only: many clients that start at once are none.
//
// Invariant: an instant with no trial under way is forgotten once it has passed.
// Since refusals in all come at a limited rate, so do instants.
type throttle struct {
	mu    sync.Mutex
	all   time.Time                       // perIssuer
	line  time.Time                       // when the next place in line is due
	empty map[[sha256.Size]byte]time.Time // the other buckets, by their names
	sweep int                             // the size of empty at which to sweep
}

// trial names the buckets of one secret to be tried.
type trial struct{ pair, id, caller [sha256.Size]byte }

func newThrottle() *throttle {
	return &throttle{empty: make(map[[sha256.Size]byte]time.Time), sweep: sweepAbove}
}

// newTrial hashes the names: ids can be long.
func newTrial(newMAC func() hash.Hash, caller netip.Addr, id string) (t trial) {
	caller = caller.Unmap().WithZone("")
	if caller.Is6() {
		site, _ := caller.Prefix(siteBits)
		caller = site.Addr()
	}
	from := caller.String()
	name := func(to *[sha256.Size]byte, parts ...string) {
		mac := newMAC()
		recall.HashStrings(mac, parts...)
		mac.Sum(to[:0])
	}
	name(&t.pair, "pair", from, id)
	name(&t.id, "id", id)
	name(&t.caller, "caller", from)
	return t
}

// enter returns how long a trial has to wait in line, negative if there is none, or
// else after what time to come back: then the secret must not be tried.
func (t *throttle) enter(tr trial, now time.Time) (wait, comeBack time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over := t.over(tr, now); over > 0 {
		return 0, over
	}
	if !t.crowded(tr, now) {
		return -1, 0
	}
	place := recall.Later(t.line, now)
	if wait = place.Sub(now); wait > longest {
		return 0, wait
	}
	t.line = place.Add(lineEvery)
	return wait, 0
}

// over is how long to wait until a secret may be tried for the client id.
func (t *throttle) over(tr trial, now time.Time) time.Duration {
	return max(perPair.over(t.empty[tr.pair], now), perID.over(t.empty[tr.id], now))
}

// crowded reports whether a trial has to wait in line.
func (t *throttle) crowded(tr trial, now time.Time) bool {
	return perCaller.over(t.empty[tr.caller], now) > 0 || perIssuer.over(t.all, now) > 0
}

// take takes a place for a trial, unless there is a time after which to come back.
// crowded is whether there is a line by now.
func (t *throttle) take(tr trial, now time.Time) (crowded bool, comeBack time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if over := t.over(tr, now); over > 0 {
		return false, over
	}
	t.add(tr.pair, perPair.every, now)
	t.add(tr.id, perID.every, now)
	t.clean(now)
	return t.crowded(tr, now), 0
}

// giveBack returns what take took, for a trial that was no wrong guess.
func (t *throttle) giveBack(tr trial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.add(tr.pair, -perPair.every, now)
	t.add(tr.id, -perID.every, now)
}

// refused counts a wrong guess. No bucket runs over by much, so that the line ends
// soon after the guesses.
func (t *throttle) refused(tr trial, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if perIssuer.over(t.all, now) < overrun {
		t.all = recall.Later(t.all, now).Add(perIssuer.every)
	}
	if perCaller.over(t.empty[tr.caller], now) < overrun {
		t.add(tr.caller, perCaller.every, now)
	}
}

// add moves the instant at which a bucket will be empty.
func (t *throttle) add(name [sha256.Size]byte, d time.Duration, now time.Time) {
	if empty := recall.Later(t.empty[name], now).Add(d); empty.After(now) {
		t.empty[name] = empty
	} else {
		delete(t.empty, name)
	}
}

// clean drops the instants that have passed, now and then.
func (t *throttle) clean(now time.Time) {
	if len(t.empty) < t.sweep {
		return
	}
	for name, empty := range t.empty {
		if !empty.After(now) {
			delete(t.empty, name)
		}
	}
	t.sweep = max(sweepAbove, 2*len(t.empty))
}
