package middleware

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/oidc"
)

// Description is what a guard enforces, for an audit: as JSON, or as text by its
// String method. It holds no secret.
type Description struct {
	// Tokens is how strict the TokenVerifier is; nil if it cannot say.
	Tokens *oidc.Policy `json:"tokens,omitempty"`
	// DPoP is what proofs must be like; zero if the guard takes none.
	DPoP struct {
		Origins    []string      `json:"origins"`
		Algorithms []string      `json:"algorithms"`
		Lifetime   time.Duration `json:"lifetime"`
		Skew       time.Duration `json:"skew"`
		Nonces     bool          `json:"nonces"`
		// Replay is where used proofs are remembered: "this process only", "a shared
		// store", or "nowhere".
		Replay string `json:"replay"`
	} `json:"dpop,omitzero"`
	// Certificates says where client certificates come from: "tls", or the fields of
	// trusted peers; nil if the guard takes none.
	Certificates []string `json:"certificates,omitempty"`
	// Preset is "FAPI2" or "MCP", if the guard was made with one of them.
	Preset string `json:"preset,omitempty"`
	// Resource is the identifier of the protected resource, and AuthorizationServers are
	// what its metadata names, if the guard has one.
	Resource             string   `json:"resource,omitempty"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// Rules are what every request must satisfy, in order.
	Rules []string `json:"rules,omitempty"`
	// Notes are what an operator should know, weakenings above all: bearer tokens
	// that are accepted, proofs that are remembered by this process only.
	Notes []string `json:"notes,omitempty"`
}

// Where used proofs are remembered.
const (
	replayLocal  = "this process only"
	replayShared = "a shared store"
	replayOff    = "nowhere"
)

// Describe says what the guard enforces. It touches no network.
func (g *Guard) Describe() (d Description) {
	if g.config == nil {
		d.Notes = []string{"the zero Guard: every request is refused"}
		return d
	}
	d.Preset = g.mustIdentify
	if g.resource != nil {
		d.Resource, d.AuthorizationServers = g.resource.Identifier, slices.Clone(g.resource.AuthorizationServers)
	}
	if v, ok := g.tokens.(interface{ Policy() oidc.Policy }); ok {
		p := v.Policy()
		d.Tokens = &p
		d.note(!p.ChecksAudience, "tokens for any audience are accepted")
	} else {
		d.note(true, "the TokenVerifier has no Policy: it cannot be said what it checks")
	}
	g.describeProofs(&d)
	if g.mtls != nil {
		d.Certificates = append([]string{"tls"}, g.forwarded...)
	}
	for _, rule := range g.rules {
		d.Rules = append(d.Rules, describeRule(rule))
	}
	d.note(g.allowUnbound, "bearer tokens are accepted: tokens that are bound to nothing")
	d.note(g.acceptsMTLSPoP(), "tokens that are bound to a certificate are accepted under the scheme MTLS_POP too")
	d.note(g.anonymous, "requests without credentials pass")
	if n := len(g.asBearer.clientIDs); n > 0 {
		d.note(true, fmt.Sprintf("the DPoP-bound tokens of %d clients pass as bearer tokens until %s", n, g.asBearer.until.Format(time.DateOnly)))
	}
	d.note(g.skipBinding, "tokens that the guard obtains for a client id and secret need no binding")
	d.note(g.sessions != nil, "a session cookie stands for a token")
	d.note(g.ignoreQueryToken, "an access token in the query is ignored")
	d.note(g.passPreflights, "CORS preflights pass without credentials")
	d.note(!g.requireTLS, "plain HTTP is accepted: TLS must end in front of the service")
	g.describeResource(&d)
	return d
}

// describeResource compares what the metadata tells clients with what the TokenVerifier
// expects, as far as it says that. A difference is no mistake at issuers that have
// identifiers of their own for services, or sign tokens under another name.
func (g *Guard) describeResource(d *Description) {
	v, ok := g.tokens.(interface {
		Explain(raw string) oidc.Explanation
	})
	if g.resource == nil || !ok {
		return
	}
	e := explainBy(v.Explain, "")
	if len(e.ExpectedAudiences) > 0 && !slices.Contains(e.ExpectedAudiences, g.resource.Identifier) {
		d.note(true, fmt.Sprintf("clients that ask the issuer for a token for %s get one that is refused: the token verifier's audience is %s",
			g.resource.Identifier, strings.Join(e.ExpectedAudiences, " ")))
	}
	for _, server := range g.resource.AuthorizationServers {
		foreign := len(e.ExpectedIssuers) > 0 && len(e.ExpectedIssuers) < mostExplained && !slices.Contains(e.ExpectedIssuers, server)
		d.note(foreign, fmt.Sprintf("clients are sent to the authorization server %s, and the token verifier expects tokens of %s", server, strings.Join(e.ExpectedIssuers, " ")))
	}
}

// mostExplained is how many issuers an oidc.Explanation names at most.
const mostExplained = 8

func (g *Guard) describeProofs(d *Description) {
	if g.dpop == nil {
		return
	}
	s := g.dpop.Settings()
	p := &d.DPoP
	p.Origins, p.Algorithms, p.Lifetime, p.Skew = s.Origins, s.Algorithms, s.Lifetime, s.Skew
	p.Nonces, p.Replay = s.Nonces, replayShared
	switch {
	case !s.ReplayCache:
		d.DPoP.Replay = replayOff
		d.note(true, "a proof can be used again until it is too old")
	case s.ReplayLocal:
		d.DPoP.Replay = replayLocal
		d.note(true, "used proofs are remembered by this process only: with several replicas, a proof is accepted once by each")
	}
	d.note(s.FailOpen, "proofs are accepted without a look at the replay cache while that fails")
	d.note(s.PlainHTTP, "an origin is plain http")
}

func (d *Description) note(holds bool, text string) {
	if holds {
		d.Notes = append(d.Notes, text)
	}
}

// String is the description as lines of text.
func (d Description) String() string {
	var b strings.Builder
	if p := d.Tokens; p != nil {
		fmt.Fprintf(&b, "tokens: signed with %s, clocks within %v", strings.Join(p.Algorithms, " "), p.Skew)
		if p.ChecksRevocation {
			b.WriteString(", checked for revocation")
		}
		b.WriteByte('\n')
	}
	if p := d.DPoP; len(p.Origins) > 0 {
		fmt.Fprintf(&b, "proofs: for %s, signed with %s, at most %v old and %v ahead, remembered by %s",
			strings.Join(p.Origins, " "), strings.Join(p.Algorithms, " "), p.Lifetime, p.Skew, p.Replay)
		if p.Nonces {
			b.WriteString(", with a nonce")
		}
		b.WriteByte('\n')
	}
	if len(d.Certificates) > 0 {
		fmt.Fprintf(&b, "certificates: from %s\n", strings.Join(d.Certificates, ", "))
	}
	for _, rule := range d.Rules {
		fmt.Fprintf(&b, "rule: %s\n", rule)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return b.String()
}

// describeRule says what a rule demands.
func describeRule(rule Rule) string {
	switch r := rule.(type) {
	case *bindingRule:
		return strings.TrimPrefix(reasonOf(r.unmet.err), "rule_")
	case *scopesRule:
		return "scopes " + strings.Join(r.all, " ")
	case *claimRule:
		if len(r.anyOf) == 0 {
			return "claim " + strings.Join(r.path, ".")
		}
		return fmt.Sprintf("claim %s: one of %q", strings.Join(r.path, "."), r.anyOf)
	case *stepUpRule:
		return fmt.Sprintf("authentication: age %v, levels %q", r.maxAge, r.acr)
	case *lifetimeRule:
		return fmt.Sprintf("tokens that live %v at most", r.max)
	case anyOfRule:
		return "any of (" + describeRules(r) + ")"
	case allOfRule:
		return "all of (" + describeRules(r) + ")"
	case *boundExceptRule:
		return fmt.Sprintf("bound, but for %d clients", len(r.clientIDs))
	case *detailsRule:
		return fmt.Sprintf("authorization_details %s: %q", r.typ, r.actions)
	case *funcRule:
		return "function " + r.unmet.rule
	case *stagedRule:
		return "staged, " + r.stage.describe() + " (" + describeRule(r.rule) + ")"
	}
	return fmt.Sprintf("%T", rule)
}

func describeRules(rules []Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = describeRule(r)
	}
	return strings.Join(texts, "; ")
}
