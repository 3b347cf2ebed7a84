package middleware

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware/internal/headers"
)

// scheme is an authentication scheme that a Guard can accept.
type scheme uint8

const (
	noScheme scheme = iota
	schemeDPoP
	schemeBearer
	schemeBasic
)

func (s scheme) String() string {
	return [...]string{"", "DPoP", "Bearer", "Basic"}[s]
}

// credentials are what a client has sent to be let in by.
type credentials struct {
	scheme  scheme // as far as it was recognised
	raw     string // the token, or what stands behind Basic
	session bool   // they came in a cookie, under the scheme that the session began with
}

// readAuthorization takes the credentials from the Authorization field, the
// only place where they are ever looked for (RFC 9449, section 7.1). The scheme
// is returned with an error too, as far as it was recognised: it decides which
// challenge carries the error.
func readAuthorization(h http.Header) (s scheme, credentials string, err error) {
	value, n := headers.Single(h, headers.Authorization)
	switch {
	case n > 1:
		return noScheme, "", ErrSeveralTokens
	case value == "":
		return noScheme, "", ErrNoCredentials
	}
	// RFC 9110, section 11.4: credentials = auth-scheme [ 1*SP ( token68 / ... ) ].
	name := value
	if end := strings.IndexFunc(value, notTokenChar); end >= 0 {
		name = value[:end]
	}
	switch {
	case strings.EqualFold(name, "DPoP"):
		s = schemeDPoP
	case strings.EqualFold(name, "Bearer"):
		s = schemeBearer
	case strings.EqualFold(name, "Basic"):
		s = schemeBasic
	default:
		return noScheme, "", ErrUnsupportedScheme
	}
	credentials = strings.TrimLeft(value[len(name):], " ")
	if len(credentials) == len(value)-len(name) || !headers.IsToken68(credentials) {
		return s, "", ErrMalformedAuthorization
	}
	return s, credentials, nil
}

// notTokenChar reports whether c cannot be part of a scheme name (RFC 9110, section 5.6.2).
func notTokenChar(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// hasQueryToken reports whether the query has an access_token parameter, under
// any spelling that a form decoder would take for it.
func hasQueryToken(rawQuery string) bool {
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		name, _, _ := strings.Cut(pair, "=")
		if name == "access_token" {
			return true
		}
		if strings.IndexByte(name, '%') < 0 {
			continue
		}
		if name, err := url.QueryUnescape(name); err == nil && name == "access_token" {
			return true
		}
	}
	return false
}

// isEarlyData reports whether the request may have come as TLS early data: on a
// handshake that is not finished, or marked by a terminator in front. Any
// Early-Data field counts as "1", from anybody: the worst that a client can
// reach by lying is to be asked to try again (RFC 8470, sections 3 and 5.1).
func isEarlyData(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header[headers.EarlyData]) > 0
}

// isPreflight reports whether r is a CORS preflight as the Fetch standard makes it:
// no browser sends one with a body, or asks with it for another protocol. A handler
// that forwards such a request would let its client speak with what is behind.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 &&
		len(r.Header["Upgrade"]) == 0 && r.ContentLength == 0 && len(r.TransferEncoding) == 0
}
