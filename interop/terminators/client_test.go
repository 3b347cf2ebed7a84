package terminators_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client speaks HTTP/1.1 over TLS by hand, since what it has to send is not always what
// an honest library would.
type client struct {
	address  string
	own      *identity // nil: no certificate
	roots    *x509.CertPool
	version  uint16 // of TLS; 0 for the newest
	sessions tls.ClientSessionCache
}

// reply is what came back.
type reply struct {
	status  int
	reached bool // the service answered, not the terminator
	resumed bool // the TLS session was one from before
}

// request is a request with a token bound to x5t, and with lines as further lines of its
// header.
func request(x5t string, lines ...string) string {
	return fmt.Sprintf("GET /orders HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\n", x5t) +
		strings.Join(append(lines, "", ""), "\r\n")
}

func (c *client) get(t *testing.T, x5t string, lines ...string) reply {
	t.Helper()
	return c.send(t, request(x5t, lines...))
}

func (c *client) send(t *testing.T, raw string) reply {
	t.Helper()
	got, err := c.try(raw)
	require.NoError(t, err, raw)
	return got
}

func (c *client) try(raw string) (reply, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", c.address, &tls.Config{
		ServerName: "api.example",
		RootCAs:    c.roots,
		MaxVersion: c.version,
		NextProtos: []string{"http/1.1"},
		// Unlike Certificates, this sends the certificate whatever CAs the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.own.tls(), nil },
		ClientSessionCache:   c.sessions,
	})
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return reply{}, err
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		return reply{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{}, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return reply{}, err
	}
	return reply{
		status:  resp.StatusCode,
		reached: resp.Header.Get("X-Reached") != "",
		resumed: conn.ConnectionState().DidResume,
	}, nil
}
