package mcpguard

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/jub0bs/cors"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
)

// preflightAge is for how long a browser may keep the answer to a preflight, in seconds.
const preflightAge = 600

// Handler is an MCP server behind a guard. Make one with [New]. It is safe for
// concurrent use. The zero Handler answers 404.
type Handler struct {
	*config
	path         string // of the endpoint, as a request line spells it
	metadataPath string
	metadata     http.Handler
	endpoint     http.Handler
	own          string // our origin
	host         string // of the resource
	log          *slog.Logger
	maxBody      int64
	steps        map[string]func(http.Handler) http.Handler // by tool: a guard that demands its scopes

	installing sync.Mutex
	installed  map[weak.Pointer[mcp.Server]]bool // those that have this Handler's receiving middleware
	unnamed    sync.Map                          // unnamed tools that were logged
}

// New returns a Handler for the server. It adds receiving middleware to the server, which
// makes the server part of the guard. The handler serves the endpoint at the path of the
// resource identifier, and the metadata of the resource where RFC 9728, section 3.1, puts
// it.
//
// A session belongs to the issuer, user and client of the token that it began with: the
// three are the UserID of the SDK's TokenInfo. A message, stream or DELETE with the
// token of another user, or of another client of the same user, is 403. A new token of
// the same client may use the session, also if it is bound to another key, unless
// [BindSessionsToKey] is given.
//
// The Extra of the TokenInfo has "iss", "sub" and "client_id". For the whole credential
// ask [middleware.FromContext] in the SDK's handlers.
//
// New refuses a guard whose resource is none of the audiences of its TokenVerifier, or
// names an authorization server that is none of its issuers, and a TokenVerifier whose
// [oidc.Policy] does not list them.
//
// The error joins every problem, one per line. New touches no network.
//
// [oidc.Policy]: https://pkg.go.dev/github.com/keybound-go/middleware/oidc#Policy
func New(server *mcp.Server, opts ...Option) (*Handler, error) {
	c := &config{Set: options.For("mcpguard")}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	switch {
	case server == nil && c.servers == nil:
		c.Problem("no server; give New one, or WithServers")
	case server != nil && c.servers != nil:
		c.Problem("a server and WithServers exclude each other")
	case server != nil:
		c.servers = func(*http.Request) *mcp.Server { return server }
	}
	if !c.Given("WithGuard") {
		c.Problem("no guard; add WithGuard")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	h := &Handler{config: c, installed: make(map[weak.Pointer[mcp.Server]]bool)}
	h.build()
	if err := c.Err(); err != nil {
		return nil, err
	}
	if server != nil {
		h.install(server)
	}
	return h, nil
}

// build assembles the handler's doors from its parts.
func (h *Handler) build() {
	d := h.guard.Describe()
	if d.Preset != "MCP" {
		h.Problem("WithGuard: the guard is without the preset middleware.MCP")
		return
	}
	resource, err := url.Parse(d.Resource)
	if err != nil {
		h.Problem("WithGuard: the resource identifier %q is not a URL", d.Resource)
		return
	}
	h.checkResource(d)
	h.assemble(resource)
}

func (h *Handler) assemble(resource *url.URL) {
	h.path = resource.EscapedPath()
	if h.path == "" {
		h.path = "/"
	}
	h.host, _ = hostName(resource.Host)
	h.own = originOf(resource)
	if h.log = h.transport.Logger; h.log == nil {
		h.log = slog.Default()
	}
	if h.maxBody = h.transport.MaxRequestBodyBytes; h.maxBody == 0 {
		h.maxBody = mcp.DefaultMaxRequestBodyBytes
	}
	h.transport.DisableLocalhostProtection = true // see hasKnownHost
	h.buildSteps()

	var document http.Handler
	h.metadataPath, document = h.guard.Metadata()
	// Scripts of any origin read it, and some send MCP-Protocol-Version with it, which
	// makes browsers ask first.
	h.metadata = h.crossOrigin(cors.Config{Origins: []string{"*"}, RequestHeaders: []string{"*"}, MaxAgeInSeconds: preflightAge}, document)

	h.endpoint = h.guarded(mcp.NewStreamableHTTPHandler(h.server, &h.transport))
}

// checkResource reports where the metadata and the TokenVerifier disagree: clients that
// follow the metadata would get tokens that the guard refuses.
func (h *Handler) checkResource(d middleware.Description) {
	p := d.Tokens // which the preset has asked for
	if len(p.Issuers) == 0 || len(p.Audiences) == 0 {
		h.Problem("WithGuard: the Policy of the TokenVerifier lists no Issuers or no Audiences that all of them share: nothing says whether tokens for the resource are accepted")
		return
	}
	if !slices.Contains(p.Audiences, d.Resource) {
		h.Problem("WithGuard: the resource is %q, and the TokenVerifier accepts tokens for %q: clients ask for tokens for the resource", d.Resource, p.Audiences)
	}
	for _, server := range d.AuthorizationServers {
		if !slices.Contains(p.Issuers, server) {
			h.Problem("WithGuard: the resource names the authorization server %q, and the TokenVerifier accepts tokens of %q", server, p.Issuers)
		}
	}
}

// guarded is the endpoint of the SDK's handler.
func (h *Handler) guarded(sdk http.Handler) http.Handler {
	guarded := h.guard.Wrap(h.stepUp(h.identify(sdk)))
	if len(h.origins) > 0 {
		guarded = h.crossOrigin(cors.Config{
			Origins:         h.origins,
			Methods:         []string{http.MethodGet, http.MethodPost, http.MethodDelete},
			RequestHeaders:  []string{"*", "Authorization"}, // tools may have fields of their own: Mcp-Param-...
			ResponseHeaders: []string{"DPoP-Nonce", "Mcp-Session-Id", "Retry-After", "WWW-Authenticate"},
			MaxAgeInSeconds: preflightAge,
		}, guarded)
	}
	return h.checkOrigin(guarded)
}

func (h *Handler) crossOrigin(c cors.Config, next http.Handler) http.Handler {
	m, err := cors.NewMiddleware(c)
	if err != nil {
		h.Problem("WithOrigins: %w", err)
		return next
	}
	return m.Wrap(next)
}

// Guard returns the guard, for its Ready, Status, Describe and Close.
func (h *Handler) Guard() *middleware.Guard { return h.guard }

// ServeHTTP serves the endpoint and the metadata, at exactly their paths. Everything else
// is 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.config == nil {
		http.NotFound(w, r)
		return
	}
	switch r.URL.EscapedPath() {
	case h.path:
		h.endpoint.ServeHTTP(w, r)
	case h.metadataPath:
		h.metadata.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Endpoint returns the guarded handler of the endpoint alone, for a route whose path a
// proxy in front, or http.StripPrefix, has changed.
func (h *Handler) Endpoint() http.Handler {
	if h.config == nil {
		return http.NotFoundHandler()
	}
	return h.endpoint
}

// checkOrigin refuses requests that a page of a foreign origin has made a browser send.
// It checks Origin, and also Host: if a DNS name of the attacker leads here, the browser
// takes the request for one of the same origin and sends no Origin. MCP demands both
// checks.
func (h *Handler) checkOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.hasKnownHost(r) {
			http.Error(w, "Forbidden: unknown Host", http.StatusForbidden)
			return
		}
		if origins := r.Header["Origin"]; len(origins) > 1 || len(origins) == 1 && origins[0] != h.own && !slices.Contains(h.origins, origins[0]) {
			http.Error(w, "Forbidden: unknown Origin", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *Handler) hasKnownHost(r *http.Request) bool {
	name, port := hostName(r.Host)
	if name == h.host || isAddress(name) {
		return true
	}
	return slices.ContainsFunc(h.hosts, func(known string) bool {
		n, p := hostName(known)
		return n == name && (p == "" || p == port)
	})
}

// server returns the server for a request of the SDK, with this Handler's middleware.
func (h *Handler) server(r *http.Request) *mcp.Server {
	if c, ok := callOf(r.Context()); ok {
		r = r.WithContext(middleware.NewContext(r.Context(), c.credential))
	}
	s := h.servers(r)
	if s != nil {
		h.install(s)
	}
	return s
}

// install adds this Handler's receiving middleware to s, once. It does not keep the
// server alive.
func (h *Handler) install(s *mcp.Server) {
	p := weak.Make(s)
	h.installing.Lock()
	defer h.installing.Unlock()
	if h.installed[p] {
		return
	}
	s.AddReceivingMiddleware(h.receive)
	h.installed[p] = true
	runtime.AddCleanup(s, func(p weak.Pointer[mcp.Server]) {
		h.installing.Lock()
		defer h.installing.Unlock()
		delete(h.installed, p)
	}, p)
}

// recovered calls f, and makes an error of a panic in it.
func recovered(what string, f func()) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("mcpguard: panic in %s", what)
		}
	}()
	f()
	return nil
}
