package redisstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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

// startCluster joins three servers to a cluster.
func startCluster(t *testing.T) (nodes [3]*server) {
	t.Helper()
	const slots = 16384
	for i := range nodes {
		nodes[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
	}
	for i, n := range nodes {
		c := n.client()
		require.NoError(t, c.ClusterAddSlotsRange(t.Context(), i*slots/3, (i+1)*slots/3-1).Err())
		require.NoError(t, c.ClusterMeet(t.Context(), "127.0.0.1", fmt.Sprint(nodes[0].port)).Err())
	}
	for _, n := range nodes {
		c := n.client()
		require.Eventually(t, func() bool {
			info, err := c.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") &&
				strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", slots))
		}, 20*time.Second, 50*time.Millisecond, "the cluster comes up")
	}
	return nodes
}

func clusterClient(t *testing.T, nodes [3]*server) *redis.ClusterClient {
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].addr(), nodes[1].addr()}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCluster(t *testing.T) {
	nodes := startCluster(t)
	t.Run("it is a ReplayCache", func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache { return newReplayCache(t, clusterClient(t, nodes), patient()) })
	})
	t.Run("proofs are on all nodes", func(t *testing.T) {
		c := newReplayCache(t, clusterClient(t, nodes), patient())
		for range 600 {
			require.True(t, add(t, c, randomID()))
		}
		for _, n := range nodes {
			size, err := n.client().DBSize(t.Context()).Result()
			require.NoError(t, err)
			require.Greater(t, size, int64(100))
		}
	})
	t.Run("introspection answers are shared", func(t *testing.T) {
		one := newTokenCache(t, clusterClient(t, nodes), tokenKey(0))
		two := newTokenCache(t, clusterClient(t, nodes), tokenKey(0))
		for range 30 {
			id := randomID()
			require.NoError(t, one.Set(t.Context(), id, id[:], time.Minute))
			value, found, err := two.Get(t.Context(), id)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, id[:], value)
		}
	})
	t.Run("Check asks every node", func(t *testing.T) {
		c := newReplayCache(t, clusterClient(t, nodes), patient())
		require.NoError(t, c.Check(t.Context()))
		last := nodes[2].client()
		require.NoError(t, last.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
		require.NoError(t, last.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
		require.ErrorContains(t, c.Check(t.Context()), "allkeys-lru")
		require.NoError(t, last.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
		require.NoError(t, c.Check(t.Context()))
	})
	t.Run("the permissions in the documentation are enough", func(t *testing.T) {
		o := redis.ClusterOptions{Addrs: []string{nodes[0].addr()}, ContextTimeoutEnabled: true}
		for _, n := range nodes {
			o.Username, o.Password = grant(t, n)
		}
		client := redis.NewClusterClient(&o)
		defer client.Close()
		usePermissions(t, client)
	})
	t.Run("nothing passes twice while slots move to another node", func(t *testing.T) {
		cli, err := exec.LookPath("redis-cli")
		if err != nil {
			if os.Getenv("INTEROP_REQUIRED") != "" {
				t.Fatal("!! no redis-cli: bash install.sh")
			}
			t.Skip("!! no redis-cli on this machine")
		}
		l := &load{}
		for range 4 {
			l.replicas = append(l.replicas, newReplayCache(t, clusterClient(t, nodes), redisstore.WithTimeout(2*time.Second)))
		}
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { l.run(ctx, 4) })
		from, err := nodes[0].client().ClusterMyID(t.Context()).Result()
		require.NoError(t, err)
		to, err := nodes[1].client().ClusterMyID(t.Context()).Result()
		require.NoError(t, err)
		out, err := exec.CommandContext(t.Context(), cli, "--cluster", "reshard", nodes[0].addr(), "--cluster-from", from, "--cluster-to", to,
			"--cluster-slots", "1000", "--cluster-yes").CombinedOutput()
		stop()
		done.Wait()
		require.NoError(t, err, string(out))
		l.judge(t)
	})
	t.Run("a node that is down fails closed for its proofs", func(t *testing.T) {
		c := newReplayCache(t, clusterClient(t, nodes))
		var used [][32]byte
		for range 60 {
			id := randomID()
			used = append(used, id)
			_, _ = c.Add(t.Context(), "jkt", id, soon())
		}
		nodes[2].kill()
		failed := 0
		for _, id := range used {
			began := time.Now()
			fresh, err := c.Add(t.Context(), "jkt", id, soon())
			require.Less(t, time.Since(began), timeout+slack)
			require.False(t, fresh && err == nil)
			if err != nil {
				failed++
			}
		}
		require.NotZero(t, failed)
		require.Less(t, failed, len(used), "the other nodes work on")
	})
}
