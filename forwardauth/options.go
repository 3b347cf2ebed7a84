package forwardauth

import (
	"log/slog"
	"net/netip"
	"slices"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
)

// Option is a setting of [New]. Given twice, it is a mistake, unless its comment says
// otherwise.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	*options.Set
	proxies []*proxy
	sign    *Signer
	logger  *slog.Logger
}

// proxy is one kind of proxy in front.
type proxy struct {
	dialect Dialect
	peers   *peers.Set
}

// WithProxy trusts the peers with an address in one of the prefixes to ask about
// requests, in the dialect d. It may be given several times, for several kinds of
// proxies; the prefixes must not overlap, and must be narrow: a peer that can connect
// from a trusted address can have any request judged as if a client had sent it, and use
// up its proof.
func WithProxy(d Dialect, prefixes ...netip.Prefix) Option {
	prefixes = slices.Clone(prefixes)
	return optionFunc(func(c *config) {
		if len(prefixes) == 0 {
			c.Problem("WithProxy: no trusted prefix for %v", d)
		}
		c.add("WithProxy", d, peers.New(prefixes, false, func(problem string) {
			c.Problem("WithProxy: trusted prefix %s", problem)
		}))
	})
}

// TrustUnixSocket trusts every peer that reaches a unix socket to ask about requests, in
// the dialect d: the permissions of the socket's file decide which processes do.
func TrustUnixSocket(d Dialect) Option {
	return optionFunc(func(c *config) {
		if c.Once("TrustUnixSocket") {
			c.add("TrustUnixSocket", d, peers.New(nil, true, nil))
		}
	})
}

func (c *config) add(option string, d Dialect, from *peers.Set) {
	if _, ok := all[d]; !ok {
		c.Problem("%s: %v is not a Dialect of this package", option, d)
	}
	for _, other := range c.proxies {
		if overlap := from.Overlap(other.peers); overlap != "" {
			c.Problem("%s: %s, for %v and %v", option, overlap, other.dialect, d)
		}
	}
	c.proxies = append(c.proxies, &proxy{d, from})
}

// WithAssertion adds to each answer by which a request with a token may pass a signed
// assertion for one service, in the field X-Auth-Assertion. It takes what [NewSigner]
// returns.
func WithAssertion(s *Signer, err error) Option {
	return optionFunc(func(c *config) {
		if options.Part(c.Set, "WithAssertion", s, err) {
			c.sign = s
		}
	})
}

// WithLogger sets where the Handler reports subrequests that it cannot understand, from
// peers that it does not trust or without the fields of their dialect: at most one line
// per cause in ten seconds. Without it this is slog.Default(). What the Guard decides,
// the Guard reports itself.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) {
		if options.Value(c.Set, "WithLogger", l) {
			c.logger = l
		}
	})
}
