package dpopclient

import (
	"crypto"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/origins"
)

const (
	// A silent HTTP/2 connection is asked for a sign of life, and given up.
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
)

// Option is a setting of a [Transport]. Each may be given once, except the lists
// [WithOrigins] and [WithTokenEndpoint], which add up.
type Option interface{ apply(*config) }

type config struct {
	*options.Set
	base      http.RoundTripper
	source    TokenSource
	algorithm string
	origins   []string
	endpoints []string
}

type option func(*config)

func (o option) apply(c *config) { o(c) }

// WithOrigins names the resource servers that get the access token: scheme, host
// and port as in "https://api.example". No other server gets it.
func WithOrigins(origins ...string) Option {
	return option(func(c *config) { c.origins = append(c.origins, origins...) })
}

// WithTokenEndpoint names URLs of authorization servers that take a proof without
// an access token: the token endpoint, and the pushed authorization request
// endpoint if it is to bind the code (RFC 9449, sections 5 and 10.1). The caller's
// client authentication in Authorization stays as it is. The query is no part of
// the comparison.
func WithTokenEndpoint(urls ...string) Option {
	return option(func(c *config) { c.endpoints = append(c.endpoints, urls...) })
}

// WithTokenSource supplies the access token for requests to resource servers that
// do not bring their own. It needs [WithOrigins].
func WithTokenSource(source TokenSource) Option {
	return option(func(c *config) {
		if options.Value(c.Set, "WithTokenSource", source) {
			c.source = source
		}
	})
}

// WithBase sends the signed requests with base. Without it they go by a copy of
// [http.DefaultTransport] that also finds out when an HTTP/2 connection has fallen
// silent.
//
// A base must not send a request twice by itself, as libraries for retries do: the
// proof in it is good once. Put such a library around the Transport.
// [http.Transport] may be a base; see the package documentation.
func WithBase(base http.RoundTripper) Option {
	return option(func(c *config) {
		if options.Value(c.Set, "WithBase", base) {
			c.base = base
		}
	})
}

// WithAlgorithm signs with the JWS algorithm called name, which must fit the key.
// Without it, it follows from the key: ES256, ES384 or ES512 by the curve, PS256
// for RSA, Ed25519. The others to choose from are the other PS and RS algorithms for
// RSA, and EdDSA, the older name of Ed25519.
func WithAlgorithm(name string) Option {
	return option(func(c *config) {
		if !c.Once("WithAlgorithm") {
			return
		}
		if name == "" {
			c.Problem("WithAlgorithm: the name is empty")
		}
		c.algorithm = name
	})
}

// FollowServerClock dates the proofs for each server by that server's clock, as the
// Date fields of its responses showed it last, for devices whose own clock is
// wrong by up to a day. A response can only correct the proofs after it.
func FollowServerClock() Option {
	return option(func(c *config) { c.Once("FollowServerClock") })
}

// DangerouslyAllowLoopbackHTTP permits plain http to localhost and loopback
// addresses, for development and tests. Any other host still needs https.
func DangerouslyAllowLoopbackHTTP() Option {
	return option(func(c *config) { c.Once("DangerouslyAllowLoopbackHTTP") })
}

func (c *config) loopback() bool { return c.Given("DangerouslyAllowLoopbackHTTP") }

// New returns a Transport that proves possession of the private key of signer,
// which may live in hardware or in a key management service: P-256, P-384, P-521,
// RSA of 2048 to 4096 bits, or Ed25519. signer must be safe for concurrent use, as those
// of the standard library are.
//
// At least one of [WithOrigins] and [WithTokenEndpoint] is needed. New reports
// every mistake at once, starts nothing, and touches neither the network nor the
// private key.
func New(signer crypto.Signer, opts ...Option) (*Transport, error) {
	c := &config{Set: options.For("dpopclient"), base: defaultBase()}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	proofs, err := newSigner(signer, c.algorithm)
	c.Join(err)
	t := &Transport{
		base:         c.base,
		signer:       proofs,
		serverClock:  c.Given("FollowServerClock"),
		loopbackHTTP: c.loopback(),
		resources:    c.resourcePeers(),
		endpoints:    c.endpointPeers(),
	}
	if c.source != nil {
		t.token = c.source.Token
	}
	if len(c.origins) == 0 && len(c.endpoints) == 0 {
		c.Problem("neither WithOrigins nor WithTokenEndpoint: no server would get a proof")
	}
	if len(c.origins) == 0 && c.source != nil {
		c.Problem("WithTokenSource without WithOrigins: no server would get the token")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// defaultBase is [http.DefaultTransport], unless the program has put something else
// there, with pings: an HTTP/2 connection that a firewall has forgotten would
// otherwise take each request with it for minutes.
func defaultBase() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	base = base.Clone()
	if base.HTTP2 == nil {
		base.HTTP2 = new(http.HTTP2Config)
	}
	base.HTTP2.SendPingTimeout, base.HTTP2.PingTimeout = pingAfter, pingTimeout
	return base
}

func (c *config) resourcePeers() map[string]*peer {
	peers := make(map[string]*peer, len(c.origins))
	for _, raw := range c.origins {
		origin, err := parseOrigin(raw, c.loopback())
		if err != nil {
			c.Join(err)
			continue
		}
		peers[origin] = new(peer)
	}
	return peers
}

// endpointPeers keys the peers by URL; endpoints of one origin share one, since
// nonces are kept per server.
func (c *config) endpointPeers() map[string]*peer {
	peers := make(map[string]*peer, len(c.endpoints))
	byOrigin := make(map[string]*peer, len(c.endpoints))
	for _, raw := range c.endpoints {
		u, err := parseEndpoint("WithTokenEndpoint", raw, c.loopback())
		if err != nil {
			c.Join(err)
			continue
		}
		origin := origins.Of(u.Scheme, u.Host)
		if byOrigin[origin] == nil {
			byOrigin[origin] = new(peer)
		}
		peers[origin+pathOf(u)] = byOrigin[origin]
	}
	return peers
}
