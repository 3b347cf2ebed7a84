package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// program is the server that the tests run, redis-server or what the environment
// variable REDIS_SERVER names, such as valkey-server. Without it the test is skipped,
// or fails if INTEROP_REQUIRED is set.
func program(tb testing.TB) string {
	tb.Helper()
	name := os.Getenv("REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("INTEROP_REQUIRED") != "" {
			tb.Fatalf("!! %s is not on this machine: bash install.sh", name)
		}
		tb.Skipf("!! %s is not on this machine, so nothing is tested: bash install.sh", name)
	}
	return path
}

// server is one process of its own, on loopback, in a directory of its own.
type server struct {
	tb   testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// startServer starts a server without persistence, unless args, which are settings as
// on its command line, say otherwise.
func startServer(tb testing.TB, args ...string) *server {
	tb.Helper()
	s := &server{tb: tb, dir: tb.TempDir(), port: freePort(tb), args: args}
	s.start()
	tb.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.tb.Helper()
	logfile := filepath.Join(s.dir, "log")
	s.cmd = exec.Command(program(s.tb), append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", logfile,
		"--save", "", "--appendonly", "no",
	}, s.args...)...)
	require.NoError(s.tb, s.cmd.Start())
	probe := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1, DialerRetries: 1})
	defer probe.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// Any reply will do: a test may have taken the command away.
		err := probe.Ping(context.Background()).Err()
		if err == nil || strings.HasPrefix(err.Error(), "NOAUTH") || strings.HasPrefix(err.Error(), "NOPERM") {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(logfile)
			s.tb.Fatalf("the server does not answer: %v\n%s", err, log)
		}
	}
}

// kill ends the process as a power cut would.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// pause stops the process, which keeps its connections, and returns what lets it go on.
func (s *server) pause() (resume func()) {
	s.tb.Helper()
	require.NoError(s.tb, s.cmd.Process.Signal(syscall.SIGSTOP))
	return func() { require.NoError(s.tb, s.cmd.Process.Signal(syscall.SIGCONT)) }
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// client returns a new client with the settings that the documentation recommends.
func (s *server) client(edits ...func(*redis.Options)) *redis.Client {
	return newClient(s.tb, s.addr(), edits...)
}

func newClient(tb testing.TB, addr string, edits ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: addr, ContextTimeoutEnabled: true}
	for _, edit := range edits {
		edit(o)
	}
	c := redis.NewClient(o)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// info returns a number from the answer to INFO.
func (s *server) info(name string) int {
	s.tb.Helper()
	text, err := s.client().Info(context.Background(), "everything").Result()
	require.NoError(s.tb, err)
	_, rest, ok := strings.Cut(text, "\n"+name+":")
	require.True(s.tb, ok, "%s in INFO", name)
	value, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(value)
	require.NoError(s.tb, err)
	return n
}

// freePort returns one that leaves room for the port that cluster nodes add 10,000 to.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(tb, err)
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		port = 20000 + port%20000
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("no free port")
	return 0
}
