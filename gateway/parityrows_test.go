package main

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// The rows of the comparison with Kong's pages: what a page has works, or is refused
// with what to do instead. Each test names its rows; the files are of the same form, with
// the same quirks. Rows 25, 31 and 64 are Kong's own, and 56 to 58 are in ./interop.

// orders is a service with one route, as a page that goes on from a quickstart has it.
const orders = `_format_version: "3.0"
services:
  - name: orders-service
    url: ${{ env "DECK_UPSTREAM" }}/anything
routes:
  - name: orders-route
    paths:
    - "/orders"
    service:
      name: orders-service
`

// plugin is a plugin on everything, or on what attached says, with the given lines.
func plugin(attached, lines string) string {
	text := "plugins:\n  - name: openid-connect\n"
	if attached != "" {
		text += "    " + attached + "\n"
	}
	text += "    config:\n      issuer: ${{ env \"DECK_ISSUER\" }}\n"
	for line := range strings.Lines(lines) {
		text += "      " + line
	}
	return strings.TrimSuffix(text, "\n") + "\n"
}

// checked is what gateway check says of files by name.
func checked(t *testing.T, files map[string]string, args ...string) (code int, said string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		args = append(args, filepath.Join(dir, name))
	}
	var out, problems bytes.Buffer
	code = run(t.Context(), append([]string{"check"}, args...), &out, &problems, nil)
	return code, out.String() + problems.String()
}

func TestParityDPoP(t *testing.T) { // rows 1, 2, 13, 15, 37, 38, 39, 40, 45
	bed := testbed.New(t, t.TempDir())
	anonymous, key := bed.Client(nil), dpoptest.NewKey(t)
	bound, unbound := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint())), bed.Issuer.Token()
	for mode, status := range map[string]struct{ proven, asBearer, unbound int }{
		"strict": {200, 401, 401}, "optional": {200, 401, 200}, "off": {401, 401, 200},
	} {
		t.Run(mode, func(t *testing.T) {
			gw := start(t, bed, orders+plugin("", "client_id:\n- ${{ env \"DECK_CLIENT_ID\" }}\nclient_secret:\n- ${{ env \"DECK_CLIENT_SECRET\" }}\nauth_methods:\n- bearer\nproof_of_possession_dpop: "+mode+"\n"))
			at := gw.url + "/orders"
			send := func(auth, proof string, edit ...func(*http.Request)) answer {
				edit = append(edit, with("Authorization", auth))
				if proof != "" {
					edit = append(edit, with("Dpop", proof))
				}
				return ask(t, anonymous, at, edit...)
			}
			proof := key.Proof("GET", at, bound)
			a := send("DPoP "+bound, proof)
			require.Equal(t, status.proven, a.status, a.body)
			if a.status == 200 {
				require.Equal(t, []string{"Bearer " + bound}, a.headers["Authorization"], "row 38")
				require.NotContains(t, a.headers, "Dpop", "row 38")
			}
			require.Equal(t, 401, send("DPoP "+bound, proof).status, "a replay")
			require.Equal(t, 401, send("DPoP "+bound, "").status, "no proof")
			require.Equal(t, 401, send("DPoP "+bound, key.Proof("GET", at+"/other", bound)).status, "another URL")
			require.Equal(t, 401, send("DPoP "+bound, key.Proof("POST", at, bound)).status, "another method")
			require.Equal(t, status.asBearer, send("Bearer "+bound, "").status, "as a bearer token")
			require.Equal(t, status.unbound, send("Bearer "+unbound, "").status, "row 45")
			require.Equal(t, 401, ask(t, anonymous, at).status)
		})
	}
	t.Run("over plain HTTP", func(t *testing.T) { // row 39
		gw := start(t, bed, orders+plugin("service: orders-service", "auth_methods: [bearer]\nproof_of_possession_dpop: \"strict\"\n"), "-tls-cert", "", "-tls-key", "")
		require.True(t, strings.HasPrefix(gw.url, "http://"))
		at := gw.url + "/orders"
		require.Equal(t, 200, ask(t, anonymous, at, with("Authorization", "DPoP "+bound), with("Dpop", key.Proof("GET", at, bound))).status)
		other := strings.Replace(at, "127.0.0.1", "localhost", 1)
		require.Equal(t, 401, ask(t, anonymous, other, with("Authorization", "DPoP "+bound), with("Dpop", key.Proof("GET", other, bound))).status)
		require.Contains(t, gw.log.String(), "-public-origin says", "the hint names the flag")
	})
}

func TestParityCertificates(t *testing.T) { // rows 3 to 10, 20, 43, 44, 47, 65
	bed := testbed.New(t, t.TempDir())
	clients := mtlspoptest.NewCA(t, "Clients")
	alice, bob := clients.Issue("alice"), clients.Issue("alice") // the same subject
	stranger := mtlspoptest.SelfSigned(t, "alice")
	bound := bearer(bed.Issuer.Token(oidctest.BoundToCertificate(alice.Certificate)))
	const id = "7e57ca00-0000-4000-8000-000000000001"
	t.Setenv("DECK_CA_CERT_ID", id)
	header := "client_id:\n- kong\nclient_secret:\n- secret\nauth_methods:\n- bearer\nproof_of_possession_mtls: strict\nproof_of_possession_auth_methods_validation: true\n" +
		"proof_of_possession_mtls_from_header:\n  certificate_header_name: x-client-cert\n  certificate_header_format: base64_encoded\n  ca_certificates:\n  - ${{ env \"DECK_CA_CERT_ID\" }}\n  ssl_verify: true\n"

	t.Run("of the handshake", func(t *testing.T) { // rows 3, 4, 20, 43, 44
		for _, validation := range []string{"true", "on"} {
			gw := start(t, bed, orders+"plugins:\n  - name: tls-handshake-modifier\n    route: orders-route\n    config:\n      tls_client_certificate: REQUEST\n"+
				strings.TrimPrefix(plugin("route: orders-route", "auth_methods:\n- bearer\nproof_of_possession_mtls: strict\nproof_of_possession_auth_methods_validation: "+validation+"\n"), "plugins:\n"))
			require.Equal(t, 200, ask(t, bed.Client(alice), gw.url+"/orders", bound).status)
			require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/orders", bound).status, "no certificate")
			require.Equal(t, 401, ask(t, bed.Client(bob), gw.url+"/orders", bound).status, "another one of the same subject")
			require.Equal(t, 401, ask(t, bed.Client(alice), gw.url+"/orders", bearer("garbage")).status)
			require.Equal(t, 401, ask(t, bed.Client(alice), gw.url+"/orders").status)
		}
	})
	t.Run("of a header", func(t *testing.T) { // rows 5, 6, 7, 8, 9, 47
		file := strings.Replace(orders, "services:", "ca_certificates:\n  - id: "+id+"\n    cert: |\n      ${{ env \"DECK_CA\" | indent 6 }}\nservices:", 1) + plugin("", header)
		t.Setenv("DECK_CA", testbed.PEM(clients.Certificate))
		gw := start(t, bed, file, "-trusted-proxy", "127.0.0.1/32")
		cert := func(value string) func(*http.Request) { return with("X-Client-Cert", value) }
		a := ask(t, bed.Client(nil), gw.url+"/orders", bound, cert(mtlspoptest.HAProxy(alice)))
		require.Equal(t, 200, a.status, a.body)
		require.NotContains(t, a.headers, "X-Client-Cert", "row 6")
		for what, tc := range map[string]struct {
			edit   []func(*http.Request)
			status int
		}{
			"absent":                    {nil, 401},
			"another certificate":       {[]func(*http.Request){cert(mtlspoptest.HAProxy(bob))}, 401},
			"of no CA of the list":      {[]func(*http.Request){cert(mtlspoptest.HAProxy(stranger))}, 401},
			"malformed, row 47":         {[]func(*http.Request){cert("bm90IGEgY2VydGlmaWNhdGU=")}, 400},
			"the other format, row 7":   {[]func(*http.Request){cert(mtlspoptest.Nginx(alice))}, 400},
			"twice":                     {[]func(*http.Request){cert(mtlspoptest.HAProxy(alice)), cert(mtlspoptest.HAProxy(alice))}, 400},
			"of the connection instead": {nil, 401},
		} {
			require.Equal(t, tc.status, ask(t, bed.Client(nil), gw.url+"/orders", append(tc.edit, bound)...).status, what)
		}
		urlEncoded := start(t, bed, strings.Replace(file, "        certificate_header_format: base64_encoded\n", "", 1), "-trusted-proxy", "127.0.0.1/32")
		require.Equal(t, 200, ask(t, bed.Client(nil), urlEncoded.url+"/orders", bound, cert(mtlspoptest.Nginx(alice))).status, "the default format, row 7")
		untrusted := start(t, bed, file, "-trusted-proxy", "192.0.2.1/32")
		require.Equal(t, 401, ask(t, bed.Client(nil), untrusted.url+"/orders", bound, cert(mtlspoptest.HAProxy(alice))).status, "row 10")
	})
	t.Run("with the CA by the Admin API", func(t *testing.T) { // row 8
		gw := start(t, bed, orders, "-trusted-proxy", "127.0.0.1/32", "-admin-writes")
		a := api{t, gw.admin}
		plugin := `{"name": "openid-connect", "config": {"issuer": "` + bed.Issuer.URL + `", "auth_methods": ["bearer"], "proof_of_possession_mtls": "strict", "proof_of_possession_mtls_from_header": {"certificate_header_name": "x-client-cert", "certificate_header_format": "base64_encoded", "ca_certificates": ["` + id + `"]}}}`
		require.Contains(t, a.json("POST", "/plugins", plugin).requireStatus(t, 400).text, "there is no CA with the id")
		a.json("PUT", "/ca_certificates/"+id, fmt.Sprintf(`{"cert": %q}`, testbed.PEM(clients.Certificate))).requireStatus(t, 200)
		a.json("POST", "/plugins", plugin).requireStatus(t, 201)
		require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/orders", bound, with("X-Client-Cert", mtlspoptest.HAProxy(alice))).status)
		require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/orders", bound).status)
	})
	t.Run("refused", func(t *testing.T) { // rows 8, 9, 10
		_, said := checked(t, map[string]string{"kong.yaml": orders + plugin("", header)})
		require.Contains(t, said, `:26: plugins[0].config.proof_of_possession_mtls_from_header.ca_certificates: there is no CA with the id "`+id+`"`, "row 8")
		for line, want := range map[string]string{"ssl_verify: false": "ssl_verify: false is refused on purpose", "secure_source: false": "secure_source: false is refused on purpose: "} {
			_, said = checked(t, map[string]string{"kong.yaml": orders + plugin("", strings.Replace(header, "ssl_verify: true", line, 1))})
			require.Contains(t, said, want)
		}
		t.Setenv("DECK_UPSTREAM", "http://127.0.0.1:1")
		t.Setenv("DECK_ISSUER", "https://issuer.example")
		var out bytes.Buffer
		file := filepath.Join(t.TempDir(), "kong.yaml")
		withCA := strings.Replace(orders, "services:", "ca_certificates: [{id: "+id+", cert: '${{ env \"DECK_CA\" }}'}]\nservices:", 1)
		t.Setenv("DECK_CA", testbed.PEM(clients.Certificate))
		require.NoError(t, os.WriteFile(file, []byte(withCA+plugin("", header)), 0o600))
		require.Equal(t, 2, run(t.Context(), []string{"-config", file, "-listen", "127.0.0.1:0"}, &out, &out, nil))
		require.Contains(t, out.String(), "-trusted-proxy", "row 10")
		out.Reset()
		require.Equal(t, 2, run(t.Context(), []string{"-config", file, "-tls-cert", "x.pem"}, &out, &out, nil))
		require.Contains(t, out.String(), "-tls-cert and -tls-key need each other", "row 65")
	})
}

func TestParityIssuers(t *testing.T) { // rows 11, 12, 46, 51, 52, 55, 66
	for issuer, want := range map[string]string{
		"http://keycloak.test:8080/realms/main": "", "http://keycloak.test:8440/auth/realms/main": "", "http://keycloak.localhost:8080/realms/main": "",
		"http://localhost:8080/realms/main": "", "http://127.0.0.1:8080/realms/main/.well-known/openid-configuration": "", "https://keycloak.test:8440/realms/main": "",
		"http://keycloak.example:8080/realms/main": "is refused on purpose: over plain HTTP",
		"http://test:8080/realms/main":             "is refused on purpose: over plain HTTP",
		"http://keycloak.test.evil.example/realms": "is refused on purpose: over plain HTTP",
	} {
		t.Setenv("DECK_ISSUER", issuer)
		code, said := checked(t, map[string]string{"kong.yaml": strings.Replace(orders+plugin("route: orders-route", "auth_methods:\n- bearer\n"), `issuer: ${{ env "DECK_ISSUER" }}`, `issuer: "${{ env "DECK_ISSUER" }}"`, 1)})
		require.Equal(t, want == "", code == 0, "%s: %s", issuer, said)
		require.Contains(t, said, want)
		if strings.HasPrefix(issuer, "http:") && want == "" {
			require.Contains(t, said, "the issuer is on plain HTTP, which is for development")
		}
	}

	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, orders+plugin("", "auth_methods: [bearer]\naudience_required: ['https://api.example']\n"))
	strict := start(t, bed, orders+plugin("", "auth_methods: [bearer]\nleeway: 1\n"))
	late := bearer(bed.Issuer.Token(oidctest.ExpiresIn(-10 * time.Second)))
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/orders", late).status, "row 46: 30 s of leeway by default")
	require.Equal(t, 401, ask(t, bed.Client(nil), strict.url+"/orders", late).status, "row 46")
	page, err := os.ReadFile("../docs/kong.md")
	require.NoError(t, err)
	for _, told := range []string{"`leeway: 0` allows 30 s", "A malformed certificate header is 400", "`issuers_allowed` what tokens say"} {
		require.Contains(t, string(page), told, "rows 46, 47 and 55: what differs is told")
	}
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/orders", bearer(bed.Issuer.Token(oidctest.Without("aud")))).status, "row 51")
	require.Regexp(t, `client_id=client`, gw.log.String())
	require.Contains(t, gw.log.String(), "add an audience mapper")
	require.NotContains(t, gw.log.String(), "insufficient_scope")

	// Row 55: services reach the issuer under another name than tokens have.
	split := start(t, bed, orders+plugin("", "issuers_allowed: ['https://public.example/realms/main']\nauth_methods: [bearer]\n"))
	require.Equal(t, 200, ask(t, bed.Client(nil), split.url+"/orders", bearer(bed.Issuer.Token(oidctest.Claim("iss", "https://public.example/realms/main")))).status)
	require.Equal(t, 401, ask(t, bed.Client(nil), split.url+"/orders", bearer(bed.Issuer.Token())).status)
}

func TestParityIntrospectionAndSessions(t *testing.T) { // rows 14, 16, 17, 18, 19, 24
	key := newSigner(t)
	machine := mtlspoptest.SelfSigned(t, "kong")
	bed := testbed.New(t, t.TempDir(),
		oidctest.WithClient(oidctest.Registration{ID: "kong", Method: "private_key_jwt", Keys: []crypto.PublicKey{key.Public()}}),
		oidctest.WithClient(oidctest.Registration{ID: "kong-tls", Method: "self_signed_tls_client_auth", Certificate: machine.Certificate}),
		oidctest.WithClient(oidctest.Registration{ID: "cert_bound", Secret: "the-secret"}))
	setJWK(t, key)
	t.Setenv("MY_SESSION", "a session secret that is long enough")
	t.Setenv("MACHINE_CERT", testbed.PEM(machine.Certificate))
	t.Setenv("MACHINE_KEY", keyPEM(t, machine))
	client := dpoptest.NewKey(t)
	for name, lines := range map[string]string{
		"plain strings, row 14":   "client_id: \"cert_bound\"\nclient_secret: \"the-secret\"\n",
		"private_key_jwt, row 16": "client_id: [kong]\nclient_auth: [private_key_jwt]\nclient_jwk: [{kty: EC, crv: P-256, kid: a, alg: ES256, x: '${{ env \"DECK_JWK_X\" }}', \"y\": '${{ env \"DECK_JWK_Y\" }}', d: '${{ env \"DECK_JWK_D\" }}'}]\n",
		"TLS, row 24":             "client_id: [kong-tls]\nclient_auth: [self_signed_tls_client_auth]\ntls_client_auth_cert_id: machine\ntls_client_auth_ssl_verify: true\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := strings.Replace(orders, "services:", "certificates:\n  - id: machine\n    cert: ${{ env \"MACHINE_CERT\" }}\n    key: ${{ env \"MACHINE_KEY\" }}\nservices:", 1)
			gw := start(t, bed, file+plugin("service: orders-service", lines+"auth_methods:\n  - introspection\n  - session\nsession_secret: \"{vault://env/my-session}\"\nproof_of_possession_dpop: \"strict\"\n"))
			at := gw.url + "/orders"
			token := bed.Issuer.OpaqueToken(oidctest.BoundToKey(client.Thumbprint()))
			proof := func(r *http.Request) { r.Header.Set("Dpop", client.Proof("GET", at, token)) }
			a := ask(t, bed.Client(nil), at, with("Authorization", "DPoP "+token), proof)
			require.Equal(t, 200, a.status, gw.log.String())
			cookie := func(r *http.Request) { r.AddCookie((&http.Response{Header: a.header}).Cookies()[0]) }
			require.Equal(t, 200, ask(t, bed.Client(nil), at, cookie, proof).status, "row 17")
			require.Equal(t, 401, ask(t, bed.Client(nil), at, cookie).status, "row 17")
			bed.Issuer.Revoke(token)
			unknown := bed.Issuer.OpaqueToken()
			bed.Issuer.Revoke(unknown)
			require.Equal(t, 401, ask(t, bed.Client(nil), at, bearer(unknown)).status)
			require.Contains(t, gw.log.String(), "its aud does not name the client_id that asks; with Keycloak, add an audience mapper", "row 16: the log gives the hint")
		})
	}
	t.Run("refused", func(t *testing.T) {
		session := func(secret string) string {
			return "auth_methods: [bearer, session]\nsession_secret: " + secret + "\n"
		}
		_, said := checked(t, map[string]string{"kong.yaml": orders + plugin("", "auth_methods: [session]\nsession_secret: "+strings.Repeat("x", 32)+"\n")})
		require.Regexp(t, `session.*bearer or introspection`, said, "row 17")
		both := plugin("route: orders-route", session(strings.Repeat("x", 32))) + strings.TrimPrefix(plugin("service: orders-service", session(strings.Repeat("x", 32))), "plugins:\n")
		_, said = checked(t, map[string]string{"kong.yaml": orders + both})
		require.Regexp(t, `:\d+: plugins\[\d\]\.config\.session_secret: `, said, "row 18")
		for _, ref := range []string{"{vault://hcv/kong/oidc/session-secret}", "{vault://aws/kong}", "{vault://env/not-set-anywhere}"} {
			gwSaid := strings.Join(mistakes(t, strings.Replace(good, "[bearer]", "[bearer, session]\n      session_secret: \""+ref+"\"", 1)), "\n")
			require.Contains(t, gwSaid, "session_secret: ", "row 19")
			require.NotContains(t, gwSaid, "bytes", "the reference is never taken for the secret")
		}
	})
}

func TestParityClientCredentials(t *testing.T) { // rows 22, 23, 48, 49, 50, 52, 53, 54, 60, 61, 62, 68
	key := newSigner(t)
	bed := testbed.New(t, t.TempDir(),
		oidctest.WithClient(oidctest.Registration{ID: "service", Secret: "service-secret"}),
		oidctest.WithClient(oidctest.Registration{ID: "kong", Method: "private_key_jwt", Keys: []crypto.PublicKey{key.Public()}}))
	gw := start(t, bed, noServices, "-admin-writes")
	a := api{t, gw.admin}
	a.form("POST", "/services", "name=openid-connect", "url="+bed.Httpbin+"/anything").requireStatus(t, 201) // row 62
	a.form("POST", "/services/openid-connect/routes", "name=openid-connect", "paths[]=/").requireStatus(t, 201)
	a.form("POST", "/services/openid-connect/plugins", "name=openid-connect", "config.issuer="+bed.Issuer.URL, "config.client_id=kong", "config.client_auth=private_key_jwt",
		"config.auth_methods=client_credentials", "config.client_credentials_param_type=header").requireStatus(t, 201)
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(id, secret) }
	}
	for range 2 {
		got := ask(t, bed.Client(nil), gw.url+"/openid-connect", basic("service", "service-secret")) // row 54
		require.Equal(t, 200, got.status, gw.log.String())
		require.True(t, strings.HasPrefix(got.headers["Authorization"][0], "Bearer ey"), "row 48")
	}
	require.Len(t, bed.Issuer.Requests(oidctest.TokenEndpoint), 1, "row 49")
	for _, wrong := range []func(*http.Request){basic("service", "guess"), basic("unknown", "service-secret")} {
		got := ask(t, bed.Client(nil), gw.url+"/openid-connect", wrong)
		require.Equal(t, 401, got.status)
		require.Contains(t, got.header.Get("WWW-Authenticate"), "Basic", "row 50")
	}
	issuers := a.send("GET", "/openid-connect/issuers", "", "").requireStatus(t, 200) // row 52
	shown := issuers.body["data"].([]any)[0].(map[string]any)
	require.Equal(t, bed.Issuer.URL, shown["configuration"].(map[string]any)["issuer"])
	require.NotEmpty(t, shown["keys"])
	require.Contains(t, shown["uses"], "client_credentials")
	before := ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks") // row 53
	require.Equal(t, "application/jwk-set+json", before.header.Get("Content-Type"))
	require.NotContains(t, before.body, `"d"`)
	a.send("DELETE", "/openid-connect/jwks", "", "").requireStatus(t, 202)
	require.Equal(t, 2, strings.Count(ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks").body, `"kid"`), "a new key is published before it signs")

	// Rows 61 and 68: the methods of users are refused, each with what to do instead.
	for _, method := range []string{"password", "authorization_code", "refresh_token", "session", "kong_oauth2", "userinfo"} {
		found := strings.Join(mistakes(t, strings.Replace(good, "[bearer]", "["+method+"]", 1)), "\n")
		require.Regexp(t, `auth_methods: .*(send|set|needs bearer)`, found, method)
	}
}

func TestParityForms(t *testing.T) { // rows 25 to 30, 32 to 34
	t.Setenv("DECK_ISSUER", "https://issuer.example")
	t.Setenv("DECK_UPSTREAM", "http://127.0.0.1:1")
	alone := "_format_version: \"3.0\"\n" + plugin("", "auth_methods:\n- bearer\nproof_of_possession_dpop: strict\n")
	t.Run("a plugin without services", func(t *testing.T) { // row 26
		code, said := checked(t, map[string]string{"kong.yaml": alone})
		require.Equal(t, 0, code, said)
		var out bytes.Buffer
		file := filepath.Join(t.TempDir(), "kong.yaml")
		require.NoError(t, os.WriteFile(file, []byte(alone), 0o600))
		require.Equal(t, 2, run(t.Context(), []string{"-config", file}, &out, &out, nil))
		require.Regexp(t, `no service to forward to.*(another -config|-admin-writes)`, out.String(), "what to do instead")
	})
	t.Run("what it is attached to", func(t *testing.T) { // row 27
		for kind, name := range map[string]string{"service": "orders-service", "route": "orders-route"} {
			attached := "_format_version: \"3.0\"\n" + plugin(kind+": "+name, "auth_methods:\n- bearer\n")
			code, said := checked(t, map[string]string{"1.yaml": orders, "2.yaml": attached})
			require.Equal(t, 0, code, said)
			code, said = checked(t, map[string]string{"2.yaml": attached})
			require.Equal(t, 2, code)
			require.Contains(t, said, "by another -config")
		}
	})
	t.Run("pieces", func(t *testing.T) { // rows 28, 29
		bed := testbed.New(t, t.TempDir())
		dir := t.TempDir()
		for name, text := range map[string]string{"1.yaml": orders, "2.yml": "\n" + "_format_version: \"3.0\"\nplugins:\n  - name: tls-handshake-modifier\n    route: orders-route\n    config:\n      tls_client_certificate: REQUEST\n", "3.json": `{"_format_version": "3.0", "plugins": [{"name": "openid-connect", "route": "orders-route", "config": {"issuer": "${{ env \"DECK_ISSUER\" }}", "auth_methods": ["bearer"]}}]}`, "README.md": "no configuration"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		gw := start(t, bed, noServices, "-config", dir)
		require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/orders").status)
		require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/orders", bearer(bed.Issuer.Token())).status)
		open := start(t, bed, orders)
		require.Equal(t, 200, ask(t, bed.Client(nil), open.url+"/orders").status)
		require.Contains(t, open.log.String(), "route orders-route has no openid-connect plugin: every request may pass", "row 28")
	})
	t.Run("templates", func(t *testing.T) { // rows 12, 34
		t.Setenv("DECK_ON", "true")
		t.Setenv("DECK_SECONDS", "120")
		t.Setenv("WITHOUT_PREFIX", "bearer")
		code, said := checked(t, map[string]string{"kong.yaml": orders + "# ${{ env \"NOT_SET\" }}\n" + plugin("", "auth_methods: [\"${{ env \"WITHOUT_PREFIX\" }}\"]\nproof_of_possession_dpop: strict\ndpop_use_nonce: ${{ env \"DECK_ON\" | toBool }}\ndpop_proof_lifetime: ${{ env \"DECK_SECONDS\" | toInt }}\nleeway: ${{ env \"DECK_SECONDS\" | toFloat }}\n")})
		require.Equal(t, 0, code, said)
		code, said = checked(t, map[string]string{"kong.yaml": orders + plugin("", "auth_methods: [bearer]\nunauthorized_error_message: ${{ env \"X\" | upper }}\n")})
		require.Equal(t, 2, code)
		require.Contains(t, said, `the only template is`)
	})
	t.Run("the page's text without its indentation", func(t *testing.T) { // row 25: as decK, one line for each mistake
		code, said := checked(t, map[string]string{"kong.yaml": "_format_version: \"3.0\"\nplugins:\n- name: openid-connect\nconfig:\nissuer: a\nauth_methods:\n- bearer\n"})
		require.Equal(t, 2, code)
		for _, key := range []string{"config", "issuer", "auth_methods"} {
			require.Regexp(t, `kong.yaml:\d+: `+key+`: is not supported`, said)
		}
	})
}

// Row 36: the kinds of examples that Kong has for the plugin. Those that verify tokens
// start; the others are refused with what to do instead.
func TestParityKindsOfExamples(t *testing.T) { // rows 35, 36, 68
	for name, tc := range map[string]struct{ lines, refused string }{
		"a key set alone":           {"auth_methods: [bearer]\njwks_endpoint: https://issuer.example/keys\n", ""},
		"introspection":             {"auth_methods: [introspection]\nclient_id: [a]\nclient_secret: [b]\nintrospection_endpoint: https://issuer.example/ask\n", ""},
		"signed assertions":         {"auth_methods: [bearer, client_credentials]\nclient_id: [a]\nclient_auth: [private_key_jwt]\nclient_alg: [PS256]\n", ""},
		"a vendor's dialect":        {"auth_methods: [bearer]\naudience_required: [a]\nissuer: https://tenant.eu.auth0.com/\n", ""},
		"a token in the query":      {"auth_methods: [bearer]\nbearer_token_param_type: [query, header]\n", "it can be header"},
		"keys of other issuers":     {"auth_methods: [bearer]\nextra_jwks_uris: [https://other.example/keys]\n", "issuers_allowed"},
		"groups of consumers":       {"auth_methods: [bearer]\nconsumer_groups_claim: [groups]\n", "upstream_headers"},
		"a consumer by a claim":     {"auth_methods: [client_credentials]\nconsumer_claim: [sub]\n", "upstream_headers"},
		"token exchange":            {"auth_methods: [bearer]\ntoken_exchange: {subject_token_issuers: [{issuer: https://a.example}]}\n", "RFC 8693"},
		"a login of users":          {"auth_methods: [authorization_code, session]\nsession_secret: 0123456789abcdef0123456789abcdef\n", "signs users in before"},
		"a login, by its keys":      {"auth_methods: [bearer]\nredirect_uri: [https://api.example/back]\n", "signs users in before"},
		"an anonymous consumer":     {"auth_methods: [bearer]\nanonymous: nobody\n", "is not supported: "},
		"a signature not verified":  {"auth_methods: [bearer]\nverify_signature: false\n", "refused on purpose: any client could write its own tokens"},
		"symmetric keys of issuers": {"auth_methods: [bearer]\nenable_hs_signatures: true\n", "enable_hs_signatures: "},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.TrimSuffix(good, "      auth_methods: [bearer]\n      audience_required: [a]\n")
			if strings.Contains(tc.lines, "issuer: ") && !strings.Contains(tc.lines, "{issuer: ") {
				text = strings.TrimSuffix(text, "      issuer: https://issuer.example\n")
			}
			for line := range strings.Lines(tc.lines) {
				text += "      " + line
			}
			found := strings.Join(mistakes(t, text), "\n")
			if tc.refused == "" {
				require.Empty(t, found)
				return
			}
			require.Regexp(t, `kong.yaml:\d+: plugins\[0\]\.config\.`, found)
			require.Contains(t, found, tc.refused)
		})
	}
}

// Row 63: the page has Keycloak's switches by their names.
func TestParityKeycloaksSwitchesAreOnThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/kong.md")
	require.NoError(t, err)
	for _, name := range []string{"Require DPoP bound tokens", "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled", "--https-client-auth=request", "Audience", "Service accounts roles", "Use JWKS URL", "--hostname"} {
		require.Contains(t, string(page), name)
	}
}
