package terminators_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	//lint:ignore SA1019 net/http has no upgrade to h2c, and services that have it are what is attacked here
	"golang.org/x/net/http2/h2c"
	"golang.org/x/net/http2/hpack"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mtlspop"
)

// The lines that let WebSockets through, and nothing else.
const (
	haproxyNoUpgrade = "http-request del-header Upgrade"
	haproxyWebSocket = "http-request del-header Upgrade unless { req.fhdr_cnt(upgrade) eq 1 } { req.fhdr(upgrade) -m str -i websocket }"

	nginxNoUpgrade    = `proxy_set_header Upgrade "";`
	nginxWebSocket    = "proxy_http_version 1.1;\nproxy_set_header Upgrade $websocket;\nproxy_set_header Connection $websocket_connection;"
	nginxWebSocketMap = "map $http_upgrade $websocket { ~*^websocket$ websocket; }\n" +
		"map $http_upgrade $websocket_connection { ~*^websocket$ upgrade; default close; }\n"

	apacheNoUpgrade = "RequestHeader unset Upgrade"
	apachePass      = "ProxyPass / http://127.0.0.1:8080/ nocanon"
	apacheWebSocket = "ProxyPass / http://127.0.0.1:8080/ nocanon upgrade=websocket"

	caddyNoUpgrade = "request_header -Upgrade"
	caddyWebSocket = "@other not vars_regexp {http.request.header.Upgrade} (?i)^websocket$\n\trequest_header @other -Upgrade"
)

// upgrading is a recommended configuration, or one that differs in what it makes of
// Upgrade.
type upgrading struct {
	name       string
	of         string // the configuration's name
	edits      []string
	webSockets bool // pass
	open       bool // a mistake: the client reaches the service's own HTTP/2
}

func upgradings() []upgrading {
	return []upgrading{
		{name: "nginx", of: "nginx"},
		{name: "HAProxy", of: "HAProxy"},
		{name: "Apache", of: "Apache"},
		{name: "Caddy", of: "Caddy"},

		{name: "nginx with WebSockets", of: "nginx", webSockets: true,
			edits: []string{nginxNoUpgrade, nginxWebSocket, "server {\n", nginxWebSocketMap + "server {\n"}},
		{name: "HAProxy with WebSockets", of: "HAProxy", webSockets: true, edits: []string{haproxyNoUpgrade, haproxyWebSocket}},
		{name: "Apache with WebSockets", of: "Apache", webSockets: true, edits: []string{apacheNoUpgrade, "", apachePass, apacheWebSocket}},
		{name: "Caddy with WebSockets", of: "Caddy", webSockets: true, edits: []string{caddyNoUpgrade, caddyWebSocket}},

		{name: "nginx without the line", of: "nginx", edits: []string{nginxNoUpgrade, ""}},
		{name: "Apache without the line", of: "Apache", edits: []string{apacheNoUpgrade, ""}},
		{name: "nginx with the Upgrade of the client", of: "nginx", webSockets: true, open: true,
			edits: []string{nginxNoUpgrade, `proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_http_version 1.1;`}},
		{name: "HAProxy without the line", of: "HAProxy", webSockets: true, open: true, edits: []string{haproxyNoUpgrade, ""}},
		{name: "Apache with upgrade=ANY", of: "Apache", webSockets: true, open: true,
			edits: []string{apacheNoUpgrade, "", apachePass, apachePass + " upgrade=ANY"}},
		{name: "Caddy with a matcher of one field among several", of: "Caddy", webSockets: true, open: true,
			edits: []string{caddyNoUpgrade, "@other not header_regexp Upgrade (?i)^websocket$\n\trequest_header @other -Upgrade"}},
		{name: "Caddy without the line", of: "Caddy", webSockets: true, open: true, edits: []string{caddyNoUpgrade, ""}},
	}
}

// h2cService is a guarded service that also speaks HTTP/2 without TLS, and WebSocket.
type h2cService struct {
	*httptest.Server
	passed atomic.Int64
}

func newH2CService(t *testing.T, c configuration) *h2cService {
	guard, err := middleware.New(middleware.WithTokens(&boundTo{}, nil),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(c.header, c.format, netip.MustParsePrefix("127.0.0.1/32")))))
	require.NoError(t, err)
	s := &h2cService{}
	guarded := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.passed.Add(1)
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			echo(t, w, r.Header.Get("Sec-WebSocket-Key"))
		}
	}))
	routes := http.NewServeMux()
	routes.Handle("/orders", guarded)
	routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {}) // public
	//lint:ignore SA1019 see the import
	s.Server = httptest.NewServer(lenient(h2c.NewHandler(routes, &http2.Server{})))
	t.Cleanup(s.Close)
	return s
}

// lenient makes of h2c's handler one that does not need the settings in the request, as
// that of other languages.
func lenient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.ToLower(r.Header.Get("Upgrade")), "h2c") {
			r.Header.Set("Upgrade", "h2c")
			r.Header.Set("Connection", "Upgrade, HTTP2-Settings")
			r.Header.Set("Http2-Settings", "AAMAAABkAAQAAP__")
		}
		next.ServeHTTP(w, r)
	})
}

// echo switches to WebSocket, as far as terminators look at it, and sends back a line.
func echo(t *testing.T, w http.ResponseWriter, key string) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, section 4.2.2.
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	line, err := buffered.ReadString('\n')
	if err == nil {
		io.WriteString(conn, line)
	}
}

// tunnel is a connection of a client without a certificate, after a request.
type tunnel struct {
	conn   net.Conn
	reader *bufio.Reader
	status int
}

func open(t *testing.T, s *stage, own *identity, raw string) *tunnel {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "api.example", RootCAs: s.roots, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.tls(), nil }})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(conn, raw)
	require.NoError(t, err)
	tn := &tunnel{conn: conn, reader: bufio.NewReader(conn)}
	line, err := tn.reader.ReadString('\n')
	if err != nil {
		return tn // The terminator has hung up.
	}
	_, err = fmt.Sscanf(line, "HTTP/1.1 %d", &tn.status)
	require.NoError(t, err, line)
	for line != "\r\n" {
		line, err = tn.reader.ReadString('\n')
		require.NoError(t, err)
	}
	return tn
}

// smuggle sends the forged request over HTTP/2 and reports the status of the answer, or
// 0.
func (tn *tunnel) smuggle(header, value, x5t string) int {
	framer := http2.NewFramer(tn.conn, tn.reader)
	if _, err := io.WriteString(tn.conn, http2.ClientPreface); err != nil || framer.WriteSettings() != nil {
		return 0
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "GET"}, {":path", "/orders"}, {":scheme", "http"}, {":authority", "api.example"},
		{"authorization", "Bearer " + x5t}, {strings.ToLower(header), value},
	} {
		encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	const stream = 3
	if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) != nil {
		return 0
	}
	decoder, status := hpack.NewDecoder(4096, nil), 0
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return 0
			}
			if f.StreamID == stream {
				fmt.Sscan(fields[0].Value, &status)
				return status
			}
		}
	}
}

// switches are requests for another protocol, to a public page.
func switches() map[string]string {
	const settings = "HTTP2-Settings: AAMAAABkAAQAAP__"
	ask := func(lines ...string) string {
		return "GET / HTTP/1.1\r\nHost: api.example\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	}
	return map[string]string{
		"h2c":                         ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings),
		"h2c, the settings unlisted":  ask("Connection: Upgrade", "Upgrade: h2c", settings),
		"h2c without settings":        ask("Connection: Upgrade", "Upgrade: h2c"),
		"h2c in upper case":           ask("Connection: upgrade, http2-settings", "Upgrade: H2C", settings),
		"h2c with two Connections":    ask("Connection: Upgrade", "Connection: HTTP2-Settings", "Upgrade: h2c", settings),
		"h2c behind websocket":        ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: websocket", "Upgrade: h2c", settings),
		"h2c in front of websocket":   ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "Upgrade: websocket", settings),
		"a list that ends in h2c":     ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: websocket, h2c", settings),
		"a list that begins with h2c": ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket", settings),
		"h2c behind an empty field":   ask("Connection: Upgrade, HTTP2-Settings", "Upgrade:", "Upgrade: h2c", settings),
		"h2c with space around":       ask("Connection: Upgrade, HTTP2-Settings", "Upgrade:  h2c\t", settings),
		"h2c and h2":                  ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, h2", settings),
		"h2c by OPTIONS":              strings.Replace(ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings), "GET", "OPTIONS", 1),
		"h2c by POST": strings.Replace(ask("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings, "Content-Length: 0"),
			"GET", "POST", 1),
		"HTTP/2 without asking": "",
	}
}

// G2: a terminator that passes on a change of protocols hands the service over to the
// client. A stolen token and the owner's certificate, which is public, would be enough.
func TestNoChangeOfProtocolsLetsAForgedFieldThrough(t *testing.T) {
	all := newCast(t)
	for _, u := range upgradings() {
		t.Run(u.name, func(t *testing.T) {
			c := named(t, u.of)
			c.edits = u.edits
			find(t, c.server)
			service := newH2CService(t, c)
			s := &stage{cast: all, configuration: c}
			s.address = start(t, c, service.Listener.Addr().String(), all.site)
			victims := valueOf(t, c, s)

			tunnels := 0
			for name, raw := range switches() {
				tn := open(t, s, nil, "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
				require.Equal(t, 200, tn.status, "the public page")
				if raw == "" {
					conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "api.example", RootCAs: s.roots, NextProtos: []string{"http/1.1"}})
					require.NoError(t, err)
					conn.SetDeadline(time.Now().Add(5 * time.Second))
					tn = &tunnel{conn: conn, reader: bufio.NewReader(conn)}
				} else {
					tn = open(t, s, nil, raw)
				}
				if raw != "" && tn.status != http.StatusSwitchingProtocols {
					continue
				}
				before := service.passed.Load()
				status := tn.smuggle(c.header, victims, s.right.x5t())
				if u.open && status == 200 {
					tunnels++
					continue
				}
				require.Equal(t, before, service.passed.Load(), "%s: the forgery has reached the handler", name)
				require.NotEqual(t, 200, status, name)
			}
			require.Equal(t, u.open, tunnels > 0, "what makes this configuration a mistake")
		})
	}
}

// valueOf is what the terminator writes for the right client.
func valueOf(t *testing.T, c configuration, s *stage) string {
	t.Helper()
	seen := make(chan string, 1)
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get(c.header) }))
	defer service.Close()
	c.edits = nil
	other := &stage{cast: s.cast, configuration: c, address: start(t, c, service.Listener.Addr().String(), s.site)}
	other.client(s.right).get(t, s.right.x5t())
	return <-seen
}

func TestWebSocketsPassWhereTheyAreLetThrough(t *testing.T) {
	all := newCast(t)
	for _, u := range upgradings() {
		t.Run(u.name, func(t *testing.T) {
			c := named(t, u.of)
			c.edits = u.edits
			find(t, c.server)
			service := newH2CService(t, c)
			s := &stage{cast: all, configuration: c}
			s.address = start(t, c, service.Listener.Addr().String(), all.site)
			for _, spelling := range []string{"websocket", "WebSocket"} {
				tn := open(t, s, s.right, request(s.right.x5t(), "Connection: Upgrade", "Upgrade: "+spelling,
					"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="))
				if !u.webSockets {
					require.Equal(t, 200, tn.status)
					continue
				}
				require.Equal(t, http.StatusSwitchingProtocols, tn.status, spelling)
				_, err := io.WriteString(tn.conn, "hello\n")
				require.NoError(t, err)
				line, err := tn.reader.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "hello\n", line)
			}
		})
	}
}

// RFC 8441: over HTTP/2 a client asks for another protocol by an extended CONNECT. A
// terminator that makes an Upgrade of it must not make one that is not WebSocket.
func TestExtendedCONNECTOpensNoTunnel(t *testing.T) {
	all := newCast(t)
	c := named(t, "Caddy") // The other recommended configurations do not offer HTTP/2.
	find(t, c.server)
	service := newH2CService(t, c)
	s := &stage{cast: all, configuration: c}
	s.address = start(t, c, service.Listener.Addr().String(), all.site)
	for _, protocol := range []string{"h2c", "H2C", "websocket, h2c", "h2c, websocket", "HTTP/2.0", ""} {
		t.Run(protocol, func(t *testing.T) {
			conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "api.example", RootCAs: s.roots, NextProtos: []string{"h2"}})
			require.NoError(t, err)
			defer conn.Close()
			require.Equal(t, "h2", conn.ConnectionState().NegotiatedProtocol)
			require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			_, err = io.WriteString(conn, http2.ClientPreface)
			require.NoError(t, err)
			framer := http2.NewFramer(conn, conn)
			require.NoError(t, framer.WriteSettings())
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "https"}, {":path", "/"}, {":authority", "api.example"},
				{"http2-settings", "AAMAAABkAAQAAP__"}} {
				encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
			// Whatever the answer is, what follows on the stream must not be the
			// service's HTTP/2.
			require.NoError(t, framer.WriteData(1, false, []byte(http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")))
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					return
				}
				switch f := frame.(type) {
				case *http2.SettingsFrame:
					if !f.IsAck() {
						require.NoError(t, framer.WriteSettingsAck())
					}
				case *http2.RSTStreamFrame, *http2.GoAwayFrame:
					return
				case *http2.DataFrame:
					require.False(t, bytes.HasPrefix(f.Data(), []byte("\x00\x00")), "a SETTINGS frame of the service: %q", f.Data())
					if f.StreamEnded() {
						return
					}
				case *http2.HeadersFrame:
					if f.StreamEnded() {
						return
					}
				}
			}
		})
	}
}
