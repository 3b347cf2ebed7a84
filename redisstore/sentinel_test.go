package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// replicated is a primary with a replica, and three sentinels that watch both.
type replicated struct {
	primary, replica *server
	sentinels        []string
}

func startReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{primary: startServer(t)}
	r.replica = startServer(t, "--replicaof", fmt.Sprintf("127.0.0.1 %d", r.primary.port))
	for range 3 {
		r.sentinels = append(r.sentinels, startSentinel(t, r.primary.port))
	}
	for _, addr := range r.sentinels {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = c.Close() })
		require.Eventually(t, func() bool {
			state, err := c.Master(t.Context(), "proofs").Result()
			return err == nil && state["num-slaves"] == "1" && state["num-other-sentinels"] == "2" && state["flags"] == "master"
		}, 30*time.Second, 50*time.Millisecond, "the sentinels know each other")
	}
	return r
}

// startSentinel starts the same program in its other role: it writes what it finds out
// into its configuration.
func startSentinel(t *testing.T, primary int) (addr string) {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `port %d
bind 127.0.0.1
dir %s
logfile %s/log
sentinel monitor proofs 127.0.0.1 %d 2
sentinel down-after-milliseconds proofs 2000
sentinel failover-timeout proofs 3000
`, port, dir, dir, primary), 0o600))
	cmd := exec.Command(program(t), file, "--sentinel")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
}

func (r *replicated) client(t *testing.T) *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "proofs", SentinelAddrs: r.sentinels, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSentinel(t *testing.T) {
	r := startReplicated(t)
	t.Run("it is a ReplayCache", func(t *testing.T) {
		dpoptest.TestReplayCache(t, func() dpop.ReplayCache { return newReplayCache(t, r.client(t), patient()) })
	})
	t.Run("introspection answers are shared", func(t *testing.T) {
		id := randomID()
		require.NoError(t, newTokenCache(t, r.client(t), tokenKey(0)).Set(t.Context(), id, []byte("answer"), time.Minute))
		found(t, newTokenCache(t, r.client(t), tokenKey(0)), id, []byte("answer"))
	})
	t.Run("nothing that was replicated passes twice when the primary dies, and the service goes on", func(t *testing.T) {
		l := newLoad()
		for range 4 {
			l.replicas = append(l.replicas, newReplayCache(t, r.client(t)))
		}
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { l.run(ctx, 4) })
			return func() { cancel(); done.Wait() }
		}
		stop := run()
		require.Eventually(t, func() bool { return l.passed() > 500 }, 10*time.Second, 10*time.Millisecond)
		stop()
		// What a primary has not passed on when it dies is lost, as the documentation
		// says: here everything is.
		direct := r.primary.client()
		require.NoError(t, direct.Set(t.Context(), "last", "1", 0).Err())
		caughtUp, err := direct.Wait(t.Context(), 1, 10*time.Second).Result()
		require.NoError(t, err)
		require.EqualValues(t, 1, caughtUp)

		r.primary.kill()
		before := l.passed()
		stop = run()
		require.Eventually(t, func() bool { return l.passed() > before+100 }, 30*time.Second, 50*time.Millisecond, "the successor takes over, without a restart of the service")
		stop()
		role, err := r.replica.client().Info(t.Context(), "replication").Result()
		require.NoError(t, err)
		require.True(t, strings.Contains(role, "role:master"))
		l.judge(t)
		require.NotZero(t, l.failed, "no server could tell in between")
		require.Less(t, l.slowest, timeout+slack)
	})
}
