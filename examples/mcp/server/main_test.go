package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The example's client and server, with an issuer as "keybound issuer" runs one.
func TestTheClientCallsTheServer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "client")
	out, err := exec.Command("go", "build", "-o", program, "../client").CombinedOutput()
	require.NoError(t, err, "%s", out)

	var shop, authority http.Handler
	at := func(h *http.Handler) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h).ServeHTTP(w, r) }))
		t.Cleanup(s.Close)
		return s
	}
	issuer, server := at(&authority), at(&shop)
	authority, err = oidctest.Start(oidctest.InMemory(issuer.URL), oidctest.WithAudience(server.URL+"/mcp"),
		oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "secret"}))
	require.NoError(t, err)
	shop, err = newHandler(issuer.URL, server.URL, oidc.DangerouslyAllowLoopbackHTTP())
	require.NoError(t, err)

	run := func(scopes ...string) string {
		out, err := exec.Command(program, append([]string{"-token-endpoint", issuer.URL + "/token", "-origin", server.URL}, scopes...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Regexp(t, `^greet hello app\nrefund refused: .*Forbidden`, run("tools:call"))
	require.Equal(t, "greet hello app\nrefund paid for 4711\n", run("tools:call", "payments:write"))

	resp, err := http.Post(server.URL+"/mcp", "application/json", nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
	require.Contains(t, resp.Header.Values("WWW-Authenticate")[0], `scope="tools:call"`)
}

// The addresses of main are good too.
func TestTheServerStarts(t *testing.T) {
	_, err := newHandler(issuer, origin, oidc.DangerouslyAllowLoopbackHTTP())
	require.NoError(t, err)
}
