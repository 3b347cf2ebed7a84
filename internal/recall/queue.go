package recall

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Lane names a place to queue in: that of one caller, or of one client. The zero Lane
// is for callers that are not known.
type Lane uint64

// LaneOfCaller returns the Lane of an address: of an IPv6 address, of its site (the
// first 48 bits), since within one, addresses cost nothing. An invalid address has
// the zero Lane.
func LaneOfCaller(caller netip.Addr) Lane {
	if !caller.IsValid() {
		return 0
	}
	site := Site(caller).As16()
	return Lane(maphash.Bytes(ownerSeed, site[:]) | 1)
}

// LaneOfClient returns the Lane of a client.
func LaneOfClient(by Owner) Lane {
	var b [9]byte
	binary.LittleEndian.PutUint64(b[:], by.client)
	return Lane(maphash.Bytes(ownerSeed, b[:]) | 1)
}

// siteBits of an IPv6 address name a site.
const siteBits = 48

// Site returns what stands for a caller: its IPv4 address, or the site of its IPv6
// address.
func Site(caller netip.Addr) netip.Addr {
	caller = caller.Unmap().WithZone("")
	if caller.Is6() {
		site, _ := caller.Prefix(siteBits)
		caller = site.Addr()
	}
	return caller
}

var errBusy = fmt.Errorf("too many questions under way: %d, or %d on behalf of one caller or client; no option changes the limit", maxFlights, mostOfOneLane)

// queue hands out a number of slots. When all are taken, callers wait in lanes,
// which take turns: a caller that asks a thousand questions delays one that asks a
// single one by no more than one slot.
type queue struct {
	most int // that one lane can have

	mu    sync.Mutex
	free  int
	lanes map[Lane]*lane
	turns []*lane // those with waiters, the next one first
}

type lane struct {
	name    Lane
	held    int
	waiting []*waiter
}

type waiter struct {
	granted chan struct{}
	gone    bool
}

func newQueue(slots, most int) *queue {
	return &queue{most: most, free: slots, lanes: make(map[Lane]*lane)}
}

// take waits for a slot, for as long as ctx lets it and no longer than patience.
func (q *queue) take(ctx context.Context, name Lane, patience time.Duration) error {
	w := q.enter(name)
	if w == nil {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = errBusy
	}
	q.mu.Lock()
	select {
	case <-w.granted: // in the meantime
		q.mu.Unlock()
		q.release(name)
	default:
		w.gone = true
		q.mu.Unlock()
	}
	return err
}

// enter takes a slot, or returns what to wait for.
func (q *queue) enter(name Lane) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name}
		q.lanes[name] = l
	}
	if q.free > 0 && q.mayHold(l) && len(l.waiting) == 0 {
		q.free--
		l.held++
		return nil
	}
	w := &waiter{granted: make(chan struct{})}
	if l.waiting = append(l.waiting, w); len(l.waiting) == 1 {
		q.turns = append(q.turns, l)
	}
	return w
}

func (q *queue) mayHold(l *lane) bool { return l.held < q.most }

// release returns a slot of a lane, which passes to the lane whose turn it is.
func (q *queue) release(name Lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	l := q.lanes[name]
	l.held--
	q.forget(l)
	for n := len(q.turns); n > 0 && q.free > 0; n-- {
		next := q.turns[0]
		q.turns = q.turns[1:]
		if q.mayHold(next) {
			q.grant(next)
		}
		if len(next.waiting) > 0 {
			q.turns = append(q.turns, next)
		} else {
			q.forget(next)
		}
	}
}

// grant gives a slot to the first waiter of a lane that has not gone.
func (q *queue) grant(l *lane) {
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		l.waiting = l.waiting[1:]
		if !w.gone {
			q.free--
			l.held++
			close(w.granted)
			return
		}
	}
}

func (q *queue) forget(l *lane) {
	if l.held == 0 && len(l.waiting) == 0 {
		delete(q.lanes, l.name)
	}
}
