package introspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/internal/strictjson"
	"github.com/keybound-go/middleware/oidc"
)

// maxDepth limits how deep the objects and lists of an answer are nested.
const maxDepth = 32

// open returns the claims that an HTTP answer holds. Its errors are outages.
func (i *Introspector) open(ctx context.Context, r *issuer.Reply, asked time.Time) ([]byte, error) {
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		// RFC 7662, section 2.3: it is this service that was refused, not its caller.
		return nil, fmt.Errorf("status %d: the issuer does not accept %v here", r.Status, i.auth)
	case r.Status != http.StatusOK:
		return nil, fmt.Errorf("status %d", r.Status)
	case i.signed != nil:
		return i.signed.open(ctx, r, asked)
	case r.MediaType != "application/json":
		return nil, fmt.Errorf("the answer is %q, not application/json", r.MediaType)
	}
	return strictjson.WithoutBOM(r.Body), nil
}

// state is what an answer says besides the token's claims (RFC 7662, section 2.2).
type state struct {
	Active json.RawMessage // active
}

func (s *state) read(raw []byte) error {
	var o strictjson.Object
	for o.StartDocument(raw, maxDepth); o.Next(); {
		if string(o.Name()) == "active" {
			s.Active = o.Value()
		}
	}
	return o.Err()
}

// judge turns claims, which the issuer sent, into an answer. An oidc.TokenError is the
// issuer's verdict on the token, any other error our verdict on the issuer.
func (i *Introspector) judge(raw []byte, asked time.Time) (*answer, error) {
	var s state
	if err := s.read(raw); err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	switch string(s.Active) {
	case "true":
	case "false":
		return nil, oidc.ErrInactive // RFC 7662, section 2.2: nothing else in the answer matters.
	default:
		return nil, errors.New("the answer's active is neither true nor false")
	}
	read, err := i.inside.Read(raw, &i.checks)
	if err != nil {
		return nil, err
	}
	return i.newAnswer(read.(*oidc.Token), raw, asked), nil
}

func (i *Introspector) newAnswer(t *oidc.Token, raw []byte, asked time.Time) *answer {
	a := &answer{token: *t, raw: raw, asked: asked}
	a.fresh = asked.Add(i.answerLifetime)
	a.stale = a.fresh.Add(i.staleAnswers)
	if !t.Expiry.IsZero() { // RFC 7662, section 4: not beyond exp
		a.fresh, a.stale = recall.Earlier(a.fresh, t.Expiry), recall.Earlier(a.stale, t.Expiry)
	}
	return a
}

// keep remembers a good answer.
func (i *Introspector) keep(ctx context.Context, key [sha256.Size]byte, a *answer) {
	now := time.Now()
	if !now.Before(a.stale) {
		i.active.Set(key, new(answer)) // Never believed, it says that the token is known.
		return
	}
	i.active.Set(key, a)
	if i.store == nil {
		return
	}
	if ttl := a.fresh.Sub(now); ttl > 0 {
		// Without the store, the other replicas ask for themselves.
		_ = i.store.Set(ctx, key, encodeAnswer(key, a), ttl)
	}
}

// The value in a Store: version, key, time of the question in Unix
// nanoseconds, claims. The key is in it so that a store that mixes up its
// entries cannot give one token's answer to another.
const (
	answerVersion = 1
	answerHeader  = 1 + sha256.Size + 8
)

func encodeAnswer(key [sha256.Size]byte, a *answer) []byte {
	out := make([]byte, 0, answerHeader+len(a.raw))
	out = append(out, answerVersion)
	out = append(out, key[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(a.asked.UnixNano()))
	return append(out, a.raw...)
}

// fromStore returns the answer that another replica got, judged by the same
// rules as our own, or nil.
func (i *Introspector) fromStore(ctx context.Context, key [sha256.Size]byte, now time.Time) *answer {
	if i.store == nil || i.answerLifetime == 0 {
		return nil
	}
	value, found, err := i.store.Get(ctx, key)
	if err != nil || !found || len(value) < answerHeader || value[0] != answerVersion ||
		!bytes.Equal(value[1:1+len(key)], key[:]) {
		return nil
	}
	asked := time.Unix(0, int64(binary.BigEndian.Uint64(value[1+len(key):])))
	// An answer from before the token was refused here. The clocks of replicas may differ as that of the issuer may.
	if refused := i.refused.LastAsked(key); !refused.IsZero() && !asked.After(refused.Add(i.checks.Skew)) {
		return nil
	}
	// A time from a clock that runs ahead of ours would make the answer live longer.
	a, err := i.judge(bytes.Clone(value[answerHeader:]), recall.Earlier(asked, now))
	if err != nil || !now.Before(a.fresh) {
		return nil
	}
	return a
}
