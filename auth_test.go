package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestCredentialsAreTakenFromTheAuthorizationFieldOnly(t *testing.T) {
	w := newWorld(t)
	g := w.guard()

	t.Run("AUTH-01 the token is taken from the Authorization field", func(t *testing.T) {
		serve(g, w.dpopRequest("/r")).accepted(t)
		serve(g, w.certRequest("/r")).accepted(t)
	})
	t.Run("AUTH-02 the scheme name is case-insensitive", func(t *testing.T) {
		for _, scheme := range []string{"dpop", "DPOP", "dPoP"} {
			r := w.dpopRequest("/r")
			r.Header.Set("Authorization", scheme+strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP"))
			serve(g, r).accepted(t)
		}
		for _, scheme := range []string{"bearer", "BEARER", "bEaReR"} {
			r := w.certRequest("/r")
			r.Header.Set("Authorization", scheme+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer"))
			serve(g, r).accepted(t)
		}
	})
	t.Run("AUTH-03 several spaces are allowed", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), " ", "   ", 1))
		serve(g, r).accepted(t)
	})
	for _, malformed := range []string{"DPoP\ttoken", "DPoP a b", "DPoP a,b", `DPoP token="a"`, "DPoP", "DPoP ", "DPoP a ", "DPoP =", "DPoP a=b", "DPoP/token", "DPoP ä", "DPoP a\x00"} {
		t.Run("AUTH-03 malformed credentials "+malformed, func(t *testing.T) {
			r := w.dpopRequest("/r")
			r.Header.Set("Authorization", malformed)
			serve(g, r).refused(t, 400).challenged(t, "DPoP:invalid_request", "Bearer")
		})
	}
	t.Run("AUTH-03 malformed Bearer credentials", func(t *testing.T) {
		r := get("/r")
		r.Header.Set("Authorization", "Bearer a b")
		serve(g, r).refused(t, 400).challenged(t, "DPoP", "Bearer:invalid_request")
	})
	t.Run("AUTH-04 AUTH-19 AMB-09 without credentials: every scheme challenged on a line of its own, DPoP first, no error", func(t *testing.T) {
		a := serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer")
		require.Empty(t, a.Body.String())
	})
	t.Run("AUTH-04 an empty field is no credentials", func(t *testing.T) {
		r := get("/r")
		r.Header.Set("Authorization", "")
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")
	})
	for _, other := range []string{"Basic dXNlcjpwYXNz", "Negotiate x", "DPoPx token", "x", "\x01"} {
		t.Run("AUTH-05 an unsupported scheme is no credentials: "+other, func(t *testing.T) {
			r := get("/r")
			r.Header.Set("Authorization", other)
			serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")
		})
	}
	t.Run("AUTH-06 two Authorization fields are an error in each challenge", func(t *testing.T) {
		good := w.dpopRequest("/r")
		good.Header["Authorization"] = []string{"Bearer t", good.Header.Get("Authorization")}
		serve(g, good).refused(t, 400).challenged(t, "DPoP:invalid_request", "Bearer:invalid_request")
		r := w.certRequest("/r")
		r.Header["Authorization"] = append(r.Header["Authorization"], "Bearer b")
		serve(g, r).refused(t, 400).challenged(t, "DPoP:invalid_request", "Bearer:invalid_request")
	})
	t.Run("AUTH-07 AUTH-10 a token in the query is never used", func(t *testing.T) {
		allow := w.guard(both(middleware.AllowUnbound(), middleware.IgnoreQueryToken())...)
		for _, g := range []*middleware.Guard{g, allow} {
			serve(g, get("/r?access_token="+w.issuer.Token())).refused(t, 401).challenged(t, "DPoP", "Bearer")
			r := get("/r?access_token=" + w.dpopToken())
			r.Header.Set("DPoP", w.proof("GET", origin+"/r", w.dpopToken()))
			serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")
		}
	})
	for _, query := range []string{"access_token=t", "a=b&access_token=t", "access%5Ftoken=t", "access_token", "access_token&a=1", "a=1;access_token=t", "access_token=t;a=1", "a;%61ccess%5ftoken;b"} {
		t.Run("AUTH-08 AMB-07 a token in the field and in the query: "+query, func(t *testing.T) {
			serve(g, w.dpopRequest("/r?"+query)).refused(t, 400).challenged(t, "DPoP:invalid_request", "Bearer:invalid_request")
			serve(w.guard(both(middleware.IgnoreQueryToken())...), w.dpopRequest("/r?"+query)).accepted(t)
		})
	}
	t.Run("AUTH-08 other parameters do not matter", func(t *testing.T) {
		serve(g, w.dpopRequest("/r?xaccess_token=t&q=access_token&%zz")).accepted(t)
	})
	t.Run("AUTH-09 a form is not read", func(t *testing.T) {
		form := func(r *http.Request) *http.Request {
			body := httptest.NewRequest("POST", "/r", strings.NewReader("access_token="+w.issuer.Token()))
			r.Method, r.Body, r.ContentLength = "POST", body.Body, body.ContentLength
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}
		serve(g, form(get("/r"))).refused(t, 401).challenged(t, "DPoP", "Bearer")
		a := serve(g, form(w.certRequest("/r"))).accepted(t)
		body, err := io.ReadAll(a.seen.Body)
		require.NoError(t, err)
		require.Regexp(t, `^access_token=[\w-]+\.[\w-]+\.[\w-]+$`, string(body), "the handler still reads the whole body")
	})
	t.Run("AUTH-10 a bound token in a form is not read either", func(t *testing.T) {
		token := w.dpopToken()
		body := httptest.NewRequest("POST", "/r", strings.NewReader("access_token="+token))
		r := get("/r")
		r.Method, r.Body, r.ContentLength = "POST", body.Body, body.ContentLength
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", w.proof("POST", origin+"/r", token))
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")
	})
	t.Run("AUTH-11 Proxy-Authorization is ignored", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Set("Proxy-Authorization", r.Header.Get("Authorization"))
		r.Header.Del("Authorization")
		a := serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")
		require.Empty(t, a.Header()["Proxy-Authenticate"])
	})
	t.Run("HTTP-12 trailers cannot supply credentials", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Trailer, r.Header = r.Header, http.Header{}
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer")

		r = w.dpopRequest("/r")
		r.Trailer = http.Header{"Dpop": r.Header["Dpop"]}
		r.Header.Del("DPoP")
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
}

func TestChallenges(t *testing.T) {
	w := newWorld(t)
	algs := "ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519"

	t.Run("AUTH-12 every DPoP challenge carries the configured algs in order", func(t *testing.T) {
		require.Equal(t, algs, serve(w.guard(), get("/r")).challenges(t)[0].params["algs"])
		g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithAlgorithms("EdDSA", "ES256"))))
		for _, r := range []*http.Request{get("/r"), w.bearerRequest("/r")} {
			require.Equal(t, "EdDSA ES256", serve(g, r).challenges(t)[0].params["algs"])
		}
	})
	t.Run("AUTH-13 AUTH-14 the error stands in the challenge of the scheme used", func(t *testing.T) {
		r := get("/r")
		r.Header.Set("Authorization", "Bearer bad")
		serve(w.guard(), r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		r = w.dpopRequest("/r")
		r.Header.Set("Authorization", "DPoP bad")
		serve(w.guard(), r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
	})
	t.Run("AUTH-13 where the scheme used is not offered, the error stands in the one that is", func(t *testing.T) {
		serve(w.guard(withDPoP()), w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
	})
	t.Run("AUTH-16 AUTH-17 AMB-10 the realm is that of the origin, or the configured one, escaped", func(t *testing.T) {
		for _, c := range serve(w.guard(), get("/r")).challenges(t) {
			require.Equal(t, "api.example", c.params["realm"])
		}
		require.Equal(t, "api", serve(w.guard(withMTLS()), get("/r")).challenges(t)[0].params["realm"])
		g := w.guard(both(middleware.WithRealm(`my "own" \ realm`))...)
		a := serve(g, get("/r"))
		require.Contains(t, a.Header().Get("WWW-Authenticate"), `realm="my \"own\" \\ realm"`)
		require.Equal(t, `my "own" \ realm`, a.challenges(t)[0].params["realm"])
	})
	t.Run("AUTH-17 nothing that came with the request is in the answer", func(t *testing.T) {
		hostile := `evil", error="none\` + "\x7fä"
		for _, r := range []*http.Request{
			w.dpopRequest("/r", oidctest.Claim("iss", hostile)),
			w.dpopRequest("/r", oidctest.Claim("scope", hostile), oidctest.Claim("aud", hostile)),
			w.dpopRequest("/r", oidctest.Header("typ", hostile)),
			func() *http.Request { r := w.dpopRequest("/r"); r.Header.Set("DPoP", "evil"); return r }(),
		} {
			a := serve(w.guard(), r).refused(t, 401)
			a.challenges(t) // strictly parsed
			require.NotContains(t, strings.Join(a.Header()["Www-Authenticate"], "\n")+a.Body.String(), "evil")
		}
	})
	t.Run("AUTH-18 insufficient scope is 403 with the scopes, in the scheme used alone", func(t *testing.T) {
		g := w.guard().Require(middleware.Scopes("orders:read", "orders:write"))
		a := serve(g, w.dpopRequest("/r", oidctest.Scope("orders:read"))).refused(t, 403).challenged(t, "DPoP:insufficient_scope")
		require.Equal(t, "orders:read orders:write", a.challenges(t)[0].params["scope"])
		a = serve(g, w.certRequest("/r", oidctest.Scope("orders:reads"))).refused(t, 403).challenged(t, "Bearer:insufficient_scope")
		require.JSONEq(t, `{"error":"insufficient_scope","error_description":"the token lacks a required scope"}`, a.Body.String())
		serve(g, w.dpopRequest("/r", oidctest.Scope("x", "orders:write", "orders:read"))).accepted(t)
	})
	t.Run("AUTH-20 challenges that the handler sets survive", func(t *testing.T) {
		rec := httptest.NewRecorder()
		w.guard().Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Add("WWW-Authenticate", "Negotiate")
			rw.WriteHeader(401)
		})).ServeHTTP(rec, w.dpopRequest("/r"))
		require.Equal(t, []string{"Negotiate"}, rec.Header()["Www-Authenticate"])
		require.Empty(t, rec.Header().Get("Cache-Control"))
	})
	t.Run("AUTH-22 HTTP-06 the body says what the header says, except for HEAD", func(t *testing.T) {
		r := w.bearerRequest("/r")
		a := serve(w.guard(), r).refused(t, 401)
		require.Equal(t, "application/json", a.Header().Get("Content-Type"))
		require.JSONEq(t, `{"error":"invalid_token","error_description":"token is not sender-constrained"}`, a.Body.String())
		r = w.bearerRequest("/r")
		r.Method = "HEAD"
		require.Empty(t, serve(w.guard(), r).refused(t, 401).Body.String())
	})
	t.Run("WithErrorMembers without names says the code only", func(t *testing.T) {
		a := serve(w.guard(both(middleware.WithErrorMembers())...), w.bearerRequest("/r")).refused(t, 401)
		require.JSONEq(t, `{"error":"invalid_token"}`, a.Body.String())
		require.NotContains(t, a.challenges(t)[1].params, "error_description")
	})
	t.Run("the strings of one guard are not shared as slices", func(t *testing.T) {
		g := w.guard()
		a := serve(g, get("/r"))
		a.Header()["Www-Authenticate"][0] = "spoiled"
		serve(g, get("/r")).challenged(t, "DPoP", "Bearer")
	})
}

func TestOnlySchemesThatCouldSucceedAreOffered(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		opts  []middleware.Option
		rules []middleware.Rule
		want  []string
	}{
		"DPoP alone":                     {[]middleware.Option{withDPoP()}, nil, []string{"DPoP"}},
		"mTLS alone":                     {[]middleware.Option{withMTLS()}, nil, []string{"Bearer"}},
		"both":                           {both(), nil, []string{"DPoP", "Bearer"}},
		"both, DPoPBound":                {both(), []middleware.Rule{middleware.DPoPBound()}, []string{"DPoP"}},
		"both, CertificateBound":         {both(), []middleware.Rule{middleware.CertificateBound()}, []string{"Bearer"}},
		"both, both demanded":            {both(), []middleware.Rule{middleware.DPoPBound(), middleware.CertificateBound()}, []string{"DPoP"}},
		"both, either":                   {both(), []middleware.Rule{middleware.AnyOf(middleware.DPoPBound(), middleware.CertificateBound())}, []string{"DPoP", "Bearer"}},
		"unbound allowed":                {[]middleware.Option{withDPoP(), middleware.AllowUnbound()}, nil, []string{"DPoP", "Bearer"}},
		"unbound allowed, Bound":         {[]middleware.Option{withDPoP(), middleware.AllowUnbound()}, []middleware.Rule{middleware.Bound()}, []string{"DPoP"}},
		"unbound allowed alone":          {[]middleware.Option{middleware.AllowUnbound()}, nil, []string{"Bearer"}},
		"both, scopes change nothing":    {both(), []middleware.Rule{middleware.Scopes("a")}, []string{"DPoP", "Bearer"}},
		"both, all of DPoPBound, scopes": {both(), []middleware.Rule{middleware.AllOf(middleware.DPoPBound(), middleware.Scopes("a"))}, []string{"DPoP"}},
	} {
		t.Run(name, func(t *testing.T) {
			if len(tc.rules) == 0 {
				serve(w.guard(tc.opts...), get("/r")).refused(t, 401).challenged(t, tc.want...)
			} else {
				serve(w.guard(append(tc.opts, middleware.WithRules(tc.rules...))...), get("/r")).refused(t, 401).challenged(t, tc.want...)
				serve(w.guard(tc.opts...).Require(tc.rules...), get("/r")).refused(t, 401).challenged(t, tc.want...)
			}
		})
	}
}

type panickingCache struct{}

func (panickingCache) Add(context.Context, string, [32]byte, time.Time) (bool, error) { panic("a bug") }

// faultyNonces can issue none. Those that it is shown are old, if it knows any.
type faultyNonces struct{ panics, known bool }

func (b faultyNonces) Issue(context.Context) (string, error) {
	if b.panics {
		panic("a bug")
	}
	return "", errors.New("store down")
}

func (b faultyNonces) IssuedAt(context.Context, string) (time.Time, bool, error) {
	return time.Now().Add(-50 * time.Second), b.known, nil
}

func TestEveryInternalErrorFailsClosed(t *testing.T) {
	w := newWorld(t)
	for name, verify := range map[string]func() (*oidc.Token, error){
		"a panic":                      func() (*oidc.Token, error) { panic("no keys") },
		"no token and no error":        func() (*oidc.Token, error) { return nil, nil },
		"an outage":                    func() (*oidc.Token, error) { return nil, errors.New("issuer down") },
		"a TokenError that is no kind": func() (*oidc.Token, error) { return nil, oidc.TokenError(250) },
		"the zero TokenError":          func() (*oidc.Token, error) { return nil, oidc.TokenError(0) },
	} {
		t.Run("AUTH-21 "+name, func(t *testing.T) {
			g, err := middleware.New(withVerifier(verify), withDPoP(), withMTLS(), middleware.AllowUnbound())
			require.NoError(t, err)
			for _, r := range []*http.Request{w.dpopRequest("/r"), w.certRequest("/r"), w.bearerRequest("/r")} {
				a := serve(g, r).refused(t, 503)
				require.Empty(t, a.Header()["Www-Authenticate"])
				require.Empty(t, a.Body.String())
			}
		})
	}
	for name, proofs := range map[string]dpop.Option{
		"a replay cache that panics": dpop.WithReplayCache(panickingCache{}, nil),
		"a nonce source that panics": dpop.WithNonces(faultyNonces{panics: true}, nil),
		"a nonce source that fails":  dpop.WithNonces(faultyNonces{}, nil),
	} {
		t.Run("AUTH-21 "+name, func(t *testing.T) {
			var o middleware.Outcome
			g := w.guard(middleware.WithDPoP(dpop.New(origin, proofs)), middleware.WithObserver(func(_ context.Context, got middleware.Outcome) { o = got }))
			a := serve(g, w.dpopRequest("/r")).refused(t, 503)
			require.Empty(t, a.Header()["Www-Authenticate"])
			require.Equal(t, 503, o.Status, "the operator is told what the client is")
			require.Error(t, o.Err)
			require.NotEqual(t, dpop.ErrNonceMissing, o.Err)
		})
	}
	t.Run("AUTH-21 an observer that panics", func(t *testing.T) {
		g := w.guard(withDPoP(), middleware.WithObserver(func(context.Context, middleware.Outcome) { panic("a bug") }))
		called := false
		require.Panics(t, func() {
			g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/r"))
		})
		require.False(t, called)
	})
	t.Run("a nonce source that fails takes nothing from a request that passes", func(t *testing.T) {
		g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(faultyNonces{known: true}, nil))))
		r := w.dpopRequest("/r")
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = "old" }))
		require.Empty(t, serve(g, r).accepted(t).Header()["Dpop-Nonce"])
	})
	t.Run("AUTH-21 JWKS-06 the issuer is down", func(t *testing.T) {
		w := newWorld(t)
		r := w.dpopRequest("/r")
		w.issuer.SetDown(true)
		a := serve(w.guard(), r).refused(t, 503)
		require.Empty(t, a.Header()["Www-Authenticate"])
		require.NotEmpty(t, a.Header().Get("Retry-After"))
	})
	t.Run("Retry-After is passed on in whole seconds, rounded up", func(t *testing.T) {
		g, err := middleware.New(withDPoP(), withVerifier(func() (*oidc.Token, error) { return nil, retryLater{} }))
		require.NoError(t, err)
		require.Equal(t, "2", serve(g, w.dpopRequest("/r")).refused(t, 503).Header().Get("Retry-After"))
	})
	t.Run("AUTH-21 a token error that a verifier wraps is the client's", func(t *testing.T) {
		g, err := middleware.New(withDPoP(), withVerifier(func() (*oidc.Token, error) {
			return nil, errors.Join(errors.New("second opinion"), oidc.ErrExpired)
		}))
		require.NoError(t, err)
		serve(g, w.dpopRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
	})
	t.Run("the zero Guard rejects everything", func(t *testing.T) {
		var g middleware.Guard
		rec := httptest.NewRecorder()
		g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("handler called") })).ServeHTTP(rec, w.dpopRequest("/r"))
		require.Equal(t, 503, rec.Code)
		_, err := g.Check(w.dpopRequest("/r"))
		require.Error(t, err)
		_, err = g.Require(middleware.Bound()).Check(w.dpopRequest("/r"))
		require.Error(t, err)
	})
}

type retryLater struct{}

func (retryLater) Error() string             { return "later" }
func (retryLater) RetryAfter() time.Duration { return 1200 * time.Millisecond }
