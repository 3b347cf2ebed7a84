package introspect

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// restAfterFailure is how long stale answers are given without trying again, so
// that they do not wait for a time-out each.
const restAfterFailure = time.Second

// Introspector asks the issuer about each token (RFC 7662): for opaque tokens, and
// for JWTs whose revocation matters (see [Then]). Make one with [New]. Its methods
// may be called concurrently. The zero Introspector, and a nil one, accepts nothing.
//
// An answer is remembered for as long as [WithAnswerLifetime] and the token's exp
// allow, so that a revoked token is accepted for a minute at most unless
// configured otherwise. What the token is bound to is part of the answer,
// remembered or not. A refusal is remembered for seconds. Both memories are
// bounded and apart from each other, so that a flood of invented tokens does not
// displace good ones. Each token is asked about once at a time, whether or not its
// callers wait for the answer.
//
// Tokens are known by their SHA-256 hash, in memory and in a [Store]: a token
// cannot be guessed, so neither can it be found from its hash. (A MAC would add only
// a key that all replicas have to share.)
//
// # What it does not check
//
// Whether a token is well formed, or made by this issuer: what a client sends goes
// to the issuer. If there are several issuers, decide which one to ask by
// configuration, never by what the token looks like.
type Introspector struct {
	issuer *oidc.Issuer
	inside *issuer.Issuer
	auth   clientauth.Method
	checks issuer.Checks

	answerLifetime  time.Duration
	refusalLifetime time.Duration
	staleAnswers    time.Duration

	endpoint *issuer.Endpoint
	given    bool           // the endpoint takes no metadata
	signed   *signedAnswers // nil: plain ones
	store    Store          // nil: none

	question [sha256.Size]byte // what a question is besides the token
	active   recall.Memory[*answer]
	refused  recall.Refusals[oidc.TokenError]
	flights  *recall.Flights[*answer]
}

// answer is what the issuer says of an active token. All but failed is immutable.
type answer struct {
	token oidc.Token
	raw   []byte // the claims
	asked time.Time
	fresh time.Time // until when it is believed
	stale time.Time // until when it is believed if the issuer cannot be asked
	// When the issuer could last not be asked about this very token, in Unix nanoseconds. What it makes
	// of the tokens of others is no outage: anybody can send one that it answers with an error.
	failed atomic.Int64
}

var errNoIntrospector = errors.New("introspect: this Introspector was not made by New")

// New returns an Introspector of the tokens that i makes for audience. It
// authenticates itself to the issuer with auth, and borrows i, which the caller
// closes.
//
// audience is the identifier of this service that a token's aud must contain (but
// see [DangerouslyAllowMissingAudience] and [DangerouslyAcceptAnyAudience]). The
// endpoint comes from the issuer's metadata, or its mtls_endpoint_aliases if auth
// is a client certificate (RFC 8705, section 5), or from [WithEndpoint].
//
// New reports every mistake at once. It starts nothing and touches no network.
func New(i *oidc.Issuer, audience string, auth clientauth.Method, opts ...Option) (*Introspector, error) {
	c := newConfig(opts)
	c.SetFirstAudience(c.Set, audience)
	c.Checks.Profile = c.profile
	if options.IsNil(auth) {
		c.Problem("New: the client authentication is nil")
	} else {
		c.Join(auth.Check())
	}
	if c.staleAnswers > 0 && c.answerLifetime == 0 {
		c.Problem("WithStaleAnswers has nothing to serve when WithAnswerLifetime is 0")
	}
	inside := issuer.Inside(i)
	if inside == nil {
		c.Problem("New: the Issuer was not made by oidc.NewIssuer")
	} else if c.endpoint != "" {
		if err := inside.CheckURL(c.endpoint); err != nil {
			c.Problem("WithEndpoint: %w", err)
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	endpoint, err := inside.Endpoint("introspect", "introspection", c.endpoint, auth.Certificate(), func(m *issuer.Metadata) (string, string) {
		return m.IntrospectionEndpoint, m.MTLS.IntrospectionEndpoint
	})
	if err != nil {
		return nil, err
	}
	return newIntrospector(i, inside, endpoint, auth, c), nil
}

func newIntrospector(i *oidc.Issuer, inside *issuer.Issuer, endpoint *issuer.Endpoint, auth clientauth.Method, c *config) *Introspector {
	in := &Introspector{
		issuer:          i,
		inside:          inside,
		auth:            auth,
		checks:          c.Checks,
		answerLifetime:  c.answerLifetime,
		refusalLifetime: c.refusalLifetime,
		staleAnswers:    c.staleAnswers,
		endpoint:        endpoint,
		given:           c.endpoint != "",
		store:           c.store,
		active:          recall.NewMemory[*answer](c.cacheSize),
		refused:         recall.NewRefusals[oidc.TokenError](c.cacheSize),
		flights:         recall.NewFlights[*answer]("introspect"),
	}
	if c.signed {
		in.signed = newSignedAnswers(inside, c, auth.ClientID())
	}
	in.question = in.hashQuestion()
	return in
}

// hashQuestion hashes what makes two Introspectors that share a cache ask
// different questions.
func (i *Introspector) hashQuestion() (sum [sha256.Size]byte) {
	h := sha256.New()
	kind := "plain"
	if i.signed != nil {
		kind = "signed"
	}
	recall.HashStrings(h, "oidc introspection 1", i.inside.URL, i.auth.ClientID(), kind)
	recall.HashStrings(h, i.checks.Audiences...)
	h.Sum(sum[:0])
	return sum
}

func (i *Introspector) key(raw string) [sha256.Size]byte {
	text := append(make([]byte, 0, 1024), i.question[:]...) // on the stack, for tokens of a usual size
	return sha256.Sum256(append(text, raw...))
}

// VerifyToken asks the issuer about a token, or remembers what it said, and
// returns what the token says.
//
// If the token is at fault, the error is an [oidc.TokenError]: [oidc.ErrInactive] if the
// issuer says no more than that, and otherwise whatever is wrong with what it
// says. If the issuer cannot be asked, does not accept this service as a client,
// or gives an answer that makes no sense, the error has no code, and may have a
// method RetryAfter() time.Duration: whether the token is good is not known then.
func (i *Introspector) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	switch {
	case i == nil || i.endpoint == nil:
		return nil, errNoIntrospector
	case !headers.IsVisible(raw):
		return nil, oidc.ErrMalformed // RFC 6749, appendix A.12: nothing that an issuer can have made
	case len(raw) > i.checks.MaxSize:
		return nil, oidc.ErrTooLarge
	}
	a, err := i.answer(ctx, i.key(raw), raw)
	if err != nil {
		return nil, err
	}
	if err := a.token.CheckTimes(time.Now(), i.checks.Skew); err != nil {
		return nil, err
	}
	copied := a.token
	return &copied, nil
}

// answer returns what the issuer says, from memory if it is recent enough.
func (i *Introspector) answer(ctx context.Context, key [sha256.Size]byte, raw string) (*answer, error) {
	now := time.Now()
	if a, err, known := i.remembered(key, now); known {
		return a, err
	}
	old, _ := i.active.Get(key)
	if old.goodWithoutIssuer(now) && now.UnixNano()-old.failed.Load() < int64(restAfterFailure) {
		return old, nil
	}
	a, err := i.flights.Do(ctx, key, old != nil, func(ctx context.Context) (*answer, error) { return i.learn(ctx, key, raw) })
	if _, refused := err.(oidc.TokenError); err != nil && !refused && ctx.Err() == nil && old.goodWithoutIssuer(time.Now()) {
		return old, nil // Not to who went away: a client that does so before the issuer has answered would choose not to be checked.
	}
	return a, err
}

func (a *answer) goodWithoutIssuer(now time.Time) bool { return a != nil && now.Before(a.stale) }

// remembered looks for an answer that is still believed; known reports whether there is one.
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
	if a := i.fromStore(ctx, key, asked); a != nil {
		i.active.Set(key, a)
		return a, nil
	}
	a, err := i.ask(ctx, raw, asked)
	switch reason, refused := err.(oidc.TokenError); {
	case err == nil:
		i.keep(ctx, key, a)
	case refused:
		i.active.Delete(key)
		i.refused.Add(key, reason, asked, i.refusalLifetime)
	default:
		if old, ok := i.active.Get(key); ok {
			old.failed.Store(time.Now().UnixNano())
		}
	}
	return a, err
}

// ask asks the issuer about a token (RFC 7662, section 2.1).
func (i *Introspector) ask(ctx context.Context, raw string, asked time.Time) (*answer, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	accept := "application/json"
	if i.signed != nil {
		accept = "application/" + introspectionJWT // RFC 9701, section 4
	}
	r, err := i.endpoint.Post(ctx, i.auth, accept, form)
	if err != nil {
		return nil, err
	}
	claims, err := i.open(ctx, r, asked)
	if err != nil {
		return nil, i.endpoint.Outage(r.RetryAfter, err)
	}
	a, err := i.judge(claims, asked)
	if _, refused := err.(oidc.TokenError); err != nil && !refused {
		return nil, i.endpoint.Outage(0, err)
	}
	return a, err
}

// Prefetch fetches the metadata, and the keys if answers are signed, unless they
// are at hand: for the start of a service and for its readiness probe.
func (i *Introspector) Prefetch(ctx context.Context) error {
	if i == nil || i.endpoint == nil {
		return errNoIntrospector
	}
	if !i.given {
		if _, err := i.inside.Metadata(ctx); err != nil {
			return i.endpoint.Outage(0, err)
		}
	}
	if i.signed != nil {
		if err := i.inside.PrefetchKeys(ctx); err != nil {
			return i.endpoint.Outage(0, err)
		}
	}
	return nil
}

// Close closes idle connections to the endpoint. The [oidc.Issuer] is its owner's
// to close. Close may be called more than once.
func (i *Introspector) Close() error {
	if i != nil && i.endpoint != nil {
		i.endpoint.CloseIdleConnections()
	}
	return nil
}

// Issuer returns the Issuer that is asked, or nil for an Introspector that was not
// made by New.
func (i *Introspector) Issuer() *oidc.Issuer {
	if i == nil {
		return nil
	}
	return i.issuer
}

// Status returns the state at this moment. It touches no network.
func (i *Introspector) Status() oidc.Status {
	if i == nil || i.endpoint == nil {
		return oidc.Status{}
	}
	st := i.issuer.Status()
	st.CachedTokens = i.active.Len()
	return st
}

// Statuses is Status, as an [oidc.Reporter].
func (i *Introspector) Statuses() []oidc.Status { return []oidc.Status{i.Status()} }

// Policy returns how strict the Introspector is: it is the zero Policy for one that
// was not made by New. Algorithms is empty, since no signature of a token counts.
func (i *Introspector) Policy() oidc.Policy {
	if i == nil || i.endpoint == nil {
		return oidc.Policy{}
	}
	return oidc.Policy{
		Skew:             i.checks.Skew,
		ChecksAudience:   !i.checks.AnyAudience && !i.checks.MissingAudience,
		ChecksRevocation: true,
	}
}
