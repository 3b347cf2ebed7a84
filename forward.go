package middleware

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/credctx"
	"github.com/keybound-go/middleware/internal/headers"
)

// announcement is what the response to a request that passes must carry.
func (g *Guard) announcement(r *http.Request, d decision, fromTerminator bool) (f fields) {
	v := d.verified
	f.expose = g.exposes(r)
	if g.sessions != nil && d.keepsSession {
		g.keepSession(&f, r, v)
	}
	if v.by.mtls != nil && fromTerminator {
		f.vary = append(f.vary, g.forwarded...) // RFC 9440, section 2.4.
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
func (g *Guard) pass(r *http.Request, v *verified, fromTerminator bool) *http.Request {
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
	g.dropClaims(passed, fromTerminator && !hide)
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
	g.dropClaims(passed, g.mtls != nil && g.mtls.TrustsPeer(r) && !g.hides())
	return passed
}

// hides reports whether the handler gets the request without proof and certificate.
func (c *config) hides() bool { return c.forwardBearer || c.hideCredentials }

// dropClaims takes out of r what would be a credential to somebody behind: the
// cookie of a session, and forwarded certificates, unless a terminator has
// written them and they are to be kept.
func (g *Guard) dropClaims(r *http.Request, keepForwarded bool) {
	r.Header = g.sessions.Strip(r.Header)
	if len(g.forwarded) > 0 {
		r.Header = withoutForwarded(r.Header, g.forwarded, keepForwarded)
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
// a service behind could take for them: some read X-Client-Cert and
// X_Client_Cert alike. With keep, the fields themselves stay: a terminator has
// written them, but the other spellings it has passed on from its client.
func withoutForwarded(h http.Header, names []string, keep bool) http.Header {
	cloned := false
	for name := range h {
		alike := func(field string) bool { return dashed(field) == dashed(name) }
		if keep && slices.Contains(names, name) || !slices.ContainsFunc(names, alike) {
			continue
		}
		if !cloned {
			h, cloned = maps.Clone(h), true
		}
		delete(h, name)
	}
	return h
}

func dashed(field string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(field, "_", "-"))
}
