package ginguard_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/ginguard"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func init() { gin.SetMode(gin.ReleaseMode) }

func TestDoors(t *testing.T) {
	doors.Run(t, doors.Door{Name: "gin", Folder: "ginguard", Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
		passed := false
		router := gin.New()
		router.GET("/r", ginguard.Wrap(g), func(c *gin.Context) {
			passed = true
			_, ok := middleware.FromContext(c.Request.Context())
			require.True(t, ok)
		})
		return func(q doors.Question) doors.Answer {
			passed = false
			rec := httptest.NewRecorder()
			router.ServeHTTP(rec, q.Request)
			return doors.Answer{Passed: passed, Status: rec.Code, Header: rec.Header()}
		}
	}})
}

const origin = "https://api.example"

type world struct {
	issuer *oidctest.Issuer
	key    *dpoptest.Key
	guard  *middleware.Guard
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{issuer: oidctest.NewIssuer(t), key: dpoptest.NewKey(t)}
	var err error
	w.guard, err = middleware.New(
		middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces([]byte("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"))))),
		middleware.ExposeHeaders(), // so that each response has fields to answer for
	)
	require.NoError(t, err)
	return w
}

// signed is a good request, with a nonce that the service h has given.
func (w *world) signed(t testing.TB, h http.Handler, method, target string) *http.Request {
	t.Helper()
	token := w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint()), oidctest.Scope("orders:read"))
	request := func(nonce string) *http.Request {
		r := httptest.NewRequest(method, target, nil)
		r.Host = "api.example"
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", w.key.Proof(method, origin+target, token, dpoptest.Nonce(nonce)))
		return r
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request("old"))
	require.Equal(t, 401, rec.Code)
	return request(rec.Header().Get("DPoP-Nonce"))
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestNoHandlerBehindARefusalRuns(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	ran := 0
	count := func(*gin.Context) { ran++ }
	router.GET("/orders", ginguard.Wrap(w.guard), count, count)
	a := serve(router, httptest.NewRequest("GET", "/orders", nil))
	require.Equal(t, 401, a.Code)
	require.Zero(t, ran)
	require.Equal(t, 401, serve(router, httptest.NewRequest("GET", "/orders", nil)).Code)
	require.Zero(t, ran)
}

func TestNestedGuardsAddUpAndVerifyOnce(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	group := router.Group("/orders", ginguard.Wrap(w.guard))
	group.GET("", ginguard.Wrap(w.guard.Require(middleware.Scopes("orders:read"))), func(c *gin.Context) { c.Status(204) })
	group.DELETE("", ginguard.Wrap(w.guard.Require(middleware.Scopes("orders:write"))), func(c *gin.Context) { c.Status(204) })
	require.Equal(t, 204, serve(router, w.signed(t, router, "GET", "/orders")).Code)
	require.Equal(t, 403, serve(router, w.signed(t, router, "DELETE", "/orders")).Code)
}

// Whatever a handler does to the header, the response has what the guard answers for.
func TestHandlersCannotLoseWhatTheGuardSets(t *testing.T) {
	clear := func(c *gin.Context) {
		for name := range c.Writer.Header() {
			delete(c.Writer.Header(), name)
		}
	}
	for name, handler := range map[string]gin.HandlerFunc{
		"JSON":           func(c *gin.Context) { clear(c); c.JSON(200, gin.H{}) },
		"status, fields": func(c *gin.Context) { c.Status(200); clear(c); c.Writer.WriteString("x") },
		"status alone":   func(c *gin.Context) { c.Status(200); clear(c) },
		"nothing":        clear,
		"now":            func(c *gin.Context) { c.Status(200); clear(c); c.Writer.WriteHeaderNow() },
		"flush":          func(c *gin.Context) { clear(c); c.Writer.Flush() },
		"redirect":       func(c *gin.Context) { clear(c); c.Redirect(302, "/") },
		"abort":          func(c *gin.Context) { clear(c); c.AbortWithStatus(500) },
		"panic":          func(c *gin.Context) { clear(c); panic("x") },
		"hijack": func(c *gin.Context) {
			conn, rw, err := c.Writer.Hijack()
			if err != nil {
				panic(err)
			}
			rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n")
			c.Writer.Header().Write(rw)
			rw.WriteString("\r\n")
			rw.Flush()
			conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			router := gin.New()
			router.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }))
			router.GET("/orders", ginguard.Wrap(w.guard), handler)
			server := httptest.NewServer(router)
			defer server.Close()
			r := w.signed(t, router, "GET", "/orders")
			r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", server.Listener.Addr().String()
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			a, err := client.Do(r)
			require.NoError(t, err)
			a.Body.Close()
			require.Contains(t, a.Header.Values("Access-Control-Expose-Headers"), "DPoP-Nonce, WWW-Authenticate")
		})
	}
}

func TestTheWriterIsStillGins(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	var status, size int
	router.Use(func(c *gin.Context) { c.Next(); status, size = c.Writer.Status(), c.Writer.Size() })
	router.GET("/orders", ginguard.Wrap(w.guard), func(c *gin.Context) {
		_, ok := c.Writer.(io.ReaderFrom)
		require.False(t, ok)
		require.NoError(t, http.NewResponseController(c.Writer).Flush())
		c.String(200, "four")
	})
	require.Equal(t, 200, serve(router, w.signed(t, router, "GET", "/orders")).Code)
	require.Equal(t, 200, status)
	require.Equal(t, 4, size)
}

// HTTP/2 without TLS, with prior knowledge: each request on the connection is guarded.
func TestEachRequestOverH2CIsGuarded(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	router.UseH2C = true
	router.GET("/orders", ginguard.Wrap(w.guard), func(c *gin.Context) { c.Status(204) })
	server := httptest.NewServer(router.Handler())
	defer server.Close()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	send := func(r *http.Request) int {
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", server.Listener.Addr().String()
		a, err := transport.RoundTrip(r)
		require.NoError(t, err)
		a.Body.Close()
		require.Equal(t, 2, a.ProtoMajor)
		return a.StatusCode
	}
	require.Equal(t, 401, send(httptest.NewRequest("GET", "/orders", nil)))
	require.Equal(t, 204, send(w.signed(t, router, "GET", "/orders")))
	require.Equal(t, 401, send(httptest.NewRequest("GET", "/orders", nil)))
}

// Middleware in front replaces the request: the guard judges the request line that came.
func TestAReplacedRequestChangesNoVerdict(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	router.Use(func(c *gin.Context) {
		r := c.Request.Clone(c.Request.Context())
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/elsewhere", "", ""
		c.Request = r
	})
	router.GET("/orders", ginguard.Wrap(w.guard), func(c *gin.Context) { c.Status(204) })
	require.Equal(t, 204, serve(router, w.signed(t, router, "GET", "/orders")).Code)
	require.Equal(t, 400, serve(router, httptest.NewRequest("GET", "/orders?access_token=x", nil)).Code/100*100)
}

func TestUnknownRoutes(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	router.Group("/orders", ginguard.Wrap(w.guard)).GET("", func(*gin.Context) {})
	require.Equal(t, 404, serve(router, httptest.NewRequest("GET", "/orders/unknown", nil)).Code)
	guarded := gin.New()
	guarded.Use(ginguard.Wrap(w.guard))
	require.Equal(t, 401, serve(guarded, httptest.NewRequest("GET", "/orders/unknown", nil)).Code)
}

func TestANilGuardIsFoundAtStart(t *testing.T) {
	require.Panics(t, func() { ginguard.Wrap(nil) })
	router := gin.New()
	router.GET("/", ginguard.Wrap(&middleware.Guard{}), func(*gin.Context) { t.Error("the zero Guard lets pass") })
	require.Equal(t, 503, serve(router, httptest.NewRequest("GET", "/", nil)).Code)
}

// HandleContext routes a request anew: the rules of the new route hold.
func TestARequestThatIsRoutedAnewIsJudgedAnew(t *testing.T) {
	w := newWorld(t)
	router := gin.New()
	router.GET("/orders", ginguard.Wrap(w.guard), func(c *gin.Context) {
		c.Request.URL.Path = "/admin"
		router.HandleContext(c)
	})
	router.GET("/admin", ginguard.Wrap(w.guard.Require(middleware.Scopes("admin"))), func(*gin.Context) { t.Error("reached") })
	require.Equal(t, 403, serve(router, w.signed(t, router, "GET", "/orders")).Code)
}
