package kongfile

import (
	"cmp"
	"slices"
	"strings"
)

// Route says which requests go to a service.
type Route struct {
	entity
	Name         string
	Service      *Service
	Paths        []string // normal prefixes, the longest first
	Hosts        []string // in lower case; one may begin or end with an asterisk
	Methods      []string
	Protocols    []string
	StripPath    bool
	PreserveHost bool
	Redirect     int // the status for plain HTTP on a route of HTTPS: 426, or a redirection
	Plugins      Plugins
}

// routeKeys are the keys that a dump shows and that change nothing here.
var routeKeys = byName([]Key{
	{Name: "regex_priority", Default: "0", Why: "is not supported: there are no regular expressions in paths"},
	{Name: "request_buffering", Default: "true", Why: "is not supported: bodies are streamed; leave the key out"},
	{Name: "response_buffering", Default: "true", Why: "is not supported: bodies are streamed; leave the key out"},
	{Name: "headers", Why: "is not supported: the path, the host and the method choose a route; a guard that hangs on another field would be easy to get around"},
	{Name: "snis", Why: "is not supported: name the hosts of the route in hosts"},
	{Name: "sources", Why: "is not supported: routes are of HTTP"},
	{Name: "destinations", Why: "is not supported: routes are of HTTP"},
	{Name: "expression", Why: "is not supported: say it by paths, hosts and methods"},
	{Name: "priority", Default: "0", Why: "is not supported: it orders expressions, and there are none"},
})

func (f *File) readRoute(m *mapping, of *Service) *Route {
	m.known = routeKeys
	r := &Route{
		entity:       entity{m},
		Name:         m.text("name", ""),
		Service:      of,
		Hosts:        m.texts("hosts"),
		Methods:      m.texts("methods"),
		Protocols:    m.texts("protocols", "http", "https"),
		StripPath:    m.flag("strip_path", true),
		PreserveHost: m.flag("preserve_host", false),
		Redirect:     m.integer("https_redirect_status_code", 426, 301, 426),
	}
	r.readPaths()
	r.readHosts()
	for _, method := range r.Methods {
		if method == "" || strings.ContainsFunc(method, func(c rune) bool { return !('A' <= c && c <= 'Z' || c == '-') }) {
			m.wrong("methods", "%q matches no request: methods are in upper case", method)
		}
	}
	for _, p := range r.Protocols {
		if p != "http" && p != "https" {
			m.wrong("protocols", "%q is not supported; it can be http, https", p)
		}
	}
	for _, key := range []string{"paths", "hosts", "methods", "protocols"} {
		if m.has(key) && len(m.values[key].Content) == 0 && m.values[key].Value == "" {
			m.wrong(key, "is empty: no request matches; leave the key out if every one should")
		}
	}
	if !slices.Contains([]int{301, 302, 307, 308, 426}, r.Redirect) {
		m.wrong("https_redirect_status_code", "%d is not supported; it can be 301, 302, 307, 308, 426", r.Redirect)
	}
	m.oneOf("path_handling", "v0", "v0")
	m.ignore("id", "tags", "created_at", "updated_at", "ws_id")
	if !m.has("paths") && !m.has("hosts") && !m.has("methods") {
		m.mistake("needs paths, hosts or methods")
	}
	for _, p := range m.list("plugins") {
		f.attach(&r.Plugins, f.readPlugin(p), r.String())
	}
	m.done(nil)
	return r
}

func (r *Route) readPaths() {
	for _, path := range r.m.texts("paths") {
		normal, err := NormalPath(path)
		switch {
		case strings.HasPrefix(path, "~"):
			r.Wrong("paths", "%q: regular expressions are not supported", path)
		case err != nil:
			r.Wrong("paths", "%q: %v", path, err)
		case strings.ContainsAny(path, "?#*\\ ") || strings.Contains(normal, "%2F") || strings.Contains(normal, "%5C"):
			r.Wrong("paths", "%q is the prefix of no path that is let through: it has neither query, fragment, asterisk, backslash nor escaped slash", path)
		default:
			r.Paths = append(r.Paths, normal)
		}
	}
	slices.SortStableFunc(r.Paths, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

func (r *Route) readHosts() {
	for i, host := range r.Hosts {
		name, port, _ := strings.Cut(host, ":")
		if strings.HasPrefix(host, "[") {
			end := strings.Index(host, "]") + 1
			name, port = host[:end], strings.TrimPrefix(host[end:], ":")
		}
		plain := strings.TrimSuffix(strings.TrimPrefix(name, "*."), ".*")
		if !isHostname(plain) || !isPort(port) || strings.HasPrefix(name, "*.") && strings.HasSuffix(name, ".*") {
			r.Wrong("hosts", "%q matches no request: a host is a name or an address, with a port if need be; a name may begin with *. or end with .*", host)
		}
		r.Hosts[i] = strings.TrimSuffix(strings.ToLower(host), ".")
	}
}

// readLooseRoute reads a route that stands outside of its service.
func (f *File) readLooseRoute(m *mapping) {
	name := readReference(m, "service")
	s := f.serviceNamed(name)
	switch {
	case s != nil:
	case name == "":
		m.mistake("service is missing: a route without one leads nowhere")
		s = &Service{}
	default:
		m.wrong("service", "there is no service %q", name)
		s = &Service{}
	}
	s.Routes = append(s.Routes, f.readRoute(m, s))
}

// String names a route for people.
func (r *Route) String() string { return cmp.Or(r.Name, r.m.where) }
