package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestAZeroVerifierOfProofsIsRefusedAtStart(t *testing.T) {
	w := newWorld(t)
	_, err := middleware.New(w.tokens(), middleware.WithDPoP(new(dpop.Verifier), nil))
	require.ErrorContains(t, err, "middleware: WithDPoP: the Verifier was not made by dpop.New")
}

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	_, err := middleware.New(
		nil,
		middleware.WithTokens(oidc.New("not a url", "")),
		middleware.WithDPoP(dpop.New("ftp://x", dpop.WithLifetime(-1))),
		middleware.WithMTLS(nil, nil),
		middleware.WithRealm("a"), middleware.WithRealm("b"),
		middleware.WithDenyHandler(nil),
		middleware.WithObserver(nil),
		middleware.ForwardBearer(), middleware.HideCredentials(),
		middleware.WithRules(nil, middleware.Scopes(`a"b`), middleware.Scopes(), middleware.AnyOf(), middleware.Claim(nil), middleware.AllOf(nil)),
	)
	require.Error(t, err)
	for _, want := range []string{
		"option 1 is nil", "oidc: ", "dpop: ", "WithMTLS: nil", "WithRealm is given twice", "WithDenyHandler: nil",
		"WithObserver: nil", "exclude each other", "rule 1 is nil", "is not a scope", "Scopes needs at least one",
		"AnyOf needs at least one", "Claim: path", "AllOf: rule 1 is nil",
	} {
		require.ErrorContains(t, err, want)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		require.Regexp(t, `^(middleware|oidc|dpop|mtlspop|jwks|session): `, line)
	}
}

func TestNewRefusesGuardsThatCouldNotWork(t *testing.T) {
	w := newWorld(t)
	for want, opts := range map[string][]middleware.Option{
		"no token verifier; add WithTokens":            {withDPoP()},
		"no binding to check":                          {w.tokens()},
		"no token could satisfy the rules":             {w.tokens(), withDPoP(), middleware.WithRules(middleware.CertificateBound())},
		"not comparable":                               {middleware.WithTokens(incomparable{}, nil), withDPoP()},
		"WithTokens: nil":                              {middleware.WithTokens(nil, nil), withDPoP()},
		"middleware: WithTokens: nil":                  {middleware.WithTokens((*oidc.Verifier)(nil), nil), withDPoP()},
		"WithRealm":                                    {w.tokens(), withDPoP(), middleware.WithRealm("a\r\nb")},
		"these tokens are unbound":                     {w.tokens(), withDPoP(), w.credentials()},
		"WithCallerAddress: nil":                       {w.tokens(), middleware.AllowUnbound(), w.credentials(), middleware.WithCallerAddress(nil)},
		"DangerouslyExemptExchange needs WithExchange": {w.tokens(), withDPoP(), middleware.DangerouslyExemptExchange()},
		"WithRules needs at least one rule":            {w.tokens(), withDPoP(), middleware.WithRules()},
	} {
		_, err := middleware.New(opts...)
		require.ErrorContains(t, err, want)
	}
}

type incomparable struct{ _ []int }

func (incomparable) VerifyToken(context.Context, string) (*oidc.Token, error) { return nil, nil }

func TestRequirePanicsOnARuleThatCouldNotWork(t *testing.T) {
	g := newWorld(t).guard(withDPoP())
	require.Panics(t, func() { g.Require() })
	require.Panics(t, func() { g.Require(nil) })
	require.Panics(t, func() { g.Require(middleware.Scopes("a b")) })
	require.Panics(t, func() { g.Require(middleware.CertificateBound()) })
	require.Panics(t, func() { g.Wrap(nil) })
}

func TestRules(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	claims := []oidctest.Change{
		oidctest.Scope("a", "b"),
		oidctest.Claim("realm_access", map[string]any{"roles": []string{"admin", "user"}}),
		oidctest.Claim("urn:x.y/tier", "gold"),
		oidctest.Claim("level", 3),
		oidctest.Claim("none", []any{}),
		oidctest.Claim("nothing", []any{nil, map[string]any{}}),
	}
	scopes, claim, anyOf, allOf := middleware.Scopes, middleware.Claim, middleware.AnyOf, middleware.AllOf
	for name, tc := range map[string]struct {
		rule middleware.Rule
		pass bool
	}{
		"all scopes":                  {scopes("b", "a"), true},
		"one scope missing":           {scopes("a", "c"), false},
		"a scope is not a prefix":     {scopes("a b"[:1] + "a"), false},
		"claim list":                  {claim([]string{"realm_access", "roles"}, "admin"), true},
		"claim list without":          {claim([]string{"realm_access", "roles"}, "root"), false},
		"claim any of":                {claim([]string{"realm_access", "roles"}, "root", "user"), true},
		"claim with dots in its name": {claim([]string{"urn:x.y/tier"}, "gold"), true},
		"dots are no path":            {claim([]string{"realm_access.roles"}, "admin"), false},
		"claim number":                {claim([]string{"level"}, "3"), true},
		"claim present":               {claim([]string{"level"}), true},
		"claim absent":                {claim([]string{"Level"}), false},
		"claim list of no values":     {claim([]string{"none"}), false},
		"claim list of what is none":  {claim([]string{"nothing"}), false},
		"claim list with a value":     {claim([]string{"realm_access", "roles"}), true},
		"claim object":                {claim([]string{"realm_access"}), false},
		"AnyOf: (a and b) or c":       {anyOf(scopes("a", "b"), scopes("c")), true},
		"AnyOf: c or (a and d)":       {anyOf(scopes("c"), scopes("a", "d")), false},
		"AllOf":                       {allOf(scopes("a"), claim([]string{"level"}, "3")), true},
		"AllOf one missing":           {allOf(scopes("a"), claim([]string{"level"}, "4")), false},
		"Bound":                       {middleware.Bound(), true},
		"DPoPBound":                   {middleware.DPoPBound(), true},
		"nested":                      {anyOf(middleware.CertificateBound(), allOf(middleware.DPoPBound(), scopes("a"))), true},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(g.Require(tc.rule), w.dpopRequest("/r", claims...))
			if tc.pass {
				a.accepted(t)
			} else {
				a.refused(t, 403)
			}
			whole := w.guard(both(middleware.WithRules(tc.rule))...)
			require.Equal(t, tc.pass, serve(whole, w.dpopRequest("/r", claims...)).called)
		})
	}
	t.Run("AnyOf tells the client what its first rule misses", func(t *testing.T) {
		a := serve(g.Require(anyOf(scopes("c"), scopes("d"))), w.dpopRequest("/r")).refused(t, 403)
		require.Equal(t, "c", a.challenges(t)[0].params["scope"])
	})
	t.Run("binding rules", func(t *testing.T) {
		serve(g.Require(middleware.CertificateBound()), w.dpopRequest("/r")).refused(t, 401).challenged(t, "Bearer:invalid_token")
		serve(g.Require(middleware.DPoPBound()), w.certRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
		serve(g.Require(middleware.CertificateBound()), w.certRequest("/r")).accepted(t)
	})
	t.Run("Require adds to the rules and leaves the guard as it is", func(t *testing.T) {
		a, ab := g.Require(scopes("a")), g.Require(scopes("a")).Require(scopes("x"))
		serve(ab, w.dpopRequest("/r", claims...)).refused(t, 403)
		serve(a, w.dpopRequest("/r", claims...)).accepted(t)
		serve(g, w.dpopRequest("/r")).accepted(t)
	})
}

func TestStepUp(t *testing.T) {
	w := newWorld(t)
	g := w.guard().Require(middleware.StepUp(5*time.Minute, "gold", "silver"))
	level := func(acr, authTime any) *http.Request {
		return w.dpopRequest("/r", oidctest.Claim("acr", acr), oidctest.Claim("auth_time", authTime))
	}
	now := time.Now().Unix()
	t.Run("STEP-6-01 acr and auth_time satisfy", func(t *testing.T) {
		serve(g, level("silver", now-60)).accepted(t)
		serve(g, level("gold", now+10)).accepted(t)
	})
	for name, r := range map[string]*http.Request{
		"STEP-6-01 without acr":                        w.dpopRequest("/r", oidctest.Claim("auth_time", now)),
		"STEP-6-01 without auth_time":                  w.dpopRequest("/r", oidctest.Claim("acr", "gold")),
		"STEP-6-01 another acr":                        level("bronze", now),
		"STEP-6-01 acr in another case":                level("Gold", now),
		"STEP-6-01 too long ago":                       level("gold", now-301),
		"STEP-6-02 auth_time in the future":            level("gold", now+60),
		"STEP-6-02 auth_time as a string":              level("gold", "0"),
		"STEP-6-02 auth_time null":                     level("gold", nil),
		"STEP-6-01 acr as a list":                      level([]string{"gold"}, now),
		"STEP-6-01 the claim's name is case-sensitive": w.dpopRequest("/r", oidctest.Claim("ACR", "gold"), oidctest.Claim("auth_time", now)),
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(g, r).refused(t, 401).challenged(t, "DPoP:insufficient_user_authentication", "Bearer")
			require.Equal(t, "gold silver", a.challenges(t)[0].params["acr_values"], "STEP-3-01")
			require.Equal(t, "300", a.challenges(t)[0].params["max_age"], "STEP-3-01")
		})
	}
	t.Run("STEP-6-01 from introspection", func(t *testing.T) {
		g, err := middleware.New(both(middleware.WithTokens(w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))))...)
		require.NoError(t, err)
		g = g.Require(middleware.StepUp(5*time.Minute, "gold", "silver"))
		says := func(changes ...oidctest.Change) *http.Request {
			r := w.certRequest("/r")
			r.Header.Set("Authorization", "Bearer "+w.issuer.OpaqueToken(append(changes, oidctest.BoundToCertificate(w.cert.Certificate))...))
			return r
		}
		acr, recent := oidctest.Claim("acr", "gold"), oidctest.Claim("auth_time", now-60)
		serve(g, says(acr, recent)).accepted(t)
		for name, r := range map[string]*http.Request{
			"neither":       says(),
			"no acr":        says(recent),
			"no auth_time":  says(acr),
			"another level": says(oidctest.Claim("acr", "bronze"), recent),
			"too long ago":  says(acr, oidctest.Claim("auth_time", now-301)),
		} {
			t.Log(name)
			serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:insufficient_user_authentication")
		}
	})
	t.Run("STEP-3-01 only what is demanded is said", func(t *testing.T) {
		c := serve(w.guard().Require(middleware.StepUp(time.Minute)), w.certRequest("/r")).refused(t, 401).challenges(t)[1]
		require.Equal(t, "60", c.params["max_age"])
		require.NotContains(t, c.params, "acr_values")
		c = serve(w.guard().Require(middleware.StepUp(0, "gold")), w.certRequest("/r")).challenges(t)[1]
		require.NotContains(t, c.params, "max_age")
	})
	t.Run("STEP-9-01 an invalid token is told invalid_token, and not what it would need", func(t *testing.T) {
		a := serve(g, w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour))).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		require.NotContains(t, a.challenges(t)[0].params, "acr_values")
	})
	t.Run("STEP-3-02 scopes are a rule of their own, with a challenge of its own", func(t *testing.T) {
		a := serve(g.Require(middleware.Scopes("x")), level("gold", now)).refused(t, 403)
		require.Equal(t, "x", a.challenges(t)[0].params["scope"])
	})
	t.Run("mistakes", func(t *testing.T) {
		for _, rule := range []middleware.Rule{middleware.StepUp(0), middleware.StepUp(-time.Second), middleware.StepUp(time.Millisecond), middleware.StepUp(0, "a b"), middleware.StepUp(0, "")} {
			require.Panics(t, func() { w.guard().Require(rule) })
		}
	})
}

func TestProtectedResourceMetadata(t *testing.T) {
	w := newWorld(t)
	resource := middleware.ProtectedResource{
		Identifier: "https://api.example/mcp", AuthorizationServers: []string{issuerURL}, Scopes: []string{"a", "b"},
		Name: "Orders", Documentation: "https://docs.example", JWKSURI: "https://api.example/jwks",
	}
	document := func(g *middleware.Guard, method string) (*httptest.ResponseRecorder, map[string]any) {
		rec := httptest.NewRecorder()
		path, document := g.Metadata()
		document.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		var doc map[string]any
		if rec.Body.Len() > 0 {
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &doc))
		}
		return rec, doc
	}
	g := w.guard(both(middleware.WithProtectedResource(resource))...)
	t.Run("PRM-3-01 PRM-5.1-01 the path, and the same URL in every challenge", func(t *testing.T) {
		require.Equal(t, "/.well-known/oauth-protected-resource/mcp", metadataPath(g))
		for _, r := range []*http.Request{get("/r"), w.bearerRequest("/r")} {
			for _, c := range serve(g, r).refused(t, 401).challenges(t) {
				require.Equal(t, "https://api.example/.well-known/oauth-protected-resource/mcp", c.params["resource_metadata"])
			}
		}
	})
	t.Run("PRM-3.2-01 PRM-7.10 200, JSON, public, cacheable, GET and HEAD only", func(t *testing.T) {
		rec, _ := document(g, "GET")
		require.Equal(t, 200, rec.Code)
		require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
		require.Equal(t, "*", rec.Header().Get("Access-Control-Allow-Origin"))
		require.Contains(t, rec.Header().Get("Cache-Control"), "max-age=")
		rec, _ = document(g, "HEAD")
		require.Equal(t, 200, rec.Code)
		require.Zero(t, rec.Body.Len())
		rec, _ = document(g, "POST")
		require.Equal(t, 405, rec.Code)
		require.Equal(t, "GET, HEAD", rec.Header().Get("Allow"))
	})
	t.Run("PRM-2-03 PRM-2-01 generated from the configuration", func(t *testing.T) {
		_, doc := document(g, "GET")
		require.Equal(t, map[string]any{
			"resource": "https://api.example/mcp", "authorization_servers": []any{issuerURL}, "scopes_supported": []any{"a", "b"},
			"resource_name": "Orders", "resource_documentation": "https://docs.example", "jwks_uri": "https://api.example/jwks",
			"bearer_methods_supported":                   []any{"header"},
			"tls_client_certificate_bound_access_tokens": true,
			"dpop_signing_alg_values_supported":          []any{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"},
		}, doc)
		_, doc = document(g.Require(middleware.DPoPBound()), "GET")
		require.Equal(t, true, doc["dpop_bound_access_tokens_required"])
		require.NotContains(t, doc, "scopes", "no scopes from nowhere")
	})
	t.Run("PRM-2-02 what has no value is left out", func(t *testing.T) {
		g := w.guard(middleware.AllowUnbound(), middleware.WithProtectedResource(middleware.ProtectedResource{Identifier: "https://api.example"}))
		_, doc := document(g, "GET")
		require.Equal(t, map[string]any{"resource": "https://api.example", "bearer_methods_supported": []any{"header"}}, doc)
	})
	t.Run("PRM-3.3-01 AMB-21 one document for each resource path", func(t *testing.T) {
		other := g.ForResource(middleware.ProtectedResource{Identifier: "https://api.example/other"})
		require.Equal(t, "/.well-known/oauth-protected-resource/other", metadataPath(other))
		_, doc := document(other, "GET")
		require.Equal(t, "https://api.example/other", doc["resource"])
		require.Contains(t, serve(other, get("/other")).Header().Get("WWW-Authenticate"), "/other\"")
		require.Equal(t, "/.well-known/oauth-protected-resource/mcp", metadataPath(g))
		require.Panics(t, func() { g.ForResource(middleware.ProtectedResource{}) })
	})
	t.Run("PRM-2-01 identifiers", func(t *testing.T) {
		for _, bad := range []string{"", "http://api.example", "http://localhost.example/mcp", "http://10.0.0.1/mcp", "https://:443", "https://", "https://a/#f", "https://a/#", "https://u@a/", "api", `https://a/"`} {
			_, err := middleware.New(w.tokens(), withDPoP(), middleware.WithProtectedResource(middleware.ProtectedResource{Identifier: bad}))
			require.ErrorContains(t, err, "ProtectedResource", bad)
		}
		for id, path := range map[string]string{ // vectors rfc9728-3.1-* and derived-9728-*
			"http://localhost:8080/mcp":              "/.well-known/oauth-protected-resource/mcp", // in development
			"https://resource.example.com":           "/.well-known/oauth-protected-resource",
			"https://resource.example.com/":          "/.well-known/oauth-protected-resource",
			"https://resource.example.com/resource1": "/.well-known/oauth-protected-resource/resource1",
			"https://resource.example.com/a/":        "/.well-known/oauth-protected-resource/a/",
			"https://resource.example.com/a%2Fb":     "/.well-known/oauth-protected-resource/a%2Fb",
			"https://resource.example.com/a?x=1":     "/.well-known/oauth-protected-resource/a",
		} {
			require.Equal(t, path, metadataPath(g.ForResource(middleware.ProtectedResource{Identifier: id})))
		}
		a := serve(g.ForResource(middleware.ProtectedResource{Identifier: "https://resource.example.com/a?x=1"}), get("/r"))
		require.Equal(t, "https://resource.example.com/.well-known/oauth-protected-resource/a?x=1", a.challenges(t)[0].params["resource_metadata"])
	})
	t.Run("PRM-2.2-01 signed_metadata is not offered", func(t *testing.T) {
		_, doc := document(g, "GET")
		require.NotContains(t, doc, "signed_metadata")
	})
	t.Run("without a resource there is no document", func(t *testing.T) {
		rec := httptest.NewRecorder()
		_, document := w.guard().Metadata()
		document.ServeHTTP(rec, get("/"))
		require.Equal(t, 404, rec.Code)
		require.Empty(t, metadataPath(w.guard()))
	})
}

func TestDenyHandler(t *testing.T) {
	w := newWorld(t)
	var told middleware.Denial
	g := w.guard(both(middleware.WithDenyHandler(func(rw http.ResponseWriter, _ *http.Request, d middleware.Denial) {
		told = d
		rw.WriteHeader(d.Status)
	}))...)
	serve(g, w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	require.Equal(t, middleware.Denial{Status: 401, Code: "invalid_token", Description: "token is not sender-constrained"}, told)
	serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer")
	require.Equal(t, middleware.Denial{Status: 401}, told)
	w.issuer.SetDown(true)
	fresh := w.guard(both(middleware.WithDenyHandler(func(rw http.ResponseWriter, _ *http.Request, d middleware.Denial) {
		told = d
		rw.WriteHeader(d.Status)
	}))...)
	serve(fresh, w.dpopRequest("/r")).refused(t, 503)
	require.Equal(t, middleware.Denial{Status: 503}, told)
}

func TestObserverIsToldOfEveryDecisionOnce(t *testing.T) {
	w := newWorld(t)
	var seen []middleware.Outcome
	g := w.guard(both(middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { seen = append(seen, o) }))...)
	last := func() middleware.Outcome {
		require.Len(t, seen, 1)
		o := seen[0]
		seen = nil
		return o
	}
	t.Run("acceptance", func(t *testing.T) {
		serve(g, w.dpopRequest("/r?secret=1")).accepted(t)
		o := last()
		require.NoError(t, o.Err)
		require.Zero(t, o.Status)
		require.Equal(t, "DPoP", o.Scheme)
		require.Equal(t, issuerURL, o.Issuer)
		require.Equal(t, "client", o.ClientID)
		require.Equal(t, "user-1", o.Subject)
		require.Equal(t, w.key.Thumbprint(), o.Confirmation.JKT)
		require.Equal(t, "GET", o.Proof.HTM)
		require.True(t, o.Proof.HasIssuedAt)
		require.Less(t, o.Proof.Skew.Abs(), 10*time.Second)
		require.Positive(t, o.TokenTime)
		require.Positive(t, o.BindingTime)
		require.GreaterOrEqual(t, o.Total, o.TokenTime+o.BindingTime)
	})
	t.Run("a stale proof: the skew is measured", func(t *testing.T) {
		r := w.dpopRequest("/r")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", token, func(c map[string]any) { c["iat"] = time.Now().Add(-time.Hour).Unix() }))
		serve(g, r).refused(t, 401)
		o := last()
		require.Equal(t, dpop.ErrExpired, o.Err)
		require.Equal(t, 401, o.Status)
		require.InDelta(t, -time.Hour.Seconds(), o.Proof.Skew.Seconds(), 10)
	})
	t.Run("the wrong target: both are told", func(t *testing.T) {
		r := w.dpopRequest("/r")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		r.Header.Set("DPoP", w.proof("GET", origin+"/other?q=1", token))
		serve(g, r).refused(t, 401)
		o := last()
		require.Equal(t, dpop.ErrTarget, o.Err)
		require.Equal(t, origin+"/other", o.Proof.HTU)
		require.Equal(t, origin+"/r", o.Proof.ExpectedHTU)
	})
	t.Run("a setting that would have helped is named", func(t *testing.T) {
		serve(g, w.dpopRequest("/r", oidctest.Keycloak())).refused(t, 401)
		require.Contains(t, last().Hint, "Keycloak")
		serve(g, w.bearerRequest("/r")).refused(t, 401)
		require.Contains(t, last().Hint, "AllowUnbound")
	})
	t.Run("nested guards: each decision, and the second is marked", func(t *testing.T) {
		g.Wrap(g.Wrap(http.NotFoundHandler())).ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/r"))
		require.Len(t, seen, 2)
		require.False(t, seen[0].Nested)
		require.True(t, seen[1].Nested)
		seen = nil
	})
	t.Run("Check is a decision", func(t *testing.T) {
		_, err := g.Check(get("/r"))
		require.Equal(t, middleware.ErrNoCredentials, err)
		require.Equal(t, middleware.ErrNoCredentials, last().Err)
	})
	t.Run("BCP9700-4.9.3 no token and no proof is in an outcome", func(t *testing.T) {
		for _, r := range []*http.Request{w.dpopRequest("/r"), w.certRequest("/r"), w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour)), w.dpopRequest("/r", oidctest.Header("typ", "JWT"))} {
			a := serve(g, r)
			requireNoSecrets(t, r, last(), a)
		}
	})
	t.Run("BCP9700-4.9.3 nor when the issuer is down, or a part panics", func(t *testing.T) {
		v := newWorld(t)
		v.issuer.SetDown(true)
		introspector := middleware.WithTokens(v.introspector(oidctest.Audience, clientauth.SecretPost("client", "secret")))
		panics := withVerifier(func() (*oidc.Token, error) { panic("a bug") })
		for _, tokens := range []middleware.Option{v.tokens(), introspector, panics} {
			var o middleware.Outcome
			g, err := middleware.New(both(tokens, middleware.WithObserver(func(_ context.Context, got middleware.Outcome) { o = got }))...)
			require.NoError(t, err)
			r := v.dpopRequest("/r")
			requireNoSecrets(t, r, o, serve(g, r).refused(t, 503))
			require.Error(t, o.Err)
		}
	})
	t.Run("an outage is told to the operator alone", func(t *testing.T) {
		w := newWorld(t)
		w.issuer.SetDown(true)
		var o middleware.Outcome
		g := w.guard(both(middleware.WithObserver(func(_ context.Context, got middleware.Outcome) { o = got }))...)
		a := serve(g, w.dpopRequest("/r")).refused(t, 503)
		require.ErrorContains(t, o.Err, "oidc: ")
		require.Empty(t, a.Body.String())
	})
}

// requireNoSecrets looks for parts of the request's token and proof in whatever
// could be made of the outcome, and in the answer.
func requireNoSecrets(t *testing.T, r *http.Request, o middleware.Outcome, a *answer) {
	t.Helper()
	asJSON, err := json.Marshal(o)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("denied", "outcome", o, "error", o.Err)
	said := fmt.Sprintf("%s %s %+v %#v %v %v %s", asJSON, log.String(), o, o, o.Err, a.Header(), a.Body)
	for _, name := range []string{"Authorization", "Dpop"} {
		parts := strings.Split(r.Header.Get(name), ".")
		for _, part := range parts[min(1, len(parts)-1):] { // the first one is the same for all
			if part != "" {
				require.NotContains(t, said, part[:20])
			}
		}
	}
}

func TestErrorKinds(t *testing.T) {
	var clean = func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
	}
	for k := range 256 {
		for _, e := range []interface {
			error
			Code() string
			Description() string
			Hint() string
		}{middleware.RequestError(k), dpop.ProofError(k), mtlspop.BindingError(k), oidc.TokenError(k), exchange.Error(k)} {
			require.True(t, clean(e.Description()), "AUTH-17: %T(%d): %q", e, k, e.Description())
			require.Regexp(t, `^(middleware|dpop|mtlspop|oidc|exchange): `, e.Error())
			require.Contains(t, []string{"", "invalid_request", "invalid_token", "insufficient_scope", "invalid_dpop_proof", "use_dpop_nonce", "insufficient_user_authentication", "invalid_client"}, e.Code())
		}
	}
	require.Equal(t, middleware.ErrUnbound, error(middleware.ErrUnbound), "comparable with ==")
}

func TestCheckWritesNothingAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	r := w.dpopRequest("/r")
	before := r.Clone(r.Context())
	c, err := g.Check(r)
	require.NoError(t, err)
	require.Equal(t, before.Header, r.Header)
	require.Equal(t, "user-1", c.Token.Subject)
	require.Equal(t, w.key.Thumbprint(), c.Proof.Thumbprint)
	require.Nil(t, c.Certificate)
	_, ok := middleware.FromContext(r.Context())
	require.False(t, ok)
	c, err = g.Check(r)
	require.Equal(t, dpop.ErrReplayed, err)
	require.Nil(t, c)
}

func (w *world) credentials(opts ...exchange.Option) middleware.Option {
	issuer, err := oidc.NewIssuer(issuerURL, oidc.WithHTTPClient(w.issuer.Client()))
	if err != nil {
		return middleware.WithExchange(nil, err)
	}
	return middleware.WithExchange(exchange.New(issuer, opts...))
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	basic := func(id, secret string) *http.Request {
		r := get("/r")
		r.SetBasicAuth(id, secret)
		return r
	}
	g := w.guard(both(middleware.AllowUnbound(), w.credentials())...)
	t.Run("the secret becomes a token, and the handler never sees the secret", func(t *testing.T) {
		a := serve(g, basic("client", "secret")).accepted(t)
		c, ok := middleware.FromContext(a.seen.Context())
		require.True(t, ok)
		require.Equal(t, "client", c.Token.ClientID)
		require.True(t, strings.HasPrefix(a.seen.Header.Get("Authorization"), "Bearer "))
		serve(g, basic("client", "secret")).accepted(t)
		require.Equal(t, 1, w.issuer.Fetches(oidctest.TokenEndpoint), "the second call is served from the cache")
	})
	t.Run("a wrong secret is 401 with a Basic challenge", func(t *testing.T) {
		a := serve(g, basic("client", "wrong")).refused(t, 401).challenged(t, "DPoP", "Bearer", "Basic")
		require.Equal(t, map[string]string{"realm": "api.example", "charset": "UTF-8"}, a.challenges(t)[2].params)
	})
	t.Run("malformed Basic credentials", func(t *testing.T) {
		for _, credentials := range []string{"Basic !", "Basic YQ", "Basic", "Basic YQ=="} {
			r := get("/r")
			r.Header.Set("Authorization", credentials)
			serve(g, r).refused(t, 400)
		}
	})
	t.Run("who guesses secrets locks a client out for their own address only", func(t *testing.T) {
		proxied := func(r *http.Request) netip.Addr {
			if !strings.HasPrefix(r.RemoteAddr, "10.0.0.1:") {
				return netip.Addr{}
			}
			addr, _ := netip.ParseAddr(r.Header.Get("X-Real-Ip"))
			return addr
		}
		for name, c := range map[string]struct {
			from func(r *http.Request, addr string)
			opts []middleware.Option
		}{
			"of the connection": {func(r *http.Request, addr string) { r.RemoteAddr = addr + ":4711" }, nil},
			"as the proxy says": {func(r *http.Request, addr string) {
				r.RemoteAddr = "10.0.0.1:4711"
				r.Header.Set("X-Real-Ip", addr)
			}, []middleware.Option{middleware.WithCallerAddress(proxied)}},
		} {
			w := newWorld(t)
			g := w.guard(both(append(c.opts, middleware.AllowUnbound(), w.credentials())...)...)
			call := func(addr, secret string, status int) {
				r := basic("client", secret)
				c.from(r, addr)
				require.Equal(t, status, serve(g, r).Code, "%s: %s from %s", name, secret, addr)
			}
			for n := range 5 {
				call("192.0.2.1", fmt.Sprint("guess", n), 401)
			}
			call("192.0.2.1", "secret", 503)
			call("192.0.2.2", "secret", 200)
			call("192.0.2.1", "secret", 200) // by now it is known
		}
	})
	t.Run("HideCredentials leaves nothing", func(t *testing.T) {
		g := w.guard(both(middleware.AllowUnbound(), w.credentials(), middleware.HideCredentials())...)
		require.Empty(t, serve(g, basic("client", "secret")).accepted(t).seen.Header)
	})
	t.Run("the issuer is down: 503", func(t *testing.T) {
		w := newWorld(t)
		g := w.guard(both(middleware.AllowUnbound(), w.credentials())...)
		w.issuer.SetDown(true)
		serve(g, basic("client", "secret")).refused(t, 503)
	})
	t.Run("where a binding is demanded, Basic is neither offered nor accepted", func(t *testing.T) {
		strict := g.Require(middleware.Bound())
		serve(strict, get("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer")
		serve(strict, basic("client", "secret")).refused(t, 401)
	})
	t.Run("DangerouslyExemptExchange exempts this method and no other", func(t *testing.T) {
		g := w.guard(both(w.credentials(), middleware.DangerouslyExemptExchange(), middleware.WithRules(middleware.DPoPBound()))...)
		serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP", "Basic")
		serve(g, basic("client", "secret")).accepted(t)
		serve(g, w.bearerRequest("/r")).refused(t, 401)
		serve(g, w.certRequest("/r")).refused(t, 401)
		token := serve(g, basic("client", "secret")).accepted(t).seen.Header.Get("Authorization")
		r := get("/r")
		r.Header.Set("Authorization", token)
		serve(g, r).refused(t, 401)
	})
	t.Run("within AnyOf the exemption does not stand for the other rules", func(t *testing.T) {
		g := w.guard(both(w.credentials(), middleware.DangerouslyExemptExchange())...)
		bindings := middleware.AnyOf(middleware.DPoPBound(), middleware.CertificateBound())
		serve(g.Require(bindings), basic("client", "secret")).accepted(t)
		serve(g.Require(middleware.AnyOf(middleware.DPoPBound(), middleware.Scopes("never"))), basic("client", "secret")).refused(t, 403)
		for _, rule := range []middleware.Rule{bindings, middleware.DPoPBound(), middleware.AllOf(middleware.DPoPBound(), middleware.CertificateBound())} {
			serve(g.Require(middleware.AnyOf(rule, middleware.Scopes("never"))), basic("client", "secret")).refused(t, 403)
			serve(g.Require(middleware.AnyOf(middleware.Scopes("never"), rule)), basic("client", "secret")).refused(t, 403)
			serve(g.Require(middleware.AnyOf(rule, rule)), basic("client", "secret")).accepted(t)
			serve(g.Require(middleware.AllOf(rule, middleware.AnyOf(rule))), basic("client", "secret")).accepted(t)
		}
		serve(g.Require(middleware.AnyOf(middleware.AllOf(middleware.DPoPBound(), middleware.Claim([]string{"client_id"}, "client")), middleware.Scopes("never"))), basic("client", "secret")).accepted(t)
	})
	t.Run("what an outer guard has let in unbound is not exempt", func(t *testing.T) {
		tokens, err := oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
		require.NoError(t, err)
		outer, err := middleware.New(middleware.WithTokens(tokens, nil), middleware.AllowUnbound())
		require.NoError(t, err)
		inner, err := middleware.New(both(middleware.WithTokens(tokens, nil), w.credentials(), middleware.DangerouslyExemptExchange())...)
		require.NoError(t, err)
		called, rec := false, httptest.NewRecorder()
		outer.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))).ServeHTTP(rec, w.bearerRequest("/r"))
		require.False(t, called)
		require.Equal(t, 401, rec.Code)
	})
	t.Run("an outage while the token is verified is asked about once, and says when to come back", func(t *testing.T) {
		w := newWorld(t)
		asked := 0
		g, err := middleware.New(both(middleware.AllowUnbound(), w.credentials(), middleware.WithTokens(verifierFunc(func(context.Context, string) (*oidc.Token, error) {
			asked++
			return nil, retryLater{}
		})))...)
		require.NoError(t, err)
		require.NotEmpty(t, serve(g, basic("client", "secret")).refused(t, 503).Header().Get("Retry-After"))
		require.Equal(t, 1, asked)
	})
	t.Run("rules apply to it like to any token", func(t *testing.T) {
		serve(g.Require(middleware.Scopes("never")), basic("client", "secret")).refused(t, 403)
	})
	t.Run("a token of the issuer that is not accepted here is not the caller's fault", func(t *testing.T) {
		w := newWorld(t)
		g, err := middleware.New(both(middleware.AllowUnbound(), w.credentials(),
			middleware.WithTokens(oidc.New(issuerURL, "https://another.example", oidc.WithHTTPClient(w.issuer.Client()))))...)
		require.NoError(t, err)
		serve(g, basic("client", "secret")).refused(t, 503)
	})
	t.Run("a remembered token that is no longer good is exchanged for a new one", func(t *testing.T) {
		w := newWorld(t)
		withdrawn := false
		v, err := oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
		require.NoError(t, err)
		var first string
		g, err := middleware.New(both(middleware.AllowUnbound(), w.credentials(), middleware.WithTokens(verifierFunc(func(ctx context.Context, raw string) (*oidc.Token, error) {
			if first == "" {
				first = raw
			}
			if withdrawn && raw == first {
				return nil, oidc.ErrInactive
			}
			return v.VerifyToken(ctx, raw)
		})))...)
		require.NoError(t, err)
		serve(g, basic("client", "secret")).accepted(t)
		withdrawn = true
		serve(g, basic("client", "secret")).accepted(t)
		require.Equal(t, 2, w.issuer.Fetches(oidctest.TokenEndpoint))
	})
}

type contextVerifier struct {
	verify func(context.Context, string) (*oidc.Token, error)
}

func (v *contextVerifier) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	return v.verify(ctx, raw)
}

func verifierFunc(f func(context.Context, string) (*oidc.Token, error)) (middleware.TokenVerifier, error) {
	return &contextVerifier{f}, nil
}

func metadataPath(g *middleware.Guard) string {
	path, _ := g.Metadata()
	return path
}
