package mcpguard_test

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestTheSDKGetsTheTokenInfoOfTheGuard(t *testing.T) {
	w := newWorld(t)
	w.serve()
	for scheme, c := range map[string]*http.Client{"DPoP": w.client("alice", "app"), "Bearer": w.bearer("alice", "app")} {
		require.NoError(t, call(w, w.connect(c), "look"))
		s := <-w.seen
		info := s.info.TokenInfo
		require.Equal(t, []string{"tools:call"}, info.Scopes, scheme)
		require.Equal(t, w.Issuer.URL+"#alice/app", info.UserID)
		require.WithinDuration(t, time.Now(), info.Expiration, 2*time.Hour)
		require.True(t, info.Expiration.After(time.Now()))
		require.Equal(t, []any{w.Issuer.URL, "alice", "app"}, []any{info.Extra["iss"], info.Extra["sub"], info.Extra["client_id"]})
		require.Equal(t, "alice", s.credential.Token.Subject)
		require.Equal(t, scheme == "DPoP", s.credential.Proof != nil)
	}
}

// switching is a client whose token changes from request to request.
type switching struct{ now atomic.Pointer[http.Client] }

func (s *switching) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.now.Load().Transport.RoundTrip(r)
}

// A session lives longer than a token: a handler must see the token of the message, not
// the one with which the session began, whose context the SDK keeps.
func TestAHandlerSeesTheCredentialOfItsMessage(t *testing.T) {
	w := newWorld(t)
	w.serve()
	var s switching
	s.now.Store(w.client("alice", "app", oidctest.Scope("tools:call", "admin")))
	session := w.connect(&http.Client{Transport: &s})
	require.NoError(t, call(w, session, "look"))
	require.Contains(t, (<-w.seen).credential.Token.Scopes, "admin")
	s.now.Store(w.client("alice", "app"))
	require.NoError(t, call(w, session, "look"))
	require.Equal(t, []string{"tools:call"}, (<-w.seen).credential.Token.Scopes)
	err := call(w, session, "delete")
	require.ErrorContains(t, err, "insufficient_scope: the token lacks files:delete")
	s.now.Store(w.client("alice", "app", oidctest.Scope("files:delete")))
	require.NoError(t, call(w, session, "delete"))
}

// Code that asks the SDK's context for the TokenInfo gets the message's TokenInfo too.
func TestTheContextOfAHandlerHasTheTokenInfoOfItsMessage(t *testing.T) {
	w := newWorld(t)
	got := make(chan *auth.TokenInfo, 10)
	w.server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx ctx, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tools/call" {
				got <- auth.TokenInfoFromContext(ctx)
			}
			return next(ctx, method, req)
		}
	})
	w.serve()
	var s switching
	s.now.Store(w.client("alice", "app", oidctest.Scope("admin")))
	session := w.connect(&http.Client{Transport: &s})
	s.now.Store(w.client("alice", "app"))
	require.NoError(t, call(w, session, "look"))
	require.Equal(t, []string{"tools:call"}, (<-got).Scopes)
}

// Middleware outside of the Handler's finds no credential, rather than a stale one.
func TestMiddlewareOutsideOfOursFindsNoStaleCredential(t *testing.T) {
	w := newWorld(t)
	w.serve()
	found := make(chan bool, 10)
	w.server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx ctx, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tools/call" {
				_, ok := middleware.FromContext(ctx)
				found <- ok
			}
			return next(ctx, method, req)
		}
	})
	require.NoError(t, call(w, w.connect(w.client("alice", "app")), "look"))
	require.False(t, <-found)
	require.NotNil(t, (<-w.seen).credential)
}

func TestServersByUser(t *testing.T) {
	w := newWorld(t)
	admin := mcp.NewServer(&mcp.Implementation{Name: "admin", Version: "1"}, nil)
	mcp.AddTool(admin, &mcp.Tool{Name: "reboot"}, func(c ctx, r *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		cred, _ := middleware.FromContext(c)
		w.seen <- seen{*r.Extra, cred}
		return &mcp.CallToolResult{}, nil, nil
	})
	h, err := mcpguard.New(nil, mcpguard.WithGuard(w.guardOf()), mcpguard.WithServers(func(r *http.Request) *mcp.Server {
		if c, ok := middleware.FromContext(r.Context()); ok && c.Token.Subject == "root" {
			return admin
		}
		return w.server
	}))
	require.NoError(t, err)
	w.Serve(h)
	require.NoError(t, call(w, w.connect(w.client("root", "app")), "reboot"))
	require.Equal(t, "root", (<-w.seen).credential.Token.Subject)
	require.Error(t, call(w, w.connect(w.client("alice", "app")), "reboot"))
	require.NoError(t, call(w, w.connect(w.client("alice", "app")), "look"))
}

// A server that is made for one request has its scopes from the start, and is not kept.
func TestServersOfOneRequestEach(t *testing.T) {
	w := newWorld(t)
	h, err := mcpguard.New(nil, mcpguard.WithGuard(w.guardOf()), mcpguard.WithToolScopes(toolScopes),
		mcpguard.WithTransport(&mcp.StreamableHTTPOptions{Stateless: true, Logger: slog.New(slog.DiscardHandler)}),
		mcpguard.WithServers(func(*http.Request) *mcp.Server {
			s := mcp.NewServer(&mcp.Implementation{Name: "one", Version: "1"}, nil)
			for _, name := range []string{"look", "unnamed"} {
				mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, any, error) {
					return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "ran " + name}}}, nil, nil
				})
			}
			return s
		}))
	require.NoError(t, err)
	w.Serve(h)
	c := w.bearer("alice", "app")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for tool, want := range map[string]string{"look": "ran look", "unnamed": "unknown tool"} {
				if a := w.do(c, w.request("POST", "", rpc(1, tool))); !strings.Contains(a.body, want) {
					t.Errorf("%s: %d %s", tool, a.StatusCode, a.body)
				}
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { runtime.GC(); return h.Installed() < 10 }, 10*time.Second, 50*time.Millisecond)
}

// Two Handlers may share a server: each demands its own scopes of its own messages.
func TestTwoHandlersOfOneServer(t *testing.T) {
	w := newWorld(t)
	strict, err := mcpguard.New(w.server, mcpguard.WithGuard(w.guardOf()), mcpguard.WithToolScopes(map[string][]string{"look": {"admin"}}))
	require.NoError(t, err)
	lax, err := mcpguard.New(w.server, mcpguard.WithGuard(w.guardOf()))
	require.NoError(t, err)
	w.Serve(strict)
	require.Equal(t, 403, w.do(w.client("alice", "app"), w.request("POST", w.connect(w.client("alice", "app")).ID(), rpc(1, "look"))).StatusCode)
	w.Serve(lax)
	require.NoError(t, call(w, w.connect(w.client("alice", "app")), "look"))
	require.Equal(t, "alice", (<-w.seen).credential.Token.Subject)
}
