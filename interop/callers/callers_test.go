// Package callers runs the clients of docs/clients.md, in JavaScript, Python, Java, Go
// and for the shell, against a guarded service that demands nonces.
package callers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// world is an issuer and a guarded service on loopback addresses.
type world struct {
	issuer, service string
	refused         chan string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{refused: make(chan string, 100)}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	atIssuer, atService := listen(), listen()
	w.issuer, w.service = "http://"+atIssuer.Addr().String(), "http://"+atService.Addr().String()
	issuer := oidctest.NewIssuer(t, oidctest.InMemory(w.issuer), oidctest.WithAudience("https://api.example"),
		oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "secret"}))
	issuer.RequireNonce("issuer-nonce")
	go func() { _ = http.Serve(atIssuer, issuer) }()

	nonceKey := make([]byte, 32)
	rand.Read(nonceKey)
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(w.issuer, "https://api.example", oidc.DangerouslyAllowLoopbackHTTP())),
		middleware.WithDPoP(dpop.New(w.service, dpop.WithNonces(dpop.NewNonces(nonceKey)))),
		middleware.WithRules(middleware.Scopes("orders:read")),
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
			if o.Status != 0 {
				w.refused <- o.Reason
			}
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = guard.Close() })
	go func() {
		_ = http.Serve(atService, guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "orders") })))
	}()
	return w
}

// try runs a client, which prints the status of its call.
func (w *world) try(t *testing.T, dir string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ISSUER="+w.issuer, "CLIENT_ID=app", "CLIENT_SECRET=secret", "URL="+w.service+"/orders?page=2")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", out, &stderr)
	printed := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(string(out), "") // Maven colours it
	require.Equal(t, "200", strings.TrimSpace(printed), "%s", &stderr)
	// The service demanded a nonce and refused nothing else.
	require.Equal(t, "dpop_nonce_missing", <-w.refused)
	require.Empty(t, w.refused)
}

func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
}

func TestJavaScript(t *testing.T) {
	needs(t, "node")
	newWorld(t).try(t, "", "node", "call.mjs")
}

func TestPython(t *testing.T) {
	needs(t, "python3")
	python := filepath.Join(t.TempDir(), "python")
	for _, step := range [][]string{
		{"python3", "-m", "venv", python},
		{python + "/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"},
	} {
		out, err := exec.CommandContext(t.Context(), step[0], step[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	newWorld(t).try(t, "", python+"/bin/python", "call.py")
}

func TestJava(t *testing.T) {
	needs(t, "mvn")
	dir := t.TempDir() // Maven writes beside its project
	require.NoError(t, os.CopyFS(dir, os.DirFS("java")))
	newWorld(t).try(t, dir, "mvn", "--quiet", "--batch-mode", "compile", "exec:java")
}

func TestGo(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	status, err := call(t.Context(), key, w.issuer, w.service)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Equal(t, "dpop_nonce_missing", <-w.refused)
	require.Empty(t, w.refused)
}

// TestShell: curl with a proof of the command keybound, and keybound alone.
func TestShell(t *testing.T) {
	needs(t, "curl")
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = "../../cmd/keybound"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	script, err := filepath.Abs("call.sh")
	require.NoError(t, err)
	newWorld(t).try(t, t.TempDir(), "bash", script)
}
