package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// restAfterFailure is how long stale answers are given without trying again, so
// that they do not wait for a time-out each.
const restAfterFailure = time.Second

// Introspector asks the issuer about each token (RFC 7662): for opaque tokens,
// and for JWTs whose revocation matters (see [VerifyThenIntrospect]). Make one
// with [NewIntrospector]. Its methods may be called concurrently. The zero
// Introspector, and a nil one, accepts nothing.
//
// An answer is remembered for as long as [WithAnswerLifetime] and the token's exp
// allow, so that a revoked token is accepted for a minute at most unless
// configured otherwise. What the token is bound to is part of the answer,
// remembered or not. A refusal is remembered for seconds. Both memories are
// bounded and apart from each other, so that a flood of invented tokens does not
// displace good ones; and each token is asked about once at a time, whoever gives up
// waiting.
//
// Tokens are known by their SHA-256 hash, in memory and in a shared cache: a
// token cannot be guessed, so neither can it be found from its hash. (A MAC
// would add only a key that all replicas have to share.)
//
// # What it does not check
//
// Whether a token is well formed, or made by this issuer: whatever a client
// sends goes to the issuer. If there are several issuers, decide which one to ask
// by configuration, never by what the token looks like.
type Introspector struct {
	issuer     string
	audiences  []string
	auth       ClientAuth
	profile    *profile
	keycloak   bool
	skew       time.Duration
	maxSize    int
	ignoredCnf []string

	anyAudience     bool // audiences is empty then
	missingAudience bool
	answerLifetime  time.Duration
	refusalLifetime time.Duration
	staleAnswers    time.Duration

	endpoint *endpoint
	provider *provider      // nil if nothing has to be discovered
	signed   *signedAnswers // nil: plain ones
	shared   TokenCache     // nil: none

	question [sha256.Size]byte // what a question is besides the token
	active   memory[*answer]
	refused  refusals
	flights  *flights[*answer]
}

// answer is what the issuer says of an active token. All but failed is immutable.
type answer struct {
	token Token
	begin time.Time // nbf
	raw   []byte    // the claims
	asked time.Time
	fresh time.Time // until when it is believed
	stale time.Time // until when it is believed if the issuer cannot be asked
	// When the issuer could last not be asked about this very token, in Unix nanoseconds. What it makes
	// of the tokens of others is no outage: anybody can send one that it answers with an error.
	failed atomic.Int64
}

var errNoIntrospector = errors.New("oidc: this Introspector was not made by NewIntrospector")

// NewIntrospector returns an Introspector of the tokens that issuer makes for
// audience, and that authenticates itself to the issuer with auth.
//
// issuer is the issuer identifier, exactly as its discovery document has it;
// audience is the identifier of this service that a token's aud must contain
// (but see [DangerouslyAllowMissingAudience] and [DangerouslyAcceptAnyAudience]). The endpoint comes from the
// discovery document, or its mtls_endpoint_aliases if auth is a client certificate (RFC
// 8705, section 5), or from [WithIntrospectionEndpoint].
//
// NewIntrospector reports every mistake at once. It starts nothing and touches
// no network.
func NewIntrospector(issuer, audience string, auth ClientAuth, opts ...Option) (*Introspector, error) {
	c := newClientConfig(forIntrospector, issuer, opts)
	c.setAudience(audience)
	if auth == nil {
		c.problem("NewIntrospector: the client authentication is nil")
	} else if err := auth.check(); err != nil {
		c.problems = append(c.problems, err)
	}
	if c.staleAnswers > 0 && c.answerLifetime == 0 {
		c.problem("WithStaleAnswers has nothing to serve when WithAnswerLifetime is 0")
	}
	i := &Introspector{
		issuer:          issuer,
		audiences:       c.audiences,
		auth:            auth,
		profile:         c.profile.rules(),
		keycloak:        c.profile == Keycloak,
		skew:            c.skew,
		maxSize:         c.maxSize,
		ignoredCnf:      c.ignoredCnf,
		anyAudience:     c.anyAudience,
		missingAudience: c.missingAudience,
		answerLifetime:  c.answerLifetime,
		refusalLifetime: c.refusalLifetime,
		staleAnswers:    c.staleAnswers,
		shared:          c.shared,
		active:          newMemory[*answer](c.cacheSize),
		refused:         newRefusals(c.cacheSize),
		flights:         newFlights[*answer](),
	}
	if c.err() == nil {
		if err := i.connect(c); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	i.question = i.hashQuestion()
	return i, nil
}

// connect makes what talks to the issuer.
func (i *Introspector) connect(c *clientConfig) (err error) {
	if c.endpoint == "" || c.signed && c.provider.jwksURI == "" {
		if i.provider, err = newProvider(c.issuer, c.provider); err != nil {
			return err
		}
	}
	if c.signed {
		if i.signed, err = newSignedAnswers(c, i.provider, i.auth.clientID()); err != nil {
			return err
		}
	}
	i.endpoint, err = newEndpoint(c, "introspection", i.provider, i.auth.certificate(), func(m *metadata) (string, string) {
		return m.IntrospectionEndpoint, m.MTLS.IntrospectionEndpoint
	})
	return err
}

// hashQuestion hashes what makes two Introspectors that share a cache ask
// different questions.
func (i *Introspector) hashQuestion() (sum [sha256.Size]byte) {
	h := sha256.New()
	kind := "plain"
	if i.signed != nil {
		kind = "signed"
	}
	hashStrings(h, "oidc introspection 1", i.issuer, i.auth.clientID(), kind)
	hashStrings(h, i.audiences...)
	h.Sum(sum[:0])
	return sum
}

// hashStrings writes texts to h so that no other list of texts is written the same.
func hashStrings(h hash.Hash, texts ...string) {
	var length [8]byte
	write := func(n int) {
		binary.BigEndian.PutUint64(length[:], uint64(n))
		h.Write(length[:])
	}
	write(len(texts))
	for _, t := range texts {
		write(len(t))
		h.Write([]byte(t))
	}
}

func (i *Introspector) key(raw string) [sha256.Size]byte {
	text := append(make([]byte, 0, 1024), i.question[:]...) // on the stack, for tokens of a usual size
	return sha256.Sum256(append(text, raw...))
}

// VerifyToken asks the issuer about a token, or remembers what it said, and
// returns what the token says.
//
// If the token is at fault, the error is a [TokenError]: [ErrInactive] if the
// issuer says no more than that, and otherwise whatever is wrong with what it
// says. If the issuer cannot be asked, does not accept this service as a client,
// or gives an answer that makes no sense, the error has no code, and may have a
// method RetryAfter() time.Duration: whether the token is good is not known then.
func (i *Introspector) VerifyToken(ctx context.Context, raw string) (*Token, error) {
	switch {
	case i == nil || i.endpoint == nil:
		return nil, errNoIntrospector
	case raw == "" || strings.ContainsFunc(raw, notVisibleASCII):
		return nil, ErrMalformed // RFC 6749, appendix A.12: nothing that an issuer can have made
	case len(raw) > i.maxSize:
		return nil, ErrTooLarge
	}
	a, err := i.answer(ctx, i.key(raw), raw)
	if err != nil {
		return nil, err
	}
	if err := checkTimes(a.token.Expiry, a.begin, a.token.IssuedAt, time.Now(), i.skew); err != nil {
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
	old, _ := i.active.get(key)
	if old.goodWithoutIssuer(now) && now.UnixNano()-old.failed.Load() < int64(restAfterFailure) {
		return old, nil
	}
	a, err := i.flights.do(ctx, key, old != nil, func(ctx context.Context) (*answer, error) { return i.learn(ctx, key, raw) })
	if _, refused := err.(TokenError); err != nil && !refused && ctx.Err() == nil && old.goodWithoutIssuer(time.Now()) {
		return old, nil // Not to who went away: a client that does so before the issuer has answered would choose not to be checked.
	}
	return a, err
}

func (a *answer) goodWithoutIssuer(now time.Time) bool { return a != nil && now.Before(a.stale) }

// remembered looks for an answer that is still believed; known reports whether there is one.
func (i *Introspector) remembered(key [sha256.Size]byte, now time.Time) (a *answer, err error, known bool) {
	if a, ok := i.active.get(key); ok && now.Before(a.fresh) {
		return a, nil, true
	}
	if reason, refused := i.refused.find(key, now); refused {
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
	if a := i.fromShared(ctx, key, asked); a != nil {
		i.active.set(key, a)
		return a, nil
	}
	a, err := i.ask(ctx, raw, asked)
	switch reason, refused := err.(TokenError); {
	case err == nil:
		i.keep(ctx, key, a)
	case refused:
		i.active.delete(key)
		i.refused.add(key, reason, asked, i.refusalLifetime)
	default:
		if old, ok := i.active.get(key); ok {
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
	r, err := i.endpoint.post(ctx, i.auth, accept, form)
	if err != nil {
		return nil, err
	}
	claims, err := i.open(ctx, r, asked)
	if err != nil {
		return nil, i.endpoint.outage(r.retryAfter, err)
	}
	a, err := i.judge(claims, asked)
	if _, refused := err.(TokenError); err != nil && !refused {
		return nil, i.endpoint.outage(0, err)
	}
	return a, err
}

// Prefetch fetches the discovery document, and the keys if answers are signed,
// unless they are there already: for the start of a service and for its readiness probe.
func (i *Introspector) Prefetch(ctx context.Context) error {
	if i == nil || i.endpoint == nil {
		return errNoIntrospector
	}
	if i.provider != nil {
		if err := i.provider.doc.Prefetch(ctx); err != nil {
			return i.endpoint.outage(0, err)
		}
	}
	if i.signed != nil {
		if err := i.signed.source.Prefetch(ctx); err != nil {
			return i.endpoint.outage(0, err)
		}
	}
	return nil
}

// Close ends the background work: refreshing the discovery document and the keys. It may be called more than once.
func (i *Introspector) Close() error {
	if i == nil || i.endpoint == nil {
		return nil
	}
	var errs []error
	if i.signed != nil {
		errs = append(errs, i.signed.source.Close())
	}
	if i.provider != nil {
		errs = append(errs, i.provider.doc.Close())
	}
	i.endpoint.client.CloseIdleConnections()
	return errors.Join(errs...)
}
