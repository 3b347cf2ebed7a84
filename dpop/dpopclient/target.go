package dpopclient

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware/internal/origins"
)

// pathOf returns the path as net/http writes it into the request line.
func pathOf(u *url.URL) string {
	if path := u.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// isAllowedScheme reports whether a request to u may leave: https, or http to this
// very machine if the user said so.
func isAllowedScheme(u *url.URL, loopbackHTTP bool) bool {
	return u.Scheme == "https" || loopbackHTTP && u.Scheme == "http" && origins.IsLoopback(u.Hostname())
}

// crossedOrigins reports whether any redirect on the way to req came from an origin
// other than the one that req goes to. net/http keeps Authorization on redirects
// to another port, to a subdomain, and from https to http.
func crossedOrigins(req *http.Request, origin string) bool {
	for resp := req.Response; resp != nil; resp = resp.Request.Response {
		if resp.Request == nil || resp.Request.URL == nil {
			return true // A redirect by other means, whose origin cannot be known.
		}
		if origins.Of(resp.Request.URL.Scheme, resp.Request.URL.Host) != origin {
			return true
		}
	}
	return false
}

// parseEndpoint checks a URL of the configuration. what is the option's name.
func parseEndpoint(what, raw string, loopbackHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("dpopclient: %s: %w", what, err)
	}
	var problem string
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		problem = "is not an https URL"
	case !isAllowedScheme(u, loopbackHTTP):
		problem = "is not https (DangerouslyAllowLoopbackHTTP permits http to localhost)"
	case !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":"):
		problem = "has no usable host (write it in lower-case ASCII, xn-- form if need be)"
	case u.User != nil:
		problem = "holds user information"
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		problem = "has a fragment"
	default:
		return u, nil
	}
	return nil, fmt.Errorf("dpopclient: %s: %q %s", what, u.Redacted(), problem)
}

// parseOrigin checks an origin of the configuration and normalises it.
func parseOrigin(raw string, loopbackHTTP bool) (string, error) {
	u, err := parseEndpoint("WithOrigins", raw, loopbackHTTP)
	if err != nil {
		return "", err
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery {
		return "", errors.New("dpopclient: WithOrigins: " + u.String() + " is more than scheme, host and port")
	}
	return origins.Of(u.Scheme, u.Host), nil
}

// isHost reports whether host is a plain name or IP address: no wildcard, no zone,
// nothing that the URL of a proof could not hold.
func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	return host != "" && strings.Trim(host, alphanumeric+"-._") == ""
}
