package forwardauth

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/identity"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
)

// Handler answers the subrequests of proxies. It is safe for concurrent use. The zero
// Handler refuses every request.
type Handler struct {
	guard   *middleware.Guard
	proxies []*proxy
	sign    *Signer // nil: no assertion
	logger  *slog.Logger
	said    [causes]atomic.Int64 // when each cause was reported last, in Unix seconds
}

// New returns a Handler that asks guard, or every mistake in opts joined. At least one
// [WithProxy] or [TrustUnixSocket] is required.
func New(guard *middleware.Guard, opts ...Option) (*Handler, error) {
	c := &config{Set: options.For("forwardauth")}
	options.Value(c.Set, "the Guard", guard)
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	if len(c.proxies) == 0 {
		c.Problem("no proxy is trusted: add WithProxy or TrustUnixSocket")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Handler{guard: guard, proxies: c.proxies, sign: c.sign, logger: c.logger}, nil
}

// ServeHTTP answers one subrequest: 200 if the request that it tells of may pass; what
// the Guard answers to its client if it may not; 403 to peers that are not trusted, and
// 500 if the fields of the dialect are not there once each. Every answer replaces the
// fields of the package comment, and none may be stored. The body of r is not read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := w.Header()
	identity.None.Write(answer)
	answer.Set("Cache-Control", "no-store")
	p := h.proxyOf(r)
	if p == nil {
		h.report(r.Context(), untrusted, "a peer that is not trusted asks about a request", r)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	q, err := p.original(r)
	if err != nil {
		h.report(r.Context(), malformed, "a proxy asks without telling about what: "+err.Error(), r)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	v := h.guard.Judge(r.Context(), q)
	h.give(answer, p, v)
	if !v.Pass {
		w.WriteHeader(v.Denial.Status)
		w.Write(v.Body)
		return
	}
	said := identity.Of(v.Credential)
	if h.sign != nil && v.Credential != nil {
		if said.Assertion, err = h.sign.assert(v.Credential, q); err != nil {
			h.report(r.Context(), unsigned, "the assertion cannot be signed: "+err.Error(), r)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	said.Write(answer)
	w.WriteHeader(http.StatusOK)
}

// proxyOf returns the proxy that r comes from, or nil if its peer is not trusted.
func (h *Handler) proxyOf(r *http.Request) *proxy {
	if h == nil || h.guard == nil {
		return nil
	}
	from := peers.Of(r)
	for _, p := range h.proxies {
		if p.peers.Trusts(from) {
			return p
		}
	}
	return nil
}

// original returns the request that the client has sent, as the proxy tells of it.
//
// Precondition: r comes from the proxy.
func (p *proxy) original(r *http.Request) (middleware.Request, error) {
	if r.Method != http.MethodGet {
		return middleware.Request{}, errors.New("the subrequest is not a GET: clients must not reach this handler through the proxy")
	}
	fields := all[p.dialect]
	// Not by RequestOf: what it sees in r is the proxy's way to tell.
	q := middleware.Request{RemoteAddr: r.RemoteAddr, LocalAddr: peers.Of(r).LocalAddr}
	for _, field := range [...]struct {
		name  string
		value *string
	}{{fields.method, &q.Method}, {fields.uri, &q.Target}, {fields.host, &q.Host}} {
		value, n := headers.Single(r.Header, field.name)
		if n != 1 || value == "" {
			return middleware.Request{}, errors.New("the field " + field.name + " must come once, and say something")
		}
		*field.value = value
	}
	q.Header = withoutOwn(r.Header)
	if body := r.Header[bodyField]; p.dialect == Traefik || len(body) != 1 || body[0] != "none" {
		q.Header["Transfer-Encoding"] = []string{"unknown"}
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 { // A body that is passed on is the client's.
		q.Header["Transfer-Encoding"] = []string{"unknown"}
	}
	q.TLS = withoutCertificate(r.TLS)
	return q, nil
}

// withoutCertificate returns the state of the proxy's own connection without the
// certificate that the proxy may have presented: it is not the client's.
func withoutCertificate(cs *tls.ConnectionState) *tls.ConnectionState {
	if cs == nil {
		return nil
	}
	own := *cs
	own.PeerCertificates, own.VerifiedChains = nil, nil
	return &own
}

// withoutOwn returns the client's fields: h without those that tell of the request, in
// every dialect, and without those that tell of its sender.
func withoutOwn(h http.Header) http.Header {
	h = maps.Clone(h)
	for _, name := range own {
		delete(h, name)
	}
	return h
}

// own are the fields of a subrequest that are not the client's.
var own = func() []string {
	names := []string{bodyField, "Content-Length", "Transfer-Encoding"}
	for _, fields := range all {
		names = append(names, fields.method, fields.uri, fields.host)
	}
	for name := range identity.None.Fields() {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}()

// give sets what the Guard has to say to the client.
func (h *Handler) give(answer http.Header, p *proxy, v middleware.Verdict) {
	for name, values := range v.Header {
		if name == "Www-Authenticate" && p.dialect == NGINX {
			values = []string{strings.Join(values, ", ")}
		}
		answer[name] = values
	}
	answer.Set("Cache-Control", "no-store")
}

// The causes that the Handler reports itself.
const (
	untrusted = iota
	malformed
	unsigned
	causes
)

// report logs a line, unless one for the same cause has been logged in the last ten
// seconds.
func (h *Handler) report(ctx context.Context, cause int, text string, r *http.Request) {
	const pause = 10 // seconds
	if h == nil {
		return
	}
	now := time.Now().Unix()
	last := h.said[cause].Load()
	if now-last < pause || !h.said[cause].CompareAndSwap(last, now) {
		return
	}
	logger := h.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.WarnContext(ctx, "forwardauth: "+text, "peer", r.RemoteAddr)
}
