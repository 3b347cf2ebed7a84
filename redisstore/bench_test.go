package redisstore_test

import (
	"encoding/base64"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/redisstore"
)

// bare is the least that a cache could do: SET NX PX of the whole id.
func bare(b *testing.B, client redis.UniversalClient) func() {
	return func() {
		id := randomID()
		fresh, err := client.SetNX(b.Context(), "bare:"+base64.RawURLEncoding.EncodeToString(id[:]), 1, 90*time.Second).Result()
		if err != nil || !fresh {
			b.Fatal(fresh, err)
		}
	}
}

func adding(b *testing.B, c *redisstore.ReplayCache) func() {
	return func() {
		if fresh, err := c.Add(b.Context(), "jkt", randomID(), soon()); err != nil || !fresh {
			b.Fatal(fresh, err)
		}
	}
}

func BenchmarkBareSetNXPX(b *testing.B) {
	op := bare(b, startServer(b).client())
	b.ReportAllocs()
	for b.Loop() {
		op()
	}
}

func BenchmarkAdd(b *testing.B) {
	op := adding(b, newReplayCache(b, startServer(b).client(), patient()))
	b.ReportAllocs()
	for b.Loop() {
		op()
	}
}

// BenchmarkAddBesideBare does the one and the other in turn, so that whatever else the
// machine does weighs on both, and compares their medians. DESIGN: at most 1.15.
func BenchmarkAddBesideBare(b *testing.B) {
	s := startServer(b)
	client := s.client()
	ops := [2]func(){bare(b, client), adding(b, newReplayCache(b, client, patient()))}
	var took [2][]time.Duration
	for range 100 {
		ops[0]()
		ops[1]()
	}
	for b.Loop() {
		for i, op := range ops {
			began := time.Now()
			op()
			took[i] = append(took[i], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	b.ReportMetric(median(took[0]), "ns/bare")
	b.ReportMetric(median(took[1]), "ns/add")
	b.ReportMetric(median(took[1])/median(took[0]), "x-bare")
}

func BenchmarkParallel(b *testing.B) {
	for name, op := range map[string]func(*testing.B, *redis.Client) func(){
		"bare": func(b *testing.B, c *redis.Client) func() { return bare(b, c) },
		"add":  func(b *testing.B, c *redis.Client) func() { return adding(b, newReplayCache(b, c, patient())) },
	} {
		b.Run(name, func(b *testing.B) {
			do := op(b, startServer(b).client())
			b.SetParallelism(25)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					do()
				}
			})
		})
	}
}

func BenchmarkKnownReplay(b *testing.B) {
	for name, opts := range map[string][]redisstore.ReplayOption{
		"asking": nil, "local tier": {redisstore.WithCacheSize(1000)},
	} {
		b.Run(name, func(b *testing.B) {
			c := newReplayCache(b, startServer(b).client(), append(opts, patient())...)
			id, until := randomID(), time.Now().Add(time.Hour)
			_, err := c.Add(b.Context(), "jkt", id, until)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if fresh, err := c.Add(b.Context(), "jkt", id, until); err != nil || fresh {
					b.Fatal(fresh, err)
				}
			}
		})
	}
}

func BenchmarkTokenCache(b *testing.B) {
	c := newTokenCache(b, startServer(b).client(), tokenKey(0), redisstore.WithPreviousKeys(tokenKey(1)))
	id, value := randomID(), make([]byte, 1000)
	b.Run("Set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, c.Set(b.Context(), id, value, time.Minute))
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok, err := c.Get(b.Context(), id); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	})
}

// Benchmark64AtOnce is 64 requests that come at the same time, again and again: with a
// SET NX of go-redis each, and with Add, which pipelines them. The two take turns.
// DESIGN: half the time.
func Benchmark64AtOnce(b *testing.B) {
	const callers = 64
	client := startServer(b).client()
	ops := [2]func(){bare(b, client), adding(b, newReplayCache(b, client, patient()))}
	var took [2][]time.Duration
	burst := func(op func()) time.Duration {
		var wg sync.WaitGroup
		began := time.Now()
		for range callers {
			wg.Go(op)
		}
		wg.Wait()
		return time.Since(began)
	}
	for range 20 {
		burst(ops[0])
		burst(ops[1])
	}
	for b.Loop() {
		for i, op := range ops {
			took[i] = append(took[i], burst(op))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took[0])/callers, "ns/bare")
	b.ReportMetric(median(took[1])/callers, "ns/add")
	b.ReportMetric(median(took[1])/median(took[0]), "x-bare")
}
