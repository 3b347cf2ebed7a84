package tenants

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/oidc"
)

// tenant is an issuer that resolve has approved, with its Verifier.
type tenant struct {
	issuer string
	// by is what verifies its tokens. It becomes nil when the tenant is no longer live
	// and its Verifier is closed: remembered tokens must not keep the Verifier in memory.
	by    atomic.Pointer[verifying]
	used  atomic.Int64 // last time, in Unix nanoseconds
	state atomic.Uint32

	// Of the liveTenants, under its lock.
	users  int // verifications under way
	proven bool

	ended atomic.Bool // the Verifier is closed, or is being closed, by us
}

type verifying struct {
	*oidc.Verifier
	inside *issuer.Verifier
}

// The states of a tenant.
const (
	tenantLive      uint32 = iota
	tenantGone             // it made room, and serves the requests that have it
	tenantForgotten        // nothing that it says counts
)

func newTenant(iss string, v *oidc.Verifier) *tenant {
	t := &tenant{issuer: iss}
	t.by.Store(&verifying{v, issuer.InsideVerifier(v)})
	t.touch(time.Now())
	return t
}

// serving returns what verifies the tokens of t, or nil if t is not live.
func (t *tenant) serving() *verifying {
	by := t.by.Load()
	if by == nil || t.state.Load() != tenantLive || t.isAbandoned(by) {
		return nil
	}
	return by
}

// isAbandoned reports whether other code than Tenants has closed the Verifier: its keys
// would no longer be refreshed.
func (t *tenant) isAbandoned(by *verifying) bool { return by.inside.Closed.Load() && !t.ended.Load() }

// touch notes that t was used. A resolution of a millisecond is enough, and avoids most
// of the writes that other processors would have to see.
func (t *tenant) touch(now time.Time) {
	if n := now.UnixNano(); n-t.used.Load() >= int64(time.Millisecond) {
		t.used.Store(n)
	}
}

// liveTenants are the tenants that have a Verifier. Its methods may be called
// concurrently.
//
// Invariant: a tenant in proven or new is tenantLive, and not ended unless closed is set.
// A tenant whose state is tenantForgotten never changes again.
type liveTenants struct {
	most, mostNew int
	ctx           context.Context // of the calls of resolve
	cancel        context.CancelFunc

	mu      sync.Mutex
	proven  map[string]*tenant   // had a good token
	new     map[string]*tenant   // had none yet
	leaving map[*tenant]struct{} // made room, and have users
	closed  bool
	work    sync.WaitGroup // calls of resolve, and Verifiers that are being closed
}

func newLiveTenants(most int) liveTenants {
	ctx, cancel := context.WithCancel(context.Background())
	return liveTenants{
		most: most, mostNew: max(16, most/8),
		ctx: ctx, cancel: cancel,
		proven:  make(map[string]*tenant),
		new:     make(map[string]*tenant),
		leaving: make(map[*tenant]struct{}),
	}
}

// find returns the live tenant of an issuer, or nil.
func (l *liveTenants) find(iss string) *tenant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(iss)
}

// at is find with l.mu held. A tenant whose Verifier other code has closed is no longer
// live.
func (l *liveTenants) at(iss string) *tenant {
	t := l.proven[iss]
	if t == nil {
		t = l.new[iss]
	}
	if t != nil && t.serving() == nil {
		l.drop(t)
		return nil
	}
	return t
}

// acquire is find, and keeps the Verifier of the tenant open until release.
func (l *liveTenants) acquire(iss string) *tenant {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.at(iss)
	if t != nil {
		t.users++
		t.touch(time.Now())
	}
	return t
}

// hold acquires t, unless it has left.
func (l *liveTenants) hold(t *tenant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.state.Load() != tenantLive {
		return false
	}
	t.users++
	return true
}

// release ends what acquire or hold began. It reports false if t was forgotten before.
func (l *liveTenants) release(t *tenant) (counts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := t.state.Load()
	if t.users--; t.users == 0 && state != tenantLive {
		l.shut(t)
	}
	return state != tenantForgotten
}

// add makes t live, unless still reports false.
func (l *liveTenants) add(t *tenant, still func() bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return errClosed
	case !still():
		return errForgotten
	}
	if other := l.withKeysOf(t); other != nil {
		return fmt.Errorf("resolve returned a Verifier with the key source of %s: either issuer could make tokens that pass for the other's", other.issuer)
	}
	if old := l.at(t.issuer); old != nil {
		l.drop(old)
	}
	l.new[t.issuer] = t
	if len(l.new) > l.mostNew {
		l.drop(leastRecent(l.new, t))
	}
	return nil
}

// withKeysOf returns another tenant with the key source of t, if that is one of
// [oidc.WithKeys], or nil. l.mu is held.
func (l *liveTenants) withKeysOf(t *tenant) *tenant {
	by := t.by.Load()
	if by.inside.Issuer.Source != nil { // it fetches its own
		return nil
	}
	for other := range l.all() {
		if o := other.serving(); o != nil && other.issuer != t.issuer && o.inside.Signers.SameKeys(&by.inside.Signers) {
			return other
		}
	}
	return nil
}

// prove gives t the place of a tenant that had a good token. One that made room while it
// was verifying that token is live again.
//
// Precondition: the caller has acquired t.
func (l *liveTenants) prove(t *tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state := t.state.Load(); {
	case t.ended.Load(), state == tenantForgotten, state == tenantLive && t.proven:
		return
	case state == tenantGone && l.at(t.issuer) != nil: // resolved again meanwhile
		return
	}
	delete(l.leaving, t)
	delete(l.new, t.issuer)
	t.proven = true
	t.state.Store(tenantLive)
	l.proven[t.issuer] = t
	if len(l.proven) > l.most {
		l.drop(leastRecent(l.proven, t))
	}
}

// leastRecent is the tenant that was used least recently, apart from the given one.
func leastRecent(of map[string]*tenant, but *tenant) (least *tenant) {
	for _, t := range of {
		if t != but && (least == nil || t.used.Load() < least.used.Load()) {
			least = t
		}
	}
	return least
}

// drop has t make room. l.mu is held.
func (l *liveTenants) drop(t *tenant) {
	delete(l.proven, t.issuer)
	delete(l.new, t.issuer)
	t.state.Store(tenantGone)
	if t.users > 0 {
		l.leaving[t] = struct{}{}
		return
	}
	l.shut(t)
}

// shut closes the Verifier of t in the background: Close may have to wait for a fetch.
// l.mu is held.
func (l *liveTenants) shut(t *tenant) {
	delete(l.leaving, t)
	if t.ended.Swap(true) {
		return
	}
	v := t.by.Swap(nil)
	l.work.Go(func() { _ = v.Close() })
}

// forget drops what is known of an issuer, and the questions about it that are under way.
func (l *liveTenants) forget(iss string, generation *atomic.Uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	generation.Add(1)
	for t := range l.leaving {
		if t.issuer == iss {
			t.state.Store(tenantForgotten)
			l.shut(t)
		}
	}
	if t := l.proven[iss]; t != nil {
		l.banish(t)
	}
	if t := l.new[iss]; t != nil {
		l.banish(t)
	}
}

// banish forgets t. It closes the Verifier even if t has users: their results no longer
// count. l.mu is held.
func (l *liveTenants) banish(t *tenant) {
	delete(l.proven, t.issuer)
	delete(l.new, t.issuer)
	t.state.Store(tenantForgotten)
	l.shut(t)
}

// begin counts a call of resolve. It reports false once the Tenants are closed.
func (l *liveTenants) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.work.Add(1)
	return true
}

func (l *liveTenants) end() { l.work.Done() }

// closePatience is how long close waits for a resolve that ignores its context.
const closePatience = time.Second

func (l *liveTenants) close() error {
	l.mu.Lock()
	l.closed = true
	l.cancel()
	var open []*tenant
	for t := range l.all() {
		if !t.ended.Swap(true) {
			open = append(open, t)
		}
	}
	l.mu.Unlock()
	var problems []error
	for _, t := range open {
		problems = append(problems, t.by.Load().Close())
	}
	done := make(chan struct{})
	go func() { l.work.Wait(); close(done) }()
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
	return errors.Join(problems...)
}

// all yields every tenant that is not closed yet. l.mu is held.
func (l *liveTenants) all() iter.Seq[*tenant] {
	return func(yield func(*tenant) bool) {
		for _, of := range []map[string]*tenant{l.proven, l.new} {
			for _, t := range of {
				if !yield(t) {
					return
				}
			}
		}
		for t := range l.leaving {
			if !yield(t) {
				return
			}
		}
	}
}
