package dpop

import (
	"errors"
	"strings"

	"github.com/keybound-go/middleware/internal/origins"
)

// origin is one of the external origins that a service is reached under, with
// the path prefix that a proxy strips. All of it is in normal form.
type origin struct {
	scheme    string // https or http
	authority string
	root      string // scheme://authority
	prefix    string // empty, or a path that starts with a slash and does not end with one
	base      string // root and prefix
	exclusive bool   // of one tenant: no internal host stands for it
}

// newOrigin parses what the operator wrote.
func newOrigin(s string, plainHTTP bool) (origin, error) {
	scheme, authority, path, ok := splitURI(s)
	if !ok {
		return origin{}, errors.New("not of the form https://host")
	}
	if withoutQuery(s) != s {
		return origin{}, errors.New("has a query or a fragment")
	}
	normal, ok := origins.AppendAuthority(nil, scheme, authority)
	if !ok || !origins.HasValidPort(string(normal)) {
		return origin{}, errors.New("host or port is not valid (a name outside ASCII must be in its xn-- form)")
	}
	authority = string(normal)
	if scheme == "http" && !plainHTTP && !isLoopback(authority) {
		return origin{}, errors.New("not https (see DangerouslyAllowPlainHTTP)")
	}
	normal, ok = appendPath(nil, path, false)
	if !ok {
		return origin{}, errors.New("path is not valid")
	}
	prefix := strings.TrimSuffix(string(normal), "/")
	if strings.HasSuffix(prefix, "/") {
		return origin{}, errors.New("path ends with more than one slash")
	}
	root := scheme + "://" + authority
	return origin{scheme: scheme, authority: authority, root: root, prefix: prefix, base: root + prefix}, nil
}

func isLoopback(authority string) bool {
	return origins.IsLoopbackAuthority(authority)
}

// answers reports whether host, from a request, is the origin's.
func (o *origin) answers(host string) bool {
	if host == o.authority {
		return true
	}
	var buf [256]byte
	normal, ok := origins.AppendAuthority(buf[:0], o.scheme, host)
	return ok && string(normal) == o.authority
}

// names reports whether htu, under the origin o, is the URI of a request with the
// given raw path.
//
// The path stays as it stands: a router, or a service behind, reads it like that.
// With "/admin/../orders", one takes the request for "/orders" and another for a
// part of "/admin". So htu is what gets normalised, which its client meant to be
// one URI, and it is the same if it is so as it is spelt or in its normal form
// (rows URI-03, -04 and -08 of the conformance table).
func (o *origin) names(htu, path string, emptyPath, exact bool) bool {
	if rest, ok := strings.CutPrefix(htu, o.base); ok && rest == path && !o.leaves(path) {
		return isClaimable(path)
	}
	if exact {
		return false
	}
	scheme, authority, claimed, ok := splitURI(htu)
	if !ok || scheme != o.scheme || !o.answers(authority) || !isClaimable(claimed) {
		return false
	}
	if path == "" && o.prefix == "" && !emptyPath {
		path = "/"
	}
	if claimed == "" && !emptyPath {
		claimed = "/"
	}
	if sameSpelling(claimed, o.prefix, path) {
		return !o.leaves(path)
	}
	var buf [512]byte
	normal, ok := appendPath(buf[:0], claimed, emptyPath)
	// A proxy that strips the whole path leaves a slash, whether there was one or not.
	return ok && (sameSpelling(normal, o.prefix, path) || path == "/" && o.prefix != "" && sameSpelling(normal, o.prefix, ""))
}

// leaves reports whether path leads out of the prefix that a proxy strips, to where
// another service may be, which could use the proofs that it is sent here.
func (o *origin) leaves(path string) bool { return o.prefix != "" && leadsUp(path) }

// leadsUp reports whether path has a segment of two dots, escaped or not.
func leadsUp(path string) bool {
	if !strings.Contains(path, "..") && !strings.Contains(path, "%2e") && !strings.Contains(path, "%2E") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if strings.ReplaceAll(strings.ReplaceAll(segment, "%2e", "."), "%2E", ".") == ".." {
			return true
		}
	}
	return false
}
