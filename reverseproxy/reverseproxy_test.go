package reverseproxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/reverseproxy"
)

// service is a service that takes every offer to switch protocols and then echoes
// lines. It keeps the last request as it came over the wire.
type service struct {
	url *url.URL

	mu   sync.Mutex
	seen []string
}

func newService(t *testing.T) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	s := &service{url: &url.URL{Scheme: "http", Host: listener.Addr().String()}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *service) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	upgrade, head := "", ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
		head += line
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Upgrade") {
			upgrade = strings.TrimSpace(value)
		}
	}
	s.mu.Lock()
	s.seen = append(s.seen, head)
	s.mu.Unlock()
	if upgrade == "" && !strings.Contains(head, "/unasked") {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		return
	}
	if upgrade != "" {
		upgrade = "Upgrade: " + upgrade + "\r\n"
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n%s\r\n", upgrade)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "echo %s", line)
	}
}

// last is the head of the last request.
func (s *service) last(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.seen)
	return s.seen[len(s.seen)-1]
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// front serves a proxy to s and returns what sends it the text of a request.
func front(t *testing.T, h http.Handler, encrypted bool) (send func(text string) (conn net.Conn, in *bufio.Reader)) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if encrypted {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return func(text string) (net.Conn, *bufio.Reader) {
		var conn net.Conn
		var err error
		if encrypted {
			conn, err = tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		} else {
			conn, err = net.Dial("tcp", server.Listener.Addr().String())
		}
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
		require.NoError(t, err)
		return conn, bufio.NewReader(conn)
	}
}

func forwarding(t *testing.T, s *service, opts ...reverseproxy.Option) http.Handler {
	t.Helper()
	h, err := reverseproxy.New(s.url, opts...)
	require.NoError(t, err)
	return h
}

func TestG1NoProtocolButWebSocketIsSwitchedTo(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		s := newService(t)
		send := front(t, forwarding(t, s), encrypted)
		for _, tc := range []struct {
			head   string
			status int
		}{
			{"GET / HTTP/1.1\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n", 200},
			{"GET / HTTP/1.1\nconnection: upgrade\nupgrade: H2C\n", 200},
			{"GET / HTTP/1.1\nConnection: keep-alive\nConnection: UPGRADE\nUpgrade: h2c\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c, websocket\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket, h2c\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\nUpgrade: h2c\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c\nUpgrade: websocket\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\nUpgrade: websocket\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket/13\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: \"websocket\"\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: web\x80socket\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: TLS/1.3\n", 200},
			{"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade:\n", 200},
			{"GET / HTTP/1.1\nUpgrade: h2c\n", 200},
			{"GET / HTTP/1.1\nUpgrade: websocket\n", 200},
			{"GET / HTTP/1.0\nConnection: Upgrade\nUpgrade: websocket\n", 200},
			{"OPTIONS / HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c\nOrigin: https://a.example\nAccess-Control-Request-Method: GET\n", 200},
			{"OPTIONS / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\n", 200},
			{"POST / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\nContent-Length: 0\n", 200},
			{"POST / HTTP/1.1\nConnection: close, Upgrade\nUpgrade: h2c\nContent-Length: 0\n", 200},
			{"CONNECT / HTTP/1.1\n", 501},
			{"CONNECT a.example:443 HTTP/1.1\n", 501},
			{"PRI / HTTP/1.1\n", 501},
			{"GET /unasked HTTP/1.1\n", 502},
			{"GET /unasked HTTP/1.1\nConnection: Upgrade\nUpgrade: h2c\n", 502},
		} {
			before := s.count()
			_, in := send(strings.Replace(tc.head, "\n", "\nHost: api.example\n", 1) + "\n")
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err, tc.head)
			require.Equal(t, tc.status, resp.StatusCode, tc.head)
			if tc.status == 501 {
				require.Equal(t, before, s.count(), "the service has seen %q", tc.head)
				continue
			}
			for _, name := range []string{"upgrade", "http2-settings"} {
				require.NotContains(t, strings.ToLower(s.last(t)), "\n"+name+":", tc.head)
			}
		}
		_, in := send("PRI * HTTP/2.0\n\nSM\n\n")
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Contains(t, []int{501, 505}, resp.StatusCode)
	}
}

func TestWebSocketPasses(t *testing.T) {
	for _, spelling := range []string{"websocket", "WebSocket"} {
		s := newService(t)
		conn, in := front(t, forwarding(t, s), false)("GET /chat HTTP/1.1\nHost: api.example\nConnection: keep-alive, Upgrade\nUpgrade: " + spelling + "\n\n")
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, 101, resp.StatusCode)
		require.Contains(t, s.last(t), "\nUpgrade: websocket\r\n")
		_, err = io.WriteString(conn, "hello\n")
		require.NoError(t, err)
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "echo hello\n", line)
	}
}

func TestB02B29TheQueryPassesAsItCame(t *testing.T) {
	s := newService(t)
	send := front(t, forwarding(t, s), false)
	for _, target := range []string{"/?id=1;2", "/?q=100%&a=2", "/?a=%zz&b", "/?", "/?&&=", "/?a=b?c#d", "/a%2Fb/c%20d?x=%2F", "/a|b?x|y", "/caf\xc3\xa9"} {
		_, in := send("GET " + target + " HTTP/1.1\nHost: api.example\n\n")
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode, target)
		sent := strings.NewReplacer("/a|b", "/a%7Cb", "\xc3\xa9", "%C3%A9").Replace(target)
		require.Equal(t, "GET "+sent+" HTTP/1.1\r\n", s.last(t)[:len(sent)+15])
	}
}

func TestATargetThatTheServiceWouldReadDifferentlyIsRefused(t *testing.T) {
	reached := false
	h, err := reverseproxy.Harden(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) { reached = true }})
	require.NoError(t, err)
	for name, u := range map[string]*url.URL{
		"a space in the query, which HTTP/2 can carry": {Path: "/x", RawQuery: "a HTTP/1.0"},
		"a tab in the query":                           {Path: "/x", RawQuery: "a\tb"},
		"a line break in the query":                    {Path: "/x", RawQuery: "a\r\nX-User: root"},
		"an escaped slash that would become a slash":   {Path: "/a/b|c", RawPath: "/a%2Fb|c"},
		"an escaped letter that would be a letter":     {Path: "/A|", RawPath: "/%41|"},
		"an asterisk":      {Path: "*"},
		"an opaque target": {Opaque: "x", Path: "/"},
		"no path":          {},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, &http.Request{Method: "GET", URL: u, ProtoMajor: 2, Header: http.Header{}, Body: http.NoBody})
		require.Equal(t, 400, w.Code, name)
		require.False(t, reached, name)
	}
}

func TestG4NoSpellingOfAFieldReachesTheService(t *testing.T) {
	s := newService(t)
	p := &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(s.url)
		pr.Out.Header.Set("X-User", "alice")
	}}
	h, err := reverseproxy.Harden(p, reverseproxy.WithIdentityHeaders("X_User", "x-role"))
	require.NoError(t, err)
	send := front(t, h, false)
	var forged strings.Builder
	for c := byte('!'); c < 0x7f; c++ {
		if !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c)) { // net/http refuses these
			fmt.Fprintf(&forged, "X%cUser: root\nX%crole: root\nX%cForwarded%cFor: root\n", c, c, c, c)
		}
	}
	forged.WriteString("x-user: root\nX-ROLE: root\nForwarded: for=root\nX-Real-IP: root\nX-Forwarded-Prefix: root\nClient-Cert: root\nX_Forwarded-Host: root\n")
	_, in := send("GET / HTTP/1.1\nHost: api.example\n" + forged.String() + "X-Other: mine\nConnection: X-Other2, Authorization, X-User\nAuthorization: Bearer t\nX-Other2: hop\n\n")
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	got := s.last(t)
	for line := range strings.SplitSeq(got, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if value == "root" { // letters and digits make other names: XaUser
			require.Regexp(t, `^X[0-9A-Za-z](user|role|forwarded[0-9A-Za-z]for)$`, "X"+strings.ToLower(name)[1:], line)
		}
	}
	require.Contains(t, got, "\nX-User: alice\r\n")
	require.Contains(t, got, "\nX-Other: mine\r\n")
	require.Contains(t, got, "\nAuthorization: Bearer t\r\n", "a client cannot remove what the guard has forwarded")
	require.NotContains(t, got, "hop")
}

func TestTheServicesOwnDPoPStaysBehind(t *testing.T) {
	for sent, want := range map[string][]string{
		`DPoP algs="ES256"`:                       nil,
		`dpop error="use_dpop_nonce", algs="a,b"`: nil,
		`DPoP`:                              nil,
		`Bearer realm="DPoP, x", error="e"`: {`Bearer realm="DPoP, x", error="e"`},
		`Bearer realm="x",scope="a", DPoP algs="ES256"`: {`Bearer realm="x", scope="a"`},
		`DPoP algs="a", Basic realm="\", DPoP x"`:       {`Basic realm="\", DPoP x"`},
		`Negotiate, DPoP a=b, Bearer`:                   {`Negotiate`, `Bearer`},
		`Negotiate YWJj==`:                              {`Negotiate YWJj==`},
	} {
		behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", sent)
			w.Header().Set("DPoP-Nonce", "of-the-service")
			w.WriteHeader(401)
		}))
		target, err := url.Parse(behind.URL)
		require.NoError(t, err)
		h, err := reverseproxy.New(target)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 401, w.Code)
		require.Equal(t, want, w.Header()["Www-Authenticate"], sent)
		require.Empty(t, w.Header()["Dpop-Nonce"])
		behind.Close()
	}
}

func TestEveryMistakeIsReported(t *testing.T) {
	_, err := reverseproxy.Harden(nil, nil, reverseproxy.WithIdentityHeaders("a", ""), reverseproxy.WithIdentityHeaders("b"))
	require.EqualError(t, err, strings.Join([]string{
		"reverseproxy: option 1 is nil",
		"reverseproxy: WithIdentityHeaders: an empty name",
		"reverseproxy: WithIdentityHeaders is given twice",
		"reverseproxy: the proxy is nil",
	}, "\n"))
	//lint:ignore SA1019 a Director is what is refused
	_, err = reverseproxy.Harden(&httputil.ReverseProxy{Director: func(*http.Request) {}})
	require.ErrorContains(t, err, "Director is set")
	_, err = reverseproxy.Harden(&httputil.ReverseProxy{})
	require.ErrorContains(t, err, "Rewrite is nil")
	for _, target := range []*url.URL{nil, {}, {Scheme: "ftp", Host: "a"}, {Scheme: "http"}} {
		_, err = reverseproxy.New(target)
		require.ErrorContains(t, err, "is not an http or https URL")
	}
}
