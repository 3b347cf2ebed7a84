package middleware

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/dpop"
)

// challenges are the schemes that a guard offers, and what stands in each of
// their challenges. They follow from the configuration and the rules, and never
// from a request.
type challenges struct {
	offered  []scheme // DPoP first: some clients read the first field line only
	both     bool     // a token that is bound both ways could pass
	realm    string   // `realm="..."`
	algs     string   // `, algs="..."`
	metadata string   // `, resource_metadata="..."`, or nothing
	scope    string   // `, scope="..."`, or nothing
	describe bool
}

// newChallenges offers the schemes with which some token could satisfy the rules.
func newChallenges(c *config, rules []Rule) challenges {
	var possible [numShapes]bool
	for s := range numShapes {
		possible[s] = c.accepts(s) && allOfRule(rules).admits(s)
	}
	ch := challenges{realm: "realm=" + quote(c.challengeRealm()), describe: !c.omitDescriptions, both: possible[bothShape]}
	if c.resource != nil {
		ch.metadata = ", resource_metadata=" + quote(c.resource.metadataURL().String())
	}
	if scopes := c.requestedScopes(rules); len(scopes) > 0 {
		ch.scope = `, scope="` + strings.Join(scopes, " ") + `"`
	}
	bearer := possible[unboundShape] || possible[certificateShape]
	// A token that is bound both ways comes under the DPoP scheme, but is not
	// what a client should be sent for where a certificate is enough.
	if !c.exchangeOnly && (possible[dpopShape] || possible[bothShape] && !bearer) {
		ch.offered = append(ch.offered, schemeDPoP)
	}
	if c.dpop != nil {
		ch.algs = ", algs=" + quote(strings.Join(c.dpop.Settings().Algorithms, " "))
	}
	if bearer && !c.exchangeOnly {
		ch.offered = append(ch.offered, schemeBearer)
	}
	if c.exchange != nil && (possible[unboundShape] || c.skipBinding) {
		ch.offered = append(ch.offered, schemeBasic)
	}
	return ch
}

// challengesFor are the challenges to a decision. Only where rules are staged do they
// depend on anything but the configuration: they follow the stage in force. Rules that
// no token could satisfy leave those of the configuration.
func (g *Guard) challengesFor(d *decision) *challenges {
	if d.err == nil || !slices.ContainsFunc(g.rules, isStaged) {
		return &g.challenges
	}
	var c *Credential
	if d.inspection != nil && d.Token != nil {
		c = &d.Credential
	}
	if now := newChallenges(g.config, enforced(g.rules, c)); now.any() {
		return &now
	}
	return &g.challenges
}

func isStaged(rule Rule) bool {
	_, ok := rule.(*stagedRule)
	return ok
}

// requestedScopes are those that a client should ask the issuer for, where challenges
// name them (RFC 6750, section 3): what the rules demand, or else what the resource has.
func (c *config) requestedScopes(rules []Rule) []string {
	if !c.nameScopes {
		return nil
	}
	if scopes := demandedScopes(rules); len(scopes) > 0 {
		return scopes
	}
	return c.resource.Scopes
}

// demandedScopes are those that every request needs by one of the rules.
func demandedScopes(rules []Rule) (scopes []string) {
	for _, rule := range rules {
		var more []string
		switch r := rule.(type) {
		case *scopesRule:
			more = r.all
		case allOfRule:
			more = demandedScopes(r)
		}
		for _, scope := range more {
			if !slices.Contains(scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
	}
	return scopes
}

// any reports whether there is any scheme to offer.
func (c *challenges) any() bool { return len(c.offered) > 0 }

// accepts reports whether a token of that shape can pass the binding policy.
func (c *config) accepts(s shape) bool {
	switch s {
	case dpopShape:
		return c.dpop != nil
	case certificateShape:
		return c.mtls != nil
	case bothShape:
		return c.dpop != nil && c.mtls != nil
	default:
		return c.allowUnbound
	}
}

func (c *config) challengeRealm() string {
	if c.realm != "" {
		return c.realm
	}
	if c.dpop != nil {
		if u, err := url.Parse(c.dpop.Settings().Origins[0]); err == nil {
			return u.Host
		}
	}
	return "api"
}

// lines returns one challenge for each field line. The error goes into the
// challenge of the scheme that the client used (RFC 9449, section 7.2, figure
// 18), or into every one where it concerns them all.
func (c *challenges) lines(used scheme, err clientError, params string) []string {
	offered := c.offered
	if c.isForBoth(err) {
		offered = append([]scheme{schemeDPoP}, offered...)
	}
	everywhere := err == ErrSeveralTokens || err == ErrQueryToken || err == ErrPlainHTTP || err == ErrDowngrade || !slices.Contains(offered, used) && used != noScheme
	lines := make([]string, 0, len(offered))
	for _, s := range offered {
		line := s.String() + " " + c.realm
		if s == schemeBasic {
			if statusOf(err) == http.StatusUnauthorized {
				lines = append(lines, line+`, charset="UTF-8"`) // RFC 7617, section 2: it has no error.
			}
			continue
		}
		switch {
		case err.Code() != "" && (everywhere || s == used):
			line += c.errorParams(err) + params
		case statusOf(err) == http.StatusForbidden:
			continue // Another scheme would not widen what the token may do.
		}
		if statusOf(err) == http.StatusUnauthorized {
			line += c.scope
		}
		if s == schemeDPoP {
			line += c.algs
		}
		lines = append(lines, line+c.metadata)
	}
	return lines
}

func (c *challenges) offers(s scheme) bool { return slices.Contains(c.offered, s) }

// offersTo reports whether the answer to a refused request has a challenge of
// that scheme.
func (c *challenges) offersTo(d *decision, s scheme) bool {
	e, ok := asClientError(d.err)
	return c.offers(s) || ok && s == schemeDPoP && c.isForBoth(e)
}

// isForBoth reports whether err is about the proof of a token that is bound both
// ways, where the scheme is not offered since a certificate is enough: this client
// must be told nevertheless, under its scheme, and with a nonce if it lacks one.
func (c *challenges) isForBoth(err clientError) bool {
	_, ok := err.(dpop.ProofError)
	return ok && c.both && !c.offers(schemeDPoP)
}

func (c *challenges) errorParams(err clientError) string {
	params := `, error="` + err.Code() + `"`
	if c.describe {
		params += `, error_description="` + err.Description() + `"`
	}
	return params
}

// quote makes a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
