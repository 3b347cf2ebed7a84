package revocation

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// remembered is what a memo holds.
type remembered interface {
	until() time.Time // when it must be asked for again
	cost() int64      // its share of the memo's capacity
}

// memo remembers answers and asks each question once at a time. Errors are handed to all
// that wait, and forgotten.
//
// It forgets what was used least recently when it is full: here, unlike in a replay
// cache, that costs another question and nothing else.
//
// Invariant: spent is the sum of the costs in entries, and at most capacity.
type memo[K comparable, V remembered] struct {
	capacity int64

	mu      sync.Mutex
	spent   int64
	entries map[K]*list.Element // of *entry[K, V]
	recent  *list.List          // the most recently used first
	flights map[K]*flight[V]
}

type entry[K comparable, V remembered] struct {
	key   K
	value V
}

// flight is one question under way. value and err are set before done is closed.
type flight[V any] struct {
	begun time.Time
	done  chan struct{}
	value V
	err   error
}

func newMemo[K comparable, V remembered](capacity int64) *memo[K, V] {
	return &memo[K, V]{
		capacity: capacity,
		entries:  make(map[K]*list.Element),
		recent:   list.New(),
		flights:  make(map[K]*flight[V]),
	}
}

// get returns the remembered value of key, or what load says. load runs at most once at
// a time per key, with a context that keeps the first caller's values but not its end,
// so that a client that leaves takes nothing from the others. load must end by itself.
func (m *memo[K, V]) get(ctx context.Context, key K, load func(context.Context) (V, error)) (V, error) {
	value, f := m.begin(ctx, key, load)
	if f == nil {
		return value, nil
	}
	return f.wait(ctx, nil)
}

// getSoon is get for a question to which there is a good answer already: load goes on
// by itself if it takes longer than patience since it began, and ok is false.
func (m *memo[K, V]) getSoon(ctx context.Context, key K, patience time.Duration, load func(context.Context) (V, error)) (value V, ok bool, err error) {
	value, f := m.begin(ctx, key, load)
	if f == nil {
		return value, true, nil
	}
	timer := time.NewTimer(patience - time.Since(f.begun))
	defer timer.Stop()
	value, err = f.wait(ctx, timer.C)
	if err == errPatience {
		return value, false, nil
	}
	return value, true, err
}

// begin returns the remembered value of key, or the flight that will have one.
func (m *memo[K, V]) begin(ctx context.Context, key K, load func(context.Context) (V, error)) (V, *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok := m.current(key); ok {
		return value, nil
	}
	f, ok := m.flights[key]
	if !ok {
		f = &flight[V]{begun: time.Now(), done: make(chan struct{})}
		m.flights[key] = f
		go m.fly(context.WithoutCancel(ctx), f, key, load)
	}
	var none V
	return none, f
}

var errPatience = errors.New("revocation: the answer takes its time")

// wait returns what the flight brings, unless the caller leaves or runs out of patience.
func (f *flight[V]) wait(ctx context.Context, patience <-chan time.Time) (V, error) {
	var none V
	select {
	case <-f.done:
		return f.value, f.err
	case <-patience:
		return none, errPatience
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// now returns the remembered value of key, if it has not expired.
func (m *memo[K, V]) now(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current(key)
}

// forget removes the value of key.
func (m *memo[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[key]; ok {
		m.remove(e)
	}
}

// peek returns the last value of key even if it has expired.
func (m *memo[K, V]) peek(key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[key]; ok {
		return e.Value.(*entry[K, V]).value, true
	}
	var none V
	return none, false
}

// current needs mu.
func (m *memo[K, V]) current(key K) (V, bool) {
	if e, ok := m.entries[key]; ok {
		if value := e.Value.(*entry[K, V]).value; time.Now().Before(value.until()) {
			m.recent.MoveToFront(e)
			return value, true
		}
	}
	var none V
	return none, false
}

func (m *memo[K, V]) fly(ctx context.Context, f *flight[V], key K, load func(context.Context) (V, error)) {
	f.value, f.err = recovering(ctx, load)
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.err == nil {
		m.put(key, f.value)
	}
	delete(m.flights, key)
	close(f.done)
}

// recovering turns a panic into an error. load parses what strangers send, and outside of
// a handler's goroutine nothing would keep a panic of a parser from ending the service.
func recovering[V any](ctx context.Context, load func(context.Context) (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", printable(p))
		}
	}()
	return load(ctx)
}

// printable tells a programming error from a panic with a text, which can hold what a
// server sent or what a transport was configured with.
func printable(panicked any) string {
	if err, ok := panicked.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", panicked)
}

// put needs mu.
func (m *memo[K, V]) put(key K, value V) {
	if e, ok := m.entries[key]; ok {
		m.remove(e)
	}
	m.entries[key] = m.recent.PushFront(&entry[K, V]{key, value})
	m.spent += value.cost()
	for m.spent > m.capacity {
		m.remove(m.recent.Back())
	}
}

// remove needs mu.
func (m *memo[K, V]) remove(e *list.Element) {
	old := m.recent.Remove(e).(*entry[K, V])
	delete(m.entries, old.key)
	m.spent -= old.value.cost()
}
