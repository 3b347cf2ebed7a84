package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// redisServer is a process of redis-server, or of what REDIS_SERVER names.
type redisServer struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

// startRedis starts one that forgets nothing when it restarts, as package redisstore
// wants it. Where there is none the test is skipped,
// or fails if INTEROP_REQUIRED is set.
func startRedis(t *testing.T) *redisServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &redisServer{t: t, dir: t.TempDir(), port: listener.Addr().(*net.TCPAddr).Port}
	require.NoError(t, listener.Close())
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *redisServer) start() {
	s.t.Helper()
	name := os.Getenv("REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("INTEROP_REQUIRED") != "" {
			s.t.Fatalf("!! %s is not on this machine: bash redisstore/install.sh", name)
		}
		s.t.Skipf("!! %s is not on this machine, so nothing is tested: bash redisstore/install.sh", name)
	}
	s.cmd = exec.Command(path, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
}

func (s *redisServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func TestReplicasShareUsedProofsAndAnswersInRedis(t *testing.T) {
	store := startRedis(t)
	bed := testbed.New(t, t.TempDir())
	nonceKey := filepath.Join(t.TempDir(), "nonce.key")
	require.NoError(t, os.WriteFile(nonceKey, []byte(strings.Repeat("k", 32)), 0o600))
	shared := fmt.Sprintf("cluster_cache_strategy: redis, cluster_cache_redis: {host: 127.0.0.1, port: %d, read_timeout: 500, connect_timeout: 500, send_timeout: 500}", store.port)
	text := `_format_version: "3.0"
services:
- name: s
  url: ${{ env "DECK_UPSTREAM" }}/anything
  routes:
  - name: bound
    paths: [/bound]
    plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer], proof_of_possession_dpop: strict, ` + shared + `}}]
  - name: nonces
    paths: [/nonces]
    plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer], proof_of_possession_dpop: strict, dpop_use_nonce: true, ` + shared + `}}]
  - name: asked
    paths: [/asked]
    plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [introspection], client_id: [client], client_secret: [secret], ` + shared + `}}]
`
	var replicas [2]*running
	for i := range replicas {
		replicas[i] = start(t, bed, text, "-public-origin", "https://api.example", "-nonce-key", nonceKey)
	}
	key := dpoptest.NewKey(t)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	send := func(gw *running, path, proof string) answer {
		return ask(t, bed.Client(nil), gw.url+path, with("Authorization", "DPoP "+token), with("Dpop", proof), func(r *http.Request) { r.Host = "api.example" })
	}
	fresh := func(path string, changes ...dpoptest.ProofOption) string {
		return key.Proof("GET", "https://api.example"+path, token, changes...)
	}

	t.Run("a proof that one has seen is refused by the other", func(t *testing.T) {
		for i := range 10 {
			first, second := replicas[i%2], replicas[(i+1)%2]
			proof := fresh("/bound")
			require.Equal(t, 200, send(first, "/bound", proof).status, first.log.String())
			require.Equal(t, 401, send(second, "/bound", proof).status)
			require.Equal(t, 401, send(first, "/bound", proof).status)
			require.Contains(t, second.log.String(), "reason=dpop_replayed")
		}
	})
	t.Run("of many at once one passes", func(t *testing.T) {
		proof, statuses := fresh("/bound"), make(chan int)
		for i := range 8 {
			go func() { statuses <- send(replicas[i%2], "/bound", proof).status }()
		}
		passed := 0
		for range 8 {
			if <-statuses == 200 {
				passed++
			}
		}
		require.Equal(t, 1, passed)
	})
	t.Run("a nonce of one is good at the other", func(t *testing.T) {
		nonce := send(replicas[0], "/nonces", fresh("/nonces")).header.Get("Dpop-Nonce")
		require.NotEmpty(t, nonce)
		require.Equal(t, 200, send(replicas[1], "/nonces", fresh("/nonces", dpoptest.Nonce(nonce))).status)
	})
	t.Run("the issuer is asked once for all", func(t *testing.T) {
		opaque := bed.Issuer.OpaqueToken()
		for _, gw := range []*running{replicas[0], replicas[1], replicas[0]} {
			require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/asked", bearer(opaque)).status)
		}
		require.Len(t, bed.Issuer.Requests(oidctest.Introspection), 1)
	})
	t.Run("without the store no proof passes, and with it again they do", func(t *testing.T) {
		used := fresh("/bound")
		require.Equal(t, 200, send(replicas[0], "/bound", used).status)
		store.kill()
		for _, gw := range replicas {
			began := time.Now()
			require.Equal(t, 503, send(gw, "/bound", fresh("/bound")).status)
			require.Less(t, time.Since(began), 5*time.Second)
			require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/asked", bearer(bed.Issuer.OpaqueToken())).status, "the issuer itself is asked")
			require.Equal(t, 401, send(gw, "/bound", "x").status, "what is refused without the store is refused")
		}
		store.start()
		for _, gw := range replicas {
			require.Eventually(t, func() bool { return send(gw, "/bound", fresh("/bound")).status == 200 }, 20*time.Second, 50*time.Millisecond, gw.log)
		}
		for _, gw := range replicas {
			require.Equal(t, 401, send(gw, "/bound", used).status, "a proof that was used before")
		}
		proof := fresh("/bound")
		require.Equal(t, 200, send(replicas[0], "/bound", proof).status)
		require.Equal(t, 401, send(replicas[1], "/bound", proof).status)
	})
	for _, gw := range replicas {
		require.NotContains(t, gw.log.String(), token)
	}
}
