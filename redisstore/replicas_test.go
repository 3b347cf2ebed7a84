package redisstore_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/redisstore"
)

// replicaConfig is the environment variable that makes the test binary a replica of a
// service.
const replicaConfig = "REDISSTORE_TEST_REPLICA"

type replica struct {
	Redis  string
	Issuer string
	Trust  []byte // the issuer's certificate
}

// runReplica is the main function of a process of its own: a service as a user would
// write it. It writes its URL to standard output and ends when standard input does.
func runReplica(config string) {
	var c replica
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	trusted, err := x509.ParseCertificate(c.Trust)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(trusted)
	client := redis.NewClient(&redis.Options{Addr: c.Redis, ContextTimeoutEnabled: true})
	cache, err := redisstore.NewReplayCache(client, redisstore.WithTimeout(10*time.Second))
	if err != nil {
		panic(err)
	}
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(c.Issuer, oidctest.Audience, oidc.WithHTTPClient(
			&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(cache, nil), dpop.WithLifetime(5*time.Minute))),
	)
	if err != nil {
		panic(err)
	}
	srv := httptest.NewServer(guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	fmt.Println(srv.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startReplica starts a replica in a process of its own and returns its URL.
func startReplica(t *testing.T, c replica) string {
	t.Helper()
	config, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaConfig+"="+string(config))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// certificateOf returns what the issuer shows on its connections.
func certificateOf(t *testing.T, issuer *oidctest.Issuer) []byte {
	t.Helper()
	u, err := url.Parse(issuer.URL)
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: issuer.CertPool()})
	require.NoError(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

func TestEachProofPassesOnceAtOneOfFourProcesses(t *testing.T) {
	// DPOP-11.1-03, DPOP-11.1-07, across replicas.
	proofs := 10_000
	if testing.Short() || raceEnabled {
		proofs = 300
	}
	s := startServer(t)
	issuer := oidctest.NewIssuer(t)
	c := replica{Redis: s.addr(), Issuer: issuer.URL, Trust: certificateOf(t, issuer)}
	urls := make([]string, 4)
	for i := range urls {
		urls[i] = startReplica(t, c)
	}
	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	offer := func(url, proof string) (status int, challenge string, err error) {
		r, err := http.NewRequest("GET", url+"/orders", nil)
		if err != nil {
			return 0, "", err
		}
		r.Host = "api.example"
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		res, err := transport.RoundTrip(r)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header.Get("WWW-Authenticate"), nil
	}
	var tally struct {
		sync.Mutex
		passed   map[int]int // proofs by how often they passed
		replayed int
		byServer [4]int
	}
	tally.passed = make(map[int]int)
	began := time.Now()
	queue := make(chan struct{})
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range queue {
				proof := key.Proof("GET", origin+"/orders", token)
				var four sync.WaitGroup
				var passed int
				for i, url := range urls {
					four.Go(func() {
						status, challenge, err := offer(url, proof)
						tally.Lock()
						defer tally.Unlock()
						switch {
						case status == http.StatusOK:
							passed++
							tally.byServer[i]++
						case status == http.StatusUnauthorized && strings.Contains(challenge, `error="invalid_dpop_proof"`):
							tally.replayed++
						default:
							t.Errorf("status %d, challenge %q, error %v", status, challenge, err)
						}
					})
				}
				four.Wait()
				tally.Lock()
				tally.passed[passed]++
				tally.Unlock()
			}
		})
	}
	for range proofs {
		queue <- struct{}{}
	}
	close(queue)
	workers.Wait()
	t.Logf("%d proofs offered to each of 4 processes in %v; they passed %v", proofs, time.Since(began).Round(time.Millisecond), tally.byServer)
	require.Equal(t, map[int]int{1: proofs}, tally.passed, "proofs by how often they passed")
	require.Equal(t, 3*proofs, tally.replayed)
	for i := range urls {
		require.NotZero(t, tally.byServer[i], "every process won some")
	}
}

func nonceKey(b byte) []byte { return []byte(strings.Repeat(string(rune('a'+b)), 32)) }

func TestNoncesAcrossReplicas(t *testing.T) {
	s := startServer(t)
	cache := newReplayCache(t, s.client(), patient())
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	start := func(current []byte, previous ...[]byte) http.Handler {
		guard, err := middleware.New(
			middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
			middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(cache, nil), dpop.WithNonces(dpop.NewNonces(current, dpop.WithPreviousKeys(previous...))))),
		)
		require.NoError(t, err)
		return guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}
	send := func(at http.Handler, proof string) *http.Response {
		w := httptest.NewRecorder()
		at.ServeHTTP(w, request(proof, token))
		return w.Result()
	}
	withNonce := func(nonce string) string {
		return key.Proof("GET", origin+"/orders", token, dpoptest.Nonce(nonce))
	}
	// challenged sends a proof without a nonce and returns the one that it should have
	// had.
	challenged := func(at http.Handler) string {
		res := send(at, key.Proof("GET", origin+"/orders", token))
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.Contains(t, res.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`)
		return res.Header.Get("DPoP-Nonce")
	}

	t.Run("DPOP-8-03 replicas with the same key accept each other's, and no others", func(t *testing.T) {
		one, two, other := start(nonceKey(0)), start(nonceKey(0)), start(nonceKey(1))
		nonce := challenged(one)
		require.Equal(t, http.StatusOK, send(two, withNonce(nonce)).StatusCode)
		require.Equal(t, http.StatusOK, send(one, withNonce(nonce)).StatusCode, "DPOP-9-03 the same nonce serves many proofs")
		refused := send(other, withNonce(nonce))
		require.Equal(t, http.StatusUnauthorized, refused.StatusCode)
		require.Equal(t, http.StatusOK, send(other, withNonce(refused.Header.Get("DPoP-Nonce"))).StatusCode)
	})
	t.Run("DPOP-11.1-09 a proof with a nonce passes at one replica only", func(t *testing.T) {
		one, two := start(nonceKey(0)), start(nonceKey(0))
		late := key.Proof("GET", origin+"/orders", token, dpoptest.Nonce(challenged(one)), dpoptest.IssuedAt(time.Now().Add(-time.Hour)))
		require.Equal(t, http.StatusOK, send(one, late).StatusCode)
		require.Equal(t, http.StatusUnauthorized, send(two, late).StatusCode)
	})
	t.Run("DPOP-8.2-01 the key changes in two steps, and no client is refused", func(t *testing.T) {
		old, fresh := nonceKey(0), nonceKey(1)
		replicas := []http.Handler{start(old), start(old), start(old)}
		nonce := challenged(replicas[0])
		// everywhere is what a client does that keeps one nonce and is sent to any
		// replica.
		everywhere := func(step string) {
			t.Helper()
			for i, at := range replicas {
				require.Equal(t, http.StatusOK, send(at, withNonce(nonce)).StatusCode, "%s, replica %d", step, i)
			}
			for i, at := range replicas {
				other := challenged(at)
				for j, at := range replicas {
					require.Equal(t, http.StatusOK, send(at, withNonce(other)).StatusCode, "%s, from %d at %d", step, i, j)
				}
			}
		}
		everywhere("before")
		for i := range replicas {
			replicas[i] = start(old, fresh)
			everywhere("the new key is known")
		}
		for i := range replicas {
			replicas[i] = start(fresh, old)
			everywhere("the new key is used")
		}
		nonce = challenged(replicas[0]) // as the client has got within a lifetime
		for i := range replicas {
			replicas[i] = start(fresh)
			everywhere("the old key is gone")
		}
	})
	t.Run("in one step, clients are refused", func(t *testing.T) {
		one, two := start(nonceKey(0)), start(nonceKey(1), nonceKey(0))
		require.Equal(t, http.StatusUnauthorized, send(one, withNonce(challenged(two))).StatusCode, "or the test above proves nothing")
	})
}
