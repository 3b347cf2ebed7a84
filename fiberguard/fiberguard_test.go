package fiberguard_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/fiberguard"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

// serve serves app on a loopback address, over TLS if there is a certificate.
func serve(t testing.TB, app *fiber.App, certificates ...tls.Certificate) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = l.Addr().String()
	if len(certificates) > 0 {
		l = tls.NewListener(l, &tls.Config{Certificates: certificates, ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"}})
	}
	go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	t.Cleanup(func() { app.Shutdown() })
	return address
}

// do sends r to the address.
func do(t testing.TB, address string, r *http.Request, overTLS bool, client *mtlspoptest.Client) *http.Response {
	t.Helper()
	r = r.Clone(context.Background())
	r.RequestURI, r.URL.Scheme, r.URL.Host, r.TLS = "", "http", address, nil
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	if overTLS {
		r.URL.Scheme = "https"
	}
	if client != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{client.TLS()}
	}
	a, err := transport.RoundTrip(r)
	require.NoError(t, err)
	body, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	a.Body.Close()
	a.Body = io.NopCloser(bytes.NewReader(body))
	return a
}

func TestDoors(t *testing.T) {
	certificate := mtlspoptest.SelfSigned(t, "api.example").TLS()
	doors.Run(t, doors.Door{Name: "fiber", Folder: "fiberguard", Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
		var mu sync.Mutex
		passed := false
		app := fiber.New(fiber.Config{ReadBufferSize: 256 << 10})
		app.Get("/r", fiberguard.Wrap(g), func(c fiber.Ctx) error {
			mu.Lock()
			defer mu.Unlock()
			_, passed = middleware.FromContext(c.Context())
			return c.SendString("passed")
		})
		plain := sync.OnceValue(func() string { return serve(t, app) })
		secure := sync.OnceValue(func() string { return serve(t, app, certificate) })
		return func(q doors.Question) doors.Answer {
			mu.Lock()
			passed = false
			mu.Unlock()
			address := secure
			if q.Case.Request.Plain {
				address = plain
			}
			if q.Case.Request.Early { // crypto/tls accepts none: a proxy in front says so
				q.Request.Header.Set("Early-Data", "1")
			}
			a := do(t, address(), q.Request, !q.Case.Request.Plain, q.Client)
			mu.Lock()
			defer mu.Unlock()
			return doors.Answer{Passed: passed, Status: a.StatusCode, Header: a.Header}
		}
	}})
}

const origin = "https://api.example"

type world struct {
	issuer *oidctest.Issuer
	key    *dpoptest.Key
	guard  *middleware.Guard
}

func newWorld(t testing.TB, opts ...middleware.Option) *world {
	t.Helper()
	w := &world{issuer: oidctest.NewIssuer(t), key: dpoptest.NewKey(t)}
	var err error
	w.guard, err = middleware.New(append([]middleware.Option{
		middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin)),
	}, opts...)...)
	require.NoError(t, err)
	return w
}

func (w *world) signed(method, target string, changes ...oidctest.Change) *http.Request {
	token := w.issuer.Token(append(changes, oidctest.BoundToKey(w.key.Thumbprint()), oidctest.Scope("orders:read"))...)
	r := httptest.NewRequest(method, target, nil)
	r.Host = "api.example"
	r.Header.Set("Authorization", "DPoP "+token)
	path, _, _ := strings.Cut(target, "?")
	r.Header.Set("DPoP", w.key.Proof(method, origin+path, token))
	return r
}

var large = fiber.Config{ReadBufferSize: 16 << 10}

func TestNestedGuardsAddUpAndVerifyOnce(t *testing.T) {
	w := newWorld(t)
	app := fiber.New(large)
	group := app.Group("/orders", fiberguard.Wrap(w.guard))
	group.Get("/", fiberguard.Wrap(w.guard.Require(middleware.Scopes("orders:read"))), func(c fiber.Ctx) error { return c.SendStatus(204) })
	group.Delete("/", fiberguard.Wrap(w.guard.Require(middleware.Scopes("orders:write"))), func(c fiber.Ctx) error { return c.SendStatus(204) })
	address := serve(t, app)
	require.Equal(t, 204, do(t, address, w.signed("GET", "/orders"), false, nil).StatusCode)
	require.Equal(t, 403, do(t, address, w.signed("DELETE", "/orders"), false, nil).StatusCode)
	require.Equal(t, 401, do(t, address, httptest.NewRequest("GET", "/orders", nil), false, nil).StatusCode)
}

// What the guard removes from a request is removed from Fiber's request as well.
func TestTheHandlerSeesWhatTheGuardLetsItSee(t *testing.T) {
	forwarded := middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.0.0.0/24"))))
	for hidden, opts := range map[bool][]middleware.Option{true: {forwarded, middleware.HideCredentials()}, false: {forwarded, middleware.ForwardBearer()}} {
		w := newWorld(t, opts...)
		app := fiber.New(large)
		var mu sync.Mutex
		seen := make(http.Header)
		app.Get("/orders", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error {
			mu.Lock()
			defer mu.Unlock()
			for name, value := range c.Request().Header.All() {
				seen.Add(string(name), string(value))
			}
			return nil
		})
		r := w.signed("GET", "/orders")
		r.Header["X-Client-Cert"] = []string{"forged", "forged"}
		r.Header["x_client_cert"] = []string{"forged"}
		r.Header["X-Other"] = []string{"a", "b"}
		require.Equal(t, 200, do(t, serve(t, app), r, false, nil).StatusCode)
		mu.Lock()
		require.NotContains(t, fmt.Sprint(seen), "forged")
		require.Equal(t, []string{"a", "b"}, seen["X-Other"])
		require.Empty(t, seen["Dpop"])
		require.Equal(t, "api.example", seen.Get("Host"))
		require.Equal(t, hidden, seen.Get("Authorization") == "")
		require.Equal(t, !hidden, strings.HasPrefix(seen.Get("Authorization"), "Bearer "))
		mu.Unlock()
	}
}

// A guard remembers tokens: what it keeps must not change when Fiber uses its buffers for
// the next request.
func TestTheGuardKeepsNoStringOfFiber(t *testing.T) {
	var mu sync.Mutex
	var kept []string
	var credentials []*middleware.Credential
	w := newWorld(t,
		middleware.WithObserver(func(_ context.Context, o middleware.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, o.Method, o.Path, o.Host, o.Peer)
		}),
		middleware.WithRules(middleware.RuleFunc("keep", func(r *http.Request, c *middleware.Credential) bool {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, r.Method, r.RequestURI, r.Host, r.Header.Get("X-Kept"), r.URL.Path)
			credentials = append(credentials, c)
			return true
		})))
	app := fiber.New(large)
	app.All("/*", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error { return nil })
	address := serve(t, app)
	send := func(method, target, value string) {
		r := w.signed(method, target, oidctest.Claim("sub", value))
		r.Header.Set("X-Kept", value)
		require.Equal(t, 200, do(t, address, r, false, nil).StatusCode)
	}
	send("PATCH", "/orders/first", "first")
	mu.Lock()
	before := fmt.Sprint(kept)
	subject := credentials[0].Token.Subject
	n := len(kept)
	mu.Unlock()
	require.Equal(t, "first", strings.Clone(subject))
	for i := range 30 {
		send("DELETE", fmt.Sprintf("/XXXXXXXXXXXX%d", i), "XXXXX")
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, before, fmt.Sprint(kept[:n]))
	require.Equal(t, "first", credentials[0].Token.Subject)
}

func TestHandlersCannotLoseWhatTheGuardSets(t *testing.T) {
	for name, handler := range map[string]fiber.Handler{
		"nothing": func(fiber.Ctx) error { return nil },
		"public":  func(c fiber.Ctx) error { c.Set("Cache-Control", "public"); return c.SendString("x") },
		"error":   func(fiber.Ctx) error { return fiber.ErrTeapot },
		"panic":   func(fiber.Ctx) error { panic("x") },
		"stream": func(c fiber.Ctx) error {
			c.Set("Cache-Control", "public")
			return c.SendStream(strings.NewReader("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, middleware.ExposeHeaders())
			g, err := middleware.New(
				middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
				middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32)))))),
				middleware.ExposeHeaders(),
			)
			require.NoError(t, err)
			app := fiber.New(large)
			app.Use(recover.New(recover.Config{EnableStackTrace: false}))
			app.Get("/orders", fiberguard.Wrap(g), func(c fiber.Ctx) error { c.Set("Vary", "Accept"); return handler(c) })
			address := serve(t, app)
			a := do(t, address, w.signed("GET", "/orders"), false, nil)
			require.Equal(t, 401, a.StatusCode)
			require.Equal(t, "application/json", a.Header.Get("Content-Type"))
			nonce := a.Header.Get("DPoP-Nonce")
			require.NotEmpty(t, nonce)
			token := w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()))
			r := httptest.NewRequest("GET", "/orders", nil)
			r.Host = "api.example"
			r.Header.Set("Origin", "https://app.example")
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.key.Proof("GET", origin+"/orders", token, dpoptest.Nonce(nonce)))
			a = do(t, address, r, false, nil)
			require.NotEqual(t, 401, a.StatusCode)
			require.Equal(t, []string{"DPoP-Nonce, WWW-Authenticate"}, a.Header.Values("Access-Control-Expose-Headers"))
			require.Contains(t, a.Header.Values("Vary"), "Accept")
		})
	}
}

func TestAPreflightHasNoBody(t *testing.T) {
	w := newWorld(t, middleware.PassPreflights())
	app := fiber.New(large)
	app.Options("/orders", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error { return c.SendStatus(204) })
	address := serve(t, app)
	preflight := func(body string) int {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "OPTIONS /orders HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n%s", body)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		var status int
		_, err = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
		require.NoError(t, err)
		return status
	}
	require.Equal(t, 204, preflight("\r\n"))
	require.Equal(t, 204, preflight("Content-Length: 0\r\n\r\n"))
	require.Equal(t, 401, preflight("Content-Length: 1\r\n\r\nx"))
	require.Equal(t, 401, preflight("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
}

// Fiber routes by a path that it normalizes as configured; the guard judges what came.
func TestTheTargetIsTheOneThatCame(t *testing.T) {
	w := newWorld(t)
	app := fiber.New(large)
	app.All("/*", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error { return c.SendStatus(204) })
	address := serve(t, app)
	for _, target := range []string{"/a/../orders", "//orders", "/or%64ers?x=1;y=2", "/orders%2F1"} {
		r := w.signed("GET", "/")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		path, _, _ := strings.Cut(target, "?")
		raw := func(htu string) int {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			defer conn.Close()
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n\r\n",
				target, token, w.key.Proof("GET", htu, token))
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			var status int
			_, err = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
			require.NoError(t, err)
			return status
		}
		require.Equal(t, 204, raw(origin+path), target)
		require.Equal(t, 401, raw(origin+"/elsewhere"), target)
	}
}

func TestANilGuardIsFoundAtStart(t *testing.T) {
	require.Panics(t, func() { fiberguard.Wrap(nil) })
	app := fiber.New()
	app.Get("/", fiberguard.Wrap(&middleware.Guard{}), func(fiber.Ctx) error { t.Error("the zero Guard lets pass"); return nil })
	require.Equal(t, 503, do(t, serve(t, app), httptest.NewRequest("GET", "/", nil), false, nil).StatusCode)
}

// One connection, such as a proxy's, carries the requests of many users: a request that
// passes leaves nothing to the next one on the connection, pipelined or not.
func TestNothingIsLeftForTheNextRequestOnAConnection(t *testing.T) {
	w := newWorld(t)
	app := fiber.New(large)
	group := app.Group("/orders", fiberguard.Wrap(w.guard))
	group.Get("/", fiberguard.Wrap(w.guard.Require(middleware.Scopes("orders:read"))), func(c fiber.Ctx) error { return c.SendStatus(204) })
	address := serve(t, app)
	write := func(b *bytes.Buffer, r *http.Request) {
		fmt.Fprintf(b, "GET /orders HTTP/1.1\r\nHost: api.example\r\n")
		require.NoError(t, r.Header.Write(b))
		b.WriteString("\r\n")
	}
	for name, pipelined := range map[string]bool{"one after the other": false, "pipelined": true} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			defer conn.Close()
			answers := bufio.NewReader(conn)
			anonymous := httptest.NewRequest("GET", "/orders", nil)
			requests := []*http.Request{w.signed("GET", "/orders"), anonymous, w.signed("GET", "/orders"), anonymous}
			var all bytes.Buffer
			var statuses []int
			for _, r := range requests {
				write(&all, r)
			}
			if pipelined {
				_, err = conn.Write(all.Bytes())
				require.NoError(t, err)
			}
			for _, r := range requests {
				if !pipelined {
					var one bytes.Buffer
					if r != anonymous {
						r = w.signed("GET", "/orders")
					}
					write(&one, r)
					_, err = conn.Write(one.Bytes())
					require.NoError(t, err)
				}
				a, err := http.ReadResponse(answers, r)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, a.Body)
				require.NoError(t, err)
				a.Body.Close()
				statuses = append(statuses, a.StatusCode)
			}
			require.Equal(t, []int{204, 401, 204, 401}, statuses)
		})
	}
}

// A session begins and is kept by cookies, which fasthttp parses and writes by itself.
func TestASession(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.AllowUnbound(),
		middleware.WithSession(session.New([]byte("a key of thirty-two bytes or mor"))),
	)
	require.NoError(t, err)
	app := fiber.New(large)
	var mu sync.Mutex
	var seen string
	app.Get("/", fiberguard.Wrap(guard), func(c fiber.Ctx) error {
		mu.Lock()
		defer mu.Unlock()
		seen = string(c.Request().Header.Peek("Cookie")) + "|" + strings.Clone(c.Cookies("other"))
		c.Cookie(&fiber.Cookie{Name: "own", Value: "1"})
		return nil
	})
	address := serve(t, app)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Token())
	a := do(t, address, r, false, nil)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	cookies := []string{"other=2"}
	names := map[string]bool{}
	for _, line := range a.Header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		names[c.Name] = true
		cookies = append(cookies, c.Name+"="+c.Value)
		if c.Name != "own" {
			require.True(t, c.HttpOnly && c.Secure && c.SameSite != 0, line)
		}
	}
	require.True(t, names["own"])
	require.Len(t, names, 2)
	r = httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", strings.Join(cookies, "; "))
	require.Equal(t, 200, do(t, address, r, false, nil).StatusCode)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, "other=2; own=1|2", seen)
}

// A client writes trailers past a proxy that writes the certificate's field into the
// header: fasthttp puts both in one list.
func TestTrailersAreNoFieldsOfTheHeader(t *testing.T) {
	t.Run("names normalized", func(t *testing.T) { testTrailers(t, large) })
	asTheyCame := large
	asTheyCame.DisableHeaderNormalizing = true
	t.Run("names as they came", func(t *testing.T) { testTrailers(t, asTheyCame) })
}

func testTrailers(t *testing.T, config fiber.Config) {
	client := mtlspoptest.SelfSigned(t, "client")
	w := newWorld(t, middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("127.0.0.1/32")))))
	other := mtlspoptest.SelfSigned(t, "other")
	app := fiber.New(config)
	app.Use(func(c fiber.Ctx) error {
		c.Request().Header.Del("A-Deleted")
		return c.Next()
	})
	var mu sync.Mutex
	var seen [][]byte
	reached := 0
	app.Post("/orders", fiberguard.Wrap(w.guard), func(c fiber.Ctx) error {
		mu.Lock()
		defer mu.Unlock()
		reached++
		for name, value := range c.Request().Header.All() {
			switch http.CanonicalHeaderKey(string(name)) {
			case "X-Client-Cert", "X-Sum", "X-Other":
				seen = append(seen, bytes.Clone(value))
			}
		}
		return c.Send(c.Body())
	})
	address := serve(t, app)
	post := func(t *testing.T, header http.Header, trailer string) int {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		var b bytes.Buffer
		b.WriteString("POST /orders HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n")
		require.NoError(t, header.Write(&b))
		b.WriteString("\r\n2\r\nhi\r\n0\r\n" + trailer + "\r\n")
		_, err = conn.Write(b.Bytes())
		require.NoError(t, err)
		a, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		a.Body.Close()
		return a.StatusCode
	}
	token := "Bearer " + w.issuer.Token(oidctest.BoundToCertificate(client.Certificate))
	certificate := mtlspoptest.Nginx(client)

	require.Equal(t, 200, post(t, http.Header{"Authorization": {token}, "X-Client-Cert": {certificate}}, ""), "the field is in the header")
	require.Equal(t, 401, post(t, http.Header{"Authorization": {token}}, "X-Client-Cert: "+certificate+"\r\n"))
	require.Equal(t, 401, post(t, http.Header{"Authorization": {token}}, "x-client-cert: "+certificate+"\r\n"))

	// The header's own field and a forged trailer: neither counts, in whichever order
	// fasthttp has them after middleware has deleted another field.
	require.Equal(t, 401, post(t, http.Header{"Authorization": {token}, "A-Deleted": {"1"}, "X-Client-Cert": {mtlspoptest.Nginx(other)}}, "X-Client-Cert: "+certificate+"\r\n"))

	signed := w.signed("POST", "/orders").Header
	proof := signed.Get("DPoP")
	delete(signed, "Dpop")
	require.Equal(t, 401, post(t, signed, "DPoP: "+proof+"\r\n"))

	mu.Lock()
	reached, seen = 0, nil
	mu.Unlock()
	signed = w.signed("POST", "/orders").Header
	signed["X-Other"] = []string{"a", "b"}
	require.Equal(t, 200, post(t, signed, "X-Client-Cert: forged\r\nx-client-cert: forged\r\nX-Other: c\r\nx-other: d\r\nX-Sum: 1\r\n"), "trailers do no harm")
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, reached)
	require.Empty(t, seen, "of a name that stands in the trailers too, no value is known to be the header's")
}
