package recall

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxFlights bounds how many questions are under way at once, of those about what
	// was good before, and as many of others. The next caller
	// queues, for as long as its own context lets it and no longer than a flight may take.
	maxFlights    = 128
	flightTimeout = 10 * time.Second
)

var (
	errBusy    = errors.New("too many questions under way")
	errAborted = errors.New("the attempt ended without a result")
)

// Flights makes sure that a question is asked once, however many callers want the
// answer. A flight is detached from its callers and has a deadline of its own: a
// caller that gives up does not take the answer from the others.
//
// Keys that were good before have slots of their own, so that a flood of invented
// ones cannot keep them from being renewed.
type Flights[V any] struct {
	room      string // of the errors
	mu        sync.Mutex
	under     map[[32]byte]*flight[V]
	known     slots
	strangers slots
}

// slots is a semaphore: a send acquires a slot, a receive releases it.
type slots chan struct{}

type flight[V any] struct {
	slots slots // where its slot is from
	done  chan struct{}
	value V // valid once done is closed, like err
	err   error
}

// NewFlights returns Flights whose errors start with the name of a room.
func NewFlights[V any](room string) *Flights[V] {
	return &Flights[V]{room: room, under: make(map[[32]byte]*flight[V]), known: make(slots, maxFlights), strangers: make(slots, maxFlights)}
}

// Do returns what ask returns, to every caller that comes with the same key
// while it is being asked. known says that key was good before.
func (f *Flights[V]) Do(ctx context.Context, key [32]byte, known bool, ask func(context.Context) (V, error)) (V, error) {
	fl := f.joined(key)
	if fl == nil {
		from := f.strangers
		if known {
			from = f.known
		}
		if err := f.take(ctx, from); err != nil {
			var zero V
			return zero, err
		}
		fl = f.launch(context.WithoutCancel(ctx), key, from, ask)
	}
	select {
	case <-fl.done:
		return fl.value, fl.err
	case <-ctx.Done():
		var zero V
		return zero, fmt.Errorf("%s: waiting for the issuer: %w", f.room, context.Cause(ctx))
	}
}

func (f *Flights[V]) joined(key [32]byte) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.under[key]
}

func (f *Flights[V]) take(ctx context.Context, s slots) error {
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	queue := time.NewTimer(flightTimeout)
	defer queue.Stop()
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting to ask the issuer: %w", f.room, context.Cause(ctx))
	case <-queue.C:
		return fmt.Errorf("%s: waiting to ask the issuer: %w", f.room, errBusy)
	}
}

// launch starts a flight, unless one for the same key took off while the caller queued.
//
// Precondition: the caller has a slot of from, which passes to the flight.
func (f *Flights[V]) launch(ctx context.Context, key [32]byte, from slots, ask func(context.Context) (V, error)) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.under[key]; fl != nil {
		<-from
		return fl
	}
	fl := &flight[V]{slots: from, done: make(chan struct{}), err: errAborted}
	f.under[key] = fl
	go func() {
		defer f.land(key, fl)
		ctx, cancel := context.WithTimeout(ctx, flightTimeout)
		defer cancel()
		fl.value, fl.err = ask(ctx)
	}()
	return fl
}

// land ends a flight. Callbacks run in its goroutine (signers, stores, transports),
// and no caller is above it to recover: a panic becomes the flight's error.
func (f *Flights[V]) land(key [32]byte, fl *flight[V]) {
	if p := recover(); p != nil {
		fl.err = fmt.Errorf("%s: panic while asking the issuer: %s", f.room, printable(p))
	}
	f.mu.Lock()
	delete(f.under, key)
	f.mu.Unlock()
	<-fl.slots
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
