package dpopclient

import (
	"crypto"
	"errors"
	"fmt"
	"net/http"

	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of a [Transport]. Each may be given once, except the lists
// [WithOrigins] and [WithTokenEndpoint], which add up.
type Option interface{ apply(*config) }

type config struct {
	given       map[string]bool
	base        http.RoundTripper
	source      TokenSource
	algorithm   string
	origins     []string
	endpoints   []string
	serverClock bool
	loopback    bool
	problems    []error
}

type option func(*config)

func (o option) apply(c *config) { o(c) }

// single is an option that may be given once.
func single(name string, set func(*config)) Option {
	return option(func(c *config) {
		if c.given[name] {
			c.problem("%s is given twice", name)
		}
		c.given[name] = true
		set(c)
	})
}

func (c *config) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("dpopclient: "+format, args...))
}

// WithOrigins names the resource servers that get the access token: scheme, host
// and port as in "https://api.example". Nobody else gets it.
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
	return single("WithTokenSource", func(c *config) {
		if options.IsNil(source) {
			c.problem("WithTokenSource: the source is nil")
		}
		c.source = source
	})
}

// WithBase sends the signed requests with base, instead of [http.DefaultTransport].
func WithBase(base http.RoundTripper) Option {
	return single("WithBase", func(c *config) {
		if options.IsNil(base) {
			c.problem("WithBase: the RoundTripper is nil")
		}
		c.base = base
	})
}

// WithAlgorithm signs with the JWS algorithm called name, which must fit the key.
// Without it, it follows from the key: ES256, ES384 or ES512 by the curve, PS256
// for RSA, Ed25519. The others to choose from are the other PS and RS algorithms for
// RSA, and EdDSA, the older name of Ed25519.
func WithAlgorithm(name string) Option {
	return single("WithAlgorithm", func(c *config) {
		if name == "" {
			c.problem("WithAlgorithm: the name is empty")
		}
		c.algorithm = name
	})
}

// WithServerClock dates the proofs for each server by that server's clock, as the
// Date fields of its responses showed it last, for devices whose own clock is
// wrong by up to a day. A response can only correct the proofs after it.
func WithServerClock() Option {
	return single("WithServerClock", func(c *config) { c.serverClock = true })
}

// WithLoopbackHTTP permits plain http to localhost and loopback addresses, for
// development and tests. Any other host still needs https.
func WithLoopbackHTTP() Option {
	return single("WithLoopbackHTTP", func(c *config) { c.loopback = true })
}

// New returns a Transport that proves possession of the private key of signer,
// which may live in hardware or in a key management service: P-256, P-384, P-521,
// RSA of 2048 to 4096 bits, or Ed25519. signer must be safe for concurrent use, as those
// of the standard library are.
//
// At least one of [WithOrigins] and [WithTokenEndpoint] is needed. New reports
// every mistake at once, starts nothing, and touches neither the network nor the
// private key.
func New(signer crypto.Signer, opts ...Option) (*Transport, error) {
	c := &config{given: make(map[string]bool)}
	for _, o := range opts {
		if o == nil {
			c.problem("an Option is nil")
			continue
		}
		o.apply(c)
	}
	proofs, err := newSigner(signer, c.algorithm)
	if err != nil {
		c.problems = append(c.problems, err)
	}
	t := &Transport{
		base:         c.base,
		source:       c.source,
		signer:       proofs,
		serverClock:  c.serverClock,
		loopbackHTTP: c.loopback,
		resources:    c.resourcePeers(),
		endpoints:    c.endpointPeers(),
	}
	if len(c.origins) == 0 && len(c.endpoints) == 0 {
		c.problem("neither WithOrigins nor WithTokenEndpoint: no server would get a proof")
	}
	if len(c.origins) == 0 && c.source != nil {
		c.problem("WithTokenSource without WithOrigins: no server would get the token")
	}
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return t, nil
}

func (c *config) resourcePeers() map[string]*peer {
	peers := make(map[string]*peer, len(c.origins))
	for _, raw := range c.origins {
		origin, err := parseOrigin(raw, c.loopback)
		if err != nil {
			c.problems = append(c.problems, err)
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
		u, err := parseEndpoint("WithTokenEndpoint", raw, c.loopback)
		if err != nil {
			c.problems = append(c.problems, err)
			continue
		}
		origin := originOf(u.Scheme, u.Host)
		if byOrigin[origin] == nil {
			byOrigin[origin] = new(peer)
		}
		peers[origin+pathOf(u)] = byOrigin[origin]
	}
	return peers
}
