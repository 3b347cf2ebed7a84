package middleware

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/peers"
)

// FAPI2 is what the FAPI 2.0 Security Profile demands of a resource server
// (section 5.3.4). It makes these settings:
//
//	WithRules(Bound())              unbound tokens are refused (5.3.4-5)
//	RequireTLS(terminators...)      no plain HTTP (5.2)
//	a limit of maxLifetime          see below (5.3.4-3)
//
// and New refuses what it forbids: AllowUnbound, WithClientCredentials,
// DangerouslySkipBindingFor, WithSession (5.3.4-1); proofs or tokens by other algorithms than PS256,
// ES256 and EdDSA (Ed25519); tokens that were made for others, or more than 60 s ahead of our
// clock (5.3.2.1-13); a longer window for proofs than 60 s back and 30 s
// ahead; no replay cache, or one that fails open. [dpop.FAPI2] and [oidc.FAPI2]
// make the settings of the parts.
//
// The profile wants tokens checked for revocation. A maxLifetime of 0 says that
// the TokenVerifier does, and New refuses one that does not (see
// [oidc.VerifyThenIntrospect]). Any other says that the operator relies on short
// lives instead: tokens that live longer than that are refused.
//
// [dpop.FAPI2]: https://pkg.go.dev/github.com/keybound-go/middleware/dpop#FAPI2
func FAPI2(maxLifetime time.Duration, terminators ...netip.Prefix) Option {
	return once("FAPI2", func(c *config) {
		c.checks = append(c.checks, func(c *config) { c.checkFAPI2(maxLifetime) })
		c.rules = append(c.rules, Bound())
		if maxLifetime > 0 {
			c.rules = append(c.rules, &lifetimeRule{maxLifetime, unmet{err: ErrLongLived}})
		}
		RequireTLS(terminators...).apply(c)
	})
}

// fapi2Algorithms is section 5.4.1 of the profile; Ed25519 is RFC 9864's name of EdDSA.
var fapi2Algorithms = [...]string{"PS256", "ES256", "EdDSA", "Ed25519"}

// fapi2Skew is how far ahead of our clock a token may be issued.
const fapi2Skew = time.Minute

func (c *config) checkFAPI2(maxLifetime time.Duration) {
	for _, forbidden := range []string{"AllowUnbound", "WithClientCredentials", "DangerouslySkipBindingFor", "WithSession"} {
		if c.given[forbidden] {
			c.problem("middleware: FAPI2 forbids " + forbidden)
		}
	}
	if v, ok := c.tokens.(interface{ ChecksRevocation() bool }); maxLifetime == 0 && (!ok || !v.ChecksRevocation()) {
		c.problem("middleware: FAPI2: the TokenVerifier does not check for revocation: oidc.VerifyThenIntrospect, or a maxLifetime")
	}
	if maxLifetime < 0 {
		c.problem("middleware: FAPI2: maxLifetime is negative")
	}
	if v, ok := c.tokens.(interface{ Skew() time.Duration }); ok && v.Skew() > fapi2Skew {
		c.problem(fmt.Sprintf("middleware: FAPI2: tokens may be issued up to %v ahead of our clock; oidc.WithSkew, %v at the most", v.Skew(), fapi2Skew))
	}
	c.checkAudienceIsChecked("FAPI2")
	if v, ok := c.tokens.(interface{ Algorithms() []string }); ok {
		c.checkFAPI2Algorithms("tokens", v.Algorithms())
	}
	if c.dpop == nil {
		return
	}
	s := c.dpop.Settings()
	c.checkFAPI2Algorithms("proofs", s.Algorithms)
	if s.Lifetime > time.Minute || s.Skew > 30*time.Second {
		c.problem(fmt.Sprintf("middleware: FAPI2: the window of proofs, %v back and %v ahead, is wider than 60s and 30s", s.Lifetime, s.Skew))
	}
	if !s.ReplayCache || s.FailOpen || s.PlainHTTP {
		c.problem("middleware: FAPI2: proofs need a replay cache that fails closed, and https origins")
	}
}

// checkAudienceIsChecked is for presets by which tokens must have been made for this service.
func (c *config) checkAudienceIsChecked(preset string) {
	if v, ok := c.tokens.(interface{ ChecksAudience() bool }); ok && !v.ChecksAudience() {
		c.problem("middleware: " + preset + ": the TokenVerifier accepts tokens that were made for another audience, or for none")
	}
}

func (c *config) checkFAPI2Algorithms(what string, algorithms []string) {
	for _, alg := range algorithms {
		if !slices.Contains(fapi2Algorithms[:], alg) {
			c.problem(fmt.Sprintf("middleware: FAPI2: %s may not be signed with %s", what, alg))
		}
	}
}

// lifetimeRule is satisfied by a token that says when it was issued and when it
// ends, not more than max later.
type lifetimeRule struct {
	max   time.Duration
	unmet unmet
}

func (l *lifetimeRule) validate() error   { return nil }
func (l *lifetimeRule) admits(shape) bool { return true }

func (l *lifetimeRule) check(v *verified) *unmet {
	issued, expiry := v.Token.IssuedAt, v.Token.Expiry
	if issued.IsZero() || expiry.IsZero() || expiry.Sub(issued) > l.max {
		return &l.unmet
	}
	return nil
}

// MCP is what clients expect of a Model Context Protocol server that is
// protected by OAuth. It makes these settings:
//
//	WithProtectedResource(resource)   the metadata that clients start from; it must name authorization servers
//	AllowUnbound()                    bearer tokens pass; bound ones must still prove their binding
//	ExposeHeaders()                   clients in browsers read the challenges
//
// Give the TokenVerifier resource.Identifier as its audience: a server must not
// accept tokens that were made for another, and New refuses an oidc part that does. Clients that use DPoP expect
// [dpop.MCP].
//
// [dpop.MCP]: https://pkg.go.dev/github.com/keybound-go/middleware/dpop#MCP
func MCP(resource ProtectedResource) Option {
	return once("MCP", func(c *config) {
		if len(resource.AuthorizationServers) == 0 {
			c.problem("middleware: MCP: the resource names no authorization servers")
		}
		c.checks = append(c.checks, func(c *config) { c.checkAudienceIsChecked("MCP") })
		WithProtectedResource(resource).apply(c)
		AllowUnbound().apply(c)
		ExposeHeaders().apply(c)
	})
}

// RequireTLS refuses requests that did not come over TLS, unless the immediate peer
// is a TLS terminator: its address is in one of the given prefixes, or it reaches a
// unix socket of the service and [TrustUnixSocket] is given. Whether the client of the
// terminator used TLS is the terminator's business, and the business of the origin in
// its proofs.
//
// New refuses prefixes that hold a large share of all addresses: IPv4 wider than /8,
// IPv6 wider than /16 (fc00::/7 and fe80::/10 may be whole).
func RequireTLS(terminators ...netip.Prefix) Option {
	terminators = slices.Clone(terminators)
	return once("RequireTLS", func(c *config) {
		c.requireTLS = true
		c.checks = append(c.checks, func(c *config) {
			c.terminators = peers.New(terminators, c.given["TrustUnixSocket"], func(problem string) {
				c.problem("middleware: RequireTLS: " + problem)
			})
		})
	})
}

// TrustUnixSocket says that every peer on a unix socket of the service is a TLS
// terminator, for [RequireTLS] and [FAPI2]: the permissions of the socket's file decide
// which processes connect. See [mtlspop.TrustUnixSocket] for the certificates that such
// a peer forwards.
//
// [mtlspop.TrustUnixSocket]: https://pkg.go.dev/github.com/keybound-go/middleware/mtlspop#TrustUnixSocket
func TrustUnixSocket() Option {
	return once("TrustUnixSocket", func(c *config) {
		c.checks = append(c.checks, func(c *config) {
			if !c.requireTLS {
				c.problem("middleware: TrustUnixSocket means nothing without RequireTLS or FAPI2")
			}
		})
	})
}

// cameOverTLS is what RequireTLS asks.
func (c *config) cameOverTLS(r *http.Request) bool {
	return r.TLS != nil || c.terminators.Trusts(peers.Of(r))
}
