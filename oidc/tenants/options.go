package tenants

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/origins"
	"github.com/keybound-go/middleware/oidc"
)

const (
	defaultMaxTenants      = 1000
	maxMaxTenants          = 1_000_000
	defaultTenantCache     = 100_000
	maxTenantCache         = 10_000_000
	defaultRefusalLifetime = 10 * time.Second
	maxRefusalLifetime     = 5 * time.Minute
	maxPolicySkew          = 5 * time.Minute // the most that WithSkew takes

	maxIssuerSize = 512 // bytes of an iss that is routed
)

// Option is a setting of [New]. One given twice is a mistake.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

// config is what the options add up to, and every mistake in them.
type config struct {
	*options.Set
	policy          *oidc.Policy
	most, cacheSize int
	refusalLifetime time.Duration
}

func newConfig(opts []Option) *config {
	c := &config{
		Set:             options.For("tenants"),
		most:            defaultMaxTenants,
		cacheSize:       defaultTenantCache,
		refusalLifetime: defaultRefusalLifetime,
	}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	return c
}

func (c *config) setInt(name string, to *int, n, least, most int) {
	switch {
	case !c.Once(name):
	case n < least || n > most:
		c.Problem("%s: %d is not between %d and %d", name, n, least, most)
	default:
		*to = n
	}
}

// WithMaxTenants sets how many tenants that have had a good token may be live. The
// default is 1,000. An eighth as many, and at least 16, may be live without a verified
// token. A live tenant takes about 31 KiB, the keys included, and six goroutines that
// wait for the next refresh of its metadata and keys.
func WithMaxTenants(n int) Option {
	return option(func(c *config) { c.setInt("WithMaxTenants", &c.most, n, 1, maxMaxTenants) })
}

// WithCacheSize sets how many verified tokens are remembered, of all tenants
// together. The default is 100,000; 0 switches the memory off. An entry takes about 1 KiB
// plus the claim set.
func WithCacheSize(entries int) Option {
	return option(func(c *config) {
		c.setInt("WithCacheSize", &c.cacheSize, entries, 0, maxTenantCache)
	})
}

// WithRefusalLifetime sets how long Tenants remembers that an issuer is no tenant. The
// default is 10 seconds, the maximum 5 minutes; with 0 resolve is called each time.
func WithRefusalLifetime(d time.Duration) Option {
	return option(func(c *config) {
		issuer.SetDuration(c.Set, "WithRefusalLifetime", &c.refusalLifetime, d, 0, maxRefusalLifetime)
	})
}

// WithPolicy declares how strict the Verifiers of all tenants are. If resolve returns a
// laxer Verifier, the answer is 503: one with an algorithm that p does not name, with
// more skew, or with any audience where p has ChecksAudience. So it is for an issuer that
// p does not name, if p has Issuers, and for other audiences than those of p, if p has
// Audiences. The presets of package middleware ask for this Policy, and refuse Tenants
// without one. p must name its Algorithms, and cannot promise ChecksRevocation.
func WithPolicy(p oidc.Policy) Option {
	p = cloned(p)
	return option(func(c *config) {
		if !c.Once("WithPolicy") {
			return
		}
		if len(p.Algorithms) == 0 {
			c.Problem("WithPolicy: name the Algorithms")
		}
		for _, alg := range p.Algorithms {
			if !slices.Contains(jose.Algorithms(), alg) {
				c.Problem("WithPolicy: %q is not supported; one of %s", alg, strings.Join(jose.Algorithms(), " "))
			}
		}
		if p.Skew < 0 || p.Skew > maxPolicySkew {
			c.Problem("WithPolicy: a skew of %v is not between 0 and %v", p.Skew, maxPolicySkew)
		}
		if p.ChecksRevocation {
			c.Problem("WithPolicy: no Verifier asks its issuer about revocation")
		}
		c.policy = &p
	})
}

// RequireOrigins demands that every tenant has origins of its own ([oidc.WithOrigins]):
// if resolve returns a Verifier without any, the answer is 503. It is for services whose
// tenants have hosts of their own. Without it the tokens of a tenant that has no origins
// are good at the hosts of all other tenants.
func RequireOrigins() Option {
	return option(func(c *config) { c.Once("RequireOrigins") })
}

// admits reports in which way v is laxer than all tenants must be.
func (s *Tenants) admits(own oidc.Policy, v *issuer.Verifier) error {
	if v.Checks.MaxSize > maxRoutedSize {
		return fmt.Errorf("the Verifier takes tokens of %d bytes, and Tenants of %d at the most; see oidc.WithMaxTokenSize", v.Checks.MaxSize, maxRoutedSize)
	}
	if s.needOrigins && len(v.Origins) == 0 {
		return errors.New("the Verifier has no origins, and RequireOrigins is given; see oidc.WithOrigins")
	}
	if s.policy == nil {
		return nil
	}
	p := s.policy
	for _, alg := range own.Algorithms {
		if !slices.Contains(p.Algorithms, alg) {
			return fmt.Errorf("the Verifier accepts %s, which the policy of WithPolicy does not; see oidc.WithAlgorithms", alg)
		}
	}
	switch {
	case own.Skew > p.Skew:
		return fmt.Errorf("the Verifier has a skew of %v, and the policy of WithPolicy one of %v; see oidc.WithSkew", own.Skew, p.Skew)
	case p.ChecksAudience && !own.ChecksAudience:
		return errors.New("the Verifier accepts tokens for any audience, or for none, which the policy of WithPolicy does not")
	case len(p.Issuers) > 0 && !slices.Contains(p.Issuers, v.Issuer.URL):
		return errors.New("the Issuers of the policy of WithPolicy lack this one")
	case len(p.Audiences) > 0 && !sameElements(p.Audiences, own.Audiences):
		return fmt.Errorf("the Verifier accepts tokens for %q, and the policy of WithPolicy for %q; see oidc.WithAudiences", own.Audiences, p.Audiences)
	}
	return nil
}

// sameElements reports whether a and b hold the same strings, in any order.
func sameElements(a, b []string) bool {
	lacking := func(of []string) func(string) bool {
		return func(s string) bool { return !slices.Contains(of, s) }
	}
	return !slices.ContainsFunc(a, lacking(b)) && !slices.ContainsFunc(b, lacking(a))
}

// Policy returns what [WithPolicy] has declared. Without it, it promises nothing. The
// slices are the caller's.
func (s *Tenants) Policy() oidc.Policy {
	switch {
	case s == nil || s.resolve == nil:
		return oidc.Policy{}
	case s.policy == nil:
		return oidc.Policy{Skew: maxPolicySkew}
	}
	return cloned(*s.policy)
}

func cloned(p oidc.Policy) oidc.Policy {
	p.Algorithms, p.Issuers, p.Audiences = slices.Clone(p.Algorithms), slices.Clone(p.Issuers), slices.Clone(p.Audiences)
	return p
}

// isRoutable reports whether resolve may be asked about an iss: it is the one spelling of
// an https URL that issuers use (RFC 8414, section 2), of visible ASCII.
func isRoutable(iss []byte) bool {
	const scheme = "https://"
	if len(iss) <= len(scheme) || len(iss) > maxIssuerSize || string(iss[:len(scheme)]) != scheme {
		return false
	}
	for _, c := range iss {
		if c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}?#@", c) >= 0 {
			return false
		}
	}
	u, err := url.Parse(string(iss))
	if err != nil {
		return false
	}
	if normal, err := origins.Parse(scheme + u.Host); err != nil || normal != scheme+u.Host {
		return false
	}
	// Some servers take a backslash for a slash, and cut parameters off a segment.
	for segment := range strings.SplitSeq(strings.ReplaceAll(u.Path, `\`, "/"), "/") {
		if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
