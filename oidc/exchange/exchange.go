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
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/internal/strictjson"
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
	// earlyExpiry is how long before its end a token is not used any more, so that it survives the way.
	earlyExpiry = 5 * time.Second
	// unstatedExpiry is the lifetime of a token whose issuer states none (RFC 6749, section 5.1).
	unstatedExpiry = time.Minute
	// refusedFor is how long a refused secret is remembered.
	refusedFor = 30 * time.Second
	// trustedFor is how long a secret that was good once is exempt from the throttle.
	trustedFor = 24 * time.Hour
)

// Exchange turns the client id and secret of a caller into an access
// token, by the client credentials grant (RFC 6749, section 4.4): for callers
// that can send Basic credentials and nothing else. Make one with
// [New]. Its methods may be called concurrently. The zero
// Exchange, and a nil one, gives no tokens.
//
// Tokens are kept in memory, a bounded number of them, and each until 5
// seconds before its expires_in or for [WithTokenLifetime]. What they are kept
// under is a MAC, with a key of this process, over the issuer, the request, the
// client id and the secret: with a wrong secret there is nothing to find, and
// the memory cannot be searched for guesses.
//
// # Who guesses
//
// A secret that was good within the last day is not slowed down by what others
// try; it takes nothing away from others either, having questions under way of
// its own. Of all others, those that are refused are limited, so that nobody guesses
// secrets at the issuer through this service, and by caller, so that who guesses
// gets in the way of nobody else. A caller is an address ([Exchange.Token]), or the first
// 48 bits of one of IPv6.
//
//   - A refused secret is remembered for 30 seconds.
//   - For one client id, a caller can have five secrets refused and one more every ten seconds; all
//     callers together 20, and one more every second. Beyond that the answer is 503.
//   - For whatever client ids, a caller can have a hundred secrets refused, and ten more every second;
//     all callers together a thousand, and a hundred more every second. Beyond that who is over
//     waits in line for up to five seconds: the issuer gets 20 in a second.
//
// So there remains: who has ten addresses, or the one that the client seems to
// have too, can lock out a client that has not been here within the last day (or
// since this process started), and needs to know its id. Where all requests come
// through one proxy, they have one address unless the guard is told
// better, and all the clients that nobody knows yet wait in line with who guesses.
//
// # What it does not check
//
// The token: give it to a [Verifier] or an [Introspector], as the guard does. It
// is bound to nobody, so whoever knows the secret is let in.
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

// grant is what a client id and secret have got. It is immutable.
type grant struct {
	token secret
	until time.Time // the token is used before
	good  time.Time // until when the secret is exempt from the throttle
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
	key := x.key(id, secret)
	g, err, known := x.remembered(key, time.Now())
	if !known {
		g, err = x.find(ctx, key, caller, id, secret)
	}
	if err != nil {
		return "", err
	}
	return g.token(), nil
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
		g, err = x.flights.Do(ctx, key, good, func(ctx context.Context) (*grant, error) {
			return x.obtain(ctx, key, tr, waited, id, secret)
		})
		if err != errStandInLine {
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
// reports whether there was a line. Nobody who waits has a slot.
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
	return x.endpoint.Outage(comeBack, errors.New("too many secrets were refused lately"))
}

// Forget makes the next [Exchange.Token] with these credentials request
// a new token, if raw is the one that is remembered: for a token that was
// found not to be good although its time is not over.
func (x *Exchange) Forget(id, secret, raw string) {
	if x == nil || x.endpoint == nil {
		return
	}
	key := x.key(id, secret)
	if g, ok := x.granted.Get(key); ok && g.token() == raw {
		x.granted.Set(key, &grant{hide(""), time.Time{}, g.good})
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
	guess := !x.knownGood(key, asked)
	if guess {
		switch crowded, comeBack := x.guesses.take(tr, asked); {
		case comeBack > 0:
			return nil, x.tooMany(comeBack)
		case crowded && !waited:
			x.guesses.giveBack(tr)
			return nil, errStandInLine
		}
	}
	g, err := x.requestToken(ctx, id, secret, asked)
	refused := err == error(ErrRefused)
	if guess && !refused {
		x.guesses.giveBack(tr)
	}
	switch {
	case refused:
		x.guesses.refused(tr, time.Now())
		x.granted.Delete(key)
		x.refused.Add(key, ErrRefused, asked, refusedFor)
	case err == nil:
		x.granted.Set(key, g)
	}
	return g, err
}

// requestToken makes one token request (RFC 6749, section 4.4.2).
func (x *Exchange) requestToken(ctx context.Context, id, secret string, asked time.Time) (*grant, error) {
	auth := clientauth.SecretBasic(id, secret)
	if x.secretInBody {
		auth = clientauth.SecretPost(id, secret)
	}
	form := make(url.Values, len(x.form)+2)
	for name, values := range x.form {
		form[name] = slices.Clone(values)
	}
	r, err := x.endpoint.Post(ctx, auth, "application/json", form)
	if err != nil {
		return nil, err
	}
	if r.Status != http.StatusOK {
		return nil, x.refusal(r)
	}
	g, err := parseGrant(r.Body, asked, x.lifetime)
	if err != nil {
		return nil, x.endpoint.Outage(0, err)
	}
	return g, nil
}

// refusal tells whose fault an error answer is (RFC 6749, section 5.2). The
// caller can be blamed only for id and secret; the rest of the request is ours.
func (x *Exchange) refusal(r *issuer.Reply) error {
	if r.Status != http.StatusBadRequest && r.Status != http.StatusUnauthorized {
		return x.endpoint.Outage(r.RetryAfter, fmt.Errorf("status %d", r.Status))
	}
	var said struct{ Error string }
	var o strictjson.Object
	for o.StartDocument(strictjson.WithoutBOM(r.Body), maxDepth); o.Next(); {
		if string(o.Name()) == "error" {
			o.Text(&said.Error)
		}
	}
	err := o.Err()
	switch {
	case said.Error == "invalid_client", said.Error == "unauthorized_client": // Keycloak says the latter of a wrong secret.
		return ErrRefused
	case r.Status == http.StatusUnauthorized && (err != nil || said.Error == ""): // without a reason, it can be but this one
		return ErrRefused
	case !slices.Contains(tokenEndpointErrors[:], said.Error):
		return x.endpoint.Outage(r.RetryAfter, fmt.Errorf("status %d", r.Status))
	}
	return x.endpoint.Outage(0, fmt.Errorf("status %d, %s: check the scopes and parameters that are requested", r.Status, said.Error))
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

// Close closes idle connections to the endpoint. The [oidc.Issuer] is its owner's
// to close. Close may be called more than once.
func (x *Exchange) Close() error {
	if x != nil && x.endpoint != nil {
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
