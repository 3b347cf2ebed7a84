package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/keybound-go/middleware/internal/origins"
)

// maxRedirects is how many redirects within one origin are followed.
const maxRedirects = 3

// ClientConfig says how [NewClient] makes a client. The zero one is good.
type ClientConfig struct {
	// TLS, which is cloned, adds roots and client certificates. A lower MinVersion than
	// TLS 1.2 in it is raised.
	TLS *tls.Config

	// MaxIdleConnsPerHost is that of [http.Transport]; 0 is 4.
	MaxIdleConnsPerHost int

	// AllowLoopbackHTTP permits http to whatever turns out to be at a loopback address.
	AllowLoopbackHTTP bool
}

// NewClient returns a client for calls to an issuer: TLS 1.2 or later with a
// server check (FAPI 2.0, section 5.2.2), time-outs on every stage, pings that find
// out when an HTTP/2 connection has fallen silent, and the redirect rule of
// [Harden].
//
// It sends http only if AllowLoopbackHTTP says so, and then to nothing but a
// loopback address: it asks no proxy and judges the address that it dials, whatever
// the name in the URL is.
// It verifies the server's certificate (RFC 8414, section 6.1).
func NewClient(c ClientConfig) *http.Client {
	return Harden(&http.Client{Timeout: 15 * time.Second, Transport: newSchemes(c, pingAfter, pingTimeout)})
}

// An HTTP/2 connection on which nothing has come for pingAfter is asked for a sign of
// life, and given up after pingTimeout more. Both together are less than the time of
// one attempt, so that a connection which a firewall has forgotten costs the request
// that finds it and not the hundreds after it.
const (
	pingAfter   = 5 * time.Second
	pingTimeout = 3 * time.Second
)

// schemes is a transport that treats https and http apart.
type schemes struct {
	https *http.Transport
	http  *http.Transport // to loopback addresses only; nil: to nothing
}

func newSchemes(c ClientConfig, pingAfter, pingTimeout time.Duration) *schemes {
	config := c.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	s := &schemes{https: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    cmp.Or(c.MaxIdleConnsPerHost, 4),
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true, // a TLSClientConfig turns it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}}
	if c.AllowLoopbackHTTP {
		s.http = s.https.Clone()
		s.http.Proxy = nil
		plain := dialer // a copy: https goes anywhere
		plain.Control = refuseOthers
		s.http.DialContext = plain.DialContext
	}
	return s
}

// refuseOthers is the Control of a dialer to loopback addresses.
func refuseOthers(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !addr.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("http is permitted to loopback addresses only, and this is %s", address)
	}
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (s *schemes) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" {
		return s.https.RoundTrip(req)
	}
	if s.http == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errors.New("https is required")
	}
	return s.http.RoundTrip(req)
}

// CloseIdleConnections is what [http.Client] calls.
func (s *schemes) CloseIdleConnections() {
	s.https.CloseIdleConnections()
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
}

// Harden returns a copy of c that follows a redirect only for GET and HEAD,
// only within the same origin (so never to http), at most three times, and
// only if c's own CheckRedirect agrees. Everything else about c is its owner's.
func Harden(c *http.Client) *http.Client {
	hardened := *c
	own := c.CheckRedirect
	hardened.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if err := checkRedirect(req, via); err != nil || own == nil {
			return err
		}
		return own(req, via)
	}
	return &hardened
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	from, to := origins.Of(first.URL.Scheme, first.URL.Host), origins.Of(req.URL.Scheme, req.URL.Host)
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return errors.New("redirect refused: a " + first.Method + " is not repeated")
	case from != to:
		return fmt.Errorf("redirect refused: from %s to another origin, %s", from, to)
	case len(via) > maxRedirects:
		return fmt.Errorf("redirect refused: more than %d", maxRedirects)
	}
	return nil
}

// Plain says which http URLs may be called.
type Plain uint8

const (
	// NoPlain: none, https is required.
	NoPlain Plain = iota
	// PlainByName: those whose host is localhost or a loopback address as it is written.
	PlainByName
	// PlainByAddress: those whose host may be at a loopback address. A client of
	// [NewClient] finds out when it dials.
	PlainByAddress
)

// PlainFor returns which http URLs may be called by client, nil for one of
// [NewClient], if its user has allowed http to loopback addresses. What
// another client dials is not known, so there the name decides.
func PlainFor(allowed bool, client *http.Client) Plain {
	switch {
	case !allowed:
		return NoPlain
	case client != nil:
		return PlainByName
	}
	return PlainByAddress
}

// exception says, for an operator, to which hosts http is good.
func (p Plain) exception() string {
	if p == NoPlain {
		return "; for development, DangerouslyAllowLoopbackHTTP permits http to this machine"
	}
	return ", but for this machine"
}

// admits reports whether host, without a port, may be called by http.
func (p Plain) admits(host string) bool {
	if p == NoPlain {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil || p == PlainByName {
		return origins.IsLoopback(host)
	}
	return true
}

// CheckURL parses a URL that is to be called: absolute, https or permitted by
// plain, without user information or fragment.
func CheckURL(raw string, plain Plain) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("remote: not a URL: %w", bare(err))
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("remote: not an absolute URL")
	case u.User != nil:
		return nil, errors.New("remote: URL with user information")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("remote: URL with a fragment")
	case u.Scheme == "https", u.Scheme == "http" && plain.admits(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("remote: %s: https is required%s", printable(u), plain.exception())
}

// printable is u without what may hold a secret.
func printable(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// bare is err without the URL that net/http and net/url put in front.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// answer is a 200 with its body.
type answer struct {
	body   []byte
	header http.Header
}

// get makes the request. Only a 200 with a body within the limit is an answer.
func get(ctx context.Context, c *http.Client, u *url.URL, accept string, limit int64) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{}, fmt.Errorf("remote: %w", bare(err))
	}
	req.Header.Set("Accept", accept)
	res, err := c.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("remote: %s: %w", printable(u), bare(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return answer{}, &StatusError{Status: res.StatusCode, URL: printable(u)}
	}
	body, err := ReadBody(res.Body, limit)
	if err != nil {
		return answer{}, fmt.Errorf("remote: %s: %w", printable(u), err)
	}
	return answer{body, res.Header}, nil
}
