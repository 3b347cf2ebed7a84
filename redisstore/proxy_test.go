package redisstore_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server and can cut a connection in the middle of
// a reply, after the server has done what it was told.
type proxy struct {
	net.Listener

	mu     sync.Mutex
	server string
	cut    func() (pass int, ok bool) // asked for every reply to a proof: how many bytes of it pass, if it is cut
	conns  []net.Conn
}

func startProxy(t testing.TB, server string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{Listener: l, server: server}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.Addr().String() }

// cutting sets the function that decides; nil passes everything.
func (p *proxy) cutting(cut func() (pass int, ok bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// retarget sends new connections to another server, and ends those that there are.
func (p *proxy) retarget(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// serve takes turns: the client speaks, then the server. That is enough for a
// connection that carries one command at a time.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	addr := p.server
	p.mu.Unlock()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	stale := addr != p.server // moved while the connection was made
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	if stale {
		return
	}
	command, reply := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := client.Read(command)
		if err != nil {
			return
		}
		isProof := bytes.Contains(command[:n], []byte("\r\ndpop:"))
		if _, err := server.Write(command[:n]); err != nil {
			return
		}
		n, err = server.Read(reply)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := p.cut
		p.mu.Unlock()
		if isProof && cut != nil {
			if pass, ok := cut(); ok {
				_, _ = client.Write(reply[:min(pass, n)])
				return
			}
		}
		if _, err := io.Copy(client, bytes.NewReader(reply[:n])); err != nil {
			return
		}
	}
}
