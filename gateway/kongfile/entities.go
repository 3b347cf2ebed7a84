package kongfile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Service is what a gateway forwards to.
type Service struct {
	entity
	Name        string
	URL         *url.URL
	DialTimeout time.Duration
	ReadTimeout time.Duration // between two reads; 0: none
	Authorities []string      // ids of the CAs of its TLS certificate; none: those of the system
	Routes      []*Route
	Plugins     Plugins
}

// serviceKeys are the keys that a dump shows and that change nothing here.
var serviceKeys = byName([]Key{
	{Name: "enabled", Default: "true", Written: true},
	{Name: "retries", Default: "5", Why: "is not supported: the gateway repeats only what net/http knows to have reached no service; leave the key out"},
	{Name: "connect_timeout", Default: "60000"}, {Name: "read_timeout", Default: "60000"},
	{Name: "write_timeout", Default: "60000", Why: "is not supported: a body is sent as fast as the client sends it; leave the key out"},
	{Name: "client_certificate", Why: "is not supported: the gateway shows no certificate to services; let them trust its address or the token"},
	{Name: "tls_verify_depth", Why: "is not supported: crypto/x509 verifies the whole chain; leave the key out"},
	{Name: "tls_sans", Why: "is not supported: a service is verified by the name in its url"},
})

func (f *File) readAuthority(m *mapping) {
	id := m.text("id", "")
	if id == "" {
		m.mistake("id is missing: plugins refer to a CA by it")
	}
	m.ignore("tags", "cert_digest", "created_at", "updated_at")
	block, rest := pem.Decode([]byte(m.text("cert", "")))
	m.done(nil)
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		m.wrong("cert", "is not one certificate in PEM")
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		m.wrong("cert", "%v", err)
		return
	}
	if f.Authorities[id] != nil {
		m.wrong("id", "%q is given twice", id)
	}
	f.Authorities[id] = cert
}

// readCertificate reads what tls_client_auth_cert_id refers to.
func (f *File) readCertificate(m *mapping) {
	id := m.text("id", "")
	if id == "" {
		m.mistake("id is missing: plugins refer to a certificate by it")
	}
	m.known = byName([]Key{{Name: "cert_alt"}, {Name: "key_alt"}, {Name: "snis", Why: "is not supported: the gateway has the certificate of -tls-cert"}})
	m.ignore("tags", "created_at", "updated_at")
	cert, err := tls.X509KeyPair([]byte(m.text("cert", "")), []byte(m.text("key", "")))
	m.done(nil)
	if err != nil {
		m.wrong("cert", "%v", err)
		return
	}
	if f.Certificates[id] != nil {
		m.wrong("id", "%q is given twice", id)
	}
	f.Certificates[id] = &cert
}

func (f *File) readService(m *mapping) *Service {
	const minute = time.Minute
	m.known = serviceKeys
	s := &Service{
		entity:      entity{m},
		Name:        m.text("name", ""),
		URL:         readTarget(m),
		DialTimeout: m.duration("connect_timeout", time.Millisecond, minute),
		ReadTimeout: m.duration("read_timeout", time.Millisecond, minute),
		Authorities: m.texts("ca_certificates"),
	}
	m.ignore("id", "tags", "created_at", "updated_at", "ws_id")
	m.mustBe("enabled", true, "leave the service out instead")
	m.mustBe("tls_verify", true, "an attacker in between could read the tokens; name the CA in ca_certificates")
	for _, r := range m.list("routes") {
		s.Routes = append(s.Routes, f.readRoute(r, s))
	}
	for _, p := range m.list("plugins") {
		f.attach(&s.Plugins, f.readPlugin(p), s.Name)
	}
	m.done(nil)
	return s
}

// readTarget reads where a service is: a url, or its parts.
func readTarget(m *mapping) *url.URL {
	if m.has("url") {
		for _, part := range []string{"protocol", "host", "port", "path"} {
			if m.has(part) {
				m.wrong(part, "is said by url already")
			}
		}
		return readURL(m)
	}
	u := &url.URL{Scheme: m.oneOf("protocol", "http", "http", "https"), Host: m.text("host", "")}
	switch port := m.integer("port", 0, 1, 65535); {
	case !m.has("host"):
		m.mistake("needs a url, or a host")
	case !isHostname(u.Host):
		m.wrong("host", "%q is not the name or the address of a host", u.Host)
	case port != 0:
		u.Host = net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.Itoa(port))
	case strings.Contains(u.Host, ":"):
		u.Host = "[" + strings.Trim(u.Host, "[]") + "]"
	}
	path := m.text("path", "")
	parsed, err := url.ParseRequestURI(path)
	switch {
	case path == "":
	case err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") || parsed.EscapedPath() != path:
		m.wrong("path", "%q is not a path, which begins with a slash and has neither query nor fragment", path)
	default:
		u.Path, u.RawPath = parsed.Path, parsed.RawPath
	}
	return u
}

func readURL(m *mapping) *url.URL {
	raw := m.text("url", "")
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHostname(u.Hostname()) || !isPort(u.Port()) || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		m.wrong("url", "%q is not an http or https URL of a host, a port and a path", raw)
		return &url.URL{}
	}
	return u
}

func isPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n <= 65535
}

// isHostname reports whether s is a name in the DNS or an IP address, without a port.
func isHostname(s string) bool {
	if _, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		}) {
			return false
		}
	}
	return true
}

// IsHost reports whether s is a name or an address, with a port if need be. Services
// read whatever else could be in a Host in ways of their own.
func IsHost(s string) bool {
	if name, port, err := net.SplitHostPort(s); err == nil {
		return isHostname(name) && isPort(port)
	}
	return isHostname(s)
}

// checkNames finds names that two services or two routes have.
func (f *File) checkNames() {
	seen := make(map[string]bool)
	check := func(e entity, kind, name string) {
		if name != "" && seen[kind+name] {
			e.Wrong("name", "two %ss are called %q", kind, name)
		}
		seen[kind+name] = true
	}
	for _, s := range f.Services {
		check(s.entity, "service", s.Name)
		for _, r := range s.Routes {
			check(r.entity, "route", r.Name)
		}
	}
}

// checkReferences finds ids that nothing has.
func (f *File) checkReferences() {
	for _, s := range f.Services {
		for _, id := range s.Authorities {
			if f.Authorities[id] == nil {
				s.Wrong("ca_certificates", "there is no CA with the id %q in ca_certificates", id)
			}
		}
	}
	for _, p := range f.Attached {
		found := len(f.Problems.list)
		switch {
		case p.OpenID != nil:
			p.OpenID.checkReferences(f)
		case p.ClientCertificate != nil:
			f.checkAuthorities(p.ClientCertificate.entity, p.ClientCertificate.Authorities)
		}
		p.Broken = p.Broken || len(f.Problems.list) > found
	}
}

func (f *File) checkAuthorities(e entity, ids []string) {
	for _, id := range ids {
		if f.Authorities[id] == nil {
			e.Wrong("ca_certificates", "there is no CA with the id %q in ca_certificates; a file has to have it, with its certificate, and in Kong it came by the Admin API", id)
		}
	}
}

func (f *File) serviceNamed(name string) *Service {
	for _, s := range f.Services {
		if name != "" && (s.Name == name || s.ID() == name) {
			return s
		}
	}
	return nil
}

func (f *File) routeNamed(name string) *Route {
	for _, s := range f.Services {
		for _, r := range s.Routes {
			if name != "" && (r.Name == name || r.ID() == name) {
				return r
			}
		}
	}
	return nil
}
