package tenants_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// BenchmarkTenants shows that a known token costs the same whether 10,000 tokens come
// from one issuer or from 10,000 issuers.
func BenchmarkTenants(b *testing.B) {
	const tokens = 10_000
	for _, issuers := range []int{1, 100, tokens} {
		n := newTown(b)
		s := n.tenants(b, tenants.WithMaxTenants(tokens))
		raws := make([]string, tokens)
		for i := range raws {
			raws[i] = n.token(i%issuers, oidctest.Claim("jti", strconv.Itoa(i)))
			accept(b, s, raws[i])
		}
		verify := func(i int) {
			if _, err := s.VerifyToken(b.Context(), raws[i%tokens]); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("known/of %d issuers", issuers), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				verify(i)
			}
		})
		b.Run(fmt.Sprintf("known/of %d issuers, parallel", issuers), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(tokens); pb.Next(); i++ {
					verify(i)
				}
			})
		})
		b.Run(fmt.Sprintf("one token/of %d issuers", issuers), func(b *testing.B) {
			for b.Loop() {
				verify(0)
			}
		})
		require.NoError(b, s.Close())
	}
	n := newTown(b)
	one, err := oidc.New(nameOf(1), oidctest.Audience, oidc.WithHTTPClient(&http.Client{Transport: n}))
	require.NoError(b, err)
	defer one.Close()
	raw := n.token(1)
	accept(b, one, raw)
	b.Run("one token/of a Verifier", func(b *testing.B) {
		for b.Loop() {
			if _, err := one.VerifyToken(b.Context(), raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestTenantsSoak serves many tenants while one in a hundred is down. The 99th percentile
// of requests to the other tenants stays as it was, and memory and goroutines stay at
// what live tenants take.
//
// TENANTS=10000 is the long form, for .ci/nightly. It also judges the numbers that a
// short run cannot tell from noise.
func TestTenantsSoak(t *testing.T) {
	many, long := 200, false
	if s := os.Getenv("TENANTS"); s != "" {
		var err error
		many, err = strconv.Atoi(s)
		require.NoError(t, err)
		long = true
	} else if testing.Short() {
		t.Skip("takes a second")
	}
	before, memory := runtime.NumGoroutine(), heap()
	n := newTown(t)
	s := n.tenants(t, tenants.WithMaxTenants(many), tenants.WithCacheSize(many))
	raws := make([][2]string, many)
	for i := range raws {
		raws[i] = [2]string{n.token(i), n.token(i, oidctest.Claim("jti", "2"))}
	}
	sick := func(i int) bool { return i%100 == 7 }
	for i := range raws {
		if !sick(i) {
			accept(t, s, raws[i][0])
		}
	}
	live := s.Len()
	perTenant := float64(runtime.NumGoroutine()-before) / float64(live)
	t.Logf("%d live tenants: %.1f goroutines and %d KiB each", live, perTenant, (heap()-memory)/uint64(live)>>10)
	require.Less(t, perTenant, 12.0)
	if long {
		require.Less(t, (heap()-memory)/uint64(live), uint64(128<<10))
	}
	round := 300 * time.Millisecond
	if long {
		round = 20 * time.Second
	}
	healthy := n.load(t, s, raws, sick, round, 0)
	for i := range raws {
		if sick(i) {
			n.set(n.hangs, i, i%200 == 7)
			n.set(n.down, i, i%200 != 7)
		}
	}
	outage := n.load(t, s, raws, sick, round, 16)
	again := n.load(t, s, raws, sick, round, 16)
	t.Logf("99th percentile of the others: %v before, %v and %v in the outage", healthy, outage, again)
	if long {
		require.Less(t, min(outage, again), 3*healthy/2+20*time.Microsecond)
	}
	require.LessOrEqual(t, s.Len(), many+max(16, many/8))
	t.Run("one that is live no more leaves nothing", func(t *testing.T) {
		for i := range raws {
			s.Forget(nameOf(i))
		}
		require.Zero(t, s.Len())
		require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+40 }, 15*time.Second, 50*time.Millisecond,
			"%d goroutines", runtime.NumGoroutine())
		if long {
			require.Less(t, heap(), memory+uint64(many)*10<<10, "the tokens of the test, and those that are remembered")
		}
	})
	for i := range raws {
		n.set(n.hangs, i, false)
		n.set(n.down, i, false)
	}
	for i := range min(many, 50) { // and all are back, those that were down too
		accept(t, s, raws[i][1])
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// load serves tokens of the healthy tenants for a while, some of them not remembered,
// while the given number of workers asks for the tenants that are down. It returns the
// 99th percentile of a healthy tenant's request.
func (n *town) load(t *testing.T, s *tenants.Tenants, raws [][2]string, sick func(int) bool, d time.Duration, sickWorkers int) time.Duration {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for w := range sickWorkers {
		all.Go(func() {
			for i := w; ctx.Err() == nil; i++ {
				one := 7 + 100*(i%max(1, len(raws)/100))
				short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				_, err := s.VerifyToken(short, raws[one][i%2])
				cancel()
				if err == nil {
					t.Error("a tenant that is down has accepted a token")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	var took []time.Duration
	for i := 0; ctx.Err() == nil; i++ {
		one := rand.IntN(len(raws))
		if sick(one) {
			continue
		}
		raw := raws[one][0]
		if i%10 == 0 {
			raw = raws[one][1] // which takes a signature: not all of them can be remembered
		}
		begin := time.Now()
		_, err := s.VerifyToken(t.Context(), raw)
		took = append(took, time.Since(begin))
		if err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}
