package producttest

import (
	"math/rand/v2"
	"net/http"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/oracle"
)

// A Door is a way for requests to reach a guard.
type Door struct {
	Name string

	// Method and Path are those of requests. The defaults are GET and /orders.
	Method, Path string

	// CannotExist says why a Combo cannot come through the door, or "". It judges partial
	// combos too. May be nil.
	CannotExist func(c *Combo) string

	// Word is the oracle's word on c at this door. The default is [Word].
	Word func(c Combo) oracle.Verdict

	// Open puts guards behind the door, the outermost first, and returns a function that
	// sends a request through it and says what came of it. That function is called
	// concurrently.
	Open func(w *World, guards []*middleware.Guard) func(r *http.Request, s *Situation) oracle.Verdict
}

// A Product is what runs through doors: every combination that can exist of what a guard,
// a request and the world can be. A base is a request that passes, each by another way: one
// that differs from it in three values shows what the three do, undisturbed by others.
type Product struct {
	Doors []Door
	Bases []Combo
}

// New returns a Product of the doors. Its bases come through the first door, where that
// can be, and the others through the first one that takes them.
func New(doors []Door, more ...Combo) *Product {
	p := &Product{Doors: doors}
	for _, c := range append(bases(), more...) {
		for p.cannotExist(&c) != "" && int(c[FDoor]) < len(doors) {
			c[FDoor]++
		}
		if int(c[FDoor]) < len(doors) {
			p.Bases = append(p.Bases, c)
		}
	}
	return p
}

// bases are requests that pass through most doors.
func bases() []Combo {
	byCookie := []int{FSession, 1, FScheme, int(oracle.NoCredentials), FCookie, int(oracle.DPoPCookie)}
	return []Combo{
		Base(Bound()...),
		Base(Bound(FNonces, 1)...),
		Base(),
		Base(FBinding, int(oracle.ToCert), FCert, int(oracle.RightTLS)),
		Base(FBinding, int(oracle.ToCert), FCert, int(oracle.RightHeader)),
		Base(Bound(FBinding, int(oracle.ToBoth), FCert, int(oracle.RightTLS), FUnbound, 0)...),
		Base(Bound(byCookie...)...),
		Base(Bound(FPreset, PresetFAPI2, FUnbound, 0)...),
		Base(Bound(FPreset, PresetMCP, FNonces, 1)...),
		Base(Bound(FNest, SameParts, FNonces, 1)...),
		Base(Bound(FForm, Opaque)...),
		Base(FRollout, 1, FListed, 1, FBinding, int(oracle.ToKey)),
		Base(Bound(FRule, ruleIn(oracle.KeyWanted, oracle.Report))...),
		Base(Bound(FForm, Opaque, FPreset, PresetFAPI2, FUnbound, 0)...),
		Base(Bound(append(byCookie, FForm, Opaque)...)...),
		Base(Bound(FTenants, tenantIn(oracle.HomeTenant), FHost, hostIn(oracle.TenantHost), FNonces, 1)...),
		Base(Bound(FForm, Asked)...),
		Base(FAnonymous, 1, FScheme, int(oracle.NoCredentials), FSession, 1),
	}
}

// ForwardBase is a request that passes behind a proxy at the door of that number.
func ForwardBase(door int) Combo {
	return Base(Bound(FDoor, door, FBinding, int(oracle.ToBoth), FCert, int(oracle.RightHeader), FNonces, 1)...)
}

// values is how many values the factor f has.
func (p *Product) values(f int) int {
	if f == FDoor {
		return len(p.Doors)
	}
	return factors[f].values
}

func (p *Product) cannotExist(c *Combo) string {
	if why := cannotExist(c); why != "" || c[FDoor] == unset {
		return why
	}
	if int(c[FDoor]) >= len(p.Doors) {
		return "no such door"
	}
	if d := p.Doors[c[FDoor]]; d.CannotExist != nil {
		return d.CannotExist(c)
	}
	return ""
}

// word is the oracle's word on c.
func (p *Product) word(c *Combo) oracle.Verdict {
	if d := p.Doors[c[FDoor]]; d.Word != nil {
		return d.Word(*c)
	}
	return Word(*c)
}

// Word is the oracle's word on c at a door that leaves everything as it is.
func Word(c Combo) oracle.Verdict {
	config, request := c.Describe()
	if c[FNest] != NoNest {
		outer, inner := Nested(config)
		return oracle.Nested(outer, inner, c[FNest] == SameParts, request)
	}
	return oracle.Decide(config, request)
}

// deviations yields base with each choice of up to n of the factors changed to each other
// value.
func (p *Product) deviations(base Combo, n int, of []int, yield func(Combo) bool) bool {
	var change func(c Combo, from, left int) bool
	change = func(c Combo, from, left int) bool {
		if p.cannotExist(&c) == "" && !yield(c) {
			return false
		}
		if left == 0 {
			return true
		}
		for at := from; at < len(of); at++ {
			f := of[at]
			for v := range p.values(f) {
				if uint8(v) == base[f] {
					continue
				}
				d := c
				d[f] = uint8(v)
				if !change(d, at+1, left-1) {
					return false
				}
			}
		}
		return true
	}
	return change(base, 0, n)
}

// A Plan says which combos run.
type Plan struct {
	Depth int // how many values of each base are changed
	Runs  int // random combos fill the number up to this one

	// In the factors of Deep three values of each of From are changed, whatever Depth is.
	Deep []int
	From []Combo
}

// Combos yields the combos of the plan. Some occur twice.
func (p *Product) Combos(plan Plan) func(yield func(Combo) bool) {
	return func(yield func(Combo) bool) {
		left := plan.Runs
		count := func(c Combo) bool { left--; return yield(c) }
		for _, base := range p.Bases {
			if !p.deviations(base, plan.Depth, everyFactor(), count) {
				return
			}
		}
		for _, base := range plan.From {
			if !p.deviations(base, 3, plan.Deep, count) {
				return
			}
		}
		for r := rand.New(rand.NewPCG(uint64(plan.Runs), 1)); left > 0; left-- {
			if !yield(p.anyhow(r)) {
				return
			}
		}
	}
}

// anyhow is a random Combo. Values that end a decision early are rare: with evenly spread
// values hardly any request would get as far as its proof.
func (p *Product) anyhow(r *rand.Rand) Combo {
	for {
		c := p.Bases[r.IntN(len(p.Bases))]
		for changes := 1 + r.IntN(10); changes > 0; changes-- {
			f := r.IntN(numFactors)
			c[f] = uint8(r.IntN(p.values(f)))
		}
		if p.cannotExist(&c) == "" {
			return c
		}
	}
}
