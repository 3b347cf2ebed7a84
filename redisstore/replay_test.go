package redisstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/redisstore"
)

func newReplayCache(tb testing.TB, client redis.UniversalClient, opts ...redisstore.ReplayOption) *redisstore.ReplayCache {
	tb.Helper()
	c, err := redisstore.NewReplayCache(client, opts...)
	require.NoError(tb, err)
	return c
}

func randomID() (id [32]byte) {
	rand.Read(id[:])
	return id
}

func soon() time.Time { return time.Now().Add(90 * time.Second) }

// patient is for tests of other things than the deadline, on a machine that is busy.
func patient() redisstore.Option { return redisstore.WithTimeout(10 * time.Second) }

func add(tb testing.TB, c dpop.ReplayCache, id [32]byte) (fresh bool) {
	tb.Helper()
	fresh, err := c.Add(tb.Context(), "jkt", id, soon())
	require.NoError(tb, err)
	return fresh
}

func TestReplayCacheIsAReplayCache(t *testing.T) {
	// DPOP-11.1-03, DPOP-11.1-06, DPOP-11.1-07.
	s := startServer(t)
	t.Run("each with a client of its own", func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache { return newReplayCache(t, s.client(), patient()) })
	})
	t.Run("with a local tier", func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache {
			return newReplayCache(t, s.client(), patient(), redisstore.WithCacheSize(64))
		})
	})
	t.Run("two replicas in turn", func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache {
			return &turns{caches: []dpop.ReplayCache{
				newReplayCache(t, s.client(), patient()), newReplayCache(t, s.client(), patient(), redisstore.WithCacheSize(8)),
			}}
		})
	})
}

// turns asks its caches one after the other.
type turns struct {
	mu     sync.Mutex
	next   int
	caches []dpop.ReplayCache
}

func (r *turns) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	r.mu.Lock()
	r.next++
	c := r.caches[r.next%len(r.caches)]
	r.mu.Unlock()
	return c.Add(ctx, jkt, id, until)
}

func TestMistakesAreReportedAllAtOnce(t *testing.T) {
	good := &redis.Options{ContextTimeoutEnabled: true}
	var nilClient *redis.Client
	for name, c := range map[string]struct {
		client redis.UniversalClient
		opts   []redisstore.ReplayOption
		wants  []string
	}{
		"no client":                {nil, nil, []string{"client is nil"}},
		"a nil client":             {nilClient, nil, []string{"client is nil"}},
		"no deadlines":             {redis.NewClient(&redis.Options{}), nil, []string{"ContextTimeoutEnabled"}},
		"nor in clusters":          {redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}), nil, []string{"ContextTimeoutEnabled"}},
		"a ring":                   {redis.NewRing(&redis.RingOptions{}), nil, []string{"Ring", "ContextTimeoutEnabled"}},
		"a cluster's replicas":     {redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true, ContextTimeoutEnabled: true}), nil, []string{"reads from replicas"}},
		"a cluster's nearest node": {redis.NewClusterClient(&redis.ClusterOptions{RouteByLatency: true, ContextTimeoutEnabled: true}), nil, []string{"reads from replicas"}},
		"any node of a cluster":    {redis.NewClusterClient(&redis.ClusterOptions{RouteRandomly: true, ContextTimeoutEnabled: true}), nil, []string{"reads from replicas"}},
		"options": {redis.NewClient(good), []redisstore.ReplayOption{
			nil, redisstore.WithPrefix(""), redisstore.WithPrefix("a"), redisstore.WithTimeout(0), redisstore.WithTimeout(time.Second),
			redisstore.WithCacheSize(0), redisstore.WithCacheSize(1),
		}, []string{
			"option 1 is nil", `WithPrefix: ""`, "WithPrefix is given twice", "WithTimeout: 0s", "WithTimeout is given twice",
			"WithCacheSize: 0", "WithCacheSize is given twice",
		}},
		"a tag":      {redis.NewClient(good), []redisstore.ReplayOption{redisstore.WithPrefix("{x}")}, []string{"braces"}},
		"a space":    {redis.NewClient(good), []redisstore.ReplayOption{redisstore.WithPrefix("x y")}, []string{"visible"}},
		"a long one": {redis.NewClient(good), []redisstore.ReplayOption{redisstore.WithPrefix(strings.Repeat("x", 65))}, []string{"64"}},
		"too long":   {redis.NewClient(good), []redisstore.ReplayOption{redisstore.WithTimeout(time.Minute)}, []string{"WithTimeout: 1m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			cache, err := redisstore.NewReplayCache(c.client, c.opts...)
			require.Nil(t, cache)
			for _, want := range c.wants {
				require.ErrorContains(t, err, want)
			}
			for line := range strings.Lines(err.Error()) {
				require.True(t, strings.HasPrefix(line, "redisstore: "), line)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), len(c.wants))
		})
	}
	_, err := new(redisstore.ReplayCache).Add(t.Context(), "jkt", randomID(), soon())
	require.Error(t, err, "the zero cache is not an open door")
}

func TestWhatIsStored(t *testing.T) {
	s := startServer(t)
	client := s.client()
	ctx := t.Context()
	t.Run("DPOP-11.1-04 keys have one size and an alphabet without meaning", func(t *testing.T) {
		c := newReplayCache(t, client, patient())
		for value := range 256 {
			id := randomID()
			for i := range id {
				id[i] ^= byte(value)
			}
			add(t, c, id)
		}
		keys, err := client.Keys(ctx, "*").Result()
		require.NoError(t, err)
		require.Len(t, keys, 256)
		for _, k := range keys {
			require.Regexp(t, regexp.MustCompile(`^dpop:[A-Za-z0-9_-]{22}$`), k)
		}
	})
	t.Run("values take no memory of their own", func(t *testing.T) {
		key, err := client.RandomKey(ctx).Result()
		require.NoError(t, err)
		encoding, err := client.ObjectEncoding(ctx, key).Result()
		require.NoError(t, err)
		require.Equal(t, "int", encoding)
	})
	t.Run("DPOP-11.1-06 records live until the end, to the millisecond and no less", func(t *testing.T) {
		require.NoError(t, client.FlushAll(ctx).Err())
		for i, life := range []time.Duration{time.Minute, 1500*time.Millisecond + 900*time.Microsecond} {
			prefix := fmt.Sprint("life", i, ":")
			until := time.Now().Add(life)
			fresh, err := newReplayCache(t, client, patient(), redisstore.WithPrefix(prefix)).Add(ctx, "jkt", randomID(), until)
			require.NoError(t, err)
			require.True(t, fresh)
			keys, err := client.Keys(ctx, prefix+"*").Result()
			require.NoError(t, err)
			require.Len(t, keys, 1)
			end, err := client.PExpireTime(ctx, keys[0]).Result()
			require.NoError(t, err)
			least := time.Duration(until.UnixNano()).Truncate(time.Millisecond)
			require.GreaterOrEqual(t, end, least)
			require.Less(t, end, least+5*time.Second)
		}
	})
	t.Run("another prefix is another memory", func(t *testing.T) {
		id := randomID()
		require.True(t, add(t, newReplayCache(t, client, patient()), id))
		require.True(t, add(t, newReplayCache(t, client, patient(), redisstore.WithPrefix("other:")), id))
	})
}

func TestTimesThatMakeNoSense(t *testing.T) {
	// No server is asked.
	c := newReplayCache(t, newClient(t, "127.0.0.1:1"))
	past, future := "proof from a time that is forgotten", "asked to remember a proof for more than 24h0m0s"
	for name, row := range map[string]struct {
		until time.Time
		want  string
	}{
		"past": {time.Now().Add(-time.Millisecond), past}, "zero": {time.Time{}, past}, "Unix zero": {time.Unix(0, 0), past},
		"far ahead": {time.Now().Add(25 * time.Hour), future}, "out of range": {time.Unix(1<<60, 0), future},
	} {
		t.Run(name, func(t *testing.T) {
			fresh, err := c.Add(t.Context(), "jkt", randomID(), row.until)
			require.False(t, fresh)
			require.EqualError(t, err, "redisstore: replay cache: "+row.want)
		})
	}
}

func TestOneRoundTripForAFreshProofTwoForAReplayNoneForAKnownOne(t *testing.T) {
	s := startServer(t)
	c := newReplayCache(t, s.client(), patient(), redisstore.WithCacheSize(100))
	add(t, c, randomID()) // connects
	before := s.info("total_commands_processed")
	asked := func() (n int) {
		now := s.info("total_commands_processed")
		n, before = now-before, now
		return n
	}
	idle := func() int { asked(); return asked() }() // what looking costs
	ids := make([][32]byte, 50)
	for i := range ids {
		ids[i] = randomID()
		require.True(t, add(t, c, ids[i]))
	}
	require.Equal(t, 50+idle, asked())
	for _, id := range ids {
		require.False(t, add(t, c, id))
	}
	require.Equal(t, idle, asked())
	for range 200 { // washes the others out
		require.True(t, add(t, c, randomID()))
	}
	asked()
	for _, id := range ids {
		require.False(t, add(t, c, id))
	}
	require.Equal(t, 100+idle, asked(), "what is forgotten here is not forgotten there")
	other := newReplayCache(t, s.client(), patient(), redisstore.WithCacheSize(100))
	require.False(t, add(t, other, ids[0]))
	asked()
	require.False(t, add(t, other, ids[0]))
	require.Equal(t, idle, asked(), "a replay is known after the first time")
}
