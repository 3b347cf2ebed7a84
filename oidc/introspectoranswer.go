package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// open returns the claims that an HTTP answer holds. Its errors are outages.
func (i *Introspector) open(ctx context.Context, r *reply, asked time.Time) ([]byte, error) {
	switch {
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden:
		// RFC 7662, section 2.3: it is this service that was refused, not its caller.
		return nil, fmt.Errorf("status %d: the issuer does not accept %v here", r.status, i.auth)
	case r.status != http.StatusOK:
		return nil, fmt.Errorf("status %d", r.status)
	case i.signed != nil:
		return i.signed.open(ctx, r, asked)
	case r.mediaType != "application/json":
		return nil, fmt.Errorf("the answer is %q, not application/json", r.mediaType)
	}
	return strictjson.WithoutBOM(r.body), nil
}

// state is what an answer says besides the token's claims (RFC 7662, section 2.2).
type state struct {
	Active    json.RawMessage // active
	TokenType json.RawMessage // token_type
}

func (s *state) read(raw []byte) error {
	var o strictjson.Object
	for o.StartDocument(raw, maxTokenDepth); o.Next(); {
		switch string(o.Name()) {
		case "active":
			s.Active = o.Value()
		case "token_type":
			s.TokenType = o.Value()
		}
	}
	return o.Err()
}

// judge turns claims, which the issuer sent, into an answer. A TokenError is the
// issuer's verdict on the token, any other error our verdict on the issuer.
func (i *Introspector) judge(raw []byte, asked time.Time) (*answer, error) {
	var s state
	if err := s.read(raw); err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	switch string(s.Active) {
	case "true":
	case "false":
		return nil, ErrInactive // RFC 7662, section 2.2: nothing else in the answer matters.
	default:
		return nil, errors.New("the answer's active is neither true nor false")
	}
	t, c, err := newToken(raw, i.profile, i.ignoredCnf)
	if err != nil {
		return nil, err
	}
	if err := i.checkKind(t, c, s.TokenType); err != nil {
		return nil, err
	}
	if err := i.checkClaims(t); err != nil {
		return nil, err
	}
	if err := checkTimes(t.Expiry, c.Begin.Time(), t.IssuedAt, time.Now(), i.skew); err != nil {
		return nil, err
	}
	return i.newAnswer(t, c, raw, asked), nil
}

func (i *Introspector) newAnswer(t *Token, c *claims, raw []byte, asked time.Time) *answer {
	a := &answer{token: *t, begin: c.Begin.Time(), raw: raw, asked: asked}
	a.fresh = asked.Add(i.answerLifetime)
	a.stale = a.fresh.Add(i.staleAnswers)
	if !t.Expiry.IsZero() { // RFC 7662, section 4: not beyond exp
		a.fresh, a.stale = earlier(a.fresh, t.Expiry), earlier(a.stale, t.Expiry)
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// checkKind refuses what is no access token. Endpoints call refresh tokens and ID
// tokens active too, whatever the hint in the question said.
func (i *Introspector) checkKind(t *Token, c *claims, tokenType json.RawMessage) error {
	if c.AtHash != nil || c.CHash != nil || c.SHash != nil {
		return ErrNotAccessToken
	}
	switch optionalString(c.Typ) {
	case "ID", "Refresh", "Offline", "Logout": // as Keycloak names them
		return ErrNotAccessToken
	}
	switch optionalString(c.TokenUse) {
	case "", "access", "access_token":
	default:
		return ErrNotAccessToken
	}
	if i.keycloak {
		if err := i.profile.access(t, c, false); err != nil {
			return err
		}
	}
	if !stated(tokenType) {
		if !i.audienceTells(t) && !namesAccess(c) && (c.Audience == nil || !scopeTells(c)) {
			return ErrNotAccessToken
		}
		return nil
	}
	switch strings.ToLower(optionalString(tokenType)) {
	case "bearer": // With cnf.jkt, the binding wins: it takes a proof all the same.
		return nil
	case "dpop": // RFC 9449, section 6.2
		if t.Confirmation.JKT == "" {
			return ErrTokenType
		}
		return nil
	default: // A kind whose demands are not known here, or "N_A" (RFC 8693, section 2.2.1).
		return ErrNotAccessToken
	}
}

// audienceTells reports whether aud is going to be compared with ours, which no ID
// token and no refresh token has.
func (i *Introspector) audienceTells(t *Token) bool {
	return !i.anyAudience && !(i.missingAudience && i.profile.audience(t) == nil)
}

// namesAccess reports whether an answer without token_type is about an access token
// as Keycloak and Hydra name the kinds.
//
// Precondition, also of scopeTells: checkKind has refused the names of other kinds.
func namesAccess(c *claims) bool {
	typ := optionalString(c.Typ)
	return typ == "Bearer" || typ == "DPoP" || optionalString(c.TokenUse) != ""
}

// scopeTells reports whether there is a scope, which no ID token has. Refresh tokens
// do: oidc-provider answers to one with a scope, and neither token_type nor aud.
func scopeTells(c *claims) bool { return stated(c.Scope) && !stated(c.Nonce) }

// checkClaims compares iss and aud, which an answer may leave out (RFC 7662,
// section 2.2): iss because the endpoint is the issuer's, aud by option.
func (i *Introspector) checkClaims(t *Token) error {
	if t.Issuer == "" {
		t.Issuer = i.issuer
	}
	if t.Issuer != i.issuer {
		return ErrIssuer
	}
	audiences := i.profile.audience(t)
	switch {
	case audiences == nil && i.missingAudience: // An aud that names nobody is there.
	case i.anyAudience && namesAny(audiences):
	case !i.anyAudience && intersects(audiences, i.audiences):
	default:
		return ErrAudience
	}
	return nil
}

// keep remembers a good answer.
func (i *Introspector) keep(ctx context.Context, key [sha256.Size]byte, a *answer) {
	now := time.Now()
	if !now.Before(a.stale) {
		i.active.set(key, new(answer)) // Never believed, it says that the token is known.
		return
	}
	i.active.set(key, a)
	if i.shared == nil {
		return
	}
	if ttl := a.fresh.Sub(now); ttl > 0 {
		// Without the store, the other replicas ask for themselves.
		_ = i.shared.Set(ctx, key, encodeAnswer(key, a), ttl)
	}
}

// The value in a shared cache: version, key, time of the question in Unix
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

// fromShared returns the answer that another replica got, judged by the same
// rules as our own, or nil.
func (i *Introspector) fromShared(ctx context.Context, key [sha256.Size]byte, now time.Time) *answer {
	if i.shared == nil || i.answerLifetime == 0 {
		return nil
	}
	value, found, err := i.shared.Get(ctx, key)
	if err != nil || !found || len(value) < answerHeader || value[0] != answerVersion ||
		!bytes.Equal(value[1:1+len(key)], key[:]) {
		return nil
	}
	asked := time.Unix(0, int64(binary.BigEndian.Uint64(value[1+len(key):])))
	// An answer from before the token was refused here. The clocks of replicas may differ as that of the issuer may.
	if refused := i.refused.lastAsked(key); !refused.IsZero() && !asked.After(refused.Add(i.skew)) {
		return nil
	}
	// A time from a clock that runs ahead of ours would make the answer live longer.
	a, err := i.judge(bytes.Clone(value[answerHeader:]), earlier(asked, now))
	if err != nil || !now.Before(a.fresh) {
		return nil
	}
	return a
}
