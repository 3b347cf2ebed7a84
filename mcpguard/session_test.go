package mcpguard_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Issue 16: behind a guard alone the SDK silently skips its check that a session belongs
// to its user: it has no TokenInfo to compare.
func TestTheGuardAloneLeavesSessionsOpen(t *testing.T) {
	w := newWorld(t)
	g, err := w.guardOf()
	require.NoError(t, err)
	w.Serve(g.Wrap(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return w.server }, nil)))
	alice := w.connect(w.client("alice", "app"))
	require.Equal(t, 200, w.do(w.client("mallory", "app"), w.request("POST", alice.ID(), rpc(7, "look"))).StatusCode)
}

func TestASessionBelongsToItsUserAndClient(t *testing.T) {
	for scheme, client := range map[string]func(w *world, user, client string) *http.Client{
		"DPoP":   func(w *world, user, client string) *http.Client { return w.client(user, client) },
		"Bearer": func(w *world, user, client string) *http.Client { return w.bearer(user, client) },
	} {
		t.Run(scheme, func(t *testing.T) {
			w := newWorld(t)
			w.serve(mcpguard.WithTransport(&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}))
			alice := w.connect(client(w, "alice", "app"))
			require.NoError(t, call(w, alice, "look"))
			resume := w.request("GET", alice.ID(), "")
			resume.Header.Set("Last-Event-ID", "_0")
			for stranger, c := range map[string]*http.Client{
				"another user":                       client(w, "mallory", "app"),
				"another client of the user":         client(w, "alice", "other"),
				"a user whose name holds the client": client(w, "alice/app", "app"),
				"a user with the case changed":       client(w, "Alice", "app"),
			} {
				for name, r := range map[string]*http.Request{
					"POST":   w.request("POST", alice.ID(), rpc(7, "look")),
					"ping":   w.request("POST", alice.ID(), `{"jsonrpc":"2.0","id":9,"method":"ping"}`),
					"answer": w.request("POST", alice.ID(), `{"jsonrpc":"2.0","id":1,"result":{}}`),
					"GET":    w.request("GET", alice.ID(), ""),
					"resume": resume.Clone(t.Context()),
					"DELETE": w.request("DELETE", alice.ID(), ""),
				} {
					require.Equal(t, 403, w.do(c, r).StatusCode, "%s, %s", stranger, name)
				}
			}
			require.NoError(t, call(w, alice, "look"), "the session is still there")
			// A new token of the same client, under another key.
			again := client(w, "alice", "app")
			require.Equal(t, 200, w.do(again, w.request("POST", alice.ID(), rpc(8, "look"))).StatusCode)
			require.Equal(t, 204, w.do(again, w.request("DELETE", alice.ID(), "")).StatusCode)
			require.Equal(t, 404, w.do(again, w.request("POST", alice.ID(), rpc(8, "look"))).StatusCode)
		})
	}
}

// A user cannot be lured into a session that an attacker began (session fixation).
func TestASessionOfAnAttackerIsOfNoUseToAVictim(t *testing.T) {
	w := newWorld(t)
	w.serve()
	mallory := w.connect(w.client("mallory", "app"))
	require.Equal(t, 403, w.do(w.client("alice", "app"), w.request("POST", mallory.ID(), rpc(7, "look"))).StatusCode)
	made := w.request("POST", "made-up-by-the-client", initialize)
	require.Equal(t, 404, w.do(w.client("alice", "app"), made).StatusCode)
	both := w.request("POST", mallory.ID(), rpc(7, "look"))
	both.Header.Add("Mcp-Session-Id", w.connect(w.client("alice", "app")).ID())
	require.Equal(t, 403, w.do(w.client("alice", "app"), both).StatusCode)
}

func TestSessionsThatAreBoundToAKey(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.BindSessionsToKey())
	c := w.client("alice", "app")
	alice := w.connect(c)
	require.NoError(t, call(w, alice, "look"))
	require.Equal(t, 403, w.do(w.client("alice", "app"), w.request("POST", alice.ID(), rpc(7, "look"))).StatusCode)
	require.Equal(t, 403, w.do(w.bearer("alice", "app"), w.request("POST", alice.ID(), rpc(7, "look"))).StatusCode)
	require.NoError(t, call(w, alice, "look"))
}

// A user cannot resume another user's events in a session of its own.
func TestEventsOfAnotherUserCannotBeResumed(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithTransport(&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}))
	alice := w.connect(w.client("alice", "app"))
	r := w.request("POST", alice.ID(), rpc(7, "look"))
	r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	a := w.do(w.client("alice", "app"), r)
	event := regexp.MustCompile(`id: (\S+)_0`).FindStringSubmatch(a.body)
	require.NotNil(t, event, a.body)
	resumed := func(c *http.Client, session string) (int, string) {
		r := w.request("GET", session, "")
		r.Header.Set("Last-Event-ID", event[1]+"_0")
		resp, err := c.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, body := resumed(w.client("alice", "app"), alice.ID())
	require.Equal(t, 200, status)
	require.Contains(t, body, "looked", "with a new token and key of the same client")
	status, _ = resumed(w.client("mallory", "app"), alice.ID())
	require.Equal(t, 403, status)
	_, body = resumed(w.client("mallory", "app"), w.connect(w.client("mallory", "app")).ID())
	require.NotContains(t, body, "looked")
}

// A refused request reaches no session, whichever client began the session.
func TestForgedCredentialsReachNoSession(t *testing.T) {
	w := newWorld(t)
	w.serve()
	alice := w.connect(w.client("alice", "app"))
	token := w.Issuer.Token(w.changes("alice", "app")...)
	for name, row := range map[string]struct {
		change func(h http.Header)
		status int
	}{
		"no token":              {func(h http.Header) {}, 401},
		"two tokens":            {func(h http.Header) { h["Authorization"] = []string{"Bearer " + token, "Bearer " + token} }, 400},
		"what the SDK is shown": {func(h http.Header) { h.Set("Authorization", "Bearer judged-by-the-guard") }, 401},
		"bearer twice":          {func(h http.Header) { h.Set("Authorization", "Bearer Bearer "+token) }, 400},
		"DPoP without a proof":  {func(h http.Header) { h.Set("Authorization", "DPoP "+token) }, 401},
	} {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			r := w.request(method, alice.ID(), rpc(7, "look"))
			row.change(r.Header)
			require.Equal(t, row.status, w.do(w.Anonymous(), r).StatusCode, "%s, %s", name, method)
		}
	}
	require.Empty(t, w.seen)
}

// EndResponsesWithToken: a stream ends with its token, and the next one takes it up.
func TestAStreamEndsWithItsToken(t *testing.T) {
	w := newWorld(t)
	w.serve()
	alice := w.do(w.client("alice", "app"), w.request("POST", "", initialize))
	session := alice.Header.Get("Mcp-Session-Id")
	require.NotEmpty(t, session)
	// 30 s ago is within the clock's tolerance, so that the token has a second to live.
	resp, err := w.client("alice", "app", oidctest.ExpiresIn(-29*time.Second)).Do(w.request("GET", session, ""))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, resp.Body); ended <- err }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the stream outlives its token")
	}
	require.Equal(t, 200, w.do(w.client("alice", "app"), w.request("GET", session, "")).StatusCode)
}

func TestAServerWithoutSessions(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithTransport(&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
	a := w.do(w.client("alice", "app"), w.request("POST", "", rpc(1, "look")))
	require.Equal(t, 200, a.StatusCode, a.body)
	require.Equal(t, "alice", (<-w.seen).credential.Token.Subject)
	require.Equal(t, 405, w.do(w.client("alice", "app"), w.request("GET", "", "")).StatusCode)
	require.Equal(t, 401, w.do(w.Anonymous(), w.request("POST", "", rpc(1, "look"))).StatusCode)
	require.NoError(t, call(w, w.connect(w.client("alice", "app")), "look"), "the SDK's client, in the newest protocol")
	require.True(t, strings.HasPrefix((<-w.seen).info.TokenInfo.UserID, w.Issuer.URL))
}
