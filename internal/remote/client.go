package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxRedirects is how many redirects within one origin are followed.
const maxRedirects = 3

// NewClient returns a client for calls to an issuer: TLS 1.2 or later with a
// server check (FAPI 2.0, section 5.2.2), time-outs on every stage, and the
// redirect rule of [Harden]. config, which is cloned and may be nil, adds roots and client
// certificates; a lower MinVersion in it is raised.
func NewClient(config *tls.Config) *http.Client {
	config = config.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return Harden(&http.Client{
		Timeout: 15 * time.Second,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  10 * time.Second,
			ExpectContinueTimeout:  time.Second,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    4,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true, // a TLSClientConfig turns it off otherwise
		},
	})
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
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return errors.New("redirect refused: a " + first.Method + " is not repeated")
	case origin(req.URL) != origin(first.URL):
		return fmt.Errorf("redirect refused: from %s to another origin, %s", origin(first.URL), origin(req.URL))
	case len(via) > maxRedirects:
		return fmt.Errorf("redirect refused: more than %d", maxRedirects)
	}
	return nil
}

func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

// CheckURL parses a URL that is to be called: absolute, https, without user
// information or fragment. loopback permits http for localhost and loopback
// addresses.
func CheckURL(raw string, loopback bool) (*url.URL, error) {
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
	case u.Scheme == "https", u.Scheme == "http" && loopback && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("remote: %s: https is required", printable(u))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
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

// get makes the request. Only a 200 with a body within the limit is an answer.
func get(ctx context.Context, c *http.Client, u *url.URL, accept string, limit int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("remote: %w", bare(err))
	}
	req.Header.Set("Accept", accept)
	res, err := c.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("remote: %s: %w", printable(u), bare(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, &StatusError{Status: res.StatusCode, URL: printable(u)}
	}
	body, err := ReadBody(res.Body, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("remote: %s: %w", printable(u), err)
	}
	return body, res.Header, nil
}
