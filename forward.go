package middleware

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/credctx"
	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/mtlspop"
)

// writtenByTerminator returns the fields of r that a TLS terminator has written. Other
// fields with forwarded certificates are a client's, even in a request from a
// terminator: that one writes its own dialect and passes on the rest.
func (g *Guard) writtenByTerminator(r *http.Request) []string {
	if len(g.forwarded) == 0 {
		return nil
	}
	return g.mtls.TrustedHeaders(mtlspop.RequestOf(r))
}

// announcement is what the response to a request that passes must carry.
func (g *Guard) announcement(r *http.Request, d decision, written []string) (f fields) {
	v := d.verified
	f.expose = g.exposes(r)
	if g.sessions != nil && d.keepsSession {
		g.keepSession(&f, r, v)
	}
	if v.by.mtls != nil {
		f.vary = append(f.vary, written...) // RFC 9440, section 2.4.
	}
	if d.nonce != "" {
		f.nonce, f.caching = d.nonce, cachingNone // RFC 9449, section 8.2.
	}
	return f
}

// exposes reports whether scripts of other origins are to be shown what they need
// for the next request.
func (g *Guard) exposes(r *http.Request) bool {
	return g.exposeHeaders && len(r.Header["Origin"]) > 0
}

// pass returns the request that the handler sees: r with the credential in its
// context, and without what it should not see: a forwarded certificate from
// anybody but a terminator is somebody's claim.
func (g *Guard) pass(r *http.Request, v *verified, written []string) *http.Request {
	passed := r.WithContext(credctx.With(r.Context(), v))
	hide := g.hides()
	if hide || v.session || v.scheme == schemeBasic {
		passed.Header = maps.Clone(r.Header)
		delete(passed.Header, headers.Authorization)
		if !g.hideCredentials { // A secret is not for the handler either way.
			passed.Header[headers.Authorization] = []string{g.forwardedScheme(v) + " " + v.raw}
		}
	}
	if hide {
		delete(passed.Header, headers.DPoP)
	}
	if hide {
		written = nil
	}
	g.dropClaims(passed, written)
	v.of, _ = identify(passed)
	return passed
}

// passPreflight is pass for a request without credentials: no browser sends any
// with a preflight, and nobody has verified those of anybody else.
func (g *Guard) passPreflight(r *http.Request) *http.Request {
	passed := r.WithContext(credctx.With(r.Context(), nil))
	passed.Header = maps.Clone(r.Header)
	delete(passed.Header, headers.Authorization)
	delete(passed.Header, headers.DPoP)
	var written []string
	if !g.hides() {
		written = g.writtenByTerminator(r)
	}
	g.dropClaims(passed, written)
	return passed
}

// hides reports whether the handler gets the request without proof and certificate.
func (c *config) hides() bool { return c.forwardBearer || c.hideCredentials }

// dropClaims takes out of r what would be a credential to somebody behind: the
// cookie of a session, and forwarded certificates but for the fields to keep.
func (g *Guard) dropClaims(r *http.Request, keep []string) {
	r.Header = g.sessions.Strip(r.Header)
	if len(g.forwarded) > 0 {
		r.Header = withoutForwarded(r.Header, g.forwarded, keep)
	}
}

// forwardedScheme is that under which the handler gets the token.
func (g *Guard) forwardedScheme(v *verified) string {
	if v.session && !g.forwardBearer {
		return v.scheme.String() // as if the client had sent it
	}
	return schemeBearer.String()
}

// withoutForwarded returns h without the named fields, under any spelling that
// a service behind could take for them: some read X-Client-Cert, X_Client_Cert and
// X.Client.Cert alike. The fields in keep stay: a terminator has written them, but
// other spellings of them it has passed on from its client.
func withoutForwarded(h http.Header, names, keep []string) http.Header {
	cloned := false
	for name := range h {
		alike := func(field string) bool { return dashed(field) == dashed(name) }
		if slices.Contains(keep, name) || !slices.ContainsFunc(names, alike) {
			continue
		}
		if !cloned {
			h, cloned = maps.Clone(h), true
		}
		delete(h, name)
	}
	return h
}

// dashed is the name of the variable that CGI (RFC 3875, section 4.1.18) and its like
// make of a field, but for its letters' case and with dashes: several programs put an
// underscore for every byte that is not alphanumeric.
func dashed(field string) string {
	return http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
		if c < '0' || '9' < c && c < 'A' || 'Z' < c && c < 'a' || 'z' < c {
			return '-'
		}
		return c
	}, field))
}
