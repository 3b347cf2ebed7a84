package extauthz_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

const origin = "https://api.example"

// told are the fields that replace those of the client.
var told = []string{"X-Auth-Outcome", "X-Auth-Issuer", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Binding", "X-Auth-Assertion"}

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
	var err error
	w.guard, err = middleware.New(append([]middleware.Option{
		middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte("n"), 32))))),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(extauthz.CertificateField, mtlspop.PEM, local))),
		middleware.RequireTLS(local),
	}, opts...)...)
	require.NoError(t, err)
	return w
}

func (w *world) server(t testing.TB, opts ...extauthz.Option) *extauthz.Server {
	t.Helper()
	s, err := extauthz.New(w.guard, append([]extauthz.Option{extauthz.WithEnvoy(local)}, opts...)...)
	require.NoError(t, err)
	return s
}

func request(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "api.example"
	return r
}

// signed adds a token and a proof.
func (w *world) signed(r *http.Request, nonce string) *http.Request {
	token := w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()), oidctest.Scope("orders:read", "orders:write"))
	path, _, _ := strings.Cut(r.RequestURI, "?")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", w.key.Proof(r.Method, origin+path, token, dpoptest.Nonce(nonce)))
	return r
}

// bound adds a token that is bound to a certificate.
func (w *world) bound(r *http.Request, to *mtlspoptest.Client) *http.Request {
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.BoundToCertificate(to.Certificate)))
	return r
}

// nonce asks the service for a nonce.
func (w *world) nonce(t testing.TB, e *envoy) string {
	t.Helper()
	a := e.ask(t, w.signed(request("GET", "/"), "old"), nil)
	require.Equal(t, 401, a.Code)
	return one(t, a.Header(), "DPoP-Nonce")
}

// forged has every spelling of every field, twice.
func forged(r *http.Request) *http.Request {
	for _, name := range told {
		for _, spelling := range []string{name, strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.ToLower(name)} {
			r.Header[spelling] = []string{"forged", "forged"}
		}
	}
	r.Header[extauthz.CertificateField] = []string{"forged"}
	r.Header["X_Envoy_Peer_Certificate"] = []string{"forged"}
	return r
}

// noForged asserts that the service has each field once, and no other spelling of one.
func noForged(t *testing.T, h http.Header, outcome string) {
	t.Helper()
	require.Equal(t, outcome, one(t, h, "X-Auth-Outcome"))
	for _, name := range told {
		require.NotContains(t, one(t, h, name), "forged", name)
	}
	require.NotContains(t, fmt.Sprint(h), "forged")
}

func TestTheIdentityReplacesWhatTheClientSends(t *testing.T) {
	w := newWorld(t)
	for _, merged := range []bool{false, true} {
		var behind service
		e := start(t, w.server(t), &behind)
		e.merged = merged
		nonce := w.nonce(t, e)

		require.Equal(t, 200, e.ask(t, forged(w.signed(request("POST", "/orders?page=2"), nonce)), nil).Code)
		noForged(t, behind.got.Header, "pass")
		require.Equal(t, w.issuer.URL, behind.got.Header.Get("X-Auth-Issuer"))
		require.Equal(t, "orders:read orders:write", behind.got.Header.Get("X-Auth-Scope"))
		require.Equal(t, "dpop", behind.got.Header.Get("X-Auth-Binding"))
		require.NotEmpty(t, behind.got.Header.Get("Authorization"))

		behind.got = nil
		require.Equal(t, 401, e.ask(t, forged(request("GET", "/orders")), nil).Code)
		require.Nil(t, behind.got)

		var public service
		w := &world{guard: w.guard.AllowAnonymous()}
		e = start(t, w.server(t), &public)
		e.merged = merged
		require.Equal(t, 200, e.ask(t, forged(request("GET", "/")), nil).Code)
		noForged(t, public.got.Header, "anonymous")
	}
}

func TestACertificateCountsOnlyIfEnvoyHasSeenIt(t *testing.T) {
	w := newWorld(t)
	var behind service
	e := start(t, w.server(t), &behind)
	forge := func(r *http.Request) *http.Request {
		r.Header.Set(extauthz.CertificateField, mtlspoptest.Nginx(w.cert))
		r.Header.Set("X-Forwarded-Client-Cert", mtlspoptest.Envoy(w.cert))
		return r
	}
	other := mtlspoptest.SelfSigned(t, "mallory")
	require.Equal(t, 200, e.ask(t, w.bound(request("GET", "/"), w.cert), w.cert).Code)
	require.Equal(t, "certificate", behind.got.Header.Get("X-Auth-Binding"))
	require.Empty(t, behind.got.Header[extauthz.CertificateField])
	require.Equal(t, 401, e.ask(t, w.bound(request("GET", "/"), w.cert), nil).Code)
	require.Equal(t, 401, e.ask(t, w.bound(request("GET", "/"), w.cert), other).Code)
	require.Equal(t, 401, e.ask(t, forge(w.bound(request("GET", "/"), w.cert)), nil).Code)
	require.Equal(t, 401, e.ask(t, forge(w.bound(request("GET", "/"), w.cert)), other).Code)
	e.plain = true
	require.Equal(t, 401, e.ask(t, forge(w.bound(request("GET", "/"), w.cert)), w.cert).Code)
}

func TestANonceReachesTheClient(t *testing.T) {
	w := newWorld(t, middleware.ExposeHeaders())
	var behind service
	e := start(t, w.server(t), &behind)
	a := e.ask(t, w.signed(request("GET", "/"), "old"), nil)
	require.Equal(t, 401, a.Code)
	require.Contains(t, one(t, a.Header(), "Content-Type"), "json")
	require.Contains(t, a.Body.String(), "use_dpop_nonce")
	require.Len(t, a.Header()["Www-Authenticate"], 2, "DPoP and Bearer")

	r := w.signed(request("GET", "/"), one(t, a.Header(), "DPoP-Nonce"))
	r.Header.Set("Origin", "https://app.example")
	a = e.ask(t, r, nil)
	require.Equal(t, 200, a.Code)
	require.Equal(t, "the service", a.Body.String())
	require.Contains(t, a.Header()["Vary"], "Accept", "the service's own")
	require.NotEmpty(t, a.Header()["Access-Control-Expose-Headers"])
}

// The options hide from the service what they hide from a handler.
func TestTheServiceSeesWhatAHandlerWouldSee(t *testing.T) {
	for option, want := range map[string]string{"hide": "", "bearer": "Bearer"} {
		opts := []middleware.Option{middleware.HideCredentials()}
		if option == "bearer" {
			opts = []middleware.Option{middleware.ForwardBearer()}
		}
		w := newWorld(t, opts...)
		var behind service
		e := start(t, w.server(t), &behind)
		require.Equal(t, 200, e.ask(t, w.signed(request("GET", "/"), w.nonce(t, e)), nil).Code)
		scheme, _, _ := strings.Cut(behind.got.Header.Get("Authorization"), " ")
		require.Equal(t, want, scheme)
		require.Empty(t, behind.got.Header["Dpop"])
	}
}

func TestAnAssertionIsReadByAReceiver(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	receiver, err := forwardauth.NewReceiver("orders", key.Public(), forwardauth.WithTrustedPeers(netip.MustParsePrefix("192.0.2.0/24")))
	require.NoError(t, err)
	inner, err := middleware.New(middleware.WithTokens(receiver, nil), middleware.AllowUnbound(), middleware.WithRules(middleware.Scopes("orders:read")))
	require.NoError(t, err)
	var subject string
	orders := receiver.Wrap(inner.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, _ := middleware.FromContext(r.Context())
		subject = c.Token.Subject
	})))
	w := newWorld(t)
	e := start(t, w.server(t, extauthz.WithAssertion(extauthz.NewSigner("orders", key))), orders)
	require.Equal(t, 200, e.ask(t, w.signed(request("POST", "/orders?page=2"), w.nonce(t, e)), nil).Code)
	require.NotEmpty(t, subject)

	// Envoy rewrites the path: the assertion is for another one.
	e.next = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RequestURI = "/other"
		orders.ServeHTTP(rw, r)
	})
	require.Equal(t, 401, e.ask(t, w.signed(request("POST", "/orders"), w.nonce(t, e)), nil).Code)
}

func TestOnlyTrustedPeersAsk(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	s, err := extauthz.New(w.guard, extauthz.WithEnvoy(netip.MustParsePrefix("10.0.0.0/24")), extauthz.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	var behind service
	e := start(t, s, &behind)
	require.Equal(t, 403, e.ask(t, w.signed(request("GET", "/"), ""), nil).Code)
	require.Equal(t, 403, e.ask(t, w.signed(request("GET", "/"), ""), nil).Code)
	require.Nil(t, behind.got)
	require.Equal(t, 1, strings.Count(log.String(), "not trusted"))

	require.Equal(t, 403, start(t, &extauthz.Server{}, &behind).ask(t, request("GET", "/"), nil).Code)
	answer, err := s.Check(t.Context(), nil) // without a peer
	require.NoError(t, err)
	require.EqualValues(t, 403, answer.GetDeniedResponse().GetStatus().GetCode())
}

func TestAPeerOnAUnixSocketIsTrustedIfTheOperatorSaysSo(t *testing.T) {
	w := newWorld(t)
	for _, trusted := range []bool{true, false} {
		opts := []extauthz.Option{extauthz.WithEnvoy(local)}
		if trusted {
			opts = append(opts, extauthz.TrustUnixSocket())
		}
		s, err := extauthz.New(w.guard.AllowAnonymous(), opts...)
		require.NoError(t, err)
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		require.NoError(t, err)
		var behind service
		e := startOn(t, s, l, &behind)
		// RequireTLS trusts no unix socket here, so that a trusted question gets 400.
		require.Equal(t, map[bool]int{true: 400, false: 403}[trusted], e.ask(t, request("GET", "/"), nil).Code)
	}
}

// trusted is the context of a question from a trusted peer.
func trusted(t testing.TB) context.Context {
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4567}
	return peer.NewContext(t.Context(), &peer.Peer{Addr: a, LocalAddr: a})
}

func TestAQuestionThatIsNoneIsDenied(t *testing.T) {
	w := newWorld(t)
	s, err := extauthz.New(w.guard.AllowAnonymous(), extauthz.WithEnvoy(local))
	require.NoError(t, err)
	e := &envoy{}
	ask := func(edit func(*authv3.CheckRequest, *authv3.AttributeContext_HttpRequest)) int {
		q := e.question(request("GET", "/"), nil)
		edit(q, q.GetAttributes().GetRequest().GetHttp())
		a, err := s.Check(trusted(t), q)
		require.NoError(t, err)
		if a.GetStatus().GetCode() == 0 {
			return 200
		}
		require.Nil(t, a.GetOkResponse())
		return int(a.GetDeniedResponse().GetStatus().GetCode())
	}
	type request = authv3.CheckRequest
	type http = authv3.AttributeContext_HttpRequest
	require.Equal(t, 200, ask(func(*request, *http) {}))
	require.Equal(t, 500, ask(func(q *request, _ *http) { q.Attributes = nil }))
	require.Equal(t, 500, ask(func(q *request, _ *http) { q.Attributes.Request.Http = nil }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.Method = "" }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.Path = "" }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.Host = "" }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.Query = "access_token=x" }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.Fragment = "x" }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.HeaderMap = nil }))
	require.Equal(t, 500, ask(func(_ *request, h *http) { h.HeaderMap.Headers = append(h.HeaderMap.Headers, nil) }))
	require.Equal(t, 400, ask(func(_ *request, h *http) { h.Path = "no target" }))
	require.Equal(t, 401, ask(func(_ *request, h *http) { h.Path = "/?access_token=x" }))

	// Both forms at once do not hide a field in one of them.
	require.Equal(t, 400, ask(func(_ *request, h *http) {
		h.Headers = map[string]string{"authorization": "Bearer a"}
		h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: "Authorization", Value: "Bearer b"})
	}))
	require.Equal(t, 401, ask(func(_ *request, h *http) { h.Headers = map[string]string{"AUTHORIZATION": "Bearer a"} }))
}

// After an error, an Envoy with failure_mode_allow would let the request pass.
func TestWhatCannotBeDecidedIsDenied(t *testing.T) {
	w := newWorld(t)
	var behind service
	e := start(t, w.server(t, extauthz.WithAssertion(extauthz.NewSigner("orders", panicking{newKey(t)}))), &behind)
	e.allow = true
	require.Equal(t, 503, e.ask(t, w.signed(request("GET", "/"), w.nonce(t, e)), nil).Code)
	require.Nil(t, behind.got)

	e = start(t, w.server(t, extauthz.WithAssertion(extauthz.NewSigner("orders", failing{newKey(t)}))), &behind)
	e.allow = true
	require.Equal(t, 503, e.ask(t, w.signed(request("GET", "/"), w.nonce(t, e)), nil).Code)
	require.Nil(t, behind.got)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

type panicking struct{ *ecdsa.PrivateKey }

func (panicking) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic("no key") }

type failing struct{ *ecdsa.PrivateKey }

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, io.EOF }

func TestAPreflightIsKnownWhereItsBodyIs(t *testing.T) {
	w := newWorld(t, middleware.PassPreflights())
	var behind service
	e := start(t, w.server(t), &behind)
	preflight := func(proto string) *http.Request {
		r := request("OPTIONS", "/")
		r.Proto = proto
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		return r
	}
	require.Equal(t, 200, e.ask(t, forged(preflight("HTTP/1.1")), nil).Code)
	noForged(t, behind.got.Header, "anonymous")
	require.Equal(t, 401, e.ask(t, preflight("HTTP/2"), nil).Code)
	chunked := preflight("HTTP/1.1")
	chunked.Header.Set("Transfer-Encoding", "chunked")
	require.Equal(t, 401, e.ask(t, chunked, nil).Code)
	long := preflight("HTTP/1.1")
	long.Header.Set("Content-Length", "5")
	require.Equal(t, 401, e.ask(t, long, nil).Code)
}

// The guard throttles unknown clients by the address that Envoy reports.
func TestCallerAddress(t *testing.T) {
	var seen netip.Addr
	w := newWorld(t, middleware.WithRules(middleware.RuleFunc("look", func(r *http.Request, _ *middleware.Credential) bool {
		seen = extauthz.CallerAddress(r)
		return true
	})))
	var behind service
	e := start(t, w.server(t), &behind)
	require.Equal(t, 200, e.ask(t, w.bound(request("GET", "/"), w.cert), w.cert).Code)
	require.Equal(t, netip.MustParseAddr("192.0.2.1"), seen)
	require.False(t, extauthz.CallerAddress(request("GET", "/")).IsValid())
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := extauthz.New(nil, nil, extauthz.WithEnvoy(), extauthz.WithEnvoy(netip.MustParsePrefix("0.0.0.0/0")),
		extauthz.WithAssertion(extauthz.NewSigner("", nil)), extauthz.WithAssertion(&extauthz.Signer{}, nil), extauthz.WithLogger(nil))
	require.Error(t, err)
	for _, text := range []string{"Guard", "no trusted prefix", "0.0.0.0/0", "no name", "WithAssertion", "WithLogger"} {
		require.ErrorContains(t, err, text)
	}
	_, err = extauthz.New(newWorld(t).guard)
	require.ErrorContains(t, err, "no peer is trusted")
}

func TestASignerDoesNotPrintItsKey(t *testing.T) {
	key := newKey(t)
	s, err := extauthz.NewSigner("orders", key)
	require.NoError(t, err)
	secret, err := key.Bytes()
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		printed := fmt.Sprintf(verb, s)
		require.NotContains(t, printed, fmt.Sprint(new(big.Int).SetBytes(secret)))
		require.NotContains(t, printed, fmt.Sprint(secret))
	}
	require.Contains(t, fmt.Sprint(s), "orders")
	require.Contains(t, fmt.Sprint((*extauthz.Signer)(nil), &extauthz.Signer{}), "none")
}

func TestASession(t *testing.T) {
	w := newWorld(t, middleware.AllowUnbound(), middleware.WithSession(session.New([]byte("a key of thirty-two bytes or mor"))))
	var seen string
	e := start(t, w.server(t), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = strings.Join(r.Header["Cookie"], "|")
		rw.Header().Set("Set-Cookie", "own=1")
		rw.Header().Set("Cache-Control", "public")
	}))
	r := request("GET", "/")
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
	a := e.ask(t, r, nil)
	require.Equal(t, 200, a.Code)
	require.Equal(t, "no-store", one(t, a.Header(), "Cache-Control"))
	require.Len(t, a.Header()["Set-Cookie"], 2, "the service's and the session's")
	cookies := []string{"other=2"}
	for _, line := range a.Header()["Set-Cookie"] {
		cookie, _, _ := strings.Cut(line, ";")
		cookies = append(cookies, cookie)
	}
	r = request("GET", "/")
	r.Header.Set("Cookie", strings.Join(cookies, "; "))
	a = e.ask(t, r, nil)
	require.Equal(t, 200, a.Code)
	require.Equal(t, "other=2; own=1", seen)
	require.Contains(t, strings.Join(a.Header()["Cache-Control"], ", "), "private")
}
