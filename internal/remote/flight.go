package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// A flight is one attempt under way, which any number of callers wait for.
type flight struct {
	purpose purpose
	done    chan struct{}
	err     error // valid once done is closed
}

type purpose uint8

const (
	first   purpose = iota // there is no answer
	renewal                // a caller needs a newer one
	refresh                // the answer's lifetime is over
)

// board returns the flight to wait for: the one under way, or a new one. It
// returns nil if there is no need for one (another one has landed since the caller
// looked) or if a renewal has to rest.
func (r *Resource[T]) board(seen *Snapshot[T], why purpose) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.Peek()
	if s != nil && s != seen {
		return nil, nil
	}
	if r.flight != nil {
		return r.flight, nil
	}
	if r.closed {
		return nil, &UnavailableError{cause: errClosed}
	}
	now := time.Now()
	if wait := r.pace.retryAt.Sub(now); wait > 0 {
		return nil, &UnavailableError{cause: r.last.err, retryAfter: wait}
	}
	if why == renewal && s != nil && now.Before(r.pace.renewAt) {
		return nil, nil
	}
	return r.launch(why), nil
}

// launch starts a flight. It belongs to the Resource, not to the caller that
// happened to need it first.
//
// Precondition: r.mu is held, no flight is under way, the Resource is not closed.
func (r *Resource[T]) launch(why purpose) *flight {
	f := &flight{purpose: why, done: make(chan struct{})}
	r.flight = f
	r.flights.Go(func() {
		err := errAborted // stays if Locate or Decode ends the goroutine
		var next *Snapshot[T]
		var where string
		defer func() { r.land(f, next, where, err) }()
		next, where, err = r.fly()
	})
	return f
}

// fly makes one attempt. A panic in Locate, Decode, Same or the transport is this
// attempt's failure, not the end of the process.
func (r *Resource[T]) fly() (next *Snapshot[T], where string, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = nil, fmt.Errorf("remote: panic: %s", describe(p))
		}
	}()
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
	defer cancel()
	urls, err := r.cfg.Locate(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("remote: locating: %w", err)
	}
	if len(urls) == 0 {
		return nil, "", errNowhere
	}
	var tried error
	for _, u := range urls {
		next, where, err = r.ask(ctx, u)
		status, ok := errors.AsType[*StatusError](err)
		switch {
		case err == nil:
			return next, where, nil
		case tried == nil:
			tried = err
		default:
			tried = fmt.Errorf("%w; %w", tried, err)
		}
		if !ok || !status.elsewhere() {
			break
		}
	}
	return nil, where, tried
}

// ask fetches and decodes one URL.
func (r *Resource[T]) ask(ctx context.Context, raw string) (*Snapshot[T], string, error) {
	u, err := CheckURL(raw, PlainFor(r.cfg.AllowLoopbackHTTP, r.cfg.Client))
	if err != nil {
		return nil, "", err
	}
	where := printable(u)
	answer, err := Within(ctx, r.leash, func() (answer, error) { return get(ctx, r.client, u, r.cfg.Accept, r.cfg.MaxBytes) })
	if err != nil {
		return nil, where, err
	}
	body, header := answer.body, answer.header
	s := &Snapshot[T]{
		URL:       raw,
		FetchedAt: time.Now(),
		sum:       sha256.Sum256(body),
		lifetime:  min(max(lifetime(header), r.cfg.MinRefresh), r.cfg.MaxRefresh),
	}
	if s.Value, err = r.cfg.Decode(body, header); err != nil {
		return nil, where, fmt.Errorf("remote: %s: %w", where, err)
	}
	if old := r.current.Load(); old != nil && r.same(old, s) {
		s.Value, s.sum = old.Value, old.sum
	}
	return s, where, nil
}

func (r *Resource[T]) same(a, b *Snapshot[T]) bool {
	return a.sum == b.sum || r.cfg.Same != nil && r.cfg.Same(a.Value, b.Value)
}

// land publishes the result of a flight and lets its passengers go.
func (r *Resource[T]) land(f *flight, next *Snapshot[T], where string, err error) {
	r.mu.Lock()
	r.flight = nil
	now := time.Now()
	change, changed := r.changed(f, where, err)
	r.last = attempt{at: now, url: where, err: err}
	if err != nil {
		r.pace.failed(now, err)
		f.err = &UnavailableError{cause: err, retryAfter: r.pace.retryAt.Sub(now)}
	} else {
		old := r.current.Swap(next)
		r.pace.succeeded(now, next.lifetime)
		if f.purpose == renewal {
			r.pace.renewed(now, old == nil || old.sum != next.sum)
		}
	}
	r.mu.Unlock()
	close(f.done)
	if changed {
		tell(change)
	}
	if err == nil {
		r.clock.Do(r.windClock)
	}
}
