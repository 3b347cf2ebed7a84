package redisstore_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// pair is a primary with a replica, behind one address that a failover moves, as a
// virtual address or a managed service does.
type pair struct {
	t                *testing.T
	primary, replica *server
	front            *proxy
}

// startPair starts servers that write each command to the disk before its reply.
func startPair(t *testing.T) *pair {
	p := &pair{t: t, primary: startServer(t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")}
	p.front = startProxy(t, p.primary.addr())
	p.follow()
	return p
}

// follow starts a replica of the primary, which has everything when it returns.
func (p *pair) follow() {
	p.replica = startServer(p.t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
	// By a command, so that the server is no replica any more when it is restarted as the
	// primary.
	c := p.replica.client()
	defer c.Close()
	require.NoError(p.t, c.ReplicaOf(p.t.Context(), "127.0.0.1", strconv.Itoa(p.primary.port)).Err())
	p.catchUp()
}

// catchUp returns when the replica has what the primary has.
func (p *pair) catchUp() {
	p.t.Helper()
	c := p.primary.client()
	defer c.Close()
	require.Eventually(p.t, func() bool {
		if c.Set(p.t.Context(), "last", "1", 0).Err() != nil {
			return false
		}
		n, err := c.Wait(p.t.Context(), 1, time.Second).Result()
		return err == nil && n == 1
	}, 20*time.Second, 10*time.Millisecond, "the replica has everything")
}

// failOver kills the primary, and its replica takes over with what it has.
func (p *pair) failOver() {
	p.t.Helper()
	p.primary.kill()
	c := p.replica.client()
	defer c.Close()
	require.NoError(p.t, c.ReplicaOf(p.t.Context(), "no", "one").Err())
	p.primary, p.replica = p.replica, nil
	p.front.retarget(p.primary.addr())
}

// offered is one proof and what became of it.
type offered struct {
	proof     string
	good      bool // in its window all along
	accepted  int  // how often
	mayPass   int  // how often the store may let it pass: once, and once more for each loss
	uncertain bool // an answer was 503: it may be recorded, or not
	refused   bool // an answer was 401
}

// history is a service of several replicas at a pair of servers, and its client.
type history struct {
	t        *testing.T
	r        *rand.Rand
	store    *pair
	issuer   *oidctest.Issuer
	key      *dpoptest.Key
	token    string
	replicas []http.Handler
	mu       sync.Mutex
	all      []*offered
	statuses map[int]int
}

func newHistory(t *testing.T, r *rand.Rand) *history {
	h := &history{
		t: t, r: r, store: startPair(t), issuer: oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example")), key: dpoptest.NewKey(t),
		statuses: make(map[int]int),
	}
	h.token = h.issuer.Token(oidctest.BoundToKey(h.key.Thumbprint()))
	for range 3 {
		h.replicas = append(h.replicas, h.start())
	}
	return h
}

// start starts a replica of the service, which knows nothing but what the store knows.
func (h *history) start() http.Handler {
	g, err := middleware.New(
		middleware.WithTokens(oidc.New(h.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(h.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(newReplayCache(h.t, newClient(h.t, h.store.front.addr())), nil), dpop.WithLifetime(5*time.Minute))),
		middleware.WithLogger(slog.New(slog.DiscardHandler)),
	)
	require.NoError(h.t, err)
	return g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := middleware.FromContext(r.Context()); !ok || c.Proof == nil || c.Proof.Thumbprint != h.key.Thumbprint() {
			h.t.Error("the handler runs for a request whose binding is not proven")
		}
	}))
}

// send offers o to a replica and returns the status.
func (h *history) send(at http.Handler, o *offered) int {
	defer h.judge(o)
	return h.offer(at, o)
}

// judge is for when no request with o is under way.
func (h *history) judge(o *offered) {
	if o.good && o.refused && o.accepted == 0 && !o.uncertain {
		h.t.Error("401 for a proof that was never used")
	}
}

func (h *history) offer(at http.Handler, o *offered) int {
	w := httptest.NewRecorder()
	at.ServeHTTP(w, request(o.proof, h.token))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statuses[w.Code]++
	switch w.Code {
	case http.StatusOK:
		if o.accepted++; o.accepted > o.mayPass {
			h.t.Errorf("a proof was accepted %d times", o.accepted)
		}
		if !o.good {
			h.t.Error("a proof outside of its window was accepted")
		}
	case http.StatusUnauthorized:
		o.refused = true
	case http.StatusServiceUnavailable:
		o.uncertain = true
		if len(w.Header().Values("WWW-Authenticate")) > 0 {
			h.t.Error("503 with a challenge")
		}
	default:
		h.t.Errorf("status %d", w.Code)
	}
	return w.Code
}

// fresh makes a proof of a client whose clock is off, by as much as the window allows,
// or by more.
func (h *history) fresh() *offered {
	off := time.Duration(h.r.IntN(230)-210) * time.Second
	good := true
	if h.r.IntN(8) == 0 {
		off, good = []time.Duration{-6 * time.Minute, 2 * time.Minute}[h.r.IntN(2)], false
	}
	o := &offered{proof: h.key.Proof("GET", origin+"/orders", h.token, dpoptest.IssuedAt(time.Now().Add(off))), good: good, mayPass: 1}
	h.all = append(h.all, o)
	return o
}

// stampede offers o to every replica at once, several times.
func (h *history) stampede(o *offered) {
	var wg sync.WaitGroup
	for range 3 {
		for _, at := range h.replicas {
			wg.Go(func() { h.offer(at, o) })
		}
	}
	wg.Wait()
	h.judge(o)
}

// lost: the store has lost the proofs, each of which may pass once more.
func (h *history) lost(proofs []*offered) {
	for _, o := range proofs {
		o.mayPass = o.accepted + 1
	}
}

// some offers new proofs, and old ones again.
func (h *history) some(n int) {
	for range n {
		switch h.r.IntN(3) {
		case 0:
			h.stampede(h.fresh())
		case 1:
			if len(h.all) > 0 {
				h.stampede(h.all[h.r.IntN(len(h.all))])
				continue
			}
			fallthrough
		default:
			h.send(h.replicas[h.r.IntN(len(h.replicas))], h.fresh())
		}
	}
}

// step is one thing that happens to the servers, while requests go on.
func (h *history) step(which int) {
	switch which {
	case 0: // a replica of the service crashes and comes back
		h.replicas[h.r.IntN(len(h.replicas))] = h.start()
	case 1: // the server crashes and comes back with what is on its disk
		h.store.primary.kill()
		h.some(2)
		h.store.primary.start()
	case 2: // the server hangs
		resume := h.store.primary.pause()
		h.some(1)
		resume()
	case 3: // replies are cut off
		h.store.front.cutting(func() (int, bool) { return rand.IntN(3), rand.IntN(3) == 0 })
		h.some(6)
		h.store.front.cutting(nil)
	case 4: // a failover to a replica that has everything
		h.store.catchUp()
		h.store.failOver()
		h.some(3)
		h.store.follow()
	case 5: // a failover to a replica that hung: what came meanwhile is lost
		h.store.catchUp()
		known := len(h.all)
		before := make(map[*offered]int)
		for _, o := range h.all {
			before[o] = o.accepted
		}
		resume := h.store.replica.pause()
		h.some(4)
		h.store.primary.kill()
		resume()
		h.store.failOver()
		// Whatever was recorded in between, and nothing else, may pass once more.
		lost := h.all[known:]
		for _, o := range h.all[:known] {
			if o.accepted > before[o] || o.uncertain && o.accepted == 0 {
				lost = append(lost[:len(lost):len(lost)], o)
			}
		}
		h.lost(lost)
		h.some(3)
		h.store.follow()
	case 6: // everything is lost
		c := h.store.primary.client()
		defer c.Close()
		require.NoError(h.t, c.FlushAll(h.t.Context()).Err())
		h.lost(h.all)
	}
}

// histories is how many a test runs: INVARIANTS, or one.
func histories(t *testing.T) int {
	s := os.Getenv("INVARIANTS")
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err, "INVARIANTS is no number")
	return n
}

func eachHistory(t *testing.T, f func(h *history)) {
	for seed := range histories(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHistory(t, rand.New(rand.NewPCG(uint64(seed), 11)))
			f(h)
			for _, o := range h.all { // a thief sends all that it has seen
				h.send(h.replicas[h.r.IntN(len(h.replicas))], o)
			}
			t.Logf("%d proofs; answers %v", len(h.all), h.statuses)
			require.NotZero(t, h.statuses[http.StatusOK])
			require.NotZero(t, h.statuses[http.StatusUnauthorized])
		})
	}
}

// settled waits until the service accepts again.
func (h *history) settled() {
	require.Eventually(h.t, func() bool {
		for _, at := range h.replicas {
			o := h.fresh()
			for !o.good {
				o = h.fresh()
			}
			if h.send(at, o) != http.StatusOK {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond, "the service recovers")
}

// DPOP-11.1-03, DPOP-11.1-06, DPOP-11.1-07, DPOP-11.1-08: in every history of crashes,
// restarts, hangs, lost replies and failovers of a store that loses nothing, a proof is
// accepted once at the most at all replicas together; the answer is 503 where the store
// cannot tell, and a proof that was never used is never refused for having been.
func TestAProofIsAcceptedOnceInEveryHistoryOfAStore(t *testing.T) {
	eachHistory(t, func(h *history) {
		order := append([]int{4, 1}, h.r.Perm(5)...) // a failover in each
		for _, which := range order {
			h.some(4)
			h.step(which)
			h.settled()
		}
	})
}

// The same with losses, as the package documentation describes them: what the store lost
// passes once more for each loss, and nothing else does.
func TestALossOfTheStoreLetsOnlyWhatWasLostPassOnceMore(t *testing.T) {
	eachHistory(t, func(h *history) {
		for _, which := range append([]int{5, 6}, h.r.Perm(7)...) {
			h.some(4)
			h.step(which)
			h.settled()
		}
	})
}

// DPOP-11.1-08: a primary that has lost its replica, and may have been replaced without
// knowing it, stops to accept proofs after min-replicas-max-lag, as the documentation of
// the package says; what it accepted until then is what may pass once more.
func TestAPrimaryOnTheWrongSideOfAPartitionStops(t *testing.T) {
	p := startPair(t)
	c := p.primary.client()
	require.NoError(t, c.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	require.NoError(t, c.ConfigSet(t.Context(), "min-replicas-max-lag", "1").Err())
	svc := newService(t, newReplayCache(t, p.primary.client()))
	svc.eventually(10 * time.Second)
	used := svc.proof()
	status, _, _ := svc.send(used)
	require.Equal(t, http.StatusOK, status)
	p.catchUp()

	p.replica.pause() // cut off, as by a partition
	began := time.Now()
	require.Eventually(t, func() bool {
		status, _, cause := svc.send(svc.proof())
		if status == http.StatusOK {
			return false
		}
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.ErrorContains(t, cause, "NOREPLICAS")
		return true
	}, 10*time.Second, 20*time.Millisecond, "it stops")
	t.Logf("it stopped after %v", time.Since(began).Round(time.Millisecond))
	for range 20 {
		require.ErrorContains(t, svc.unavailable(svc.proof()), "NOREPLICAS")
	}
	// A proof that it knows is not accepted there either.
	require.Contains(t, []int{http.StatusServiceUnavailable, http.StatusUnauthorized}, first(svc.send(used)))
}

func first(status int, _ time.Duration, _ error) int { return status }
