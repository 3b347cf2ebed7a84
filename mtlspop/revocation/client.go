package revocation

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keybound-go/middleware/internal/calls"
)

// client talks to the responders and distribution points that certificates name.
type client struct {
	http      *http.Client
	hosts     []string // nil allows all
	timeout   time.Duration
	maxList   int64
	slots     slots
	abandoned atomic.Int64 // fetches that did not end with their context
}

// maxAbandoned is how many fetches may go on after their time: a transport that ignores
// its context must not gather goroutines without limit.
const maxAbandoned = 64

func newClient(cfg *config) *client {
	transport := newTransport(cfg)
	if cfg.http != nil {
		transport = cfg.http.Transport
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

// newTransport returns a transport that connects to no local address, except to the
// proxies that the operator names and the hosts of WithHosts.
func newTransport(cfg *config) http.RoundTripper {
	dialer := &net.Dialer{Timeout: cfg.timeout}
	if cfg.hosts == nil {
		dialer.Control = refuseLocal
	}
	direct := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.roots, MinVersion: tls.VersionTLS12},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}
	if cfg.proxy == nil {
		return direct
	}
	proxied := direct.Clone()
	proxied.DialContext = (&net.Dialer{Timeout: cfg.timeout}).DialContext
	proxied.Proxy = func(r *http.Request) (*url.URL, error) {
		chosen, _ := r.Context().Value(chosenProxy{}).(*url.URL)
		if chosen == nil {
			return nil, errors.New("no proxy was chosen for the request")
		}
		return chosen, nil
	}
	return &byProxy{choose: cfg.proxy, direct: direct, proxied: proxied}
}

// byProxy sends a request through the proxy that choose names, and directly if it names
// none. A transport with an optional proxy of its own would need one dialer for both,
// and could not tell a proxy's address from that of a target.
type byProxy struct {
	choose          func(*http.Request) (*url.URL, error)
	direct, proxied http.RoundTripper
}

type chosenProxy struct{}

func (b *byProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := b.choose(r)
	switch {
	case err != nil:
		return nil, errors.New("the function of WithProxy failed") // Its text can hold a password.
	case proxy == nil:
		return b.direct.RoundTrip(r)
	}
	return b.proxied.RoundTrip(r.WithContext(context.WithValue(r.Context(), chosenProxy{}, proxy)))
}

// metadata are the addresses of cloud metadata services that are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
}

// nat64 embeds an IPv4 address in its last four bytes (RFC 6052, section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// refuseLocal runs after name resolution, so that a public name that resolves to a local
// address does not get through.
func refuseLocal(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := peer.Addr().WithZone("").Unmap()
	if nat64.Contains(ip) {
		bytes := ip.As16()
		ip = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || slices.Contains(metadata, ip) {
		return fmt.Errorf("%v is a local address; WithHosts can allow the host", ip)
	}
	return nil
}

// usable returns the first few of urls that may be asked. CAs name LDAP directories
// beside HTTP ones.
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

// outage is an error of a source as a whole: what it says about another certificate
// would be no better now.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// errTooLarge is in the error of an answer that is larger than its limit.
var errTooLarge = errors.New("the answer is too large")

// post sends an OCSP request: RFC 6960, appendix A.1.
func (c *client) post(ctx context.Context, url string, body []byte) ([]byte, error) {
	header := http.Header{
		"Content-Type": {"application/ocsp-request"},
		"Accept":       {"application/ocsp-response"},
	}
	der, err := c.fetch(ctx, http.MethodPost, url, header, bytes.NewReader(body), maxResponse)
	if errors.Is(err, errTooLarge) {
		err = outage{fmt.Errorf("%w: more than %d bytes", errTooLarge, maxResponse)}
	}
	return der, err
}

func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	der, err := c.fetch(ctx, http.MethodGet, url, http.Header{"Accept": {"application/pkix-crl"}}, nil, c.maxList)
	if errors.Is(err, errTooLarge) {
		err = outage{fmt.Errorf("%w: more than %d bytes, the limit of WithMaxListSize", errTooLarge, c.maxList)}
	}
	return der, err
}

// fetch waits for its turn and for the answer, together no longer than the time-out, by
// this side's clock and not by the transport's.
func (c *client) fetch(
	ctx context.Context, method, url string, header http.Header, body io.Reader, limit int64,
) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	release, err := c.slots.take(ctx, req.URL.Host)
	if err != nil {
		return nil, outage{fmt.Errorf("too many fetches under way: %w", err)}
	}
	defer release()
	if c.abandoned.Load() >= maxAbandoned {
		return nil, outage{errors.New("the transport does not end what is cancelled")}
	}
	req.Header = header
	call := calls.Begin(ctx, calls.Revocation)
	der, err := c.within(ctx, func() ([]byte, error) { return c.exchange(req, limit) })
	call.End(err != nil)
	return der, err
}

var errTimeout = errors.New("no answer within the time of WithTimeout")

// within runs f until it or ctx ends.
func (c *client) within(ctx context.Context, f func() ([]byte, error)) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.body, r.err = recovering(ctx, func(context.Context) ([]byte, error) { return f() })
		done <- r
	}()
	select {
	case r := <-done:
		return r.body, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done: // Most transports end at once.
		return r.body, r.err
	case <-time.After(grace):
	}
	c.abandoned.Add(1)
	go func() {
		<-done
		c.abandoned.Add(-1)
	}()
	return nil, outage{context.Cause(ctx)}
}

// grace is how long a transport has to notice that its context has ended.
const grace = 100 * time.Millisecond

// exchange sends req and reads the answer. Of its statuses only 200 brings an answer:
//
//	200                    the body is read
//	4xx                    nothing is here for this certificate: the next source is asked
//	408, 429, 5xx          an outage
//	1xx, 2xx, 3xx, others  an outage: redirects are not followed
func (c *client) exchange(req *http.Request, limit int64) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, outage{err}
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return nil, outage{fmt.Errorf("status %d", code)}
	case 400 <= code && code < 500:
		return nil, fmt.Errorf("status %d", code)
	case code != http.StatusOK:
		return nil, outage{fmt.Errorf("status %d", code)}
	case resp.ContentLength > limit:
		return nil, errTooLarge
	}
	return readAtMost(resp.Body, limit)
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, outage{err}
	case int64(len(body)) > limit:
		return nil, errTooLarge
	case len(body) == 0:
		return nil, outage{errors.New("an empty answer")}
	}
	return body, nil
}
