package introspect

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// Introspector asks the issuer about each token (RFC 7662): for opaque tokens, and
// for JWTs whose revocation matters (see [Then]). Make one with [New]. Its methods
// may be called concurrently. The zero Introspector, and a nil one, accepts nothing.
//
// # What is remembered
//
// An answer is remembered for as long as [WithAnswerLifetime] and the token's exp
// allow, so that a revoked token is accepted for a minute at most unless
// configured otherwise. What the token is bound to is part of the answer,
// remembered or not. A refusal is remembered for seconds. Both memories are
// bounded and apart from each other, so that a flood of invented tokens does not
// displace good ones. The places for answers are shared out fairly by client (the
// client_id of the answer, or its sub): a client with many tokens displaces its own.
//
// Each token is asked about once at a time, whether or not its callers wait for the
// answer. Questions about tokens that were good before have slots of their own,
// shared out by client; those about other tokens are shared out by caller (see
// [oidc.ContextWithCaller]). A request is never told an answer to a question that
// is older than [WithAnswerLifetime].
//
// Tokens are known by their SHA-256 hash, in memory and in a [Store]: a token
// cannot be guessed, so neither can it be found from its hash. (A MAC would add only
// a key that all replicas have to share.)
//
// # Replies that are no answers
//
//	reply of the endpoint                                what it means
//	200, JSON (or signed, as asked for) with active      the answer
//	400, 401 or 404 with invalid_token                   the token is refused
//	400, 401 or 404 with no OAuth error or an unknown    the token is refused, if the issuer has answered
//	  one                                                us within 30 s, and has not called this very
//	                                                     token active within 5 minutes
//	429, 5xx; no reply                                   an outage: 503, or a stale answer
//	anything else: other statuses, other errors,         503: the fault may be ours
//	  redirects, web pages, empty bodies, {}
//
// A refusal by an error is remembered for at most 5 seconds, and a reply that is no
// answer for as long, so that one token cannot make the issuer be asked without end.
// A reply that is neither an answer nor an outage ends a stale answer. invalid_token
// does not count as a verdict with [clientauth.Bearer], where it may be about our
// own token, unless the issuer has answered us within 30 s.
//
// # What it does not check
//
// Whether a token was made by this issuer: what a client sends goes to the issuer,
// unless it looks like a JWS or JWE and is not a canonical one. Issuers accept
// several spellings of one token, and only one of them is asked about. If there are
// several issuers, decide which one to ask by configuration, never by what the token
// looks like.
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
	cache    int               // how many tokens are remembered
	active   recall.Memory[*answer]
	refused  recall.Refusals[oidc.TokenError]
	failed   recall.Refusals[error] // questions that had no answer
	flights  *recall.Flights[*answer]
	accepted atomic.Int64 // when the endpoint last gave us an answer, in Unix nanoseconds
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
	if options.IsNil(auth) {
		c.Problem("New: the client authentication is nil")
	} else {
		c.Join(auth.Check())
		c.Checks.ClientID = auth.ClientID()
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
		cache:           c.cacheSize,
		active:          recall.NewMemory[*answer](c.cacheSize),
		refused:         recall.NewRefusals[oidc.TokenError](c.cacheSize),
		failed:          recall.NewRefusals[error](c.cacheSize),
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

// Close ends the questions that are under way, whose requests are answered with 503, and
// closes idle connections to the endpoint. The [oidc.Issuer] is its owner's to close.
// Close may be called more than once.
func (i *Introspector) Close() error {
	if i != nil && i.endpoint != nil {
		i.flights.End()
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

// String is "introspect.Introspector(" and the issuer identifier. An Introspector
// prints nothing else, whatever the verb.
func (i *Introspector) String() string { return "introspect.Introspector(" + i.Issuer().URL() + ")" }

// GoString is String.
func (i *Introspector) GoString() string { return i.String() }

// LogValue is String.
func (i *Introspector) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Status returns the state at this moment. It touches no network.
func (i *Introspector) Status() oidc.Status {
	if i == nil || i.endpoint == nil {
		return oidc.Status{}
	}
	st := i.issuer.Status()
	st.CachedTokens = i.active.Len()
	st.CachedAnswers = st.CachedTokens
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
		Issuers:          []string{i.issuer.URL()},
		Audiences:        slices.Clone(i.checks.Audiences),
	}
}
