package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	firstID  = "11111111-1111-4111-8111-111111111111"
	secondID = "22222222-2222-4222-8222-222222222222"
)

func TestNoBodyChangesAnID(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	a := api{t, start(t, bed, noServices, "-admin-writes").admin}
	at := `"url": "` + bed.Httpbin + `"`
	a.json("POST", "/services", `{"name": "first", "id": "`+firstID+`", `+at+`}`).requireStatus(t, 201)
	a.json("POST", "/services", `{"name": "second", "id": "`+secondID+`", `+at+`}`).requireStatus(t, 201)
	for _, tc := range []struct {
		method, path, id string
		status           int
	}{
		{"PATCH", "/services/first", `"` + secondID + `"`, 400},
		{"PATCH", "/services/first", `"33333333-3333-4333-8333-333333333333"`, 400},
		{"PATCH", "/services/first", `5`, 400},
		{"PATCH", "/services/first", `["` + firstID + `"]`, 400},
		{"PATCH", "/services/first", `""`, 400},
		{"PATCH", "/services/first", `null`, 200},
		{"PATCH", "/services/" + firstID, `"` + firstID + `"`, 200},
		{"PUT", "/services/first", `"` + secondID + `"`, 400},
		{"PUT", "/services/first", `"` + firstID + `"`, 200},
		{"PUT", "/services/third", `"` + secondID + `"`, 409},
		{"PUT", "/services/third", `"third"`, 400},
		{"PUT", "/services/33333333-3333-4333-8333-333333333333", `"` + secondID + `"`, 400},
		{"POST", "/services", `"` + secondID + `"`, 409},
		{"POST", "/services", `"not-a-uuid"`, 400},
		{"POST", "/services", `7`, 400},
	} {
		got := a.json(tc.method, tc.path, `{"id": `+tc.id+`, `+at+`}`)
		require.Equal(t, tc.status, got.status, "%s %s %s: %s", tc.method, tc.path, tc.id, got.text)
		all := a.send("GET", "/services", "", "").body["data"].([]any)
		require.Len(t, all, 2, "%s %s %s", tc.method, tc.path, tc.id)
		for i, want := range []string{firstID, secondID} {
			require.Equal(t, want, all[i].(map[string]any)["id"])
			require.Equal(t, []string{"first", "second"}[i], all[i].(map[string]any)["name"])
		}
	}
	require.Contains(t, a.json("PATCH", "/services/first", `{"id": "`+secondID+`"}`).text, `"fields":{"id":"immutable field cannot be updated"}`)
}

// A caller who may change the configuration need not see the environment of the gateway.
func TestNoAnswerShowsWhatAReferenceStandsFor(t *testing.T) {
	const value, short = "the value of the environment, which is 5 secrets", "s3cr"
	bed := testbed.New(t, t.TempDir())
	t.Setenv("A_VALUE", value)
	t.Setenv("A_SHORT_ONE", short)
	t.Setenv("A_URL", "ftp://the-value-of-the-environment.example")
	t.Setenv("AN_OBJECT", `{"member": "`+value+`"}`)
	gw := start(t, bed, strings.Replace(openFile, "URL", bed.Httpbin, 1), "-admin-writes")
	a := api{t, gw.admin}
	for _, ref := range []string{`{vault://env/a-value}`, `{vault://env/a-short-one}`, `{vault://env/a-url}`, `{vault://env/an-object/member}`, `${{ env \"A_VALUE\" }}`, `${{ env \"A_SHORT_ONE\" }}`, `${{ env \"A_URL\" }}`} {
		for _, tc := range [][2]string{
			{"/services", `{"url": "%s"}`}, {"/services", `{"host": "%s"}`}, {"/services", `{"host": "a", "port": "%s"}`}, {"/services", `{"host": "a", "protocol": "%s"}`},
			{"/services", `{"host": "a", "path": "%s"}`}, {"/services", `{"url": "http://%s:x"}`}, {"/services", `{"host": "a", "connect_timeout": "%s"}`}, {"/services", `{"host": "a", "ca_certificates": ["%s"]}`},
			{"/services/s/routes", `{"paths": ["%s"]}`}, {"/services/s/routes", `{"hosts": ["a", "%s "]}`}, {"/services/s/routes", `{"methods": ["%s"]}`}, {"/services/s/routes", `{"strip_path": "%s"}`},
			{"/plugins", `{"name": "%s"}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "%s"}}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://%s"}}`},
			{"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "leeway": "%s"}}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "auth_methods": ["%s"]}}`},
			{"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "client_jwk": {"kty": "%s"}}}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "client_jwk": "%s"}}`},
			{"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "auth_methods": ["session"], "session_secret": "%s"}}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "run_on_preflight": "%s"}}`},
			{"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "introspection_endpoint": "%s"}}`}, {"/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", "%s": "a"}}`},
			{"/ca_certificates", `{"cert": "%s"}`}, {"/certificates", `{"cert": "%s", "key": "%s"}`},
		} {
			body := strings.ReplaceAll(tc[1], "%s", ref)
			got := a.json("POST", tc[0], body)
			for _, hidden := range []string{"5 secrets", "value of the env", "which is", "value-of-the-env", `"` + short, short + `"`} {
				require.NotContains(t, strings.ReplaceAll(got.text, `\"`, `"`), hidden, "%s %s", tc[0], body)
			}
			if got.status == 201 {
				a.send("DELETE", strings.Replace(tc[0], "/services/s", "", 1)+"/"+got.body["id"].(string), "", "").requireStatus(t, 204)
			}
		}
	}
	told := a.json("POST", "/services", `{"host": "a", "port": "{vault://env/a-value}"}`).requireStatus(t, 400)
	require.Contains(t, told.text, "port: what {vault://env/a-value} stands for does not fit; gateway check says why")
	// A secret that was kept is not shown by a mistake in what is beside it.
	made := a.json("POST", "/plugins", `{"name": "openid-connect", "config": {"issuer": "`+bed.Issuer.URL+`", "auth_methods": ["bearer", "session"], "session_secret": "a-kept-secret-that-is-long-enough"}}`).requireStatus(t, 201)
	bad := a.json("PATCH", "/plugins/"+made.body["id"].(string), `{"config": {"session_secret": "***", "leeway": "soon"}}`).requireStatus(t, 400)
	require.NotContains(t, bad.text, "a-kept-secret")
	require.Contains(t, bad.text, "config.leeway: a string where a number is expected", "what is no secret is told")
}

func TestASlowBodyHoldsNoOtherChange(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, noServices, "-admin-writes")
	a := api{t, gw.admin}
	at, err := url.Parse(gw.admin)
	require.NoError(t, err)
	for range 3 {
		conn, err := net.Dial("tcp", at.Host)
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "POST /services HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	}
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	a.json("POST", "/services", `{"url": "`+bed.Httpbin+`"}`).requireStatus(t, 201)
	gw.reload()
	gw.reload()
	require.Less(t, time.Since(began), 5*time.Second, "the slow client has longer than that")
}

func TestIssuersAreForgotten(t *testing.T) {
	bed, other := testbed.New(t, t.TempDir()), testbed.New(t, t.TempDir())
	text := "_format_version: \"3.0\"\nservices:\n- name: s\n  url: ${{ env \"DECK_UPSTREAM\" }}/anything\n  routes:\n"
	for i, issuer := range []string{bed.Issuer.URL, bed.Issuer.URL, other.Issuer.URL} {
		text += fmt.Sprintf("  - {name: r%d, paths: [/r%d], plugins: [{name: openid-connect, config: {issuer: '%s', auth_methods: [bearer], proof_of_possession_dpop: optional, leeway: %d}}]}\n", i, i, issuer, i)
	}
	gw := start(t, bed, text, "-issuer-ca", bothCAs(t, bed, other), "-admin-writes")
	a := api{t, gw.admin}
	key := dpoptest.NewKey(t)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	auth, proof := with("Authorization", "DPoP "+token), with("Dpop", key.Proof("GET", gw.url+"/r0", token))
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/r0", auth, proof).status)
	fetched := func() [2]int {
		for path, token := range map[string]string{"/r0": bed.Issuer.Token(), "/r1": bed.Issuer.Token(), "/r2": other.Issuer.Token()} {
			require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+path, bearer(token)).status, path)
		}
		return [2]int{bed.Issuer.Fetches(oidctest.KeySet), other.Issuer.Fetches(oidctest.KeySet)}
	}
	require.Equal(t, [2]int{1, 1}, fetched(), "plugins share an issuer")
	shown := a.send("GET", "/openid-connect/issuers", "", "").requireStatus(t, 200).body["data"].([]any)
	require.Len(t, shown, 2, "each issuer is shown once")

	// Keys that the issuer has withdrawn verify tokens until they are forgotten.
	old := bed.Issuer.Token()
	bed.Issuer.Rotate()
	bed.Issuer.Retire()
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/r0", bearer(old)).status)
	a.send("DELETE", "/openid-connect/issuers/"+shown[0].(map[string]any)["id"].(string), "", "").requireStatus(t, 204)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/r0", bearer(old)).status)
	now := fetched()
	require.Equal(t, 1, now[1], "it was the other's")
	a.send("DELETE", "/openid-connect/issuers", "", "").requireStatus(t, 204)
	require.Equal(t, [2]int{now[0] + 1, 2}, fetched())
	a.send("DELETE", "/openid-connect/issuers/nothing", "", "").requireStatus(t, 204)
	require.Equal(t, [2]int{now[0] + 1, 2}, fetched())
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/r0", auth, proof).status, "used proofs are no issuer's")
	a.send("DELETE", "/openid-connect/issuers", "", "", with("Origin", "https://evil.example")).requireStatus(t, 403)
	require.Len(t, a.send("GET", "/plugins", "", "").body["data"], 3)
}

func TestAChangeIsPossibleWhileTheIssuerIsDown(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.NewReplacer("https://issuer.example", bed.Issuer.URL, "http://127.0.0.1:1", bed.Httpbin, "[a]", "['https://api.example']").Replace(good), "-admin-writes")
	a := api{t, gw.admin}
	token := bearer(bed.Issuer.Token())
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/anything", token).status)
	bed.Issuer.SetDown(true)
	id := a.send("GET", "/plugins", "", "").body["data"].([]any)[0].(map[string]any)["id"].(string)
	began := time.Now()
	a.json("PATCH", "/plugins/"+id, `{"config": {"leeway": 7}}`).requireStatus(t, 200)
	require.Less(t, time.Since(began), learnWithin)
	require.Equal(t, 200, ask(t, bed.Client(nil), gw.url+"/anything", token).status)
}
