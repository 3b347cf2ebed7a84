package forwardauth

import (
	"context"
	"crypto"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/identity"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/internal/strictjson"
	"github.com/keybound-go/middleware/oidc"
)

// Receiver reads the assertions that a [Handler] has signed for one service. It is safe
// for concurrent use. The zero Receiver accepts none.
//
// It stands outside of the service's Guard, and is the verifier of its tokens:
//
//	receiver, err := forwardauth.NewReceiver("orders", publicKey, forwardauth.WithTrustedPeers(proxies))
//	guard, err := middleware.New(middleware.WithTokens(receiver, err), middleware.AllowUnbound())
//	http.Handle("/orders", receiver.Wrap(guard.Require(middleware.Scopes("orders:read")).Wrap(orders)))
//
// That Guard asks for no second use of the proof. Rules on bindings belong to the Guard
// behind the Handler, which has seen the proof or the certificate.
type Receiver struct {
	service string
	keys    map[string]crypto.PublicKey // by thumbprint
	peers   *peers.Set
}

// ReceiverOption is a setting of [NewReceiver].
type ReceiverOption interface{ applyReceiver(*receiverConfig) }

type receiverOption func(*receiverConfig)

func (f receiverOption) applyReceiver(c *receiverConfig) { f(c) }

type receiverConfig struct {
	*options.Set
	keys     []crypto.PublicKey
	prefixes []netip.Prefix
	unix     bool
}

// WithTrustedPeers names the addresses of the proxies, from which alone an assertion is
// read. It may be given several times.
func WithTrustedPeers(prefixes ...netip.Prefix) ReceiverOption {
	prefixes = slices.Clone(prefixes)
	return receiverOption(func(c *receiverConfig) {
		if len(prefixes) == 0 {
			c.Problem("WithTrustedPeers: no prefix")
		}
		c.prefixes = append(c.prefixes, prefixes...)
	})
}

// TrustPeersOnUnixSocket reads assertions from every peer that reaches this service
// through a unix socket.
func TrustPeersOnUnixSocket() ReceiverOption {
	return receiverOption(func(c *receiverConfig) {
		c.unix = c.Once("TrustPeersOnUnixSocket") || c.unix
	})
}

// WithPreviousKeys also accepts assertions under these public keys, while the Handlers
// change theirs: first every Receiver gets the next key here, then the Handlers use it.
func WithPreviousKeys(keys ...crypto.PublicKey) ReceiverOption {
	keys = slices.Clone(keys)
	return receiverOption(func(c *receiverConfig) {
		if c.Once("WithPreviousKeys") {
			c.keys = append(c.keys, keys...)
		}
	})
}

// NewReceiver returns a Receiver for the service of that name, which accepts what was
// signed with the private half of key, or every mistake joined. [WithTrustedPeers] or
// [TrustPeersOnUnixSocket] is required.
func NewReceiver(service string, key crypto.PublicKey, opts ...ReceiverOption) (*Receiver, error) {
	c := &receiverConfig{Set: options.For("forwardauth"), keys: []crypto.PublicKey{key}}
	if service == "" {
		c.Problem("NewReceiver: the service has no name")
	}
	options.Each(c.Set, opts, func(o ReceiverOption) { o.applyReceiver(c) })
	r := &Receiver{service: service, keys: make(map[string]crypto.PublicKey)}
	for i, key := range c.keys {
		thumbprint, err := jose.Thumbprint(key)
		if err != nil {
			c.Problem("NewReceiver: key %d: %v", i+1, err)
		}
		r.keys[thumbprint] = key
	}
	r.peers = peers.New(c.prefixes, c.unix, func(problem string) { c.Problem("WithTrustedPeers: %s", problem) })
	if len(c.prefixes) == 0 && !c.unix {
		c.Problem("NewReceiver: no peer is trusted: add WithTrustedPeers or TrustPeersOnUnixSocket")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// received is what a request's assertion was found to be.
type received struct {
	raw   string
	token *oidc.Token
	err   error // nil if token is there
}

type receivedKey struct{}

// Wrap returns a handler that reads the assertion of each request, and passes the request
// to next with the assertion as its bearer token, which [Receiver.VerifyToken] knows in
// the context of that request and in no other: next must not lend it to other requests.
// A request without an assertion from a trusted peer is passed on with the credentials
// that it has. Either way it loses the fields of the package comment. Wrap panics if
// next is nil.
func (r *Receiver) Wrap(next http.Handler) http.Handler {
	if next == nil {
		panic("forwardauth: Wrap: nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		next.ServeHTTP(w, r.receive(q))
	})
}

func (r *Receiver) receive(q *http.Request) *http.Request {
	raw, n := headers.Single(q.Header, identity.AssertionField)
	h := maps.Clone(q.Header)
	for name := range identity.None.Fields() {
		delete(h, name)
	}
	var got received
	if n > 0 && r.peers.Trusts(peers.Of(q)) {
		if got = (received{raw: raw}); n > 1 {
			got.raw, got.err = "", oidc.ErrMalformed
		} else if raw != "" {
			got.token, got.err = r.read(raw, q)
		}
	}
	if got.raw != "" {
		h[headers.Authorization] = []string{"Bearer " + got.raw}
		delete(h, headers.DPoP)
	}
	passed := q.WithContext(context.WithValue(q.Context(), receivedKey{}, got))
	passed.Header = h
	return passed
}

// VerifyToken returns what the token said that the assertion raw stands for, if raw is
// the assertion of the request that ctx belongs to. Its errors are [oidc.TokenError]
// kinds. The Token is unbound: see [Receiver].
func (r *Receiver) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	got, _ := ctx.Value(receivedKey{}).(received)
	switch {
	case got.raw == "" || got.raw != raw:
		return nil, oidc.ErrType // An access token, say: the client's own, past the proxy.
	case got.err != nil:
		return nil, got.err
	}
	return got.token, nil
}

// The assertion is a field of the request.
const (
	maxAssertion      = 16 << 10
	maxAssertionDepth = 4
)

// maxSkew is by how much the clock of a Handler may be ahead.
const maxSkew = 5 * time.Second

// read verifies the assertion of q.
func (r *Receiver) read(raw string, q *http.Request) (*oidc.Token, error) {
	m, err := jose.Parse(raw, maxAssertion)
	if err != nil {
		return nil, oidc.ErrMalformed
	}
	if !jose.IsType(m.Header.Type, identity.AssertionType) {
		return nil, oidc.ErrType
	}
	key, ok := r.keys[m.Header.KeyID]
	if !ok {
		return nil, oidc.ErrNoKey
	}
	if err := m.Verify(key); err != nil {
		return nil, oidc.ErrSignature
	}
	said, err := parse(m.Payload)
	if err != nil {
		return nil, oidc.ErrClaims
	}
	if err := r.check(said, q, time.Now()); err != nil {
		return nil, err
	}
	return oidc.TokenFromClaims(said.token)
}

// statement is an assertion as it was received.
type statement struct {
	audience, method, host, target string
	issued, expiry                 strictjson.NumericDate
	token                          []byte
}

func parse(payload []byte) (s statement, err error) {
	var o strictjson.Object
	for o.Start(payload, maxAssertionDepth); o.Next(); {
		switch string(o.Name()) {
		case "aud":
			o.Text(&s.audience)
		case "htm":
			o.Text(&s.method)
		case "host":
			o.Text(&s.host)
		case "target":
			o.Text(&s.target)
		case "iat":
			o.Date(&s.issued)
		case "exp":
			o.Date(&s.expiry)
		case "token":
			s.token = o.Value()
		}
	}
	if o.Err() == nil && (len(s.token) == 0 || s.token[0] != '{' || !s.issued.Present() || !s.expiry.Present()) {
		return s, errors.New("incomplete")
	}
	return s, o.Err()
}

// check holds the statement against the request that it came with.
func (r *Receiver) check(s statement, q *http.Request, now time.Time) error {
	issued, expiry := s.issued.Time(), s.expiry.Time()
	switch {
	case s.audience != r.service:
		return oidc.ErrAudience
	case s.method != q.Method, s.target != q.RequestURI, s.target == "", s.host != strings.ToLower(q.Host):
		return oidc.ErrAudience // It was made for another request.
	case issued.After(now.Add(maxSkew)):
		return oidc.ErrIssuedInFuture
	case !now.Before(expiry), expiry.Sub(issued) > identity.AssertionLifetime:
		return oidc.ErrExpired
	}
	return nil
}
