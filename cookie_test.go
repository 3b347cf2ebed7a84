package middleware_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

var sessionKey = []byte("a key of thirty-two bytes or mor")

func withSession(opts ...session.Option) middleware.Option {
	return middleware.WithSession(session.New(sessionKey, opts...))
}

// cookies are what a browser would send after the answer.
func (a *answer) cookies(t testing.TB) string {
	t.Helper()
	var pairs []string
	for _, line := range a.Header()["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// sent returns the token of a request that [world] made.
func sent(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token
}

// again is a request like the first one, with the cookie in place of the token.
func again(first *http.Request, cookies string) *http.Request {
	r := first.Clone(context.Background())
	r.Header.Del("Authorization")
	r.Header.Set("Cookie", cookies)
	return r
}

func TestSessionOfADPoPBoundToken(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(withSession())...)
	first := w.dpopRequest("/r")
	begun := serve(g, first).accepted(t)
	require.Equal(t, "no-store", begun.Header().Get("Cache-Control"))
	cookies := begun.cookies(t)
	require.NotEmpty(t, cookies)
	// next is a request within the session, with a fresh proof.
	next := func() *http.Request {
		r := again(first, cookies)
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(first)))
		return r
	}

	t.Run("the cookie and a fresh proof pass, and the handler sees a token and no cookie", func(t *testing.T) {
		r := next()
		r.Header.Add("Cookie", "theme=dark")
		a := serve(g, r).accepted(t)
		require.Equal(t, []string{"DPoP " + sent(first)}, a.seen.Header["Authorization"])
		require.Equal(t, []string{"theme=dark"}, a.seen.Header["Cookie"])
		require.Len(t, r.Header["Cookie"], 2, "the request that came stays as it is")
		c, ok := middleware.FromContext(a.seen.Context())
		require.True(t, ok)
		require.Equal(t, w.key.Thumbprint(), c.Proof.Thumbprint)
		require.Empty(t, a.Header()["Set-Cookie"], "no new cookie for a fresh one")
		require.Equal(t, "private", a.Header().Get("Cache-Control"))
		require.Equal(t, "Cookie", a.Header().Get("Vary"))
	})
	t.Run("DPOP-7.1-01 the cookie without a good proof does not pass", func(t *testing.T) {
		r := next()
		r.Header.Del("DPoP")
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")

		r = next()
		serve(g, r).accepted(t)
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")

		r = next()
		thief := newWorld(t)
		r.Header.Set("DPoP", thief.proof("GET", origin+"/r", sent(first)))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")

		r = next()
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", w.dpopToken()))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("the Authorization field counts, and a bad one is not made good by a cookie", func(t *testing.T) {
		for _, authorization := range []string{"DPoP x", "Bearer x", "DPoP", "Negotiate x", "Basic eDp5", ""} {
			r := next()
			r.Header["Authorization"] = []string{authorization}
			if authorization == "" {
				r.Header["Authorization"] = []string{"DPoP a", "DPoP b"}
			}
			a := serve(g, r)
			require.False(t, a.called, authorization)
			require.Empty(t, a.Header()["Set-Cookie"], "the session is not to blame")
		}
	})
	t.Run("a token in the query is refused beside a cookie too", func(t *testing.T) {
		r := next()
		r.URL.RawQuery = "access_token=x"
		serve(g, r).refused(t, 400)
	})
	t.Run("behind ForwardBearer the scheme is Bearer as for every token", func(t *testing.T) {
		a := serve(w.guard(both(withSession(), middleware.ForwardBearer())...), next()).accepted(t)
		require.Equal(t, []string{"Bearer " + sent(first)}, a.seen.Header["Authorization"])
	})
	t.Run("a guard without sessions sees no credentials in a cookie", func(t *testing.T) {
		serve(w.guard(), next()).refused(t, 401).challenged(t, "DPoP", "Bearer")
	})
	t.Run("rules apply", func(t *testing.T) {
		serve(g.Require(middleware.Scopes("never")), next()).refused(t, 403)
	})
	t.Run("nested guards verify once", func(t *testing.T) {
		called := false
		inner := g.Require(middleware.DPoPBound()).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
		rec := newRecorderWith("X", "y")
		g.Wrap(inner).ServeHTTP(rec, next())
		require.True(t, called)
		require.Equal(t, []string{"Cookie"}, rec.Header()["Vary"])
		require.Empty(t, rec.Header()["Set-Cookie"])
	})
	t.Run("a request made in process with the request's context must bring its own credential", func(t *testing.T) {
		outer := serve(g, next()).accepted(t).seen
		serve(g, get("/r").WithContext(outer.Context())).refused(t, 401)
		serve(g, get("/admin").WithContext(outer.Context())).refused(t, 401)
	})
	t.Run("a proof for one token is none for that of the cookie, also behind a guard that hides the one", func(t *testing.T) {
		proofs, err := dpop.New(origin)
		require.NoError(t, err)
		outer := w.guard(middleware.WithDPoP(proofs, nil), middleware.HideCredentials())
		inner := w.guard(middleware.WithDPoP(proofs, nil), withSession()) // its own token verifier
		cookies := serve(inner, w.dpopRequest("/r", oidctest.Claim("sub", "of the cookie"))).accepted(t).cookies(t)
		r := w.dpopRequest("/r", oidctest.Claim("sub", "of the field"))
		r.Header.Set("Cookie", cookies)
		called, rec := false, newRecorderWith("X", "y")
		outer.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))).ServeHTTP(rec, r)
		require.False(t, called)
		require.Equal(t, 401, rec.Code)
	})
	t.Run("of two guards with the same sessions the outer one keeps them", func(t *testing.T) {
		sessions, err := session.New(sessionKey)
		require.NoError(t, err)
		proofs, err := dpop.New(origin)
		require.NoError(t, err)
		outer := w.guard(middleware.WithDPoP(proofs, nil), middleware.WithSession(sessions, nil))
		between := w.guard(middleware.WithDPoP(proofs, nil))
		inner := w.guard(middleware.WithDPoP(proofs, nil), middleware.WithSession(sessions, nil)) // its own token verifier
		called, rec := false, newRecorderWith("X", "y")
		outer.Wrap(between.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })))).ServeHTTP(rec, next())
		require.True(t, called)
		require.Empty(t, rec.Header()["Set-Cookie"])
		require.Len(t, rec.Header()["Vary"], 1)
	})
	t.Run("a refusal that may pass by does not end the session", func(t *testing.T) {
		stale := w.dpopRequest("/r", oidctest.ExpiresIn(time.Hour))
		cookies := serve(g, stale).accepted(t).cookies(t)
		w := newWorld(t) // an issuer with other keys
		a := serve(w.guard(both(withSession())...), again(stale, cookies)).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		require.Empty(t, a.Header()["Set-Cookie"])
	})
}

func TestSessionOfACertificateBoundToken(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(withSession())...)
	first := w.certRequest("/r")
	cookies := serve(g, first).accepted(t).cookies(t)
	serve(g, again(first, cookies)).accepted(t)

	r := again(first, cookies)
	r.TLS = get("/r").TLS
	serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, mtlspoptest.SelfSigned(t, "thief").Certificate)
	serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
}

func TestSessionOfAnUnboundToken(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.AllowUnbound(), withSession(session.WithTrustedOrigins("https://app.example")))...)
	first := w.bearerRequest("/r")
	cookies := serve(g, first).accepted(t).cookies(t)
	serve(g, again(first, cookies)).accepted(t)

	t.Run("another site's request is refused, without a challenge", func(t *testing.T) {
		r := again(first, cookies)
		r.Method = "POST"
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.example")
		require.Empty(t, serve(g, r).refused(t, 403).Header()["Www-Authenticate"])
		_, err := g.Check(r)
		require.Equal(t, middleware.ErrCrossOrigin, err)
		r.Header.Set("Origin", "https://app.example")
		serve(g, r).accepted(t)
	})
	t.Run("a session does not make an unbound token a bound one", func(t *testing.T) {
		serve(w.guard(both(withSession())...), again(first, cookies)).refused(t, 401)
	})
	t.Run("what the handler is given follows the options", func(t *testing.T) {
		forwarding := w.guard(both(middleware.AllowUnbound(), withSession(), middleware.ForwardBearer())...)
		a := serve(forwarding, again(first, cookies)).accepted(t)
		require.Equal(t, []string{"Bearer " + sent(first)}, a.seen.Header["Authorization"])
		require.NotContains(t, a.seen.Header, "Cookie")
		hiding := w.guard(both(middleware.AllowUnbound(), withSession(), middleware.HideCredentials())...)
		a = serve(hiding, again(first, cookies)).accepted(t)
		require.NotContains(t, a.seen.Header, "Authorization")
		require.NotContains(t, a.seen.Header, "Cookie")
		dpop := w.dpopRequest("/r")
		dpop.Header.Set("Cookie", serve(forwarding, w.bearerRequest("/r")).accepted(t).cookies(t))
		a = serve(forwarding, dpop).accepted(t)
		require.True(t, strings.HasPrefix(a.seen.Header.Get("Authorization"), "Bearer "))
		require.NotContains(t, a.seen.Header, "Cookie", "an unused cookie is a credential too")
	})
	t.Run("what an outer handler says of caching stays as far as it keeps shared caches out", func(t *testing.T) {
		for before, want := range map[string]string{
			"":                                 "private",
			"no-cache":                         "private, no-cache",
			"public, max-age=600":              "private, max-age=600",
			"Public , S-MaxAge=60":             "private",
			`private="X-User", max-age=1`:      "private, max-age=1",
			`ext="a, public", must-revalidate`: `private, ext="a, public", must-revalidate`,
			"max-age=60, no-store":             "no-store",
			"private":                          "private",
		} {
			rec := newRecorderWith("Cache-Control", before)
			rec.Header().Set("CDN-Cache-Control", "max-age=600")
			rec.Header().Set("Example-CDN-Cache-Control", "max-age=600")
			rec.Header().Set("Surrogate-Control", "max-age=600")
			g.Wrap(http.NotFoundHandler()).ServeHTTP(rec, again(first, cookies))
			require.Equal(t, []string{want}, rec.Header()["Cache-Control"], before)
			require.NotContains(t, rec.Header(), "Cdn-Cache-Control")
			require.NotContains(t, rec.Header(), "Example-Cdn-Cache-Control")
			require.NotContains(t, rec.Header(), "Surrogate-Control")
		}
	})
	t.Run("the observer is told", func(t *testing.T) {
		var o middleware.Outcome
		g := w.guard(both(middleware.AllowUnbound(), withSession(), middleware.WithObserver(func(_ context.Context, told middleware.Outcome) { o = told }))...)
		serve(g, again(first, cookies)).accepted(t)
		require.True(t, o.Session)
		require.Equal(t, "Bearer", o.Scheme)
		serve(g, w.bearerRequest("/r")).accepted(t)
		require.False(t, o.Session)
	})
}

func TestWhatBeginsNoSession(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.AllowUnbound(), w.credentials(), withSession())...)
	basic := get("/r")
	basic.SetBasicAuth("client", "secret")
	require.Empty(t, serve(g, basic).accepted(t).Header()["Set-Cookie"], "a secret is not for a browser")

	require.Empty(t, serve(g.Require(middleware.Scopes("never")), w.dpopRequest("/r")).refused(t, 403).Header()["Set-Cookie"])
	spoiled := w.dpopRequest("/r")
	spoiled.Header.Del("DPoP")
	require.Empty(t, serve(g, spoiled).refused(t, 401).Header()["Set-Cookie"])

	r := w.dpopRequest("/r")
	_, err := g.Check(r)
	require.NoError(t, err)
	require.NotContains(t, r.Header, "Set-Cookie")
}

func TestNewRefusesSessionsThatCouldNotWork(t *testing.T) {
	w := newWorld(t)
	for want, opts := range map[string][]middleware.Option{
		"session: key 1":             {middleware.WithSession(session.New(nil))},
		"WithSession: nil":           {middleware.WithSession(nil, nil)},
		"WithSession is given twice": {withSession(), withSession()},
		"FAPI2 forbids WithSession":  {withSession(), middleware.FAPI2()},
	} {
		_, err := middleware.New(both(append(opts, w.tokens())...)...)
		require.ErrorContains(t, err, want)
	}
}

func TestClientCredentialsOnly(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.AllowUnbound(), w.credentials(), middleware.RequireExchange())...)
	basic := get("/r")
	basic.SetBasicAuth("client", "secret")
	token := serve(g, basic).accepted(t).seen.Header.Get("Authorization")

	r := get("/r")
	r.Header.Set("Authorization", token)
	for _, r := range []*http.Request{get("/r"), r, w.bearerRequest("/r"), w.certRequest("/r"), w.dpopRequest("/r")} {
		serve(g, r).refused(t, 401).challenged(t, "Basic")
	}
	t.Run("nested, the token that was made of the secret counts", func(t *testing.T) {
		called := false
		inner := g.Require(middleware.Claim([]string{"client_id"}, "client")).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
		g.Wrap(inner).ServeHTTP(newRecorderWith("X", "y"), basic)
		require.True(t, called)
	})
	_, err := middleware.New(both(w.tokens(), w.credentials(), middleware.RequireExchange())...)
	require.ErrorContains(t, err, "no token could satisfy the rules", "the binding would have to be skipped")
	for want, opts := range map[string][]middleware.Option{
		"needs WithExchange": {middleware.RequireExchange()},
		"exclude each other": {middleware.RequireExchange(), w.credentials(), withSession()},
		"is given twice":     {middleware.RequireExchange(), middleware.RequireExchange(), w.credentials()},
	} {
		_, err := middleware.New(both(append(opts, w.tokens(), middleware.AllowUnbound())...)...)
		require.ErrorContains(t, err, want)
	}
}

func TestASessionsTokenIsAskedAboutLikeAnyOther(t *testing.T) {
	w := newWorld(t)
	withdrawn := false
	v, err := oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	g, err := middleware.New(both(middleware.AllowUnbound(), withSession(), middleware.WithTokens(verifierFunc(func(ctx context.Context, raw string) (*oidc.Token, error) {
		if withdrawn {
			return nil, oidc.ErrInactive
		}
		return v.VerifyToken(ctx, raw)
	})))...)
	require.NoError(t, err)
	first := w.bearerRequest("/r")
	cookies := serve(g, first).accepted(t).cookies(t)
	serve(g, again(first, cookies)).accepted(t)
	withdrawn = true
	a := serve(g, again(first, cookies)).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	require.Len(t, a.Header()["Set-Cookie"], 1, "it ends the session")
	require.Contains(t, a.Header().Get("Set-Cookie"), "Max-Age=0")
}
