package exchange

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// maxDepth limits how deep the objects and lists of an answer are nested.
const maxDepth = 32

// secret hides a string from fmt, which prints the unexported fields of a struct
// without asking their String methods: of a func it prints the address.
type secret func() string

func hide(s string) secret { return func() string { return s } }

const (
	// maxCredential bounds a client id and a secret, in bytes.
	maxCredential = 1024
	// earlyExpiry is how long before its end a token is not used any more, so that it
	// survives the way.
	earlyExpiry = 5 * time.Second
	// unstatedExpiry is the lifetime of a token whose issuer states none
	// (RFC 6749, section 5.1).
	unstatedExpiry = time.Minute
	// refusedFor is how long a refused secret is remembered.
	refusedFor = 30 * time.Second
	// trustedFor is how long a secret that was good once is exempt from the throttle.
	trustedFor = 24 * time.Hour
)

// Exchange turns the client id and secret of a caller into an access token, by the
// client credentials grant (RFC 6749, section 4.4): for callers that can send Basic
// credentials and nothing else. Make one with [New]. Its methods may be called
// concurrently. The zero Exchange, and a nil one, gives no tokens.
//
// Tokens are kept in memory, a bounded number of them, and each until 5 seconds
// before its expires_in or for [WithTokenLifetime]. The places are shared out fairly
// by client id. What a token is kept under is a MAC, with a key of this process,
// over the issuer, the request, the client id and the secret: with a wrong secret
// there is nothing to find, and the memory cannot be searched for guesses.
//
// # Guessed secrets
//
// A secret that the issuer accepted within the last day is never throttled, and its
// requests have slots of their own. Every other attempt that the issuer does not
// accept counts against limits, whatever the issuer answers, and whether or not it
// does. Limits are per caller, so that an attacker cannot use up the limits of
// others. A caller is an address ([Exchange.Token]); the addresses of one IPv6 site
// (the first 48 bits) are one caller. No option changes the limits:
//
//   - A refused secret is remembered for 30 seconds.
//   - For one client id, a caller may have 5 secrets not accepted, and one more every
//     10 seconds; all callers together 20, and one more every second. Beyond that the
//     answer is 503.
//   - Attempts that end in an outage (429, 5xx, no answer) have limits of their own,
//     of the same size, so that guesses do not use up what an outage may cost, nor
//     the other way round. Attempts that certainly or probably did not reach the
//     issuer may be 60 for one client id and caller, and one more every second.
//   - Across all client ids a caller may have 100 secrets not accepted, and 10 more
//     every second; all callers together 1,000, and 100 more every second. Past
//     either limit attempts queue for up to 5 seconds, and reach the issuer at 20 per
//     second.
//
// Residual risk: an attacker that knows the id of a client, and has ten addresses or
// the client's own, can lock out a client that has not been here for a day, or since
// this process started. Behind a proxy all callers share one address unless the guard
// is told how to find theirs; new clients then queue behind the attacker.
//
// # Replies that are no tokens
//
//	reply of the endpoint                                what it means
//	200 with a bearer token                              accepted
//	401, unless with an error that blames the request    the secret is refused
//	invalid_client or unauthorized_client with 400, or   the secret is refused
//	  with 200 and no token
//	429, 5xx; no reply                                   an outage: 503
//	anything else: other statuses, other errors,         503: the fault may be ours; counts like a refused
//	  redirects, web pages, empty bodies, {}               secret
//
// # What it does not check
//
// The token: give it to an [oidc.Verifier] or an introspect.Introspector, as the
// guard does, or use [Exchange.Verified]. It is unbound: a caller that knows the
// secret is let in.
type Exchange struct {
	issuer       *oidc.Issuer
	inside       *issuer.Issuer
	secretInBody bool
	form         url.Values // what every request says
	lifetime     time.Duration

	endpoint *issuer.Endpoint
	given    bool // the endpoint takes no metadata

	mac     func() hash.Hash  // keyed with a secret of this process; a func does not print
	request [sha256.Size]byte // a hash of issuer and form
	granted recall.Memory[*grant]
	refused recall.Refusals[Error]
	flights *recall.Flights[*grant]
	guesses *throttle // of secrets that are not known to be good
}

// grant is what a client id and secret have got. All but accepted is immutable.
type grant struct {
	token secret
	owner recall.Owner
	until time.Time // the token is used before
	good  time.Time // until when the secret is exempt from the throttle

	accepted atomic.Bool // the token was once found to be good
}

var errNoExchange = errors.New("exchange: this Exchange was not made by New")

// New returns an Exchange that requests tokens from i, which it borrows and the
// caller closes. The token endpoint comes from the issuer's metadata, or from
// [WithEndpoint].
//
// New reports every mistake at once. It starts nothing and touches no network.
func New(i *oidc.Issuer, opts ...Option) (*Exchange, error) {
	c := newConfig(opts)
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
	endpoint, err := inside.Endpoint("exchange", "token", c.endpoint, nil, func(m *issuer.Metadata) (string, string) {
		return m.TokenEndpoint, m.MTLS.TokenEndpoint
	})
	if err != nil {
		return nil, err
	}
	x := &Exchange{
		issuer:       i,
		inside:       inside,
		secretInBody: c.secretInBody,
		form:         c.form(),
		lifetime:     c.tokenLifetime,
		endpoint:     endpoint,
		given:        c.endpoint != "",
		granted:      recall.NewMemory[*grant](c.cacheSize),
		refused:      recall.NewRefusals[Error](c.cacheSize),
		flights:      recall.NewFlights[*grant]("exchange"),
		guesses:      newThrottle(),
	}
	macKey := make([]byte, sha256.Size)
	if _, err := rand.Read(macKey); err != nil {
		return nil, fmt.Errorf("exchange: no random key: %w", err)
	}
	x.mac = func() hash.Hash { return hmac.New(sha256.New, macKey) }
	x.request = hashRequest(i.URL(), x.form)
	return x, nil
}

func hashRequest(issuer string, form url.Values) (sum [sha256.Size]byte) {
	h := sha256.New()
	// Encode sorts by name and escapes: no two forms look the same.
	recall.HashStrings(h, "oidc client credentials 1", issuer, form.Encode())
	h.Sum(sum[:0])
	return sum
}

// Token returns an access token for the client id with this secret: the one that
// it got before, or a new one from the issuer. Both are as the caller sent
// them, after the form-decoding that RFC 6749, section 2.3.1 asks of Basic credentials.
// caller is the address that they came from, which wrong secrets are held against;
// the zero Addr is an address like any other.
//
// If the credentials are at fault, the error is a [Error]. If the
// issuer cannot be asked, does not grant what is configured, or has refused too
// many secrets lately, it is an error without a code, which may have a method
// RetryAfter() time.Duration. No error holds a secret or a token.
func (x *Exchange) Token(ctx context.Context, caller netip.Addr, id, secret string) (raw string, err error) {
	switch {
	case x == nil || x.endpoint == nil:
		return "", errNoExchange
	case malformedCredential(id) || malformedCredential(secret):
		return "", ErrMalformed
	}
	g, err := x.get(ctx, x.key(id, secret), caller, id, secret)
	if err != nil {
		return "", err
	}
	return g.token(), nil
}

// get returns the grant that is remembered, or a new one.
func (x *Exchange) get(ctx context.Context, key [sha256.Size]byte, caller netip.Addr, id, secret string) (*grant, error) {
	if g, err, known := x.remembered(key, time.Now()); known {
		return g, err
	}
	return x.find(ctx, key, caller, id, secret)
}

// Verified is [Exchange.Token] for a caller that has the token verified, by v. A token
// that v accepted before and does not accept any more, because it was withdrawn, is
// exchanged for a new one, once. One that v never accepted is kept as long as it
// lives: another one would be no better, and this verdict costs the issuer nothing.
//
// It is not the caller's fault if v does not accept the token, so the error then has
// no code. Other errors are those of Token and of v.
func (x *Exchange) Verified(ctx context.Context, caller netip.Addr, id, secret string, v interface {
	VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
}) (raw string, t *oidc.Token, err error) {
	switch {
	case x == nil || x.endpoint == nil:
		return "", nil, errNoExchange
	case malformedCredential(id) || malformedCredential(secret):
		return "", nil, ErrMalformed
	}
	key := x.key(id, secret)
	for {
		g, err := x.get(ctx, key, caller, id, secret)
		if err != nil {
			return "", nil, err
		}
		raw = g.token()
		t, err = v.VerifyToken(ctx, raw)
		switch {
		case err == nil:
			g.accepted.Store(true)
			return raw, t, nil
		case !isRefusal(err):
			return "", nil, err
		case !g.accepted.Load():
			return "", nil, x.endpoint.Outage(0, fmt.Errorf("the issuer's token is not accepted here: %w", err))
		}
		x.forget(key, g)
	}
}

// isRefusal reports whether a verifier says that the token is not good.
func isRefusal(err error) bool {
	var kind interface{ Code() string }
	return errors.As(err, &kind) && kind.Code() != ""
}

// find requests a token, unless such a request is under way.
func (x *Exchange) find(ctx context.Context, key [sha256.Size]byte, caller netip.Addr, id, secret string) (g *grant, err error) {
	tr, waited := newTrial(x.mac, caller, id), false
	for {
		good := x.knownGood(key, time.Now())
		if !good && !waited {
			if waited, err = x.standInLine(ctx, tr); err != nil {
				return nil, err
			}
		}
		q := recall.Question{Known: good, Lane: recall.LaneOfCaller(caller)}
		if good {
			q.Lane = recall.LaneOfClient(recall.OwnerOf(id, ""))
		}
		call := calls.Begin(ctx, calls.TokenEndpoint)
		g, err = x.flights.Do(ctx, key, q, func(ctx context.Context) (*grant, error) {
			return x.obtain(ctx, key, tr, waited, id, secret)
		})
		if err != errStandInLine {
			call.End(err != nil && err != error(ErrRefused))
			return g, err
		}
	}
}

// knownGood reports whether the issuer has accepted id and secret lately.
func (x *Exchange) knownGood(key [sha256.Size]byte, now time.Time) bool {
	g, ok := x.granted.Get(key)
	return ok && now.Before(g.good)
}

// errStandInLine is how a flight ends that took off before the line had formed.
var errStandInLine = errors.New("stand in line")

// standInLine waits until it is the turn of a secret that may be a guess, and
// reports whether there was a line. A caller that waits has no slot.
func (x *Exchange) standInLine(ctx context.Context, tr trial) (waited bool, err error) {
	wait, comeBack := x.guesses.enter(tr, time.Now())
	switch {
	case comeBack > 0:
		return false, x.tooMany(comeBack)
	case wait < 0:
		return false, nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return true, nil
	case <-ctx.Done():
		return false, fmt.Errorf("exchange: waiting to ask the issuer: %w", context.Cause(ctx))
	}
}

func (x *Exchange) tooMany(comeBack time.Duration) error {
	return x.endpoint.Outage(comeBack, errors.New("too many attempts for this client id were not accepted lately (see exchange.Exchange)"))
}

// Forget makes the next [Exchange.Token] with these credentials request a new token,
// if raw is the one that is remembered: for a token that is over although its time is
// not. It costs the issuer a request: do not call it for a token that was never good
// here. [Exchange.Verified] knows when.
func (x *Exchange) Forget(id, secret, raw string) {
	if x == nil || x.endpoint == nil {
		return
	}
	key := x.key(id, secret)
	if g, ok := x.granted.Get(key); ok && g.token() == raw {
		x.forget(key, g)
	}
}

func (x *Exchange) forget(key [sha256.Size]byte, g *grant) {
	if current, ok := x.granted.Get(key); ok && current == g {
		x.granted.Set(key, g.owner, g.good, &grant{token: hide(""), owner: g.owner, good: g.good})
	}
}

func malformedCredential(s string) bool {
	return s == "" || len(s) > maxCredential ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// key is what the token for these credentials is kept under.
func (x *Exchange) key(id, secret string) (sum [sha256.Size]byte) {
	mac := x.mac()
	mac.Write(x.request[:])
	recall.HashStrings(mac, id, secret)
	mac.Sum(sum[:0])
	return sum
}

func (x *Exchange) remembered(key [sha256.Size]byte, now time.Time) (g *grant, err error, known bool) {
	if g, ok := x.granted.Get(key); ok && now.Before(g.until) {
		return g, nil, true
	}
	if _, refused := x.refused.Find(key, now); refused {
		return nil, ErrRefused, true
	}
	return nil, nil, false
}

// obtain requests a token. It runs once at a time for each key.
func (x *Exchange) obtain(ctx context.Context, key [sha256.Size]byte, tr trial, waited bool, id, secret string) (*grant, error) {
	asked := time.Now()
	// The flight before may have landed after the caller had looked.
	if g, err, known := x.remembered(key, asked); known {
		return g, err
	}
	good := x.knownGood(key, asked)
	if !good {
		switch crowded, comeBack := x.guesses.take(tr, asked); {
		case comeBack > 0:
			return nil, x.tooMany(comeBack)
		case crowded && !waited:
			x.guesses.settle(tr, free)
			return nil, errStandInLine
		}
	}
	cost := guess // stays if a callback panics
	if !good {
		defer func() { x.guesses.settle(tr, cost) }()
	}
	g, cost, err := x.requestToken(ctx, id, secret, good, asked)
	switch {
	case err == error(ErrRefused):
		x.granted.Delete(key)
		x.refused.Add(key, ErrRefused, asked, refusedFor)
	case err == nil && ctx.Err() == nil:
		g.owner = recall.OwnerOf(id, "")
		x.granted.Set(key, g.owner, g.good, g)
	}
	return g, err
}

// requestToken makes one token request (RFC 6749, section 4.4.2), and says what it
// costs a secret that is not known. Only for one that is known is it repeated when a
// connection breaks: the issuer may have looked at it.
func (x *Exchange) requestToken(ctx context.Context, id, secret string, good bool, asked time.Time) (*grant, charge, error) {
	auth := clientauth.SecretBasic(id, secret)
	if x.secretInBody {
		auth = clientauth.SecretPost(id, secret)
	}
	form := make(url.Values, len(x.form)+2)
	for name, values := range x.form {
		form[name] = slices.Clone(values)
	}
	r, sent, err := x.endpoint.Post(ctx, auth, "application/json", form, good)
	switch {
	case err != nil && sent:
		return nil, outage, err
	case err != nil:
		return nil, unsent, err
	case r.Outage():
		return nil, outage, x.endpoint.Outage(r.RetryAfter, fmt.Errorf("status %d", r.Status))
	case r.Err != nil:
		return nil, guess, x.endpoint.Outage(0, r.Err)
	case r.Status != http.StatusOK:
		return nil, guess, x.refusal(r)
	}
	g, err := parseGrant(r.Body, asked, x.lifetime)
	switch {
	case err == nil:
		return g, free, nil
	case blamesClient(r.OAuthError()):
		return nil, guess, ErrRefused
	}
	return nil, guess, x.endpoint.Outage(0, err)
}

// blamesClient reports whether an error code is about the client id and secret.
// Keycloak says unauthorized_client of a wrong secret.
func blamesClient(code string) bool { return code == "invalid_client" || code == "unauthorized_client" }

// refusal tells whose fault an error reply is (RFC 6749, section 5.2): see
// [Exchange]. The caller can be blamed only for id and secret; the rest of the
// request is ours.
func (x *Exchange) refusal(r *issuer.Reply) error {
	code := r.OAuthError()
	ours := slices.Contains(tokenEndpointErrors[:], code)
	switch {
	case r.Status == http.StatusBadRequest && blamesClient(code):
		return ErrRefused
	case r.Status == http.StatusUnauthorized && !ours:
		return ErrRefused
	case ours:
		return x.endpoint.Outage(0, fmt.Errorf("status %d, %s: check the scopes and parameters that are requested", r.Status, code))
	}
	return x.endpoint.Outage(r.RetryAfter, fmt.Errorf("status %d", r.Status))
}

// Prefetch fetches the metadata, unless it is at hand: for the start of a service
// and for its readiness probe.
func (x *Exchange) Prefetch(ctx context.Context) error {
	switch {
	case x == nil || x.endpoint == nil:
		return errNoExchange
	case x.given:
		return nil
	}
	if _, err := x.inside.Metadata(ctx); err != nil {
		return x.endpoint.Outage(0, err)
	}
	return nil
}

// Close ends the questions that are under way, whose requests are answered with 503, and
// closes idle connections to the endpoint. The [oidc.Issuer] is its owner's to close.
// Close may be called more than once.
func (x *Exchange) Close() error {
	if x != nil && x.endpoint != nil {
		x.flights.End()
		x.endpoint.CloseIdleConnections()
	}
	return nil
}

// Issuer returns the Issuer that is asked, or nil for an Exchange that was not made
// by New.
func (x *Exchange) Issuer() *oidc.Issuer {
	if x == nil {
		return nil
	}
	return x.issuer
}

// String is "exchange.Exchange(" and the issuer identifier. An Exchange prints
// nothing else, whatever the verb.
func (x Exchange) String() string { return "exchange.Exchange(" + x.issuer.URL() + ")" }

// GoString is String.
func (x Exchange) GoString() string { return x.String() }

// LogValue is String.
func (x Exchange) LogValue() slog.Value { return slog.StringValue(x.String()) }
