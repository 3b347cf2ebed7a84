package dpop

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware/internal/origins"
)

// target is what a request says about its target URI, nothing in it decoded.
type target struct {
	host string // the Host field, or :authority

	// Of a request target in absolute-form, or of a [Request] with a URL, else empty.
	scheme, authority string

	path string // empty, or starts with a slash

	// external: path is as the client sees it, with the prefix that a proxy strips,
	// and there is no host.
	external bool

	// emptyPath: an empty path stays empty instead of becoming a slash.
	emptyPath bool
}

// targetOf reads the request line, or the URL in its place. It reports false for a
// form of target that names no resource.
func targetOf(req *Request) (t target, ok bool) {
	t = target{host: req.Host, emptyPath: req.Method == http.MethodOptions}
	if req.URL != "" {
		t.external = true
		t.scheme, t.authority, t.path, ok = splitURI(withoutQuery(req.URL))
		return t, ok
	}
	uri, _, _ := strings.Cut(req.Target, "?")
	switch {
	case strings.HasPrefix(uri, "/"):
		t.path = uri
		return t, true
	case req.Target == "*":
		// RFC 9110, section 7.1: the origin without a path.
		return t, req.Method == http.MethodOptions
	default:
		// RFC 9112, section 3.2.2: absolute-form. The host:port of CONNECT is not.
		t.scheme, t.authority, t.path, ok = splitURI(uri)
		return t, ok
	}
}

// originsOf are those that the proof in req may name.
func (v *Verifier) originsOf(req *Request) ([]origin, error) {
	if len(req.Origins) == 0 {
		return v.origins, nil
	}
	of := make([]origin, len(req.Origins))
	for i, s := range req.Origins {
		o, err := newOrigin(s, v.plainHTTP)
		if err != nil {
			return nil, fmt.Errorf("dpop: Origins of the Request: %q: %w", s, err)
		}
		o.exclusive = true
		of[i] = o
	}
	return of, nil
}

// checkTarget compares htu, which has no query, with the URI of the request.
func (v *Verifier) checkTarget(t *target, htu string, of []origin) error {
	addressed := false
	for _, o := range of {
		if !v.sentTo(t, &o) {
			continue
		}
		addressed = true
		if t.external {
			o.prefix, o.base = "", o.root
		}
		if o.names(htu, t.path, t.emptyPath, v.exactHTU) {
			return nil
		}
	}
	if !addressed {
		return ErrMisdirected
	}
	return ErrTarget
}

// sentTo reports whether the request was sent to o: RFC 9110, section 7.4, has us
// refuse what is meant for another service.
func (v *Verifier) sentTo(t *target, o *origin) bool {
	if t.scheme != "" && (t.scheme != o.scheme || !o.answers(t.authority)) {
		return false
	}
	if t.external {
		path, ok := strings.CutPrefix(t.path, o.prefix)
		return ok && (path == "" || path[0] == '/') && !o.leaves(path)
	}
	return o.answers(t.host) || !o.exclusive && v.isInternal(t.host)
}

func (v *Verifier) isInternal(host string) bool {
	if len(v.internalHosts) == 0 {
		return false
	}
	var buf [256]byte
	normal, ok := origins.AppendAuthority(buf[:0], "", host)
	if !ok {
		return false
	}
	for _, h := range v.internalHosts {
		if string(normal) == h {
			return true
		}
	}
	return false
}
