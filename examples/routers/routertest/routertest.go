// Package routertest is the test of the examples: the service behaves alike on every
// router.
package routertest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/examples/routers/demo"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Run tries a service.
func Run(t *testing.T, newService demo.NewService) {
	t.Run("who gets through", func(t *testing.T) { whoGetsThrough(t, newService) })
	t.Run("preflights are answered without credentials", func(t *testing.T) { preflights(t, newService) })
	t.Run("a script sees why it was refused", func(t *testing.T) { refusals(t, newService) })
	t.Run("scripts of other origins are kept out", func(t *testing.T) { otherOrigins(t, newService) })
}

const app = "https://app.example"

// start serves the service and returns its origin, and how to get a token bound
// to key.
func start(t *testing.T, newService demo.NewService, key *dpoptest.Key) (origin string, token func(scopes ...string) string) {
	t.Helper()
	issuer := oidctest.NewIssuer(t)
	server := httptest.NewUnstartedServer(nil)
	origin = "http://" + server.Listener.Addr().String()
	tokens, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	server.Config.Handler, err = newService(tokens, err, origin, app)
	require.NoError(t, err)
	server.Start()
	t.Cleanup(func() { server.Close(); tokens.Close() })
	return origin, func(scopes ...string) string {
		return issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Scope(scopes...))
	}
}

func do(t *testing.T, client *http.Client, method, url string, header map[string]string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	return resp
}

func whoGetsThrough(t *testing.T, newService demo.NewService) {
	key := dpoptest.NewKey(t)
	origin, token := start(t, newService, key)
	anonymous := http.DefaultClient
	reader := middlewaretest.NewClient(t, nil, key, token("orders:read"))
	writer := middlewaretest.NewClient(t, nil, key, token("orders:write"))
	thief := middlewaretest.NewClient(t, nil, dpoptest.NewKey(t), token("orders:write"))
	for _, tc := range []struct {
		name         string
		client       *http.Client
		method, path string
		status       int
	}{
		{"the public route takes no token", anonymous, "GET", "/", 200},
		{"orders take a token", anonymous, "GET", "/orders", 401},
		{"a client with a token and its key reads orders", reader, "GET", "/orders", 200},
		{"a stolen token is refused", thief, "GET", "/orders", 401},
		{"writing needs a scope", reader, "POST", "/orders", 403},
		{"with the scope, writing works", writer, "POST", "/orders", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.status, do(t, tc.client, tc.method, origin+tc.path, nil).StatusCode)
		})
	}
}

func preflights(t *testing.T, newService demo.NewService) {
	origin, _ := start(t, newService, dpoptest.NewKey(t))
	resp := do(t, http.DefaultClient, "OPTIONS", origin+"/orders", map[string]string{
		"Origin":                         app,
		"Access-Control-Request-Method":  "POST",
		"Access-Control-Request-Headers": "authorization,dpop",
	})
	require.Less(t, resp.StatusCode, 300)
	require.Equal(t, app, resp.Header.Get("Access-Control-Allow-Origin"))
	allowed := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
	require.Contains(t, allowed, "authorization")
	require.Contains(t, allowed, "dpop")
}

func refusals(t *testing.T, newService demo.NewService) {
	origin, _ := start(t, newService, dpoptest.NewKey(t))
	resp := do(t, http.DefaultClient, "GET", origin+"/orders", map[string]string{"Origin": app})
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, app, resp.Header.Get("Access-Control-Allow-Origin"))
	exposed := strings.ToLower(strings.Join(resp.Header.Values("Access-Control-Expose-Headers"), ","))
	require.Contains(t, exposed, "dpop-nonce")
	require.Contains(t, exposed, "www-authenticate")
}

func otherOrigins(t *testing.T, newService demo.NewService) {
	origin, _ := start(t, newService, dpoptest.NewKey(t))
	resp := do(t, http.DefaultClient, "GET", origin+"/orders", map[string]string{"Origin": "https://evil.example"})
	require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
}
