package session

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

const (
	// Browsers keep at least 4096 bytes of a cookie's name, value and attributes
	// together (RFC 6265, section 6.1), and some of them no more.
	partSize = 3500
	// Four of them still fit into the header limits of common proxies.
	maxParts = 4

	// keyName is how many hex digits name a key.
	keyName = 8
)

// partName is the name of a part of the cookie called name: the first one has the
// name alone.
func partName(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "-" + strconv.Itoa(i)
}

// isPart reports whether a cookie with that name is a part of one of these Sessions', or
// of another Sessions' whose name differs only in the short name of its key.
func (s *Sessions) isPart(name string) bool {
	rest, ok := strings.CutPrefix(name, s.cookie.Name)
	if !ok {
		return false
	}
	if key, ok := strings.CutPrefix(rest, "."); ok {
		if len(key) < keyName || strings.Trim(key[:keyName], "0123456789abcdef") != "" {
			return false
		}
		rest = key[keyName:]
	}
	return rest == "" || len(rest) == 2 && rest[0] == '-' && '1' <= rest[1] && rest[1] < '0'+maxParts
}

// collect puts together the parts of the request's cookie with that name. The first
// part begins with their number, so that one which is left over from a longer cookie
// does no harm. A name that comes twice is no answer: another host of the same site
// may have set the second one.
func collect(r *http.Request, name string) (sealed string, ok bool) {
	first, ok := single(r, name)
	if !ok || len(first) < 3 || first[1] != '.' || first[0] < '1' || '0'+maxParts < first[0] {
		return "", false
	}
	sealed = first[2:]
	for i := 1; i < int(first[0]-'0'); i++ {
		part, ok := single(r, partName(name, i))
		if !ok || len(part) > partSize {
			return "", false
		}
		sealed += part
	}
	return sealed, len(first) <= partSize+2
}

func single(r *http.Request, name string) (value string, ok bool) {
	cookies := r.CookiesNamed(name)
	if len(cookies) != 1 {
		return "", false
	}
	return cookies[0].Value, true
}

// write adds the cookies called name that hold sealed, and removes those that are
// left over.
func (s *Sessions) write(h http.Header, r *http.Request, name, sealed string) bool {
	parts := (len(sealed) + partSize - 1) / partSize
	if parts > maxParts {
		return false
	}
	for i := range parts {
		c := s.cookie
		c.Name = partName(name, i)
		c.Value, sealed = sealed[:min(partSize, len(sealed))], sealed[min(partSize, len(sealed)):]
		if i == 0 {
			c.Value = strconv.Itoa(parts) + "." + c.Value
		}
		h.Add("Set-Cookie", c.String())
	}
	s.remove(h, r, name, parts)
	return true
}

// remove removes the parts that the client has sent, from the given one on.
func (s *Sessions) remove(h http.Header, r *http.Request, name string, from int) {
	for i := from; i < maxParts; i++ {
		if len(r.CookiesNamed(partName(name, i))) == 0 {
			continue
		}
		c := s.cookie
		c.Name, c.MaxAge = partName(name, i), -1
		h.Add("Set-Cookie", c.String())
	}
}

// Strip returns h without the cookies of sessions, for a handler that should not
// see them: neither those of s, nor those of another Sessions that differs from s in its
// key. h itself stays as it is, and is returned if there are none.
func (s *Sessions) Strip(h http.Header) http.Header {
	if s == nil || s.ring == nil {
		return h
	}
	var kept []string
	found := false
	for _, line := range h["Cookie"] {
		var others []string
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(pair, "=")
			if s.isPart(strings.TrimSpace(name)) {
				found = true
			} else {
				// Not TrimSpace: after an exotic space, " __Host-x" is not __Host-x,
				// neither for browsers nor for net/http.
				others = append(others, strings.Trim(pair, " \t"))
			}
		}
		if len(others) > 0 {
			kept = append(kept, strings.Join(others, "; "))
		}
	}
	if !found {
		return h
	}
	h = maps.Clone(h)
	if h["Cookie"] = kept; len(kept) == 0 {
		delete(h, "Cookie")
	}
	return h
}
