package reverseproxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware/internal/options"
)

// Option is a setting of [New] and [Harden].
type Option func(*config)

type config struct {
	set      *options.Set
	identity map[string]bool // canonical names
}

// WithIdentityHeaders names the fields by which the proxy tells the service about
// the caller, such as X-User. The client's copies are deleted, under every spelling
// that a service could take for them, before the proxy's Rewrite runs: only Rewrite
// can set them.
func WithIdentityHeaders(names ...string) Option {
	return func(c *config) {
		if !c.set.Once("WithIdentityHeaders") {
			return
		}
		for _, name := range names {
			if dashed(name) == "" {
				c.set.Problem("WithIdentityHeaders: an empty name")
			}
			c.identity[dashed(name)] = true
		}
	}
}

// New returns a handler that forwards requests to target, an http or https URL, with
// the path of the request behind that of target, and with X-Forwarded-For, -Host and
// -Proto that tell of the immediate peer. For anything else, such as claims in
// headers, another transport, or a terminator in front, use [Harden].
//
// The handler is safe for concurrent use.
func New(target *url.URL, opts ...Option) (http.Handler, error) {
	if target == nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, errors.New("reverseproxy: the target is not an http or https URL with a host")
	}
	to := *target
	return Harden(&httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(&to)
		pr.SetXForwarded()
	}}, opts...)
}

// Harden returns a handler that forwards requests as p does, with the exceptions
// that the package comment lists. It works on a copy of p, which must have a Rewrite
// and no Director: a Director runs before what the client names in Connection is
// removed, so that the client can remove what it has set.
//
// The Rewrite of p runs last. It finds the query as it came and the client's fields
// without those that are dropped, and has the last word. Its Transport is used as it
// is. A nil ErrorHandler answers 502 and logs to the ErrorLog of p, unless the client
// has gone away.
//
// The handler is safe for concurrent use if the functions of p are.
func Harden(p *httputil.ReverseProxy, opts ...Option) (http.Handler, error) {
	c := &config{set: options.For("reverseproxy"), identity: make(map[string]bool)}
	options.Each(c.set, opts, func(opt Option) { opt(c) })
	switch {
	case p == nil:
		c.set.Problem("the proxy is nil")
	//lint:ignore SA1019 a Director is deprecated, and refused here for the same reason
	case p.Director != nil:
		c.set.Problem("Director is set: the client could remove what it sets; use Rewrite")
	case p.Rewrite == nil:
		c.set.Problem("Rewrite is nil: the proxy would not know where to forward to")
	}
	if err := c.set.Err(); err != nil {
		return nil, err
	}
	h := &handler{proxy: *p, identity: c.identity, rewrite: p.Rewrite, modify: p.ModifyResponse}
	h.proxy.Rewrite, h.proxy.ModifyResponse = h.rewriteHardened, h.modifyHardened
	if h.proxy.ErrorHandler == nil {
		h.proxy.ErrorHandler = h.failed
	}
	return h, nil
}

// handler never changes after Harden.
type handler struct {
	proxy    httputil.ReverseProxy
	identity map[string]bool
	rewrite  func(*httputil.ProxyRequest)
	modify   func(*http.Response) error
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect, r.Method == "PRI":
		// A tunnel, and the start of HTTP/2 on this connection (RFC 9113, section 3.4).
		http.Error(w, "the method is not supported", http.StatusNotImplemented)
		return
	case !isForwardable(r.URL):
		http.Error(w, "the request target is malformed", http.StatusBadRequest)
		return
	}
	upgrade, body := len(r.Header["Upgrade"]) > 0 && !isWebSocket(r), r.ContentLength > 0 && r.Body != nil
	if upgrade || body {
		r = r.WithContext(r.Context())
	}
	if upgrade {
		r.Header = r.Header.Clone()
		delete(r.Header, "Upgrade")
	}
	if body {
		r.Body = &endingBody{ReadCloser: r.Body}
	}
	h.proxy.ServeHTTP(w, r)
}

// endingBody is read no more once it has ended. With a Content-Length, an
// http.Transport reads once more, to see whether there is too much; a service that has
// all of the body may have answered by then, and a server of HTTP/1.1 fails a read of
// the body while a response is written. The transport would cut the response off.
type endingBody struct {
	io.ReadCloser
	ended bool
}

func (b *endingBody) Read(p []byte) (n int, err error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err = b.ReadCloser.Read(p)
	b.ended = err == io.EOF
	return n, err
}

// rewriteHardened runs after the proxy has removed what is hop-by-hop and what the
// client names in Connection.
func (h *handler) rewriteHardened(pr *httputil.ProxyRequest) {
	for name := range pr.Out.Header {
		if !isPlainName(name) || h.identity[name] || isWrittenByProxies(name) {
			delete(pr.Out.Header, name)
		}
	}
	delete(pr.Out.Header, "Http2-Settings")
	if credentials, ok := pr.In.Header["Authorization"]; ok {
		pr.Out.Header["Authorization"] = credentials
	}
	if len(pr.Out.Header["Upgrade"]) > 0 {
		pr.Out.Header["Upgrade"] = []string{"websocket"}
	}
	pr.Out.Trailer = nil // of a request, ReverseProxy forwards the names alone
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	h.rewrite(pr)
}

// modifyHardened removes the service's own dealings with DPoP.
func (h *handler) modifyHardened(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols && !strings.EqualFold(resp.Request.Header.Get("Upgrade"), "websocket") {
		return errors.New("reverseproxy: the service switches protocols unasked")
	}
	delete(resp.Header, "Dpop-Nonce")
	if challenges, ok := resp.Header["Www-Authenticate"]; ok {
		if kept := withoutDPoP(challenges); len(kept) > 0 {
			resp.Header["Www-Authenticate"] = kept
		} else {
			delete(resp.Header, "Www-Authenticate")
		}
	}
	if h.modify == nil {
		return nil
	}
	return h.modify(resp)
}

// failed is the ErrorHandler of a proxy that has none.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	if !IsClientGone(r, err) {
		logf := log.Printf
		if h.proxy.ErrorLog != nil {
			logf = h.proxy.ErrorLog.Printf
		}
		logf("reverseproxy: the request was not forwarded: %v", err)
	}
	w.WriteHeader(http.StatusBadGateway)
}

// IsClientGone reports whether an error that an ErrorHandler is given says only that
// the client has gone away, which is no failure of the service.
func IsClientGone(r *http.Request, err error) bool {
	return r.Context().Err() != nil && errors.Is(err, context.Canceled)
}
