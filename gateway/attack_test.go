package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// guardedBed is a gateway with one guarded route, and its Admin API.
func guardedBed(t *testing.T) (*testbed.Bed, *running, api, string) {
	t.Helper()
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.Replace(openFile, "URL", bed.Httpbin, 1), "-admin-writes")
	a := api{t, gw.admin}
	made := a.json("POST", "/routes/r/plugins", guardOf(bed)).requireStatus(t, 201)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything").status)
	require.Contains(t, a.json("PATCH", "/routes/r", `{"service": null}`).requireStatus(t, 400).text, `"@entity":"service is missing: `)
	return bed, gw, a, made.body["id"].(string)
}

// No odd body takes the guard from the route.
func TestNoOddBodyOpensARoute(t *testing.T) {
	bed, gw, a, id := guardedBed(t)
	for _, tc := range []struct{ method, path, contentType, body string }{
		{"PATCH", "/plugins/ID", "application/json", `{"enabled": true, "enabled": false}`},
		{"PATCH", "/plugins/ID", "application/json", `{"enabled": true, "\u0065nabled": false}`},
		{"PATCH", "/plugins/ID", "application/json", "\xef\xbb\xbf" + `{"enabled": false}`},
		{"PATCH", "/plugins/ID", "application/json", `{"Enabled": false}`},
		{"PATCH", "/plugins/ID", "application/json", `{"enabled": "off"}`},
		{"PATCH", "/plugins/ID", "application/json", `[{"enabled": false}]`},
		{"PATCH", "/plugins/ID", "application/json", `{"enabled": false}{}`},
		{"PATCH", "/plugins/ID", "application/json", "{\"enabled\": false, \"tags\": [\"\xff\"]}"},
		{"PATCH", "/plugins/ID", "application/json; charset=utf-16", "{\x00}\x00"},
		{"PATCH", "/plugins/ID", "text/plain", `{"enabled": false}`},
		{"PATCH", "/plugins/ID", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=enabled\r\n\r\nfalse\r\n--x--"},
		{"PATCH", "/plugins/ID", "application/json", strings.Repeat(`{"config":`, 5000) + "1" + strings.Repeat("}", 5000)},
		{"PATCH", "/plugins/ID", "application/json", `{"route": {"id": 5}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": 5}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": []}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": {}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": {"id": "", "name": ""}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": {"id": "nothing"}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": {"id": null}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"route": ""}`},
		{"PATCH", "/plugins/ID", "application/json", `{"service": {"id": 5}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"consumer": {"id": "joe"}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"name": "tls-handshake-modifier", "config": {"tls_client_certificate": "REQUEST"}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"name": null}`},
		{"PATCH", "/plugins/ID", "application/json", `{"config": null}`},
		{"PATCH", "/plugins/ID", "application/json", `{"config": {"issuer": null}}`},
		{"PATCH", "/plugins/ID", "application/json", `{"protocols": ["grpc"]}`},
		{"PATCH", "/plugins/ID", "application/json", `{"protocols": []}`},
		{"PATCH", "/plugins/ID", "application/json", `{"condition": "false"}`},
		{"PATCH", "/plugins/ID", "application/x-www-form-urlencoded", "enabled=false&enabled=true"},
		{"PATCH", "/plugins/ID", "application/x-www-form-urlencoded", "enabled[]=false"},
		{"PATCH", "/plugins/ID", "application/x-www-form-urlencoded", "config=&config.issuer=x"},
		{"PATCH", "/plugins/ID", "application/x-www-form-urlencoded", "config.auth_methods[1]=bearer&config.auth_methods=none"},
		{"PATCH", "/plugins/ID", "application/x-www-form-urlencoded", "%zz=1"},
		{"PATCH", "/routes/r", "application/json", `{"paths": null}`},
		{"PATCH", "/routes/r", "application/json", `{"paths": ["~/anything"]}`},
		{"PATCH", "/routes/r", "application/json", `{"plugins": []}`},
		{"PATCH", "/routes/r", "application/json", `{"service": null}`},
		{"PATCH", "/services/s", "application/json", `{"routes": []}`},
		{"PATCH", "/services/s", "application/json", `{"tags": {"a": "b"}}`},
		{"POST", "/routes", "application/json", `{"name": "r", "paths": ["/anything"], "service": {"name": "s"}}`},
		{"POST", "/services", "application/json", `{"name": "s", "url": "http://127.0.0.1:1"}`},
		{"POST", "/services", "application/json", `{"name": "ID", "url": "http://127.0.0.1:1"}`},
		{"PUT", "/services/s%2F..%2Fs", "application/json", `{"url": "http://127.0.0.1:1"}`},
		{"DELETE", "/services/s", "", ""},
		{"DELETE", "/plugins", "", ""},
		{"DELETE", "/routes/s", "", ""},
		{"DELETE", "/services/s/plugins/ID", "", ""},
		{"DELETE", "/plugins/ID/", "", ""},
	} {
		replace := strings.NewReplacer("ID", id)
		got := a.send(tc.method, replace.Replace(tc.path), tc.contentType, replace.Replace(tc.body))
		if tc.path == "/plugins/ID/" {
			break // which names the plugin
		}
		status := ask(t, bed.Client(nil), gw.url+"/anything").status
		if status != 401 && status != 404 { // 404: the route is elsewhere, and not open
			t.Errorf("%s %s %.80s was answered by %d %s, and then a request without a token by %d", tc.method, tc.path, tc.body, got.status, got.text, status)
			return
		}
		if status == 404 {
			t.Logf("%s %s %.80s: %d, and then 404", tc.method, tc.path, tc.body, got.status)
		}
	}
}

// Each secret is hidden, and kept when what hides it is sent back, whatever its key.
func TestEachSecretSurvivesTheRoundTrip(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	kept := filepath.Join(t.TempDir(), "kept.json")
	a := api{t, start(t, bed, noServices, "-admin-writes", "-admin-file", kept).admin}
	ca := mtlspoptest.NewCA(t, "CA")
	client := ca.Issue("client")
	secrets := []string{"first-client-secret", "a-session-secret-of-32-bytes-or-more", "a-redis-password", "an-argument-value", "a-proxy-password"}
	a.json("PUT", "/ca_certificates/"+firstID, fmt.Sprintf(`{"cert": %q}`, testbed.PEM(ca.Certificate))).requireStatus(t, 200)
	a.json("PUT", "/certificates/"+secondID, fmt.Sprintf(`{"cert": %q, "key": %q}`, testbed.PEM(client.Certificate), keyPEM(t, client))).requireStatus(t, 200)
	a.json("PUT", "/plugins/"+firstID, `{"name": "openid-connect", "config": {"issuer": "`+bed.Issuer.URL+`", "auth_methods": ["bearer", "session", "client_credentials"], "client_id": ["c"],
		"client_secret": ["`+secrets[0]+`"], "session_secret": "`+secrets[1]+`", "cluster_cache_strategy": "off", "cluster_cache_redis": {"password": "`+secrets[2]+`"},
		"token_post_args_names": ["a"], "token_post_args_values": ["`+secrets[3]+`"], "proof_of_possession_mtls": "optional", "proof_of_possession_mtls_from_header": null}}`).requireStatus(t, 200)
	keyLine := strings.Split(keyPEM(t, client), "\n")[1]
	for _, at := range []string{"/plugins/" + firstID, "/certificates/" + secondID} {
		for _, method := range []string{"PUT", "PATCH"} {
			shown := a.send("GET", at, "", "").requireStatus(t, 200)
			back := a.json(method, at, shown.text).requireStatus(t, 200)
			list := a.send("GET", at[:strings.LastIndex(at, "/")], "", "")
			for _, secret := range append(secrets[:4:4], keyLine) {
				require.NotContains(t, shown.text+back.text+list.text, secret)
			}
		}
	}
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	for _, secret := range append(secrets[:4:4], keyLine) {
		require.Contains(t, string(text), secret)
	}
	require.NotContains(t, string(text), `"***"`)
	// Where there is nothing to keep, it is no secret either.
	for _, config := range []string{`"client_secret": ["***"]`, `"session_secret": "***"`, `"client_jwk": [{"kty": "EC", "d": "***"}]`} {
		require.Contains(t, a.json("POST", "/plugins", `{"name": "openid-connect", "config": {"issuer": "https://a.example", `+config+`}}`).requireStatus(t, 400).text, "there is none yet")
	}
	// Each key of Kong's whose name is that of a secret is one.
	var all []string
	var collect func(prefix string, keys []kongfile.Key)
	collect = func(prefix string, keys []kongfile.Key) {
		for _, k := range keys {
			all = append(all, prefix+k.Name)
			collect(prefix+k.Name+".", k.Members)
		}
	}
	collect("", kongfile.Keys)
	for _, name := range all {
		last := name[strings.LastIndex(name, ".")+1:]
		if !strings.Contains(last, "secret") && !strings.Contains(last, "password") && !strings.HasSuffix(last, "authorization") && !strings.HasSuffix(last, "salt") {
			continue
		}
		if strings.HasSuffix(last, "_key") || strings.HasSuffix(last, "_type") || strings.HasSuffix(last, "param_type") {
			continue // where a credential comes, not what it is
		}
		config := map[string]any{}
		into := config
		path := strings.Split(name, ".")
		for _, step := range path[:len(path)-1] {
			inner := map[string]any{}
			into[step], into = inner, inner
		}
		into[last] = "hush-hush"
		text, err := json.Marshal(kongfile.Entity{"name": "openid-connect", "config": config}.WithoutSecrets("plugins"))
		require.NoError(t, err)
		require.NotContains(t, string(text), "hush-hush", name)
	}
}

func TestConcurrentChangesAreAllMade(t *testing.T) {
	_, _, a, id := guardedBed(t)
	keys := []string{"leeway", "max_age", "rediscovery_lifetime", "timeout", "dpop_proof_lifetime"}
	a.json("PATCH", "/plugins/"+id, `{"config": {"proof_of_possession_dpop": "optional"}}`).requireStatus(t, 200)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			body := fmt.Sprintf(`{"config": {%q: %d}}`, keys[i%len(keys)], 10+i%len(keys))
			if got := a.json("PATCH", "/plugins/"+id, body); got.status != 200 {
				t.Errorf("%s: %s", body, got.text)
			}
		})
		wait.Go(func() {
			a.json("PUT", fmt.Sprint("/services/s", i%4), `{"url": "http://127.0.0.1:1"}`)
			a.send("DELETE", fmt.Sprint("/services/s", i%4), "", "")
		})
	}
	wait.Wait()
	config := a.send("GET", "/plugins/"+id, "", "").body["config"].(map[string]any)
	for i, key := range keys {
		require.EqualValues(t, 10+i, config[key], key)
	}
	require.Len(t, a.send("GET", "/services", "", "").body["data"], 1)
}

func TestNamesWithSlashesAndReferencesAreWhatTheyAre(t *testing.T) {
	bed, _, a, _ := guardedBed(t)
	for _, name := range []string{"a/b", "a b", "ä", "..", "a%2Fb", "{vault://env/x}", "***", strings.Repeat("n", 300)} {
		at := "/services/" + url.PathEscape(name)
		made := a.json("PUT", at, `{"url": "`+bed.Httpbin+`"}`)
		if made.status != 200 {
			require.Equal(t, 400, made.status, "%s: %s", name, made.text)
			continue
		}
		require.Equal(t, name, made.body["name"])
		require.Equal(t, made.body["id"], a.send("GET", at, "", "").requireStatus(t, 200).body["id"], name)
		a.send("DELETE", at, "", "").requireStatus(t, 204)
		a.send("GET", at, "", "").requireStatus(t, 404)
	}
}

// A file of a few lines does not become a gigabyte, and an alias does not open a route.
func TestAliasesAndMergeKeysAreRefused(t *testing.T) {
	bomb := "_format_version: \"3.0\"\n_x: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("_%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", 'a'+i, 'b'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"a bomb":                {bomb + good[strings.Index(good, "services:"):], "is not supported"},
		"a merge key":           {strings.Replace(good, "    config:\n", "    config:\n      <<: {verify_signature: false}\n", 1), "is not supported"},
		"an alias of a plugin":  {good + "x: &p {name: openid-connect}\n", "x: is not supported"},
		"an alias for config":   {"_x: &c {issuer: https://a.example}\n" + strings.Replace(good, "config:\n      issuer: https://issuer.example\n      auth_methods: [bearer]\n      audience_required: [a]\n", "config: *c\n", 1), "an alias"},
		"an alias for a switch": {"_x: &no false\n" + strings.Replace(good, "  - name: openid-connect\n", "  - name: openid-connect\n    enabled: *no\n", 1), "an alias"},
		"an anchor alone":       {strings.Replace(good, "[bearer]", "&a [bearer]", 1), ""},
		"a tag":                 {strings.Replace(good, "[bearer]", "!!set {bearer}", 1), "auth_methods"},
		"a binary":              {strings.Replace(good, "[bearer]", "[!!binary YmVhcmVy]", 1), "auth_methods"},
		"a key that is a list":  {strings.Replace(good, "      issuer:", "      [a]: b\n      issuer:", 1), "is not supported"},
		"deep":                  {good + "      x: " + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "\n", "kong.yaml:"},
	} {
		began := time.Now()
		found := strings.Join(mistakes(t, tc.text), "\n")
		require.Less(t, time.Since(began), 5*time.Second, name)
		if tc.want == "" {
			require.Empty(t, found, name)
			continue
		}
		require.Contains(t, found, tc.want, name)
	}
}

// A SIGHUP that comes while the gateway starts is answered once it has.
func TestASignalWhileStartingIsNotLost(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "kong.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(openFile, "URL", bed.Httpbin, 1)), 0o600))
	hangups, log := make(chan os.Signal, 1), &buffer{}
	hangups <- syscall.SIGHUP
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() { done <- run(ctx, []string{"-config", file, "-listen", "127.0.0.1:0"}, log, log, hangups) }()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "the configuration was read again") }, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.Equal(t, 0, <-done, log.String())
}

// A wrong token takes as long as a nearly right one: what is compared are digests.
func TestTheAdminTokenIsComparedWhole(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("0123456789abcdef"), 0o600))
	a := api{t, start(t, bed, noServices, "-admin-writes", "-admin-token-file", file).admin}
	for _, token := range []string{"", " ", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef\x20x", "Bearer 0123456789abcdef"} {
		a.send("GET", "/services", "", "", with("Kong-Admin-Token", token)).requireStatus(t, 401)
	}
	a.send("GET", "/services", "", "", with("Kong-Admin-Token", "wrong"), with("Authorization", "Bearer 0123456789abcdef")).requireStatus(t, 401)
	a.send("GET", "/services", "", "", with("Kong-Admin-Token", "0123456789abcdef"), with("Kong-Admin-Token", "wrong")).requireStatus(t, 200)
	a.send("GET", "/services", "", "", with("Kong-Admin-Token", "wrong"), with("Kong-Admin-Token", "0123456789abcdef")).requireStatus(t, 401)
	for _, edit := range []func(*http.Request){with("Authorization", "bearer 0123456789abcdef"), with("Authorization", "Basic 0123456789abcdef"), with("Cookie", "Kong-Admin-Token=0123456789abcdef")} {
		a.send("GET", "/services", "", "", edit).requireStatus(t, 401)
	}
	a.send("GET", "/services?Kong-Admin-Token=0123456789abcdef", "", "").requireStatus(t, 401)
}

// A body of the largest size takes about a second to read, whatever it is full of. This
// is a quarter of one.
func TestNoLargeBodyTakesLong(t *testing.T) {
	const size = maxAdminBody / 4
	filled := func(before, item, after string) string {
		return before + strings.TrimSuffix(strings.Repeat(item, (size-len(before)-len(after))/len(item)), ",") + after
	}
	keys := make([]string, 0, 12500)
	for i := range cap(keys) {
		keys = append(keys, fmt.Sprintf(`"key%d": 1`, i))
	}
	const plugin = `{"_format_version": "3.0", "plugins": [{"name": "openid-connect", "config": {"issuer": "https://a.example", "auth_methods": ["bearer"], `
	for name, text := range map[string]string{
		"references":   filled(plugin+`"scopes_required": [`, `"${{ env \"A\" }}",`, `]}}]}`),
		"in one text":  filled(plugin+`"scopes_required": ["`, `${{ env \"A\" }} `, `"]}}]}`),
		"vaults":       filled(plugin+`"scopes_required": [`, `"{vault://env/a}",`, `]}}]}`),
		"elements":     filled(plugin+`"groups_claim": [`, `"x",`, `]}}]}`),
		"wrong ones":   filled(plugin+`"client_auth": [`, `"x",`, `]}}]}`),
		"unknown keys": plugin + strings.Join(keys, ", ") + `}}]}`,
		"plugins":      filled(`{"_format_version": "3.0", "plugins": [`, `{"name":"x"},`, `]}`),
		"services":     filled(`{"_format_version": "3.0", "services": [`, `{"name":"x"},`, `]}`),
		"paths":        filled(`{"_format_version": "3.0", "services": [{"name": "s", "url": "http://a", "routes": [{"paths": [`, `"/x",`, `]}]}]}`),
	} {
		began := time.Now()
		source := kongfile.Source{Name: "kong.json", Text: []byte(text)}
		f := kongfile.Read(func(string) (string, bool) { return "x", true }, source)
		require.LessOrEqual(t, len(f.Problems.Texts()), 1001, name)
		_, err := kongfile.StateOf(source)
		require.NoError(t, err, name)
		require.Less(t, time.Since(began), 10*time.Second, name)
	}
}
