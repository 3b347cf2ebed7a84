package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
)

const openFile = "_format_version: \"3.0\"\nservices:\n- name: s\n  url: URL\n  routes:\n  - name: r\n    paths: [/]\n"

func guardOf(bed *testbed.Bed) string {
	return `{"name": "openid-connect", "config": {"issuer": "` + bed.Issuer.URL + `", "client_id": ["kong"], "client_secret": ["the-secret"], "auth_methods": ["bearer"], "audience_required": ["https://api.example"]}}`
}

func TestAReloadKeepsTheGuardsOfTheAdminAPI(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.Replace(openFile, "URL", bed.Httpbin, 1), "-admin-writes")
	api{t, gw.admin}.json("POST", "/services/s/plugins", guardOf(bed)).requireStatus(t, 201)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything").status)
	gw.reload()
	require.Eventually(t, func() bool { return strings.Contains(gw.log.String(), "the configuration was read again") }, 5*time.Second, 10*time.Millisecond)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything").status)
}

func TestNestedEntitiesShowNoSecret(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	a := api{t, start(t, bed, noServices, "-admin-writes").admin}
	made := a.json("POST", "/services", `{"name": "s", "url": "`+bed.Httpbin+`", "plugins": [`+guardOf(bed)+`]}`)
	require.NotContains(t, made.text+a.send("GET", "/services", "", "").text, "the-secret")
	require.Equal(t, 400, made.status)
}

func TestAHostIsReadInOneWay(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.Replace(openFile, "URL", bed.Httpbin, 1))
	for _, host := range []string{"admin.example:80:90", "admin.example:443:", "admin.example..", "admin.example,x"} {
		require.Equal(t, 400, ask(t, bed.Client(nil), gw.url+"/anything", func(r *http.Request) { r.Host = host }).status, host)
	}
	require.True(t, matchesHost("[::1]", "[::1]:8443"))
	require.True(t, matchesHost("[::1]", "[::1]"))
	require.True(t, matchesHost("[::1]:8443", "[::1]:8443"))
	require.False(t, matchesHost("[::1]:8443", "[::1]:1"))
}

// deadlines records the last write deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.last = at; return nil }
func (d *deadlines) SetReadDeadline(time.Time) error     { return nil }

func TestAClientHasTimeLimitsForRefusals(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	gw := &gateway{router: newRouter(nil)}
	gw.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)) // 404
	require.False(t, w.last.IsZero(), "net/http may try to send the refusal for ever")
}

// An expired write deadline would reset the stream. It takes as long as one lasts.
func TestASilentServiceOverHTTP2(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a minute")
	}
	bed := testbed.New(t, t.TempDir())
	svc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "1")
		w.(http.Flusher).Flush()
		time.Sleep(takeWithin + 2*time.Second)
		io.WriteString(w, "2")
	}))
	defer svc.Close()
	gw := start(t, bed, strings.Replace(openFile, "URL", svc.URL+"\n  read_timeout: 600000", 1))
	client := bed.Client(nil)
	client.Timeout = 0
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	resp, err := client.Get(gw.url + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err, resp.Proto)
	require.Equal(t, "12", string(body))
}

func TestCheckOfTheSessionOfThePages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kong.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`_format_version: "3.0"
services: [{name: s, url: "http://127.0.0.1:1", routes: [{name: r, paths: [/]}]}]
plugins:
  - name: openid-connect
    config:
      issuer: https://keycloak.example/realms/main
      auth_methods: [introspection, session]
      client_id: [kong]
      client_secret: ["{vault://env/client-secret}"]
      session_secret: "{vault://env/session-secret}"
      proof_of_possession_dpop: strict
      dpop_use_nonce: true
`), 0o600))
	var out strings.Builder
	require.Equal(t, 0, look("check", []string{file}, &out, &out), out.String())
}
