package producttest

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"testing"

	"github.com/keybound-go/middleware/internal/oracle"
)

// Runs is the number in the variable PRODUCT, which says how long a product test may run,
// or 0.
func Runs(t *testing.T) int {
	s := os.Getenv("PRODUCT")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("PRODUCT=%q is no number", s)
	}
	return n
}

// Important are the factors that decide what becomes of most requests, in their order.
func Important() []int { return []int{FScheme, FToken, FBinding, FProof, FCert, FOutage} }

// ModulePlan is the plan of a door in a module of its own: up to two values of each base
// are changed, and three of the important factors; at night, which is a PRODUCT of more
// than a million, any three; with -short one.
func ModulePlan(t *testing.T) Plan {
	switch {
	case Runs(t) > 1_000_000:
		return Plan{Depth: 3, Runs: 1_000_000}
	case testing.Short():
		return Plan{Depth: 1}
	}
	return Plan{Depth: 2, Deep: Important(), From: []Combo{Base(Bound(FForm, Asked)...), Base(FForm, Asked)}}
}

// Run sends the combos of the plan through their doors on every core, and compares what
// comes of each with the oracle's word. Call it in the bubble of w.
func (p *Product) Run(t *testing.T, w *World, plan Plan) {
	j := &judge{p: p, w: w, found: make(map[string][]Combo), doors: make([]int, len(p.Doors))}
	j.start(p.Combos(plan))
	j.report(t)
}

// judge runs combos and collects where guard and oracle differ.
type judge struct {
	p        *Product
	w        *World
	mu       sync.Mutex
	found    map[string][]Combo // by what differs
	total    int
	accepted int
	doors    []int // how many went through each
}

func (j *judge) start(combos func(yield func(Combo) bool)) {
	const batch = 512
	work := make(chan []Combo, 64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			doors := make([]int, len(j.p.Doors))
			for combos := range work {
				accepted := 0
				for i := range combos {
					doors[combos[i][FDoor]]++
					if j.judge(&combos[i]) {
						accepted++
					}
				}
				j.mu.Lock()
				j.total += len(combos)
				j.accepted += accepted
				j.mu.Unlock()
			}
			j.mu.Lock()
			defer j.mu.Unlock()
			for d, n := range doors {
				j.doors[d] += n
			}
		})
	}
	var next []Combo
	combos(func(c Combo) bool {
		if next = append(next, c); len(next) == batch {
			work <- next
			next = make([]Combo, 0, batch)
		}
		return true
	})
	work <- next
	close(work)
	wg.Wait()
}

// judge reports whether the request was accepted.
func (j *judge) judge(c *Combo) bool {
	want := j.p.word(c)
	r, s := j.w.request(c, &j.p.Doors[c[FDoor]])
	s.Sampled = j.w.count.Add(1)%64 == 0
	got := j.w.open(j.p, c).ask(r, s)
	if got != want {
		j.add(difference(want, got), c)
	}
	for _, problem := range s.Problems {
		j.add(problem, c)
	}
	return got.Status == 200
}

func (j *judge) add(what string, c *Combo) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.found[what] = append(j.found[what], *c)
}

// difference names the fields that differ, so that one cause is reported once.
func difference(want, got oracle.Verdict) string {
	text := ""
	field := func(name string, want, got any) {
		if want != got {
			text += fmt.Sprintf("%s: oracle %v, guard %v; ", name, want, got)
		}
	}
	field("status", want.Status, got.Status)
	field("reason", want.Reason, got.Reason)
	field("DPoP", want.DPoP, got.DPoP)
	field("Bearer", want.Bearer, got.Bearer)
	field("scope", want.Scope, got.Scope)
	field("nonce", want.Nonce, got.Nonce)
	field("cache", want.Cache, got.Cache)
	field("vary", want.Vary, got.Vary)
	field("vary cookie", want.VaryCookie, got.VaryCookie)
	field("session", want.Session, got.Session)
	field("would deny", want.WouldDeny, got.WouldDeny)
	field("handler", fmt.Sprintf("%+v", want.Handler), fmt.Sprintf("%+v", got.Handler))
	return text
}

func (j *judge) report(t *testing.T) {
	t.Logf("%d combinations, %d accepted", j.total, j.accepted)
	for d, n := range j.doors {
		t.Logf("%d through %s", n, j.p.Doors[d].Name)
	}
	var kinds []string
	for what := range j.found {
		kinds = append(kinds, what)
	}
	sort.Slice(kinds, func(a, b int) bool { return len(j.found[kinds[a]]) > len(j.found[kinds[b]]) })
	for i, what := range kinds {
		if i == 20 {
			t.Errorf("and %d other differences", len(kinds)-i)
			break
		}
		c := j.found[what][0]
		t.Errorf("%d times: %s\n\tfirst: %v, through %s", len(j.found[what]), what, &c, j.p.Doors[c[FDoor]].Name)
	}
}
