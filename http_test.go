package middleware_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func preflight() *http.Request {
	r := get("/r")
	r.Method = "OPTIONS"
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	return r
}

func TestCORS(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.PassPreflights())...)
	t.Run("HTTP-01 HTTP-02 preflights pass where the option is on, without a credential", func(t *testing.T) {
		a := serve(g, preflight()).accepted(t)
		_, ok := middleware.FromContext(a.seen.Context())
		require.False(t, ok)
		serve(w.guard(), preflight()).refused(t, 401)
	})
	t.Run("HTTP-02 a preflight in a context that was lent has no credential", func(t *testing.T) {
		outer := serve(g, w.dpopRequest("/r")).accepted(t).seen.Context()
		a := serve(g, preflight().WithContext(outer)).accepted(t)
		_, ok := middleware.FromContext(a.seen.Context())
		require.False(t, ok)
	})
	t.Run("HTTP-01 a plain OPTIONS request is no preflight", func(t *testing.T) {
		for _, missing := range []string{"Origin", "Access-Control-Request-Method"} {
			r := preflight()
			r.Header.Del(missing)
			serve(g, r).refused(t, 401)
		}
		r := preflight()
		r.Method = "GET"
		serve(g, r).refused(t, 401)
	})
	t.Run("HTTP-01 G1 no browser sends a preflight with a body or asks with it for another protocol", func(t *testing.T) {
		for name, change := range map[string]func(*http.Request){
			"Upgrade":            func(r *http.Request) { r.Header.Set("Upgrade", "h2c") },
			"Upgrade: websocket": func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
			"an empty Upgrade":   func(r *http.Request) { r.Header["Upgrade"] = []string{""} },
			"a body":             func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 },
			"a body in chunks": func(r *http.Request) {
				r.Body, r.TransferEncoding = io.NopCloser(strings.NewReader("x")), []string{"chunked"}
			},
			"a body of any size":  func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 },
			"two methods to come": func(r *http.Request) { r.Header.Add("Access-Control-Request-Method", "GET") },
		} {
			r := preflight()
			change(r)
			require.Equal(t, 401, serve(g, r).Code, name)
		}
	})
	t.Run("HTTP-03 with the CORS middleware outside, refusals have its fields", func(t *testing.T) {
		rec := httptest.NewRecorder()
		cors := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
				next.ServeHTTP(w, r)
			})
		}
		cors(w.guard().Wrap(http.NotFoundHandler())).ServeHTTP(rec, get("/r"))
		require.Equal(t, 401, rec.Code)
		require.Equal(t, "https://app.example", rec.Header().Get("Access-Control-Allow-Origin"))
	})
	t.Run("HTTP-04 DPOP-11.3-02 the fields that a script needs are exposed beside the application's own", func(t *testing.T) {
		g := w.guard(both(middleware.ExposeHeaders())...)
		for _, r := range []*http.Request{get("/r"), w.dpopRequest("/r")} {
			r.Header.Set("Origin", "https://app.example")
			rec := newRecorderWith("Access-Control-Expose-Headers", "X-Total")
			g.Wrap(http.NotFoundHandler()).ServeHTTP(rec, r)
			require.Equal(t, "X-Total,DPoP-Nonce, WWW-Authenticate", strings.Join(rec.Header()["Access-Control-Expose-Headers"], ","))
		}
		require.Empty(t, serve(g, get("/r")).Header()["Access-Control-Expose-Headers"], "no Origin")
	})
}

func TestHTTP(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	t.Run("HTTP-07 nothing is added to the caching of an accepted response", func(t *testing.T) {
		h := serve(g, w.dpopRequest("/r")).accepted(t).Header()
		require.Empty(t, h["Cache-Control"])
		require.Empty(t, h["Vary"])
	})
	t.Run("HTTP-08 early data is refused before it touches the replay cache", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.TLS = &tls.ConnectionState{}
		a := serve(g, r).refused(t, 425)
		require.Empty(t, a.Header()["Www-Authenticate"])
		r.TLS.HandshakeComplete = true
		for _, value := range []string{"1", "0", ""} {
			r.Header["Early-Data"] = []string{value}
			serve(g, r).refused(t, 425)
		}
		delete(r.Header, "Early-Data")
		serve(g, r).accepted(t)
	})
	t.Run("HTTP-09 a client that came over plain HTTP signs http, which is not the origin", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.TLS = nil
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		r.Header.Set("DPoP", w.proof("GET", "http://api.example/r", token))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("HTTP-09 behind a terminator the connection is plain and the origin is https", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.TLS = nil
		serve(g, r).accepted(t)
	})
	t.Run("HTTP-10 HTTP/1.0 without Host, and other authorities", func(t *testing.T) {
		for _, host := range []string{"", "evil.example", "api.example#x", "api.example@evil.example", "api.example:8443"} {
			r := w.dpopRequest("/r")
			r.Host = host
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
		}
	})
	t.Run("HTTP-11 LIM-01 oversized tokens and proofs are 431 without a challenge", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Set("DPoP", strings.Repeat("a", 8<<10+1))
		require.Empty(t, serve(g, r).refused(t, 431).Header()["Www-Authenticate"])
		r = w.certRequest("/r")
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 16<<10+1))
		require.Empty(t, serve(g, r).refused(t, 431).Header()["Www-Authenticate"])
	})
	t.Run("LIM-01 a proof of just the size that is allowed passes", func(t *testing.T) {
		r := w.dpopRequest("/r")
		at := func(limit int) *middleware.Guard {
			return w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithMaxSize(limit))))
		}
		long := strings.Repeat("x", 1024)
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "), func(c map[string]any) { c["padding"] = long }))
		size := len(r.Header.Get("DPoP"))
		serve(at(size-1), r).refused(t, 431)
		serve(at(size), r).accepted(t)
	})
	t.Run("HTTP-13 by default the request is passed on as it came", func(t *testing.T) {
		r := w.dpopRequest("/r")
		a := serve(g, r).accepted(t)
		require.Equal(t, r.Header, a.seen.Header)
	})
	t.Run("HTTP-13 HideCredentials removes what authenticates", func(t *testing.T) {
		g := w.guard(withDPoP(), middleware.HideCredentials(), middleware.WithMTLS(mtlspop.New(
			mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, netip.MustParsePrefix("192.0.2.1/32")))))
		r := w.dpopRequest("/r")
		r.Header.Set("X-Client-Cert", mtlspoptest.HAProxy(w.cert))
		r.Header.Set("X-Other", "kept")
		a := serve(g, r).accepted(t)
		require.Equal(t, http.Header{"X-Other": {"kept"}}, a.seen.Header)
		require.NotEmpty(t, r.Header["Authorization"], "the caller's request is not changed")
	})
	t.Run("HTTP-13 ForwardBearer makes it a Bearer request", func(t *testing.T) {
		g := w.guard(both(middleware.ForwardBearer())...)
		r := w.dpopRequest("/r")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		a := serve(g, r).accepted(t)
		require.Equal(t, http.Header{"Authorization": {"Bearer " + token}}, a.seen.Header)
	})
	t.Run("HTTP-14 WebSocket: GET for HTTP/1, CONNECT for HTTP/2, the scheme stays https", func(t *testing.T) {
		for _, method := range []string{"GET", "CONNECT"} {
			r := w.dpopRequest("/r")
			r.Method = method
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
			r.Header.Set("DPoP", w.proof(method, "wss://api.example/r", token))
			serve(g, r).refused(t, 401)
			r.Header.Set("DPoP", w.proof(method, "https://api.example/r", token))
			serve(g, r).accepted(t)
		}
	})
	t.Run("URI-12 behind StripPrefix the proof is for what the client asked for", func(t *testing.T) {
		called := false
		h := http.StripPrefix("/v1", g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called = r.URL.Path == "/r" })))
		h.ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/v1/r"))
		require.True(t, called)
	})
	t.Run("URI-13 DPOP-4.3-09b absolute-form and Host do not choose the origin", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Host, r.RequestURI = "evil.example", "https://evil.example/r"
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		r.Header.Set("DPoP", w.proof("GET", "https://evil.example/r", token))
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("Forwarded", "host=evil.example;proto=https")
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("DPOP-4.3-08 X-HTTP-Method-Override is ignored", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Method = "DELETE"
		r.Header.Set("X-HTTP-Method-Override", "GET")
		serve(g, r).refused(t, 401)
	})
}

// RFC 9113, section 8.3.1: net/http's HTTP/2 server hands these on. A guard without an
// origin, which looks at certificates alone, compares neither target nor Host.
func TestHTTP10MalformedRequestsOfHTTP2(t *testing.T) {
	w := newWorld(t)
	g := w.guard(withMTLS())
	for name, edit := range map[string]func(*http.Request){
		"a method with a space":    func(r *http.Request) { r.Method = "GET /admin" },
		"a method with a line end": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX: y\r\n\r\nGET" },
		"a path in absolute form":  func(r *http.Request) { r.RequestURI = "https://evil.example/r" },
		"a path without a slash":   func(r *http.Request) { r.RequestURI = "r" },
		"a Host field of another":  func(r *http.Request) { r.Header["Host"] = []string{"evil.example"} },
		"two Host fields":          func(r *http.Request) { r.Header["Host"] = []string{r.Host, "evil.example"} },
		"an empty Host field":      func(r *http.Request) { r.Header["Host"] = []string{""} },
		"an absolute path for a WebSocket": func(r *http.Request) { // RFC 8441, section 4
			r.Method, r.Header[":protocol"], r.RequestURI = "CONNECT", []string{"websocket"}, "https://evil.example/r"
		},
		"the same where a server has no field for it": func(r *http.Request) { // HTTP/3: RFC 9220
			r.Method, r.ProtoMajor, r.RequestURI = "CONNECT", 3, "https://evil.example/r"
		},
		"an authority that differs": func(r *http.Request) { r.Header["Host"] = []string{r.Host}; r.Host = "evil.example" },
	} {
		r := w.certRequest("/r")
		r.ProtoMajor = 2
		edit(r)
		serve(g, r).refused(t, 400)
		_, err := g.Check(r)
		require.Equal(t, middleware.ErrBadTarget, err, name)
		require.Equal(t, middleware.ErrBadTarget, g.Judge(r.Context(), middleware.RequestOf(r)).Err, name)
	}
	for _, edit := range []func(*http.Request){
		func(*http.Request) {},
		func(r *http.Request) { r.Header["Host"] = []string{strings.ToUpper(r.Host)} },
		func(r *http.Request) { r.Method, r.RequestURI = "OPTIONS", "*" },
		func(r *http.Request) { r.Method, r.Header[":protocol"] = "CONNECT", []string{"websocket"} },
		func(r *http.Request) { r.Method, r.RequestURI = "CONNECT", "api.example:443" },
		func(r *http.Request) { r.ProtoMajor, r.RequestURI = 1, "http://"+r.Host+"/r" }, // RFC 9112, section 3.2.2
	} {
		r := w.certRequest("/r")
		r.ProtoMajor = 2
		edit(r)
		serve(g, r).accepted(t)
	}
	t.Run("the operator is told of middleware outside that changes r.Host", func(t *testing.T) {
		var hint string
		g := w.guard(withMTLS(), middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { hint = o.Hint }))
		r := w.certRequest("/r")
		r.ProtoMajor, r.Header["Host"], r.Host = 2, []string{r.Host}, "changed.example"
		serve(g, r).refused(t, 400)
		require.Contains(t, hint, `"changed.example" unless middleware outside the guard has changed r.Host`)
		r = w.certRequest("/r")
		r.Header["Early-Data"] = []string{"1"}
		serve(g, r).refused(t, 425)
		require.NotContains(t, hint, "HTTP/2")
	})
}

// TestRealServers sends requests over the wire: HTTP/1.1 and HTTP/2, a handler
// that streams, a body in parts.
func TestRealServers(t *testing.T) {
	w := newWorld(t)
	for _, h2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(nil)
		server.EnableHTTP2 = h2
		server.StartTLS()
		t.Cleanup(server.Close)
		g := w.guard(middleware.WithDPoP(dpop.New(server.URL, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte{7}, 32))))), withMTLS())
		var temporary string
		server.Config.Handler = g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if r.Method == "POST" {
				if err := r.ParseMultipartForm(0); err != nil {
					http.Error(w, err.Error(), 500)
					return
				}
				f, err := r.MultipartForm.File["f"][0].Open()
				if err != nil {
					http.Error(w, err.Error(), 500)
					return
				}
				temporary = f.(*os.File).Name()
				f.Close()
			}
			fmt.Fprint(w, "first")
			if err := rc.Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
		}))
		do := func(method, path string, body *bytes.Buffer, contentType, nonce string) *http.Response {
			r, err := http.NewRequest(method, server.URL+path, strings.NewReader(""))
			require.NoError(t, err)
			if body != nil {
				r, err = http.NewRequest(method, server.URL+path, body)
				require.NoError(t, err)
				r.Header.Set("Content-Type", contentType)
			}
			token := w.dpopToken()
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.proof(method, server.URL+strings.SplitN(path, "?", 2)[0], token, func(c map[string]any) { c["nonce"] = nonce }))
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body) // or the server's Flush meets a client that is gone
			require.NoError(t, err)
			return resp
		}
		t.Run(fmt.Sprintf("HTTP-10 HTTP-15 DPOP-4.3-09 h2=%v", h2), func(t *testing.T) {
			challenged := do("GET", "/r?q=1", nil, "", "")
			require.Equal(t, 401, challenged.StatusCode)
			require.Equal(t, h2, challenged.ProtoMajor == 2)
			nonce := challenged.Header.Get("DPoP-Nonce")
			require.Equal(t, 200, do("GET", "/r?q=1", nil, "", nonce).StatusCode)
			require.Equal(t, 200, do("GET", "/a/%2F/%7e//b;c=1", nil, "", nonce).StatusCode)

			var form bytes.Buffer
			m := multipart.NewWriter(&form)
			part, err := m.CreateFormFile("f", "f")
			require.NoError(t, err)
			part.Write(bytes.Repeat([]byte("x"), 1<<16))
			require.NoError(t, m.Close())
			require.Equal(t, 200, do("POST", "/upload", &form, m.FormDataContentType(), nonce).StatusCode)
			require.NotEmpty(t, temporary)
			if !h2 { // net/http's HTTP/2 server of Go 1.27 leaves the file even without a guard
				require.Eventually(t, func() bool { _, err := os.Stat(temporary); return os.IsNotExist(err) }, 5e9, 1e7,
					"the server removes the temporary file of a form that the handler parsed")
			}
			require.NoError(t, os.RemoveAll(temporary))
		})
	}
}

// R5, URI-03, URI-04: a router that does not clean paths gives each of these targets to
// another handler than /orders, so a proof for /orders is none for them.
func TestAProofForOneRouteIsNoneForAnother(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	token := w.dpopToken()
	for _, target := range []string{"/admin/../orders", "/admin/x/../../orders", "/admin/%2e%2e/orders", "/%6frders", "/./orders", "//orders", "/orders/", "/orders/."} {
		r := get(target)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", w.proof("GET", origin+"/orders", token))
		serve(g, r).refused(t, 401)
		own := get(target)
		own.Header.Set("Authorization", "DPoP "+token)
		own.Header.Set("DPoP", w.proof("GET", origin+target, token))
		serve(g, own).accepted(t)
	}
}

// TestOverARawConnection sends what no Go client would.
func TestOverARawConnection(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String()
	g := w.guard(middleware.WithDPoP(dpop.New(base)))
	server.Config.Handler = g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "passed") }))
	server.Start()
	t.Cleanup(server.Close)
	send := func(head string) string {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = io.WriteString(conn, head+"Host: "+server.Listener.Addr().String()+"\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		return string(answer)
	}
	token := w.dpopToken()
	proof := func() string { return w.proof("GET", base+"/r", token) }
	for name, want := range map[string]string{"DPOP-4.1-01 DPoP": " 200 ", "DPOP-4.1-01 dpop": " 200 ", "DPOP-4.1-01 DPOP": " 200 ", "D_PoP": " 401 "} {
		t.Run(name, func(t *testing.T) {
			field := name[strings.IndexByte(name, ' ')+1:]
			require.Contains(t, send("GET /r HTTP/1.1\r\nauthorization: DPoP "+token+"\r\n"+field+": "+proof()+"\r\n"), want)
		})
	}
	t.Run("DPOP-4.3-01 two fields under two spellings", func(t *testing.T) {
		require.Contains(t, send("GET /r HTTP/1.1\r\nAuthorization: DPoP "+token+"\r\nDPoP: "+proof()+"\r\ndpop: "+proof()+"\r\n"), " 401 ")
	})
	t.Run("DPOP-4.1-02 a folded field", func(t *testing.T) {
		require.NotContains(t, send("GET /r HTTP/1.1\r\nAuthorization: DPoP "+token+"\r\nDPoP: "+proof()+"\r\n x\r\n"), "passed")
	})
}

func TestNestedGuards(t *testing.T) {
	w := newWorld(t)
	// nest sends r through guards, the outermost first.
	nest := func(r *http.Request, guards ...*middleware.Guard) (status int, called bool) {
		var h http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })
		for i := len(guards) - 1; i >= 0; i-- {
			h = guards[i].Wrap(h)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code, called
	}
	g := w.guard()
	t.Run("a request is verified once", func(t *testing.T) {
		_, called := nest(w.dpopRequest("/r"), g, g, g.Require(middleware.DPoPBound()))
		require.True(t, called)
		_, called = nest(w.certRequest("/r"), g, g.Require(middleware.CertificateBound()))
		require.True(t, called)
	})
	t.Run("the rules of each guard apply", func(t *testing.T) {
		status, called := nest(w.dpopRequest("/r"), g, g.Require(middleware.Scopes("admin")))
		require.False(t, called)
		require.Equal(t, 403, status)
		status, called = nest(w.certRequest("/r"), g, g.Require(middleware.DPoPBound()))
		require.False(t, called)
		require.Equal(t, 401, status)
	})
	t.Run("a guard with other parts verifies by itself", func(t *testing.T) {
		other := w.guard(withDPoP(), withMTLS()) // its own replay cache, its own token verifier
		_, called := nest(w.dpopRequest("/r"), g, other)
		require.True(t, called)
		strict := w.guard(middleware.WithDPoP(dpop.New("https://other.example")))
		status, called := nest(w.dpopRequest("/r"), g, strict)
		require.False(t, called)
		require.Equal(t, 401, status)
	})
	t.Run("a guard for another audience refuses what the outer one accepted", func(t *testing.T) {
		v := newWorld(t)
		v.issuer = oidctest.NewIssuer(t, oidctest.InMemory("https://second.example"))
		second, err := middleware.New(both(v.tokens())...)
		require.NoError(t, err)
		status, called := nest(w.dpopRequest("/r"), g, second)
		require.False(t, called)
		require.NotEqual(t, 200, status)
	})
	t.Run("inside forwarding and hiding guards the same part still knows the request", func(t *testing.T) {
		forwarding, hiding := middleware.ForwardBearer(), middleware.HideCredentials()
		for _, opt := range []middleware.Option{forwarding, hiding} {
			outer := w.guard(both(opt)...)
			_, called := nest(w.dpopRequest("/r"), outer, outer.Require(middleware.DPoPBound()))
			require.True(t, called)
			status, called := nest(w.dpopRequest("/r"), outer, outer.Require(middleware.Scopes("x")))
			require.False(t, called)
			require.Equal(t, 403, status)
		}
	})
	t.Run("inside a forwarding guard another part still sees the client's scheme", func(t *testing.T) {
		proofs, err := dpop.New(origin)
		require.NoError(t, err)
		outer := w.guard(middleware.WithDPoP(proofs, nil), middleware.ForwardBearer())
		inner := w.guard(middleware.WithDPoP(proofs, nil)) // its own token verifier
		_, called := nest(w.dpopRequest("/r"), outer, inner)
		require.True(t, called)
	})
	t.Run("three levels within a hiding guard", func(t *testing.T) {
		g := w.guard(both(middleware.HideCredentials())...)
		_, called := nest(w.dpopRequest("/r"), g, g, g.Require(middleware.DPoPBound()))
		require.True(t, called)
	})
	t.Run("two Authorization fields within a hiding guard are two", func(t *testing.T) {
		g := w.guard(both(middleware.HideCredentials())...)
		seen := serve(g, w.dpopRequest("/r")).accepted(t).seen
		seen.Header["Authorization"] = []string{"DPoP a", "Bearer b"}
		serve(g, seen).refused(t, 400)
	})
	t.Run("a request made in process with the request's context must bring its own credential", func(t *testing.T) {
		outer := serve(g, w.dpopRequest("/r")).accepted(t).seen
		serve(g, get("/r").WithContext(outer.Context())).refused(t, 401).challenged(t, "DPoP", "Bearer")
		for name, change := range map[string]func(*http.Request){
			"method":        func(r *http.Request) { r.Method = "DELETE" },
			"target":        func(r *http.Request) { r.RequestURI = "/admin" },
			"host":          func(r *http.Request) { r.Host = "other.example" },
			"connection":    func(r *http.Request) { r.TLS = &tls.ConnectionState{HandshakeComplete: true} },
			"token":         func(r *http.Request) { r.Header.Set("Authorization", "DPoP x") },
			"no token":      func(r *http.Request) { r.Header.Del("Authorization") },
			"proof":         func(r *http.Request) { r.Header.Set("DPoP", "x") },
			"second token":  func(r *http.Request) { r.Header.Add("Authorization", "DPoP x") },
			"no RequestURI": func(r *http.Request) { r.RequestURI = "" },
		} {
			inner := outer.Clone(outer.Context())
			change(inner)
			a := serve(g, inner)
			require.False(t, a.called, name)
		}
		serve(g, outer.Clone(outer.Context())).accepted(t) // the very request

		// Made in process itself, a request has no RequestURI to be told by, but its URL.
		inProcess := func() *http.Request {
			r := w.dpopRequest("/r")
			r.RequestURI, r.URL.Scheme, r.URL.Host = "", "https", "api.example"
			return r
		}
		_, called := nest(inProcess(), g, g, g.Require(middleware.DPoPBound()))
		require.True(t, called)
		for name, change := range map[string]func(*http.Request){
			"path":       func(r *http.Request) { r.URL.Path = "/admin" },
			"query":      func(r *http.Request) { r.URL.RawQuery = "x" },
			"RequestURI": func(r *http.Request) { r.RequestURI = "/r" },
			"token":      func(r *http.Request) { r.Header.Del("Authorization") },
		} {
			inner := serve(g, inProcess()).accepted(t).seen
			change(inner)
			require.False(t, serve(g, inner).called, name)
		}
		hiding := w.guard(both(middleware.HideCredentials())...)
		require.False(t, serve(hiding, serve(hiding, inProcess()).accepted(t).seen).called, "nothing tells it from another")
	})
}

func TestBitFlips(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	flip := func(value string, name string, r *http.Request, prefix string) {
		for i := range len(value) * 8 {
			b := []byte(value)
			b[i/8] ^= 1 << (i % 8)
			r.Header[name] = []string{prefix + string(b)}
			if c, err := g.Check(r); err == nil || c != nil {
				t.Fatalf("%s with bit %d flipped was accepted", name, i)
			}
		}
	}
	r := w.dpopRequest("/r")
	token, proof := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "), r.Header.Get("DPoP")
	flip(proof, "Dpop", r, "")
	r.Header["Dpop"] = []string{proof}
	flip(token, "Authorization", r, "DPoP ")
	r.Header["Authorization"] = []string{"DPoP " + token}
	_, err := g.Check(r)
	require.NoError(t, err, "what was flipped is good, and not one of the flipped ones used it up")
}

func TestTheDocumentationTellsWhichHeadersCORSMustAllow(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	t.Run("HTTP-05 Authorization and DPoP by name", func(t *testing.T) {
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(doc), "//", "")), " ")
		require.Contains(t, text, "MUST name Authorization and DPoP in Access-Control-Allow-Headers")
	})
}
