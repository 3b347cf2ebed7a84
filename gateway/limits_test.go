package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestG5AProofPassesOnceWhateverThePluginsRemember(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	route := func(name, host, plugin string) string {
		return "      - name: " + name + "\n        hosts: [" + host + "]\n        plugins:\n          - name: openid-connect\n            config: {issuer: '${{ env \"DECK_ISSUER\" }}', auth_methods: [bearer], proof_of_possession_dpop: strict, " + plugin + "}\n"
	}
	for name, tc := range map[string]struct {
		first, other string
		wait         time.Duration
	}{
		"a shorter lifetime": {"dpop_proof_lifetime: 2", "dpop_proof_lifetime: 120", 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			gw := start(t, bed, "_format_version: \"3.0\"\nservices:\n  - name: s\n    url: ${{ env \"DECK_UPSTREAM\" }}/anything\n    routes:\n"+
				route("first", "api.example", tc.first)+route("other", "alias.example", tc.other), "-public-origin", "https://api.example", "-internal-host", "alias.example")
			key := dpoptest.NewKey(t)
			token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
			proof := key.Proof("GET", "https://api.example/", token)
			send := func(host string) int {
				return ask(t, bed.Client(nil), gw.url+"/", with("Authorization", "DPoP "+token), with("Dpop", proof), func(r *http.Request) { r.Host = host }).status
			}
			require.Equal(t, 200, send("api.example"))
			require.Equal(t, 401, send("alias.example"))
			time.Sleep(tc.wait)
			require.Equal(t, 401, send("alias.example"), "the first plugin need not remember it any more, and the other would accept it")
		})
	}
}

// everlasting remembers until when it was asked to remember.
type everlasting struct{ until time.Time }

func (e *everlasting) Add(_ context.Context, _ string, _ [32]byte, until time.Time) (bool, error) {
	e.until = until
	return true, nil
}

func TestG5EachProofIsRememberedForTheLongestOfAllWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lifetimes, want := range map[string]time.Duration{"": 90 * time.Second, "10": 90 * time.Second, "300": 330 * time.Second} {
			text := good
			if lifetimes != "" {
				text += "      proof_of_possession_dpop: strict\n      dpop_proof_lifetime: " + lifetimes + "\n"
			}
			f := kongfile.Read(func(string) (string, bool) { return "", false }, kongfile.Source{Name: "kong.yaml", Text: []byte(text)})
			var inner everlasting
			memory := newSharedMemory(&inner, f)
			_, err := memory.Add(t.Context(), "", [32]byte{}, time.Now().Add(time.Second)) // what is left of a nonce
			require.NoError(t, err)
			require.Equal(t, want, time.Until(inner.until), lifetimes)
			_, err = memory.Add(t.Context(), "", [32]byte{}, time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.Equal(t, time.Hour, time.Until(inner.until))
		}
	})
}

func TestG6APathThatAServiceMayReadAsThatOfAnotherRouteIsRefused(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, `_format_version: "3.0"
services:
  - name: s
    url: ${{ env "DECK_UPSTREAM" }}/anything
    routes:
      - {name: open, paths: [/], strip_path: false}
      - {name: inner, paths: [/a/b], strip_path: false, plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}'}}]}
      - {name: admin, paths: [/admin], strip_path: false, plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}'}}]}
`)
	anonymous := bed.Client(nil)
	for target, want := range map[string]int{
		"/%2Fadmin/list": 400, "/%2fadmin": 400, "/%5Cadmin": 400, `/\admin`: 400, "/a%2Fb": 400, "/a%2Fb/c": 400, "/a%252Fb": 400, "/a;x=y/b": 400, "/a%3Bx/b": 400,
		"/a%5Cb": 400, "/a/%2Fb": 400, "/;/admin": 400, "/%252Fadmin": 400, "/x%252F..%252Fadmin": 400, "/x/%252e%252e/admin": 400,
		"//admin/list": 401, "///admin": 401, "/a//b": 401, "/%61dmin": 401, "/admin%2Flist": 401, "/a/b;x": 401,
		"/x%2Fy": 200, "/x;y": 200, "/100%25": 200, "/c%3Bd%5Ce": 200, "/x//y": 200,
	} {
		r, err := http.NewRequest("GET", gw.url, nil)
		require.NoError(t, err)
		r.URL.Opaque = "//" + r.URL.Host + target
		resp, err := anonymous.Do(r)
		require.NoError(t, err, target)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, target)
	}
}

func TestG10AClientThatSendsABodySlowlyIsAnswered(t *testing.T) {
	// The limits are those of real time, so that the handler is tried and not the clock.
	began := time.Now()
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, rc := limited(w, r)
		_ = rc.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // in the place of readWithin
		if r.URL.Path == "/read" {
			_, err := io.Copy(io.Discard, r.Body.(*limitedBody).ReadCloser)
			if err == nil {
				t.Error("the body has ended")
			}
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer slow.Close()
	for _, path := range []string{"/refused", "/read"} {
		conn, err := net.Dial("tcp", slow.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, 401, resp.StatusCode)
	}
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestReadTimeoutHoldsForTheBodyToo(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gone := make(chan struct{}, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 { // longer than the limit, together
			fmt.Fprintln(w, "some")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(150 * time.Millisecond)
		}
		if r.URL.Path == "/stalls" {
			<-r.Context().Done()
			gone <- struct{}{}
		}
	}))
	defer service.Close()
	gw := start(t, bed, "_format_version: \"3.0\"\nservices: [{name: s, url: '"+service.URL+"', read_timeout: 300, routes: [{name: r, paths: [/]}]}]\n")
	anonymous := bed.Client(nil)
	require.Equal(t, "some\nsome\nsome\n", ask(t, anonymous, gw.url+"/moves").body)
	began := time.Now()
	resp, err := anonymous.Get(gw.url + "/stalls")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err, "the response is cut off")
	require.Less(t, time.Since(began), 4*time.Second, "by the gateway, and not when the client loses patience")
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("the service is still waited for")
	}
}

func TestAClaimThatAHeaderCannotHoldIsNotSent(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.NewReplacer("https://issuer.example", `${{ env "DECK_ISSUER" }}`, "[a]", "['https://api.example']", "url: http://127.0.0.1:1", `url: ${{ env "DECK_UPSTREAM" }}/anything`).Replace(good)+
		"      upstream_headers: [{header: X-User, path: [sub]}]\n")
	for sub, want := range map[string][]string{"root": {"root"}, " root": nil, "root ": nil, "\troot": nil, "root\u00a0": nil, "r\noot": nil, "a,b": {"a,b"}, "r\u00f6\u00f6t": {"r\u00f6\u00f6t"}} {
		a := ask(t, bed.Client(nil), gw.url+"/", bearer(bed.Issuer.Token(oidctest.Claim("sub", sub))), with("X.User", "root"), with("X_User", "root"))
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, want, a.headers["X-User"], "%q", sub)
	}
}

func TestAClientThatGoesAwayIsNoErrorOfTheService(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	reached := make(chan struct{}, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached <- struct{}{}; <-r.Context().Done() }))
	defer service.Close()
	gw := start(t, bed, "_format_version: \"3.0\"\nservices: [{name: s, url: '"+service.URL+"', routes: [{name: r, paths: [/]}]}]\n")
	at, err := url.Parse(gw.url)
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", at.Host, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-reached
	require.NoError(t, conn.Close())
	require.Equal(t, 0, gw.stop())
	require.NotContains(t, gw.log.String(), "level=ERROR")
}

func TestARouteOfHTTPSRedirectsWhereTheFileSaysSo(t *testing.T) {
	f := kongfile.Read(func(string) (string, bool) { return "", false }, kongfile.Source{Name: "kong.yaml", Text: []byte(strings.Replace(good, "paths: [/]", "paths: [/]\n        protocols: [https]\n        https_redirect_status_code: 308", 1))})
	require.NoError(t, f.Problems.Err())
	gw := &gateway{deployment: &deployment{}, router: newRouter(f.Services)}
	w := httptest.NewRecorder()
	gw.ServeHTTP(w, httptest.NewRequest("GET", "http://api.example:8000/a%2Fb?c=1;2", nil))
	require.Equal(t, 308, w.Code)
	require.Equal(t, "https://api.example/a%2Fb?c=1;2", w.Header().Get("Location"))
}

// A plugin of a short window that is used first does not make the proofs of one with a
// longer window too old.
func TestAShortWindowDoesNotShortenALongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://127.0.0.1:1\n  routes:\n"
		for i, lifetime := range []string{"2", "120"} {
			text += fmt.Sprintf("  - name: r%d\n    paths: [/r%d]\n    plugins:\n    - name: openid-connect\n      config:\n        issuer: https://issuer.example\n        auth_methods: [bearer]\n        proof_of_possession_dpop: strict\n        dpop_proof_lifetime: %s\n", i, i, lifetime)
		}
		f := kongfile.Read(func(string) (string, bool) { return "", false }, kongfile.Source{Name: "kong.yaml", Text: []byte(text)})
		bare, err := dpop.NewMemoryCache()
		require.NoError(t, err)
		memory := newSharedMemory(bare, f)
		verifier := func(lifetime time.Duration) *dpop.Verifier {
			v, err := dpop.New("https://api.example", dpop.WithLifetime(lifetime), dpop.WithReplayCache(memory, nil))
			require.NoError(t, err)
			return v
		}
		short, long := verifier(2*time.Second), verifier(120*time.Second)
		key := dpoptest.NewKey(t)
		use := func(v *dpop.Verifier, age time.Duration) error {
			r := httptest.NewRequest("GET", "https://api.example/r", nil)
			key.Sign(r, "token", dpoptest.IssuedAt(time.Now().Add(-age)))
			_, err := v.Verify(r, "token", key.Thumbprint())
			return err
		}
		require.NoError(t, use(short, 0))
		for _, age := range []time.Duration{0, 40 * time.Second, 100 * time.Second} {
			require.NoError(t, use(long, age), "an unused proof that is %v old", age)
		}
	})
}
