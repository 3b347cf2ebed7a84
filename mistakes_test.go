package middleware_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// mistakes are the mistakes that operators make, and what holds that each is told of
// where the operator looks. A row that starts with "log" is a line of a guard; "start" is
// the error of New; "works" is no mistake. Where a guard cannot see it, elsewhere names
// the page that says what does. test is a test's name in file.
var mistakes = []struct {
	n         int
	what      string
	how       string
	file      string
	test      string
	elsewhere string
}{
	{1, "a token for another audience", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{2, "an origin with a trailing slash, :443, upper case", "works", "mistakes_test.go", "TestOriginsInOtherSpellingsWork", ""},
	{3, "an origin without scheme, with a query, a wildcard, empty", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	{4, "an origin with another path prefix", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{5, "an origin with another port or host", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{6, "an origin of plain http", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	{7, "an issuer of plain http", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	{8, "an issuer with a slash too many", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{9, "an issuer that is down, or of an unknown CA", "log", "mistakes_test.go", "TestAnIssuerThatIsNotTrustedIsNamedByDefault", ""},
	{10, "a server that does not ask for certificates", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{11, "a proxy that is not trusted", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{12, "a forwarded certificate in another format", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{13, "a forwarded certificate under another name", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{14, "trust in 0.0.0.0/0", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	{15, "a client's clock that is wrong", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{16, "an expired token, an issuer's clock that is ahead", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{17, "a Redis client without ContextTimeoutEnabled", "start", "redisstore/replay_test.go", "TestMistakesAreReportedAllAtOnce", ""},
	{18, "Redis that is down", "log", "redisstore/dials_test.go", "TestTheLogLineNamesTheStoreAndTheCause", ""},
	{19, "a nonce key of five bytes", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	{20, "replicas with different nonce keys", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{21, "Keycloak without its profile", "log", "mistakes_test.go", "TestTheLogLineOfOtherMistakesNamesTheFix", ""},
	{22, "another issuer without its profile", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{23, "the wrong profile", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{24, "Keycloak's usual audience", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{25, "an ID token", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{26, "an opaque token for a verifier of JWTs", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{27, "an unknown key id, a wrong signature", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	// A replica sees each proof once, and nothing is wrong with it: only a client that
	// sends one proof to all of them sees that each takes it.
	{28, "replicas without a shared replay memory", "start", "lifecycle_test.go", "TestALoggerIsToldOnceWhereProofsAreRemembered", "docs/keybound.md#keybound-doctor-url"},
	{29, "CORS inside of the guard", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{30, "StripPrefix, the prefix of a mux", "works", "http_test.go", "behind StripPrefix the proof", ""},
	{31, "HTTP/2, with and without TLS", "works", "mistakes_test.go", "TestUnencryptedHTTP2Works", ""},
	{32, "a proxy that strips a path prefix", "log", "mistakes_test.go", "TestTheLogLineOfOtherMistakesNamesTheFix", ""},
	{33, "a proxy that replaces Host", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{34, "a proxy that drops the DPoP field", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	{35, "WithDPoP forgotten", "log", "operate_test.go", "TestTheLogLineOfARefusalNamesTheFix", ""},
	// With ip:port in the client's field, the replaced address is like any other; without
	// a port, the line says so.
	{36, "a real IP middleware outside of the guard", "log", "mistakes_test.go", "TestTheLogLineOfOtherMistakesNamesTheFix", "docs/terminators.md#what-holds-for-all-of-them"},
	{37, "two guards around one handler, two verifiers, one memory", "log", "operate_test.go", "TestTheLogLineOfAReplayNamesNestedGuards", ""},
	{38, "introspection: a wrong secret, an answer without aud", "log", "mistakes_test.go", "TestTheLogLineOfOtherMistakesNamesTheFix", ""},
	{39, "metadata with another audience, or a foreign authorization server", "start", "mistakes_test.go", "TestTheStartSaysWhatMetadataPromisesAndVerifiersRefuse", ""},
	{40, "ten mistakes at once, FAPI2 on defaults, rules that exclude each other", "start", "mistakes_test.go", "TestNewNamesTheFix", ""},
	// There is no guard that could write a line.
	{41, "a handler that no guard wraps", "", "middlewaretest/world_test.go", "TestAllGuardedFindsRoutesWithoutAGuard", "docs/keybound.md#keybound-doctor-url"},
	{42, "gateway: unset variables, a typo, an http issuer", "start", "gateway/config_test.go", "TestMistakesInThePluginAreNamedWithTheirLine", ""},
}

// Each mistake has a test, and each that no guard can see a page that says what does.
func TestOperatorMistakesAreAllHeld(t *testing.T) {
	for i, m := range mistakes {
		require.Equal(t, i+1, m.n)
		text, err := os.ReadFile(m.file)
		require.NoError(t, err)
		require.Contains(t, string(text), m.test, "%d %s", m.n, m.what)
		if m.test == "TestTheLogLineOfARefusalNamesTheFix" || m.test == "TestTheLogLineOfOtherMistakesNamesTheFix" {
			require.Regexp(t, fmt.Sprintf(`\n\t\t"%d [^"]+": `, m.n), string(text), "%d %s", m.n, m.what)
		}
		if m.how == "" {
			require.NotEmpty(t, m.elsewhere, "%d %s", m.n, m.what)
		}
		if m.elsewhere != "" {
			page, fragment, _ := strings.Cut(m.elsewhere, "#")
			text, err := os.ReadFile(page)
			require.NoError(t, err)
			found := false
			for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
				found = found || strings.ReplaceAll(strings.ToLower(h[1]), " ", "-") == fragment
			}
			require.True(t, found, "no %s", m.elsewhere)
		}
	}
}

func TestOriginsInOtherSpellingsWork(t *testing.T) { // 2
	w := newWorld(t)
	for _, o := range []string{"https://api.example/", "https://api.example:443", "HTTPS://API.Example"} {
		serve(w.guard(middleware.WithDPoP(dpop.New(o))), w.dpopRequest("/r")).accepted(t)
	}
}

// 31: a terminator may speak HTTP/2 without TLS to the service.
func TestUnencryptedHTTP2Works(t *testing.T) {
	w := newWorld(t)
	proto := 0
	server := httptest.NewUnstartedServer(w.guard().Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.ProtoMajor })))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	transport := &http.Transport{Protocols: server.Config.Protocols}
	defer transport.CloseIdleConnections()
	good := w.dpopRequest("/r")
	r, err := http.NewRequest("GET", server.URL+"/r", nil)
	require.NoError(t, err)
	r.Header, r.Host = good.Header, good.Host
	resp, err := transport.RoundTrip(r)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, 2, proto)
}

func TestNewNamesTheFix(t *testing.T) {
	w := newWorld(t)
	forwarded := func(format mtlspop.Format, prefix string) middleware.Option {
		return middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", format, netip.MustParsePrefix(prefix))))
	}
	origin := func(o string) []middleware.Option {
		return []middleware.Option{w.tokens(), middleware.WithDPoP(dpop.New(o))}
	}
	for name, row := range map[string]struct {
		opts []middleware.Option
		want []string
	}{
		"3 no scheme":           {origin("api.example"), []string{`origin "api.example": not of the form https://host`}},
		"3 a query":             {origin("https://api.example?x"), []string{"has a query or a fragment"}},
		"3 a wildcard":          {origin("https://*.example"), []string{`origin "https://*.example": host or port is not valid`}},
		"3 nothing":             {origin(""), []string{`origin "": not of the form https://host`}},
		"6 http":                {origin("http://api.example"), []string{"not https (see DangerouslyAllowPlainHTTP)"}},
		"7 a compose file":      {[]middleware.Option{middleware.WithTokens(oidc.New("http://keycloak:8080/realms/x", "a")), withDPoP()}, []string{"http://keycloak:8080/realms/x: https is required; for development, DangerouslyAllowLoopbackHTTP"}},
		"7 localhost":           {[]middleware.Option{middleware.WithTokens(oidc.New("http://localhost:8080", "a")), withDPoP()}, []string{"DangerouslyAllowLoopbackHTTP permits http to this machine"}},
		"7 elsewhere, with it":  {[]middleware.Option{middleware.WithTokens(oidc.New("http://203.0.113.1", "a", oidc.DangerouslyAllowLoopbackHTTP())), withDPoP()}, []string{"https is required, but for this machine"}},
		"14 all addresses":      {[]middleware.Option{w.tokens(), forwarded(mtlspop.PEM, "0.0.0.0/0")}, []string{"trusted prefix 0.0.0.0/0 is far too wide"}},
		"19 a short nonce key":  {[]middleware.Option{w.tokens(), middleware.WithDPoP(dpop.New("https://api.example", dpop.WithNonces(dpop.NewNonces([]byte("short")))))}, []string{"NewNonces: key 1 has 5 bytes, not 32 or more"}},
		"40 rules that exclude": {both(w.tokens(), middleware.WithRules(middleware.DPoPBound()), middleware.WithExchange(nil, nil)), []string{"WithExchange: nil"}},
		"40 no verifier for it": {[]middleware.Option{w.tokens(), withDPoP(), middleware.WithRules(middleware.CertificateBound())}, []string{"no token could satisfy the rules"}},
		"40 FAPI2 on defaults": {both(w.tokens(), middleware.FAPI2()), []string{"FAPI2: tokens may not be signed with RS256", "FAPI2: the TokenVerifier does not check for revocation: use introspect.Then, or LimitTokenLifetime",
			"FAPI2: proofs may not be signed with"}},
		"40 ten at once": {[]middleware.Option{middleware.WithTokens(oidc.New("http://x", "")), middleware.WithDPoP(dpop.New("api", dpop.WithSkew(-1))), middleware.WithRealm(""), middleware.WithLogger(nil),
			middleware.FAPI2(), middleware.AllowUnbound(), middleware.ForwardBearer(), middleware.HideCredentials(), middleware.WithRules()},
			[]string{"https is required", "an audience is empty", "WithSkew: -1ns", `origin "api"`, "WithRealm", "WithLogger: nil", "WithRules needs", "exclude each other", "FAPI2 forbids AllowUnbound"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := middleware.New(row.opts...)
			for _, want := range row.want {
				require.ErrorContains(t, err, want)
			}
			require.GreaterOrEqual(t, len(strings.Split(err.Error(), "\n")), len(row.want), "one line each")
		})
	}
}

// Row 9, with no logger and no observer: the line says which CA is missing, and where.
func TestAnIssuerThatIsNotTrustedIsNamedByDefault(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	var out bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(before)
	g, err := middleware.New(middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience)), withDPoP(), middleware.AllowUnbound())
	require.NoError(t, err)
	defer g.Close()
	r := get("/r")
	r.Header.Set("Authorization", "Bearer "+issuer.Token())
	serve(g, r).refused(t, 503)
	require.Contains(t, out.String(), "reason=unavailable_issuer")
	require.Contains(t, out.String(), issuer.URL)
	require.Contains(t, out.String(), "certificate signed by unknown authority")
	require.Contains(t, out.String(), "hint=")
}

// asked is a guard of opaque tokens, for which the issuer answers like this.
func (w *world) asked(answer string, opts ...introspect.Option) middleware.Option {
	w.issuer.Break(oidctest.Introspection, oidctest.Body("application/json", answer))
	w.t.Cleanup(func() { w.issuer.Mend(oidctest.Introspection) })
	return middleware.WithTokens(w.introspector(oidctest.Audience, clientauth.SecretBasic("api", "secret"), opts...))
}

func TestTheLogLineOfOtherMistakesNamesTheFix(t *testing.T) {
	w := newWorld(t)
	opaque := func() *http.Request { r := get("/r"); r.Header.Set("Authorization", "Bearer opaque"); return r }
	behindProxy := middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.1.2.3/32"))))
	const active = `{"active":true,"sub":"u","client_id":"c","iss":"` + issuerURL + `","exp":9999999999,"token_type":"Bearer"`
	for name, row := range map[string]struct {
		opts func() []middleware.Option
		r    *http.Request
		want map[string]string
	}{
		"21 Keycloak without its profile": {
			func() []middleware.Option { return both(w.tokens()) }, w.dpopRequest("/r", oidctest.Keycloak()),
			map[string]string{"reason": "token_type_jwt", "hint": "oidc.WithProfile(oidc.Keycloak)"}},
		"27 a wrong signature": {
			func() []middleware.Option { return both(w.tokens()) },
			func() *http.Request {
				r := w.dpopRequest("/r")
				raw := sent(r)
				r.Header.Set("Authorization", "DPoP "+raw[:len(raw)-8]+"AAAAAAAA")
				return r
			}(),
			map[string]string{"reason": "token_signature", "unverified_kid": "key-1", "hint": "another issuer uses the same identifier and kid"}},
		"32 a proxy that strips a path prefix": {
			func() []middleware.Option { return both(w.tokens()) },
			func() *http.Request { r := w.dpopRequest("/v1/r"); r.RequestURI, r.URL.Path = "/r", "/r"; return r }(),
			map[string]string{"reason": "dpop_target", "hint": "if a proxy in front removes /v1 from the path, add it to the origin that dpop.New is given"}},
		"36 a real IP middleware outside of the guard": {
			func() []middleware.Option { return []middleware.Option{w.tokens(), behindProxy} },
			func() *http.Request {
				r := w.certRequest("/r")
				r.TLS, r.RemoteAddr = nil, "203.0.113.9"
				r.Header.Set("X-Client-Cert", ":"+base64.StdEncoding.EncodeToString(w.cert.Certificate.Raw)+":")
				return r
			}(),
			map[string]string{"reason": "certificate_peer_not_trusted", "hint": `203.0.113.9 has no port, so a "real IP" middleware has replaced that of the peer: move it inside`}},
		"36 the same, where TLS is required": {
			func() []middleware.Option {
				return both(w.tokens(), middleware.RequireTLS(netip.MustParsePrefix("10.1.2.3/32")))
			},
			func() *http.Request { r := w.dpopRequest("/r"); r.TLS, r.RemoteAddr = nil, "203.0.113.9"; return r }(),
			map[string]string{"reason": "plain_http", "hint": `"real IP" middleware`}},
		"33 a proxy that sends no Host": {
			func() []middleware.Option { return both(w.tokens()) },
			func() *http.Request { r := w.dpopRequest("/r"); r.Host = ""; return r }(),
			map[string]string{"reason": "dpop_misdirected", "hint": "the request names no host: let the proxy in front pass Host on"}},
		"38 introspection: a wrong secret": {
			func() []middleware.Option {
				o := w.asked("")
				w.issuer.Break(oidctest.Introspection, func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.WriteHeader(401)
						fmt.Fprint(w, `{"error":"invalid_client"}`)
					})
				})
				return both(o)
			}, opaque(),
			map[string]string{"reason": "unavailable_introspection", "error": `invalid_client: the issuer does not accept clientauth.SecretBasic("api") here`}},
		"38 introspection: an answer without aud": {
			func() []middleware.Option { return both(w.asked(active + "}")) }, opaque(),
			map[string]string{"reason": "token_audience", "hint": "introspect.DangerouslyAllowMissingAudience"}},
		"38 introspection: an answer for another": {
			func() []middleware.Option { return both(w.asked(active + `,"aud":"account"}`)) }, opaque(),
			map[string]string{"reason": "token_audience", "hint": "introspect.WithAudiences", "expected_aud": oidctest.Audience, "expected_iss": issuerURL}},
		"38 introspection: an answer that says nothing of the kind": {
			func() []middleware.Option {
				return both(w.asked(strings.Replace(active, `,"token_type":"Bearer"`, "}", 1)))
			}, opaque(),
			map[string]string{"reason": "token_not_access", "hint": "neither token_type nor an aud"}},
		"a claim that a rule demands": {
			func() []middleware.Option {
				return both(w.tokens(), middleware.WithRules(middleware.Claim([]string{"realm_access", "roles"}, "admin")))
			}, w.dpopRequest("/r"),
			map[string]string{"reason": "rule_claim", "hint": `the rule demands claim realm_access.roles: one of ["admin"]`}},
		"a client that no rule lets pass": {
			func() []middleware.Option {
				return both(w.tokens(), middleware.AllowUnbound(), middleware.WithRules(middleware.DPoPBound()))
			}, w.bearerRequest("/r"),
			map[string]string{"reason": "rule_dpop_bound", "client_id": "client", "hint": "turn DPoP on for this client at the issuer"}},
		"the same, staged in report": {
			func() []middleware.Option {
				return both(w.tokens(), middleware.AllowUnbound(), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), staged(middleware.Report))))
			}, w.bearerRequest("/r"),
			map[string]string{"would_deny": "rule_dpop_bound", "client_id": "client", "hint": "turn DPoP on for this client at the issuer"}},
		"a scope, staged in report": {
			func() []middleware.Option {
				return both(w.tokens(), middleware.WithRules(middleware.Staged(middleware.Scopes("a", "b"), staged(middleware.Report))))
			}, w.dpopRequest("/r", oidctest.Scope("a", "c")),
			map[string]string{"would_deny": "rule_scope", "wanted_scopes": "a b", "had_scopes": "a c"}},
	} {
		t.Run(name, func(t *testing.T) {
			log, lines := logged()
			g, err := middleware.New(append(row.opts(), log)...)
			require.NoError(t, err)
			serve(g, row.r)
			all := lines(t)
			require.Len(t, all, 1)
			for key, want := range row.want {
				require.Contains(t, all[0][key], want, "%s in %v", key, all[0])
			}
		})
	}
}

// Row 39: what the metadata promises is compared with what the verifier expects, at the
// start and again in the line of a refusal.
func TestTheStartSaysWhatMetadataPromisesAndVerifiersRefuse(t *testing.T) {
	w := newWorld(t)
	other := oidctest.NewIssuer(t, oidctest.InMemory("https://other.example"))
	resource := middleware.ProtectedResource{Identifier: "https://api.example/mcp", AuthorizationServers: []string{issuerURL, other.URL}}
	var out bytes.Buffer
	g := w.guard(middleware.MCP(resource), middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	require.Contains(t, out.String(), "clients that ask the issuer for a token for https://api.example/mcp get one that is refused: the token verifier's audience is "+oidctest.Audience)
	require.Contains(t, out.String(), "clients are sent to the authorization server https://other.example, and the token verifier expects tokens of "+issuerURL)
	require.NotContains(t, out.String(), "authorization server "+issuerURL)

	out.Reset()
	serve(g, w.bearerRequest("/r", oidctest.Claim("aud", resource.Identifier))).refused(t, 401)
	require.Contains(t, out.String(), "reason=token_audience")
	require.Contains(t, out.String(), "the token is for the identifier of WithProtectedResource, which is no audience of the token verifier")

	out.Reset()
	r := get("/r")
	r.Header.Set("Authorization", "Bearer "+other.Token())
	serve(g, r).refused(t, 401)
	require.Contains(t, out.String(), "reason=token_issuer")
	require.Contains(t, out.String(), "add one with oidc.AnyOf")

	out.Reset()
	resource = middleware.ProtectedResource{Identifier: oidctest.Audience, AuthorizationServers: []string{issuerURL}}
	w.guard(middleware.MCP(resource), middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	require.NotRegexp(t, regexp.MustCompile("clients (that ask|are sent)"), out.String())
}
