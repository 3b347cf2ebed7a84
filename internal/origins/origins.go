// Package origins answers "are these two URLs of one origin?" and "is this host this
// very machine?"
package origins

import (
	"net/netip"
	"net/url"
	"strings"
)

// Of returns scheme and authority in the one form that origins are compared in: lower
// case, no default port (RFC 9110, section 4.2.3), IPv6 as RFC 5952 writes it.
// Anything may come out of broken input: parse first what is to be trusted.
func Of(scheme, authority string) string {
	u := url.URL{Host: authority}
	scheme = strings.ToLower(scheme)
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		if addr, err := netip.ParseAddr(host); err == nil {
			host = addr.String()
		}
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host
	}
	return scheme + "://" + host + ":" + port
}

// IsLoopback reports whether host, without brackets and port, is written as this
// machine: localhost, or a loopback address (127.0.0.0/8, ::1, and the former in
// IPv6). It looks up nothing, and what 0.0.0.0 and :: reach is no answer.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
