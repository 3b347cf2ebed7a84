package mcp_test

//lint:file-ignore SA1019 the scenarios of the conformance suite still want logging and sampling

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// node is Node 22: the package from npm, or what is on the path.
func node(t *testing.T) string {
	if _, err := os.Stat("node_modules/@modelcontextprotocol/conformance"); err != nil {
		missing(t, "the packages from npm are not installed: run interop/run mcp")
	}
	found, _ := filepath.Glob("node_modules/node-linux-*/bin/node")
	program := "node"
	if len(found) > 0 {
		var err error
		program, err = filepath.Abs(found[0])
		require.NoError(t, err)
	}
	out, err := exec.Command(program, "-p", "process.versions.node.split('.')[0] >= 22").Output()
	if err != nil || strings.TrimSpace(string(out)) != "true" {
		missing(t, "there is no Node 22")
	}
	return program
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatal(what)
	}
	t.Skip("!! " + what)
}

// world is an issuer and a guarded MCP server, both by plain http on this machine, since
// no program of others can be told our CA.
type world struct {
	t                *testing.T
	issuer           *oidctest.Issuer
	origin, resource string
}

func listen(t *testing.T) (s *httptest.Server, h *http.Handler) {
	h = new(http.Handler)
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h).ServeHTTP(w, r) }))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s, h
}

func newWorld(t *testing.T, server *sdk.Server, proofs []dpop.Option, opts ...mcpguard.Option) *world {
	authority, issuing := listen(t)
	resource, serving := listen(t)
	w := &world{t: t, origin: resource.URL, resource: resource.URL + "/mcp"}
	var err error
	w.issuer, err = oidctest.Start(oidctest.InMemory(authority.URL), oidctest.WithAudience(w.resource), oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "secret"}))
	require.NoError(t, err)
	*issuing = w.issuer
	*serving, err = mcpguard.New(server, append(opts, mcpguard.WithGuard(middleware.New(
		middleware.WithTokens(oidc.New(authority.URL, w.resource, oidc.DangerouslyAllowLoopbackHTTP())),
		middleware.WithDPoP(dpop.New(w.origin, append(proofs, dpop.MCP())...)),
		middleware.MCP(middleware.ProtectedResource{Identifier: w.resource, AuthorizationServers: []string{authority.URL}, Scopes: []string{"tools:call"}}))))...)
	require.NoError(t, err)
	return w
}

// signing is a reverse proxy at proxied that adds a token and proofs: for a program that
// cannot.
func (w *world) signing(proxied string) http.Handler {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	var token string
	transport, err := dpopclient.New(key, dpopclient.WithOrigins(w.origin), dpopclient.DangerouslyAllowLoopbackHTTP(),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) { return token, "DPoP", nil })))
	require.NoError(w.t, err)
	token = w.issuer.Token(oidctest.BoundToKey(transport.Thumbprint()), oidctest.Scope("tools:call"))
	to, err := url.Parse(w.origin)
	require.NoError(w.t, err)
	return &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			if "http://"+r.In.Host != proxied {
				r.Out.Host = r.In.Host // a forged one is for the door to see
			}
		},
	}
}

// shop is the server of the TypeScript client.
func shop() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "shop", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "greet"}, func(ctx context.Context, _ *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		c, _ := middleware.FromContext(ctx)
		return text("hello " + c.Token.Subject), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "refund"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return text("paid"), nil, nil
	})
	return s
}

func text(s string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
}

// The TypeScript SDK with a DPoP client: from the first refusal to step-up, with nonces.
func TestTheTypeScriptSDK(t *testing.T) {
	program := node(t)
	w := newWorld(t, shop(), []dpop.Option{dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32))))},
		mcpguard.WithToolScopes(map[string][]string{"greet": nil, "refund": {"payments:write"}}))
	for _, e := range []oidctest.Endpoint{oidctest.OpenIDMetadata, oidctest.OAuthMetadata} { // the SDK wants one, though its client needs none
		w.issuer.Edit(e, func(answer map[string]any) { answer["authorization_endpoint"] = w.issuer.URL + "/authorize" })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "client.mjs", w.resource, "app", "secret")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(out, &got), string(out))
	require.Equal(t, map[string]any{"status": 401.0, "scope": "tools:call", "metadata": w.origin + "/.well-known/oauth-protected-resource/mcp"}, got["challenge"])
	require.Equal(t, w.resource, got["resource"])
	require.Equal(t, "DPoP", got["token_type"])
	require.Equal(t, []any{"greet", "refund"}, got["tools"])
	require.Equal(t, []any{true, "hello app"}, []any{got["session"], got["greet"]})
	require.Equal(t, map[string]any{"status": 403.0, "scope": "payments:write"}, got["insufficient"])
	require.Equal(t, []any{"refused", "paid"}, []any{got["refused"], got["refund"]})
	require.Equal(t, map[string]any{"key": 401.0, "bearer": 401.0}, got["stolen"])
	require.Equal(t, 404.0, got["ended"])
	require.GreaterOrEqual(t, got["nonces"], 2.0)
	settle(t, "TypeScript SDK", "| client | result |\n| --- | --- |\n"+
		"| TypeScript SDK with `dpop` as its fetch | metadata from the challenge, token, session, tools 200; step-up 403 then 200; nonces answered; stolen 401; ended session 404 |\n")
}

// settle compares what came out with the table of interop/README.md, or writes it.
func settle(t *testing.T, name, table string) {
	const page = "../README.md"
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	start, end := "<!-- MCP: "+name+" -->\n", "<!-- end of MCP: "+name+" -->"
	before, rest, ok := strings.Cut(string(raw), start)
	require.True(t, ok, "%s has no place for %s", page, name)
	now, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if os.Getenv("INTEROP_UPDATE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(before+start+table+end+after), 0o644))
		return
	}
	require.Equal(t, now, table, "INTEROP_UPDATE=1 writes it")
}

// scenarios are those of the package that are about the transport, sessions and streams,
// by the options of the server: what a guard could break.
var scenarios = []struct {
	server  string
	options sdk.StreamableHTTPOptions
	version string
	names   []string
}{
	{"with sessions", sdk.StreamableHTTPOptions{}, "2025-11-25", []string{
		"server-initialize", "server-session-lifecycle", "ping", "logging-set-level", "tools-list", "tools-call-simple-text", "tools-call-error",
		"tools-call-with-logging", "tools-call-with-progress", "tools-call-sampling", "tools-call-elicitation", "server-sse-multiple-streams", "dns-rebinding-protection",
	}},
	{"stateless", sdk.StreamableHTTPOptions{Stateless: true}, "2026-07-28", []string{
		"tools-list", "tools-call-simple-text", "tools-call-error", "tools-call-with-progress", "http-header-validation", "dns-rebinding-protection",
	}},
}

// The MCP project's tests through the guard: the server must be as it is without one.
// A proxy adds token and proofs, since the tests have none.
func TestTheConformancePackage(t *testing.T) {
	program := node(t)
	var table strings.Builder
	table.WriteString("| scenario | server | protocol | checks passed |\n| --- | --- | --- | --- |\n")
	for _, group := range scenarios {
		target := behindProxy(t, &group.options)
		for _, name := range group.names {
			passed, all := conformance(t, program, target, name, group.version)
			require.Equal(t, all, passed, "%s, %s", name, group.server)
			require.Positive(t, all, name)
			fmt.Fprintf(&table, "| %s | %s | %s | %d of %d |\n", name, group.server, group.version, passed, all)
		}
	}
	settle(t, "conformance", table.String())
}

// behindProxy is the URL of a server with the tools that the scenarios call.
func behindProxy(t *testing.T, o *sdk.StreamableHTTPOptions) string {
	proxy, proxying := listen(t)
	proxied := strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1)
	w := newWorld(t, everything(), nil, mcpguard.WithTransport(o), mcpguard.WithOrigins(proxied))
	*proxying = w.signing(proxied)
	return proxied + "/mcp"
}

// conformance runs one scenario, and counts its checks.
func conformance(t *testing.T, program, target, scenario, version string) (passed, all int) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "node_modules/@modelcontextprotocol/conformance/dist/index.js", "server",
		"--url", target, "--scenario", scenario, "--spec-version", version, "-o", dir).CombinedOutput()
	results, globErr := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	require.NoError(t, globErr)
	require.Len(t, results, 1, "%v: %s", err, out)
	raw, err := os.ReadFile(results[0])
	require.NoError(t, err)
	var checks []struct{ ID, Status, ErrorMessage string }
	require.NoError(t, json.Unmarshal(raw, &checks))
	for _, c := range checks {
		switch c.Status {
		case "SUCCESS":
			passed++
			all++
		case "INFO", "SKIPPED":
		default:
			all++
			t.Errorf("%s: %s %s: %s", scenario, c.ID, c.Status, c.ErrorMessage)
		}
	}
	return passed, all
}
