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

// charge is what an attempt costs that was not accepted.
type charge uint8

const (
	guess  charge = iota // the issuer looked at the secret, or may have
	outage               // the issuer could not answer
	unsent               // the issuer was not reached, or so it seems
	free                 // accepted, or not tried at all

	charges = free
)

// The limits of attempts that are not accepted. Past one of the first two an attempt
// is refused without asking the issuer; past one of the others it queues.
var (
	perPair = [charges]bucket{ // of one caller, for one client id
		guess:  {10 * time.Second, 5},
		outage: {10 * time.Second, 5},
		unsent: {time.Second, 60},
	}
	perID = [charges]bucket{ // of all callers, for one client id
		guess:  {time.Second, 20},
		outage: {time.Second, 20},
		unsent: {100 * time.Millisecond, 600},
	}
	perCaller = bucket{100 * time.Millisecond, 100} // of one caller, for all client ids
	perIssuer = bucket{10 * time.Millisecond, 1000} // of all callers, for all client ids
)

const (
	lineEvery  = 50 * time.Millisecond // the line moves on by one
	longest    = 5 * time.Second       // wait in line
	overrun    = 10 * time.Second      // for which there still is a line after the last guess
	sweepAbove = 4096                  // instants remembered before those that are over are dropped
)

// throttle limits how many secrets are tried at the issuer, and by which caller, so
// that no caller uses up what others need: a limit that all share would let an
// attacker lock out the clients that this process does not know yet.
//
// A trial reserves a place in the buckets of the pair and of the id before it starts,
// in those for each way in which it can end, so that concurrent attempts cannot
// exceed them. What it costs is added when it has ended: a reservation that were
// added at once and taken back later would meanwhile drain, and drain what others
// owe. The buckets of the caller and of the issuer have no reservations, so that many
// clients starting at once do not trip them.
//
// Invariant: an instant is forgotten once it has passed. Since attempts that are not
// accepted come at a limited rate, so do instants.
type throttle struct {
	mu    sync.Mutex
	all   time.Time          // perIssuer
	line  time.Time          // when the next place in line is due
	empty map[name]time.Time // the other buckets, by their names
	sweep int                // the size of empty at which to sweep
	held  map[name]int       // reservations, of pairs and ids
}

// trial names the buckets of one secret to be tried.
type trial struct{ pair, id, caller name }

type name [sha256.Size]byte

// of is the name of the bucket for one way to end.
func (n name) of(c charge) name {
	n[0] ^= byte(c)
	return n
}

func newThrottle() *throttle {
	return &throttle{empty: make(map[name]time.Time), sweep: sweepAbove, held: make(map[name]int)}
}

// newTrial hashes the names: ids can be long.
func newTrial(newMAC func() hash.Hash, caller netip.Addr, id string) (t trial) {
	from := recall.Site(caller).String()
	name := func(to *name, parts ...string) {
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
func (t *throttle) over(tr trial, now time.Time) (wait time.Duration) {
	for c := range charges {
		wait = max(wait, t.overOne(perPair[c], tr.pair, c, now), t.overOne(perID[c], tr.id, c, now))
	}
	return wait
}

func (t *throttle) overOne(b bucket, n name, c charge, now time.Time) time.Duration {
	reserved := time.Duration(t.held[n]) * b.every
	return b.over(recall.Later(t.empty[n.of(c)], now).Add(reserved), now)
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
	t.held[tr.pair]++
	t.held[tr.id]++
	t.clean(now)
	return t.crowded(tr, now), 0
}

// settle ends a trial, with what it costs. No bucket of the caller or the issuer runs
// over by much, so that the line ends soon after the guesses.
func (t *throttle) settle(tr trial, cost charge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range [...]name{tr.pair, tr.id} {
		if t.held[n]--; t.held[n] == 0 {
			delete(t.held, n)
		}
	}
	if cost == free {
		return
	}
	now := time.Now()
	t.add(tr.pair.of(cost), perPair[cost].every, now)
	t.add(tr.id.of(cost), perID[cost].every, now)
	if cost == unsent {
		return
	}
	if perIssuer.over(t.all, now) < overrun {
		t.all = recall.Later(t.all, now).Add(perIssuer.every)
	}
	if perCaller.over(t.empty[tr.caller], now) < overrun {
		t.add(tr.caller, perCaller.every, now)
	}
}

// add moves the instant at which a bucket will be empty.
func (t *throttle) add(n name, d time.Duration, now time.Time) {
	t.empty[n] = recall.Later(t.empty[n], now).Add(d)
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
