package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
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

const noServices = "_format_version: \"3.0\"\nservices: []\n"

// api is the Admin API of a running gateway.
type api struct {
	t  *testing.T
	at string
}

// reply is an answer of the Admin API.
type reply struct {
	status int
	body   map[string]any
	text   string
}

func (a api) send(method, path, contentType, body string, edit ...func(*http.Request)) reply {
	a.t.Helper()
	r, err := http.NewRequest(method, a.at+path, strings.NewReader(body))
	require.NoError(a.t, err)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for _, e := range edit {
		e(r)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(a.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(a.t, err)
	got := reply{status: resp.StatusCode, text: string(text)}
	_ = json.Unmarshal(text, &got.body)
	return got
}

func (a api) json(method, path, body string) reply {
	a.t.Helper()
	return a.send(method, path, "application/json", body)
}

// form is what curl --data makes of several arguments.
func (a api) form(method, path string, data ...string) reply {
	a.t.Helper()
	return a.send(method, path, "application/x-www-form-urlencoded", strings.Join(data, "&"))
}

func (r reply) requireStatus(t *testing.T, status int) reply {
	t.Helper()
	require.Equal(t, status, r.status, r.text)
	return r
}

func TestTheAdminAPIOfThePages(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	kept := filepath.Join(t.TempDir(), "kept.json")
	gw := start(t, bed, noServices, "-admin-writes", "-admin-file", kept)
	a := api{t, gw.admin}
	anonymous := bed.Client(nil)
	require.Equal(t, 404, ask(t, anonymous, gw.url+"/").status)

	// The service and the route of the page on client credentials, by two forms.
	service := a.form("POST", "/services", "name=openid-connect", "url="+url.QueryEscape(bed.Httpbin+"/anything"), "read_timeout=5000").requireStatus(t, 201)
	require.NotEmpty(t, service.body["id"])
	require.EqualValues(t, 5000, service.body["read_timeout"])
	a.form("POST", "/services/openid-connect/routes", "name=openid-connect", "paths[]=/", "strip_path=false").requireStatus(t, 201)
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/open").status)

	// The plugin of the page on DPoP, as JSON: global, then for a service and a route.
	plugin := `{"name": "openid-connect", "config": {"issuer": "` + bed.Issuer.URL + `", "client_id": ["kong"], "client_secret": ["the-secret"], "auth_methods": ["bearer"], "proof_of_possession_dpop": "strict"}}`
	for _, path := range []string{"/plugins", "/services/openid-connect/plugins", "/routes/openid-connect/plugins"} {
		made := a.json("POST", path, plugin).requireStatus(t, 201)
		require.Equal(t, []any{"***"}, made.body["config"].(map[string]any)["client_secret"])
		require.NotContains(t, made.text, "the-secret")
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/x").status, path)
		a.json("POST", path, plugin).requireStatus(t, 400)
		id := made.body["id"].(string)
		a.send("GET", path+"/"+id, "", "").requireStatus(t, 200)
		require.Len(t, a.send("GET", path, "", "").body["data"], 1)
		if path != "/routes/openid-connect/plugins" {
			a.send("DELETE", "/plugins/"+id, "", "").requireStatus(t, 204)
			require.Equal(t, 200, ask(t, anonymous, gw.url+"/x").status, path)
		}
	}
	key := dpoptest.NewKey(t)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/x", with("Authorization", "DPoP "+token), with("Dpop", key.Proof("GET", gw.url+"/x", token))).status)

	// What was hidden is kept, by whatever method it is sent back.
	id := a.send("GET", "/routes/openid-connect/plugins", "", "").body["data"].([]any)[0].(map[string]any)["id"].(string)
	a.json("PATCH", "/plugins/"+id, `{"config": {"client_secret": ["***"], "unauthorized_error_message": "patched"}}`).requireStatus(t, 200)
	require.Contains(t, ask(t, anonymous, gw.url+"/x").body, "patched")
	shown := a.send("GET", "/plugins/"+id, "", "").requireStatus(t, 200)
	a.json("PUT", "/plugins/"+id, shown.text).requireStatus(t, 200)
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.Contains(t, string(text), "the-secret")
	require.NotContains(t, string(text), "***")
	info, err := os.Stat(kept)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NotContains(t, gw.log.String(), "the-secret")

	// A bad body changes nothing and is told all problems.
	before := a.send("GET", "/plugins", "", "").text
	bad := a.json("PATCH", "/plugins/"+id, `{"config": {"verify_signature": false, "leeway": "soon", "login_action": "redirect"}}`).requireStatus(t, 400)
	require.Equal(t, "schema violation", bad.body["name"])
	require.EqualValues(t, 2, bad.body["code"])
	require.Contains(t, bad.body["message"], "3 schema violations (config.")
	fields := bad.body["fields"].(map[string]any)["config"].(map[string]any)
	require.Len(t, fields, 3)
	require.Contains(t, fields["verify_signature"], "refused on purpose")
	require.Equal(t, before, a.send("GET", "/plugins", "", "").text)
	require.Contains(t, ask(t, anonymous, gw.url+"/x").body, "patched")

	a.send("DELETE", "/services/openid-connect", "", "").requireStatus(t, 400)
	a.form("POST", "/services", "name=openid-connect", "url=http://127.0.0.1:1").requireStatus(t, 409)
	a.form("POST", "/services/nothing/routes", "paths[]=/").requireStatus(t, 404)
	a.json("POST", "/routes", `{"paths": ["/a"], "service": {"id": "nothing"}}`).requireStatus(t, 400)
	a.send("GET", "/consumers", "", "").requireStatus(t, 404)
	a.send("DELETE", "/routes/openid-connect", "", "").requireStatus(t, 204)
	require.Empty(t, a.send("GET", "/plugins", "", "").body["data"], "a plugin goes with its route")
	a.send("DELETE", "/services/openid-connect", "", "").requireStatus(t, 204)
	require.Equal(t, 404, ask(t, anonymous, gw.url+"/x").status)
}

func TestTheAdminAPIKeepsWhatTheFileHasAndTheFileTakesOver(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	kept := filepath.Join(t.TempDir(), "kept.json")
	config := strings.NewReplacer("https://issuer.example", `${{ env "DECK_ISSUER" }}`, "url: http://127.0.0.1:1", `url: ${{ env "DECK_UPSTREAM" }}/anything`).Replace(good) + "      run_on_preflight: on\n      client_secret: ['{vault://env/deck-client-secret}']\n"
	gw := start(t, bed, config, "-admin-writes", "-admin-file", kept)
	a := api{t, gw.admin}
	plugins := a.send("GET", "/plugins", "", "")
	require.Contains(t, plugins.text, `{vault://env/deck-client-secret}`, "a reference is no secret")
	require.Contains(t, plugins.text, `${{ env \"DECK_ISSUER\" }}`)
	require.Contains(t, plugins.text, `"run_on_preflight":true`)
	a.json("PATCH", "/routes/r", `{"paths": ["/moved"]}`).requireStatus(t, 200)
	a.json("PUT", "/services/second", `{"url": "`+bed.Httpbin+`"}`).requireStatus(t, 200)
	require.Equal(t, 404, ask(t, bed.Client(nil), gw.url+"/").status)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/moved").status)
	require.Equal(t, 0, gw.stop())

	again := start(t, bed, config, "-admin-writes", "-admin-file", kept)
	require.Equal(t, 404, ask(t, bed.Client(nil), again.url+"/").status)
	require.Equal(t, 401, ask(t, bed.Client(nil), again.url+"/moved").status)
	require.Equal(t, "second", api{t, again.admin}.send("GET", "/services/second", "", "").body["name"])
}

func TestWhoMayUseTheAdminListener(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600))
	gw := start(t, bed, noServices, "-admin-writes", "-admin-token-file", file, "-admin-host", "kong.internal")
	a := api{t, gw.admin}
	token := func(r *http.Request) { r.Header.Set("Kong-Admin-Token", "0123456789abcdef") }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for _, method := range []string{"GET", "POST", "DELETE"} {
		a.send(method, "/services", "", "").requireStatus(t, 401)
		a.send(method, "/services", "", "", with("Kong-Admin-Token", "0123456789abcdee")).requireStatus(t, 401)
		a.send(method, "/services", "", "", token, host("rebound.example")).requireStatus(t, 421)
	}
	a.send("GET", "/services", "", "", token).requireStatus(t, 200)
	a.send("GET", "/services", "", "", with("Authorization", "Bearer 0123456789abcdef")).requireStatus(t, 200)
	a.send("GET", "/services", "", "", token, host("localhost:8001")).requireStatus(t, 200)
	a.send("GET", "/services", "", "", token, host("[::1]:8001")).requireStatus(t, 200)
	a.send("GET", "/services", "", "", token, host("KONG.internal")).requireStatus(t, 200)
	a.send("GET", "/openid-connect/issuers", "", "").requireStatus(t, 401)
	a.send("GET", "/metrics", "", "").requireStatus(t, 401)
	a.send("GET", "/openid-connect/jwks", "", "").requireStatus(t, 200)
	a.send("GET", "/openid-connect/jwks", "", "", host("rebound.example")).requireStatus(t, 421)
	a.send("POST", "/services", "application/json", "{}", token, with("Origin", "https://evil.example")).requireStatus(t, 403)
	a.send("POST", "/services", "application/x-www-form-urlencoded", "name=x", token, with("Sec-Fetch-Site", "cross-site")).requireStatus(t, 403)
	a.send("POST", "/services", "text/plain", `{"url": "http://127.0.0.1:1"}`, token).requireStatus(t, 415)
	a.send("POST", "/services", "application/json", `{"url": "http://127.0.0.1:1"} {}`, token).requireStatus(t, 400)
	a.send("POST", "/services", "application/json", strings.Repeat(" ", 2<<20), token).requireStatus(t, 413)

	readOnly := start(t, bed, "bearer.yaml")
	(api{t, readOnly.admin}).send("GET", "/services", "", "").requireStatus(t, 404)
	(api{t, readOnly.admin}).json("POST", "/services", `{"url": "http://127.0.0.1:1"}`).requireStatus(t, 404)
}

func TestNoServiceIsTheAdminListener(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, noServices, "-admin-writes")
	a := api{t, gw.admin}
	at, err := url.Parse(gw.admin)
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "0.0.0.0", "[::ffff:127.0.0.1]"} {
		made := a.json("POST", "/services", `{"name": "evil", "url": "http://`+host+":"+at.Port()+`"}`)
		require.Equal(t, 400, made.status, "%s: %s", host, made.text)
		require.Contains(t, made.text, "cannot be the admin listener")
	}
	// A name is looked up when it is dialled.
	d := &deployment{admin: netipOf(t, at.Host)}
	require.Error(t, d.refuseAdmin("tcp", at.Host, nil))
	require.NoError(t, d.refuseAdmin("tcp", "127.0.0.1:1", nil))
}

func TestAReloadTakesFilesCertificatesAndSecrets(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "kong.yaml")
	write := func(message string) {
		require.NoError(t, os.WriteFile(file, []byte(strings.Replace(good, "https://issuer.example", bed.Issuer.URL, 1)+"      unauthorized_error_message: "+message+"\n"), 0o600))
	}
	write("first")
	gw := start(t, bed, noServices, "-config", file)
	client := bed.Client(nil)
	require.Contains(t, ask(t, client, gw.url+"/").body, "first")
	write("second")
	gw.reload()
	require.Eventually(t, func() bool { return strings.Contains(ask(t, client, gw.url+"/").body, "second") }, 5*time.Second, 10*time.Millisecond)
	write("third\n      verify_signature: false")
	gw.reload()
	require.Eventually(t, func() bool { return strings.Contains(gw.log.String(), "the configuration before stays in force") }, 5*time.Second, 10*time.Millisecond)
	require.Contains(t, gw.log.String(), "verify_signature: false is refused on purpose")
	require.Contains(t, ask(t, client, gw.url+"/").body, "second")

	// A certificate of another CA.
	other := testbed.New(t, t.TempDir())
	for from, to := range map[string]string{other.CertFile: bed.CertFile, other.KeyFile: bed.KeyFile} {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, text, 0o600))
	}
	write("fourth")
	gw.reload()
	require.Eventually(t, func() bool {
		resp, err := other.Client(nil).Get(gw.url + "/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	}, 5*time.Second, 10*time.Millisecond)
}

func TestAPluginThatAsksForCertificatesTakesEffectAtOnce(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.NewReplacer("https://issuer.example", bed.Issuer.URL, "http://127.0.0.1:1", bed.Httpbin, "[a]", "['https://api.example']").Replace(good)+"      proof_of_possession_mtls: strict\n", "-admin-writes")
	alice := mtlspoptest.SelfSigned(t, "alice")
	bound := bearer(bed.Issuer.Token(oidctest.BoundToCertificate(alice.Certificate)))
	require.Equal(t, 401, ask(t, bed.Client(alice), gw.url+"/anything", bound).status)
	api{t, gw.admin}.json("POST", "/routes/r/plugins", `{"name": "tls-handshake-modifier", "config": {"tls_client_certificate": "REQUEST"}}`).requireStatus(t, 201)
	require.Equal(t, 200, ask(t, bed.Client(alice), gw.url+"/anything", bound).status)
}

func TestAProofThatWasUsedBeforeAChangeIsUsedAfterIt(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.NewReplacer("https://issuer.example", bed.Issuer.URL, "http://127.0.0.1:1", bed.Httpbin, "[a]", "['https://api.example']").Replace(good)+"      proof_of_possession_dpop: strict\n", "-admin-writes")
	a := api{t, gw.admin}
	key := dpoptest.NewKey(t)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	auth, proof := with("Authorization", "DPoP "+token), with("Dpop", key.Proof("GET", gw.url+"/anything", token))
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/anything", auth, proof).status)
	id := a.send("GET", "/plugins", "", "").body["data"].([]any)[0].(map[string]any)["id"].(string)
	a.json("PATCH", "/plugins/"+id, `{"config": {"leeway": 7}}`).requireStatus(t, 200)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything", auth, proof).status)
	longer := a.json("PATCH", "/plugins/"+id, `{"config": {"dpop_proof_lifetime": 600}}`).requireStatus(t, 400)
	require.Contains(t, longer.text, "used proofs have been remembered for less")
}
