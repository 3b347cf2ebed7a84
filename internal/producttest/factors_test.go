package producttest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/keybound-go/middleware/internal/oracle"
)

// A combo is one value for each factor: a configuration, a request, the state of the
// world, and the way in.
type combo [numFactors]uint8

// The factors. What a value means stands in the constants of package oracle; two values
// are no and yes.
const (
	// The configuration.
	fParts = iota // neither, DPoP, mTLS, both
	fOpaque
	fTenants
	fNonces
	fUnbound
	fSession
	fStray
	fIgnoreQuery
	fTLS
	fPass
	fPreset
	fHide
	fRule // each rule in each stage, see ruleIn
	fRollout
	// The request.
	fScheme
	fCookie
	fQuery
	fToken
	fBinding
	fProof
	fNonce
	fCert
	fListed
	fPlain
	fEarly
	fHost
	fPreflight
	// The world.
	fOutage
	fNest
	fDoor
	numFactors
)

// The values of the factors that package oracle does not name.
const (
	neither, onlyDPoP, onlyMTLS, bothParts = 0, 1, 2, 3
	noPreset, presetFAPI2, presetMCP       = 0, 1, 2
	noNest, sameParts, otherParts          = 0, 1, 2

	// Those of the service follow, from oracle.OtherHost on.
	homeHost, strangeHost = 0, 1

	doorWrap, doorCheck, doorJudge, doorForward = 0, 1, 2, 3
)

var factors = [numFactors]struct {
	name   string
	values int
}{
	fParts: {"parts", 4}, fOpaque: {"opaque", 2}, fTenants: {"tenants", 2}, fNonces: {"nonces", 2}, fUnbound: {"unbound", 2}, fSession: {"session", 2}, fStray: {"stray", 2},
	fIgnoreQuery: {"ignore query", 2}, fTLS: {"require TLS", 2}, fPass: {"pass preflights", 2}, fPreset: {"preset", 3},
	fHide: {"hide", int(oracle.HideCount)}, fRule: {"rule", ruleIn(oracle.RuleCount, 0)},
	fRollout: {"rollout", 2}, fListed: {"listed", 2},
	fScheme: {"scheme", int(oracle.SchemeCount)}, fCookie: {"cookie", int(oracle.CookieCount)}, fQuery: {"query", 2},
	fToken: {"token", int(oracle.TokenCount)}, fBinding: {"binding", int(oracle.BindingCount)}, fProof: {"proof", int(oracle.ProofCount)},
	fNonce: {"nonce", int(oracle.NonceCount)}, fCert: {"certificate", int(oracle.CertCount)}, fPlain: {"plain", 2}, fEarly: {"early", 2},
	fHost: {"host", int(oracle.HostCount) + 1}, fPreflight: {"preflight", 2},
	fOutage: {"outage", int(oracle.OutageCount)}, fNest: {"nest", 3}, fDoor: {"door", 4},
}

// ruleIn is the value of fRule for a rule in a stage; 0 is no rule.
func ruleIn(r oracle.Rule, s oracle.Stage) int {
	if r == oracle.NoRule {
		return 0
	}
	return 1 + int(r-1)*int(oracle.StageCount) + int(s)
}

// ruleOf is the rule and the stage that a value of fRule stands for.
func ruleOf(value uint8) (oracle.Rule, oracle.Stage) {
	if value == 0 {
		return oracle.NoRule, oracle.Enforce
	}
	n := oracle.Stage(value - 1)
	return oracle.Rule(n/oracle.StageCount) + 1, n % oracle.StageCount
}

// unset stands for any value in a partial combo.
const unset = 255

// cannotExist says why no such configuration or request can be made, or "". It judges
// partial combos too: a reason holds whatever the unset values become.
func cannotExist(c *combo) string {
	is := func(f, v int) bool { return c[f] == uint8(v) }
	isNot := func(f, v int) bool { return c[f] != unset && c[f] != uint8(v) }
	switch {
	// New refuses these.
	case is(fParts, neither) && is(fUnbound, 0):
		return "no token could pass"
	case is(fPreset, presetFAPI2) && (is(fUnbound, 1) || is(fSession, 1)):
		return "FAPI2 forbids it"
	case is(fPreset, presetFAPI2) && is(fParts, neither):
		return "FAPI2 needs a binding"
	case is(fRule, ruleIn(oracle.KeyWanted, oracle.Enforce)) && (is(fParts, neither) || is(fParts, onlyMTLS)),
		is(fRule, ruleIn(oracle.CertWanted, oracle.Enforce)) && (is(fParts, neither) || is(fParts, onlyDPoP)):
		return "no token could satisfy the rule"
	case is(fRollout, 1) && (is(fPreset, presetFAPI2) || is(fPreset, presetMCP)):
		return "the preset forbids it"
	case is(fRollout, 1) && (is(fParts, neither) || is(fParts, onlyMTLS)):
		return "no token is bound to a key"
	case is(fTenants, 1) && is(fOpaque, 1):
		return "an opaque token names no tenant"
	// What a preset sets is not set again.
	case is(fPreset, presetFAPI2) && is(fTLS, 1), is(fPreset, presetMCP) && is(fUnbound, 0):
		return "the preset says so"
	// A proof without DPoP part could not be made for it.
	case is(fNonces, 1) && (is(fParts, neither) || is(fParts, onlyMTLS)):
		return "nonces are the DPoP part's"
	// Requests.
	case isNot(fCookie, int(oracle.NoCookie)) && isNot(fScheme, int(oracle.NoCredentials)):
		return "a cookie counts only without an Authorization field"
	case isNot(fCookie, int(oracle.NoCookie)) && is(fToken, int(oracle.OversizedToken)):
		return "no session begins with a token that does not fit"
	case is(fCookie, int(oracle.CrossCookie)) && is(fPreflight, 1):
		return "a POST is no preflight"
	case is(fPlain, 1) && (is(fCert, int(oracle.RightTLS)) || is(fCert, int(oracle.WrongTLS)) || is(fCert, int(oracle.ProxyOwn))):
		return "a certificate of a connection without TLS"
	case is(fOpaque, 0) && is(fToken, int(oracle.InactiveToken)):
		return "only an issuer that is asked can say so"
	case is(fOpaque, 1) && (is(fToken, int(oracle.GarbledToken)) || is(fToken, int(oracle.TokenType)) || is(fToken, int(oracle.TokenAlg)) ||
		is(fToken, int(oracle.ExpiredToken)) || is(fToken, int(oracle.MissingClaim)) || is(fToken, int(oracle.TokenSignature))):
		return "an opaque token has nothing of the kind, and one that has ended is inactive"
	// Doors.
	case isNot(fDoor, doorWrap) && isNot(fNest, noNest):
		return "handlers nest, decisions do not"
	case is(fDoor, doorCheck) && is(fPreflight, 1):
		return "to let a preflight pass is not Check's"
	case is(fDoor, doorForward) && (is(fCert, int(oracle.RightTLS)) || is(fCert, int(oracle.WrongTLS))):
		return "the client's connection ends at the proxy, which asks over one of its own"
	}
	return ""
}

// describe translates a combo into the words of the oracle.
func (c *combo) describe() (oracle.Config, oracle.Request) {
	yes := func(f int) bool { return c[f] == 1 }
	host := oracle.Home
	if c[fHost] > strangeHost {
		host = oracle.Host(c[fHost] - strangeHost)
	}
	rule, stage := ruleOf(c[fRule])
	return oracle.Config{
			DPoP: c[fParts]&onlyDPoP != 0, MTLS: c[fParts]&onlyMTLS != 0,
			Opaque: yes(fOpaque), Tenants: yes(fTenants), Nonces: yes(fNonces), AllowUnbound: yes(fUnbound), Session: yes(fSession), RefuseStray: yes(fStray), IgnoreQuery: yes(fIgnoreQuery),
			RequireTLS: yes(fTLS) || c[fPreset] == presetFAPI2, PassPreflights: yes(fPass), MCP: c[fPreset] == presetMCP,
			Hide: oracle.Hide(c[fHide]), Rule: rule, Stage: stage, Rollout: yes(fRollout),
		}, oracle.Request{
			Scheme: oracle.Scheme(c[fScheme]), Cookie: oracle.Cookie(c[fCookie]), Query: yes(fQuery), Token: oracle.Token(c[fToken]),
			Binding: oracle.Binding(c[fBinding]), Proof: oracle.Proof(c[fProof]), Nonce: oracle.Nonce(c[fNonce]), Cert: oracle.Cert(c[fCert]), Listed: yes(fListed),
			Plain: yes(fPlain), Early: yes(fEarly), Misdirect: c[fHost] == strangeHost, At: host, Preflight: yes(fPreflight), Outage: oracle.Outage(c[fOutage]),
		}
}

func (c *combo) String() string {
	var b strings.Builder
	for f, v := range c {
		if v != 0 {
			fmt.Fprintf(&b, "%s=%d ", factors[f].name, v)
		}
	}
	return b.String()
}

// bases are requests that pass, each by another way. A request that differs from one of
// them in three values shows what the three do, undisturbed by others.
func bases() []combo {
	base := func(values ...int) (c combo) {
		c[fParts], c[fUnbound] = bothParts, 1
		for i := 0; i < len(values); i += 2 {
			c[values[i]] = uint8(values[i+1])
		}
		return c
	}
	dpop := []int{fScheme, int(oracle.DPoP), fBinding, int(oracle.ToKey), fProof, int(oracle.GoodProof)}
	with := func(more ...int) []int { return append(dpop[:len(dpop):len(dpop)], more...) }
	return []combo{
		base(dpop...),
		base(with(fNonces, 1)...),
		base(),
		base(fBinding, int(oracle.ToCert), fCert, int(oracle.RightTLS)),
		base(fBinding, int(oracle.ToCert), fCert, int(oracle.RightHeader)),
		base(with(fBinding, int(oracle.ToBoth), fCert, int(oracle.RightTLS), fUnbound, 0)...),
		base(with(fSession, 1, fScheme, int(oracle.NoCredentials), fCookie, int(oracle.DPoPCookie))...),
		base(with(fPreset, presetFAPI2, fUnbound, 0)...),
		base(with(fPreset, presetMCP, fNonces, 1)...),
		base(with(fNest, sameParts, fNonces, 1)...),
		base(with(fOpaque, 1)...),
		base(fRollout, 1, fListed, 1, fBinding, int(oracle.ToKey)),
		base(with(fRule, ruleIn(oracle.KeyWanted, oracle.Report))...),
		base(with(fOpaque, 1, fPreset, presetFAPI2, fUnbound, 0)...),
		base(with(fOpaque, 1, fSession, 1, fScheme, int(oracle.NoCredentials), fCookie, int(oracle.DPoPCookie))...),
		base(with(fTenants, 1, fHost, strangeHost+int(oracle.TenantHost))...),
		base(with(fDoor, doorForward, fBinding, int(oracle.ToBoth), fCert, int(oracle.RightHeader), fNonces, 1)...),
	}
}

// deviations yields base with each choice of up to n factors changed to each other value.
func deviations(base combo, n int, yield func(combo) bool) bool {
	var change func(c combo, from, left int) bool
	change = func(c combo, from, left int) bool {
		if cannotExist(&c) == "" && !yield(c) {
			return false
		}
		if left == 0 {
			return true
		}
		for f := from; f < numFactors; f++ {
			for v := range factors[f].values {
				if uint8(v) == base[f] {
					continue
				}
				d := c
				d[f] = uint8(v)
				if !change(d, f+1, left-1) {
					return false
				}
			}
		}
		return true
	}
	return change(base, 0, n)
}

// anyhow is a random combo. Values that end a decision early are rare: with evenly spread
// values hardly any request would get as far as its proof.
func anyhow(r *rand.Rand, bases []combo) combo {
	for {
		c := bases[r.IntN(len(bases))]
		for changes := 1 + r.IntN(10); changes > 0; changes-- {
			f := r.IntN(numFactors)
			c[f] = uint8(r.IntN(factors[f].values))
		}
		if cannotExist(&c) == "" {
			return c
		}
	}
}
