package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	origin  = "https://api.example"
	timeout = 250 * time.Millisecond // the default
	slack   = 500 * time.Millisecond // what a busy machine adds
)

// service is a guarded handler, and a client with a token and a key.
type service struct {
	t      testing.TB
	guard  http.Handler
	key    *dpoptest.Key
	token  string
	called atomic.Int32
	causes chan error
}

func newService(t testing.TB, cache dpop.ReplayCache, opts ...dpop.Option) *service {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	s := &service{t: t, key: dpoptest.NewKey(t), causes: make(chan error, 1000)}
	s.token = issuer.Token(oidctest.BoundToKey(s.key.Thumbprint()))
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, append(opts, dpop.WithReplayCache(cache, nil))...)),
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
			select {
			case s.causes <- o.Err:
			default:
			}
		}),
	)
	require.NoError(t, err)
	s.guard = guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.called.Add(1) }))
	return s
}

func (s *service) proof() string { return s.key.Proof("GET", origin+"/orders", s.token) }

func request(proof, token string) *http.Request {
	r := httptest.NewRequest("GET", origin+"/orders", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	return r
}

// send sends a proof and returns the status, how long it took, and the cause.
func (s *service) send(proof string) (status int, took time.Duration, cause error) {
	w, began, before := httptest.NewRecorder(), time.Now(), s.called.Load()
	s.guard.ServeHTTP(w, request(proof, s.token))
	took = time.Since(began)
	require.Equal(s.t, w.Code == http.StatusOK, s.called.Load() == before+1, "the handler runs if and only if the answer is 200")
	return w.Code, took, <-s.causes
}

// unavailable requires the answer of a guard that cannot tell.
func (s *service) unavailable(proof string) (cause error) {
	s.t.Helper()
	w, began := httptest.NewRecorder(), time.Now()
	before := s.called.Load()
	s.guard.ServeHTTP(w, request(proof, s.token))
	require.Less(s.t, time.Since(began), timeout+slack)
	require.Equal(s.t, http.StatusServiceUnavailable, w.Code)
	require.Empty(s.t, w.Header().Values("WWW-Authenticate"))
	require.Equal(s.t, before, s.called.Load())
	cause = <-s.causes
	require.ErrorContains(s.t, cause, "redisstore: replay cache: ")
	return cause
}

// eventually sends new proofs until one passes.
func (s *service) eventually(within time.Duration) {
	s.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		status, _, cause := s.send(s.proof())
		if status == http.StatusOK {
			return
		}
		require.Equal(s.t, http.StatusServiceUnavailable, status)
		require.True(s.t, time.Now().Before(deadline), "still %v", cause)
	}
}

func TestDPOP_11_1_08_AFailingStoreFailsClosed(t *testing.T) {
	// DPOP-11.1-08 Store failure fails closed: 503, no challenge, next not called, within
	// the deadline; and everything works again when the store does, without a restart of
	// the service.
	t.Run("no server", func(t *testing.T) {
		s := startServer(t)
		svc := newService(t, newReplayCache(t, s.client()))
		svc.eventually(time.Second)
		s.kill()
		for range 20 {
			svc.unavailable(svc.proof())
		}
		s.start()
		svc.eventually(3 * time.Second)
	})
	t.Run("paused", func(t *testing.T) {
		s := startServer(t)
		svc := newService(t, newReplayCache(t, s.client()))
		svc.eventually(time.Second)
		resume := s.pause()
		var wg sync.WaitGroup
		proofs := make([]string, 30) // more than the pool has connections
		for i := range proofs {
			proofs[i] = svc.proof()
			wg.Go(func() {
				w, began := httptest.NewRecorder(), time.Now()
				svc.guard.ServeHTTP(w, request(proofs[i], svc.token))
				if took := time.Since(began); took > timeout+slack || w.Code != http.StatusServiceUnavailable {
					t.Errorf("%d after %v", w.Code, took)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, svc.called.Load())
		resume()
		for len(svc.causes) > 0 {
			<-svc.causes
		}
		svc.eventually(3 * time.Second)
	})
	t.Run("AMB-35 full", func(t *testing.T) {
		s := startServer(t, "--maxmemory-policy", "noeviction")
		require.NoError(t, s.client().ConfigSet(t.Context(), "maxmemory", fmt.Sprint(s.info("used_memory")+1<<20)).Err())
		cache := newReplayCache(t, s.client(), patient())
		var used [][32]byte
		for {
			id := randomID()
			fresh, err := cache.Add(t.Context(), "jkt", id, soon())
			if err != nil {
				require.ErrorContains(t, err, "OOM")
				break
			}
			require.True(t, fresh)
			used = append(used, id)
			require.Less(t, len(used), 100_000)
		}
		svc := newService(t, newReplayCache(t, s.client()))
		svc.unavailable(svc.proof())
		for _, id := range used {
			fresh, err := cache.Add(t.Context(), "jkt", id, soon())
			require.False(t, fresh && err == nil, "nothing is forgotten to make room")
		}
		require.NoError(t, s.client().ConfigSet(t.Context(), "maxmemory", "0").Err())
		svc.eventually(time.Second)
		for _, id := range used {
			require.False(t, add(t, cache, id))
		}
	})
	t.Run("read only", func(t *testing.T) {
		primary := startServer(t)
		replica := startServer(t, "--replicaof", "127.0.0.1 "+fmt.Sprint(primary.port))
		svc := newService(t, newReplayCache(t, replica.client()))
		svc.unavailable(svc.proof())
		require.NoError(t, replica.client().ReplicaOf(t.Context(), "no", "one").Err())
		svc.eventually(3 * time.Second)
	})
	t.Run("no permission", func(t *testing.T) {
		s := startServer(t, "--requirepass", "secret")
		svc := newService(t, newReplayCache(t, s.client()))
		svc.unavailable(svc.proof())
	})
	t.Run("no answer to the connection", func(t *testing.T) {
		svc := newService(t, newReplayCache(t, newClient(t, silentAddr(t))))
		for range 3 {
			svc.unavailable(svc.proof())
		}
	})
	t.Run("only DangerouslyFailOpen lets requests pass, and reports each", func(t *testing.T) {
		var reported []error
		svc := newService(t, newReplayCache(t, newClient(t, "127.0.0.1:1")),
			dpop.DangerouslyFailOpen(func(err error) { reported = append(reported, err) }))
		for i := range 5 {
			status, took, cause := svc.send(svc.proof())
			require.NoError(t, cause)
			require.Equal(t, http.StatusOK, status)
			require.Less(t, took, timeout+slack)
			require.Len(t, reported, i+1)
			require.ErrorContains(t, reported[i], "redisstore: replay cache: ")
		}
	})
}

// silentAddr is an address on loopback whose packets vanish: no process takes
// connections from a queue that is full.
func silentAddr(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(name.(*syscall.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not get full")
	return ""
}

func TestALostReply(t *testing.T) {
	s := startServer(t)
	for _, pass := range []int{0, 1, 4} { // bytes of "+OK\r\n"
		t.Run(fmt.Sprintf("after %d bytes, once", pass), func(t *testing.T) {
			p := startProxy(t, s.addr())
			cache := newReplayCache(t, newClient(t, p.addr()), patient())
			for range 20 {
				var cuts atomic.Int32
				p.cutting(func() (int, bool) { return pass, cuts.Add(1) == 1 })
				id := randomID()
				require.True(t, add(t, cache, id), "the client's own retry is not a replay")
				require.Greater(t, cuts.Load(), int32(1))
				require.False(t, add(t, cache, id))
				require.False(t, add(t, newReplayCache(t, s.client(), patient()), id))
			}
		})
		t.Run(fmt.Sprintf("after %d bytes, every time", pass), func(t *testing.T) {
			p := startProxy(t, s.addr())
			svc := newService(t, newReplayCache(t, newClient(t, p.addr())))
			svc.eventually(time.Second)
			p.cutting(func() (int, bool) { return pass, true })
			lost := svc.proof()
			svc.unavailable(lost)
			p.cutting(nil)
			svc.eventually(3 * time.Second)
			status, _, cause := svc.send(lost)
			require.Equal(t, http.StatusUnauthorized, status, "whose it was cannot be told any more")
			require.ErrorIs(t, cause, dpop.ErrReplayed)
		})
		t.Run(fmt.Sprintf("after %d bytes, with a client that does not retry", pass), func(t *testing.T) {
			p := startProxy(t, s.addr())
			cache := newReplayCache(t, newClient(t, p.addr(), func(o *redis.Options) { o.MaxRetries = -1 }), patient())
			var cuts atomic.Int32
			p.cutting(func() (int, bool) { return pass, cuts.Add(1) == 1 })
			id := randomID()
			_, err := cache.Add(t.Context(), "jkt", id, soon())
			require.Error(t, err)
			require.False(t, add(t, cache, id))
		})
	}
}

// load offers proofs to replicas, each proof several times, and counts how often each
// was fresh.
type load struct {
	replicas []dpop.ReplayCache

	mu      sync.Mutex
	fresh   map[[32]byte]int
	offered [][32]byte
	failed  int
	slowest time.Duration
}

func newLoad() *load { return &load{fresh: make(map[[32]byte]int)} }

// run offers until ctx is done: half of the time a new proof, to two replicas at once,
// else an older one again.
func (l *load) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				id := l.pick()
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() { l.offer(l.replicas[rand.IntN(len(l.replicas))], id) })
				}
				both.Wait()
			}
		})
	}
	wg.Wait()
}

func (l *load) pick() [32]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.offered) > 0 && rand.IntN(2) == 0 {
		return l.offered[rand.IntN(len(l.offered))]
	}
	id := randomID()
	l.offered = append(l.offered, id)
	return id
}

func (l *load) offer(c dpop.ReplayCache, id [32]byte) {
	began := time.Now()
	fresh, err := c.Add(context.Background(), "jkt", id, began.Add(5*time.Minute))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, time.Since(began))
	switch {
	case err != nil:
		l.failed++
	case fresh:
		l.fresh[id]++
	}
}

func (l *load) passed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.fresh)
}

// judge offers everything once more, and requires that nothing was fresh twice.
func (l *load) judge(t *testing.T) {
	t.Helper()
	for _, id := range l.offered {
		l.offer(l.replicas[0], id)
	}
	doubles := 0
	for _, n := range l.fresh {
		if n > 1 {
			doubles++
		}
	}
	t.Logf("%d proofs, %d passed, %d calls failed, the slowest took %v", len(l.offered), len(l.fresh), l.failed, l.slowest)
	require.Zero(t, doubles, "proofs that passed more than once")
	require.NotEmpty(t, l.fresh)
}

func seconds(t *testing.T, n float64) time.Duration {
	if testing.Short() {
		n /= 4
	}
	return time.Duration(n * float64(time.Second))
}

func TestNothingPassesTwiceWhileTheServerIsKilledAndRestarted(t *testing.T) {
	// What the documentation demands of a server that may restart: every write is on disk
	// before its reply.
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	l := newLoad()
	for range 4 {
		l.replicas = append(l.replicas, newReplayCache(t, s.client()))
	}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { l.run(ctx, 8) })
	for range 3 {
		before := l.passed()
		time.Sleep(seconds(t, 1))
		s.kill()
		time.Sleep(seconds(t, 1))
		s.start()
		require.Eventually(t, func() bool { return l.passed() > before+10 }, 5*time.Second, 10*time.Millisecond, "recovery")
	}
	stop()
	done.Wait()
	l.judge(t)
	require.NotZero(t, l.failed)
	require.Less(t, l.slowest, timeout+slack)
}

func TestNothingPassesTwiceWhileTheServerIsPaused(t *testing.T) {
	s := startServer(t)
	l := newLoad()
	for range 4 {
		l.replicas = append(l.replicas, newReplayCache(t, s.client()))
	}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { l.run(ctx, 8) })
	for range 3 {
		before := l.passed()
		time.Sleep(seconds(t, 0.5))
		resume := s.pause()
		time.Sleep(seconds(t, 1.5))
		resume()
		require.Eventually(t, func() bool { return l.passed() > before+10 }, 5*time.Second, 10*time.Millisecond, "recovery")
	}
	stop()
	done.Wait()
	l.judge(t)
	require.NotZero(t, l.failed)
	require.Less(t, l.slowest, timeout+slack)
}

func TestNothingPassesTwiceWhileConnectionsAreCut(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s.addr())
	l := newLoad()
	for range 4 {
		l.replicas = append(l.replicas, newReplayCache(t, newClient(t, p.addr())))
	}
	p.cutting(func() (int, bool) { return rand.IntN(3), rand.IntN(5) == 0 })
	ctx, stop := context.WithTimeout(t.Context(), seconds(t, 3))
	defer stop()
	l.run(ctx, 8)
	p.cutting(nil)
	l.judge(t)
	require.Less(t, l.slowest, timeout+slack)
	for _, id := range l.offered {
		_, err := l.replicas[1].Add(t.Context(), "jkt", id, soon())
		require.False(t, errors.Is(err, context.DeadlineExceeded), "recovered")
	}
}
