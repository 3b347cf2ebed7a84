package introspect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/caller"
	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
)

const (
	// restAfterOutage is how long an endpoint that could not answer is not asked again
	// about the same token.
	restAfterOutage = time.Second
	// restAfterError is how long a reply that is no answer is remembered, as a refusal
	// of the token or as a failure.
	restAfterError = 5 * time.Second
	// storedPart is the part of the places of this process that one client may have in
	// a Store.
	storedPart = 4
)

// answer is what the issuer says of an active token. All but failed is immutable. One
// that is never believed (fresh and stale are zero) says that the token is known. It is
// kept under a hash of the token, never under the token (RFC 9700, section 4.9.3).
type answer struct {
	token oidc.Token
	owner recall.Owner
	raw   []byte    // the claims
	asked time.Time // when the issuer was asked, and called the token active
	fresh time.Time // until when it is believed
	stale time.Time // until when it is believed if the issuer cannot be asked
	// When the issuer could last not be asked about this token, in Unix nanoseconds.
	// Failures for other tokens do not count: any client can send a token that makes
	// the issuer fail.
	failed atomic.Int64
}

func (i *Introspector) newAnswer(t *oidc.Token, raw []byte, asked time.Time) *answer {
	a := &answer{token: *t, raw: raw, asked: asked}
	a.owner = recall.OwnerOf(cmp.Or(t.ClientID, t.Subject), t.Subject)
	a.fresh = asked.Add(i.answerLifetime)
	a.stale = a.fresh.Add(i.staleAnswers)
	if !t.Expiry.IsZero() { // RFC 7662, section 4: not beyond exp
		a.fresh, a.stale = recall.Earlier(a.fresh, t.Expiry), recall.Earlier(a.stale, t.Expiry)
	}
	return a
}

// unbelieved returns what is left of an answer that is over.
func (a *answer) unbelieved() *answer { return &answer{owner: a.owner, asked: a.asked} }

func (a *answer) goodWithoutIssuer(now time.Time) bool { return a != nil && now.Before(a.stale) }

// answer returns what the issuer says, from memory if it is recent enough.
func (i *Introspector) answer(ctx context.Context, key [sha256.Size]byte, raw string) (*answer, error) {
	now := time.Now()
	if a, err, known := i.remembered(key, now); known {
		return a, err
	}
	if jose.FormOf(raw) == jose.Malformed {
		return nil, oidc.ErrMalformed
	}
	q := recall.Question{Since: now.Add(-i.answerLifetime)}
	old, known := i.active.Get(key)
	if known {
		q.Known, q.Lane = true, recall.LaneOfClient(old.owner)
	} else {
		q.Lane = recall.LaneOfCaller(caller.Address(ctx))
	}
	if old.goodWithoutIssuer(now) && now.UnixNano()-old.failed.Load() < int64(restAfterOutage) {
		return old, nil
	}
	if err, failed := i.failed.Find(key, now); failed {
		if !endsStale(err) && old.goodWithoutIssuer(now) {
			return old, nil
		}
		return nil, err
	}
	call := calls.Begin(ctx, calls.Introspection)
	a, err := i.flights.Do(ctx, key, q, func(ctx context.Context) (*answer, error) { return i.learn(ctx, key, raw) })
	_, refused := err.(oidc.TokenError)
	call.End(err != nil && !refused)
	if err == nil || refused || endsStale(err) || old == nil || ctx.Err() != nil {
		return a, err // Also if the caller is gone: by hanging up early a client could opt out of the check.
	}
	if current, ok := i.active.Get(key); ok {
		old = current // another replica may have been told that old is over
	}
	now = time.Now()
	old.failed.Store(now.UnixNano())
	if old.goodWithoutIssuer(now) {
		return old, nil
	}
	return nil, err
}

// remembered looks for an answer that is still believed; known reports whether there is
// one.
func (i *Introspector) remembered(key [sha256.Size]byte, now time.Time) (a *answer, err error, known bool) {
	if a, ok := i.active.Get(key); ok && now.Before(a.fresh) {
		return a, nil, true
	}
	if reason, refused := i.refused.Find(key, now); refused {
		return nil, reason, true
	}
	return nil, nil, false
}

// learn finds out about a token and remembers it. It runs once at a time for each key.
func (i *Introspector) learn(ctx context.Context, key [sha256.Size]byte, raw string) (*answer, error) {
	asked := time.Now()
	// The flight before may have landed after the caller had looked.
	if a, err, known := i.remembered(key, asked); known {
		return a, err
	}
	old, _ := i.active.Get(key)
	if a := i.fromStore(ctx, key, old, asked); a != nil {
		i.set(key, a)
		return a, nil
	}
	a, r, err := i.ask(ctx, raw, old, asked)
	if ctx.Err() != nil {
		// The callers have been told that there is no answer, and a newer question may
		// have been answered meanwhile.
		return nil, i.endpoint.Outage(0, cmp.Or(err, context.Cause(ctx)))
	}
	switch reason, refused := err.(oidc.TokenError); {
	case err == nil:
		i.keep(ctx, key, a)
	case refused:
		i.active.Delete(key)
		i.end(ctx, key, old, asked)
		i.refused.Add(key, reason, asked, i.refusalFor(r))
	case endsStale(err):
		if old != nil {
			i.set(key, old.unbelieved())
			i.end(ctx, key, old, asked)
		}
		i.failed.Add(key, err, asked, restAfterError)
	case r != nil:
		i.failed.Add(key, err, asked, max(restAfterOutage, min(r.RetryAfter, restAfterError)))
	}
	return a, err
}

// set remembers an answer, as long as it is of any use: to believe it, or to know
// that the token was active.
func (i *Introspector) set(key [sha256.Size]byte, a *answer) {
	i.active.Set(key, a.owner, recall.Later(a.stale, a.asked.Add(activeFor)), a)
}

// keep remembers a good answer.
func (i *Introspector) keep(ctx context.Context, key [sha256.Size]byte, a *answer) {
	now := time.Now()
	if !now.Before(a.stale) {
		i.set(key, a.unbelieved())
		return
	}
	i.set(key, a)
	if i.store == nil || i.active.Held(a.owner) > max(1, i.cache/storedPart) {
		return
	}
	if ttl := a.fresh.Sub(now); ttl > 0 {
		// Without the store, the other replicas ask for themselves.
		_ = i.store.Set(ctx, key, encodeAnswer(key, a.asked, a.raw), ttl)
	}
}

// end makes sure that no answer from before asked counts in the Store, for a token
// that was good. Others are not worth an entry: a client can send any number.
func (i *Introspector) end(ctx context.Context, key [sha256.Size]byte, old *answer, asked time.Time) {
	if i.store != nil && old != nil && i.answerLifetime > 0 {
		_ = i.store.Set(ctx, key, encodeAnswer(key, asked, nil), i.answerLifetime+i.staleAnswers)
	}
}

// The value in a Store: version, key, time of the question in Unix nanoseconds,
// claims. The key is in it so that a store that mixes up its entries cannot give one
// token's answer to another. Without claims, the value says that no answer from
// before that time counts.
const (
	answerVersion = 1
	answerHeader  = 1 + sha256.Size + 8
)

func encodeAnswer(key [sha256.Size]byte, asked time.Time, claims []byte) []byte {
	out := make([]byte, 0, answerHeader+len(claims))
	out = append(out, answerVersion)
	out = append(out, key[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(asked.UnixNano()))
	return append(out, claims...)
}

// fromStore returns the answer that another replica got, judged by the same rules as
// our own, or nil. If the other replica was told that old is over, it ends here too.
func (i *Introspector) fromStore(ctx context.Context, key [sha256.Size]byte, old *answer, now time.Time) *answer {
	if i.store == nil || i.answerLifetime == 0 {
		return nil
	}
	value, found, err := i.store.Get(ctx, key)
	if err != nil || !found || len(value) < answerHeader || value[0] != answerVersion ||
		!bytes.Equal(value[1:1+len(key)], key[:]) {
		return nil
	}
	asked := time.Unix(0, int64(binary.BigEndian.Uint64(value[1+len(key):])))
	claims := bytes.Clone(value[answerHeader:])
	if len(claims) == 0 {
		if old != nil && asked.After(old.asked) {
			i.set(key, old.unbelieved())
		}
		return nil
	}
	// An answer from before the token was refused here. The clocks of replicas may
	// differ as that of the issuer may.
	if refused := i.refused.LastAsked(key); !refused.IsZero() && !asked.After(refused.Add(i.checks.Skew)) {
		return nil
	}
	// A time from a clock that runs ahead of this machine's would make the answer live
	// longer.
	a, err := i.judge(claims, recall.Earlier(asked, now))
	if err != nil || !now.Before(a.fresh) {
		return nil
	}
	return a
}
