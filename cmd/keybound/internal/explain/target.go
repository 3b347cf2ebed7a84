package explain

import (
	"fmt"
	"net/url"
	"strings"
)

// sameTarget reports whether a claim htu names the target of a request: an origin, and
// the path as it was sent. The claim is normalised (RFC 3986, section 6.2.2), the target
// is not, since routers read it as it stands.
func sameTarget(htu, origin, path string) bool {
	claim, _, _ := strings.Cut(htu, "#")
	claim, _, _ = strings.Cut(claim, "?")
	scheme, rest, ok := strings.Cut(claim, "://")
	if !ok {
		return false
	}
	host, claimed := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, claimed = rest[:i], rest[i:]
	}
	base, err := url.Parse(origin)
	if err != nil || authority(scheme, host) != authority(base.Scheme, base.Host) || strings.ContainsAny(host, "@\\% ") {
		return false
	}
	if prefix := strings.TrimSuffix(base.EscapedPath(), "/"); prefix != "" && !strings.HasPrefix(path, prefix) {
		path = prefix + path
	}
	normal, ok := normalPath(claimed)
	return ok && (upperHex(claimed) == upperHex(path) || normal == path || normal == upperHex(path))
}

func authority(scheme, host string) string {
	scheme, host = strings.ToLower(scheme), strings.ToLower(host)
	host = strings.TrimSuffix(host, ":")
	if port := map[string]string{"https": ":443", "http": ":80"}[scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return scheme + "://" + host
}

// upperHex writes escapes with upper-case digits.
func upperHex(path string) string {
	b := []byte(path)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToUpper(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// normalPath decodes unreserved characters, escapes bytes that no URI may hold, and
// removes dot segments. ok is false for a path that is none.
func normalPath(path string) (normal string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			var v byte
			if i+2 >= len(path) {
				return "", false
			}
			if _, err := fmt.Sscanf(path[i+1:i+3], "%02x", &v); err != nil || strings.Trim(path[i+1:i+3], "0123456789abcdefABCDEF") != "" {
				return "", false
			}
			if strings.IndexByte(unreserved, v) >= 0 {
				b.WriteByte(v)
			} else {
				b.WriteString(strings.ToUpper(path[i : i+3]))
			}
			i += 2
		case c <= ' ' || c == 0x7f || c == '\\':
			return "", false
		case c >= 0x80 || strings.IndexByte("{}|\"^<>`", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return withoutDots(b.String()), true
}

// withoutDots is RFC 3986, section 5.2.4.
func withoutDots(path string) string {
	segments := strings.Split(path, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return strings.Join(out, "/")
}
