package producttest

import (
	"fmt"
	"strings"

	"github.com/keybound-go/middleware/internal/oracle"
)

// A Combo is one value for each factor: a configuration, a request, the state of the
// world, and the way in.
type Combo [numFactors]uint8

// The factors. What a value means stands in the constants of package oracle; two values
// are no and yes.
const (
	// The configuration.
	FParts   = iota
	FForm    // of tokens: Signed, Opaque, Asked
	FTenants // the issuers, and whose token it is: see tenantOf
	FNonces
	FUnbound
	FSession
	FStray
	FIgnoreQuery
	FTLS
	FPass
	FAnonymous
	FPreset
	FHide
	FRule // each rule in each stage, see ruleIn
	FRollout
	// The request.
	FScheme
	FCookie
	FQuery
	FToken
	FBinding
	FProof
	FNonce
	FCert
	FListed
	FPlain
	FEarly
	FHost // Home, strange, or another one: see hostIn
	FPreflight
	// The world.
	FOutage
	FNest
	FDoor // of the Product
	numFactors
)

// The values of the factors that package oracle does not name.
const (
	Neither, OnlyDPoP, OnlyMTLS, BothParts = 0, 1, 2, 3
	Signed, Opaque, Asked                  = 0, 1, 2 // Asked: JWTs about which the issuer is asked
	NoPreset, PresetFAPI2, PresetMCP       = 0, 1, 2
	NoNest, SameParts, OtherParts          = 0, 1, 2
)

var factors = [numFactors]struct {
	name   string
	values int
}{
	FParts: {"parts", 4}, FForm: {"form", 3}, FTenants: {"tenants", int(oracle.TenantCount) + 3}, FNonces: {"nonces", 2}, FUnbound: {"unbound", 2},
	FSession: {"session", 2}, FStray: {"stray", 2}, FIgnoreQuery: {"ignore query", 2}, FTLS: {"require TLS", 2}, FPass: {"pass preflights", 2}, FAnonymous: {"anonymous", 2},
	FPreset: {"preset", 3}, FHide: {"hide", int(oracle.HideCount)}, FRule: {"rule", ruleIn(oracle.RuleCount, 0)},
	FRollout: {"rollout", 2}, FListed: {"listed", 2},
	FScheme: {"scheme", int(oracle.SchemeCount)}, FCookie: {"cookie", int(oracle.CookieCount)}, FQuery: {"query", 2},
	FToken: {"token", int(oracle.TokenCount)}, FBinding: {"binding", int(oracle.BindingCount)}, FProof: {"proof", int(oracle.ProofCount)},
	FNonce: {"nonce", int(oracle.NonceCount)}, FCert: {"certificate", int(oracle.CertCount)}, FPlain: {"plain", 2}, FEarly: {"early", 2},
	FHost: {"host", int(oracle.HostCount) + 1}, FPreflight: {"preflight", 2},
	FOutage: {"outage", int(oracle.OutageCount)}, FNest: {"nest", 3}, FDoor: {"door", 0},
}

// ruleIn is the value of FRule for a rule in a stage; 0 is no rule.
func ruleIn(r oracle.Rule, s oracle.Stage) int {
	if r == oracle.NoRule {
		return 0
	}
	return 1 + int(r-1)*int(oracle.StageCount) + int(s)
}

// ruleOf is the rule and the stage that a value of FRule stands for.
func ruleOf(value uint8) (oracle.Rule, oracle.Stage) {
	if value == 0 {
		return oracle.NoRule, oracle.Enforce
	}
	n := oracle.Stage(value - 1)
	return oracle.Rule(n/oracle.StageCount) + 1, n % oracle.StageCount
}

// tenantIn is the value of FTenants for a token of the tenant t; 0 is a guard of one
// issuer. Tenants must have hosts of their own in the last two values alone.
func tenantIn(t oracle.Tenant) int { return 1 + int(t) }

const (
	homeWithOrigins = 1 + int(oracle.TenantCount)
	anyWithOrigins  = 2 + int(oracle.TenantCount)
)

// tenantOf is what a value of FTenants stands for.
func tenantOf(value uint8) (tenants, needOrigins bool, t oracle.Tenant) {
	switch int(value) {
	case 0:
		return false, false, 0
	case homeWithOrigins:
		return true, true, oracle.HomeTenant
	case anyWithOrigins:
		return true, true, oracle.AnyTenant
	}
	return true, false, oracle.Tenant(value - 1)
}

// strange is the value of FHost of a misdirected request.
const strange = 1

// hostIn is the value of FHost for another host than Home.
func hostIn(h oracle.Host) int { return strange + int(h) }

// unset stands for any value in a partial Combo.
const unset = 255

// Is reports whether the factor f has the value v.
func (c *Combo) Is(f, v int) bool { return c[f] == uint8(v) }

// IsNot reports whether the factor f has another value than v, and is not unset.
func (c *Combo) IsNot(f, v int) bool { return c[f] != unset && c[f] != uint8(v) }

// cannotExist says why no such configuration or request can be made, or "", whatever the
// door. It judges partial combos too: a reason holds whatever the unset values become.
func cannotExist(c *Combo) string {
	noDPoP := c.Is(FParts, Neither) || c.Is(FParts, OnlyMTLS)
	noMTLS := c.Is(FParts, Neither) || c.Is(FParts, OnlyDPoP)
	isToken := func(faults ...oracle.Token) bool {
		for _, f := range faults {
			if c.Is(FToken, int(f)) {
				return true
			}
		}
		return false
	}
	switch {
	// New refuses these.
	case c.Is(FParts, Neither) && c.Is(FUnbound, 0):
		return "no token could pass"
	case c.Is(FPreset, PresetFAPI2) && (c.Is(FUnbound, 1) || c.Is(FSession, 1)):
		return "FAPI2 forbids it"
	case c.Is(FPreset, PresetFAPI2) && c.Is(FParts, Neither):
		return "FAPI2 needs a binding"
	case c.Is(FRule, ruleIn(oracle.KeyWanted, oracle.Enforce)) && noDPoP, c.Is(FRule, ruleIn(oracle.CertWanted, oracle.Enforce)) && noMTLS:
		return "no token could satisfy the rule"
	case c.Is(FAnonymous, 1) && (c.Is(FPreset, PresetFAPI2) || c.Is(FPreset, PresetMCP)):
		return "the preset forbids it"
	case c.Is(FRollout, 1) && (c.Is(FPreset, PresetFAPI2) || c.Is(FPreset, PresetMCP)):
		return "the preset forbids it"
	case c.Is(FRollout, 1) && noDPoP:
		return "no token is bound to a key"
	// What a preset sets is not set again.
	case c.Is(FPreset, PresetFAPI2) && c.Is(FTLS, 1), c.Is(FPreset, PresetMCP) && c.Is(FUnbound, 0):
		return "the preset says so"
	// A proof without DPoP part could not be made for it.
	case c.Is(FNonces, 1) && noDPoP:
		return "nonces are the DPoP part's"
	// Requests.
	case c.IsNot(FCookie, int(oracle.NoCookie)) && c.IsNot(FScheme, int(oracle.NoCredentials)):
		return "a cookie counts only without an Authorization field"
	case c.IsNot(FCookie, int(oracle.NoCookie)) && isToken(oracle.OversizedToken):
		return "no session begins with a token that does not fit"
	case c.Is(FCookie, int(oracle.CrossCookie)) && c.Is(FPreflight, 1):
		return "a POST is no preflight"
	case c.Is(FPlain, 1) && (c.Is(FCert, int(oracle.RightTLS)) || c.Is(FCert, int(oracle.WrongTLS)) || c.Is(FCert, int(oracle.ProxyOwn))):
		return "a certificate of a connection without TLS"
	case c.Is(FForm, Signed) && isToken(oracle.InactiveToken):
		return "only an issuer that is asked can say so"
	case c.Is(FForm, Opaque) && isToken(oracle.GarbledToken, oracle.TokenType, oracle.TokenAlg, oracle.ExpiredToken, oracle.MissingClaim, oracle.TokenSignature):
		return "an opaque token has nothing of the kind, and one that has ended is inactive"
	case c.IsNot(FForm, Signed) && c.IsNot(FTenants, 0):
		return "an opaque token names no tenant, and an introspector has one issuer"
	}
	return ""
}

// Describe translates c into the words of the oracle.
func (c *Combo) Describe() (oracle.Config, oracle.Request) {
	yes := func(f int) bool { return c[f] == 1 }
	host := oracle.Home
	if c[FHost] > strange {
		host = oracle.Host(c[FHost] - strange)
	}
	rule, stage := ruleOf(c[FRule])
	tenants, needOrigins, tenant := tenantOf(c[FTenants])
	return oracle.Config{
			DPoP: c[FParts]&OnlyDPoP != 0, MTLS: c[FParts]&OnlyMTLS != 0, Opaque: c[FForm] == Opaque, Asked: c[FForm] == Asked,
			Tenants: tenants, NeedOrigins: needOrigins,
			Nonces: yes(FNonces), AllowUnbound: yes(FUnbound), Session: yes(FSession), RefuseStray: yes(FStray), IgnoreQuery: yes(FIgnoreQuery),
			RequireTLS: yes(FTLS) || c[FPreset] == PresetFAPI2, PassPreflights: yes(FPass), Anonymous: yes(FAnonymous), MCP: c[FPreset] == PresetMCP,
			Hide: oracle.Hide(c[FHide]), Rule: rule, Stage: stage, Rollout: yes(FRollout),
		}, oracle.Request{
			Scheme: oracle.Scheme(c[FScheme]), Cookie: oracle.Cookie(c[FCookie]), Query: yes(FQuery), Token: oracle.Token(c[FToken]), Tenant: tenant,
			Binding: oracle.Binding(c[FBinding]), Proof: oracle.Proof(c[FProof]), Nonce: oracle.Nonce(c[FNonce]), Cert: oracle.Cert(c[FCert]), Listed: yes(FListed),
			Plain: yes(FPlain), Early: yes(FEarly), Misdirect: c[FHost] == strange, At: host, Preflight: yes(FPreflight), Outage: oracle.Outage(c[FOutage]),
		}
}

// String names the values that are not 0.
func (c *Combo) String() string {
	var b strings.Builder
	for f, v := range c {
		switch {
		case v == unset:
		case v != 0:
			fmt.Fprintf(&b, "%s=%d ", factors[f].name, v)
		}
	}
	return b.String()
}

// Base is a guard with both parts that takes unbound tokens, changed as told: a factor, its
// value, and so on.
func Base(changes ...int) (c Combo) {
	c[FParts], c[FUnbound] = BothParts, 1
	for i := 0; i < len(changes); i += 2 {
		c[changes[i]] = uint8(changes[i+1])
	}
	return c
}

// Bound are the changes for a request with a proof, and more.
func Bound(more ...int) []int {
	return append([]int{FScheme, int(oracle.DPoP), FBinding, int(oracle.ToKey), FProof, int(oracle.GoodProof)}, more...)
}
