package reverseproxy

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// isWebSocket reports whether a request asks for WebSocket and for nothing else
// (RFC 6455, section 4.2.1).
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") &&
		r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 && r.ContentLength == 0
}

// isForwardable reports whether the path and the query that were judged are those
// that the service would see.
func isForwardable(u *url.URL) bool {
	if !strings.HasPrefix(u.Path, "/") || u.Opaque != "" {
		return false // an asterisk, or the target of CONNECT
	}
	for i := range len(u.RawQuery) {
		if c := u.RawQuery[i]; c <= ' ' || c == 0x7f {
			return false // HTTP/2 can carry it, and HTTP/1.1 would end the target there
		}
	}
	// net/url encodes a path anew, from its decoded form, if a byte in it should have
	// been escaped: an escaped slash elsewhere in it becomes a slash.
	return !strings.Contains(u.RawPath, "%") || strings.EqualFold(escapedRest(u.RawPath), u.EscapedPath())
}

// escapedRest returns a raw path with the bytes escaped that no path can have. The
// escapes in it stay.
func escapedRest(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>?\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isPlainName reports whether all readers of a field's name see the same name:
// CGI and its heirs turn every other character into the one for a hyphen.
func isPlainName(name string) bool {
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && name[i] != '-' {
			return false
		}
	}
	return name != ""
}

// dashed returns the canonical plain name of which the given one is a spelling.
func dashed(name string) string {
	plain := []byte(name)
	for i, c := range plain {
		if !isAlphanumeric(c) {
			plain[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(plain))
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isWrittenByProxies reports whether services take a field for the word of a proxy.
// From a client it is a claim. Authorities: RFC 7239, RFC 9440, and habit.
func isWrittenByProxies(canonicalName string) bool {
	switch canonicalName {
	case "Forwarded", "X-Forwarded", "X-Real-Ip", "Client-Cert", "Client-Cert-Chain", "X-Original-Url", "X-Rewrite-Url":
		return true
	}
	return strings.HasPrefix(canonicalName, "X-Forwarded-")
}
