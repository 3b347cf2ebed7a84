//go:build !race

package middleware_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
)

// allocations counts those of one Check of each of the requests; the first one
// warms up and does not count.
func allocations(g *middleware.Guard, requests []*http.Request, pass bool) (n float64, failed int) {
	next := 0
	n = testing.AllocsPerRun(len(requests)-1, func() {
		if _, err := g.Check(requests[next]); (err == nil) != pass {
			failed++
		}
		next++
	})
	return n, failed
}

func TestADecisionAllocatesLittle(t *testing.T) {
	const runs = 100
	w := newWorld(t)
	requests := func(next func() *http.Request) (all []*http.Request) {
		for range runs + 1 {
			all = append(all, next())
		}
		return all
	}
	certificate, bearer := w.certRequest("/orders/42"), w.bearerRequest("/orders/42")
	for name, row := range map[string]struct {
		limit    float64
		requests []*http.Request
	}{
		"DPoP, token seen before":        {30, requests(w.seenToken("/orders/42"))},
		"DPoP, token never seen":         {60, requests(func() *http.Request { return w.dpopRequest("/orders/42") })},
		"certificate, token seen before": {3, requests(func() *http.Request { return certificate })},
		"bearer, token seen before":      {3, requests(func() *http.Request { return bearer })},
	} {
		t.Run(name, func(t *testing.T) {
			n, failed := allocations(w.guard(both(middleware.AllowUnbound())...), row.requests, true)
			require.Zero(t, failed)
			require.LessOrEqual(t, n, row.limit)
			t.Logf("%v allocations", n)
		})
	}
}

func TestAStructuralRejectionAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	for name, r := range structural(w) {
		t.Run(name, func(t *testing.T) {
			requests := make([]*http.Request, 101)
			for i := range requests {
				requests[i] = r
			}
			n, failed := allocations(g, requests, false)
			require.Zero(t, failed)
			require.Zero(t, n)
		})
	}
}
