package revocation

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// client talks to the responders and distribution points that certificates name.
type client struct {
	http    *http.Client
	hosts   []string // nil allows all
	timeout time.Duration
	maxList int64
	slots   slots
}

func newClient(cfg *config) *client {
	transport := cfg.transport
	if transport == nil {
		transport = newTransport(cfg)
	}
	return &client{
		http: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		hosts:   cfg.hosts,
		timeout: cfg.timeout,
		maxList: cfg.maxList,
		slots:   slots{hosts: make(map[string]*queue)},
	}
}

func newTransport(cfg *config) *http.Transport {
	dialer := &net.Dialer{Timeout: cfg.timeout}
	if cfg.hosts == nil {
		dialer.Control = refuseLocal
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.roots, MinVersion: tls.VersionTLS12},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}
}

// refuseLocal runs after name resolution, so that a public name that resolves to a local address does not get through.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := peer.Addr(); ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("%v is a local address; WithHosts can allow the host", ip)
	}
	return nil
}

// usable returns the first few of urls that may be asked. CAs name LDAP directories beside HTTP ones.
func (c *client) usable(urls []string) []string {
	var usable []string
	for _, raw := range urls {
		if c.allowed(raw) && !slices.Contains(usable, raw) {
			usable = append(usable, raw)
		}
	}
	return usable[:min(len(usable), maxSources)]
}

func (c *client) allowed(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return false
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return c.hosts == nil || slices.Contains(c.hosts, strings.ToLower(u.Hostname()))
}

// post sends an OCSP request: RFC 6960, appendix A.1.
func (c *client) post(ctx context.Context, url string, body []byte) ([]byte, error) {
	header := http.Header{
		"Content-Type": {"application/ocsp-request"},
		"Accept":       {"application/ocsp-response"},
	}
	return c.fetch(ctx, http.MethodPost, url, header, bytes.NewReader(body), maxResponse)
}

func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	return c.fetch(ctx, http.MethodGet, url, http.Header{"Accept": {"application/pkix-crl"}}, nil, c.maxList)
}

// fetch waits for its turn and for the answer, together no longer than the time-out.
func (c *client) fetch(
	ctx context.Context, method, url string, header http.Header, body io.Reader, limit int64,
) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	release, err := c.slots.take(ctx, req.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("too many fetches under way: %w", err)
	}
	defer release()
	req.Header = header
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return readAtMost(resp.Body, limit)
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("answer of more than %d bytes", limit)
	}
	return body, nil
}
