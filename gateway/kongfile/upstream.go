package kongfile

import (
	"net/http"
	"slices"
	"strings"
)

// Upstream is what the service behind is told of the token.
type Upstream struct {
	Claims      []ClaimHeader
	TokenHeader string // canonical; "" for none
	TokenScheme string // "Bearer " or ""
}

// ClaimHeader is a claim that goes into a header.
type ClaimHeader struct {
	Path []string
	Name string // canonical
}

// readUpstream reads both forms of the mapping from claims to headers.
func (p *OpenIDConnect) readUpstream() {
	for _, entry := range p.m.list("upstream_headers") {
		p.addClaimHeader(entry, "header", entry.texts("path"), entry.text("header", ""))
		entry.done(nil)
	}
	claims, names := p.m.texts("upstream_headers_claims"), p.m.texts("upstream_headers_names")
	if len(claims) != len(names) {
		p.Wrong("upstream_headers_names", "has %[2]d elements, and upstream_headers_claims %[1]d", len(claims), len(names))
	}
	for i := range min(len(claims), len(names)) {
		p.addClaimHeader(p.m, "upstream_headers_names", claims[i:i+1], names[i])
	}
	p.readTokenHeader()
}

func (p *OpenIDConnect) addClaimHeader(m *mapping, key string, path []string, name string) {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case len(path) == 0 || name == "":
		m.mistake("a header and the path of a claim are needed")
	case !isToken(name):
		m.wrong(key, "%q is not the name of a header", name)
	case slices.Contains([]string{"Authorization", "Host", "Connection", "Content-Length", "Transfer-Encoding", "Dpop"}, canonical):
		m.wrong(key, "%q is not a header for a claim", name)
	case slices.ContainsFunc(p.Upstream.Claims, func(c ClaimHeader) bool { return c.Name == canonical }):
		m.wrong(key, "%q is given twice", name)
	}
	p.Upstream.Claims = append(p.Upstream.Claims, ClaimHeader{path, canonical})
}

// readTokenHeader reads where the token goes. Kong sends it even with
// hide_credentials; here that has to be said.
func (p *OpenIDConnect) readTokenHeader() {
	const key, fallback = "upstream_access_token_header", "authorization:bearer"
	p.HideCredentials = p.m.flag("hide_credentials", false)
	if p.m.isNull(key) || p.HideCredentials && !p.Given(key) {
		p.m.ignore(key)
		return
	}
	value := p.m.text(key, fallback)
	name, scheme, _ := strings.Cut(value, ":")
	u := &p.Upstream
	u.TokenHeader = http.CanonicalHeaderKey(name)
	switch strings.ToLower(scheme) {
	case "bearer":
		u.TokenScheme = "Bearer "
	case "":
	default:
		p.Wrong(key, "%q is not supported; it can be the name of a header, with or without :bearer", value)
	}
	if !isToken(name) {
		p.Wrong(key, "%q is not the name of a header", name)
	}
	if u.TokenHeader == "Authorization" {
		u.TokenScheme = "Bearer "
	}
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}
