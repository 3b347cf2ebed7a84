package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/reverseproxy"
)

// gateway sends each request to the guard of its route, and what passes to the
// service behind. It never changes.
type gateway struct {
	byPrint    map[[32]byte]*guarded // those of guards that another configuration can go on with
	transports []*http.Transport
	deployment *deployment
	router     *router
	handlers   map[*kongfile.Route]http.Handler
	hidden     []string // fields that no client may send to a service
	guards     []*guarded
	documents  documents
}

// newGateway makes everything. Its error has the mistakes that were found in the
// file, and those that show when its plugins become guards, by their lines. Guards of
// plugins that say the same as in the gateway before, which may be nil, are taken
// over, with what they know.
func newGateway(c *kongfile.File, d *deployment, before *gateway) (*gateway, error) {
	gw := &gateway{byPrint: make(map[[32]byte]*guarded), deployment: d, router: newRouter(c.Services), handlers: make(map[*kongfile.Route]http.Handler), hidden: hiddenHeaders(c)}
	byPlugin := make(map[*kongfile.Plugin]*guarded)
	for _, p := range c.Attached {
		if p.OpenID == nil || !p.Enabled || p.Broken {
			continue
		}
		print := c.Fingerprint(p.OpenID)
		g := before.take(print)
		if g == nil || gw.byPrint[print] != nil {
			var err error
			if g, err = d.newGuard(c, p.OpenID); err != nil {
				p.Mistake("%v", err)
				continue
			}
		}
		g.users.Add(1)
		byPlugin[p], gw.byPrint[print] = g, g
		gw.guards = append(gw.guards, g)
		if err := gw.documents.add(p.OpenID, g.guard); err != nil {
			p.Mistake("%v", err)
		}
	}
	for _, s := range c.Services {
		if d.pointsAtAdmin(s.URL) {
			s.Mistake("a service cannot be the admin listener: its guard would be this gateway's own")
		}
	}
	if err := c.Problems.Err(); err != nil {
		gw.close()
		return nil, err
	}
	for _, s := range c.Services {
		to := d.transportTo(s, c)
		gw.transports = append(gw.transports, to)
		transport := &patient{to, s.ReadTimeout}
		for _, r := range s.Routes {
			g := byPlugin[c.OpenIDOf(r)] // nil: every request may pass
			handler, err := gw.forward(r, g, transport)
			if err != nil {
				gw.close()
				return nil, err
			}
			if g != nil {
				handler = g.guard.Wrap(handler)
			}
			gw.handlers[r] = handler
		}
	}
	return gw, nil
}

// take returns the guard of a plugin that says the same, or nil.
func (gw *gateway) take(print [32]byte) *guarded {
	if gw == nil {
		return nil
	}
	return gw.byPrint[print]
}

// without returns a gateway that has only the guards to take over that use no issuer
// for which f is true.
func (gw *gateway) without(f func(issuer string) bool) *gateway {
	kept := maps.Clone(gw.byPrint)
	maps.DeleteFunc(kept, func(_ [32]byte, g *guarded) bool {
		return slices.ContainsFunc(g.issuers, func(r *reported) bool { return f(r.issuer.URL()) })
	})
	return &gateway{byPrint: kept}
}

// close ends the guards that no other gateway has taken over. No request may be
// under way.
func (gw *gateway) close() {
	for _, g := range gw.guards {
		if g.users.Add(-1) == 0 {
			g.close()
		}
	}
	for _, t := range gw.transports {
		t.CloseIdleConnections()
	}
}

func (gw *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, client := limited(w, r)
	defer func() { _ = client.SetWriteDeadline(time.Now().Add(takeWithin)) }() // of what net/http still has to send
	if r.Method == http.MethodConnect || r.Method == "PRI" {
		writeMessage(w, http.StatusNotImplemented, "the method is not supported")
		return
	}
	if r.Host != "" && !kongfile.IsHost(r.Host) {
		writeMessage(w, http.StatusBadRequest, "the Host is malformed")
		return
	}
	path, err := kongfile.NormalPath(r.URL.EscapedPath())
	if err != nil {
		writeMessage(w, http.StatusBadRequest, err.Error())
		return
	}
	if document := gw.documents.find(r.Host, path); document != nil {
		document.ServeHTTP(w, r)
		return
	}
	found, prefix := gw.router.find(r, path)
	switch {
	case found == nil:
		writeMessage(w, http.StatusNotFound, "no Route matched with those values")
		return
	case !slices.Contains(found.Protocols, gw.protocol(r)):
		gw.sendToHTTPS(w, r, found)
		return
	case kongfile.HasDotSegment(targetOf(found, path, prefix)):
		writeMessage(w, http.StatusBadRequest, kongfile.ErrPathDots.Error())
		return
	case gw.router.isAmbiguous(r, path, found):
		writeMessage(w, http.StatusBadRequest, "the path can be read as that of another route")
		return
	}
	t := &trip{route: found, path: path, prefix: prefix, remote: r.RemoteAddr, method: r.Method, client: client}
	gw.handlers[found].ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tripKey{}, t)))
}

// sendToHTTPS answers a request over plain HTTP on a route of HTTPS.
func (gw *gateway) sendToHTTPS(w http.ResponseWriter, r *http.Request, of *kongfile.Route) {
	if of.Redirect != http.StatusUpgradeRequired {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		w.Header().Set("Location", (&url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}).String())
		writeMessage(w, of.Redirect, "Please use HTTPS protocol")
		return
	}
	w.Header().Set("Upgrade", "TLS/1.2, HTTP/1.1")
	w.Header().Set("Connection", "Upgrade")
	writeMessage(w, http.StatusUpgradeRequired, "Please use HTTPS protocol")
}

// protocol is what the client spoke, as far as a trusted terminator tells.
func (gw *gateway) protocol(r *http.Request) string {
	if r.TLS != nil || gw.trusts(r) && r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https"
	}
	return "http"
}

func (gw *gateway) trusts(r *http.Request) bool {
	return gw.deployment.terminators().Trusts(peers.Of(r))
}

// forward makes the handler that asks the service behind.
func (gw *gateway) forward(of *kongfile.Route, g *guarded, transport http.RoundTripper) (http.Handler, error) {
	return reverseproxy.Harden(&httputil.ReverseProxy{
		Rewrite:    func(pr *httputil.ProxyRequest) { gw.rewrite(pr, of, g) },
		Transport:  transport,
		BufferPool: &buffers{},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			level, text := slog.LevelError, "the service behind failed"
			if reverseproxy.IsClientGone(r, err) {
				level, text = slog.LevelDebug, "the client went away"
			}
			gw.deployment.log.Log(r.Context(), level, text, append(gw.deployment.request(r.Context()), "error", err.Error())...)
			writeMessage(w, http.StatusBadGateway, "An invalid response was received from the upstream server")
		},
	}, reverseproxy.WithIdentityHeaders(gw.hidden...))
}

// rewrite makes the request to the service behind of the one that has passed. It
// runs after the proxy has removed what the client's Connection field names, so
// that a client cannot remove what is set here.
func (gw *gateway) rewrite(pr *httputil.ProxyRequest, of *kongfile.Route, g *guarded) {
	t := tripOf(pr.In.Context())
	out := pr.Out
	raw := targetOf(of, t.path, t.prefix)
	path, err := url.PathUnescape(raw)
	if err != nil { // a normal path can be unescaped
		panic(http.ErrAbortHandler)
	}
	out.URL.Scheme, out.URL.Host = of.Service.URL.Scheme, of.Service.URL.Host
	out.URL.Path, out.URL.RawPath = path, raw
	out.Host = ""
	if of.PreserveHost {
		out.Host = pr.In.Host
	}
	for _, other := range gw.guards { // a browser sends the cookie of one route to all of them
		out.Header = other.sessions.Strip(out.Header)
	}
	trusted := gw.trusts(pr.In)
	if before := pr.In.Header["X-Forwarded-For"]; trusted && len(before) > 0 {
		out.Header["X-Forwarded-For"] = before
	}
	pr.SetXForwarded()
	if trusted && gw.protocol(pr.In) == "https" {
		out.Header.Set("X-Forwarded-Proto", "https")
	}
	if g == nil {
		return
	}
	// A preflight that passes without credentials gets none here either.
	out.Header.Del("Authorization")
	credential, ok := middleware.FromContext(pr.In.Context())
	if !ok {
		return
	}
	token, _ := strings.CutPrefix(pr.In.Header.Get("Authorization"), "Bearer ") // what ForwardBearer makes
	tell(g.upstream, out.Header, credential.Token, token)
}

// hiddenHeaders are the fields by which a service knows a client: those that any plugin
// reads or writes, and those that services behind Kong believe.
func hiddenHeaders(c *kongfile.File) []string {
	hidden := []string{
		"DPoP", "X-Consumer-Id", "X-Consumer-Custom-Id", "X-Consumer-Username", "X-Consumer-Groups", "X-Credential-Identifier",
		"X-Credential-Username", "X-Anonymous-Consumer", "X-Authenticated-Userid", "X-Authenticated-Scope", "X-Authenticated-Groups",
		"X-Userinfo", "X-Id-Token", "X-Access-Token",
	}
	for _, p := range c.Attached {
		if p.OpenID == nil {
			continue
		}
		for _, claim := range p.OpenID.Upstream.Claims {
			hidden = append(hidden, claim.Name)
		}
		if name := p.OpenID.Upstream.TokenHeader; name != "" && name != "Authorization" {
			hidden = append(hidden, name)
		}
		if h := p.OpenID.Certificate.Header; h != nil && h.Field != "" {
			hidden = append(hidden, h.Field)
		}
	}
	return hidden
}

// transportTo is how a service is reached.
func (d *deployment) transportTo(s *kongfile.Service, c *kongfile.File) *http.Transport {
	const idle = 256
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(s.Authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		for _, id := range s.Authorities {
			config.RootCAs.AddCert(c.Authorities[id])
		}
	}
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: s.DialTimeout, KeepAlive: 30 * time.Second, Control: d.refuseAdmin}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   s.DialTimeout,
		ResponseHeaderTimeout: s.ReadTimeout,
		MaxIdleConnsPerHost:   idle,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
	}
}

// buffers are what bodies are copied with.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
