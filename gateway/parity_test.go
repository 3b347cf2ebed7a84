package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// plugged is a file whose plugin has the given lines, in front of httpbin.
func plugged(lines string) string {
	return `_format_version: "3.0"
services: [{name: example-service, url: '${{ env "DECK_UPSTREAM" }}'}]
routes:
  - name: example-route
    paths:
    - "/"
    service:
      name: example-service
plugins:
  - name: openid-connect
    route: example-route
    config:
      issuer: "${{ env "DECK_ISSUER" }}"
` + lines
}

func TestMTLSAuthBesideProofOfPossession(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	clients := mtlspoptest.NewCA(t, "Client Root")
	t.Setenv("CA", testbed.PEM(clients.Certificate))
	gw := start(t, bed, strings.Replace(plugged("      auth_methods:\n      - bearer\n      proof_of_possession_mtls: strict\n      proof_of_possession_auth_methods_validation: on\n"), "services:",
		"ca_certificates:\n  - id: a\n    cert: |\n      ${{ env \"CA\" | indent 6 }}\nservices:", 1)+"  - name: mtls-auth\n    route: example-route\n    config: {ca_certificates: [a], revocation_check_mode: SKIP}\n")
	alice, stranger := clients.Issue("alice"), mtlspoptest.SelfSigned(t, "stranger")
	bound := func(c *mtlspoptest.Client) func(*http.Request) {
		return bearer(bed.Issuer.Token(oidctest.BoundToCertificate(c.Certificate)))
	}
	require.Equal(t, 200, ask(t, bed.Client(alice), gw.url+"/anything", bound(alice)).status)
	require.Equal(t, 401, ask(t, bed.Client(stranger), gw.url+"/anything", bound(stranger)).status, "another CA")
	require.Equal(t, 401, ask(t, bed.Client(alice), gw.url+"/anything", bound(clients.Issue("bob"))).status, "another certificate")
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything", bound(alice)).status, "none")
	require.Contains(t, gw.log.String(), "consumers are not looked up")

	alone := mistakes(t, good+"  - name: mtls-auth\n    config: {ca_certificates: [a]}\n")
	require.Len(t, alone, 2, alone)
	require.Contains(t, alone[0], "has mtls-auth alone, which knows clients by consumers")
	require.Contains(t, alone[1], `there is no CA with the id "a"`)
	for _, lines := range []string{"skip_consumer_lookup: true, consumer_by: [username, custom_id], default_consumer: null, send_ca_dn: false"} {
		require.Len(t, mistakes(t, good+"      proof_of_possession_mtls: strict\n  - name: mtls-auth\n    config: {ca_certificates: [a], "+lines+"}\n"), 1)
	}
	require.Contains(t, strings.Join(mistakes(t, good+"      proof_of_possession_mtls: strict\n  - name: mtls-auth\n    config: {ca_certificates: [a], anonymous: joe}\n"), "\n"), "anonymous: is not supported: a request without a good certificate is refused")
}

func TestFurtherDemandsOnTokens(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, plugged("      auth_methods: [bearer]\n      domains: [a.example, b.example]\n      claims_forbidden: [impersonator]\n      max_age: 60\n"))
	fresh := []oidctest.Change{oidctest.Claim("hd", "b.example"), oidctest.Claim("auth_time", time.Now().Unix())}
	for name, tc := range map[string]struct {
		change oidctest.Change
		status int
	}{
		"all is well":         {oidctest.Claim("x", 1), 200},
		"another domain":      {oidctest.Claim("hd", "evil.example"), 403},
		"no domain":           {oidctest.Without("hd"), 403},
		"a forbidden claim":   {oidctest.Claim("impersonator", "root"), 403},
		"null is a claim too": {oidctest.Claim("impersonator", nil), 403},
		"an old sign-in":      {oidctest.Claim("auth_time", time.Now().Add(-time.Hour).Unix()), 401},
		"no sign-in":          {oidctest.Without("auth_time"), 401},
	} {
		a := ask(t, bed.Client(nil), gw.url+"/anything", bearer(bed.Issuer.Token(append(fresh[:2:2], tc.change)...)))
		require.Equal(t, tc.status, a.status, "%s: %s", name, a.body)
	}
}

func TestKeysFromJWKSEndpointAlone(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	document := ask(t, bed.Client(nil), bed.Issuer.URL+"/.well-known/openid-configuration").body
	_, rest, _ := strings.Cut(document, `"jwks_uri":`)
	uri, _, _ := strings.Cut(strings.TrimLeft(rest, ` "`), `"`)
	gw := start(t, bed, plugged("      auth_methods: [bearer]\n      jwks_endpoint: "+uri+"\n"))
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/anything", bearer(bed.Issuer.Token())).status)
	issuers := ask(t, http.DefaultClient, gw.admin+"/openid-connect/issuers").body
	require.Contains(t, issuers, `"configuration":null`)
	require.Contains(t, issuers, uri)
	require.Contains(t, strings.Join(mistakes(t, good+"      jwks_endpoint: http://issuer.example/jwks\n"), "\n"), "jwks_endpoint: http://issuer.example/jwks is refused on purpose: over plain HTTP")
	require.Contains(t, strings.Join(mistakes(t, good+"      jwks_endpoint: https://issuer.example/jwks\n      issuers_allowed: [https://issuer.example, https://other.example]\n"), "\n"), "several issuers and jwks_endpoint exclude each other")
}

func TestAuthenticationAtTheEndpoints(t *testing.T) {
	bed := testbed.New(t, t.TempDir(), oidctest.WithClient(oidctest.Registration{ID: "caller", Secret: "the-secret", Method: "client_secret_post"}),
		oidctest.WithClient(oidctest.Registration{ID: "client", Secret: "secret", Method: "client_secret_post"}))
	gw := start(t, bed, plugged("      auth_methods: [introspection, client_credentials]\n      client_id: client\n      client_secret: secret\n      introspection_endpoint_auth_method: client_secret_post\n"+
		"      token_endpoint_auth_method: client_secret_post\n      token_post_args_names: [resource, tenant]\n      token_post_args_values: ['https://api.example', blue]\n"))
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/anything", bearer(bed.Issuer.OpaqueToken())).status)
	asked := bed.Issuer.Requests(oidctest.Introspection)[0]
	require.Equal(t, "secret", asked.Form.Get("client_secret"))
	ask(t, bed.Client(nil), gw.url+"/anything", func(r *http.Request) { r.SetBasicAuth("caller", "the-secret") })
	granted := bed.Issuer.Requests(oidctest.TokenEndpoint)[0]
	require.Equal(t, "the-secret", granted.Form.Get("client_secret"))
	require.Equal(t, "https://api.example", granted.Form.Get("resource"))
	require.Equal(t, "blue", granted.Form.Get("tenant"))
	for lines, want := range map[string]string{
		"      token_endpoint_auth_method: private_key_jwt\n":                                                       `"private_key_jwt" is not supported: callers have ids and secrets`,
		"      introspection_endpoint_auth_method: magic\n":                                                         `"magic" is not supported`,
		"      introspection_endpoint_auth_method: client_secret_post\n":                                            `introspection_endpoint_auth_method: client_secret_post needs a client_secret`,
		"      introspection_endpoint_auth_method: tls_client_auth\n":                                               `tls_client_auth needs tls_client_auth_cert_id`,
		"      token_post_args_names: [a]\n":                                                                        `token_post_args_names: has 1 elements, and token_post_args_values 0`,
		"      cluster_cache_strategy: redis\n":                                                                     `redis needs cluster_cache_redis`,
		"      cluster_cache_items: [tokens, introspection]\n":                                                      `"tokens" is not supported: tokens of callers stay in the process that has got them`,
		"      max_age: 0.5\n":                                                                                      `max_age: is less than a second`,
		"      cluster_cache_strategy: redis\n      cluster_cache_redis: {sentinel_master: x}\n":                    `sentinel_master: is not supported: name the server itself in host`,
		"      cluster_cache_strategy: redis\n      cluster_cache_redis: {ssl: true, ssl_verify: false}\n":          `ssl_verify: false is refused on purpose`,
		"      cluster_cache_strategy: redis\n      cluster_cache_redis: {cloud_authentication: {aws_region: x}}\n": `cloud_authentication: is not supported: set username and password`,
	} {
		require.Contains(t, strings.Join(mistakes(t, good+lines), "\n"), want, lines)
	}
}

func TestAPluginThatIsNotTheFilesIsToldWhereItIs(t *testing.T) {
	for lines, want := range map[string]string{
		"    service: serviceName|Id": `there is no service "serviceName|Id"; Kong may have it in its database`,
		"    route: routeName|Id":     `there is no route "routeName|Id"; Kong may have it in its database`,
	} {
		found := mistakes(t, strings.Replace(good, "  - name: openid-connect\n", "  - name: openid-connect\n"+lines+"\n", 1))
		require.Len(t, found, 1)
		require.Contains(t, found[0], want)
	}
}

func TestTwoPluginsWithSessionsDoNotEndEachOthers(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	route := func(name, secret string) string {
		return "      - {name: " + name + ", paths: [/" + name + "], plugins: [{name: openid-connect, config: {issuer: '${{ env \"DECK_ISSUER\" }}', auth_methods: [bearer, session], session_secret: " + secret + "}}]}\n"
	}
	gw := start(t, bed, "_format_version: \"3.0\"\nservices:\n  - name: s\n    url: ${{ env \"DECK_UPSTREAM\" }}/anything\n    routes:\n"+
		route("a", "a-secret-of-thirty-two-bytes-or-more")+route("b", "b-secret-of-thirty-two-bytes-or-more"))
	cookies := make(map[string]*http.Cookie)
	send := func(path string, edit ...func(*http.Request)) int {
		a := ask(t, bed.Client(nil), gw.url+path, append(edit, func(r *http.Request) {
			for _, c := range cookies {
				r.AddCookie(c)
			}
		})...)
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			cookies[c.Name] = c
		}
		return a.status
	}
	token := bearer(bed.Issuer.Token())
	require.Equal(t, 200, send("/a", token))
	require.Equal(t, 401, send("/b"), "a session of another plugin")
	require.Equal(t, 200, send("/b", token))
	require.Len(t, cookies, 2)
	require.Equal(t, 200, send("/a"))
	require.Equal(t, 200, send("/b"))
}

func keyPEM(t *testing.T, c *mtlspoptest.Client) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.Key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
