package middleware_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
)

// pipes is a listener whose connections are in memory, so that a test controls time.
type pipes struct {
	next   chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.next:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// hidden is a ResponseWriter of a middleware that hides the server's.
type hidden struct{ http.ResponseWriter }

// G10: a refusal does not wait for a body that comes slowly or never.
func TestARefusalDoesNotWaitForASlowBody(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"HTTP-15 the server's writer": func(h http.Handler) http.Handler { return h },
		"HTTP-15 a writer that hides the server's": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hidden{w}, r) })
		},
	} {
		for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked", "Content-Length: 1000\r\nExpect: 100-continue"} {
			t.Run(name+", "+length, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					for _, deny := range [][]middleware.Option{nil, {middleware.WithDenyHandler(func(w http.ResponseWriter, _ *http.Request, d middleware.Denial) { w.WriteHeader(d.Status) })}} {
						listener := &pipes{make(chan net.Conn), make(chan struct{})}
						server := &http.Server{Handler: wrap(w.guard(both(deny...)...).Wrap(http.NotFoundHandler()))}
						go server.Serve(listener)
						mine, theirs := net.Pipe()
						listener.next <- theirs
						_, err := fmt.Fprintf(mine, "POST /r HTTP/1.1\r\nHost: api.example\r\n%s\r\n\r\n", length)
						require.NoError(t, err)
						begin := time.Now()
						resp, err := http.ReadResponse(bufio.NewReader(mine), nil)
						require.NoError(t, err)
						require.Equal(t, 401, resp.StatusCode)
						require.LessOrEqual(t, time.Since(begin), 3*time.Second)
						mine.Close()
						server.Close()
						time.Sleep(time.Second) // Go 1.27 lingers a while before it closes a connection.
					}
				})
			})
		}
	}
}

// A body that comes in time does not cost its client the connection.
func TestARefusalWithABodyKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: w.guard().Wrap(http.NotFoundHandler())}
		go server.Serve(listener)
		mine, theirs := net.Pipe()
		listener.next <- theirs
		reader := bufio.NewReader(mine)
		for range 2 {
			_, err := io.WriteString(mine, "POST /r HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n")
			require.NoError(t, err)
			time.Sleep(time.Second)
			go io.WriteString(mine, "hello")
			resp, err := http.ReadResponse(reader, nil)
			require.NoError(t, err)
			require.Equal(t, 401, resp.StatusCode)
			require.False(t, resp.Close)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		mine.Close()
		server.Close()
		time.Sleep(time.Second)
	})
}
