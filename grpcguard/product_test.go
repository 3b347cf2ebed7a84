package grpcguard_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keybound-go/middleware/internal/oracle"
)

// A combo is one value for each factor of a guard and a call. The factors are those of
// internal/producttest that exist for gRPC: calls have no query, no cookies and no
// preflights, and are not nested.
type combo [numFactors]uint8

const (
	// The configuration.
	fParts = iota // neither, DPoP, mTLS, both
	fNonces
	fUnbound
	fStray
	fTLS
	fHide
	fRule // each rule in each stage, see ruleIn
	fRollout
	// The call.
	fScheme
	fToken
	fBinding
	fProof
	fNonce
	fCert
	fListed
	fPlain
	fEarly
	fMisdirect
	// The world.
	fOutage
	fCall // unary, stream
	numFactors
)

const neither, onlyDPoP, onlyMTLS, bothParts = 0, 1, 2, 3

var factors = [numFactors]struct {
	name   string
	values int
}{
	fParts: {"parts", 4}, fNonces: {"nonces", 2}, fUnbound: {"unbound", 2}, fStray: {"stray", 2}, fTLS: {"require TLS", 2},
	fHide: {"hide", int(oracle.HideCount)}, fRule: {"rule", ruleIn(oracle.RuleCount, 0)}, fRollout: {"rollout", 2},
	fScheme: {"scheme", int(oracle.SchemeCount)}, fToken: {"token", int(oracle.InactiveToken)}, // not of an opaque token
	fBinding: {"binding", int(oracle.BindingCount)}, fProof: {"proof", int(oracle.ProofCount)}, fNonce: {"nonce", int(oracle.NonceCount)},
	fCert: {"certificate", int(oracle.CertCount)}, fListed: {"listed", 2}, fPlain: {"plain", 2}, fEarly: {"early", 2},
	fMisdirect: {"misdirected", 2}, fOutage: {"outage", int(oracle.OutageCount)}, fCall: {"stream", 2},
}

// ruleIn is the value of fRule for a rule in a stage; 0 is no rule.
func ruleIn(r oracle.Rule, s oracle.Stage) int {
	if r == oracle.NoRule {
		return 0
	}
	return 1 + int(r-1)*int(oracle.StageCount) + int(s)
}

// unset stands for any value in a partial combo.
const unset = 255

// cannotExist says why no such guard or call can be made, or "".
func cannotExist(c *combo) string {
	is := func(f, v int) bool { return c[f] == uint8(v) }
	noDPoP := is(fParts, neither) || is(fParts, onlyMTLS)
	noMTLS := is(fParts, neither) || is(fParts, onlyDPoP)
	switch {
	case is(fParts, neither) && is(fUnbound, 0):
		return "no token could pass"
	case is(fRule, ruleIn(oracle.KeyWanted, oracle.Enforce)) && noDPoP, is(fRule, ruleIn(oracle.CertWanted, oracle.Enforce)) && noMTLS:
		return "no token could satisfy the rule"
	case is(fRollout, 1) && noDPoP:
		return "no token is bound to a key"
	case is(fNonces, 1) && noDPoP:
		return "nonces are the DPoP part's"
	case is(fPlain, 1) && (is(fCert, int(oracle.RightTLS)) || is(fCert, int(oracle.WrongTLS)) || is(fCert, int(oracle.ProxyOwn))):
		return "a certificate of a connection without TLS"
	}
	return ""
}

// describe translates a combo into the words of the oracle.
func (c *combo) describe() (oracle.Config, oracle.Request) {
	yes := func(f int) bool { return c[f] == 1 }
	config := oracle.Config{
		DPoP: c[fParts]&onlyDPoP != 0, MTLS: c[fParts]&onlyMTLS != 0, Nonces: yes(fNonces), AllowUnbound: yes(fUnbound),
		RefuseStray: yes(fStray), RequireTLS: yes(fTLS), Hide: oracle.Hide(c[fHide]), Rollout: yes(fRollout),
	}
	if v := c[fRule]; v > 0 {
		n := oracle.Stage(v - 1)
		config.Rule, config.Stage = oracle.Rule(n/oracle.StageCount)+1, n%oracle.StageCount
	}
	return config, oracle.Request{
		Scheme: oracle.Scheme(c[fScheme]), Token: oracle.Token(c[fToken]), Binding: oracle.Binding(c[fBinding]), Proof: oracle.Proof(c[fProof]),
		Nonce: oracle.Nonce(c[fNonce]), Cert: oracle.Cert(c[fCert]), Listed: yes(fListed), Plain: yes(fPlain), Early: yes(fEarly),
		Misdirect: yes(fMisdirect), Outage: oracle.Outage(c[fOutage]),
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

// bases are calls that pass, each in another way.
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
		base(),
		base(with(fNonces, 1)...),
		base(fBinding, int(oracle.ToCert), fCert, int(oracle.RightTLS)),
		base(with(fBinding, int(oracle.ToBoth), fCert, int(oracle.RightHeader), fUnbound, 0, fCall, 1)...),
		base(fRollout, 1, fListed, 1, fBinding, int(oracle.ToKey)),
	}
}

// deviations yields base with each choice of up to n factors changed to each other value.
func deviations(base combo, n int, yield func(combo)) {
	var change func(c combo, from, left int)
	change = func(c combo, from, left int) {
		if cannotExist(&c) == "" {
			yield(c)
		}
		for f := from; f < numFactors && left > 0; f++ {
			for v := range factors[f].values {
				if uint8(v) != base[f] {
					d := c
					d[f] = uint8(v)
					change(d, f+1, left-1)
				}
			}
		}
	}
	change(base, 0, n)
}

// combos are the bases with up to two values changed, each combo once; with a PRODUCT of
// more than a million, as at night, three, with -short one.
func combos() (all []combo) {
	depth := 2
	n, _ := strconv.Atoi(os.Getenv("PRODUCT"))
	switch {
	case n > 1_000_000:
		depth = 3
	case testing.Short():
		depth = 1
	}
	seen := make(map[combo]bool)
	for _, b := range bases() {
		deviations(b, depth, func(c combo) {
			if !seen[c] {
				seen[c] = true
				all = append(all, c)
			}
		})
	}
	return all
}

// TestEveryPairOccurs holds that TestProduct has each pair of values of two factors,
// except pairs that cannot exist.
func TestEveryPairOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	type pair struct{ f, g, a, b uint8 }
	seen := make(map[pair]bool)
	for _, c := range combos() {
		for f := range c {
			for g := f + 1; g < numFactors; g++ {
				seen[pair{uint8(f), uint8(g), c[f], c[g]}] = true
			}
		}
	}
	for f := range numFactors {
		for g := f + 1; g < numFactors; g++ {
			for a := range factors[f].values {
				for b := range factors[g].values {
					var c combo
					for i := range c {
						c[i] = unset
					}
					c[f], c[g] = uint8(a), uint8(b)
					if !seen[pair{uint8(f), uint8(g), c[f], c[g]}] && cannotExist(&c) == "" {
						t.Errorf("%s=%d %s=%d never occurs", factors[f].name, a, factors[g].name, b)
					}
				}
			}
		}
	}
}

// TestProduct sends combinations of guard and call through real servers, and compares the
// verdict with the oracle's word: the status and its details, the challenges, the nonce,
// and what the handler sees.
func TestProduct(t *testing.T) {
	p := newProduct(t)
	var (
		mu       sync.Mutex
		wg       sync.WaitGroup
		found    = make(map[string][]combo)
		accepted int
	)
	all := combos()
	work := make(chan *combo, 64)
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range work {
				got, problems := p.run(c)
				want := oracle.Decide(c.describe())
				mu.Lock()
				if got.Status == 200 {
					accepted++
				}
				if got != want {
					what := fmt.Sprintf("oracle %+v\n\tguard  %+v", want, got)
					found[what] = append(found[what], *c)
				}
				for _, problem := range problems {
					found[problem] = append(found[problem], *c)
				}
				mu.Unlock()
			}
		})
	}
	for i := range all {
		work <- &all[i]
	}
	close(work)
	wg.Wait()
	t.Logf("%d combinations, %d accepted", len(all), accepted)
	n := 0
	for what, combos := range found {
		if n++; n > 10 {
			t.Fatalf("and %d other differences", len(found)-10)
		}
		t.Errorf("%d times:\n\t%s\n\tfirst: %v", len(combos), what, &combos[0])
	}
}
