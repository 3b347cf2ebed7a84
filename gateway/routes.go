package main

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strings"
)

// route says which requests go to a service.
type route struct {
	*mapping
	name         string
	service      *service
	paths        []string // normal prefixes, the longest first
	hosts        []string // in lower case; one may begin or end with an asterisk
	methods      []string
	protocols    []string
	stripPath    bool
	preserveHost bool
	plugins      plugins
}

func (c *configuration) readRoute(m *mapping, of *service) *route {
	r := &route{
		mapping:      m,
		name:         m.text("name", ""),
		service:      of,
		hosts:        m.texts("hosts"),
		methods:      m.texts("methods"),
		protocols:    m.texts("protocols", "http", "https"),
		stripPath:    m.flag("strip_path", true),
		preserveHost: m.flag("preserve_host", false),
	}
	r.readPaths()
	for i, host := range r.hosts {
		r.hosts[i] = strings.ToLower(host)
	}
	for _, p := range r.protocols {
		if p != "http" && p != "https" {
			m.wrong("protocols", "%q is not supported; it can be http, https", p)
		}
	}
	m.oneOf("path_handling", "v0", "v0")
	m.ignore("id", "tags")
	if !m.has("paths") && !m.has("hosts") && !m.has("methods") {
		m.add(m.at, "%s: needs paths, hosts or methods", m.where)
	}
	for _, p := range m.list("plugins") {
		c.attach(&r.plugins, c.readPlugin(p))
	}
	m.done(nil)
	return r
}

func (r *route) readPaths() {
	for _, path := range r.texts("paths") {
		normal, err := normalPath(path)
		switch {
		case strings.HasPrefix(path, "~"):
			r.wrong("paths", "%q: regular expressions are not supported", path)
		case err != nil:
			r.wrong("paths", "%q: %v", path, err)
		default:
			r.paths = append(r.paths, normal)
		}
	}
	slices.SortStableFunc(r.paths, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}

// readLooseRoute reads a route that stands outside of its service.
func (c *configuration) readLooseRoute(m *mapping) {
	name := readReference(m, "service")
	s := c.serviceNamed(name)
	if s == nil {
		m.wrong("service", "there is no service %q", name)
		s = &service{}
	}
	s.routes = append(s.routes, c.readRoute(m, s))
}

// String names a route for people.
func (r *route) String() string { return cmp.Or(r.name, r.where) }

// router finds the route of a request. It never changes.
type router struct{ routes []*route }

// newRouter puts the routes into the order in which Kong tries them: those that
// look at more things first, then those with an exact host; the longest path is
// found among equals.
func newRouter(services []*service) *router {
	rt := &router{}
	for _, s := range services {
		rt.routes = append(rt.routes, s.routes...)
	}
	slices.SortStableFunc(rt.routes, func(a, b *route) int {
		return cmp.Or(cmp.Compare(b.precision(), a.precision()), cmp.Compare(b.exactHosts(), a.exactHosts()))
	})
	return rt
}

// precision is how many things a route looks at.
func (r *route) precision() (n int) {
	for _, list := range [][]string{r.paths, r.hosts, r.methods} {
		if len(list) > 0 {
			n++
		}
	}
	return n
}

func (r *route) exactHosts() int {
	if len(r.hosts) == 0 || slices.ContainsFunc(r.hosts, func(h string) bool { return strings.Contains(h, "*") }) {
		return 0
	}
	return 1
}

// find returns the route for a request with a normal path, and the prefix that
// matched it; nil if there is none.
func (rt *router) find(r *http.Request, path string) (best *route, prefix string) {
	for _, candidate := range rt.routes {
		if best != nil && (candidate.precision() < best.precision() || candidate.exactHosts() < best.exactHosts()) {
			break
		}
		found, ok := candidate.matches(r, path)
		if ok && (best == nil || len(found) > len(prefix)) {
			best, prefix = candidate, found
		}
	}
	return best, prefix
}

// matches reports whether a request belongs to the route, and by which prefix.
func (r *route) matches(req *http.Request, path string) (prefix string, ok bool) {
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) {
		return "", false
	}
	if len(r.hosts) > 0 && !slices.ContainsFunc(r.hosts, func(h string) bool { return matchesHost(h, req.Host) }) {
		return "", false
	}
	if len(r.paths) == 0 {
		return "", true
	}
	for _, prefix := range r.paths {
		if strings.HasPrefix(path, prefix) {
			return prefix, true
		}
	}
	return "", false
}

func matchesHost(pattern, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil && !strings.Contains(pattern, ":") {
		host = name
	}
	host = strings.ToLower(host)
	switch {
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(host, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(host, pattern[:len(pattern)-1])
	}
	return pattern == host
}

// target is the path that the service is asked for.
func (r *route) target(path, prefix string) string {
	if r.stripPath {
		path = path[len(prefix):]
	}
	return joinPath(r.service.url.EscapedPath(), path)
}
