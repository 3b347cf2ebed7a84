package middleware_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/session"
)

// agingNonces are always near the end of their lives, so that every response
// carries a new one.
type agingNonces struct{}

func (agingNonces) Issue(context.Context) (string, error) { return "a-fresh-nonce", nil }

func (agingNonces) IssuedAt(context.Context, string) (at time.Time, ok bool, err error) {
	return time.Now().Add(-50 * time.Second), true, nil
}

// served is a real server with a guard that has something to say in each field.
type served struct {
	*httptest.Server
	w     *world
	token string
}

// serveAll starts a server whose guard sets a session cookie, a nonce, Vary for
// the cookie, and exposes its fields.
func serveAll(t *testing.T, h2 bool, handler http.Handler, opts ...middleware.Option) *served {
	t.Helper()
	w := newWorld(t)
	server := httptest.NewUnstartedServer(nil)
	g := w.guard(append([]middleware.Option{
		middleware.WithDPoP(dpop.New("https://"+server.Listener.Addr().String(), dpop.WithNonces(agingNonces{}, nil))),
		middleware.WithMTLS(mtlspop.New()),
		withSession(), middleware.ExposeHeaders(),
	}, opts...)...)
	server.Config.Handler = g.Wrap(handler)
	server.EnableHTTP2 = h2
	server.StartTLS()
	t.Cleanup(server.Close)
	return &served{server, w, w.dpopToken()}
}

// request is a good one, in the session of cookies if there are any.
func (s *served) request(t *testing.T, method, path, cookies string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, body)
	require.NoError(t, err)
	r.Header.Set("Origin", s.URL)
	if cookies == "" {
		r.Header.Set("Authorization", "DPoP "+s.token)
	} else {
		r.Header.Set("Cookie", cookies)
	}
	r.Header.Set("DPoP", s.w.proof(method, s.URL+path, s.token, func(c map[string]any) { c["nonce"] = "a-fresh-nonce" }))
	return r
}

func (s *served) do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// informed sends an informational response the way that httputil.ReverseProxy does.
func informed(status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(status)
		clear(w.Header())
	}
}

func TestTheGuardsFieldsAreInEveryFinalResponse(t *testing.T) {
	// HTTP-15: each row is what a handler does before its response.
	before := map[string]func(http.ResponseWriter){
		"nothing":                    func(http.ResponseWriter) {},
		"102":                        informed(102),
		"103":                        informed(103),
		"103 twice":                  func(w http.ResponseWriter) { informed(103)(w); informed(103)(w) },
		"a header map that is clear": func(w http.ResponseWriter) { clear(w.Header()) },
		"fields that are overwritten": func(w http.ResponseWriter) {
			w.Header().Set("Cache-Control", "public, max-age=600")
			w.Header().Set("DPoP-Nonce", "of a backend")
			w.Header().Set("Vary", "Accept")
			w.Header().Set("Set-Cookie", "theme=dark")
			w.Header().Set("Access-Control-Expose-Headers", "X-Total")
		},
		"fields that are added": func(w http.ResponseWriter) {
			w.Header().Add("Cache-Control", "public, max-age=600")
			w.Header().Add("DPoP-Nonce", "of a backend")
		},
	}
	// Each row is a way in which a response begins.
	begin := map[string]func(http.ResponseWriter){
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(200); io.WriteString(w, "hello") },
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("hello")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "hello") },
		"ReadFrom":    func(w http.ResponseWriter) { io.Copy(w, struct{ io.Reader }{strings.NewReader("hello")}) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); io.WriteString(w, "hello") },
		"FlushError":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush(); io.WriteString(w, "hello") },
		"Unwrap": func(w http.ResponseWriter) {
			if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
				w = u.Unwrap()
			}
			io.WriteString(w, "hello")
		},
		"the end of the handler": func(http.ResponseWriter) {},
		"an error page":          func(w http.ResponseWriter) { http.Error(w, "hello", 404) },
		"a file that is missing": func(w http.ResponseWriter) {
			http.ServeFileFS(w, httptest.NewRequest("GET", "/none", nil), os.DirFS("testdata"), "none")
		},
	}
	for _, h2 := range []bool{false, true} {
		for name, prepare := range before {
			for how, answer := range begin {
				t.Run(fmt.Sprintf("h2=%v %s, then %s", h2, name, how), func(t *testing.T) {
					s := serveAll(t, h2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { prepare(w); answer(w) }))
					resp, _ := s.do(t, s.request(t, "GET", "/r", "", nil))
					require.Equal(t, h2, resp.ProtoMajor == 2)
					require.Equal(t, []string{"a-fresh-nonce"}, resp.Header["Dpop-Nonce"])
					require.Equal(t, []string{"no-store"}, resp.Header["Cache-Control"])
					require.Contains(t, strings.Join(resp.Header["Access-Control-Expose-Headers"], ","), "DPoP-Nonce, WWW-Authenticate")
					var names []string
					for _, c := range resp.Cookies() {
						names = append(names, c.Name)
					}
					require.Contains(t, names, "__Host-session")

					resp, _ = s.do(t, s.request(t, "GET", "/r", (&answered{resp}).cookies(), nil))
					require.Contains(t, strings.Join(resp.Header["Vary"], ","), "Cookie")
				})
			}
		}
	}
}

type answered struct{ *http.Response }

func (a *answered) cookies() string {
	var all []string
	for _, c := range a.Response.Cookies() {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

func TestTheGuardsFieldsPassAReverseProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(103)
			w.Header().Del("Link")
		case "/slow":
			w.WriteHeader(102)
		case "/switch":
			w.WriteHeader(103)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			rw.Flush()
			io.Copy(conn, rw)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Cache-Control", "public, max-age=600")
		fmt.Fprint(w, "hello")
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	for _, h2 := range []bool{false, true} {
		s := serveAll(t, h2, proxy)
		check := func(t *testing.T, h http.Header) {
			require.Equal(t, []string{"a-fresh-nonce"}, h["Dpop-Nonce"])
			require.Equal(t, []string{"no-store"}, h["Cache-Control"])
			require.Contains(t, h.Get("Set-Cookie"), "__Host-session")
			require.NotEmpty(t, h["Access-Control-Expose-Headers"])
		}
		for _, path := range []string{"/plain", "/hints", "/slow"} {
			t.Run(fmt.Sprintf("HTTP-15 h2=%v %s", h2, path), func(t *testing.T) {
				var informational []int
				var mu sync.Mutex
				r := s.request(t, "GET", path, "", nil)
				r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
					mu.Lock()
					defer mu.Unlock()
					informational = append(informational, code)
					return nil
				}}))
				resp, body := s.do(t, r)
				require.Equal(t, "hello", body)
				check(t, resp.Header)
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, informational, map[string]int{"/hints": 1, "/slow": 1}[path], "1xx responses arrive")
			})
		}
		t.Run(fmt.Sprintf("HTTP-15 h2=%v 100 after Expect", h2), func(t *testing.T) {
			r := s.request(t, "POST", "/plain", "", strings.NewReader("hello"))
			r.Header.Set("Expect", "100-continue")
			resp, _ := s.do(t, r)
			check(t, resp.Header)
		})
	}
	t.Run("HTTP-15 101 after 103", func(t *testing.T) {
		s := serveAll(t, false, proxy)
		r := s.request(t, "GET", "/switch", "", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, 101, resp.StatusCode)
		check := resp.Body.(io.ReadWriter)
		_, err = io.WriteString(check, "ping")
		require.NoError(t, err)
		echo := make([]byte, 4)
		_, err = io.ReadFull(check, echo)
		require.NoError(t, err)
		require.Equal(t, "ping", string(echo))
		require.Equal(t, "a-fresh-nonce", resp.Header.Get("DPoP-Nonce"))
		require.Contains(t, resp.Header.Get("Set-Cookie"), "__Host-session")
	})
}

func TestRefusalsKeepTheirFieldsThroughADenyHandler(t *testing.T) {
	for name, deny := range map[string]func(http.ResponseWriter, *http.Request, middleware.Denial){
		"HTTP-15 103 first": func(w http.ResponseWriter, _ *http.Request, d middleware.Denial) {
			informed(103)(w)
			w.WriteHeader(d.Status)
		},
		"HTTP-15 a clear map": func(w http.ResponseWriter, _ *http.Request, d middleware.Denial) {
			clear(w.Header())
			w.WriteHeader(d.Status)
		},
		"HTTP-15 http.Error": func(w http.ResponseWriter, _ *http.Request, d middleware.Denial) { http.Error(w, "no", d.Status) },
		"HTTP-15 cacheable pages": func(w http.ResponseWriter, _ *http.Request, d middleware.Denial) {
			w.Header().Set("Cache-Control", "public")
			w.WriteHeader(d.Status)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveAll(t, false, http.NotFoundHandler(), middleware.WithDenyHandler(deny))
			r := s.request(t, "GET", "/r", "", nil)
			r.Header.Del("Authorization")
			resp, _ := s.do(t, r)
			require.Equal(t, 401, resp.StatusCode)
			require.Len(t, resp.Header["Www-Authenticate"], 2)
			require.Equal(t, []string{"no-store"}, resp.Header["Cache-Control"])
			require.Equal(t, []string{"a-fresh-nonce"}, resp.Header["Dpop-Nonce"])
			require.NotEmpty(t, resp.Header["Access-Control-Expose-Headers"])
		})
	}
}

func TestTheGuardsFieldsAreInASwitchOfProtocols(t *testing.T) {
	// HTTP-15: 101 is final.
	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.guard(both(withSession())...).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clear(w.Header())
		w.WriteHeader(101)
	})).ServeHTTP(rec, w.dpopRequest("/r"))
	require.Contains(t, rec.Result().Header.Get("Set-Cookie"), "__Host-session")
}

func TestAHandlerCanStillEndTheSession(t *testing.T) {
	s := serveAll(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/logout" {
			w.Header().Del("Set-Cookie")
			http.SetCookie(w, &http.Cookie{Name: "__Host-session", Path: "/", Secure: true, MaxAge: -1})
		}
	}))
	resp, _ := s.do(t, s.request(t, "GET", "/logout", "", nil))
	cookies := resp.Cookies()
	require.Len(t, cookies, 1)
	require.Negative(t, cookies[0].MaxAge)
}

// writerWith is a ResponseWriter with chosen optional interfaces.
type (
	plainWriter struct{ http.ResponseWriter }
	withHijack  struct{ plainWriter }
	withRead    struct{ plainWriter }
	withPush    struct{ plainWriter }
)

func (withHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errHijacked }
func (withPush) Push(string, *http.PushOptions) error           { return errPushed }
func (w withRead) ReadFrom(r io.Reader) (int64, error)          { return io.Copy(w.plainWriter, r) }

var errHijacked, errPushed = fmt.Errorf("hijacked"), fmt.Errorf("pushed")

func TestTheWriterHasTheInterfacesOfTheServers(t *testing.T) {
	rec := httptest.NewRecorder()
	plain := plainWriter{rec}
	flush, hijack, read, push := http.Flusher(rec), http.Hijacker(withHijack{plain}), io.ReaderFrom(withRead{plain}), http.Pusher(withPush{plain})
	writers := []http.ResponseWriter{
		plain,
		struct {
			http.ResponseWriter
			http.Flusher
		}{plain, flush},
		struct {
			http.ResponseWriter
			http.Hijacker
		}{plain, hijack},
		struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
		}{plain, flush, hijack},
		struct {
			http.ResponseWriter
			io.ReaderFrom
		}{plain, read},
		struct {
			http.ResponseWriter
			http.Flusher
			io.ReaderFrom
		}{plain, flush, read},
		struct {
			http.ResponseWriter
			http.Hijacker
			io.ReaderFrom
		}{plain, hijack, read},
		struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
			io.ReaderFrom
		}{plain, flush, hijack, read},
		struct {
			http.ResponseWriter
			http.Pusher
		}{plain, push},
		struct {
			http.ResponseWriter
			http.Flusher
			http.Pusher
		}{plain, flush, push},
		struct {
			http.ResponseWriter
			http.Hijacker
			http.Pusher
		}{plain, hijack, push},
		struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
			http.Pusher
		}{plain, flush, hijack, push},
		struct {
			http.ResponseWriter
			io.ReaderFrom
			http.Pusher
		}{plain, read, push},
		struct {
			http.ResponseWriter
			http.Flusher
			io.ReaderFrom
			http.Pusher
		}{plain, flush, read, push},
		struct {
			http.ResponseWriter
			http.Hijacker
			io.ReaderFrom
			http.Pusher
		}{plain, hijack, read, push},
		struct {
			http.ResponseWriter
			http.Flusher
			http.Hijacker
			io.ReaderFrom
			http.Pusher
		}{plain, flush, hijack, read, push},
	}
	w := newWorld(t)
	sessions, err := session.New(sessionKey)
	require.NoError(t, err)
	g := w.guard(both(middleware.WithSession(sessions, nil))...)
	for i, writer := range writers {
		t.Run(fmt.Sprintf("HTTP-15 combination %04b", i), func(t *testing.T) {
			g.Wrap(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) {
				require.NotEqual(t, writer, got)
				_, has := writer.(http.Flusher)
				_, kept := got.(http.Flusher)
				require.Equal(t, has, kept, "Flusher")
				_, kept = got.(interface{ FlushError() error })
				require.Equal(t, has, kept, "FlushError")

				_, has = writer.(http.Hijacker)
				_, kept = got.(http.Hijacker)
				require.Equal(t, has, kept, "Hijacker")
				if has {
					_, _, err := http.NewResponseController(got).Hijack()
					require.ErrorIs(t, err, errHijacked)
				}
				_, has = writer.(io.ReaderFrom)
				_, kept = got.(io.ReaderFrom)
				require.Equal(t, has, kept, "ReaderFrom")

				_, has = writer.(http.Pusher)
				pusher, kept := got.(http.Pusher)
				require.Equal(t, has, kept, "Pusher")
				if has {
					require.ErrorIs(t, pusher.Push("/a.css", nil), errPushed)
				}
				require.Equal(t, writer, got.(interface{ Unwrap() http.ResponseWriter }).Unwrap())
			})).ServeHTTP(writer, w.dpopRequest("/r"))
		})
	}
	t.Run("HTTP-15 where the guard sets nothing the writer is the server's own", func(t *testing.T) {
		rec := httptest.NewRecorder()
		w.guard().Wrap(http.HandlerFunc(func(got http.ResponseWriter, _ *http.Request) { require.Same(t, rec, got) })).ServeHTTP(rec, w.dpopRequest("/r"))
	})
}

func TestTheServersWriterWorksThroughTheGuard(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP-15 h2=%v a stream arrives piece by piece, and deadlines can be set", h2), func(t *testing.T) {
			next := make(chan struct{})
			s := serveAll(t, h2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				for _, err := range []error{rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.SetWriteDeadline(time.Now().Add(time.Minute))} {
					if err != nil {
						io.WriteString(w, err.Error())
					}
				}
				io.WriteString(w, "one")
				w.(http.Flusher).Flush()
				<-next
				io.WriteString(w, "two")
			}))
			resp, err := s.Client().Do(s.request(t, "GET", "/r", "", nil))
			require.NoError(t, err)
			defer resp.Body.Close()
			piece := make([]byte, 3)
			_, err = io.ReadFull(resp.Body, piece)
			require.NoError(t, err)
			require.Equal(t, "one", string(piece))
			close(next)
			rest, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "two", string(rest))
		})
	}
	t.Run("HTTP-15 a connection can be taken over", func(t *testing.T) {
		s := serveAll(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			rw.Flush()
			io.Copy(conn, rw)
		}))
		r := s.request(t, "GET", "/r", "", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, r.Write(conn))
		resp, err := http.ReadResponse(bufio.NewReader(conn), r)
		require.NoError(t, err)
		require.Equal(t, 101, resp.StatusCode)
	})
	t.Run("HTTP-15 HTTP/1.1 has ReaderFrom and HTTP/2 has Pusher", func(t *testing.T) {
		for _, h2 := range []bool{false, true} {
			s := serveAll(t, h2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, readerFrom := w.(io.ReaderFrom)
				_, pusher := w.(http.Pusher)
				fmt.Fprint(w, readerFrom, pusher)
			}))
			_, body := s.do(t, s.request(t, "GET", "/r", "", nil))
			require.Equal(t, fmt.Sprint(!h2, h2), body)
		}
	})
}
