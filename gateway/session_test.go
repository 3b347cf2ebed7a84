package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const secret = "0123456789abcdef0123456789abcdef"

// withSession is good with sessions, and with more lines.
func withSession(lines string) string {
	return strings.Replace(good, "[bearer]", "[bearer, session]\n      session_secret: "+secret, 1) + lines
}

func TestSession(t *testing.T) {
	t.Setenv("SECRET", secret)
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, `_format_version: "3.0"
services:
  - name: s
    url: ${{ env "DECK_UPSTREAM" }}
    routes:
      - name: bound
        paths: [/bound]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer, session], session_secret: '${{ env "SECRET" }}', proof_of_possession_dpop: strict, audience_required: ['https://api.example']}}]
      - name: bearer
        paths: [/bearer]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [introspection, session], client_id: [client], client_secret: [secret], session_secret: 'fedcba9876543210fedcba9876543210',
          session_cookie_name: b, session_cookie_path: /bearer, session_cookie_domain: gateway.example, session_cookie_same_site: Strict, session_idling_timeout: 60, session_absolute_timeout: 600, session_storage: cookie}}]
      - {name: open, paths: [/headers], strip_path: false}
`, "-public-origin", "https://api.example")
	anonymous := bed.Client(nil)
	cookieOf := func(a answer) *http.Cookie {
		t.Helper()
		all := (&http.Response{Header: a.header}).Cookies()
		require.Len(t, all, 1)
		return all[0]
	}
	by := func(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }

	key := dpoptest.NewKey(t)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	proof := func() func(*http.Request) {
		return func(r *http.Request) {
			r.Host = "api.example"
			r.Header.Set("Dpop", key.Proof(r.Method, "https://api.example"+r.URL.Path, token))
		}
	}
	first := ask(t, anonymous, gw.url+"/bound/headers", with("Authorization", "DPoP "+token), proof())
	require.Equal(t, 200, first.status, first.body)
	cookie := cookieOf(first)
	require.Equal(t, "__Host-session", cookie.Name)
	require.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteLaxMode)
	require.NotContains(t, cookie.Value, token)

	t.Run("the cookie stands for the token, and the service behind sees the token alone", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/bound/headers", by(cookie), by(&http.Cookie{Name: "theirs", Value: "1"}), proof())
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"Bearer " + token}, a.headers["Authorization"])
		require.Equal(t, []string{"theirs=1"}, a.headers["Cookie"])
		require.NotContains(t, a.headers, "Dpop")
	})
	t.Run("and needs the proof that the token needs", func(t *testing.T) {
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/bound/headers", by(cookie)).status)
		stranger := dpoptest.NewKey(t)
		a := ask(t, anonymous, gw.url+"/bound/headers", by(cookie), func(r *http.Request) {
			r.Host = "api.example"
			r.Header.Set("Dpop", stranger.Proof("GET", "https://api.example/bound/headers", token))
		})
		require.Equal(t, 401, a.status)
	})
	t.Run("another site cannot use it", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/bound/post", func(r *http.Request) { r.Method = "POST" }, by(cookie), proof(), with("Sec-Fetch-Site", "cross-site"))
		require.Equal(t, 403, a.status)
	})
	t.Run("a browser sends it to routes that are open too, and it goes no further", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/headers", by(cookie))
		require.Equal(t, 200, a.status)
		require.NotContains(t, a.headers, "Cookie")
	})
	t.Run("it is no session of another plugin", func(t *testing.T) {
		renamed := *cookie
		renamed.Name = "b"
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/bearer/headers", by(cookie)).status)
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/bearer/headers", by(&renamed)).status)
	})
	t.Run("the file says what the cookie is like", func(t *testing.T) {
		opaque := bed.Issuer.OpaqueToken()
		a := ask(t, anonymous, gw.url+"/bearer/headers", bearer(opaque))
		require.Equal(t, 200, a.status, a.body)
		c := cookieOf(a)
		require.Equal(t, []any{"b", "/bearer", "gateway.example", http.SameSiteStrictMode}, []any{c.Name, c.Path, c.Domain, c.SameSite})
		a = ask(t, anonymous, gw.url+"/bearer/headers", by(c))
		require.Equal(t, []string{"Bearer " + opaque}, a.headers["Authorization"])
		bed.Issuer.Revoke(opaque)
	})
	require.NotContains(t, gw.log.String(), cookie.Value)
	require.Regexp(t, `msg="request refused" .*path=/bound/headers .*session=true`, gw.log.String())
}

func TestMistakesInSessions(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"no secret":           {strings.Replace(good, "[bearer]", "[bearer, session]", 1), []string{`:12: plugins[0].config.auth_methods: session needs a session_secret`}},
		"a short secret":      {strings.Replace(withSession(""), secret, secret[1:], 1), []string{`:13: plugins[0].config.session_secret: has 31 bytes: 32 or more are needed`}},
		"an empty secret":     {strings.Replace(withSession(""), secret, "''", 1), []string{`:13: plugins[0].config.session_secret: is empty`}},
		"alone":               {strings.Replace(withSession(""), "[bearer, session]", "[session]", 1), []string{`session needs bearer or introspection beside it`}},
		"beside Basic":        {strings.Replace(withSession("      client_id: [c]\n"), "[bearer, session]", "[client_credentials, session]", 1), []string{`session needs bearer or introspection beside it`}},
		"a store":             {withSession("      session_storage: redis\n      session_redis_host: x\n"), []string{`:15: plugins[0].config.session_storage: "redis" is not supported: a session is in its cookie`, `:16: plugins[0].config.session_redis_host: is not supported: a session is its cookie alone`}},
		"another store":       {withSession("      session_memcached_host: x\n"), []string{`session_memcached_host: is not supported: a session is its cookie alone`}},
		"a rolling time-out":  {withSession("      session_rolling_timeout: 60\n"), []string{`session_rolling_timeout: is not supported: the cookie is written anew`}},
		"scripts may read it": {withSession("      session_cookie_http_only: false\n"), []string{`session_cookie_http_only: false is refused on purpose`}},
		"plain HTTP":          {withSession("      session_cookie_secure: false\n"), []string{`session_cookie_secure: false is refused on purpose`}},
		"for ever":            {withSession("      session_remember: true\n"), []string{`session_remember: true is refused on purpose`}},
		"an unknown mode":     {withSession("      session_cookie_same_site: Default\n"), []string{`session_cookie_same_site: "Default" is not supported; it can be Strict, Lax, None`}},
		"a name with a space": {withSession("      session_cookie_name: a b\n"), []string{`session: the cookie is not valid`}},
		"a prefix and a path": {withSession("      session_cookie_name: __Host-x\n      session_cookie_path: /x\n"), []string{`session: __Host-x: the prefix demands Secure, the path / and no domain`}},
		"no time at all":      {withSession("      session_idling_timeout: 0\n"), []string{`session: WithIdleTimeout: 0s is not between`}},
		"no lifetime":         {withSession("      session_absolute_timeout: 0\n"), []string{`session: WithLifetime: 0s is not between`}},
		"idle beyond the end": {withSession("      session_idling_timeout: 60\n      session_absolute_timeout: 30\n"), []string{`the idle timeout, 1m0s, is longer than the lifetime, 30s`}},
		"an unknown key":      {withSession("      session_audience: x\n"), []string{`session_audience: is not supported`}},
		"keys without sessions": {good + "      session_secret: x\n      session_storage: redis\n", []string{
			`:14: plugins[0].config.session_secret: needs session among the auth_methods`, `:15: plugins[0].config.session_storage: needs session among the auth_methods`}},
	} {
		t.Run(name, func(t *testing.T) {
			found := mistakes(t, tc.text)
			require.Len(t, found, len(tc.want), found)
			for i, want := range tc.want {
				require.Contains(t, found[i], want)
				require.NotContains(t, found[i], secret[1:])
			}
		})
	}
	require.Empty(t, mistakes(t, withSession("      session_cookie_same_site: None\n      session_remember: false\n      session_cookie_secure: true\n      session_storage: null\n")))
}

func TestEachPluginNeedsASessionSecretOfItsOwn(t *testing.T) {
	another := func(lines string) []string {
		plugin := strings.Replace(withSession(""), "config:\n", "route: r\n    config:\n", 1)
		return mistakes(t, withSession("")+plugin[strings.Index(plugin, "  - name: openid"):]+lines)
	}
	found := another("")
	require.Len(t, found, 1, found)
	require.Contains(t, found[0], "kong.yaml:20: plugins[1].config.session_secret: another plugin has the same one and the same cookie; each needs its own")
	require.NotContains(t, found[0], secret)
	require.Len(t, another("      session_cookie_name: __Host-session\n"), 1, "which is the name by default")
	require.Empty(t, another("      session_cookie_name: other\n"))
	found = another("      session_cookie_name: __Host-session-1\n")
	require.Len(t, found, 1, found)
	require.Contains(t, found[0], "session_cookie_name: another plugin's long sessions have cookies of that name")
	distinct := withSession("") + strings.Replace(strings.Replace(withSession(""), "config:\n", "route: r\n    config:\n", 1), secret, "f"+secret, 1)[strings.Index(good, "  - name: openid"):]
	require.Empty(t, mistakes(t, distinct))
	require.Empty(t, another("      session_cookie_path: /x\n"), "another name by default")
	require.Empty(t, another("      session_cookie_domain: gateway.example\n"))
}
