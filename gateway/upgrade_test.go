package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
)

// switching is a service that takes every offer to switch protocols.
func switching(t *testing.T) (address string, seen chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	seen = make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				seen <- r.Method + " " + r.URL.Path
				if upgrade := r.Header.Get("Upgrade"); upgrade != "" {
					fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade)
					return
				}
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			}()
		}
	}()
	return listener.Addr().String(), seen
}

// sendRaw sends the text of a request over TLS and returns the status.
func sendRaw(t *testing.T, gw *running, text string) int {
	t.Helper()
	_, address, _ := strings.Cut(gw.url, "://")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return resp.StatusCode
}

const guardedRoute = `        plugins:
          - name: openid-connect
            config: {issuer: "${{ env "DECK_ISSUER" }}", auth_methods: [bearer], audience_required: [a], run_on_preflight: false}
`

func TestG1NoProtocolIsSwitchedToBehindTheGuards(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	address, seen := switching(t)
	gw := start(t, bed, `_format_version: "3.0"
services:
  - name: s
    url: http://`+address+`
    routes:
      - {name: open, paths: [/open], strip_path: false}
      - name: guarded
        paths: [/guarded]
        strip_path: false
`+guardedRoute)
	const host = "\nHost: 127.0.0.1\n"
	const preflight = "Origin: https://a.example\nAccess-Control-Request-Method: GET\n"
	for _, tc := range []struct {
		request string
		status  int
	}{
		{"GET /open HTTP/1.1" + host + "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n", 200},
		{"GET /open HTTP/1.1" + host + "Connection: upgrade\nUpgrade: websocket, H2C\n\n", 200},
		{"GET /open HTTP/1.1" + host + "Connection: upgrade\nUpgrade: websocket\nUpgrade: h2c\n\n", 200},
		{"GET /open HTTP/1.1" + host + "Connection: upgrade\nUpgrade: websocket\n\n", 101},
		{"OPTIONS /guarded HTTP/1.1" + host + preflight + "\n", 200},
		{"OPTIONS /guarded HTTP/1.1" + host + preflight + "Connection: Upgrade\nUpgrade: h2c\n\n", 401},
		{"OPTIONS /guarded HTTP/1.1" + host + preflight + "Connection: Upgrade\nUpgrade: websocket\n\n", 401},
		{"OPTIONS /guarded HTTP/1.1" + host + preflight + "Content-Length: 1\n\nx", 401},
		{"OPTIONS /guarded HTTP/1.1" + host + preflight + "Transfer-Encoding: chunked\n\n0\n\n", 401},
		{"GET /guarded HTTP/1.1" + host + "Connection: Upgrade\nUpgrade: websocket\n\n", 401},
		{"CONNECT /open HTTP/1.1" + host + "\n", 501},
		{"CONNECT 127.0.0.1:80 HTTP/1.1" + host + "\n", 501},
		{"PRI /open HTTP/1.1" + host + "\n", 501},
	} {
		require.Equal(t, tc.status, sendRaw(t, gw, tc.request), tc.request)
		select {
		case got := <-seen:
			require.Contains(t, []int{200, 101}, tc.status, "the service has seen %s of %q", got, tc.request)
		default:
			require.NotContains(t, []int{200, 101}, tc.status)
		}
	}
}
