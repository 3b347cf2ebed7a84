package mcpguard_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// world is an MCP server behind its guard, with an issuer and honest clients.
type world struct {
	*middlewaretest.World
	t        testing.TB
	resource string
	server   *mcp.Server
	seen     chan seen    // what the tools saw
	refunds  atomic.Int32 // calls of the tool "refund"
}

// seen is what a tool finds out about its caller.
type seen struct {
	info       mcp.RequestExtra
	credential *middleware.Credential
}

type (
	nothing struct{}
	ctx     = context.Context
)

func newWorld(t testing.TB) *world {
	w := &world{World: middlewaretest.NewWorld(t), t: t, seen: make(chan seen, 100)}
	w.resource = w.URL + "/mcp"
	w.server = mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	look := func(ctx context.Context, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		c, _ := middleware.FromContext(ctx)
		w.seen <- seen{*r.Extra, c}
		if r.Params.Name == "refund" {
			w.refunds.Add(1)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "looked"}}}, nil, nil
	}
	for _, name := range []string{"look", "refund", "unnamed"} {
		mcp.AddTool(w.server, &mcp.Tool{Name: name}, look)
	}
	mcp.AddTool(w.server, &mcp.Tool{Name: "delete"}, func(ctx context.Context, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		if err := mcpguard.RequireScopes(ctx, "files:delete"); err != nil {
			return nil, nil, err
		}
		return look(ctx, r, nothing{})
	})
	w.server.AddPrompt(&mcp.Prompt{Name: "secret"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{}}, nil
	})
	return w
}

func (w *world) guardOf(opts ...middleware.Option) (*middleware.Guard, error) {
	return middleware.New(append(opts,
		middleware.WithTokens(oidc.New(w.Issuer.URL, w.resource, oidc.WithHTTPClient(w.Issuer.Client()))),
		middleware.WithDPoP(dpop.New(w.URL, dpop.MCP())),
		middleware.MCP(middleware.ProtectedResource{Identifier: w.resource, AuthorizationServers: []string{w.Issuer.URL}, Scopes: []string{"tools:call"}}))...)
}

// serve puts the server behind its guard.
func (w *world) serve(opts ...mcpguard.Option) *mcpguard.Handler {
	w.t.Helper()
	h, err := mcpguard.New(w.server, append(opts, mcpguard.WithGuard(w.guardOf()))...)
	require.NoError(w.t, err)
	w.Serve(h)
	return h
}

// changes are those of a token of a user and a client for the server.
func (w *world) changes(user, client string, more ...oidctest.Change) []oidctest.Change {
	return append([]oidctest.Change{
		oidctest.Claim("aud", w.resource), oidctest.Claim("sub", user), oidctest.Claim("client_id", client), oidctest.Scope("tools:call"),
	}, more...)
}

// client is one with a key of its own.
func (w *world) client(user, client string, more ...oidctest.Change) *http.Client {
	return w.Client(w.changes(user, client, more...)...)
}

// bearer is a client with a token that is bound to nothing.
func (w *world) bearer(user, client string, more ...oidctest.Change) *http.Client {
	token := w.Issuer.Token(w.changes(user, client, more...)...)
	base := w.Anonymous()
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
		return base.Transport.RoundTrip(r)
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// connect begins a session with the SDK's client.
func (w *world) connect(c *http.Client) *mcp.ClientSession {
	w.t.Helper()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
		Connect(w.t.Context(), &mcp.StreamableClientTransport{Endpoint: w.resource, HTTPClient: c, MaxRetries: -1}, nil)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

func call(w *world, s *mcp.ClientSession, tool string) error {
	_, err := s.CallTool(w.t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}})
	return err
}

// request is one that the SDK takes, in the protocol version of the first sessions.
func (w *world) request(method, session, body string) *http.Request {
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.resource, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	return r
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

func (w *world) do(c *http.Client, r *http.Request) answer {
	w.t.Helper()
	resp, err := c.Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	if resp.Request.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
		return answer{resp, ""} // a stream
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answer{resp, string(body)}
}

// rpc is a JSON-RPC call of a tool.
func rpc(id int, tool string) string {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": map[string]any{}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
