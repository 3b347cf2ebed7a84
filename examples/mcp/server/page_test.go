package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

// What docs/mcp.md says works: its program is this one, and its commands, at other ports,
// come to what it says.
func TestThePage(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/mcp.md")
	require.NoError(t, err)
	page := string(raw)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(program), "package main")
	require.Contains(t, page, "package main"+rest)

	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../../../cmd/keybound"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	var shop http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { shop.ServeHTTP(w, r) }))
	defer server.Close()
	free := httptest.NewServer(nil)
	issuer := free.URL
	free.Close()
	shop, err = newHandler(issuer, server.URL, oidc.DangerouslyAllowLoopbackHTTP())
	require.NoError(t, err)
	here := strings.NewReplacer("http://127.0.0.1:9500", issuer, "http://localhost:8080", server.URL)
	shell := func(ctx context.Context, line string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sh", "-c", "exec env "+here.Replace(line))
		cmd.Dir = bin
		cmd.Env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		return cmd
	}
	line := func(start string) string {
		m := regexp.MustCompile(`(?m)^    (` + start + `(?:.*\\\n)*.*)`).FindStringSubmatch(page)
		require.NotNil(t, m, start)
		return m[1]
	}
	ctx, stop := context.WithCancel(t.Context())
	authority := shell(ctx, line("keybound issuer"))
	require.NoError(t, authority.Start())
	t.Cleanup(func() { stop(); _ = authority.Wait() })
	require.Eventually(t, func() bool {
		resp, err := http.Get(issuer + "/.well-known/openid-configuration")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)

	out, err = shell(t.Context(), line("KEYBOUND_CLIENT_SECRET")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), `"serverInfo":{"name":"shop"`)
	require.Contains(t, string(out), "Authorization: DPoP ")
}
