package dpop

import (
	"net/http"
	"strings"
)

// target is what a request says about its target URI, nothing in it decoded.
type target struct {
	host string // the Host field, or :authority

	// Of a request target in absolute-form, else empty.
	scheme, authority string

	path string // empty, or starts with a slash

	// url, without query, takes the place of all that for a [Request].
	url string

	// emptyPath: an empty path stays empty instead of becoming a slash.
	emptyPath bool
}

// targetOf reads the request line, or the URL in its place. It reports false for a
// form of target that names no resource.
func targetOf(req *Request) (t target, ok bool) {
	t = target{host: req.Host, emptyPath: req.Method == http.MethodOptions}
	if req.URL != "" {
		t.url = withoutQuery(req.URL)
		return t, t.url != ""
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

// checkTarget compares htu, which has no query, with the URI of the request.
func (v *Verifier) checkTarget(t *target, htu string) error {
	if t.url != "" {
		return v.checkURL(t, htu)
	}
	addressed := false
	for i := range v.origins {
		o := &v.origins[i]
		if !v.sentTo(t, o) {
			continue
		}
		addressed = true
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
	return o.answers(t.host) || v.isInternal(t.host)
}

func (v *Verifier) isInternal(host string) bool {
	if len(v.internalHosts) == 0 {
		return false
	}
	var buf [256]byte
	normal, ok := appendAuthority(buf[:0], "", host)
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

// checkURL demands a URI within one of the origins.
func (v *Verifier) checkURL(t *target, htu string) error {
	var a, b [512]byte
	want, ok := appendURI(a[:0], t.url, t.emptyPath)
	if !ok || !v.covers(want) {
		return ErrMisdirected
	}
	got, ok := appendURI(b[:0], htu, t.emptyPath)
	if !ok || string(got) != string(want) || v.exactHTU && htu != t.url {
		return ErrTarget
	}
	return nil
}

// covers reports whether a normal URI lies within one of the origins.
func (v *Verifier) covers(uri []byte) bool {
	for i := range v.origins {
		if v.origins[i].contains(uri) {
			return true
		}
	}
	return false
}
