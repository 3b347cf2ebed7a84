package oidc

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

// TenantOption is a setting of [NewTenants]. One given twice is a mistake.
type TenantOption interface{ applyTenants(*tenantConfig) }

type tenantOption func(*tenantConfig)

func (o tenantOption) applyTenants(c *tenantConfig) { o(c) }

// tenantConfig is what the options add up to, and every mistake in them.
type tenantConfig struct {
	*options.Set
	policy          *Policy
	most, cacheSize int
	refusalLifetime time.Duration
}

func newTenantConfig(opts []TenantOption) *tenantConfig {
	c := &tenantConfig{
		Set:             options.For("oidc"),
		most:            defaultMaxTenants,
		cacheSize:       defaultTenantCache,
		refusalLifetime: defaultRefusalLifetime,
	}
	options.Each(c.Set, opts, func(o TenantOption) { o.applyTenants(c) })
	return c
}

func (c *tenantConfig) setInt(name string, to *int, n, least, most int) {
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
func WithMaxTenants(n int) TenantOption {
	return tenantOption(func(c *tenantConfig) { c.setInt("WithMaxTenants", &c.most, n, 1, maxMaxTenants) })
}

// WithTenantCacheSize sets how many verified tokens are remembered, of all tenants
// together. The default is 100,000; 0 switches the memory off. An entry takes about 1 KiB
// plus the claim set.
func WithTenantCacheSize(entries int) TenantOption {
	return tenantOption(func(c *tenantConfig) {
		c.setInt("WithTenantCacheSize", &c.cacheSize, entries, 0, maxTenantCache)
	})
}

// WithRefusalLifetime sets how long Tenants remembers that an issuer is no tenant. The
// default is 10 seconds, the maximum 5 minutes; with 0 resolve is called each time.
func WithRefusalLifetime(d time.Duration) TenantOption {
	return tenantOption(func(c *tenantConfig) {
		issuer.SetDuration(c.Set, "WithRefusalLifetime", &c.refusalLifetime, d, 0, maxRefusalLifetime)
	})
}

// WithPolicy declares how strict the Verifiers of all tenants are. If resolve returns a
// laxer Verifier, the answer is 503: one with an algorithm that p does not name, with
// more skew, or with any audience where p has ChecksAudience. So it is for an issuer that
// p does not name, if p has Issuers, and for other audiences than those of p, if p has
// Audiences. The presets of package middleware ask for this Policy, and refuse Tenants
// without one. p must name its Algorithms, and cannot promise ChecksRevocation.
func WithPolicy(p Policy) TenantOption {
	p = p.clone()
	return tenantOption(func(c *tenantConfig) {
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

// RequireOrigins demands that every tenant has origins of its own ([WithOrigins]): if
// resolve returns a Verifier without any, the answer is 503. It is for services whose
// tenants have hosts of their own. Without it the tokens of a tenant that has no origins
// are good at the hosts of all other tenants.
func RequireOrigins() TenantOption {
	return tenantOption(func(c *tenantConfig) { c.Once("RequireOrigins") })
}

// WithOrigins sets at which origins of this service the issuer's tokens are good: scheme
// and host, and port if it is not the default one ("https://acme.example"). A guard of
// package middleware refuses them elsewhere with [ErrOrigin], bound or not, and compares
// proofs with these origins in the place of those given to dpop.New. The default is every
// origin of the service. It may be given more than once.
//
// The Host of the request must be that of an origin: a proxy in front must pass it on,
// and must not strip a path.
func WithOrigins(more ...string) Option {
	return option(func(c *config) {
		if len(more) == 0 {
			c.Problem("WithOrigins: no origin given")
		}
		for _, s := range more {
			normal, err := origins.Parse(s)
			switch {
			case err != nil:
				c.Problem("WithOrigins: %q: %w", s, err)
			case slices.Contains(c.origins, normal):
				c.Problem("WithOrigins: %q is given twice", s)
			default:
				c.origins = append(c.origins, normal)
			}
		}
	})
}

// admits reports in which way v is laxer than all tenants must be.
func (s *Tenants) admits(v *Verifier) error {
	if v.checks.MaxSize > maxRoutedSize {
		return fmt.Errorf("the Verifier takes tokens of %d bytes, and Tenants of %d at the most; see oidc.WithMaxTokenSize", v.checks.MaxSize, maxRoutedSize)
	}
	if s.needOrigins && len(v.origins) == 0 {
		return errors.New("the Verifier has no origins, and RequireOrigins is given; see oidc.WithOrigins")
	}
	if s.policy == nil {
		return nil
	}
	p, own := s.policy, v.Policy()
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
	case len(p.Issuers) > 0 && !slices.Contains(p.Issuers, v.issuer.URL()):
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
func (s *Tenants) Policy() Policy {
	switch {
	case s == nil || s.resolve == nil:
		return Policy{}
	case s.policy == nil:
		return Policy{Skew: maxPolicySkew}
	}
	return s.policy.clone()
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
