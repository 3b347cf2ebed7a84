package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/strictjson"
)

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

// CredentialsError says why a caller's client id and secret do not get a token.
// It is a small integer, comparable with ==, and costs nothing to return. The
// zero CredentialsError is not an error kind.
type CredentialsError uint8

const (
	_ CredentialsError = iota
	// ErrClientRefused: the issuer does not accept the client id with this secret, or not for this grant.
	ErrClientRefused
	// ErrCredentials: the client id or the secret is empty, too long, or has control characters.
	ErrCredentials

	credentialsErrors
)

// Error is "oidc: " and the description.
func (e CredentialsError) Error() string { return "oidc: " + e.Description() }

// Code is the error code of RFC 6749, section 5.2: "invalid_client", or "" for a value that is not a kind.
func (e CredentialsError) Code() string {
	if e == 0 || e >= credentialsErrors {
		return ""
	}
	return "invalid_client"
}

// Description is a fixed text, safe for error_description: it holds nothing of the credentials.
func (e CredentialsError) Description() string {
	switch e {
	case ErrClientRefused:
		return "The client credentials are not accepted"
	case ErrCredentials:
		return "The client credentials are malformed"
	default:
		return "unknown error"
	}
}

// Hint names, for the operator, the setting that would have helped, or is "".
func (e CredentialsError) Hint() string {
	if e == ErrClientRefused {
		return "the issuer must allow the client the client_credentials grant; oidc.WithSecretInBody if it does not know client_secret_basic"
	}
	return ""
}

// ClientCredentials turns the client id and secret of a caller into an access
// token, by the client credentials grant (RFC 6749, section 4.4): for callers
// that can send Basic credentials and nothing else. Make one with
// [NewClientCredentials]. Its methods may be called concurrently. The zero
// ClientCredentials, and a nil one, gives no tokens.
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
// gets in the way of nobody else. A caller is an address ([ClientCredentials.TokenFor]), or the first
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
type ClientCredentials struct {
	issuer       string
	secretInBody bool
	form         url.Values // what every request says
	lifetime     time.Duration

	endpoint *endpoint
	provider *provider // nil if the endpoint is given

	macKey  [sha256.Size]byte
	request [sha256.Size]byte // a hash of issuer and form
	granted memory[*grant]
	refused refusals
	flights *flights[*grant]
	guesses *throttle // of secrets that are not known to be good
}

// grant is what a client id and secret have got. It is immutable.
type grant struct {
	token secret
	until time.Time // the token is used before
	good  time.Time // until when the secret is exempt from the throttle
}

var errNoCredentials = errors.New("oidc: this ClientCredentials was not made by NewClientCredentials")

// NewClientCredentials returns a ClientCredentials that requests tokens from
// issuer, which is the issuer identifier, exactly as its discovery document has
// it. The token endpoint comes from there, or from [WithTokenEndpoint].
//
// NewClientCredentials reports every mistake at once. It starts nothing and
// touches no network.
func NewClientCredentials(issuer string, opts ...Option) (*ClientCredentials, error) {
	c := newClientConfig(forClientCredentials, issuer, opts)
	form := c.parameters
	form.Set("grant_type", "client_credentials")
	if len(c.scopes) > 0 {
		form.Set("scope", strings.Join(c.scopes, " "))
	}
	cc := &ClientCredentials{
		issuer:       issuer,
		secretInBody: c.secretInBody,
		form:         form,
		lifetime:     c.tokenLifetime,
		granted:      newMemory[*grant](c.cacheSize),
		refused:      newRefusals(c.cacheSize),
		flights:      newFlights[*grant](),
		guesses:      newThrottle(),
	}
	if c.err() == nil {
		if err := cc.connect(c); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if _, err := rand.Read(cc.macKey[:]); err != nil {
		return nil, fmt.Errorf("oidc: no random key: %w", err)
	}
	cc.request = hashRequest(issuer, form)
	return cc, nil
}

func (c *ClientCredentials) connect(cfg *clientConfig) (err error) {
	if cfg.endpoint == "" {
		if c.provider, err = newProvider(cfg.issuer, cfg.provider); err != nil {
			return err
		}
	}
	c.endpoint, err = newEndpoint(cfg, "token", c.provider, nil, func(m *metadata) (string, string) {
		return m.TokenEndpoint, m.MTLS.TokenEndpoint
	})
	return err
}

func hashRequest(issuer string, form url.Values) (sum [sha256.Size]byte) {
	h := sha256.New()
	// Encode sorts by name and escapes: no two forms look the same.
	hashStrings(h, "oidc client credentials 1", issuer, form.Encode())
	h.Sum(sum[:0])
	return sum
}

// Token is [ClientCredentials.TokenFor] for a caller whose address is not known:
// all of these count as one.
func (c *ClientCredentials) Token(ctx context.Context, id, secret string) (raw string, err error) {
	return c.TokenFor(ctx, netip.Addr{}, id, secret)
}

// TokenFor returns an access token for the client id with this secret: the one that
// it got before, or a new one from the issuer. Both are as the caller sent
// them, after the form-decoding that RFC 6749, section 2.3.1 asks of Basic credentials.
// caller is the address of who sent them, which wrong secrets are held against; the
// zero Addr is an address like any other.
//
// If the credentials are at fault, the error is a [CredentialsError]. If the
// issuer cannot be asked, does not grant what is configured, or has refused too
// many secrets lately, it is an error without a code, which may have a method
// RetryAfter() time.Duration. No error holds a secret or a token.
func (c *ClientCredentials) TokenFor(ctx context.Context, caller netip.Addr, id, secret string) (raw string, err error) {
	switch {
	case c == nil || c.endpoint == nil:
		return "", errNoCredentials
	case malformedCredential(id) || malformedCredential(secret):
		return "", ErrCredentials
	}
	key := c.key(id, secret)
	g, err, known := c.remembered(key, time.Now())
	if !known {
		g, err = c.find(ctx, key, caller, id, secret)
	}
	if err != nil {
		return "", err
	}
	return g.token(), nil
}

// find requests a token, unless somebody else is doing so.
func (c *ClientCredentials) find(ctx context.Context, key [sha256.Size]byte, caller netip.Addr, id, secret string) (g *grant, err error) {
	tr, waited := newTrial(&c.macKey, caller, id), false
	for {
		good := c.knownGood(key, time.Now())
		if !good && !waited {
			if waited, err = c.standInLine(ctx, tr); err != nil {
				return nil, err
			}
		}
		g, err = c.flights.do(ctx, key, good, func(ctx context.Context) (*grant, error) {
			return c.obtain(ctx, key, tr, waited, id, secret)
		})
		if err != errStandInLine {
			return g, err
		}
	}
}

// knownGood reports whether the issuer has accepted id and secret lately.
func (c *ClientCredentials) knownGood(key [sha256.Size]byte, now time.Time) bool {
	g, ok := c.granted.get(key)
	return ok && now.Before(g.good)
}

// errStandInLine is how a flight ends that took off before the line had formed.
var errStandInLine = errors.New("stand in line")

// standInLine waits until it is the turn of a secret that may be a guess, and
// reports whether there was a line. Nobody who waits has a slot.
func (c *ClientCredentials) standInLine(ctx context.Context, tr trial) (waited bool, err error) {
	wait, comeBack := c.guesses.enter(tr, time.Now())
	switch {
	case comeBack > 0:
		return false, c.tooMany(comeBack)
	case wait < 0:
		return false, nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return true, nil
	case <-ctx.Done():
		return false, fmt.Errorf("oidc: waiting to ask the issuer: %w", context.Cause(ctx))
	}
}

func (c *ClientCredentials) tooMany(comeBack time.Duration) error {
	return c.endpoint.outage(comeBack, errors.New("too many secrets were refused lately"))
}

// Forget makes the next [ClientCredentials.Token] with these credentials request
// a new token, if raw is the one that is remembered: for a token that was
// found not to be good although its time is not over.
func (c *ClientCredentials) Forget(id, secret, raw string) {
	if c == nil || c.endpoint == nil {
		return
	}
	key := c.key(id, secret)
	if g, ok := c.granted.get(key); ok && g.token() == raw {
		c.granted.set(key, &grant{hide(""), time.Time{}, g.good})
	}
}

func malformedCredential(s string) bool {
	return s == "" || len(s) > maxCredential ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// key is what the token for these credentials is kept under.
func (c *ClientCredentials) key(id, secret string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.macKey[:])
	mac.Write(c.request[:])
	hashStrings(mac, id, secret)
	mac.Sum(sum[:0])
	return sum
}

func (c *ClientCredentials) remembered(key [sha256.Size]byte, now time.Time) (g *grant, err error, known bool) {
	if g, ok := c.granted.get(key); ok && now.Before(g.until) {
		return g, nil, true
	}
	if _, refused := c.refused.find(key, now); refused {
		return nil, ErrClientRefused, true
	}
	return nil, nil, false
}

// obtain requests a token. It runs once at a time for each key.
func (c *ClientCredentials) obtain(ctx context.Context, key [sha256.Size]byte, tr trial, waited bool, id, secret string) (*grant, error) {
	asked := time.Now()
	// The flight before may have landed after the caller had looked.
	if g, err, known := c.remembered(key, asked); known {
		return g, err
	}
	guess := !c.knownGood(key, asked)
	if guess {
		switch crowded, comeBack := c.guesses.take(tr, asked); {
		case comeBack > 0:
			return nil, c.tooMany(comeBack)
		case crowded && !waited:
			c.guesses.giveBack(tr)
			return nil, errStandInLine
		}
	}
	g, err := c.requestToken(ctx, id, secret, asked)
	refused := err == error(ErrClientRefused)
	if guess && !refused {
		c.guesses.giveBack(tr)
	}
	switch {
	case refused:
		c.guesses.refused(tr, time.Now())
		c.granted.delete(key)
		c.refused.add(key, 0, asked, refusedFor)
	case err == nil:
		c.granted.set(key, g)
	}
	return g, err
}

// requestToken makes one token request (RFC 6749, section 4.4.2).
func (c *ClientCredentials) requestToken(ctx context.Context, id, secret string, asked time.Time) (*grant, error) {
	auth := ClientSecretBasic(id, secret)
	if c.secretInBody {
		auth = ClientSecretPost(id, secret)
	}
	form := make(url.Values, len(c.form)+2)
	for name, values := range c.form {
		form[name] = slices.Clone(values)
	}
	r, err := c.endpoint.post(ctx, auth, "application/json", form)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, c.refusal(r)
	}
	g, err := parseGrant(r.body, asked, c.lifetime)
	if err != nil {
		return nil, c.endpoint.outage(0, err)
	}
	return g, nil
}

// refusal tells whose fault an error answer is (RFC 6749, section 5.2). The
// caller can be blamed only for id and secret; the rest of the request is ours.
func (c *ClientCredentials) refusal(r *reply) error {
	if r.status != http.StatusBadRequest && r.status != http.StatusUnauthorized {
		return c.endpoint.outage(r.retryAfter, fmt.Errorf("status %d", r.status))
	}
	var said struct{ Error string }
	var o strictjson.Object
	for o.StartDocument(strictjson.WithoutBOM(r.body), maxTokenDepth); o.Next(); {
		if string(o.Name()) == "error" {
			o.Text(&said.Error)
		}
	}
	err := o.Err()
	switch {
	case said.Error == "invalid_client", said.Error == "unauthorized_client": // Keycloak says the latter of a wrong secret.
		return ErrClientRefused
	case r.status == http.StatusUnauthorized && (err != nil || said.Error == ""): // without a reason, it can be but this one
		return ErrClientRefused
	case !slices.Contains(tokenEndpointErrors[:], said.Error):
		return c.endpoint.outage(r.retryAfter, fmt.Errorf("status %d", r.status))
	}
	return c.endpoint.outage(0, fmt.Errorf("status %d, %s: check the scopes and parameters that are requested", r.status, said.Error))
}

// Prefetch fetches the discovery document, unless it is there already: for the start of a service and for its
// readiness probe.
func (c *ClientCredentials) Prefetch(ctx context.Context) error {
	switch {
	case c == nil || c.endpoint == nil:
		return errNoCredentials
	case c.provider == nil:
		return nil
	}
	if err := c.provider.doc.Prefetch(ctx); err != nil {
		return c.endpoint.outage(0, err)
	}
	return nil
}

// Close ends the background work: refreshing the discovery document. It may be called more than once.
func (c *ClientCredentials) Close() error {
	if c == nil || c.endpoint == nil {
		return nil
	}
	c.endpoint.client.CloseIdleConnections()
	if c.provider == nil {
		return nil
	}
	return c.provider.doc.Close()
}
