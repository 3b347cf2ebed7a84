package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// silenced is the client's end of a connection that dies without a word: from then on,
// what is written goes nowhere, and nothing comes.
type silenced struct {
	net.Conn
	dead chan struct{}
}

func (s *silenced) isDead() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

func (s *silenced) Write(p []byte) (int, error) {
	if s.isDead() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

func (s *silenced) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	for s.isDead() && err == nil {
		n, err = s.Conn.Read(p)
	}
	return n, err
}

// piped is a listener whose connections are in memory. The first ones can die.
type piped struct {
	conns chan net.Conn
	once  sync.Once
	mu    sync.Mutex
	all   []*silenced
}

func (p *piped) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p *piped) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *piped) Addr() net.Addr { return &net.TCPAddr{} }

func (p *piped) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	conn := &silenced{ours, make(chan struct{})}
	p.mu.Lock()
	p.all = append(p.all, conn)
	p.mu.Unlock()
	p.conns <- theirs
	return conn, nil
}

func (p *piped) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.all {
		close(conn.dead)
	}
	p.all = nil
}

// G11: of requests over a connection of HTTP/2 that has died without a word, one waits
// until pings are not answered, and the next ones have a new connection.
func TestG11AConnectionThatDiesSilentlyIsLeft(t *testing.T) {
	for name, transportOf := range map[string]func(d *deployment) *http.Transport{
		"to an issuer": func(d *deployment) *http.Transport {
			_, keep := d.issuerClient(&kongfile.OpenIDConnect{Timeout: time.Minute})
			return keep.RoundTripper.(*http.Transport)
		},
		"to a service": func(d *deployment) *http.Transport {
			return d.transportTo(&kongfile.Service{URL: &url.URL{Scheme: "https", Host: "service.example"}}, &kongfile.File{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ca := mtlspoptest.NewCA(t, "CA")
			server := ca.Issue("service.example").TLS()
			synctest.Test(t, func(t *testing.T) {
				network := &piped{conns: make(chan net.Conn)}
				service := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
				service.TLSConfig = &tls.Config{Certificates: []tls.Certificate{server}, NextProtos: []string{"h2"}}
				go func() { _ = service.ServeTLS(network, "", "") }()
				transport := transportOf(&deployment{})
				transport.DialContext = network.dial
				transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
				get := func() (string, error) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, "GET", "https://service.example/", nil)
					require.NoError(t, err)
					resp, err := transport.RoundTrip(r)
					if err != nil {
						return "", err
					}
					defer resp.Body.Close()
					text, err := io.ReadAll(resp.Body)
					return string(text), err
				}
				text, err := get()
				require.NoError(t, err)
				require.Equal(t, "HTTP/2.0", text)
				network.silence()
				began := time.Now()
				_, err = get()
				require.LessOrEqual(t, time.Since(began), 2*pingAfter+time.Second, "%v", err)
				began = time.Now()
				text, err = get()
				require.NoError(t, err)
				require.Equal(t, "HTTP/2.0", text)
				require.Less(t, time.Since(began), time.Second)
				transport.CloseIdleConnections()
				_ = service.Close()
			})
		})
	}
}
