package main

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keybound-go/middleware/oidc"
)

// upstream is what the service behind is told of the token.
type upstream struct {
	claims      []claimHeader
	tokenHeader string // canonical; "" for none
	tokenScheme string // "Bearer " or ""
}

// claimHeader is a claim that goes into a header.
type claimHeader struct {
	path []string
	name string // canonical
}

// readUpstream reads both forms of the mapping from claims to headers.
func (p *openIDConnect) readUpstream() {
	for _, entry := range p.list("upstream_headers") {
		p.addClaimHeader(entry, "header", entry.texts("path"), entry.text("header", ""))
		entry.done(nil)
	}
	claims, names := p.texts("upstream_headers_claims"), p.texts("upstream_headers_names")
	if len(claims) != len(names) {
		p.add(p.line("upstream_headers_names"), "%s: upstream_headers_claims has %d elements, upstream_headers_names %d", p.where, len(claims), len(names))
	}
	for i := range min(len(claims), len(names)) {
		p.addClaimHeader(p.mapping, "upstream_headers_names", claims[i:i+1], names[i])
	}
	p.readTokenHeader()
}

func (p *openIDConnect) addClaimHeader(m *mapping, key string, path []string, name string) {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case len(path) == 0 || name == "":
		m.add(m.at, "%s: a header and the path of a claim are needed", m.where)
	case !isToken(name):
		m.wrong(key, "%q is not the name of a header", name)
	case slices.Contains([]string{"Authorization", "Host", "Connection", "Content-Length", "Transfer-Encoding", "Dpop"}, canonical):
		m.wrong(key, "%q is not a header for a claim", name)
	case slices.ContainsFunc(p.claims, func(c claimHeader) bool { return c.name == canonical }):
		m.wrong(key, "%q is given twice", name)
	}
	p.claims = append(p.claims, claimHeader{path, canonical})
}

// readTokenHeader reads where the token goes. Kong sends it even with
// hide_credentials; here that has to be said.
func (p *openIDConnect) readTokenHeader() {
	const key, fallback = "upstream_access_token_header", "authorization:bearer"
	hide := p.flag("hide_credentials", false)
	if p.isNull(key) || hide && !p.has(key) {
		return
	}
	name, scheme, _ := strings.Cut(p.text(key, fallback), ":")
	p.tokenHeader = http.CanonicalHeaderKey(name)
	switch strings.ToLower(scheme) {
	case "bearer":
		p.tokenScheme = "Bearer "
	case "":
	default:
		p.wrong(key, "%q is not supported; it can be the name of a header, with or without :bearer", p.text(key, fallback))
	}
	if !isToken(name) {
		p.wrong(key, "%q is not the name of a header", name)
	}
	if p.tokenHeader == "Authorization" {
		p.tokenScheme = "Bearer "
	}
}

// set tells the service behind. What it says is the only thing under these names:
// the proxy has deleted what the client sent.
func (u *upstream) set(h http.Header, token *oidc.Token, raw string) {
	if u.tokenHeader != "" && raw != "" {
		h[u.tokenHeader] = []string{u.tokenScheme + raw}
	}
	if len(u.claims) == 0 {
		return
	}
	var claims map[string]json.RawMessage
	if token.Claims(&claims) != nil {
		return
	}
	for _, c := range u.claims {
		if value, ok := claimText(claims, c.path); ok {
			h[c.name] = []string{value}
		}
	}
}

// claimText is a claim as it stands in a header: a string, number or boolean as it
// is, and a list or object as base64 of its JSON, as in Kong, so that an element
// with a comma is not two.
func claimText(claims map[string]json.RawMessage, path []string) (string, bool) {
	value, ok := claims[path[0]]
	if !ok || string(value) == "null" {
		return "", false
	}
	if len(path) > 1 {
		var within map[string]json.RawMessage
		if json.Unmarshal(value, &within) != nil {
			return "", false
		}
		return claimText(within, path[1:])
	}
	var text string
	switch value[0] {
	case '"':
		if json.Unmarshal(value, &text) != nil {
			return "", false
		}
	case '[', '{':
		text = base64.StdEncoding.EncodeToString(value)
	default:
		text = string(value)
	}
	return text, !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

func joinHostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
