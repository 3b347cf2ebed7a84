package dpop_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
)

func proofID(i int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func filledCache(tb testing.TB, n int, until time.Time) *dpop.MemoryCache {
	tb.Helper()
	cache, err := dpop.NewMemoryCache(dpop.WithCapacity(1 << 23))
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		if fresh, err := cache.Add(context.Background(), fmt.Sprint(i%1000), proofID(i), until); err != nil || !fresh {
			tb.Fatal(i, fresh, err)
		}
	}
	return cache
}

func BenchmarkMemoryCacheAdd(b *testing.B) {
	for _, live := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(live), func(b *testing.B) {
			until := time.Now().Add(10 * time.Minute)
			const batch = 1000
			cache := filledCache(b, live, until)
			ids := make([][32]byte, batch)
			next := live
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%batch == 0 {
					b.StopTimer()
					for j := range ids {
						ids[j] = proofID(next)
						next++
					}
					b.StartTimer()
				}
				cache.Add(context.Background(), "key", ids[i%batch], until)
			}
		})
	}
}

func BenchmarkMem(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := filledCache(b, 1_000_000, time.Now().Add(10*time.Minute))
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/entry")
	runtime.KeepAlive(c)
}
