// Package wire answers "what exactly went over the wire?" It sends HTTP/1.1 requests
// byte for byte as they are written down, and HTTP/2 requests field by field, each over
// a connection of its own, so that field names, doubled fields and odd request targets
// arrive as meant; and it reads challenges strictly.
package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds what is read of a response.
const maxBody = 1 << 20

// Field is one field line, sent as it is.
type Field struct{ Name, Value string }

// Request is one request. Host and Connection are added if Fields lacks them, and
// Content-Length if Body is not empty and Fields has neither it nor Transfer-Encoding.
type Request struct {
	Method string
	Target string // the request target as it goes out
	Fields []Field
	Body   string
	// Stream are changes to what goes out in HTTP/2, in order; HTTP/1.1 leaves them out.
	Stream []func(*Stream)
}

// Get returns the first field of that name.
func (r Request) Get(name string) string {
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

func (r Request) has(name string) bool {
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// Response is a final response with at most 1 MiB of its body.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Informational are the 1xx statuses before it.
	Informational []int
	// Switched reports 101: Body is empty, and the connection is closed.
	Switched bool
	Duration time.Duration
	// Reset says why there is no response, in HTTP/2: Status is then 0.
	Reset error
	open  bool // the head is the whole
}

// Client reaches one origin. It is immutable, and safe for concurrent use.
type Client struct {
	Scheme  string // http or https
	Host    string // authority as clients write it
	Dial    string // host:port to connect to
	TLS     *tls.Config
	Timeout time.Duration
	HTTP2   bool // speak HTTP/2; see Over2
}

// NewClient returns the Client of u's origin. connect overrides the address to
// connect to, if it is not empty; config is the TLS client configuration, nil for
// the usual one.
func NewClient(u *url.URL, connect string, config *tls.Config) (*Client, error) {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("wire: %q is not an http or https URL", u.Redacted())
	}
	c := &Client{Scheme: u.Scheme, Host: u.Host, Dial: connect, TLS: config, Timeout: 15 * time.Second}
	if c.Dial == "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		c.Dial = net.JoinHostPort(u.Hostname(), port)
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	c.TLS = c.TLS.Clone()
	if c.TLS.ServerName == "" {
		c.TLS.ServerName = u.Hostname()
	}
	c.TLS.NextProtos = []string{"http/1.1"}
	return c, nil
}

// Open makes a connection of the client's, with cert as the client certificate, nil
// for none. The caller closes it.
func (c *Client) Open(ctx context.Context, cert *tls.Certificate) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Dial)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	if c.Scheme == "http" {
		return conn, nil
	}
	config := c.TLS.Clone()
	if cert != nil {
		// Not Certificates: those go only to servers whose list of CAs suits them.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("wire: TLS: %w", err)
	}
	return secure, nil
}

// Do sends r over a connection of its own. In HTTP/2 the names of its fields are in
// lower case, and Host becomes :authority; a request that HTTP/2 cannot express is not
// sent: the error is an *OnlyHTTP1Error.
func (c *Client) Do(ctx context.Context, cert *tls.Certificate, r Request) (*Response, error) {
	if c.HTTP2 {
		return c.do2(ctx, cert, r)
	}
	start := time.Now()
	conn, err := c.Open(ctx, cert)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	// A server may answer before it has read all, and close: then the answer counts.
	_, writeErr := io.WriteString(conn, c.text(r))
	res, err := read(bufio.NewReader(conn), r.Method)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", errors.Join(writeErr, err))
	}
	res.Duration = time.Since(start)
	return res, nil
}

// text is the request as it goes out.
func (c *Client) text(r Request) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Target + " HTTP/1.1\r\n")
	if !r.has("Host") {
		b.WriteString("Host: " + c.Host + "\r\n")
	}
	for _, f := range r.Fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	if !r.has("Connection") {
		b.WriteString("Connection: close\r\n")
	}
	if r.Body != "" && !r.has("Content-Length") && !r.has("Transfer-Encoding") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	b.WriteString("\r\n" + r.Body)
	return b.String()
}

func read(from *bufio.Reader, method string) (*Response, error) {
	out := &Response{}
	for {
		res, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			out.Status, out.Header, out.Switched = res.StatusCode, res.Header, true
			return out, nil
		}
		if res.StatusCode < 200 {
			out.Informational = append(out.Informational, res.StatusCode)
			continue
		}
		defer res.Body.Close()
		out.Status, out.Header = res.StatusCode, res.Header
		// A body that breaks off changes nothing about the decision in the head.
		out.Body, _ = io.ReadAll(io.LimitReader(res.Body, maxBody))
		return out, nil
	}
}
