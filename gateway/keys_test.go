package main

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// keyCase is one value of one key of Kong's. It works, or is refused with a reason.
type keyCase struct {
	key     string
	value   string
	refusal string // "" if it works
	beside  string // lines that it needs
}

const (
	asClient   = "      client_id: [c]\n      client_secret: ['0123456789abcdef0123456789abcdef']\n"
	withDPoP   = "      proof_of_possession_dpop: optional\n"
	fromHeader = "proof_of_possession_mtls_from_header"
)

// keyCases are the keys of Kong's pages on proof of possession, in their order.
var keyCases = []keyCase{
	{"issuer", "https://issuer.example/realms/main", "", ""},
	{"issuer", "https://issuer.example/realms/main/.well-known/openid-configuration", "", ""},
	{"issuer", "https://issuer.example/.well-known/oauth-authorization-server/realms/main", "", ""},
	{"issuer", "http://127.0.0.1:8080/realms/main", "", ""},
	{"issuer", "http://[::1]:8080/realms/main", "", ""},
	{"issuer", "http://localhost:8080/realms/main", "", ""},
	{"issuer", "http://keycloak.test:8440/auth/realms/master", "", ""},
	{"issuer", "http://keycloak.localhost:8080/realms/main", "", ""},
	{"issuer", "http://keycloak.test.example/realms/main", "refused on purpose: over plain HTTP", ""},
	{"issuer", "http://keycloak:8080/realms/main", "refused on purpose: over plain HTTP", ""},
	{"issuer", "https://issuer.example?a=b", "it has a query", ""},
	{"issuer", "''", "is empty", ""},
	{"auth_methods", "[bearer]", "", ""},
	{"auth_methods", "[introspection]", "", asClient},
	{"auth_methods", "[introspection]", "introspection needs a client_id", ""},
	{"auth_methods", "[client_credentials]", "", ""},
	{"auth_methods", "[bearer, session]", "", "      session_secret: " + secret + "\n"},
	{"auth_methods", "[bearer, session]", "session needs a session_secret", ""},
	{"auth_methods", "[authorization_code]", `"authorization_code" is not supported: users do not log in here; put an application`, ""},
	{"auth_methods", "[password]", `"password" is not supported`, ""},
	{"auth_methods", "[]", "is empty: no request could pass", ""},
	{"proof_of_possession_dpop", "off", "", ""},
	{"proof_of_possession_dpop", "optional", "", ""},
	{"proof_of_possession_dpop", "strict", "", ""},
	{"proof_of_possession_dpop", "true", "a boolean where a string is expected", ""},
	{"dpop_proof_lifetime", "300", "", withDPoP},
	{"dpop_proof_lifetime", "200", "need proof_of_possession_dpop", ""},
	{"dpop_proof_lifetime", "300", "", ""},
	{"dpop_proof_lifetime", "-1", "is out of range", withDPoP},
	{"dpop_use_nonce", "true", "", withDPoP},
	{"dpop_use_nonce", "true", "need proof_of_possession_dpop", ""},
	{"proof_of_possession_mtls", "off", "", ""},
	{"proof_of_possession_mtls", "optional", "", ""},
	{"proof_of_possession_mtls", "strict", "", ""},
	{"proof_of_possession_auth_methods_validation", "true", "", ""},
	{"proof_of_possession_auth_methods_validation", "false", "", ""},
	{"client_id", "[a]", "", ""},
	{"client_id", "[a, b]", "one client is supported", ""},
	{"client_secret", "[a]", "", ""},
	{"client_auth", "[client_secret_basic]", "", asClient},
	{"client_auth", "[client_secret_post]", "", asClient},
	{"client_auth", "[client_secret_jwt]", "", asClient},
	{"client_auth", "[client_secret_jwt]", "client_secret_jwt needs a client_secret", "      client_id: [c]\n"},
	{"client_auth", "[private_key_jwt]", "", asClient},
	{"client_auth", "[tls_client_auth]", "needs tls_client_auth_cert_id", asClient},
	{"client_auth", "[self_signed_tls_client_auth]", "needs tls_client_auth_cert_id", asClient},
	{"client_auth", "[none]", "", asClient},
	{"client_alg", "[ES384]", "", asClient + "      client_auth: [private_key_jwt]\n"},
	{"client_alg", "[none]", `client_alg: "none" is not supported`, asClient + "      client_auth: [private_key_jwt]\n"},
	{"client_jwk", "[{kty: oct, k: AAAA}]", `"oct" is not supported`, asClient + "      client_auth: [private_key_jwt]\n"},
	{"client_jwk", "[{k: AAAA}]", "client_jwk[0]: kty is missing", asClient + "      client_auth: [private_key_jwt]\n"},
	{"introspection_endpoint", "https://issuer.example/x", "", asClient},
	{"introspection_endpoint", "http://issuer.example/x", "refused on purpose: over plain HTTP", asClient},
	{"introspection_hint", "access_token", "", ""},
	{"introspection_hint", "refresh_token", `"refresh_token" is not supported`, ""},
	{"introspection_accept", "application/json", "", ""},
	{"introspection_accept", "application/token-introspection+jwt", "", ""},
	{"introspection_accept", "application/jwt", `"application/jwt" is not supported`, ""},
	{"introspect_jwt_tokens", "true", "", asClient},
	{"introspect_jwt_tokens", "true", "introspection needs a client_id", ""},
	{"cache_introspection", "false", "", asClient + "      introspect_jwt_tokens: true\n"},
	{"cache_tokens", "false", "", "      auth_methods: [client_credentials]\n"},
	{"cache_tokens_salt", "pepper", "", ""},
	{"token_cache_key_include_scope", "true", "", ""},
	{"cache_ttl", "60", "", asClient + "      introspect_jwt_tokens: true\n"},
	{"cache_ttl", "7200", "WithAnswerLifetime: 2h0m0s is not between", asClient + "      introspect_jwt_tokens: true\n"},
	{"cache_ttl_max", "60", "", ""},
	{"cache_ttl_neg", "5", "", ""},
	{"cache_ttl_min", "5", "refused on purpose: it would keep tokens beyond their expiry", ""},
	{"cache_ttl_resurrect", "60", "", asClient + "      introspect_jwt_tokens: true\n"},
	{"session_secret", secret, "", "      auth_methods: [bearer, session]\n"},
	{"session_secret", secret, "needs session among the auth_methods", ""},
	{"session_secret", "short", "has 5 bytes", "      auth_methods: [bearer, session]\n"},
	{"audience_required", "[a b, c]", "", ""},
	{"audience_required", "['']", "an empty string", ""},
	{"audience_claim", "[resource]", "", ""},
	{"scopes_required", "[a b, c]", "", ""},
	{"scopes_claim", "[permissions]", "", "      scopes_required: [a]\n"},
	{"groups_required", "[a b, c]", "", ""},
	{"groups_claim", "[https://a.example/groups]", "", "      groups_required: [a]\n"},
	{"groups_claim", "[]", "is empty", ""},
	{"roles_required", "[a b, c]", "", ""},
	{"roles_claim", "[realm_access, roles]", "", "      roles_required: [a]\n"},
	{"issuers_allowed", "[https://issuer.example, https://other.example]", "", ""},
	{"issuers_allowed", "[]", "is empty", ""},
	{"issuers_allowed", "[https://issuer.example, https://other.example]", "exclude each other", asClient + "      introspect_jwt_tokens: true\n"},
	{"issuers_allowed", "[http://other.example]", "refused on purpose: over plain HTTP", ""},
	{"leeway", "10", "", ""},
	{"leeway", "301", "WithSkew: 5m1s is not between", ""},
	{"verify_claims", "true", "", ""},
	{"verify_claims", "false", "refused on purpose: a token would never expire", ""},
	{"verify_signature", "true", "", ""},
	{"verify_signature", "false", "refused on purpose: any client could write its own tokens", ""},
	{"rediscovery_lifetime", "1", "", ""},
	{"rediscovery_lifetime", "30", "", ""},
	{"rediscovery_lifetime", "3600", "", ""},
	{"rediscovery_lifetime", "0", "0s is refused on purpose", ""},
	{"upstream_headers", "[{header: X-User, path: [sub]}]", "", ""},
	{"upstream_headers", "[{header: Authorization, path: [sub]}]", "is not a header for a claim", ""},
	{"upstream_access_token_header", "authorization:bearer", "", ""},
	{"upstream_access_token_header", "x-token", "", ""},
	{"upstream_access_token_header", "null", "", ""},
	{"upstream_access_token_header", "x-token:basic", "is not supported", ""},
	{"hide_credentials", "true", "", ""},
	{"unauthorized_error_message", "401", "a number where a string is expected", ""},
	{"unauthorized_error_message", "Go away", "", ""},
	{"forbidden_error_message", "Go away", "", ""},
	{"display_errors", "true", "", ""},
	{"expose_error_code", "true", "", ""},
	{"expose_error_code", "false", "refused on purpose: without the error code", ""},
	{"protected_resource_metadata", "{resource: 'https://api.example/orders', scopes_supported: [a]}", "", ""},
	{"protected_resource_metadata", "{resource: 'http://api.example'}", "is not an https URL", ""},
	{"extra_jwks_uris", "[https://other.example/jwks]", "refused on purpose: its publisher could make tokens of this issuer", ""},
	{"ssl_verify", "false", "refused on purpose: an attacker in between", ""},
	{"login_action", "redirect", "users do not log in here", ""},
	{"redirect_uri", "[https://api.example/]", "users do not log in here", ""},
	{"anonymous", "someone", "there are no consumers", ""},
	{"consumer_claim", "[sub]", "there are no consumers", ""},
	{"bearer_token_param_type", "[query]", "refused on purpose: query strings end up in logs", ""},
	{"bearer_token_cookie_name", "token", "a browser sends a token in a cookie with requests that other sites make", ""},
	{"no_such_key", "1", "is not supported", ""},
}

// headerCases are the keys of proof_of_possession_mtls_from_header.
var headerCases = []keyCase{
	{key: "certificate_header_name", value: "x-client-cert"},
	{key: "certificate_header_name", value: "null", refusal: "certificate_header_name is missing"},
	{key: "certificate_header_format", value: "url_encoded"},
	{key: "certificate_header_format", value: "base64_encoded"},
	{key: "certificate_header_format", value: "pem", refusal: `"pem" is not supported; it can be url_encoded, base64_encoded`},
	{key: "ca_certificates", value: "[ca]"},
	{key: "ca_certificates", value: "[]", refusal: "needs the id of at least one CA"},
	{key: "ca_certificates", value: "[cb]", refusal: `there is no CA with the id "cb"`},
	{key: "secure_source", value: "true"},
	{key: "secure_source", value: "false", refusal: "refused on purpose: any client could claim any certificate; name the terminator with -trusted-proxy"},
	{key: "allow_partial_chain", value: "true"},
	{key: "revocation_check_mode", value: "SKIP"},
	{key: "revocation_check_mode", value: "IGNORE_CA_ERROR"},
	{key: "revocation_check_mode", value: "STRICT"},
	{key: "revocation_check_mode", value: "MAYBE", refusal: `"MAYBE" is not supported; it can be SKIP, IGNORE_CA_ERROR, STRICT`},
	{key: "ssl_verify", value: "true"},
	{key: "ssl_verify", value: "false", refusal: "refused on purpose: an attacker in between could keep revocations back"},
	{key: "cert_cache_ttl", value: "60000"},
	{key: "http_timeout", value: "30000"},
	{key: "http_timeout", value: "soon", refusal: "a string where a number is expected"},
	{key: "http_proxy_host", value: "proxy.example", beside: "        http_proxy_port: 3128\n"},
	{key: "https_proxy_host", value: "proxy.example", beside: "        https_proxy_port: 3128\n"},
	{key: "https_proxy_host", value: "proxy.example", refusal: "https_proxy_host and https_proxy_port need each other"},
	{key: "http_proxy_authorization", value: "Basic x", refusal: "is not supported"},
}

func TestEveryValueOfEveryKeyWorksOrIsRefusedWithAReasonAndItsLine(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "CA")
	for _, tc := range keyCases {
		t.Run(tc.key+" "+tc.value, func(t *testing.T) {
			// It takes the place of what good has, and so do the lines beside it.
			text := good
			lines := tc.beside + "      " + tc.key + ": " + tc.value + "\n"
			for _, key := range regexp.MustCompile(`(?m)^      (\w+):`).FindAllStringSubmatch(lines, -1) {
				text = regexp.MustCompile(`(?m)^      `+key[1]+`: .*\n`).ReplaceAllString(text, "")
			}
			requireAsSaid(t, tc, mistakes(t, text+lines))
		})
	}
	for _, tc := range headerCases {
		t.Run(fromHeader+"."+tc.key+" "+tc.value, func(t *testing.T) {
			text := strings.Replace(good, "services:", "ca_certificates: [{id: ca, cert: '${{ env \"CA\" }}'}]\nservices:", 1) +
				"      proof_of_possession_mtls: strict\n      " + fromHeader + ":\n"
			for _, line := range []string{"        certificate_header_name: x\n", "        ca_certificates: [ca]\n"} {
				if !strings.Contains(line, " "+tc.key+":") {
					text += line
				}
			}
			trusted := &deployment{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			requireAsSaid(t, tc, mistakesOf(t, trusted, text+tc.beside+"        "+tc.key+": "+tc.value+"\n", "CA", testbed.PEM(ca.Certificate)))
		})
	}
	for value, refusal := range map[string]string{"REQUEST": "", "REQUIRE": `"REQUIRE" is not supported; it can be REQUEST`} {
		text := good + "  - name: tls-handshake-modifier\n    config: {tls_client_certificate: " + value + "}\n"
		requireAsSaid(t, keyCase{key: "tls_client_certificate", refusal: refusal}, mistakes(t, text))
	}
}

func requireAsSaid(t *testing.T, tc keyCase, found []string) {
	t.Helper()
	if tc.refusal == "" {
		require.Empty(t, found)
		return
	}
	require.Len(t, found, 1, found)
	require.Regexp(t, `^kong\.yaml:\d+: plugins\[\d\]`, found[0])
	require.Contains(t, found[0], tc.refusal)
}
