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
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/reverseproxy"
)

// stream sends events until the context of the request is done, and says why it ended.
func stream(causes chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		controller := http.NewResponseController(w)
		for {
			fmt.Fprint(w, "data: x\n\n")
			if controller.Flush() != nil {
				causes <- fmt.Errorf("the client went away")
				return
			}
			select {
			case <-r.Context().Done():
				causes <- context.Cause(r.Context())
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// socket takes the connection over, as libraries for WebSockets do, and echoes until the
// context is done.
func socket(causes chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			causes <- err
			http.Error(w, err.Error(), 500)
			return
		}
		stop := context.AfterFunc(r.Context(), func() { conn.Close() })
		defer stop()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
		conn.Close()
		if r.Context().Err() == nil {
			causes <- fmt.Errorf("the client went away")
			return
		}
		causes <- context.Cause(r.Context())
	}
}

// longGuard is a guard whose responses end with the token, to the second.
func longGuard(t *testing.T, w *world) *middleware.Guard {
	g, err := middleware.New(both(w.tokens(oidc.WithSkew(0)), middleware.AllowUnbound(), middleware.EndResponsesWithToken())...)
	require.NoError(t, err)
	return g
}

// behind puts a service of plain HTTP behind h's proxy.
func behind(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	service := httptest.NewServer(h)
	t.Cleanup(service.Close)
	target, err := url.Parse(service.URL)
	require.NoError(t, err)
	proxy, err := reverseproxy.New(target)
	require.NoError(t, err)
	return proxy
}

// Long responses end with the token at real servers: events over HTTP/1.1 and HTTP/2, a
// connection that a handler has taken over, and both through a reverse proxy. A response
// that ends before its token is left alone.
func TestLongResponsesEndWithTheTokenAtRealServers(t *testing.T) {
	for name, row := range map[string]struct {
		h2, proxied, upgrade bool
		twice                bool // an outer guard without the option
	}{
		"events, HTTP/1.1":                 {},
		"events, HTTP/2":                   {h2: true},
		"events behind a proxy, HTTP/1.1":  {proxied: true},
		"events behind a proxy, HTTP/2":    {h2: true, proxied: true},
		"a connection taken over":          {upgrade: true},
		"a connection taken over, proxied": {upgrade: true, proxied: true},
		"events, within another guard":     {twice: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			causes := make(chan error, 1)
			var handler http.Handler = stream(causes)
			if row.upgrade {
				handler = socket(causes)
			}
			if row.proxied {
				handler = behind(t, handler)
			}
			const lifetime = 2 * time.Second
			handler = longGuard(t, w).Wrap(handler)
			if row.twice {
				handler = w.guard(both(middleware.AllowUnbound())...).Wrap(handler)
			}
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = row.h2
			server.StartTLS()
			defer server.Close()

			header := http.Header{"Authorization": {"Bearer " + w.issuer.Token(oidctest.ExpiresIn(lifetime))}}
			began := time.Now()
			if row.upgrade {
				upgraded(t, server, header)
			} else {
				events(t, server, header, row.h2)
			}
			require.InDelta(t, lifetime.Seconds(), time.Since(began).Seconds(), 1.5, "the client sees the end")
			cause := <-causes
			if row.proxied {
				require.Error(t, cause, "the service behind sees it too")
			} else {
				require.ErrorIs(t, cause, middleware.ErrTokenEnded)
			}
		})
	}
}

// events reads to the end of a stream.
func events(t *testing.T, server *httptest.Server, header http.Header, h2 bool) {
	t.Helper()
	r, err := http.NewRequest("GET", server.URL+"/events", nil)
	require.NoError(t, err)
	r.Header = header
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, h2, resp.ProtoMajor == 2)
	n, _ := io.Copy(io.Discard, resp.Body)
	require.Positive(t, n)
}

// upgraded switches protocols, and waits for the end of the connection.
func upgraded(t *testing.T, server *httptest.Server, header http.Header) {
	t.Helper()
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
	require.NoError(t, err)
	defer conn.Close()
	r, err := http.NewRequest("GET", server.URL+"/socket", nil)
	require.NoError(t, err)
	r.Header = header
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	r.Header.Set("Origin", server.URL)
	require.NoError(t, r.Write(conn))
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, r)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	fmt.Fprint(conn, "ping")
	echo := make([]byte, 4)
	_, err = io.ReadFull(reader, echo)
	require.NoError(t, err)
	require.Equal(t, "ping", string(echo))
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = reader.ReadByte()
	timeout, ok := err.(net.Error)
	require.False(t, ok && timeout.Timeout(), "the connection outlives its token")
}

// A stream that is over before its token ends as ever, and leaves nothing behind.
func TestAResponseThatEndsBeforeItsTokenIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	ends := make(chan context.Context, 1)
	server := httptest.NewServer(longGuard(t, w).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, limited := r.Context().Deadline()
		fmt.Fprint(w, limited)
		ends <- r.Context()
	})))
	defer server.Close()
	r, err := http.NewRequest("GET", server.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.NoError(t, err)
	require.Equal(t, "true", string(text))
	ctx := <-ends
	<-ctx.Done()
	require.NotErrorIs(t, context.Cause(ctx), middleware.ErrTokenEnded)
}
