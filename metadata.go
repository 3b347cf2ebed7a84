package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/origins"
)

// metadataMaxAge is for how long a client may keep a metadata document
// (RFC 9728, section 7.10).
const metadataMaxAge = "public, max-age=3600"

// ProtectedResource describes what a guard protects, for clients that find out
// by themselves where to get a token (RFC 9728).
type ProtectedResource struct {
	// Identifier is the resource identifier: an https URL without fragment, or an http
	// one on this machine, for development.
	// Strict clients want it to be the URL of their request, so give each
	// resource path a guard of its own. Required.
	Identifier string
	// AuthorizationServers are the issuers whose tokens are accepted: https URLs without
	// query and fragment (RFC 8414, section 2), or http ones on this machine.
	AuthorizationServers []string
	// Scopes are the scopes that clients may want to ask for.
	Scopes []string
	// Name and Documentation are for people; Documentation is a URL.
	Name, Documentation string
	// JWKSURI is where the resource publishes keys of its own, an https URL.
	JWKSURI string
}

// WithProtectedResource names the resource that the guard protects. Every
// challenge then carries resource_metadata (RFC 9728, section 5.1), and
// [Guard.Metadata] serves the document that it points to.
func WithProtectedResource(resource ProtectedResource) Option {
	return once("WithProtectedResource", func(b *builder) {
		if err := resource.validate(); err != nil {
			b.Join(err)
			return
		}
		b.resource = resource.clone()
	})
}

func (p ProtectedResource) clone() *ProtectedResource {
	p.AuthorizationServers = slices.Clone(p.AuthorizationServers)
	p.Scopes = slices.Clone(p.Scopes)
	return &p
}

// validate reports every mistake in the description at once.
func (p ProtectedResource) validate() error {
	var problems []error
	id, err := url.Parse(p.Identifier)
	if err != nil || !isSecure(id) || id.User != nil || strings.Contains(p.Identifier, "#") || quote(p.Identifier) != `"`+p.Identifier+`"` {
		problems = append(problems, fmt.Errorf("middleware: ProtectedResource: Identifier %q is not an https URL without fragment (RFC 9728, section 1.2)", p.Identifier))
	}
	for _, optional := range []string{p.Documentation, p.JWKSURI} {
		if u, err := url.Parse(optional); optional != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			problems = append(problems, fmt.Errorf("middleware: ProtectedResource: %q is not an https URL", optional))
		}
	}
	for _, server := range p.AuthorizationServers {
		if !isIssuer(server) {
			problems = append(problems, fmt.Errorf("middleware: ProtectedResource: the authorization server %q is no issuer: https, without query and fragment (RFC 8414, section 2)", server))
		}
	}
	for _, scope := range p.Scopes {
		if !headers.IsScope(scope) {
			problems = append(problems, fmt.Errorf("middleware: ProtectedResource: %q is not a scope", scope))
		}
	}
	return errors.Join(problems...)
}

// isIssuer reports whether clients can start from an issuer identifier. Plain http is
// for one on this machine, in development.
func isIssuer(identifier string) bool {
	u, err := url.Parse(identifier)
	return err == nil && isSecure(u) && u.User == nil && !strings.ContainsAny(identifier, "?#")
}

// isSecure reports whether what u names is reached by https, or is on this machine.
func isSecure(u *url.URL) bool {
	return u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http" && origins.IsLoopback(u.Hostname()))
}

// metadataURL inserts the well-known path between host and path of the
// identifier (RFC 9728, section 3.1).
//
// Precondition: the identifier is valid.
// The challenge and the document get it from the same identifier (RFC 9728, section 3.3).
func (p *ProtectedResource) metadataURL() *url.URL {
	id, err := url.Parse(p.Identifier)
	if err != nil {
		panic("middleware: ProtectedResource: " + err.Error())
	}
	path := id.EscapedPath()
	if path == "/" {
		path = ""
	}
	u := *id
	u.RawPath = "/.well-known/oauth-protected-resource" + path
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		panic("middleware: ProtectedResource: " + err.Error())
	}
	return &u
}

// ForResource returns a Guard for another resource behind the same parts and
// rules: its challenges point to that resource's metadata. It panics if the
// description is malformed, as routes are made at start-up.
func (g *Guard) ForResource(resource ProtectedResource) *Guard {
	if g.config == nil {
		return &Guard{}
	}
	if err := resource.validate(); err != nil {
		panic(err.Error())
	}
	c := *g.config
	c.resource = resource.clone()
	other := &Guard{config: &c}
	if err := other.adopt(g.rules); err != nil {
		panic(err.Error()) // Invariant: the rules of g could be satisfied in g.
	}
	return other
}

// metadata is the document of RFC 9728, section 2. Parameters without a value
// are left out (section 3.2).
type metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	JWKSURI              string   `json:"jwks_uri,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	Name                 string   `json:"resource_name,omitempty"`
	Documentation        string   `json:"resource_documentation,omitempty"`
	CertificateBound     bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	ProofAlgorithms      []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPRequired         bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

// Metadata returns the handler of the protected resource metadata document and the
// path at which it must be mounted, at the resource's host:
//
//	mux.Handle(guard.Metadata())
//
// The document is generated from the guard's own configuration and rules. The handler
// needs no credentials, answers GET and HEAD, and may be read by scripts of any origin.
// Without [WithProtectedResource] the path is "" and the handler answers 404.
func (g *Guard) Metadata() (path string, document http.Handler) {
	if g.config == nil || g.resource == nil {
		return "", http.NotFoundHandler()
	}
	return g.resource.metadataURL().EscapedPath(), g.serveMetadata()
}

// serveMetadata makes the document. Parameters without a value are left out
// (RFC 9728, section 3.2), and so is signed_metadata (RFC 9728, section 2.2).
func (g *Guard) serveMetadata() http.Handler {
	offers := &g.challenges
	document := metadata{
		Resource:             g.resource.Identifier,
		AuthorizationServers: g.resource.AuthorizationServers,
		JWKSURI:              g.resource.JWKSURI,
		Scopes:               g.resource.Scopes,
		BearerMethods:        []string{"header"},
		Name:                 g.resource.Name,
		Documentation:        g.resource.Documentation,
		CertificateBound:     g.mtls != nil && g.admits(certificateShape, bothShape),
		DPoPRequired:         len(offers.offered) == 1 && offers.offers(schemeDPoP),
	}
	if offers.offers(schemeDPoP) {
		document.ProofAlgorithms = g.dpop.Settings().Algorithms
	}
	body, err := json.Marshal(document)
	if err != nil {
		panic("middleware: Metadata: " + err.Error()) // Invariant: strings and booleans marshal.
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Cache-Control", metadataMaxAge)
		h.Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // The client may be gone.
		}
	})
}

// admits reports whether a token of one of the shapes could pass.
func (g *Guard) admits(shapes ...shape) bool {
	return slices.ContainsFunc(shapes, func(s shape) bool { return g.accepts(s) && allOfRule(g.rules).admits(s) })
}
