package issuers_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"github.com/stretchr/testify/require"
)

// shell runs the commands of Kong's pages as a reader types them. Its variables are in
// the environment of each command.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func newShell(t *testing.T, w *world) *shell {
	for _, program := range []string{"sh", "curl"} {
		need(t, program)
	}
	s := &shell{t: t, dir: t.TempDir(), env: append(os.Environ(), "CURL_HOME="+t.TempDir())}
	for name, value := range map[string]string{
		"GATEWAY": w.gatewayProgram(t), "KEYBOUND": w.program(t, "../../cmd/keybound"), "CA": w.files.authority, "DECK_ISSUER": w.issuer.url, "ISSUER": w.issuer.url,
		"TOKENS": w.issuer.tokenEndpoint, "CERT": w.files.machineCert, "KEY": w.files.machineKey,
	} {
		s.set(name, value)
	}
	s.write(".curlrc", "silent\nshow-error\nmax-time = 60\ncacert = \""+w.files.authority+"\"\n")
	s.set("CURL_HOME", s.dir)
	return s
}

func (s *shell) set(name, value string) { s.env = append(s.env, name+"="+value) }

func (s *shell) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// run runs a command, and returns what it prints.
func (s *shell) run(command string) string {
	s.t.Helper()
	cmd := exec.Command("sh", "-euc", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(s.t, err, "%s\n%s%s", command, out, &problems)
	return strings.TrimSpace(string(out))
}

// status is that of the response to curl with more arguments.
func (s *shell) status(args string) string {
	s.t.Helper()
	return s.run(`curl -o /dev/null -w '%{http_code}' ` + args)
}

// start runs the gateway with more arguments. ADMIN and API are its addresses.
func (s *shell) start(w *world, flags string) *process {
	s.t.Helper()
	cmd := exec.Command("sh", "-euc", `exec "$GATEWAY" -listen 127.0.0.1:0 -admin 127.0.0.1:0 -issuer-ca "$CA" `+flags)
	cmd.Dir, cmd.Env = s.dir, s.env
	running := launch(s.t, cmd)
	admin, ok := strings.CutPrefix(running.line(s.t), "gateway: admin on ")
	require.True(s.t, ok, running.log)
	at, ok := strings.CutPrefix(running.line(s.t), "gateway: listening on ")
	require.True(s.t, ok, running.log)
	s.set("ADMIN", admin)
	s.set("API", at)
	adminURL, err := url.Parse(admin)
	require.NoError(s.t, err)
	w.service.gateway.Store(adminURL) // from where the issuer fetches the gateway's keys
	s.t.Cleanup(func() { w.service.gateway.Store(nil) })
	return running
}

// pages are the five flows of Kong's pages, by the commands of the pages: services and
// plugins by curl, as forms and as JSON, by several files, and as a Go program.
func (w *world) pages(t *testing.T) {
	began := time.Now()
	service := httptest.NewServer(httpbin.New())
	defer service.Close()
	s := newShell(t, w)
	s.set("UPSTREAM", service.URL)
	s.run(`"$KEYBOUND" key --key client.jwk --make-key ES256`)
	bound := func() string {
		t.Helper()
		s.run(`curl -u dpop:dpop-secret -d grant_type=client_credentials -d scope=orders -H "DPoP: $("$KEYBOUND" proof --key client.jwk -X POST "$TOKENS")" "$TOKENS" > answer.json`)
		return s.token("answer.json")
	}
	const proven = `-H "Authorization: DPoP $(cat token)" -H "DPoP: $("$KEYBOUND" proof --key client.jwk --token-file token "$API/anything")" "$API/anything"`

	t.Run("client credentials and the Admin API", func(t *testing.T) {
		s.t = t
		gw := s.start(w, "-admin-writes")
		s.run(`curl -f -X POST "$ADMIN/services" --data name=openid-connect --data url="$UPSTREAM/anything"`)
		s.run(`curl -f -X POST "$ADMIN/services/openid-connect/routes" --data name=openid-connect --data 'paths[]=/'`)
		s.write("plugin.id", s.id(`curl -f -X POST "$ADMIN/services/openid-connect/plugins" --data name=openid-connect --data config.issuer="$ISSUER" --data config.client_id=gateway \
			--data config.client_auth=private_key_jwt --data config.auth_methods=client_credentials --data config.client_credentials_param_type=header --data config.introspect_jwt_tokens=true`))
		for range 2 {
			require.Equal(t, "200", s.status(`"$API/openid-connect" --user caller:caller-secret`), gw.log)
		}
		require.Contains(t, s.run(`curl "$API/openid-connect" --user caller:caller-secret`), `"Bearer ey`)
		require.Equal(t, "401", s.status(`"$API/openid-connect" --user caller:guessed`))
		issuers := s.run(`curl "$ADMIN/openid-connect/issuers"`)
		require.Contains(t, issuers, `"configuration":{`)
		require.Contains(t, issuers, `"kid":`)
		require.Contains(t, s.run(`curl "$ADMIN/openid-connect/jwks"`), `"use":"sig"`)

		// DPoP, by the same plugin.
		require.Equal(t, "200", s.status(`-X PATCH "$ADMIN/plugins/$(cat plugin.id)" --data config.auth_methods=bearer --data config.proof_of_possession_dpop=strict --data config.introspect_jwt_tokens=false`))
		s.write("token", bound())
		require.Equal(t, "200", s.status(proven), gw.log)
		require.Equal(t, "401", s.status(`-H "Authorization: DPoP $(cat token)" "$API/anything"`))
		require.Equal(t, "401", s.status(`-H "Authorization: Bearer $(cat token)" "$API/anything"`))
		require.Equal(t, "401", s.status(`"$API/anything" --user caller:caller-secret`))

		// The same with introspection and sessions, in JSON.
		s.write("more.json", `{"config": {"auth_methods": ["introspection", "session"], "session_secret": "a secret for the session, of one plugin"}}`)
		require.Equal(t, "200", s.status(`-X PATCH "$ADMIN/plugins/$(cat plugin.id)" --json @more.json`))
		require.Equal(t, "200", s.status(`-c cookies `+proven), gw.log)
		cookie := `-H "Cookie: $(sed -n 's/.*\(__Host-session\)[[:space:]]*/\1=/p' cookies)" `
		require.Equal(t, "401", s.status(cookie+`"$API/anything"`))
		withCookie := cookie + strings.Replace(proven, `-H "Authorization: DPoP $(cat token)" `, "", 1)
		require.Equal(t, "200", s.status(withCookie), gw.log)
		require.NotContains(t, s.run(`curl "$ADMIN/plugins"`), "a secret for the session")
		require.Equal(t, "400", s.status(`-X PATCH "$ADMIN/plugins/$(cat plugin.id)" --data config.verify_signature=false`))
		require.Equal(t, "204", s.status(`-X DELETE "$ADMIN/plugins/$(cat plugin.id)"`))
		require.Equal(t, "200", s.status(`"$API/anything"`))
	})
	t.Run("certificates of the handshake and several files", func(t *testing.T) {
		s.t = t
		s.write("pieces/1.yaml", "_format_version: \"3.0\"\nservices:\n  - name: example-service\n    url: ${{ env \"UPSTREAM\" }}/anything\nroutes:\n  - name: example-route\n    paths:\n    - \"/anything\"\n    service:\n      name: example-service\n")
		s.write("pieces/2.yaml", "_format_version: \"3.0\"\nplugins:\n  - name: tls-handshake-modifier\n    route: example-route\n    config:\n      tls_client_certificate: REQUEST\n")
		s.write("pieces/3.yaml", "_format_version: \"3.0\"\nplugins:\n  - name: openid-connect\n    route: example-route\n    config:\n      issuer: \"${{ env \"DECK_ISSUER\" }}\"\n      auth_methods:\n      - bearer\n      proof_of_possession_mtls: strict\n      proof_of_possession_auth_methods_validation: on\n")
		s.run(`"$GATEWAY" check pieces`)
		gw := s.start(w, "-config pieces -tls-cert "+w.files.serverCert+" -tls-key "+w.files.serverKey)
		s.run(`curl --cert "$CERT" --key "$KEY" -u certificate:certificate-secret -d grant_type=client_credentials "$TOKENS" > answer.json`)
		s.write("token", s.token("answer.json"))
		require.Equal(t, "200", s.status(`--cert "$CERT" --key "$KEY" -H "Authorization: Bearer $(cat token)" "$API/anything"`), gw.log)
		require.Equal(t, "401", s.status(`-H "Authorization: Bearer $(cat token)" "$API/anything"`))
	})
	t.Run("certificates in a header", func(t *testing.T) {
		s.t = t
		s.write("kong.yaml", `_format_version: "3.0"
ca_certificates:
  - id: ${{ env "DECK_CA_CERT_ID" }}
    cert: |
      ${{ env "DECK_CA_CERT" | indent 6 }}
services: [{name: s, url: '${{ env "UPSTREAM" }}', routes: [{name: r, paths: [/]}]}]
plugins:
  - name: openid-connect
    config:
      issuer: ${{ env "DECK_ISSUER" }}
      auth_methods:
      - bearer
      proof_of_possession_mtls: strict
      proof_of_possession_mtls_from_header:
        certificate_header_name: x-client-cert
        certificate_header_format: base64_encoded
        ca_certificates:
        - ${{ env "DECK_CA_CERT_ID" }}
        ssl_verify: true
`)
		s.set("DECK_CA_CERT_ID", "7e57ca00-0000-4000-8000-000000000001")
		s.set("DECK_CA_CERT", s.run(`cat "$CA"`))
		gw := s.start(w, "-config kong.yaml -trusted-proxy 127.0.0.1/32")
		const header = `-H "X-Client-Cert: $(grep -v -e ----- "$CERT" | tr -d '\n')" `
		require.Equal(t, "200", s.status(header+`-H "Authorization: Bearer $(cat token)" "$API/anything"`), gw.log)
		require.Equal(t, "401", s.status(`-H "Authorization: Bearer $(cat token)" "$API/anything"`))
	})
	t.Run("the manifest for Kubernetes as a Go program", func(t *testing.T) {
		s.t = t
		s.write("plugin.yaml", "apiVersion: configuration.konghq.com/v1\nkind: KongPlugin\nmetadata:\n  name: openid-connect\n  namespace: kong\nconfig:\n  issuer: '$ISSUER'\n  auth_methods:\n  - bearer\n  proof_of_possession_dpop: strict\nplugin: openid-connect\n")
		s.run(`"$GATEWAY" check plugin.yaml`)
		port := freePort(t)
		s.set("API", "https://localhost:"+port)
		program := s.run(`"$GATEWAY" print-go -profile Keycloak -public-origin "$API" plugin.yaml`)
		require.Contains(t, program, "middleware.WithRules(middleware.DPoPBound())")
		s.write("main.go", strings.Replace(program, `":8443"`, `"127.0.0.1:`+port+`"`, 1))
		build := exec.Command(need(t, "go"), "build", "-o", filepath.Join(s.dir, "service"), filepath.Join(s.dir, "main.go"))
		build.Dir = gatewayModule
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s\n%s", out, program)
		s.run(`cp "` + w.files.serverCert + `" server.crt; cp "` + w.files.serverKey + `" server.key`)
		cmd := exec.Command("sh", "-euc", `SSL_CERT_FILE="$CA" exec ./service`)
		cmd.Dir, cmd.Env = s.dir, s.env
		running := launch(t, cmd)
		require.Eventually(t, func() bool {
			resp, err := w.files.client(nil).Get("https://localhost:" + port)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusUnauthorized
		}, time.Minute, 50*time.Millisecond, "%s", running.log)
		s.write("token", bound())
		require.Equal(t, "200", s.status(proven), running.log)
		require.Equal(t, "401", s.status(`-H "Authorization: DPoP $(cat token)" "$API/anything"`))
	})
	t.Logf("the pages took %v", time.Since(began).Round(time.Second))
}

// token is the access token of a kept answer.
func (s *shell) token(file string) string {
	s.t.Helper()
	var answer struct {
		Token string `json:"access_token"`
	}
	text := s.run("cat " + file)
	require.NoError(s.t, json.Unmarshal([]byte(text), &answer), text)
	require.NotEmpty(s.t, answer.Token, text)
	return answer.Token
}

// id is that of the entity that a command made.
func (s *shell) id(command string) string {
	s.t.Helper()
	var made struct{ ID string }
	text := s.run(command)
	require.NoError(s.t, json.Unmarshal([]byte(text), &made), text)
	return made.ID
}
