package mcpguard_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

var toolScopes = map[string][]string{"look": nil, "refund": {"payments:write", "payments:read"}, "delete": nil}

// Step-up: a client asks the user for more only upon a 403 that names the scopes.
func TestAToolThatNeedsMoreIs403WithItsScopes(t *testing.T) {
	for mode, transport := range map[string]*mcp.StreamableHTTPOptions{
		"sessions": {}, "stateless": {Stateless: true}, "JSON": {JSONResponse: true}, "events": {EventStore: mcp.NewMemoryEventStore(nil)},
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			w.serve(mcpguard.WithToolScopes(toolScopes), mcpguard.WithTransport(transport))
			for scheme, client := range map[string]func(...oidctest.Change) *http.Client{
				"DPoP":   func(c ...oidctest.Change) *http.Client { return w.client("alice", "app", c...) },
				"Bearer": func(c ...oidctest.Change) *http.Client { return w.bearer("alice", "app", c...) },
			} {
				c := client()
				session := ""
				if !transport.Stateless {
					session = w.connect(c).ID()
				}
				a := w.do(c, w.request("POST", session, rpc(1, "refund")))
				require.Equal(t, 403, a.StatusCode, a.body)
				challenge := a.Header.Get("WWW-Authenticate")
				require.True(t, strings.HasPrefix(challenge, scheme+" "), challenge)
				require.Contains(t, challenge, `error="insufficient_scope"`)
				require.Contains(t, challenge, `scope="payments:write payments:read"`)
				require.Contains(t, challenge, `resource_metadata="`+w.URL+`/.well-known/oauth-protected-resource/mcp"`)
				require.Equal(t, 200, w.do(c, w.request("POST", session, rpc(2, "look"))).StatusCode)
				stepped := client(oidctest.Scope("tools:call", "payments:write", "payments:read"))
				require.Equal(t, 200, w.do(stepped, w.request("POST", session, rpc(3, "refund"))).StatusCode)
				require.Len(t, w.seen, 2)
				<-w.seen
				<-w.seen
			}
		})
	}
}

// However a client spells its message, and however the two readings of it differ, no
// tool runs without its scopes.
func TestNoSpellingOfAMessageReachesAToolWithoutItsScopes(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithToolScopes(toolScopes))
	c := w.client("alice", "app")
	s := w.connect(c)
	for name, body := range map[string]string{
		"escaped":             `{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"re\u0066und","arguments":{}}}`,
		"two names":           `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","name":"refund","arguments":{}}}`,
		"two names, reversed": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","name":"look","arguments":{}}}`,
		"two cases":           `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","Name":"look","arguments":{}}}`,
		"two cases, reversed": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"look","name":"refund","arguments":{}}}`,
		"a URI first":         `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"uri":"look","name":"refund","arguments":{}}}`,
		"two params":          `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look"},"params":{"name":"refund","arguments":{}}}`,
		"two methods":         `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"refund","arguments":{}}}`,
		"method in two cases": `{"jsonrpc":"2.0","id":1,"Method":"ping","method":"tools/call","params":{"name":"refund","arguments":{}}}`,
		"a batch":             `[` + rpc(1, "look") + `,` + rpc(2, "refund") + `]`,
		"a batch, spaced":     " \n[" + rpc(1, "refund") + "]",
		"a byte order mark":   "\ufeff" + rpc(1, "refund"),
		"trailing bytes":      rpc(1, "look") + rpc(2, "refund"),
		"a name of a number":  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["refund"]}}`,
		"spaced":              rpc(1, " refund"),
		"upper case":          rpc(1, "Refund"),
	} {
		r := w.request("POST", s.ID(), body)
		r.Header.Set("Mcp-Protocol-Version", "2025-03-26") // which has batches
		a := w.do(c, r)
		require.Zero(t, w.refunds.Load(), "%s: %d %s", name, a.StatusCode, a.body)
	}
	require.Equal(t, 200, w.do(w.client("alice", "app", oidctest.Scope(toolScopes["refund"]...)), w.request("POST", s.ID(), rpc(3, "refund"))).StatusCode)
	require.EqualValues(t, 1, w.refunds.Load())
}

// A batch, which old protocol versions have, is refused for any of its messages.
func TestABatchIs403(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithToolScopes(toolScopes))
	c := w.client("alice", "app")
	r := w.request("POST", w.connect(c).ID(), "\n["+rpc(1, "look")+","+rpc(2, "refund")+"]")
	r.Header.Set("Mcp-Protocol-Version", "2025-03-26")
	a := w.do(c, r)
	require.Equal(t, 403, a.StatusCode)
	require.Contains(t, a.Header.Get("WWW-Authenticate"), "payments:write")
	require.Empty(t, w.seen)
}

// A tool without an entry is closed: a misspelt name must not open it.
func TestAToolThatTheTableDoesNotName(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.serve(mcpguard.WithToolScopes(toolScopes), mcpguard.WithTransport(&mcp.StreamableHTTPOptions{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))}))
	s := w.connect(w.client("alice", "app"))
	require.ErrorContains(t, call(w, s, "unnamed"), `unknown tool "unnamed"`)
	require.ErrorContains(t, call(w, s, "unheard-of"), `unknown tool "unheard-of"`)
	for range 2 {
		list, err := s.ListTools(t.Context(), nil)
		require.NoError(t, err)
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
		}
		require.Equal(t, []string{"delete", "look", "refund"}, names)
	}
	require.Equal(t, 1, strings.Count(log.String(), "WithToolScopes does not name a tool"), log.String())
	require.Contains(t, log.String(), "tool=unnamed")
}

// The server demands its scopes also of messages that bypass the Handler, and so have no
// token.
func TestAServerThatIsReachedPastItsHandlerKeepsItsScopes(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithToolScopes(toolScopes))
	here, there := mcp.NewInMemoryTransports()
	server, err := w.server.Connect(t.Context(), here, nil)
	require.NoError(t, err)
	defer server.Close()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "t", Version: "1"}, nil).Connect(t.Context(), there, nil)
	require.NoError(t, err)
	defer s.Close()
	require.ErrorContains(t, call(w, s, "refund"), "insufficient_scope")
	require.ErrorContains(t, call(w, s, "delete"), "insufficient_scope")
	require.Zero(t, w.refunds.Load())
}

func TestScopesOfAnythingThatHasAName(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithToolScopes(toolScopes), mcpguard.WithScopes(func(method, name string) []string {
		switch {
		case method == "prompts/get":
			return []string{"prompts:" + name}
		case name == "look":
			panic("a bug")
		case method == "resources/read":
			return []string{`not a "scope"`}
		}
		return nil
	}))
	c := w.client("alice", "app")
	s := w.connect(c)
	get := `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"secret"}}`
	a := w.do(c, w.request("POST", s.ID(), get))
	require.Equal(t, 403, a.StatusCode)
	require.Contains(t, a.Header.Get("WWW-Authenticate"), `scope="prompts:secret"`)
	require.Equal(t, 200, w.do(w.client("alice", "app", oidctest.Scope("prompts:secret")), w.request("POST", s.ID(), get)).StatusCode)
	require.Equal(t, 403, w.do(c, w.request("POST", s.ID(), rpc(2, "refund"))).StatusCode, "the table counts beside the function")
	require.Equal(t, 503, w.do(c, w.request("POST", s.ID(), rpc(3, "look"))).StatusCode, "a panic decides nothing")
	require.Equal(t, 503, w.do(c, w.request("POST", s.ID(), `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"x:y"}}`)).StatusCode)
	require.Empty(t, w.seen)
}

// One message of the newest protocol subscribes to many resources. The SDK subscribes to
// each without its middleware.
func TestAMessageThatNamesManyResourcesNeedsTheScopesOfEach(t *testing.T) {
	w := newWorld(t)
	var subscribed atomic.Int32
	w.server = mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { subscribed.Add(1); return errors.New("seen") },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			subscribed.Add(1)
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{}}}, nil
		},
	})
	for _, uri := range []string{"open:x", "secret:x"} {
		w.server.AddResource(&mcp.Resource{Name: uri, URI: uri}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) { return nil, nil })
	}
	w.serve(mcpguard.WithTransport(&mcp.StreamableHTTPOptions{Stateless: true}), mcpguard.WithScopes(func(method, name string) []string {
		if (method == "resources/subscribe" || method == "completion/complete") && name == "secret:x" {
			return []string{"secrets"}
		}
		return nil
	}))
	send := func(c *http.Client, method, params string) answer {
		r := w.request("POST", "", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
			`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}},`+params+`}}`)
		r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		r.Header.Set("Mcp-Method", method)
		return w.do(c, r)
	}
	c, stepped := w.client("alice", "app"), w.client("alice", "app", oidctest.Scope("secrets"))
	for _, m := range [][2]string{
		{"subscriptions/listen", `"notifications":{"resourceSubscriptions":["secret:x"]}`},
		{"subscriptions/listen", `"notifications":{"toolsListChanged":true,"resourceSubscriptions":["other:x","secret:x"]}`},
		{"completion/complete", `"ref":{"type":"ref/resource","uri":"secret:x"},"argument":{"name":"a","value":"b"}`},
		{"completion/complete", `"ref":{"type":"ref/prompt","name":"secret:x"},"argument":{"name":"a","value":"b"}`},
	} {
		a := send(c, m[0], m[1])
		require.Zero(t, subscribed.Load(), "%s: %d %s", m, a.StatusCode, a.body)
		require.Equal(t, 403, a.StatusCode, a.body)
		require.Contains(t, a.Header.Get("WWW-Authenticate"), `scope="secrets"`)
		send(stepped, m[0], m[1])
		require.EqualValues(t, 1, subscribed.Swap(0), m)
	}
	// The check behind the SDK refuses what the check before it cannot read.
	twice := `"notifications":{},"notifications":{"resourceSubscriptions":["secret:x"]}`
	send(c, "subscriptions/listen", twice)
	require.Zero(t, subscribed.Load())
	send(c, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["open:x"]}`)
	require.EqualValues(t, 1, subscribed.Load())
}

func TestABodyBeyondTheLimit(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithToolScopes(toolScopes), mcpguard.WithTransport(&mcp.StreamableHTTPOptions{MaxRequestBodyBytes: 500, Stateless: true}))
	c := w.client("alice", "app")
	require.Equal(t, 413, w.do(c, w.request("POST", "", rpc(1, strings.Repeat("x", 500)))).StatusCode)
	require.Equal(t, 401, w.do(w.Anonymous(), w.request("POST", "", rpc(1, strings.Repeat("x", 500)))).StatusCode, "strangers' bodies are not read")
	require.Equal(t, 200, w.do(c, w.request("POST", "", rpc(1, "look"))).StatusCode)
}
