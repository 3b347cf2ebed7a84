package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheQuickstartPage runs docs/quickstart.md: its program, changed as the page says
// for the issuer of this command, its request that is refused, with the log line, and its
// call.
func TestTheQuickstartPage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	text, err := os.ReadFile("../../docs/quickstart.md")
	require.NoError(t, err)
	page := string(text)
	program := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindStringSubmatch(page)
	require.NotNil(t, program)
	issuer, service := "http://127.0.0.1:"+freePort(t), "http://localhost:"+freePort(t)
	_, servicePort, _ := strings.Cut(strings.TrimPrefix(service, "http://"), ":")

	// What the page has the reader change.
	changed := program[1]
	change := func(from, to string) {
		t.Helper()
		require.Contains(t, changed, from)
		changed = strings.ReplaceAll(changed, from, to)
	}
	require.Contains(t, page, `oidc.New("http://127.0.0.1:9500", "https://api.example", oidc.DangerouslyAllowLoopbackHTTP())`)
	require.Contains(t, page, `dpop.New("http://localhost:8080")`)
	change(`oidc.New("https://issuer.example/realms/main", "https://api.example")`, fmt.Sprintf(`oidc.New(%q, "https://api.example", oidc.DangerouslyAllowLoopbackHTTP())`, issuer))
	change(`dpop.New("https://api.example")`, fmt.Sprintf("dpop.New(%q)", service))
	change(`":8080"`, `":`+servicePort+`"`)

	dir, bin := t.TempDir(), t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	sums, err := os.ReadFile("../../go.sum")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"main.go": changed,
		"go.mod":  "module example.com/orders\n\ngo 1.26.0\n\nrequire github.com/keybound-go/middleware v0.0.0\n\nreplace github.com/keybound-go/middleware => " + root + "\n",
		"go.sum":  string(sums),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	build(t, dir, "-mod=mod", "-o", filepath.Join(bin, "orders"), ".")
	build(t, ".", "-o", filepath.Join(bin, "keybound"), ".")

	// The commands of the page.
	command := func(begins string) []string {
		t.Helper()
		joined := strings.ReplaceAll(page, "\\\n", " ")
		for line := range strings.Lines(joined) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, begins) {
				line = strings.NewReplacer("http://127.0.0.1:9500", issuer, "https://issuer.example/realms/main", issuer, "http://localhost:8080", service).Replace(line)
				return strings.Fields(line)
			}
		}
		t.Fatalf("the page has no line %q", begins)
		return nil
	}
	start(t, bin, dir, command("keybound issuer")...)
	logged := start(t, bin, dir, "orders")
	await(t, issuer+"/.well-known/openid-configuration")
	await(t, service)

	curl := command("curl -i")
	resp, err := http.Get(curl[len(curl)-1])
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Values("WWW-Authenticate"))
	line := regexp.MustCompile(`(?m)^ +(INFO request refused .*?;) `).FindStringSubmatch(page)
	require.NotNil(t, line)
	require.Eventually(t, func() bool { return strings.Contains(logged(), line[1]) }, 5*time.Second, 10*time.Millisecond, "%s", logged())

	call := command("KEYBOUND_CLIENT_SECRET=secret keybound call")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "keybound"), call[2:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), call[0])
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	require.Regexp(t, "^hello ", string(out))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func build(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// start runs a program until the end of the test, and returns what tells its output.
func start(t *testing.T, bin, dir string, command ...string) func() string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(bin, command[0]), command[1:]...)
	var output locked
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	return output.String
}

func await(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}, 20*time.Second, 20*time.Millisecond, url)
}

// locked is a buffer that another goroutine writes to.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
