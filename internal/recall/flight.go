package recall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// mostOfOneLane bounds how many questions of one lane are under way at once, of
	// those about what was good before, and as many of others; maxFlights bounds those
	// of all lanes together. The next caller queues, for as long as its own context
	// lets it and no longer than a flight may take.
	mostOfOneLane = 128
	maxFlights    = mostOfOneLane + mostOfOneLane/4
	flightTimeout = 10 * time.Second

	// grace is how much longer a flight is waited for than its context lasts, and
	// maxStrays how many may be under way beyond that: a transport that ignores its
	// context costs a goroutine, and must not cost one for every question.
	grace     = time.Second
	maxStrays = 4 * maxFlights
)

var (
	errAborted = errors.New("the attempt ended without a result")
	errEnded   = errors.New("closed while the issuer was asked")
	errDeaf    = errors.New("the attempt goes on beyond its time: what it calls ignores its context")
)

// Flights makes sure that a question is asked once, however many callers want the
// answer. A flight is detached from its callers and has a deadline of its own: a
// caller that gives up does not take the answer from the others. It ends by that
// deadline for its callers whether or not what it calls does.
//
// Keys that were good before have slots of their own, so that a flood of invented
// ones cannot keep them from being renewed. Slots are shared out by [Lane].
type Flights[V any] struct {
	room      string // of the errors
	mu        sync.Mutex
	under     map[[32]byte]*flight[V]
	strays    int
	known     *queue
	strangers *queue
}

type flight[V any] struct {
	asked  time.Time
	queue  *queue // where its slot is from
	lane   Lane
	landed bool
	stray  bool // it was given up before it ended
	end    context.CancelCauseFunc
	done   chan struct{} // closed when landed
	value  V             // valid once done is closed, like err
	err    error
}

// Question says on whose behalf a question is asked, and how new the answer must be.
type Question struct {
	Known bool // the key was good before
	Lane  Lane
	// Since is when the question must have been asked: an older one that is still
	// under way will not do.
	Since time.Time
}

// NewFlights returns Flights whose errors start with the name of a room.
func NewFlights[V any](room string) *Flights[V] {
	return &Flights[V]{
		room:      room,
		under:     make(map[[32]byte]*flight[V]),
		known:     newQueue(maxFlights, mostOfOneLane),
		strangers: newQueue(maxFlights, mostOfOneLane),
	}
}

// Do returns what ask returns, to every caller that comes with the same key while it
// is being asked, if it was asked at q.Since or later. A caller that finds an older
// question under way waits for its end, and the next one serves all of those: so
// that each key is asked about once at a time.
//
// ask must not remember anything once its context is over: its callers have been
// told that there is no answer.
func (f *Flights[V]) Do(ctx context.Context, key [32]byte, q Question, ask func(context.Context) (V, error)) (v V, err error) {
	for {
		fl := f.joined(key)
		if fl == nil {
			from := f.strangers
			if q.Known {
				from = f.known
			}
			if err := from.take(ctx, q.Lane, flightTimeout); err != nil {
				return v, fmt.Errorf("%s: waiting to ask the issuer: %w", f.room, err)
			}
			if fl, err = f.launch(context.WithoutCancel(ctx), key, from, q.Lane, ask); err != nil {
				return v, err
			}
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return v, fmt.Errorf("%s: waiting for the issuer: %w", f.room, context.Cause(ctx))
		}
		if !fl.asked.Before(q.Since) {
			return fl.value, fl.err
		}
	}
}

func (f *Flights[V]) joined(key [32]byte) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.under[key]
}

// launch starts a flight, unless one for the same key took off while the caller queued.
//
// Precondition: the caller has a slot of from, which passes to the flight.
func (f *Flights[V]) launch(ctx context.Context, key [32]byte, from *queue, lane Lane, ask func(context.Context) (V, error)) (*flight[V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.under[key]; fl != nil {
		from.release(lane)
		return fl, nil
	}
	if f.strays >= maxStrays {
		from.release(lane)
		return nil, fmt.Errorf("%s: %w", f.room, errDeaf)
	}
	ctx, end := context.WithCancelCause(ctx)
	fl := &flight[V]{asked: time.Now(), queue: from, lane: lane, end: end, done: make(chan struct{})}
	f.under[key] = fl
	clock := time.AfterFunc(flightTimeout+grace, func() {
		var none V
		f.land(key, fl, none, fmt.Errorf("%s: %w", f.room, errDeaf), true)
	})
	go func() {
		var value V
		err := error(errAborted) // stays if ask ends the goroutine
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%s: panic while asking the issuer: %s", f.room, printable(p))
			}
			clock.Stop()
			end(nil)
			f.land(key, fl, value, err, false)
		}()
		ctx, cancel := context.WithTimeout(ctx, flightTimeout)
		defer cancel()
		value, err = ask(ctx)
	}()
	return fl, nil
}

// End cancels the flights that are under way, and waits for them, but no longer than
// grace: what they call may ignore its context. Their callers are told so. Later
// questions are asked as before.
func (f *Flights[V]) End() {
	f.mu.Lock()
	under := slices.Collect(maps.Values(f.under))
	f.mu.Unlock()
	patience := time.NewTimer(grace)
	defer patience.Stop()
	for _, fl := range under {
		fl.end(errEnded)
	}
	for _, fl := range under {
		select {
		case <-fl.done:
		case <-patience.C:
			return
		}
	}
}

// land ends a flight, once, for its callers. given up says that it was not its own
// end.
func (f *Flights[V]) land(key [32]byte, fl *flight[V], value V, err error, givenUp bool) {
	f.mu.Lock()
	if fl.landed {
		if fl.stray {
			f.strays--
		}
		f.mu.Unlock()
		return
	}
	fl.landed, fl.stray = true, givenUp
	if givenUp {
		f.strays++
	}
	fl.value, fl.err = value, err
	delete(f.under, key)
	f.mu.Unlock()
	fl.queue.release(fl.lane)
	close(fl.done)
}

// printable tells a programming error from a panic whose text may hold a secret,
// such as the body of the request that a transport was given.
func printable(panicked any) string {
	if err, ok := panicked.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", panicked)
}
