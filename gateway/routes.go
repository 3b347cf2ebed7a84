package main

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// router finds the route of a request. It never changes.
type router struct{ routes []*kongfile.Route }

// newRouter puts the routes into the order in which Kong tries them: those that
// look at more things first, then those with an exact host; the longest path is
// found among equals.
func newRouter(services []*kongfile.Service) *router {
	rt := &router{}
	for _, s := range services {
		rt.routes = append(rt.routes, s.Routes...)
	}
	slices.SortStableFunc(rt.routes, func(a, b *kongfile.Route) int {
		return cmp.Or(cmp.Compare(precision(b), precision(a)), cmp.Compare(exactHosts(b), exactHosts(a)))
	})
	return rt
}

// precision is how many things a route looks at.
func precision(r *kongfile.Route) (n int) {
	for _, list := range [][]string{r.Paths, r.Hosts, r.Methods} {
		if len(list) > 0 {
			n++
		}
	}
	return n
}

func exactHosts(r *kongfile.Route) int {
	if len(r.Hosts) == 0 || slices.ContainsFunc(r.Hosts, func(h string) bool { return strings.Contains(h, "*") }) {
		return 0
	}
	return 1
}

// find returns the route for a request with a normal path, and the prefix that
// matched it; nil if there is none.
func (rt *router) find(r *http.Request, path string) (best *kongfile.Route, prefix string) {
	for _, candidate := range rt.routes {
		if best != nil && (precision(candidate) < precision(best) || exactHosts(candidate) < exactHosts(best)) {
			break
		}
		found, ok := matches(candidate, r, path)
		if ok && (best == nil || len(found) > len(prefix)) {
			best, prefix = candidate, found
		}
	}
	return best, prefix
}

// isAmbiguous reports whether a service could take a path for that of another route
// than the one that was found: some decode an escaped slash, once or twice, take a
// backslash for one, merge empty segments or drop what follows a semicolon. Whatever
// that route demands, this request has not been asked for.
func (rt *router) isAmbiguous(r *http.Request, path string, found *kongfile.Route) bool {
	for _, reading := range readings(path) {
		if kongfile.HasDotSegment(reading) {
			return true
		}
		if other, _ := rt.find(r, reading); other != nil && other != found {
			return true
		}
	}
	return false
}

// readings are what forgiving services make of a normal path.
func readings(path string) (all []string) {
	if !strings.ContainsAny(path, `%\;`) {
		return nil
	}
	slashes := strings.NewReplacer("%2F", "/", "%5C", "/", `\`, "/")
	once := merged(slashes.Replace(path))
	all = append(all, once, merged(withoutParameters(strings.ReplaceAll(once, "%3B", ";"))))
	decoded := path
	for range 3 { // as often as anything behind could
		next, err := url.PathUnescape(decoded)
		if err != nil || next == decoded {
			break
		}
		decoded = next
		plain := merged(slashes.Replace(decoded))
		all = append(all, plain, merged(withoutParameters(plain)))
	}
	return all
}

// merged replaces runs of slashes by one.
func merged(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// withoutParameters cuts each segment at its first semicolon.
func withoutParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// matches reports whether a request belongs to the route, and by which prefix.
func matches(r *kongfile.Route, req *http.Request, path string) (prefix string, ok bool) {
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, req.Method) {
		return "", false
	}
	if len(r.Hosts) > 0 && !slices.ContainsFunc(r.Hosts, func(h string) bool { return matchesHost(h, req.Host) }) {
		return "", false
	}
	if len(r.Paths) == 0 {
		return "", true
	}
	for _, prefix := range r.Paths {
		if strings.HasPrefix(path, prefix) {
			return prefix, true
		}
	}
	return "", false
}

func matchesHost(pattern, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil && !strings.Contains(pattern[strings.LastIndex(pattern, "]")+1:], ":") {
		if host = name; strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	switch {
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(host, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(host, pattern[:len(pattern)-1])
	}
	return pattern == host
}

// target is the path that the service is asked for.
func targetOf(r *kongfile.Route, path, prefix string) string {
	if r.StripPath {
		path = path[len(prefix):]
	}
	return kongfile.JoinPath(r.Service.URL.EscapedPath(), path)
}
