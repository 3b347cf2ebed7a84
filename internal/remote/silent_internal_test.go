package remote

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay passes connections on to address until they are silenced: then they swallow
// what they get and close nothing, as behind a firewall that has forgotten them. New
// ones work.
type relay struct {
	net.Listener
	epoch atomic.Int64
	conns atomic.Int64
}

func newRelay(t *testing.T, address string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l}
	var open sync.Map
	t.Cleanup(func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				from.Close()
				continue
			}
			open.Store(from, nil)
			open.Store(to, nil)
			r.conns.Add(1)
			epoch := r.epoch.Load()
			go r.pass(to, from, epoch)
			go r.pass(from, to, epoch)
		}
	}()
	return r
}

func (r *relay) pass(to, from net.Conn, epoch int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		switch {
		case r.epoch.Load() != epoch && err == nil:
		case err != nil:
			to.Close()
			return
		default:
			to.Write(buf[:n])
		}
	}
}

// G11: a connection that has fallen silent costs the request that finds it.
func TestG11ASilentHTTP2ConnectionCostsOneRequest(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	relay := newRelay(t, srv.Listener.Addr().String())
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig
	client := &http.Client{Transport: newSchemes(ClientConfig{TLS: config}, 100*time.Millisecond, 100*time.Millisecond)}
	defer client.CloseIdleConnections()
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+relay.Addr().String(), nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.Equal(t, "HTTP/2.0", string(body))
		return err
	}
	require.NoError(t, ask())
	relay.epoch.Add(1)
	lost := 0
	for range 5 {
		if ask() != nil {
			lost++
		}
	}
	require.LessOrEqual(t, lost, 1)
	require.EqualValues(t, 2, relay.conns.Load())
}

func TestG11OurClientsAskForASignOfLifeWithinOneAttempt(t *testing.T) {
	s := NewClient(ClientConfig{AllowLoopbackHTTP: true}).Transport.(*schemes)
	for _, transport := range []*http.Transport{s.https, s.http} {
		require.Positive(t, transport.HTTP2.SendPingTimeout)
		require.Positive(t, transport.HTTP2.PingTimeout)
		require.Less(t, transport.HTTP2.SendPingTimeout+transport.HTTP2.PingTimeout, defaultTimeout)
	}
	require.Nil(t, s.http.Proxy, "DISC-04: what is dialled would be the proxy")
	require.NotNil(t, s.https.Proxy)
}
