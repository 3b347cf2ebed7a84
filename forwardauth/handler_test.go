package forwardauth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	origin    = "https://api.example"
	proxyPeer = "10.0.0.1:4567"
	otherPeer = "10.0.1.1:4567"
)

var proxyPrefix = netip.MustParsePrefix("10.0.0.0/24")

// world is an issuer, a client, and a guard that asks the issuer.
type world struct {
	issuer *oidctest.Issuer
	key    *dpoptest.Key
	cert   *mtlspoptest.Client
	guard  *middleware.Guard
}

func newWorld(t testing.TB, opts ...middleware.Option) *world {
	t.Helper()
	w := &world{issuer: oidctest.NewIssuer(t), key: dpoptest.NewKey(t), cert: mtlspoptest.SelfSigned(t, "alice")}
	w.guard = newWorldGuard(t, w, proxyPrefix, opts...)
	return w
}

// newWorldGuard returns a guard behind proxies of these addresses.
func newWorldGuard(t testing.TB, w *world, proxies netip.Prefix, opts ...middleware.Option) *middleware.Guard {
	t.Helper()
	guard, err := middleware.New(append([]middleware.Option{
		middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, proxies))),
		middleware.RequireTLS(proxies),
	}, opts...)...)
	require.NoError(t, err)
	return guard
}

func (w *world) handler(t testing.TB, opts ...forwardauth.Option) *forwardauth.Handler {
	t.Helper()
	h, err := forwardauth.New(w.guard, opts...)
	require.NoError(t, err)
	return h
}

// fields are the names by which a dialect tells of a request.
type fields struct{ method, uri, host string }

var dialects = map[forwardauth.Dialect]fields{
	forwardauth.NGINX:   {"X-Original-Method", "X-Original-Uri", "X-Original-Host"},
	forwardauth.HAProxy: {"X-Original-Method", "X-Original-Uri", "X-Original-Host"},
	forwardauth.Caddy:   {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
	forwardauth.Traefik: {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
}

// subrequest is what a proxy sends about a request of the client's.
func subrequest(f fields, method, target string) *http.Request {
	r := httptest.NewRequest("GET", "http://auth.internal/", nil)
	r.RemoteAddr = proxyPeer
	r.Header.Set(f.method, method)
	r.Header.Set(f.uri, target)
	r.Header.Set(f.host, "api.example")
	return r
}

// signed adds a token and a proof for the client's request.
func (w *world) signed(r *http.Request, method, target string) *http.Request {
	token := w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()), oidctest.Scope("orders:read", "orders:write"))
	path, _, _ := strings.Cut(target, "?")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", w.key.Proof(method, origin+path, token))
	return r
}

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// told are the fields that replace what a client has sent, in every answer.
var told = []string{"X-Auth-Outcome", "X-Auth-Issuer", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Binding", "X-Auth-Assertion"}

// replaced asserts that the answer has each field once, and that it may not be stored.
func replaced(t *testing.T, a *httptest.ResponseRecorder, outcome string) {
	t.Helper()
	for _, name := range told {
		require.Len(t, a.Header()[name], 1, name)
	}
	require.Equal(t, outcome, a.Header().Get("X-Auth-Outcome"))
	require.Equal(t, []string{"no-store"}, a.Header()["Cache-Control"])
	if outcome != "pass" {
		for _, name := range told[1:] {
			require.Empty(t, a.Header().Get(name), name)
		}
	}
}

func TestTheGuardJudgesTheRequestThatTheProxyTellsOf(t *testing.T) {
	w := newWorld(t)
	for dialect, f := range dialects {
		h := w.handler(t, forwardauth.WithProxy(dialect, proxyPrefix))
		t.Run(dialect.String()+" a good proof", func(t *testing.T) {
			a := ask(h, w.signed(subrequest(f, "POST", "/orders/%7E1?page=2"), "POST", "/orders/%7E1"))
			require.Equal(t, 200, a.Code, a.Body)
			replaced(t, a, "pass")
			require.Equal(t, w.issuer.URL, a.Header().Get("X-Auth-Issuer"))
			require.NotEmpty(t, a.Header().Get("X-Auth-Subject"))
			require.Equal(t, "orders:read orders:write", a.Header().Get("X-Auth-Scope"))
			require.Equal(t, "dpop", a.Header().Get("X-Auth-Binding"))
		})
		t.Run(dialect.String()+" a proof is used up", func(t *testing.T) {
			r := w.signed(subrequest(f, "GET", "/orders"), "GET", "/orders")
			require.Equal(t, 200, ask(h, r).Code)
			a := ask(h, r)
			require.Equal(t, 401, a.Code)
			replaced(t, a, "refused")
		})
		for name, change := range map[string]func(*http.Request){
			"another method":        func(r *http.Request) { r.Header.Set(f.method, "DELETE") },
			"another target":        func(r *http.Request) { r.Header.Set(f.uri, "/admin") },
			"another spelling":      func(r *http.Request) { r.Header.Set(f.uri, "/%6frders") },
			"another host":          func(r *http.Request) { r.Header.Set(f.host, "other.example") },
			"no token":              func(r *http.Request) { r.Header.Del("Authorization") },
			"no proof":              func(r *http.Request) { r.Header.Del("DPoP") },
			"two proofs":            func(r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) },
			"two tokens":            func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
			"a token in the query":  func(r *http.Request) { r.Header.Set(f.uri, "/orders?access_token=x") },
			"early data":            func(r *http.Request) { r.Header.Set("Early-Data", "1") },
			"a target that is none": func(r *http.Request) { r.Header.Set(f.uri, "orders") },
		} {
			t.Run(dialect.String()+" "+name, func(t *testing.T) {
				r := w.signed(subrequest(f, "GET", "/orders"), "GET", "/orders")
				change(r)
				a := ask(h, r)
				require.GreaterOrEqual(t, a.Code, 400)
				require.Less(t, a.Code, 500)
				replaced(t, a, "refused")
				if a.Code == 401 {
					require.NotEmpty(t, a.Header()["Www-Authenticate"])
				}
			})
		}
	}
}

// A subrequest can come by HTTP/2 with a Host field of its own, which is the client's. The
// Guard judges what the proxy tells of, and nothing of how it tells.
func TestTheFormOfASubrequestIsTheProxys(t *testing.T) {
	w := newWorld(t)
	for dialect, f := range dialects {
		h := w.handler(t, forwardauth.WithProxy(dialect, proxyPrefix))
		r := w.signed(subrequest(f, "GET", "/orders"), "GET", "/orders")
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		r.Header["Host"] = []string{"api.example"} // :authority is auth.internal
		a := ask(h, r)
		require.Equal(t, 200, a.Code, "%v: %s", dialect, a.Body)
		replaced(t, a, "pass")
	}
}

// The body of a subrequest can only be the client's.
func TestASubrequestWithABodyTellsOfNoPreflight(t *testing.T) {
	w := newWorld(t, middleware.PassPreflights())
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	for body, change := range map[string]func(*http.Request){
		"none":      func(*http.Request) {},
		"five":      func(r *http.Request) { r.ContentLength = 5 },
		"no length": func(r *http.Request) { r.ContentLength, r.TransferEncoding = -1, []string{"chunked"} },
	} {
		r := subrequest(dialects[forwardauth.NGINX], "OPTIONS", "/orders")
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("X-Original-Body", "none")
		change(r)
		want := 401
		if body == "none" {
			want = 200
		}
		require.Equal(t, want, ask(h, r).Code, body)
	}
}

func TestOnlyTrustedPeersTellOfRequests(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithProxy(forwardauth.Caddy, netip.MustParsePrefix("192.0.2.0/24")),
		forwardauth.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	nginx, caddy := dialects[forwardauth.NGINX], dialects[forwardauth.Caddy]
	unix := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix"}))
	good := func() *http.Request { return w.signed(subrequest(nginx, "GET", "/orders"), "GET", "/orders") }
	require.Equal(t, 200, ask(h, good()).Code)

	for name, c := range map[string]struct {
		request func() *http.Request
		want    int
	}{
		"a peer from elsewhere": {func() *http.Request { r := good(); r.RemoteAddr = otherPeer; return r }, 403},
		"one that names the proxy": {func() *http.Request {
			r := good()
			r.RemoteAddr = otherPeer
			r.Header.Set("X-Forwarded-For", "10.0.0.1")
			return r
		}, 403},
		"R9 a unix socket that calls itself a proxy": {func() *http.Request { return good().WithContext(unix) }, 403},
		"the other dialect":                          {func() *http.Request { r := good(); r.RemoteAddr = "192.0.2.1:80"; return r }, 500},
		"the other dialect's fields from nginx": {func() *http.Request {
			return w.signed(subrequest(caddy, "GET", "/orders"), "GET", "/orders")
		}, 500},
		"no method":     {func() *http.Request { r := good(); r.Header.Del(nginx.method); return r }, 500},
		"no target":     {func() *http.Request { r := good(); r.Header.Del(nginx.uri); return r }, 500},
		"no host":       {func() *http.Request { r := good(); r.Header.Del(nginx.host); return r }, 500},
		"an empty host": {func() *http.Request { r := good(); r.Header.Set(nginx.host, ""); return r }, 500},
		"two methods":   {func() *http.Request { r := good(); r.Header.Add(nginx.method, "GET"); return r }, 500},
		"two targets":   {func() *http.Request { r := good(); r.Header.Add(nginx.uri, "/orders"); return r }, 500},
		"two hosts":     {func() *http.Request { r := good(); r.Header.Add(nginx.host, "api.example"); return r }, 500},
		"a subrequest that is a POST": {func() *http.Request {
			r := good()
			r.Method, r.Body, r.ContentLength = "POST", http.NoBody, 0
			return r
		}, 500},
		"a subrequest that is a HEAD":    {func() *http.Request { r := good(); r.Method = "HEAD"; return r }, 500},
		"a subrequest that is a CONNECT": {func() *http.Request { r := good(); r.Method = "CONNECT"; return r }, 500},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(h, c.request())
			require.Equal(t, c.want, a.Code)
			replaced(t, a, "refused")
		})
	}
	require.Equal(t, 2, strings.Count(log.String(), "\n"), "one line per cause:\n%s", &log)
	require.Contains(t, log.String(), "not trusted")
	require.NotContains(t, log.String(), "DPoP ")

	zero := ask(new(forwardauth.Handler), good())
	require.Equal(t, 403, zero.Code)
	replaced(t, zero, "refused")
	onSocket := w.handler(t, forwardauth.TrustUnixSocket(forwardauth.NGINX))
	require.Equal(t, 403, ask(onSocket, good()).Code)
}

func TestTheFieldsOfOtherDialectsAreAClients(t *testing.T) {
	w := newWorld(t)
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	r := w.signed(subrequest(dialects[forwardauth.NGINX], "GET", "/orders"), "GET", "/orders")
	r.Header.Set("X-Forwarded-Method", "DELETE")
	r.Header.Set("X-Forwarded-Uri", "/admin")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	for _, name := range told {
		r.Header.Set(name, "forged")
	}
	a := ask(h, r)
	require.Equal(t, 200, a.Code)
	replaced(t, a, "pass")
	for _, values := range a.Header() {
		require.NotContains(t, strings.Join(values, ""), "forged")
	}
}

func TestForwardedCertificatesCountAsForTheGuard(t *testing.T) {
	w := newWorld(t)
	f := dialects[forwardauth.NGINX]
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	request := func(c *mtlspoptest.Client) *http.Request {
		r := subrequest(f, "GET", "/orders")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.BoundToCertificate(w.cert.Certificate)))
		if c != nil {
			r.Header.Set("X-Client-Cert", mtlspoptest.Nginx(c))
		}
		return r
	}
	a := ask(h, request(w.cert))
	require.Equal(t, 200, a.Code)
	require.Equal(t, "certificate", a.Header().Get("X-Auth-Binding"))
	require.Equal(t, 401, ask(h, request(mtlspoptest.SelfSigned(t, "mallory"))).Code)
	require.Equal(t, 401, ask(h, request(nil)).Code)

	// The certificate of the proxy's own connection is not the client's, not even to a
	// guard that knows of no forwarded one.
	direct := newWorld(t)
	guard, err := middleware.New(middleware.WithTokens(oidc.New(direct.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(direct.issuer.Client()))),
		middleware.WithMTLS(mtlspop.New()))
	require.NoError(t, err)
	direct.guard = guard
	r := request(nil)
	r.Header.Set("Authorization", "Bearer "+direct.issuer.Token(oidctest.BoundToCertificate(w.cert.Certificate)))
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{w.cert.Certificate}}
	require.Equal(t, 401, ask(direct.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix)), r).Code)
	require.NotNil(t, r.TLS.PeerCertificates, "the subrequest is not changed")
}

func TestNoncesAndChallengesReachTheClient(t *testing.T) {
	w := newWorld(t)
	key := bytes.Repeat([]byte{7}, 32)
	guard, err := middleware.New(middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(key)))), middleware.AllowUnbound())
	require.NoError(t, err)
	w.guard = guard
	for dialect, f := range dialects {
		t.Run(dialect.String(), func(t *testing.T) {
			a := ask(w.handler(t, forwardauth.WithProxy(dialect, proxyPrefix)), w.signed(subrequest(f, "GET", "/orders"), "GET", "/orders"))
			require.Equal(t, 401, a.Code)
			require.NotEmpty(t, a.Header().Get("DPoP-Nonce"))
			require.Contains(t, strings.Join(a.Header()["Www-Authenticate"], ", "), "use_dpop_nonce")
			require.Equal(t, dialect == forwardauth.NGINX, len(a.Header()["Www-Authenticate"]) == 1)
		})
	}
}

func TestWhatIsSaidCannotLeaveItsField(t *testing.T) {
	w := newWorld(t, middleware.AllowUnbound())
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	for subject, want := range map[string]string{
		"alice":             "alice",
		"a b":               "a b",
		" a ":               "%20a%20",
		"a\r\nX-Admin: yes": "a%0D%0AX-Admin: yes",
		"ä":                 "%C3%A4",
		"50%25":             "50%2525",
		"\x00":              "%00",
	} {
		r := subrequest(dialects[forwardauth.NGINX], "GET", "/orders")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.Claim("sub", subject)))
		a := ask(h, r)
		require.Equal(t, 200, a.Code, a.Body)
		require.Equal(t, want, a.Header().Get("X-Auth-Subject"))
		require.Equal(t, "none", a.Header().Get("X-Auth-Binding"))
	}
}

func TestAPreflightIsAnonymous(t *testing.T) {
	w := newWorld(t, middleware.PassPreflights())
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	r := subrequest(dialects[forwardauth.NGINX], "OPTIONS", "/orders")
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("X-Original-Body", "none")
	a := ask(h, r)
	require.Equal(t, 200, a.Code)
	replaced(t, a, "anonymous")
	for _, body := range [][]string{nil, {""}, {"some"}, {"none", "none"}} {
		r.Header["X-Original-Body"] = body
		a := ask(h, r)
		require.Equal(t, 401, a.Code, "a request that may have a body is no preflight")
		replaced(t, a, "refused")
	}
}

func TestEveryMistakeIsReported(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		opts []forwardauth.Option
		want string
	}{
		{"no proxy", nil, "no proxy is trusted"},
		{"a nil option", []forwardauth.Option{nil}, "option 1 is nil"},
		{"no prefix", []forwardauth.Option{forwardauth.WithProxy(forwardauth.NGINX)}, "no trusted prefix for NGINX"},
		{"everything", []forwardauth.Option{forwardauth.WithProxy(forwardauth.NGINX, netip.MustParsePrefix("0.0.0.0/1"))}, "0.0.0.0/1 is far too wide"},
		{"no dialect", []forwardauth.Option{forwardauth.WithProxy(0, proxyPrefix)}, "Dialect(0) is not a Dialect"},
		{"overlapping peers", []forwardauth.Option{forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithProxy(forwardauth.Caddy, netip.MustParsePrefix("10.0.0.0/8"))}, "overlap, for NGINX and Caddy"},
		{"two on sockets", []forwardauth.Option{forwardauth.TrustUnixSocket(forwardauth.NGINX), forwardauth.TrustUnixSocket(forwardauth.Caddy)}, "TrustUnixSocket is given twice"},
		{"a nil logger", []forwardauth.Option{forwardauth.WithLogger(nil)}, "WithLogger: nil"},
		{"a nil signer", []forwardauth.Option{forwardauth.WithAssertion(nil, nil)}, "WithAssertion: nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := forwardauth.New(w.guard, c.opts...)
			require.Nil(t, h)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "forwardauth: ")
		})
	}
	_, err := forwardauth.New(nil, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	require.ErrorContains(t, err, "the Guard: nil")
}

// forwardAuth copies the fields of the client, so that the client could say it.
func TestTraefikDoesNotSayThatThereIsNoBody(t *testing.T) {
	w := newWorld(t, middleware.PassPreflights())
	h := w.handler(t, forwardauth.WithProxy(forwardauth.Traefik, proxyPrefix))
	r := subrequest(dialects[forwardauth.Traefik], "OPTIONS", "/orders")
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("X-Original-Body", "none") // the client's: forwardAuth copies every field
	require.Equal(t, 401, ask(h, r).Code)
}
