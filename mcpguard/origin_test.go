package mcpguard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc"
)

const app = "https://app.example"

// A client in a browser, on a page of a named origin, can do everything.
func TestABrowserClientOfANamedOrigin(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithOrigins(app, "http://localhost:5173"))
	r := w.request("OPTIONS", "", "")
	r.Header = http.Header{"Origin": {app}, "Access-Control-Request-Method": {"POST"},
		"Access-Control-Request-Headers": {"authorization,content-type,dpop,last-event-id,mcp-method,mcp-name,mcp-param-region,mcp-protocol-version,mcp-session-id"}}
	for _, method := range []string{"POST", "GET", "DELETE"} {
		r.Header.Set("Access-Control-Request-Method", method)
		a := w.do(w.Anonymous(), r.Clone(t.Context()))
		require.Less(t, a.StatusCode, 300, "a preflight has no credentials")
		require.Equal(t, app, a.Header.Get("Access-Control-Allow-Origin"))
		if method == "DELETE" { // the others are allowed without being named
			require.Equal(t, method, a.Header.Get("Access-Control-Allow-Methods"))
		}
		allowed := strings.ToLower(a.Header.Get("Access-Control-Allow-Headers"))
		require.Contains(t, allowed, "authorization", "* does not cover it")
		require.Contains(t, allowed, "*")
	}
	for status, c := range map[int]*http.Client{401: w.Anonymous(), 200: w.client("alice", "app")} {
		r := w.request("POST", "", initialize)
		r.Header.Set("Origin", app)
		a := w.do(c, r)
		require.Equal(t, status, a.StatusCode)
		require.Equal(t, app, a.Header.Get("Access-Control-Allow-Origin"))
		exposed := strings.ToLower(strings.Join(a.Header.Values("Access-Control-Expose-Headers"), ","))
		for _, field := range []string{"www-authenticate", "dpop-nonce", "mcp-session-id", "retry-after"} {
			require.Contains(t, exposed, field)
		}
		require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"), "there are no cookies")
	}
}

func TestAPageOfAnotherOriginIsRefused(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithOrigins(app))
	c := w.client("alice", "app")
	for name, origins := range map[string][]string{
		"another":          {"https://evil.example"},
		"null":             {"null"},
		"empty":            {""},
		"two":              {app, "https://evil.example"},
		"one twice":        {app, app},
		"joined":           {app + ", " + app},
		"a longer name":    {app + ".evil.example"},
		"a path":           {app + "/"},
		"upper case":       {strings.ToUpper(app)},
		"http":             {"http://app.example"},
		"another port":     {app + ":8443"},
		"the same, a user": {"https://app.example@evil.example"},
	} {
		for _, method := range []string{"POST", "GET", "DELETE", "OPTIONS"} {
			r := w.request(method, "", initialize)
			r.Header["Origin"] = origins
			if method == "OPTIONS" {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
			a := w.do(c, r)
			require.Equal(t, 403, a.StatusCode, "%s, %s", name, method)
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
			require.Empty(t, a.Header.Get("DPoP-Nonce"))
		}
	}
	for name, origin := range map[string]string{"its own": w.URL, "the one that is named": app} {
		r := w.request("POST", "", initialize)
		r.Header.Set("Origin", origin)
		require.Equal(t, 200, w.do(c, r).StatusCode, name)
	}
	w2 := newWorld(t)
	w2.serve()
	r := w2.request("POST", "", initialize)
	r.Header.Set("Origin", app)
	require.Equal(t, 403, w2.do(w2.client("alice", "app"), r).StatusCode, "without WithOrigins there are none")
}

// DNS rebinding: to the browser the page has the origin of the server, so that a GET has
// no Origin. The Host field shows the attacker's name.
func TestARequestUnderAForeignNameIsRefused(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithHosts("mcp.internal", "proxy.internal:8443"))
	u, err := url.Parse(w.URL)
	require.NoError(t, err)
	for host, known := range map[string]bool{
		"evil.example": false, "evil.example:" + u.Port(): false, "localhost.evil.example": false, "": true, // as the client has it
		"127.0.0.1.evil.example": false, "127.0.0.1:" + u.Port(): true, "[::1]": true, "localhost:8080": true, "mcp.internal": true, "MCP.internal:99": true,
		"proxy.internal:8443": true, "proxy.internal": false, "proxy.internal:1": false, "mcp.internal.evil.example": false, "x@127.0.0.1": false,
	} {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			r := w.request(method, "", initialize)
			r.Host = host
			a := w.do(w.bearer("alice", "app"), r)
			require.Equal(t, !known, a.StatusCode == 403 || host == "x@127.0.0.1" && a.StatusCode == 400, "%q: %d %s", host, a.StatusCode, a.body)
		}
	}
}

func TestMetadataForScriptsOfAnyOrigin(t *testing.T) {
	w := newWorld(t)
	w.serve(mcpguard.WithOrigins(app))
	r := w.request("GET", "", "")
	r.URL.Path = "/.well-known/oauth-protected-resource/mcp"
	r.Header.Set("Origin", "https://elsewhere.example")
	a := w.do(w.Anonymous(), r)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, []string{"*"}, a.Header.Values("Access-Control-Allow-Origin"))
	r.Method = "OPTIONS" // clients send MCP-Protocol-Version with it
	r.Header = http.Header{"Origin": {"https://elsewhere.example"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"mcp-protocol-version"}}
	a = w.do(w.Anonymous(), r)
	require.Less(t, a.StatusCode, 300)
	require.Contains(t, []string{"*", "mcp-protocol-version"}, a.Header.Get("Access-Control-Allow-Headers"))
}

// Only the two paths exist, however a request spells them.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	h := w.serve()
	c := w.client("alice", "app")
	for path, status := range map[string]int{
		"/mcp": 200, "/MCP": 404, "/mcp/": 404, "//mcp": 404, "/%6dcp": 404, "/mcp/../mcp": 404, "/mcp;x": 404, "/": 404, "/mcp%00": 404,
		"/.well-known/oauth-protected-resource": 404, "/.well-known/oauth-protected-resource/mcp/": 404,
	} {
		r := w.request("POST", "", initialize)
		r.URL.Opaque = strings.TrimPrefix(w.URL, "https:") + path
		require.Equal(t, status, w.do(c, r).StatusCode, path)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.StripPrefix("/x", h.Endpoint()))
	w.Serve(mux)
	r := w.request("POST", "", initialize)
	require.Equal(t, 404, w.do(c, r).StatusCode)
	r = w.request("POST", "", initialize)
	r.URL.Path = "/x/mcp"
	require.Equal(t, 401, w.do(w.Anonymous(), r).StatusCode, "guarded at another path too")
	require.Equal(t, 200, w.do(c, r.Clone(t.Context())).StatusCode)
	require.Equal(t, 404, serveZero(t))
}

func serveZero(t *testing.T) int {
	w := newWorld(t)
	w.Serve(new(mcpguard.Handler))
	require.Equal(t, 404, w.do(w.Anonymous(), w.request("POST", "", initialize)).StatusCode)
	w.Serve(new(mcpguard.Handler).Endpoint())
	return w.do(w.Anonymous(), w.request("POST", "", initialize)).StatusCode
}

func TestNewReportsEveryMistake(t *testing.T) {
	w := newWorld(t)
	good := mcpguard.WithGuard(w.guardOf())
	tokens := middleware.WithTokens(oidc.New(w.Issuer.URL, w.resource, oidc.WithHTTPClient(w.Issuer.Client())))
	plain := mcpguard.WithGuard(middleware.New(tokens, middleware.WithDPoP(dpop.New(w.URL))))
	of := func(resource middleware.ProtectedResource) mcpguard.Option {
		return mcpguard.WithGuard(middleware.New(tokens, middleware.MCP(resource)))
	}
	mixed := func(vs ...*oidc.Verifier) mcpguard.Option {
		return mcpguard.WithGuard(middleware.New(middleware.WithTokens(oidc.AnyOf(vs...)),
			middleware.MCP(middleware.ProtectedResource{Identifier: w.resource, AuthorizationServers: []string{w.Issuer.URL}})))
	}
	verifier := func(issuer, audience string) *oidc.Verifier {
		v, err := oidc.New(issuer, audience)
		require.NoError(t, err)
		return v
	}
	for want, opts := range map[string][]mcpguard.Option{
		"lists no Issuers or no Audiences":               {mixed(verifier(w.Issuer.URL, w.resource), verifier("https://other.example", "https://other.example/mcp"))},
		"no guard; add WithGuard":                        {},
		"WithGuard is given twice":                       {good, good},
		"WithGuard: nil":                                 {mcpguard.WithGuard(nil, nil)},
		"the guard is without the preset middleware.MCP": {plain},
		"option 2 is nil":                                {good, nil},
		"a server and WithServers exclude each other":    {good, mcpguard.WithServers(func(*http.Request) *mcp.Server { return nil })},
		"WithServers: nil":                               {good, mcpguard.WithServers(nil)},
		"WithTransport: nil":                             {good, mcpguard.WithTransport(nil)},
		"WithOrigins: no origin":                         {good, mcpguard.WithOrigins()},
		`WithOrigins: "*" is not an origin`:              {good, mcpguard.WithOrigins("*")},
		`"null" is not an origin`:                        {good, mcpguard.WithOrigins("null")},
		`"https://*.app.example" is not an origin`:       {good, mcpguard.WithOrigins("https://*.app.example")},
		`"https://app.example/" is not an origin`:        {good, mcpguard.WithOrigins("https://app.example/")},
		`"https://app.example:443" is not an origin`:     {good, mcpguard.WithOrigins("https://app.example:443")},
		`"https://App.example" is not an origin`:         {good, mcpguard.WithOrigins("https://App.example")},
		"WithHosts: no host":                             {good, mcpguard.WithHosts()},
		`WithHosts: "a/b" is not a host`:                 {good, mcpguard.WithHosts("a/b")},
		`WithHosts: "*" is not a host`:                   {good, mcpguard.WithHosts("*")},
		"WithToolScopes: nil":                            {good, mcpguard.WithToolScopes(nil)},
		`WithToolScopes: "x":`:                           {good, mcpguard.WithToolScopes(map[string][]string{"x": {"a b"}})},
		"WithScopes: nil":                                {good, mcpguard.WithScopes(nil)},
		"the resource is":                                {of(middleware.ProtectedResource{Identifier: w.URL + "/other", AuthorizationServers: []string{w.Issuer.URL}})},
		"the resource names the authorization server":    {of(middleware.ProtectedResource{Identifier: w.resource, AuthorizationServers: []string{"https://evil.example"}})},
	} {
		h, err := mcpguard.New(w.server, opts...)
		require.ErrorContains(t, err, want)
		require.Nil(t, h)
	}
	_, err := mcpguard.New(w.server, mixed(verifier(w.Issuer.URL, w.resource), verifier("https://other.example", w.resource)))
	require.NoError(t, err)
	_, err = mcpguard.New(nil, good)
	require.ErrorContains(t, err, "no server")
	_, err = mcpguard.New(nil, mcpguard.WithOrigins("*"))
	require.ErrorContains(t, err, "no server")
	require.ErrorContains(t, err, "WithOrigins")
}

func TestTheServersOwnOrigin(t *testing.T) {
	for id, want := range map[string]string{
		"https://mcp.example/mcp": "https://mcp.example", "https://MCP.example:443/mcp": "https://mcp.example", "https://mcp.example:8443/mcp": "https://mcp.example:8443",
		"https://mcp.example:80/": "https://mcp.example:80", "http://localhost:80/mcp": "http://localhost", "http://[::1]:8080/mcp": "http://[::1]:8080", "https://mcp.example:/mcp": "https://mcp.example",
	} {
		u, err := url.Parse(id)
		require.NoError(t, err)
		require.Equal(t, want, mcpguard.OriginOf(u), id)
	}
}
