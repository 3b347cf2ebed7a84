package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// good is a file with one plugin, whose configuration a test adds to.
const good = `_format_version: "3.0"
services:
  - name: s
    url: http://127.0.0.1:1
    routes:
      - name: r
        paths: [/]
plugins:
  - name: openid-connect
    config:
      issuer: https://issuer.example
      auth_methods: [bearer]
      audience_required: [a]
`

// mistakes starts a gateway on text, without serving, and returns what is wrong.
func mistakes(t *testing.T, text string, environment ...string) []string {
	t.Helper()
	return mistakesOf(t, &deployment{}, text, environment...)
}

// mistakesOf is mistakes where the command line says something.
func mistakesOf(t *testing.T, d *deployment, text string, environment ...string) []string {
	t.Helper()
	lookup := func(name string) (string, bool) {
		for i := 0; i < len(environment); i += 2 {
			if environment[i] == name {
				return environment[i+1], true
			}
		}
		return "", false
	}
	cache, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	c := kongfile.Read(lookup, kongfile.Source{Name: "kong.yaml", Text: []byte(text)})
	d.origins, d.replay, d.nonceKey, d.log = []string{"https://api.example"}, cache, make([]byte, 32), slog.New(slog.DiscardHandler)
	c.RequireService()
	gw, err := newGateway(c, d, nil)
	if err == nil {
		gw.close()
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestAGoodFileStarts(t *testing.T) {
	require.Empty(t, mistakes(t, good))
}

func TestMistakesInThePluginAreNamedWithTheirLine(t *testing.T) {
	// Each is added as line 14.
	for added, want := range map[string]string{
		"      login_action: redirect":                              `login_action: is not supported: users do not log in here`,
		"      no_such_key: 1":                                      `no_such_key: is not supported`,
		"      audience_require: [a]":                               `audience_require: is not supported; did you mean audience_required?`,
		"      proof_of_possesion_dpop: strict":                     `proof_of_possesion_dpop: is not supported; did you mean proof_of_possession_dpop?`,
		"      session_secret: x":                                   `session_secret: needs session among the auth_methods`,
		"      anonymous: someone":                                  `anonymous: is not supported: there are no consumers`,
		"      verify_signature: false":                             `verify_signature: false is refused on purpose: any client could write its own tokens`,
		"      verify_claims: false":                                `verify_claims: false is refused on purpose`,
		"      ssl_verify: false":                                   `ssl_verify: false is refused on purpose`,
		"      expose_error_code: false":                            `expose_error_code: false is refused on purpose`,
		"      bearer_token_param_type: [header, query]":            `bearer_token_param_type: "query" is refused on purpose`,
		"      client_credentials_param_type: [body]":               `client_credentials_param_type: "body" is refused on purpose`,
		"      cache_ttl_min: 10":                                   `cache_ttl_min: is refused on purpose`,
		"      rediscovery_lifetime: 0.5":                           `rediscovery_lifetime: 500ms is refused on purpose`,
		"      rediscovery_lifetime: 3601":                          `rediscovery_lifetime: 1h0m1s is refused on purpose`,
		"      rediscovery_lifetime: soon":                          `rediscovery_lifetime: a string where a number is expected`,
		"      introspection_endpoint: http://issuer/x":             `introspection_endpoint: http://issuer/x is refused on purpose: over plain HTTP`,
		"      token_endpoint: http://issuer/x":                     `token_endpoint: http://issuer/x is refused on purpose: over plain HTTP`,
		"      issuers_allowed: [http://keycloak:8080/realms/main]": `issuers_allowed: http://keycloak:8080/realms/main is refused on purpose: over plain HTTP`,
		"      proof_of_possession_dpop: sometimes":                 `proof_of_possession_dpop: "sometimes" is not supported; it can be off, optional, strict`,
		"      proof_of_possession_dpop: [strict]":                  `proof_of_possession_dpop: a list where a string is expected`,
		"      dpop_use_nonce: yes please":                          `dpop_use_nonce: a string where true or false is expected`,
		"      leeway: soon":                                        `leeway: a string where a number is expected`,
		"      leeway: 3600":                                        `oidc: WithSkew: 1h0m0s is not between 0s and 5m0s`,
		"      scopes_required: {a: b}":                             `scopes_required: a mapping where a list of strings is expected`,
		"      scopes_required: 1":                                  `scopes_required: a number where a string in the list is expected`,
		"      scopes_required: [1]":                                `scopes_required: a number where a string in the list is expected`,
		"      scopes_required: ['']":                               `scopes_required: an empty string`,
		"      issuer: https://other.example":                       `issuer is given twice`,
		"      client_id: [a, b]":                                   `client_id: has 2 elements: one client is supported`,
		"      client_auth: [magic]":                                `client_auth: "magic" is not supported`,
		"      introspect_jwt_tokens: true":                         `introspection needs a client_id`,
		"      introspection_accept: text/plain":                    `introspection_accept: "text/plain" is not supported`,
		"      proof_of_possession_mtls_from_header: 1":             `proof_of_possession_mtls_from_header: a number where a mapping is expected`,
		"      upstream_headers_names: [X-User]":                    `upstream_headers_names: has 1 elements, and upstream_headers_claims 0`,
		"      upstream_headers: [{header: a b, path: [sub]}]":      `"a b" is not the name of a header`,
		"      groups_required: [${{ env \"NOT_SET\" }}]":           `the environment variable NOT_SET is not set`,
		"      realm: ${{ vault \"x\" }}":                           `realm: is not supported`,
		"      unauthorized_error_message: ${{ vault \"x\" }}":      `the only template is ${{ env "NAME" }}`,
		"      unauthorized_error_message: *x":                      `not YAML`,
		"    tags: [a]\n    consumer: joe":                          `consumer: is not supported`,
	} {
		t.Run(strings.TrimSpace(added), func(t *testing.T) {
			found := mistakes(t, good+added+"\n")
			require.Len(t, found, 1, found)
			require.Regexp(t, `^kong\.yaml:\d+: `, found[0])
			require.Contains(t, found[0], want)
			switch {
			case strings.Contains(want, "oidc:"), strings.Contains(want, "introspection needs"), strings.Contains(want, "YAML"):
			case strings.Contains(added, "\n"):
				require.Contains(t, found[0], "kong.yaml:15: ")
			default:
				require.Contains(t, found[0], "kong.yaml:14: ")
			}
		})
	}
}

func TestSettingsThatDoNotGoTogether(t *testing.T) {
	for name, tc := range map[string]struct{ old, replacement, want string }{
		"a method that cannot be bound beside strict": {"auth_methods: [bearer]", "auth_methods: [bearer, client_credentials]\n      proof_of_possession_dpop: strict",
			`client_credentials cannot be bound, which proof_of_possession_dpop: strict demands`},
		"a method of Kong's that is not here": {"[bearer]", "[bearer, password]", `auth_methods: "password" is not supported`},
		"a header without trusted peers": {"auth_methods: [bearer]", "auth_methods: [bearer]\n      proof_of_possession_mtls: strict\n      proof_of_possession_mtls_from_header: {certificate_header_name: x, ca_certificates: [ca]}",
			`there is no CA with the id "ca" in ca_certificates`},
		"a header of any peer": {"auth_methods: [bearer]", "auth_methods: [bearer]\n      proof_of_possession_mtls: strict\n      proof_of_possession_mtls_from_header: {certificate_header_name: x, secure_source: false, ca_certificates: [ca]}",
			`secure_source: false is refused on purpose`},
		"no CA":                     {"auth_methods: [bearer]", "auth_methods: [bearer]\n      proof_of_possession_mtls: strict\n      proof_of_possession_mtls_from_header: {certificate_header_name: x, ca_certificates: []}", `needs the id of at least one CA`},
		"a token in a client's tls": {"auth_methods: [bearer]", "auth_methods: [introspection]\n      client_id: [c]\n      client_auth: [tls_client_auth]", `tls_client_auth needs tls_client_auth_cert_id`},
		"DISC-04 an issuer on plain HTTP": {"https://issuer.example", "http://keycloak:8080/realms/main", `kong.yaml:11: plugins[0].config.issuer: http://keycloak:8080/realms/main is refused on purpose: over plain HTTP, an attacker in between makes the tokens; ` +
			`give the issuer a certificate and an https URL, and name a private CA with -issuer-ca (for development, http is good at localhost, at a loopback address, and at a name under .test or .localhost that stands for one)`},
		"an issuer whose audience alone tells": {"issuer.example\n      auth_methods: [bearer]\n      audience_required: [a]", "tenant.auth0.com/\n      auth_methods: [bearer]", `audience_required is missing: nothing but the audience tells access tokens of Auth0 from its ID tokens; set it, or start with -profile RFC9068`},
		"another format":                       {`"3.0"`, `"1.1"`, `_format_version: "1.1" is not supported; it can be 3.0`},
		"a number as the format":               {`"3.0"`, `3.0`, `a number where a string is expected`},
		"consumers":                            {"plugins:", "consumers: [{username: joe}]\nplugins:", `consumers: is not supported`},
		"a regular expression":                 {"[/]", "[~/a$]", `regular expressions are not supported`},
		"a dot segment":                        {"[/]", "[/a/../b]", `the path has a dot segment`},
		"a service that is off":                {"    url:", "    enabled: false\n    url:", `leave the service out instead`},
		"TLS without verification":             {"    url:", "    tls_verify: false\n    url:", `tls_verify: false is refused on purpose`},
		"an unknown plugin":                    {"name: openid-connect", "name: key-auth", `"key-auth" is not supported`},
		"an unknown route":                     {"name: openid-connect", "name: openid-connect\n    route: nowhere", `there is no route "nowhere"`},
		"no service":                           {"url: http://127.0.0.1:1", "url: tcp://x", `is not an http or https URL`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, good, tc.old)
			found := strings.Join(mistakes(t, strings.Replace(good, tc.old, tc.replacement, 1)), "\n")
			require.Contains(t, found, tc.want)
		})
	}
}

func TestAllMistakesComeAtOnceInTheOrderOfTheirLines(t *testing.T) {
	text := strings.NewReplacer(`"3.0"`, `"2.0"`, "[/]", "[x]").Replace(good) + "      verify_claims: false\n" +
		strings.Replace(good[strings.Index(good, "  - name: openid"):], "https://issuer.example", "ftp://x", 1)
	found := mistakes(t, text)
	require.Len(t, found, 5, found)
	for i, line := range []string{"1:", "7:", "14:", "15:", "15:"} {
		require.True(t, strings.HasPrefix(found[i], "kong.yaml:"+line), found)
	}
}

func TestMistakesOfAnEarlierLineComeFirstWhateverIsReadFirst(t *testing.T) {
	found := mistakes(t, "plugins: [{name: key-auth}]\nservices: [{url: x}]\n_format_version: '2.0'\n")
	require.Len(t, found, 3, found)
	for i, line := range []string{"1:", "2:", "3:"} {
		require.True(t, strings.HasPrefix(found[i], "kong.yaml:"+line), found)
	}
}

func TestAValueFromTheEnvironmentCannotChangeTheDocument(t *testing.T) {
	text := strings.Replace(good, "https://issuer.example", `${{ env "DECK_ISSUER" }}`, 1)
	found := mistakes(t, text, "DECK_ISSUER", "https://issuer.example\n      verify_signature: false")
	require.Len(t, found, 1)
	require.Contains(t, found[0], "oidc: the issuer")
	require.Empty(t, mistakes(t, text, "DECK_ISSUER", "https://issuer.example"))
	require.Empty(t, mistakes(t, good+"      dpop_use_nonce: ${{ env \"DECK_X\" | toBool }}\n      proof_of_possession_dpop: \"${{ env \"DECK_Y\" }}\"\n", "DECK_X", "true", "DECK_Y", "strict"))
}

func TestTheCommandExitsWith2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kong.yaml")
	require.NoError(t, os.WriteFile(file, []byte(good+"      verify_claims: false\n"), 0o600))
	// What starts by mistake must not serve for ever.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var stderr buffer
	require.Equal(t, 2, run(ctx, []string{"-config", file, "-listen", "127.0.0.1:0"}, io.Discard, &stderr, nil))
	require.Contains(t, stderr.String(), file+":14: plugins[0].config.verify_claims: false is refused")
	for _, args := range [][]string{{}, {"-config", "/does/not/exist"}, {"-config", file, "-tls-cert", "x"}, {"-no-such-flag"}, {"-config", file, "-trusted-proxy", "x"}} {
		require.Equal(t, 2, run(ctx, args, io.Discard, io.Discard, nil), args)
	}
	require.Equal(t, 0, run(ctx, []string{"-help"}, io.Discard, io.Discard, nil))
}

// TestEveryKeyOfTheTable takes every key of Kong's that works here, in
// configurations that start.
func TestEveryKeyOfTheTable(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "CA")
	text := `_format_version: "3.0"
_transform: true
ca_certificates:
  - {id: ca, cert: '${{ env "CA" }}', tags: [x]}
services:
  - {name: s, id: sid, host: 127.0.0.1, port: 1, path: /base, connect_timeout: 1000, read_timeout: 1000, tags: [x]}
routes:
  - {name: r, service: {name: s}, paths: [/a, /b], hosts: ["*.example"], methods: [GET], protocols: [https], strip_path: false, preserve_host: true, path_handling: v0}
  - {name: q, service: s, paths: [/q]}
plugins:
  - name: tls-handshake-modifier
    route: r
    config: {tls_client_certificate: REQUEST}
  - name: openid-connect
    service: {id: sid}
    config:
      issuer: https://issuer.example/.well-known/oauth-authorization-server/realms/main
      auth_methods: [bearer, introspection, client_credentials]
      proof_of_possession_dpop: strict
      dpop_proof_lifetime: 300
      dpop_use_nonce: true
      proof_of_possession_auth_methods_validation: false
      client_id: [c]
      client_secret: [0123456789abcdef0123456789abcdef]
      client_auth: [client_secret_jwt]
      client_alg: [HS256]
      introspection_endpoint: https://issuer.example/introspect
      introspection_hint: access_token
      introspection_accept: application/token-introspection+jwt
      introspect_jwt_tokens: true
      cache_introspection: true
      cache_tokens: true
      cache_tokens_salt: pepper
      token_cache_key_include_scope: true
      cache_ttl: 60
      cache_ttl_max: 30
      cache_ttl_neg: 5
      cache_ttl_resurrect: 60
      audience_required: [a b, c]
      audience_claim: [aud]
      scopes_required: [a b, c]
      scopes_claim: [scope]
      groups_required: [a b, c]
      groups_claim: [groups]
      roles_required: [a]
      roles_claim: [realm_access, roles]
      issuers_allowed: [https://issuer.example/realms/main]
      leeway: 10
      verify_claims: true
      verify_signature: true
      ssl_verify: true
      rediscovery_lifetime: 30
      upstream_headers_claims: [sub]
      upstream_headers_names: [X-Sub]
      upstream_access_token_header: x-token
      hide_credentials: true
      unauthorized_error_message: no
      forbidden_error_message: never
      display_errors: true
      expose_error_code: true
      timeout: 5000
      token_endpoint: https://issuer.example/token
      scopes: [orders]
      audience: [x]
  - name: openid-connect
    route: r
    config:
      issuer: https://issuer.example
      auth_methods: [bearer]
      proof_of_possession_mtls: optional
      proof_of_possession_mtls_from_header:
        certificate_header_name: x-client-cert
        certificate_header_format: url_encoded
        ca_certificates: [ca]
        secure_source: true
        allow_partial_chain: true
        revocation_check_mode: STRICT
        ssl_verify: true
        cert_cache_ttl: 60000
        http_timeout: 30000
        http_proxy_host: proxy.example
        http_proxy_port: 3128
`
	text = strings.Replace(text, "unauthorized_error_message: no\n", "unauthorized_error_message: 'no'\n", 1)
	text = strings.Replace(text, "[0123456789abcdef0123456789abcdef]", "['0123456789abcdef0123456789abcdef']", 1)
	found := mistakes(t, text, "CA", testbed.PEM(ca.Certificate))
	require.Len(t, found, 1, found)
	require.Contains(t, found[0], "needs -trusted-proxy")
	for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"} {
		require.Empty(t, mistakes(t, good+"      client_id: [c]\n      client_secret: [s]\n      client_auth: ["+method+"]\n"), method)
	}
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"} {
		require.Empty(t, mistakes(t, good+"      client_id: [c]\n      client_auth: [private_key_jwt]\n      client_alg: ["+alg+"]\n"), alg)
	}
}

func TestTheNearestPluginWins(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, `_format_version: "3.0"
services:
  - name: s
    url: ${{ env "DECK_UPSTREAM" }}/anything
    routes:
      - {name: near, paths: [/near], plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer], unauthorized_error_message: near}}]}
      - {name: off, paths: [/off], plugins: [{name: openid-connect, enabled: false, config: {issuer: '${{ env "DECK_ISSUER" }}', unauthorized_error_message: off}}]}
      - {name: whole, paths: [/near/whole]}
    plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer], unauthorized_error_message: service}}]
  - name: t
    url: ${{ env "DECK_UPSTREAM" }}/anything/
    routes: [{name: far, paths: [/far]}, {name: verbatim, paths: [/verbatim], strip_path: false}]
plugins:
  - {name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer], unauthorized_error_message: everywhere}}
`)
	anonymous := bed.Client(nil)
	for path, want := range map[string]string{"/near": "near", "/near/x": "near", "/near/whole/x": "service", "/off": "service", "/far": "everywhere"} {
		a := ask(t, anonymous, gw.url+path)
		require.Equal(t, 401, a.status)
		require.Contains(t, a.body, `"`+want+`"`, path)
	}
	token := bearer(bed.Issuer.Token())
	for path, want := range map[string]string{
		"/near": "/anything", "/near/": "/anything/", "/near/x//y": "/anything/x/y", "/far/x": "/anything/x", "/farther": "/anything/ther", "/verbatim/x": "/anything/verbatim/x",
	} {
		require.True(t, strings.HasSuffix(ask(t, anonymous, gw.url+path, token).url, want), path)
	}
}

func TestNoncesAndProbes(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.Replace(good, "https://issuer.example", `${{ env "DECK_ISSUER" }}`, 1)+"      proof_of_possession_dpop: strict\n      dpop_use_nonce: true\n")
	anonymous := bed.Client(nil)
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/-/healthz").status)
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/-/readyz").status)
	a := ask(t, anonymous, gw.url+"/")
	require.Equal(t, 401, a.status)
	require.NotEmpty(t, a.header.Get("DPoP-Nonce"))
	require.Equal(t, 0, gw.stop(), "SIGTERM ends it gracefully")
}

func TestIntrospection(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	for name, audience := range map[string]string{"with an audience": "audience_required: [https://api.example]", "without one": "display_errors: true"} {
		t.Run(name, func(t *testing.T) {
			gw := start(t, bed, strings.NewReplacer("https://issuer.example", `${{ env "DECK_ISSUER" }}`, "[bearer]", "[bearer, introspection]", "audience_required: [a]", audience).Replace(good)+
				"      client_id: [client]\n      client_secret: [secret]\n      introspect_jwt_tokens: true\n", "-drain", "1s")
			anonymous := bed.Client(nil)
			opaque, jwt := bed.Issuer.OpaqueToken(), bed.Issuer.Token()
			for _, token := range []string{opaque, jwt} {
				require.Equal(t, 502, ask(t, anonymous, gw.url+"/", bearer(token)).status, "it passes; there is no service")
			}
			require.Equal(t, 401, ask(t, anonymous, gw.url+"/", bearer("nonsense")).status)
			bound := bed.Issuer.OpaqueToken(oidctest.BoundToKey(strings.Repeat("A", 43)))
			require.Equal(t, 401, ask(t, anonymous, gw.url+"/", bearer(bound)).status, "cnf counts, whoever tells of it")
			revoked := bed.Issuer.Token(oidctest.Claim("jti", "revoked"))
			bed.Issuer.Revoke(revoked)
			require.Equal(t, 401, ask(t, anonymous, gw.url+"/", bearer(revoked)).status)
			require.Equal(t, name == "without one", strings.Contains(gw.log.String(), "audience_required is missing"))
		})
	}
}

func TestTheIssuerMayBeDownAtTheStart(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	bed.Issuer.SetDown(true)
	gw := start(t, bed, "bearer.yaml")
	anonymous := bed.Client(nil)
	token := bearer(bed.Issuer.Token(oidctest.Scope("admin"), oidctest.Claim("realm_access", map[string]any{"roles": "clerk"})))
	require.Equal(t, 503, ask(t, anonymous, gw.url+"/-/readyz").status)
	require.Equal(t, 503, ask(t, anonymous, gw.url+"/api/anything", token).status)
	bed.Issuer.SetDown(false)
	require.Eventually(t, func() bool { return ask(t, anonymous, gw.url+"/api/anything", token).status == 200 }, 15*time.Second, 200*time.Millisecond)
	require.Eventually(t, func() bool { return ask(t, anonymous, gw.url+"/-/readyz").status == 200 }, 15*time.Second, 200*time.Millisecond)
}

func TestKeysAreRotatedAndMerged(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, `_format_version: "3.0"
services: [{name: s, url: '${{ env "DECK_UPSTREAM" }}', routes: [{name: a, paths: [/a]}, {name: b, paths: [/b]}]}]
plugins:
  - {name: openid-connect, route: a, config: {issuer: '${{ env "DECK_ISSUER" }}', client_id: [a], client_auth: [private_key_jwt]}}
  - {name: openid-connect, route: b, config: {issuer: '${{ env "DECK_ISSUER" }}', client_id: [b], client_auth: [private_key_jwt], client_alg: [EdDSA]}}
`)
	keys := func() int {
		return strings.Count(ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks").body, `"kid"`)
	}
	require.Equal(t, 2, keys())
	rotate := func(r *http.Request) { r.Method = http.MethodDelete }
	require.Equal(t, 403, ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks", rotate, with("Origin", "https://evil.example")).status)
	require.Equal(t, 202, ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks", rotate).status)
	require.Equal(t, 4, keys())
	require.Contains(t, gw.log.String(), "client_jwk is missing")
}
