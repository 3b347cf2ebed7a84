package replayset

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Window says for how long a Verifier accepts a proof. Either duration has the slack
// for clocks that differ in it, and is zero if the Verifier does not go by it. The
// Window of several Verifiers has the longest of each.
type Window struct {
	IssuedAt time.Duration // after its iat
	Nonce    time.Duration // after the issue of its nonce
	Skew     time.Duration // by which clocks may differ: the largest
	Slack    time.Duration // for that, in the durations above: the smallest
}

// Join returns the Window of the Verifiers of both.
func (w Window) Join(o Window) Window {
	slack := min(w.Slack, o.Slack)
	if slack == 0 {
		slack = max(w.Slack, o.Slack) // One of the two is of no Verifier.
	}
	return Window{max(w.IssuedAt, o.IssuedAt), max(w.Nonce, o.Nonce), max(w.Skew, o.Skew), slack}
}

// Covers reports whether a proof that is remembered for w is so for o.
func (w Window) Covers(o Window) bool {
	return w.IssuedAt >= o.IssuedAt && w.Nonce >= o.Nonce
}

// Use is one use of a proof, at a Verifier with the given Window.
type Use struct {
	Window
	IssuedAt time.Time // iat
	Nonce    time.Time // when its nonce was issued; zero if the Verifier does not look at it
}

// start is what the Verifier counts from, and kept for how long after it a memory
// that remembers for w has the proof. A Verifier that goes by the other time has
// accepted the proof after start, and had its slack left then.
func (u *Use) start(w Window) (start time.Time, kept time.Duration) {
	if u.Nonce.IsZero() {
		return u.IssuedAt, max(w.IssuedAt, w.Slack)
	}
	return u.Nonce, max(w.Nonce, w.Slack)
}

// Until is when all Verifiers of shared have stopped accepting the proof.
func (u *Use) Until(shared Window, now time.Time) time.Time {
	var until time.Time
	if shared.IssuedAt > 0 {
		until = u.IssuedAt.Add(shared.IssuedAt)
	}
	if shared.Nonce > 0 {
		// The proof may have a nonce also where this Verifier does not look at it.
		issued := now
		if !u.Nonce.IsZero() {
			issued = u.Nonce
		}
		if byNonce := issued.Add(shared.Nonce); byNonce.After(until) {
			until = byNonce
		}
	}
	return until
}

// Why the use of a proof is refused for the sake of the Verifiers that share a memory
// with its own. Both are the client's to mend, by another proof.
var (
	// ErrTooOld: the proof may have been used before the memory began to remember for
	// as long as this Verifier accepts it.
	ErrTooOld = errors.New("replayset: the proof may have been used, and be forgotten")
	// ErrAhead: the Verifier goes by nonces, the proof's iat lies ahead, and another
	// Verifier, which goes by iat, would accept the proof at that time.
	ErrAhead = errors.New("replayset: the proof lies ahead of a Verifier's window")
)

// Promise says that up to a moment proofs were remembered for a Window only.
type Promise struct {
	Window
	Last time.Time
}

// Forgets reports whether the proof of u may have been recorded under p, and
// forgotten since. It trusts iat as far as clocks differ by the skew. That holds where
// some Verifier went by iat. Where all went by nonces, a client whose clock is further
// ahead can have a proof accepted once more by a Verifier that goes by iat and joins
// later.
func (p Promise) Forgets(u *Use, now time.Time) bool {
	if p.Covers(u.Window) {
		return false
	}
	start, kept := u.start(p.Window)
	madeLater := start.After(p.Last.Add(u.Skew))
	return !madeLater && now.After(start.Add(kept))
}

// Ledger knows the Windows of the Verifiers that share a memory, and for how long the
// memory has remembered proofs before. The zero Ledger is ready to use; it is safe
// for concurrent use.
type Ledger struct {
	entry atomic.Pointer[entry] // nil: no Verifier yet
	used  atomic.Bool           // a proof has been recorded
	turn  sync.Mutex            // held to replace the entry
}

// entry never changes.
type entry struct {
	window   Window
	promises []Promise // of earlier times
}

// Join adds the Window of a Verifier. What was remembered before now is known to have
// been so for the Windows before.
func (l *Ledger) Join(w Window, now time.Time) {
	if e := l.entry.Load(); e != nil && e.window.Join(w) == e.window {
		return
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	e := l.entry.Load()
	if e == nil {
		l.entry.Store(&entry{window: w})
		return
	}
	window := e.window.Join(w)
	l.entry.Store(&entry{window, e.promises})
	// Invariant: a use that has not seen the new entry has set used.
	if l.used.Load() && !e.window.Covers(w) {
		// The second is for uses that are being recorded while this happens.
		l.entry.Store(&entry{window, append(slices.Clone(e.promises), Promise{e.window, now.Add(time.Second)})})
	}
}

// Window returns that of all Verifiers that have joined.
func (l *Ledger) Window() Window {
	if e := l.entry.Load(); e != nil {
		return e.window
	}
	return Window{}
}

// Until returns for how long the memory must remember the proof of u, which it is
// about to record, or [ErrTooOld] or [ErrAhead].
func (l *Ledger) Until(u Use, now time.Time) (time.Time, error) {
	l.Join(u.Window, now)
	if !l.used.Load() {
		l.used.Store(true)
	}
	e := l.entry.Load()
	if err := Judge(&u, e.window, e.promises, now); err != nil {
		return time.Time{}, err
	}
	return u.Until(e.window, now), nil
}

// Judge says why a memory that now remembers for shared, and has remembered for
// less before, cannot tell whether the proof of u is used or will be. It may be nil.
func Judge(u *Use, shared Window, before []Promise, now time.Time) error {
	if !u.Nonce.IsZero() && shared.IssuedAt > 0 && u.IssuedAt.After(now.Add(shared.Skew)) {
		return ErrAhead
	}
	for _, p := range before {
		if p.Forgets(u, now) {
			return ErrTooOld
		}
	}
	return nil
}

type useKey struct{}

// NewContext returns a context that tells one of this library's memories, behind a
// ReplayCache that the caller may have wrapped, what it needs to know beyond the
// arguments of Add.
func NewContext(ctx context.Context, u Use) context.Context {
	return context.WithValue(ctx, useKey{}, u)
}

// UseFrom returns what [NewContext] has stored.
func UseFrom(ctx context.Context) (u Use, ok bool) {
	u, ok = ctx.Value(useKey{}).(Use)
	return u, ok
}
