package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"go/format"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// printed runs gateway print-go.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	require.Equal(t, 0, run(t.Context(), append([]string{"print-go"}, args...), &out, &problems, nil), problems.String())
	text, err := format.Source(out.Bytes())
	require.NoError(t, err)
	require.Equal(t, string(text), out.String(), "it is as gofmt has it")
	return out.String()
}

// runProgram builds and starts a printed program, and returns its URL.
func runProgram(t *testing.T, bed *testbed.Bed, config string, files map[string]string, args ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	defer listener.Close()
	dir := t.TempDir()
	text := printed(t, append(args, "-public-origin", "https://"+address, config)...)
	require.NotContains(t, text, "secret\"", "secrets do not stand in a program")
	program := strings.Replace(text, `":8443"`, `"`+address+`"`, 1)
	require.NotEqual(t, text, program)
	for name, from := range map[string]string{"server.crt": bed.CertFile, "server.key": bed.KeyFile} {
		content, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	main := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(main, []byte(program), 0o600))
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "service"), main).CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, program)
	cmd := exec.Command(filepath.Join(dir, "service"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "SSL_CERT_FILE="+bed.CAFile)
	var log buffer
	cmd.Stderr = &log
	require.NoError(t, listener.Close()) // as late as can be: the port is any process's from now on
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "%s", &log)
	return "https://" + address
}

func TestTheProgramsForThePagesConfigurationsGuard(t *testing.T) {
	key := newSigner(t)
	bed := testbed.New(t, t.TempDir(), oidctest.WithClient(oidctest.Registration{ID: "caller", Secret: "the-secret"}))
	t.Setenv("DECK_ISSUER", bed.Issuer.URL)
	t.Setenv("DECK_UPSTREAM", bed.Httpbin)
	t.Setenv("DECK_CLIENT_ID", "client")
	t.Setenv("DECK_CLIENT_SECRET", "secret")
	clients := mtlspoptest.NewCA(t, "Client Root")
	t.Setenv("DECK_CA_CERT_ID", "a1b2c3d4-0000-4000-8000-000000000001")
	t.Setenv("DECK_CA_CERT", testbed.PEM(clients.Certificate))
	setJWK(t, key)
	anonymous := bed.Client(nil)
	issue := func(changes ...oidctest.Change) string {
		return bed.Issuer.Token(append([]oidctest.Change{oidctest.Keycloak()}, changes...)...)
	}

	t.Run("DPoP", func(t *testing.T) {
		url := runProgram(t, bed, "testdata/dpop-strict.yaml", nil)
		key := dpoptest.NewKey(t)
		token := issue(oidctest.BoundToKey(key.Thumbprint()))
		a := ask(t, middlewaretest.NewClient(t, anonymous, key, token), url+"/anything")
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"Bearer " + token}, a.headers["Authorization"])
		require.NotContains(t, a.headers, "Dpop")
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", with("Authorization", "DPoP "+token)).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", bearer(issue())).status)
	})
	t.Run("bearer", func(t *testing.T) {
		url := runProgram(t, bed, "testdata/bearer.yaml", nil)
		token := issue(oidctest.Scope("admin"), oidctest.Claim("realm_access", map[string]any{"roles": []string{"clerk"}}))
		a := ask(t, anonymous, url+"/api/anything", bearer(token), with("X-User", "root"))
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"user-1"}, a.headers["X-User"])
		require.Equal(t, 403, ask(t, anonymous, url+"/api/anything", bearer(issue())).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/api/anything").status)
		require.Equal(t, 418, ask(t, anonymous, url+"/status/418").status)
	})
	t.Run("a certificate in a header", func(t *testing.T) {
		url := runProgram(t, bed, "testdata/mtls-header.yaml", map[string]string{"client-ca.pem": testbed.PEM(clients.Certificate)}, "-trusted-proxy", "127.0.0.1/32")
		alice := clients.Issue("alice")
		bound := bearer(issue(oidctest.BoundToCertificate(alice.Certificate)))
		require.Equal(t, 200, ask(t, anonymous, url+"/anything", bound, with("X-Client-Cert", mtlspoptest.HAProxy(alice))).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", bound).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", bound, with("X-Client-Cert", mtlspoptest.HAProxy(clients.Issue("bob")))).status)
	})
	t.Run("a certificate of the handshake", func(t *testing.T) {
		url := runProgram(t, bed, "testdata/mtls-handshake.yaml", nil)
		alice := mtlspoptest.SelfSigned(t, "alice")
		bound := bearer(issue(oidctest.BoundToCertificate(alice.Certificate)))
		require.Equal(t, 200, ask(t, bed.Client(alice), url+"/anything", bound).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", bound).status)
	})
	t.Run("client credentials", func(t *testing.T) {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		url := runProgram(t, bed, "testdata/client-credentials.yaml", map[string]string{"client-key.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
		basic := func(id, secret string) func(*http.Request) {
			return func(r *http.Request) { r.SetBasicAuth(id, secret) }
		}
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", basic("caller", "wrong")).status)
		require.Equal(t, 401, ask(t, anonymous, url+"/anything", bearer(issue())).status)
	})
}

// Several plugins share what one program has once, and what differs has names of its own.
func TestTheProgramForSeveralPluginsCompiles(t *testing.T) {
	t.Setenv("DECK_ISSUER", "https://issuer.example")
	plugin := func(config string) string {
		return "plugins: [{name: openid-connect, config: {issuer: '${{ env \"DECK_ISSUER\" }}', " + config + "}}]}\n"
	}
	ca := mtlspoptest.NewCA(t, "CA").Certificate
	t.Setenv("CA", testbed.PEM(ca))
	t.Setenv("MACHINE", testbed.PEM(ca))
	file := filepath.Join(t.TempDir(), "kong.yaml")
	text := "_format_version: \"3.0\"\nca_certificates: [{id: a, cert: '${{ env \"CA\" }}'}]\nservices:\n- name: s\n  url: http://127.0.0.1:1\n  routes:\n"
	for i, config := range []string{
		"auth_methods: [introspection], client_id: [a], client_auth: [private_key_jwt], proof_of_possession_dpop: strict, dpop_use_nonce: true",
		"auth_methods: [introspection, bearer], client_id: [b], client_auth: [private_key_jwt], client_alg: [PS256], proof_of_possession_dpop: optional, dpop_use_nonce: true",
		"auth_methods: [client_credentials], client_id: [c], client_auth: [private_key_jwt], introspect_jwt_tokens: true, leeway: 5",
		"auth_methods: [bearer, client_credentials], client_id: [c], client_secret: [d], rediscovery_lifetime: 60, issuers_allowed: ['https://other.example', 'https://issuer.example']",
		"auth_methods: [bearer, session], session_secret: 0123456789abcdef0123456789abcdef, claims_forbidden: [x], max_age: 60, roles_required: [a b, c], upstream_headers: [{header: X-User, path: [sub]}]",
		"auth_methods: [bearer, session], session_secret: fedcba9876543210fedcba9876543210, session_cookie_name: other, proof_of_possession_mtls: strict, proof_of_possession_mtls_from_header: {certificate_header_name: x-c, ca_certificates: [a]}",
		"auth_methods: [bearer], proof_of_possession_mtls: optional, proof_of_possession_dpop: strict, cluster_cache_strategy: redis, cluster_cache_redis: {host: redis.example, ssl: true, password: p}",
		"auth_methods: [bearer], protected_resource_metadata: {resource: 'https://api.example/x', scopes_supported: [a]}, run_on_preflight: false, display_errors: true",
	} {
		text += "  - {name: r" + strconv.Itoa(i) + ", paths: [/" + strconv.Itoa(i) + "], " + plugin(config)
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	program := printed(t, "-trusted-proxy", "10.0.0.1/32", file)
	require.Equal(t, 2, strings.Count(program, "oidc.NewIssuer("), "one issuer for each way to reach it:\n%s", program)
	main := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(main, []byte(program), 0o600))
	out, err := exec.Command("go", "vet", main).CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, program)
}

// forms are one plugin in the forms of Kong's pages.
var forms = map[string]string{
	"admin.json":   `{"name": "openid-connect", "config": {"issuer": "$ISSUER", "client_id": ["$CLIENT_ID"], "client_secret": ["$CLIENT_SECRET"], "auth_methods": ["bearer"], "proof_of_possession_dpop": "strict"}}`,
	"konnect.json": `{"name": "openid-connect", "config": {"issuer": "${ISSUER}", "client_id": ["kong"], "client_secret": ["not-in-a-program"], "auth_methods": ["bearer"], "proof_of_possession_dpop": "strict"}, "enabled": true, "tags": []}`,
	"plugin.yaml":  "apiVersion: configuration.konghq.com/v1\nkind: KongPlugin\nmetadata:\n  name: openid-connect\n  namespace: kong\n  annotations:\n    kubernetes.io/ingress.class: kong\nconfig:\n  issuer: '$ISSUER'\n  client_id:\n  - '$CLIENT_ID'\n  client_secret:\n  - '$CLIENT_SECRET'\n  auth_methods:\n  - bearer\n  proof_of_possession_dpop: strict\nplugin: openid-connect\n",
	"cluster.yaml": "apiVersion: configuration.konghq.com/v1\nkind: KongClusterPlugin\nmetadata:\n  name: openid-connect\n  labels:\n    global: 'true'\ndisabled: false\nconfig:\n  issuer: '$ISSUER'\n  auth_methods: [bearer]\n  proof_of_possession_dpop: strict\nplugin: openid-connect\n",
	"main.tf":      "variable \"ISSUER\" {}\nresource \"konnect_gateway_plugin_openid_connect\" \"my_openid_connect\" {\n  enabled = true\n  config = {\n    issuer                   = var.ISSUER\n    client_id                = [\"kong\"]\n    client_secret            = [var.client_secret]\n    auth_methods             = [\"bearer\"]\n    proof_of_possession_dpop = \"strict\"\n  }\n  control_plane_id = konnect_gateway_control_plane.my.id\n}\n",
	"deck.yaml":    "_format_version: \"3.0\"\nplugins:\n  - name: openid-connect\n    config:\n      issuer: ${{ env \"ISSUER\" }}\n      client_id:\n      - ${{ env \"DECK_CLIENT_ID\" }}\n      auth_methods:\n      - bearer\n      proof_of_possession_dpop: strict\n",
}

func TestEachFormOfThePagesIsReadAndPrinted(t *testing.T) {
	dir := t.TempDir()
	for name, text := range forms {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		var out, problems bytes.Buffer
		require.Equal(t, 0, run(t.Context(), []string{"check", file}, &out, &problems, nil), "%s: %s", name, problems.String())
		require.Contains(t, out.String(), "nothing is wrong with 0 services and 1 plugins", name)
		program := printed(t, file)
		variable := `os.Getenv("ISSUER")`
		if name == "main.tf" {
			variable = `os.Getenv("TF_VAR_ISSUER")`
		}
		require.Contains(t, program, "middleware.WithTokens(oidc.New("+variable+", \"\", oidc.DangerouslyAcceptAnyAudience())),", name)
		require.Contains(t, program, "middleware.WithRules(middleware.DPoPBound()),", name)
		require.NotContains(t, program, "not-in-a-program")

		bad := strings.NewReplacer(`"strict"`, `"sometimes"`, ": strict", ": sometimes").Replace(text)
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		problems.Reset()
		require.Equal(t, 2, run(t.Context(), []string{"check", file}, &out, &problems, nil), name)
		line := 1 + strings.Count(bad[:strings.Index(bad, "sometimes")], "\n")
		require.Contains(t, problems.String(), file+":"+strconv.Itoa(line)+": plugins[0].config.proof_of_possession_dpop: \"sometimes\" is not supported", name)
	}
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Secret\n": `:2: kind: "Secret" is not supported; it can be KongPlugin, KongClusterPlugin`,
		"apiVersion: x\nkind: KongPlugin\nplugin: openid-connect\nconfigFrom: {secretKeyRef: {}}\n": `:4: configFrom: a Secret of the cluster is not read`,
	} {
		file := filepath.Join(dir, "bad.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		var problems bytes.Buffer
		require.Equal(t, 2, run(t.Context(), []string{"check", file}, &problems, &problems, nil))
		require.Contains(t, problems.String(), file+want)
	}
	file := filepath.Join(dir, "bad.tf")
	require.NoError(t, os.WriteFile(file, []byte("resource \"konnect_gateway_plugin_key_auth\" \"x\" {\n}\nresource \"konnect_gateway_plugin_openid_connect\" \"y\" {\n  config = {\n    issuer = file(\"x\")\n  }\n}\n"), 0o600))
	var problems bytes.Buffer
	require.Equal(t, 2, run(t.Context(), []string{"check", file}, &problems, &problems, nil))
	require.Contains(t, problems.String(), `bad.tf:1: resource "konnect_gateway_plugin_key_auth" is not supported`)
	require.Contains(t, problems.String(), "bad.tf:5: issuer: an expression that is not supported")
}
