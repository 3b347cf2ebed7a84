package origins

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Parse returns the normal form of an origin that an operator wrote: scheme and host in
// lower case, no default port. The scheme is https, or http on a loopback host. There is
// no path, except one slash.
func Parse(s string) (string, error) {
	scheme, authority, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "", errors.New("not of the form https://host")
	}
	authority = strings.TrimSuffix(authority, "/")
	normal, ok := AppendAuthority(nil, scheme, authority)
	if !ok || !HasValidPort(string(normal)) {
		return "", errors.New("host or port is not valid, or there is a path (a name outside ASCII must be in its xn-- form)")
	}
	if scheme == "http" && !IsLoopbackAuthority(string(normal)) {
		return "", errors.New("not https")
	}
	return scheme + "://" + string(normal), nil
}

// Answers reports whether authority, from a request, is that of an origin of [Parse].
func Answers(origin, authority string) bool {
	scheme, own, _ := strings.Cut(origin, "://")
	if authority == own {
		return own != ""
	}
	var buf [256]byte
	normal, ok := AppendAuthority(buf[:0], scheme, authority)
	return ok && string(normal) == own
}

// IsLoopbackAuthority is [IsLoopback] for a host with an optional port.
func IsLoopbackAuthority(authority string) bool {
	host, _ := hostPort(authority)
	return IsLoopback(strings.Trim(host, "[]"))
}

// HasValidPort reports whether the port of a normal authority, if there is one, is a
// number that a port can have.
func HasValidPort(authority string) bool {
	_, port := hostPort(authority)
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0'
}

// hostPort splits a normal authority.
func hostPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}

// AppendAuthority appends host and port: a name in lower case, an IPv6 address in
// its canonical form, no default port of the scheme. Userinfo, zone identifiers,
// percent-encoding and internationalized names are refused.
func AppendAuthority(dst []byte, scheme, authority string) ([]byte, bool) {
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
		c := host[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return dst, false
		}
		dst = append(dst, c)
	}
	dst, ok := appendPort(dst, scheme, port)
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
