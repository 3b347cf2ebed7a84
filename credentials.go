package middleware

import (
	"context"
	"encoding/base64"
	"reflect"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
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
	scheme  scheme    // as far as it was recognised
	raw     string    // the token, or what stands behind Basic
	session bool      // they came in a cookie, under the scheme that the session began with
	mtlsPoP bool      // they came under MTLS_POP, and the token must be bound to a certificate
	ends    time.Time // when the session is over at the latest
}

// readCredentials takes them from the request, or from the outer Guard that has
// done so already: what that one passed on may be under another scheme than the
// client used, or gone.
func (g *Guard) readCredentials(ctx context.Context, q *Request, before *verified) (sent credentials, err error) {
	if before.token(g.tokens) != nil {
		sent.scheme, sent.raw, sent.ends, sent.mtlsPoP = before.scheme, before.raw, before.ends, before.mtlsPoP
		if sent.scheme == schemeBasic && g.exchange == nil {
			sent.scheme = schemeBearer // which is how the token arrives here
		}
		return sent, nil
	}
	sent.scheme, sent.raw, err = readAuthorization(q.Header[headers.Authorization])
	if err == ErrUnsupportedScheme && g.acceptsMTLSPoP() {
		sent, err = readMTLSPoP(q.Header[headers.Authorization][0])
	}
	if err == nil && before != nil && before.scheme == schemeDPoP {
		sent.scheme = schemeDPoP
	}
	if err == ErrNoCredentials && g.sessions != nil {
		return g.readSession(ctx, q)
	}
	return sent, err
}

// readAuthorization takes the credentials from the values of the Authorization field,
// the only place where they are ever looked for (RFC 9449, section 7.1). The scheme
// is returned with an error too, as far as it was recognised: it decides which
// challenge carries the error.
// The name of a scheme is read in any case (RFC 9110, section 11.1). A token in a form
// body is not looked for, so that the body stays the handler's (RFC 6750, section 2.2).
func readAuthorization(values []string) (s scheme, credentials string, err error) {
	switch {
	case len(values) > 1:
		return noScheme, "", ErrSeveralTokens
	case len(values) == 0 || values[0] == "":
		return noScheme, "", ErrNoCredentials
	}
	value := values[0]
	// RFC 9110, section 11.4: credentials = auth-scheme [ 1*SP ( token68 / ... ) ].
	name := headers.LeadingToken(value)
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
	credentials, err = readToken68(value[len(name):])
	return s, credentials, err
}

// readToken68 takes what follows the name of a scheme.
func readToken68(rest string) (string, error) {
	credentials := strings.TrimLeft(rest, " ")
	if len(credentials) == len(rest) || !headers.IsToken68(credentials) {
		return "", ErrMalformedAuthorization
	}
	return credentials, nil
}

// acceptsMTLSPoP says that mtlspop.AcceptMTLSPoP is given.
func (c *config) acceptsMTLSPoP() bool { return c.mtls != nil && c.mtls.AcceptsMTLSPoP() }

// readMTLSPoP takes the credentials of mtlspop.AcceptMTLSPoP, which are a bearer token by
// another name, and a promise.
func readMTLSPoP(value string) (sent credentials, err error) {
	name := headers.LeadingToken(value)
	if !strings.EqualFold(name, "MTLS_POP") {
		return sent, ErrUnsupportedScheme
	}
	sent.scheme, sent.mtlsPoP = schemeBearer, true
	sent.raw, err = readToken68(value[len(name):])
	return sent, err
}

// readSession takes the credentials from the session, for a request without an
// Authorization field.
func (g *Guard) readSession(ctx context.Context, q *Request) (sent credentials, err error) {
	s, err := g.sessions.Read(q.http(ctx))
	switch err {
	case nil:
	case session.ErrCrossOrigin:
		return sent, ErrCrossOrigin
	default:
		return sent, ErrNoCredentials
	}
	sent = credentials{scheme: schemeBearer, raw: s.Token, session: true, ends: s.Ends}
	if s.Scheme == schemeDPoP.String() {
		sent.scheme = schemeDPoP
	}
	return sent, nil
}

// carriesSession reports whether the request has a cookie of a session, good or bad.
func (g *Guard) carriesSession(q *Request) bool {
	if g.sessions == nil || len(q.Header["Cookie"]) == 0 {
		return false
	}
	// Strip returns the header itself if there is none.
	return reflect.ValueOf(g.sessions.Strip(q.Header)).Pointer() != reflect.ValueOf(q.Header).Pointer()
}

// hasQueryToken reports whether the query has an access_token parameter, under any
// spelling that a form decoder would take for it, with & or ; between parameters.
//
// The name has one underscore: what stands around each is compared, in place. A
// client can make net/http read a megabyte of query; looking through it costs next to
// nothing beside that, whatever stands there.
// A token in the query is never accepted (RFC 9700, section 4.3.2).
func hasQueryToken(query string) bool {
	if strings.IndexByte(query, '_') < 0 && strings.IndexByte(query, '5') < 0 { // %5F
		return false
	}
	for i := len("access"); i < len(query)-len("oken"); i++ {
		end := i + 1
		switch query[i] {
		case '_':
		case '%':
			if query[i+1] != '5' || query[i+2]|0x20 != 'f' {
				continue
			}
			end = i + 3
		default:
			continue
		}
		if last := query[i-1]; (last == 's' || last == '3') && isQueryToken(query[:i], query[end:]) {
			return true
		}
	}
	return false
}

// isQueryToken reports whether a parameter access_token has its underscore between
// before and after.
func isQueryToken(before, after string) bool {
	for _, c := range [...]byte{'s', 's', 'e', 'c', 'c', 'a'} {
		switch n := len(before); {
		case n > 0 && before[n-1] == c:
			before = before[:n-1]
		case n > 2 && before[n-3] == '%' && unhex(before[n-2])<<4|unhex(before[n-1]) == c:
			before = before[:n-3]
		default:
			return false
		}
	}
	for _, c := range [...]byte{'t', 'o', 'k', 'e', 'n'} {
		switch n := len(after); {
		case n > 0 && after[0] == c:
			after = after[1:]
		case n > 2 && after[0] == '%' && unhex(after[1])<<4|unhex(after[2]) == c:
			after = after[3:]
		default:
			return false
		}
	}
	begins := before == "" || before[len(before)-1] == '&' || before[len(before)-1] == ';'
	ends := after == "" || after[0] == '=' || after[0] == '&' || after[0] == ';'
	return begins && ends
}

// unhex is the value of a hexadecimal digit. Of any other byte it is one that makes no
// ASCII letter.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// splitBasic takes Basic credentials apart (RFC 7617, section 2). They are
// plain UTF-8; the form-encoding of RFC 6749, section 2.3.1, is for token
// endpoints.
func splitBasic(credentials string) (id, secret string, err error) {
	decoded, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", "", ErrMalformedAuthorization
	}
	id, secret, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", ErrMalformedAuthorization
	}
	return id, secret, nil
}

// exchangeSecret is step 2 for Basic credentials: see [exchange.Exchange.Verified].
func (i *inspection) exchangeSecret(credentials string) (raw string, token *oidc.Token, err error) {
	id, secret, err := splitBasic(credentials)
	if err != nil {
		return "", nil, err
	}
	return i.exchange.Verified(&i.asker, i.findCaller(), id, secret, i.tokens)
}
