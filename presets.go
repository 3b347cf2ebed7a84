package middleware

import (
	"fmt"
	"slices"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// FAPI2 is what the FAPI 2.0 Security Profile demands of a resource server
// (section 5.3.4). It makes these settings:
//
//	WithRules(Bound())   unbound tokens are refused (5.3.4-5)
//	RequireTLS()         no plain HTTP (5.2)
//
// [RequireTLS] may be given beside it, to name TLS terminators.
//
// The profile wants tokens checked for revocation (5.3.4-3). So either the
// TokenVerifier asks the issuer about each token (see [introspect.Then]), or
// [LimitTokenLifetime] stands among the rules of [WithRules]: the operator then relies
// on short lives.
//
// New refuses what the profile forbids: AllowUnbound, WithExchange,
// DangerouslyExemptExchange, DangerouslyAcceptAsBearer, WithSession (5.3.4-1); proofs or
// tokens by other algorithms than PS256, ES256 and EdDSA (Ed25519); tokens that were made
// for other services, or more than 60 s ahead of our clock (5.3.2.1-13); a longer window
// for proofs than 60 s back and 30 s ahead; no replay cache, or one that fails open; a
// TokenVerifier that cannot say how strict it is. [dpop.FAPI2] and [oidc.FAPI2] make
// the settings of the parts.
//
// [dpop.FAPI2]: https://pkg.go.dev/github.com/keybound-go/middleware/dpop#FAPI2
// [introspect.Then]: https://pkg.go.dev/github.com/keybound-go/middleware/oidc/introspect#Then
func FAPI2() Option {
	return once("FAPI2", func(b *builder) {
		b.rules = append(b.rules, Bound())
		b.requireTLS, b.mustIdentify = true, "FAPI2"
		b.checks = append(b.checks, (*builder).checkFAPI2)
	})
}

// fapi2Algorithms is section 5.4.1 of the profile; Ed25519 is RFC 9864's name of EdDSA.
var fapi2Algorithms = [...]string{"PS256", "ES256", "EdDSA", "Ed25519"}

// fapi2Skew is how far ahead of our clock a token may be issued.
const fapi2Skew = time.Minute

func (b *builder) checkFAPI2() {
	if !b.Given("RequireTLS") {
		b.trustTerminators(nil)
	}
	for _, forbidden := range []string{"AllowUnbound", "WithExchange", "DangerouslyExemptExchange", "DangerouslyAcceptAsBearer", "WithSession"} {
		if b.Given(forbidden) {
			b.Problem("FAPI2 forbids %s", forbidden)
		}
	}
	if policy, ok := b.policy("FAPI2"); ok {
		b.checkFAPI2Tokens(policy)
	}
	if b.dpop != nil {
		b.checkFAPI2Proofs()
	}
}

func (b *builder) checkFAPI2Tokens(p oidc.Policy) {
	b.checkAudience("FAPI2", p)
	b.checkFAPI2Algorithms("tokens", p.Algorithms)
	if !p.ChecksRevocation && len(p.Algorithms) == 0 {
		b.Problem("FAPI2: the TokenVerifier neither says by which algorithms tokens may be signed nor asks the issuer about them")
	}
	if !p.ChecksRevocation && !limitsLifetime(b.rules) {
		b.Problem("FAPI2: the TokenVerifier does not check for revocation: use introspect.Then, or LimitTokenLifetime among the rules")
	}
	if p.Skew > fapi2Skew {
		b.Problem("FAPI2: tokens may be issued up to %v ahead of our clock; with oidc.WithSkew, %v at the most", p.Skew, fapi2Skew)
	}
}

func (b *builder) checkFAPI2Proofs() {
	s := b.dpop.Settings()
	b.checkFAPI2Algorithms("proofs", s.Algorithms)
	if s.Lifetime > time.Minute || s.Skew > 30*time.Second {
		b.Problem("FAPI2: the window of proofs, %v back and %v ahead, is wider than 60s and 30s", s.Lifetime, s.Skew)
	}
	if !s.ReplayCache || s.FailOpen || s.PlainHTTP {
		b.Problem("FAPI2: proofs need a replay cache that fails closed, and https origins")
	}
}

func (b *builder) checkFAPI2Algorithms(what string, algorithms []string) {
	for _, alg := range algorithms {
		if !slices.Contains(fapi2Algorithms[:], alg) {
			b.Problem("FAPI2: %s may not be signed with %s", what, alg)
		}
	}
}

// policy is how strict the TokenVerifier is. One that does not say could be of any
// kind, and so is refused.
func (b *builder) policy(preset string) (p oidc.Policy, ok bool) {
	if b.tokens == nil {
		return p, false // which is reported already
	}
	v, ok := b.tokens.(interface{ Policy() oidc.Policy })
	if !ok {
		b.Problem("%s: %T does not say how strict it is; add a method Policy() oidc.Policy that does", preset, b.tokens)
		return p, false
	}
	if t, ok := b.tokens.(*tenants.Tenants); ok && len(t.Policy().Algorithms) == 0 {
		b.Problem("%s: the tenants have no policy in common; declare one with tenants.WithPolicy", preset)
		return p, false
	}
	return policyOf(v), true
}

// policyOf is the zero Policy, which promises nothing, if v panics.
func policyOf(v interface{ Policy() oidc.Policy }) (p oidc.Policy) {
	defer func() {
		if recover() != nil {
			p = oidc.Policy{}
		}
	}()
	return v.Policy()
}

// checkAudience is for presets by which tokens must have been made for this service.
func (b *builder) checkAudience(preset string, p oidc.Policy) {
	if !p.ChecksAudience {
		b.Problem("%s: the TokenVerifier accepts tokens that were made for another audience, or for none", preset)
	}
}

// LimitTokenLifetime is satisfied by a token that says when it was issued and when it
// ends, not more than max later. Failure is 401 invalid_token. It is for services that
// do not check tokens for revocation.
func LimitTokenLifetime(max time.Duration) Rule {
	l := &lifetimeRule{max: max, unmet: unmet{err: ErrLongLived}}
	l.unmet.demand = describeRule(l)
	return l
}

type lifetimeRule struct {
	max   time.Duration
	unmet unmet
}

func (l *lifetimeRule) validate() error {
	if l.max <= 0 {
		return fmt.Errorf("middleware: LimitTokenLifetime: %v is not a lifetime", l.max)
	}
	return nil
}

func (l *lifetimeRule) admits(shape) bool { return true }

func (l *lifetimeRule) check(i *inspection) *unmet {
	issued, expiry := i.Token.IssuedAt, i.Token.Expiry
	if issued.IsZero() || expiry.IsZero() || expiry.Sub(issued) > l.max {
		return &l.unmet
	}
	return nil
}

// limitsLifetime reports whether every token must satisfy a LimitTokenLifetime.
func limitsLifetime(rules []Rule) bool {
	return slices.ContainsFunc(rules, func(rule Rule) bool {
		switch r := rule.(type) {
		case *lifetimeRule:
			return true
		case allOfRule:
			return limitsLifetime(r)
		}
		return false
	})
}

// MCP is what clients expect of a Model Context Protocol server that is
// protected by OAuth. It makes these settings:
//
//	WithProtectedResource(resource)   the metadata that clients start from; it must name authorization servers
//	AllowUnbound()                    bearer tokens pass; bound ones must still prove their binding
//	ExposeHeaders()                   clients in browsers read the challenges
//	EndResponsesWithToken()           streams end with the token, and are resumed with the next one
//
// and has the challenges of a 401 name the scopes to ask the issuer for
// (RFC 6750, section 3): those that rules demand by [Scopes], or else the resource's
// Scopes.
//
// Give the TokenVerifier resource.Identifier as its audience: clients ask for tokens for
// it, and a server must not accept tokens that were made for another. New refuses a
// TokenVerifier that accepts those, or that cannot say. Clients that use DPoP expect
// [dpop.MCP]. For servers of the official Go SDK there is the module mcpguard.
//
// [dpop.MCP]: https://pkg.go.dev/github.com/keybound-go/middleware/dpop#MCP
func MCP(resource ProtectedResource) Option {
	return once("MCP", func(b *builder) {
		if len(resource.AuthorizationServers) == 0 {
			b.Problem("MCP: the resource names no authorization servers")
		}
		WithProtectedResource(resource).apply(b)
		AllowUnbound().apply(b)
		ExposeHeaders().apply(b)
		b.nameScopes, b.mustIdentify, b.endWithToken = b.resource != nil, "MCP", true
		b.checks = append(b.checks, (*builder).checkMCP)
	})
}

func (b *builder) checkMCP() {
	if b.Given("DangerouslyAcceptAsBearer") {
		b.Problem("MCP forbids DangerouslyAcceptAsBearer")
	}
	if policy, ok := b.policy("MCP"); ok {
		b.checkAudience("MCP", policy)
	}
}
