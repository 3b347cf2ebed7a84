package dpop

import (
	"net/netip"
	"strings"
)

// The normal form of an http or https URI (RFC 3986, sections 6.2.2 and 6.2.3;
// RFC 9110, section 4.2.3). Everything here is total, works in linear time, and
// appends to a buffer of the caller's, so that comparing does not allocate.

// withoutQuery drops the query and the fragment, whichever comes first.
func withoutQuery(uri string) string {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		return uri[:i]
	}
	return uri
}

// splitURI takes an absolute URI without query and fragment apart. The scheme is
// normal; authority and path are as they stand.
func splitURI(uri string) (scheme, authority, path string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", "", "", false
	}
	scheme = normalScheme(scheme)
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return scheme, rest[:i], rest[i:], scheme != ""
	}
	return scheme, rest, "", scheme != ""
}

// normalScheme returns http or https, or nothing for any other scheme. It is not
// [strings.EqualFold], for which "httpſ" is https.
func normalScheme(s string) string {
	var buf [len("https")]byte
	if len(s) > len(buf) {
		return ""
	}
	switch string(appendLower(buf[:0], s)) {
	case "https":
		return "https"
	case "http":
		return "http"
	default:
		return ""
	}
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendURI appends the normal form of uri, which has no query and no fragment.
// emptyPath: see [appendPath].
func appendURI(dst []byte, uri string, emptyPath bool) ([]byte, bool) {
	scheme, authority, path, ok := splitURI(uri)
	if !ok {
		return dst, false
	}
	dst = append(append(dst, scheme...), "://"...)
	if dst, ok = appendAuthority(dst, scheme, authority); !ok {
		return dst, false
	}
	return appendPath(dst, "", path, emptyPath)
}

// appendAuthority appends host and port: a name in lower case, an IPv6 address in
// its canonical form, no default port of the scheme. Userinfo, zone identifiers,
// percent-encoding and internationalized names are refused.
func appendAuthority(dst []byte, scheme, authority string) ([]byte, bool) {
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return dst, false
		}
		addr, err := netip.ParseAddr(authority[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return dst, false
		}
		dst = append(addr.AppendTo(append(dst, '[')), ']')
		return appendPort(dst, scheme, authority[end+1:])
	}
	host, port := authority, ""
	if i := strings.IndexByte(authority, ':'); i >= 0 {
		host, port = authority[:i], authority[i:]
	}
	for i := range len(host) {
		if c := host[i]; !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return dst, false
		}
	}
	dst, ok := appendPort(appendLower(dst, host), scheme, port)
	return dst, ok && host != ""
}

// appendPort appends port, which comes with its colon, unless the scheme implies it.
func appendPort(dst []byte, scheme, port string) ([]byte, bool) {
	if port == "" || port == ":" {
		return dst, true
	}
	if port[0] != ':' {
		return dst, false
	}
	for i := range len(port) - 1 {
		if c := port[i+1]; c < '0' || c > '9' {
			return dst, false
		}
	}
	if scheme == "https" && port == ":443" || scheme == "http" && port == ":80" {
		return dst, true
	}
	return append(dst, port...), true
}

// appendPath appends the normal form of prefix and path together, since the dot
// segments of path can lead out of prefix. Each is empty or starts with a slash.
// An empty path becomes "/", unless emptyPath, as for OPTIONS, where it means
// something else (RFC 9110, section 4.2.3).
func appendPath(dst []byte, prefix, path string, emptyPath bool) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, prefix...)
	dst, ok := appendEscaped(dst, path)
	if len(dst) == start && !emptyPath {
		return append(dst, '/'), ok
	}
	return removeDots(dst, start), ok
}

// appendEscaped appends path with its percent-encoding in normal form: upper case,
// and only where needed. An encoded reserved character, such as %2F or %40, is
// not the same as the character.
func appendEscaped(dst []byte, path string) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case isPathChar(c):
			dst = append(dst, c)
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			decoded := unhex(path[i+1])<<4 | unhex(path[i+2])
			if isUnreserved(decoded) {
				dst = append(dst, decoded)
			} else {
				dst = append(dst, '%', upper(path[i+1]), upper(path[i+2]))
			}
			i += 2
		default:
			return dst, false
		}
	}
	return dst, true
}

// validPath is appendEscaped without the result.
func validPath(path string) bool {
	for i := range len(path) {
		c := path[i]
		if isPathChar(c) {
			continue
		}
		if c != '%' || i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
			return false
		}
	}
	return true
}

// removeDots removes the dot segments of path = b[start:], which is empty or
// starts with a slash (RFC 3986, section 5.2.4).
func removeDots(b []byte, start int) []byte {
	out := start
	for in := start; in < len(b); {
		// Invariant: b[in] is a slash, and out <= in.
		end := in + 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		switch segment := string(b[in+1 : end]); segment {
		case ".", "..":
			if segment == ".." {
				out = parent(b, start, out)
			}
			if end == len(b) {
				b[out] = '/'
				out++
			}
		default:
			out += copy(b[out:], b[in:end])
		}
		in = end
	}
	return b[:out]
}

// parent returns where the last segment of b[start:out] begins, its slash included.
func parent(b []byte, start, out int) int {
	for out > start {
		out--
		if b[out] == '/' {
			break
		}
	}
	return out
}

// isPathChar also admits the four characters that RFC 3986 does not, but that
// browsers send as they are (WHATWG URL, path percent-encode set).
func isPathChar(c byte) bool {
	if isUnreserved(c) {
		return true
	}
	switch c {
	case '/', ':', '@', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=':
		return true
	case '[', ']', '|', '^':
		return true
	default:
		return false
	}
}

func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// Precondition of unhex and upper: isHex(c).
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

func upper(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 'A'
	}
	return c
}
