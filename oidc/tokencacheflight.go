package oidc

import (
	"context"
	"errors"
	"fmt"
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

// flights makes sure that a question is asked once, however many callers want
// the answer. A flight is detached from them: it has its own deadline, so that a
// caller who gives up takes the answer from nobody, and its goroutine ends by
// that deadline.
//
// What was good before has slots of its own: the others go to whatever strangers
// make up, who could otherwise keep the answers in use from being renewed.
type flights[V any] struct {
	mu        sync.Mutex
	under     map[[32]byte]*flight[V]
	known     slots
	strangers slots
}

// slots are as many as a channel has room for; who sends has one until it receives.
type slots chan struct{}

type flight[V any] struct {
	slots slots // where its slot is from
	done  chan struct{}
	value V // valid once done is closed, like err
	err   error
}

func newFlights[V any]() *flights[V] {
	return &flights[V]{under: make(map[[32]byte]*flight[V]), known: make(slots, maxFlights), strangers: make(slots, maxFlights)}
}

// do returns what ask returns, to every caller that comes with the same key
// while it is being asked. known says that key was good before.
func (f *flights[V]) do(ctx context.Context, key [32]byte, known bool, ask func(context.Context) (V, error)) (V, error) {
	fl := f.joined(key)
	if fl == nil {
		from := f.strangers
		if known {
			from = f.known
		}
		if err := from.take(ctx); err != nil {
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
		return zero, fmt.Errorf("oidc: waiting for the issuer: %w", context.Cause(ctx))
	}
}

func (f *flights[V]) joined(key [32]byte) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.under[key]
}

func (s slots) take(ctx context.Context) error {
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
		return fmt.Errorf("oidc: waiting to ask the issuer: %w", context.Cause(ctx))
	case <-queue.C:
		return fmt.Errorf("oidc: waiting to ask the issuer: %w", errBusy)
	}
}

// launch starts a flight, unless one for the same key took off while the caller queued.
//
// Precondition: the caller has a slot of from, which passes to the flight.
func (f *flights[V]) launch(ctx context.Context, key [32]byte, from slots, ask func(context.Context) (V, error)) *flight[V] {
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

// land ends a flight. Nobody is above this goroutine to recover, and callbacks
// run in it (signers, stores, transports), so a panic becomes the flight's error.
func (f *flights[V]) land(key [32]byte, fl *flight[V]) {
	if p := recover(); p != nil {
		fl.err = fmt.Errorf("oidc: panic while asking the issuer: %v", p)
	}
	f.mu.Lock()
	delete(f.under, key)
	f.mu.Unlock()
	<-fl.slots
	close(fl.done)
}
