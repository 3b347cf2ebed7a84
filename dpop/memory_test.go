package dpop_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/stretchr/testify/require"
)

func newCache(tb testing.TB, opts ...dpop.MemoryOption) *dpop.MemoryCache {
	tb.Helper()
	cache, err := dpop.NewMemoryCache(opts...)
	require.NoError(tb, err)
	return cache
}

func TestMemoryCacheIsAReplayCache(t *testing.T) {
	t.Parallel() // It takes seconds of real time.
	dpoptest.TestReplayCache(t, func() dpop.ReplayCache { return newCache(t) })
}

func TestMemoryCacheOptions(t *testing.T) {
	_, err := dpop.NewMemoryCache(dpop.WithCacheSize(0), nil, dpop.WithCacheSize(-1))
	require.ErrorContains(t, err, "WithCacheSize: 0 is not")
	require.ErrorContains(t, err, "option 2 is nil")
	_, err = dpop.NewMemoryCache(dpop.WithCacheSize(1), dpop.WithCacheSize(1))
	require.ErrorContains(t, err, "WithCacheSize is given twice")
	_, err = new(dpop.MemoryCache).Add(t.Context(), "k", proofID(1), time.Now().Add(time.Minute))
	require.Error(t, err, "the zero cache is not an open door")
}

func add(t testing.TB, c *dpop.MemoryCache, key string, id int, until time.Time) bool {
	t.Helper()
	fresh, err := c.Add(t.Context(), key, proofID(id), until)
	require.NoError(t, err)
	return fresh
}

func TestAFullCacheRefusesAndForgetsNothing(t *testing.T) {
	// AMB-35, DPOP-11.1-06 bounded under flood.
	const capacity = 1000
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, dpop.WithCacheSize(capacity))
		until := time.Now().Add(90 * time.Second)
		accepted := 0
		for i := range 3 * capacity {
			fresh, err := c.Add(t.Context(), fmt.Sprint(i), proofID(i), until)
			if err != nil {
				require.ErrorIs(t, err, dpop.ErrReplayCacheFull)
				require.False(t, fresh)
				continue
			}
			require.True(t, fresh)
			accepted++
		}
		require.LessOrEqual(t, accepted, capacity)
		require.Greater(t, accepted, capacity*98/100)
		require.False(t, add(t, c, "0", 0, until), "a replay is a replay, full or not")

		time.Sleep(89 * time.Second)
		require.False(t, add(t, c, "0", 0, until))
		_, err := c.Add(t.Context(), "new", proofID(-1), time.Now().Add(90*time.Second))
		require.True(t, err == dpop.ErrReplayCacheFull, "not its share: %v", err)

		time.Sleep(25 * time.Second)
		require.True(t, add(t, c, "new", -1, time.Now().Add(90*time.Second)), "what has expired makes room")
	})
}

func TestOneKeyDoesNotFillTheCacheForOthers(t *testing.T) {
	// AMB-35: one client must not be able to lock the others out.
	const capacity = 10_000
	until := time.Now().Add(5 * time.Minute)
	flood := func(t *testing.T, c *dpop.MemoryCache, key string, from int) (accepted int) {
		for i := range capacity {
			fresh, err := c.Add(t.Context(), key, proofID(from+i), until)
			if err != nil {
				require.ErrorIs(t, err, dpop.ErrReplayCacheFull)
				return accepted
			}
			require.True(t, fresh)
			accepted++
		}
		return accepted
	}
	t.Run("alone it gets half", func(t *testing.T) {
		c := newCache(t, dpop.WithCacheSize(capacity))
		require.InDelta(t, capacity/2, flood(t, c, "flood", 0), 2)
		for i := range capacity / 4 {
			require.True(t, add(t, c, fmt.Sprint("good", i%10), -1-i, until), i)
		}
	})
	t.Run("nine leave a tenth", func(t *testing.T) {
		c := newCache(t, dpop.WithCacheSize(capacity))
		stuck := 0
		for i := 0; stuck < 9; i++ {
			stuck = 0
			for k := range 9 {
				if _, err := c.Add(t.Context(), fmt.Sprint("flood", k), proofID(9*i+k), until); err != nil {
					stuck++
				}
			}
		}
		for i := range capacity / 10 * 8 / 10 {
			require.True(t, add(t, c, fmt.Sprint("good", i), -1-i, until), i)
		}
	})
	t.Run("what it is refused takes no room", func(t *testing.T) {
		c := newCache(t, dpop.WithCacheSize(100))
		for i := range 1000 {
			_, _ = c.Add(t.Context(), "flood", proofID(i), until)
		}
		for i := range 50 {
			require.True(t, add(t, c, fmt.Sprint("good", i), -1-i, until), i)
		}
		_, err := c.Add(t.Context(), "one too many", proofID(-100), until)
		require.ErrorIs(t, err, dpop.ErrReplayCacheFull)
	})
	t.Run("it gets its room back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, dpop.WithCacheSize(100))
			for range 5 {
				accepted := 0
				for i := range 100 {
					if fresh, err := c.Add(t.Context(), "flood", proofID(i), time.Now().Add(time.Minute)); err == nil && fresh {
						accepted++
					}
				}
				require.Equal(t, 50, accepted)
				time.Sleep(90 * time.Second)
			}
		})
	})
}

func TestACacheRemembersEverythingOfMixedLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		type record struct {
			id    int
			until time.Time
		}
		var live []record
		id := 0
		for step := range 200 {
			for _, life := range []time.Duration{0, time.Second, 7 * time.Second, 90 * time.Second, 10 * time.Minute, time.Duration(step) * 777 * time.Millisecond} {
				until := time.Now().Add(life)
				require.True(t, add(t, c, "k", id, until))
				live = append(live, record{id, until})
				id++
			}
			live = slices.DeleteFunc(live, func(r record) bool { return r.until.Before(time.Now()) })
			for _, r := range live {
				require.False(t, add(t, c, "k", r.id, r.until), "%v before its end", time.Until(r.until))
			}
			time.Sleep(time.Duration(step%7) * 433 * time.Millisecond)
		}
	})
}

func TestTimesThatMakeNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		_, err := c.Add(t.Context(), "k", proofID(1), time.Now().Add(25*time.Hour))
		require.Error(t, err)
		_, err = c.Add(t.Context(), "k", proofID(1), time.Now().Add(-time.Second))
		require.Error(t, err, "what the cache may have forgotten is not fresh")
		require.NotErrorIs(t, err, dpop.ErrReplayCacheFull)
		require.True(t, add(t, c, "k", 1, time.Now().Add(24*time.Hour)))
		require.False(t, add(t, c, "k", 1, time.Now().Add(time.Minute)))
	})
}

func TestConcurrentAddsAcrossTheEndOfBuckets(t *testing.T) {
	t.Parallel() // It takes seconds of real time.
	// Invariant: no id is fresh twice, however adds and expiry interleave.
	c := newCache(t)
	var wg sync.WaitGroup
	var doubles atomic.Int32
	var ids sync.Map
	stop := time.Now().Add(1800 * time.Millisecond)
	for range 4 {
		wg.Go(func() {
			for i := 0; time.Now().Before(stop); i++ {
				id := i % 4096
				until := stop.Truncate(time.Second).Add(time.Duration(id%3-3) * time.Second / 2)
				fresh, err := c.Add(t.Context(), "k", proofID(id), until)
				if err == nil && fresh {
					if _, again := ids.LoadOrStore(id, true); again {
						doubles.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, doubles.Load())
}

// A million live proofs take less than 48 bytes each.
func BenchmarkMemoryOfAMillionProofs(b *testing.B) {
	const proofs = 1_000_000
	for b.Loop() {
		before := heap()
		c := filledCache(b, proofs, time.Now().Add(10*time.Minute))
		perProof := float64(heap()-before) / proofs
		b.ReportMetric(perProof, "bytes/proof")
		if perProof > 48 {
			b.Errorf("%.1f bytes for each of %d live proofs", perProof, proofs)
		}
		runtime.KeepAlive(c)
	}
}

// No Add waits for a bucket of 200,000 proofs to be given up. Other processes preempt
// us, and sometimes for long; a walk over the bucket would take longer each time.
func BenchmarkPauseWhenABucketExpires(b *testing.B) {
	worst := longestAddAroundAnExpiry(b)
	for more := 2; worst > 50*time.Millisecond && more > 0; more-- {
		worst = min(worst, longestAddAroundAnExpiry(b))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(worst.Microseconds()), "us/longest")
	if worst > 50*time.Millisecond {
		b.Errorf("an Add took %v", worst)
	}
}

func longestAddAroundAnExpiry(t testing.TB) (worst time.Duration) {
	end := time.Now().Truncate(time.Second).Add(3 * time.Second)
	c, proofs := newCache(t), 0
	for ; proofs < 200_000 && time.Until(end) > 500*time.Millisecond; proofs++ {
		require.True(t, add(t, c, strconv.Itoa(proofs%100), proofs, end.Add(-time.Millisecond)))
	}
	before := heap()
	for i := proofs; time.Now().Before(end.Add(700 * time.Millisecond)); i++ {
		id, until := proofID(i), time.Now().Add(90*time.Second)
		start := time.Now()
		_, err := c.Add(t.Context(), "k", id, until)
		worst = max(worst, time.Since(start))
		require.NoError(t, err)
		time.Sleep(20 * time.Microsecond)
	}
	after := heap()
	t.Logf("the longest Add around the expiry of %d proofs took %v; heap %d -> %d KB", proofs, worst, before>>10, after>>10)
	require.Less(t, after, before, "what has expired is given back")
	runtime.KeepAlive(c)
	return worst
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
