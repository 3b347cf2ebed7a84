package producttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/keybound-go/middleware/internal/oracle"
)

// runs is how many combos TestProduct sends through the guard: PRODUCT, or what go test
// has time for.
func runs(t *testing.T) int {
	n := 15_000
	if testing.Short() {
		n = 5_000
	}
	if s := os.Getenv("PRODUCT"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("PRODUCT=%q is no number", s)
		}
	}
	return n
}

// TestProduct compares the guard with the oracle: first each passing request with one
// value changed, or two, or from a million runs on three, then random combos.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		j := newJudge(w)
		n := runs(t)
		depth := 2
		switch {
		case n >= 1_000_000:
			depth = 3
		case n < 20_000:
			depth = 1
		}
		seed := uint64(n)
		j.start(func(yield func(combo) bool) {
			left := n
			for _, base := range bases() {
				if !deviations(base, depth, func(c combo) bool { left--; return yield(c) }) {
					return
				}
			}
			for r, b := rand.New(rand.NewPCG(seed, 1)), bases(); left > 0; left-- {
				if !yield(anyhow(r, b)) {
					return
				}
			}
		})
		j.report(t)
	})
}

// judge runs combos on every core and collects where guard and oracle differ.
type judge struct {
	w        *world
	mu       sync.Mutex
	found    map[string][]combo // by what differs
	total    int
	accepted int
}

func newJudge(w *world) *judge { return &judge{w: w, found: make(map[string][]combo)} }

func (j *judge) start(combos func(yield func(combo) bool)) {
	const batch = 512
	work := make(chan []combo, 64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for combos := range work {
				accepted := 0
				for i := range combos {
					if j.judge(&combos[i]) {
						accepted++
					}
				}
				j.mu.Lock()
				j.total += len(combos)
				j.accepted += accepted
				j.mu.Unlock()
			}
		})
	}
	var next []combo
	combos(func(c combo) bool {
		if next = append(next, c); len(next) == batch {
			work <- next
			next = make([]combo, 0, batch)
		}
		return true
	})
	work <- next
	close(work)
	wg.Wait()
}

// expected is the oracle's word on c.
func expected(c *combo) oracle.Verdict {
	config, request := c.describe()
	switch {
	case c[fDoor] == doorCheck:
		v := oracle.Decide(config, request)
		if v.Reason == oracle.Unavailable && config.Nonces && request.Outage == oracle.NonceSourceDown && request.Nonce == oracle.NoNonce {
			// Without a response no nonce is needed, and a proof without one is no
			// question to the source.
			v.Status, v.Reason = 401, oracle.NonceWanted
		}
		h := v.Handler
		return oracle.Verdict{Status: v.Status, Reason: v.Reason, WouldDeny: v.WouldDeny, Handler: oracle.Handler{Credential: h.Credential, Key: h.Key, Cert: h.Cert, Unproven: h.Unproven}}
	case c[fDoor] == doorForward:
		return forwarded(oracle.Decide(config, request))
	case c[fNest] != noNest:
		outer, inner := nested(config)
		return oracle.Nested(outer, inner, c[fNest] == sameParts, request)
	}
	return oracle.Decide(config, request)
}

// judge reports whether the request was accepted.
func (j *judge) judge(c *combo) bool {
	want := expected(c)
	got, s := j.w.run(c)
	if got != want {
		j.add(difference(want, got), c)
	}
	for _, problem := range s.problems {
		j.add(problem, c)
	}
	return got.Status == 200
}

func (j *judge) add(what string, c *combo) {
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
		t.Errorf("%d times: %s\n\tfirst: %v", len(j.found[what]), what, &j.found[what][0])
	}
}
