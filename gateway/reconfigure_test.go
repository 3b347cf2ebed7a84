package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// changes is how often the tests below change the configuration under load.
func changes() int {
	if testing.Short() {
		return 50
	}
	return 1000
}

// expected is a request that both configurations answer in the same way.
type expected struct {
	method, path string
	auth         func(*http.Request)
	status       int
}

// load is requests that are sent while the configuration changes.
type load struct {
	t      *testing.T
	began  time.Time
	cancel func()
	asked  atomic.Int64
	all    sync.WaitGroup
}

// loadOn sends requests by several clients of both versions of HTTP until stop is
// called. Each of them is answered as expected.
func loadOn(t *testing.T, bed *testbed.Bed, url string, all []expected) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, began: time.Now(), cancel: cancel}
	for version, client := range clientsOf(bed) {
		for range 2 {
			l.all.Go(func() {
				for ctx.Err() == nil {
					for _, e := range all {
						if problem := e.send(client, url, version); problem != "" {
							t.Error(problem)
							return
						}
						l.asked.Add(1)
					}
				}
			})
		}
	}
	return l
}

// atLeast waits until n requests have been answered.
func (l *load) atLeast(n int) {
	for l.asked.Load() < int64(n) && !l.t.Failed() {
		time.Sleep(100 * time.Microsecond)
	}
}

func (l *load) stop() {
	took := time.Since(l.began)
	l.cancel()
	l.all.Wait()
	l.t.Logf("%d requests during %d changes in %v", l.asked.Load(), changes(), took)
}

// clientsOf are those that load comes from, by what they speak. The last one makes a
// connection for each request.
func clientsOf(bed *testbed.Bed) map[string]*http.Client {
	first, second, last := bed.Client(nil), bed.Client(nil), bed.Client(nil)
	for _, one := range []*http.Client{first, last} {
		transport := one.Transport.(*http.Transport)
		transport.ForceAttemptHTTP2, transport.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	last.Transport.(*http.Transport).DisableKeepAlives = true
	return map[string]*http.Client{"HTTP/1.1": first, "HTTP/2.0": second, "HTTP/1.1 ": last}
}

// send returns what is wrong with the answer.
func (e expected) send(client *http.Client, url, version string) string {
	var body io.Reader
	if e.status >= 400 && strings.HasSuffix(version, " ") {
		// Before Go 1.27, a server that is to close a connection does so with a body that
		// the handler has not read, and the client may see that and not the response.
		e.method = http.MethodGet
	}
	if e.method == http.MethodPost {
		body = strings.NewReader(strings.Repeat("x", 10_000))
	}
	r, err := http.NewRequest(e.method, url+e.path, body)
	if err != nil {
		return err.Error()
	}
	r.GetBody = nil // so that no client tries again
	e.auth(r)
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Sprintf("%s %s: a request was lost: %v", version, e.path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Sprintf("%s %s: a response was cut off: %v", version, e.path, err)
	case resp.StatusCode != e.status:
		return fmt.Sprintf("%s %s: %d instead of %d: %s", version, e.path, resp.StatusCode, e.status, text)
	case resp.Proto != strings.TrimSpace(version):
		return fmt.Sprintf("%s instead of %s", resp.Proto, version)
	}
	return ""
}

// slowService answers at once, except /slow, which takes as long as several changes.
func slowService(t *testing.T) string {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "/slow") {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprint(w, "reached ", r.URL.Path, n)
	}))
	t.Cleanup(service.Close)
	return service.URL
}

func anonymously(*http.Request) {}

func TestReconfigurationsByTheAdminAPIUnderLoadLoseNoRequestAndLetNoneThrough(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, `_format_version: "3.0"
services:
  - name: s
    url: `+slowService(t)+`
    routes:
      - {name: open, paths: [/]}
      - name: guarded
        paths: [/guarded]
        plugins: [{name: openid-connect, config: {issuer: '`+bed.Issuer.URL+`', auth_methods: [bearer], audience_required: ['https://api.example'], scopes_required: [a]}}]
`, "-admin-writes")
	a := api{t, gw.admin}
	id := a.send("GET", "/routes/guarded/plugins", "", "").body["data"].([]any)[0].(map[string]any)["id"].(string)
	good, bad := bearer(bed.Issuer.Token(oidctest.Scope("a", "b"))), bearer(bed.Issuer.Token(oidctest.Scope("c")))
	load := loadOn(t, bed, gw.url, []expected{
		{"GET", "/open", anonymously, 200}, {"POST", "/slow", anonymously, 200}, {"POST", "/guarded/slow", good, 200}, {"GET", "/guarded", good, 200},
		{"GET", "/guarded", bad, 403}, {"POST", "/guarded", anonymously, 401},
	})
	for i := range changes() {
		load.atLeast(2 * i)
		scope := []string{"a", "b"}[i%2]
		a.json("PATCH", "/plugins/"+id, `{"config": {"scopes_required": ["`+scope+`"], "forbidden_error_message": "`+fmt.Sprint(i)+`"}}`).requireStatus(t, 200)
		if i%10 == 0 {
			a.json("PUT", "/routes/more", `{"paths": ["/more`+fmt.Sprint(i)+`"], "service": {"name": "s"}}`).requireStatus(t, 200)
		}
	}
	load.stop()
}

// Each of two files guards the same path by a route, a plugin and a scope of its own, and
// leaves what is beside it open.
func TestReconfigurationsBySIGHUPUnderLoadLoseNoRequestAndLetNoneThrough(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	service, file := slowService(t), filepath.Join(t.TempDir(), "kong.yaml")
	write := func(i int) {
		text := `_format_version: "3.0"
services:
  - name: s` + fmt.Sprint(i) + `
    url: ` + service + `
    routes:
      - {name: open` + fmt.Sprint(i) + `, paths: [/]}
      - name: guarded` + fmt.Sprint(i) + `
        paths: [` + []string{"/guarded", "/other, /guarded"}[i%2] + `]
        plugins:
          - {name: openid-connect, config: {issuer: '` + bed.Issuer.URL + `', auth_methods: [bearer], audience_required: ['https://api.example'], scopes_required: [` + []string{"a", "b"}[i%2] + `]}}
          - {name: tls-handshake-modifier, enabled: ` + fmt.Sprint(i%3 == 0) + `, config: {tls_client_certificate: REQUEST}}
`
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write(0)
	gw := start(t, bed, noServices, "-config", file)
	good, bad := bearer(bed.Issuer.Token(oidctest.Scope("a", "b"))), bearer(bed.Issuer.Token(oidctest.Scope("c")))
	load := loadOn(t, bed, gw.url, []expected{
		{"GET", "/open", anonymously, 200}, {"POST", "/slow", anonymously, 200}, {"POST", "/guarded/slow", good, 200}, {"GET", "/guarded", good, 200},
		{"GET", "/guarded", bad, 403}, {"POST", "/guarded", anonymously, 401},
	})
	for i := range changes() {
		load.atLeast(2 * i)
		write(i + 1)
		gw.reload()
	}
	gw.reload() // it is taken once the one before has been
	load.stop()
	require.GreaterOrEqual(t, strings.Count(gw.log.String(), "the configuration was read again"), changes())
	require.NotContains(t, gw.log.String(), "stays in force")
}
