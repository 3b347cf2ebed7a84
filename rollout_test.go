package middleware_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

// told is an observer's last Outcome.
type told struct{ middleware.Outcome }

func (o *told) option() middleware.Option {
	return middleware.WithObserver(func(_ context.Context, outcome middleware.Outcome) { o.Outcome = outcome })
}

func staged(level middleware.Level) *middleware.Stage {
	s := new(middleware.Stage)
	s.Set(level)
	return s
}

func TestAStagedRuleIsOffReportedOrEnforced(t *testing.T) {
	w := newWorld(t)
	var o told
	stage := new(middleware.Stage)
	g := w.guard(both(middleware.AllowUnbound(), o.option(), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), stage)))...)
	require.Equal(t, middleware.Enforce, stage.Level(), "the zero Stage enforces")
	serve(g, w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
	require.Equal(t, middleware.ErrNotDPoPBound, o.Err)
	require.Empty(t, o.WouldDeny)

	stage.Set(middleware.Report)
	serve(g, w.bearerRequest("/r")).accepted(t)
	require.NoError(t, o.Err)
	require.Equal(t, middleware.ErrNotDPoPBound.Reason(), o.WouldDeny)
	serve(g, w.dpopRequest("/r")).accepted(t)
	require.Empty(t, o.WouldDeny)

	stage.Set(middleware.Off)
	serve(g, w.bearerRequest("/r")).accepted(t)
	require.Empty(t, o.WouldDeny)

	stage.Set(middleware.Level(77))
	require.Equal(t, middleware.Enforce, stage.Level())
	serve(g, w.bearerRequest("/r")).refused(t, 401)
}

// An audit sees what is not enforced.
func TestDescribeSaysHowFarARuleIsRolledOut(t *testing.T) {
	w := newWorld(t)
	stage := staged(middleware.Report)
	g := w.guard(both(middleware.AllowUnbound(), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), stage)))...)
	require.Equal(t, []string{"staged, report (dpop_bound)"}, g.Describe().Rules)
	stage.Set(middleware.Enforce)
	require.Equal(t, []string{"staged, enforce (dpop_bound)"}, g.Describe().Rules)
	stage.Choose(func(*middleware.Credential) middleware.Level { return middleware.Off })
	require.Equal(t, []string{"staged, by a function, else enforce (dpop_bound)"}, g.Describe().Rules)
}

func TestAStageCanBeChosenPerClient(t *testing.T) {
	w := newWorld(t)
	var o told
	stage := staged(middleware.Off)
	g := w.guard(both(middleware.AllowUnbound(), o.option(), middleware.WithRules(middleware.Staged(middleware.Bound(), stage)))...)
	stage.Choose(func(c *middleware.Credential) middleware.Level {
		switch c.Token.ClientID {
		case "enforced":
			return middleware.Enforce
		case "reported":
			return middleware.Report
		case "unknown level":
			return 77
		case "panics":
			panic("a bug")
		}
		return middleware.Off
	})
	for client, status := range map[string]int{"enforced": 401, "reported": 200, "unknown level": 401, "panics": 401, "other": 200} {
		a := serve(g, w.bearerRequest("/r", oidctest.Claim("client_id", client)))
		require.Equal(t, status, a.Code, client)
		require.Equal(t, client == "reported", o.WouldDeny != "", client)
		if status == 401 {
			a.challenged(t, "DPoP", "Bearer:invalid_token")
		}
	}
	stage.Choose(nil)
	serve(g, w.bearerRequest("/r", oidctest.Claim("client_id", "enforced"))).accepted(t)
}

func TestChallengesFollowTheStageInForce(t *testing.T) {
	w := newWorld(t)
	stage := staged(middleware.Report)
	g := w.guard(both(middleware.AllowUnbound(), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), stage)))...)
	serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer")
	stage.Set(middleware.Enforce)
	serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP")
	serve(g, w.bearerRequest("/r", oidctest.ExpiresIn(-time.Hour))).refused(t, 401).challenged(t, "DPoP:invalid_token")
	stage.Set(middleware.Off)
	serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer")

	impossible := w.guard(withMTLS(), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), new(middleware.Stage))))
	serve(impossible, get("/r")).refused(t, 401).challenged(t, "Bearer")
}

func TestNewPresetsAndMetadataTakeAStagedRuleForAbsent(t *testing.T) {
	w := newWorld(t)
	resource := middleware.ProtectedResource{Identifier: "https://api.example/r", AuthorizationServers: []string{issuerURL}}
	tokens, err := w.fapiTokens()
	require.NoError(t, err)
	_, err = middleware.New(middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New(origin, dpop.FAPI2())), middleware.FAPI2(),
		middleware.WithRules(middleware.Staged(middleware.LimitTokenLifetime(time.Minute), new(middleware.Stage))))
	require.ErrorContains(t, err, "does not check for revocation")

	g := w.guard(both(middleware.AllowUnbound(), middleware.WithProtectedResource(resource), middleware.WithRules(middleware.Staged(middleware.DPoPBound(), new(middleware.Stage))))...)
	_, document := g.Metadata()
	rec := httptest.NewRecorder()
	document.ServeHTTP(rec, get("/"))
	require.NotContains(t, rec.Body.String(), "dpop_bound_access_tokens_required")

	for want, rule := range map[string]middleware.Rule{
		"the Stage is nil":    middleware.Staged(middleware.Bound(), nil),
		"Staged: rule 1":      middleware.Staged(nil, new(middleware.Stage)),
		"is not a scope":      middleware.Staged(middleware.Scopes("a b"), new(middleware.Stage)),
		"AnyOf: Staged":       middleware.AnyOf(middleware.Bound(), middleware.Staged(middleware.Bound(), new(middleware.Stage))),
		"AllOf: Staged":       middleware.AllOf(middleware.Staged(middleware.Bound(), new(middleware.Stage))),
		"Staged: Staged":      middleware.Staged(middleware.Staged(middleware.Bound(), new(middleware.Stage)), new(middleware.Stage)),
		"RuleFunc needs":      middleware.RuleFunc("", func(*http.Request, *middleware.Credential) bool { return true }),
		"and a function":      middleware.RuleFunc("x", nil),
		"needs a type":        middleware.AuthorizationDetails(""),
		"BoundExcept needs":   middleware.BoundExcept(),
		"none that is empty;": middleware.BoundExcept("a", ""),
	} {
		_, err := middleware.New(both(w.tokens(), middleware.WithRules(rule))...)
		require.ErrorContains(t, err, want)
	}
}

func TestAReportedRuleNeverReachesTheClient(t *testing.T) {
	w := newWorld(t)
	var o told
	bug := middleware.RuleFunc("a bug", func(*http.Request, *middleware.Credential) bool { panic("a secret") })
	g := w.guard(both(o.option(), middleware.WithRules(middleware.Staged(bug, staged(middleware.Report)), middleware.Staged(middleware.Scopes("never"), staged(middleware.Report))))...)
	serve(g, w.dpopRequest("/r")).accepted(t)
	require.Equal(t, "panic", o.WouldDeny, "the first rule is the one that would have answered")
	require.Equal(t, "a bug", o.Rule)
	var enforced told
	serve(w.guard(both(enforced.option(), middleware.WithRules(bug, middleware.Scopes("never")))...), w.dpopRequest("/r")).refused(t, 503)
	require.Equal(t, o.WouldDeny, enforced.Reason)
}

func TestALevelHasAName(t *testing.T) {
	for _, level := range []middleware.Level{middleware.Off, middleware.Report, middleware.Enforce} {
		var read middleware.Level
		require.NoError(t, read.UnmarshalText([]byte(level.String())))
		require.Equal(t, level, read)
	}
	require.Equal(t, "enforce", middleware.Level(9).String())
	require.Error(t, new(middleware.Level).UnmarshalText([]byte("on")))
}

func TestARuleOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	var o told
	tenant := middleware.RuleFunc("tenant of the path", func(r *http.Request, c *middleware.Credential) bool {
		return r.PathValue("tenant") == c.Token.Subject
	})
	g := w.guard(both(o.option())...)
	mux := http.NewServeMux()
	called := 0
	mux.Handle("GET /tenants/{tenant}", g.Require(tenant).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ })))
	try := func(r *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, r)
		return rec
	}
	require.Equal(t, 200, try(w.dpopRequest("/tenants/alice", oidctest.Claim("sub", "alice"))).Code)
	require.Empty(t, o.Rule)
	rec := try(w.dpopRequest("/tenants/bob", oidctest.Claim("sub", "alice")))
	require.Equal(t, 403, rec.Code)
	require.Equal(t, middleware.ErrRule, o.Err)
	require.Equal(t, "tenant of the path", o.Rule)
	require.NotContains(t, rec.Body.String()+strings.Join(rec.Header()["Www-Authenticate"], ""), "tenant")
	require.Equal(t, 1, called)

	always := func(answer bool) middleware.Rule {
		return middleware.RuleFunc("always", func(*http.Request, *middleware.Credential) bool { return answer })
	}
	t.Run("it can only tighten", func(t *testing.T) {
		yes := g.Require(always(true))
		serve(yes, get("/r")).refused(t, 401)
		serve(yes, w.bearerRequest("/r")).refused(t, 401)
		replayed := w.dpopRequest("/r")
		serve(yes, replayed).accepted(t)
		serve(yes, replayed).refused(t, 401)
		serve(yes.Require(middleware.Scopes("never")), w.dpopRequest("/r")).refused(t, 403)
	})
	t.Run("a panic is 503", func(t *testing.T) {
		panics := middleware.RuleFunc("a bug", func(*http.Request, *middleware.Credential) bool { panic("a secret") })
		for _, rule := range []middleware.Rule{panics, middleware.AllOf(always(true), panics)} {
			serve(g.Require(rule), w.dpopRequest("/r")).refused(t, 503)
			require.EqualError(t, o.Err, `middleware: panic in rule "a bug": a value of type string`)
			require.Equal(t, "a bug", o.Rule)
		}
	})
	t.Run("it sees the request of another transport", func(t *testing.T) {
		r := w.dpopRequest("/tenants/bob?q=1", oidctest.Claim("sub", "alice"))
		var seen *http.Request
		look := middleware.RuleFunc("look", func(r *http.Request, _ *middleware.Credential) bool { seen = r; return true })
		require.True(t, g.Require(look).Judge(r.Context(), middleware.RequestOf(r)).Pass)
		require.Equal(t, "/tenants/bob", seen.URL.Path)
		require.Equal(t, "GET", seen.Method)
		require.Equal(t, "api.example", seen.Host)
	})
}

func TestAuthorizationDetails(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		claim any
		pass  bool
	}{
		"all the actions":            {[]any{map[string]any{"type": "payment", "actions": []string{"status", "initiate", "cancel"}}}, true},
		"one of several elements":    {[]any{map[string]any{"type": "other"}, map[string]any{"type": "payment", "actions": []string{"initiate", "status"}}}, true},
		"an action is missing":       {[]any{map[string]any{"type": "payment", "actions": []string{"status"}}}, false},
		"actions of two do not add":  {[]any{map[string]any{"type": "payment", "actions": []string{"status"}}, map[string]any{"type": "payment", "actions": []string{"initiate"}}}, false},
		"another type":               {[]any{map[string]any{"type": "payments", "actions": []string{"status", "initiate"}}}, false},
		"another case of the member": {[]any{map[string]any{"Type": "payment", "actions": []string{"status", "initiate"}}}, false},
		"no actions":                 {[]any{map[string]any{"type": "payment"}}, false},
		"an action that is none":     {[]any{map[string]any{"type": "payment", "actions": []any{"status", "initiate", 1}}}, false},
		"no list":                    {map[string]any{"type": "payment", "actions": []string{"status", "initiate"}}, false},
		"a text":                     {"payment", false},
		"null":                       {nil, false},
	} {
		g := w.guard().Require(middleware.AuthorizationDetails("payment", "initiate", "status"))
		a := serve(g, w.dpopRequest("/r", oidctest.Claim("authorization_details", row.claim)))
		require.Equal(t, row.pass, a.called, name)
		if !row.pass {
			a.refused(t, 403).challenged(t, "DPoP:insufficient_scope")
		}
	}
	serve(w.guard().Require(middleware.AuthorizationDetails("payment")), w.dpopRequest("/r", oidctest.Claim("authorization_details", []any{map[string]any{"type": "payment"}}))).accepted(t)
	serve(w.guard().Require(middleware.AuthorizationDetails("payment")), w.dpopRequest("/r")).refused(t, 403)
}

func TestBoundExcept(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.AllowUnbound(), middleware.WithRules(middleware.BoundExcept("legacy")))...)
	serve(g, w.bearerRequest("/r", oidctest.Claim("client_id", "legacy"))).accepted(t)
	serve(g, w.bearerRequest("/r", oidctest.Claim("client_id", "modern"))).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	serve(g, w.dpopRequest("/r", oidctest.Claim("client_id", "modern"))).accepted(t)
	serve(g, w.certRequest("/r", oidctest.Claim("client_id", "modern"))).accepted(t)
}

// asBearer sends the request's token under the Bearer scheme, without the proof.
func asBearer(r *http.Request) *http.Request {
	r.Header.Set("Authorization", "Bearer "+sent(r))
	r.Header.Del("DPoP")
	return r
}

func TestBoundTokensPassAsBearerForTheListedClientsUntilADate(t *testing.T) {
	legacy := oidctest.Claim("client_id", "legacy")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var o told
		accept := middleware.DangerouslyAcceptAsBearer(time.Now().Add(30*24*time.Hour), "legacy")
		g := w.guard(both(accept, o.option())...)

		a := serve(g, asBearer(w.dpopRequest("/r", legacy))).accepted(t)
		c, _ := middleware.FromContext(a.seen.Context())
		require.True(t, c.KeyUnproven)
		require.Nil(t, c.Proof)
		require.True(t, o.KeyUnproven)

		serve(g, asBearer(w.dpopRequest("/r", oidctest.Claim("client_id", "modern")))).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
		serve(g, asBearer(w.dpopRequest("/r", oidctest.Claim("client_id", nil), oidctest.Claim("azp", "legacy")))).refused(t, 401)
		serve(g, w.bearerRequest("/r", legacy)).refused(t, 401)

		// DPoPBound and Bound refuse what is not proven.
		for _, rule := range []middleware.Rule{middleware.DPoPBound(), middleware.Bound(), middleware.BoundExcept("other")} {
			serve(g.Require(rule), asBearer(w.dpopRequest("/r", legacy))).refused(t, 401)
		}

		// A proof that comes is checked, and proves.
		r := w.dpopRequest("/r", legacy)
		r.Header.Set("Authorization", "Bearer "+sent(r))
		a = serve(g.Require(middleware.DPoPBound()), r).accepted(t)
		c, _ = middleware.FromContext(a.seen.Context())
		require.False(t, c.KeyUnproven)
		serve(g, r).refused(t, 401)
		r = w.dpopRequest("/r", legacy)
		r.Header.Set("Authorization", "Bearer "+sent(r))
		r.Method = "POST"
		serve(g, r).refused(t, 401)
		r.Header["Dpop"] = []string{"a", "b"}
		serve(g, r).refused(t, 401)

		// So is the certificate.
		bothWays := func() *http.Request {
			return asBearer(w.dpopRequest("/r", legacy, oidctest.BoundToCertificate(w.cert.Certificate), oidctest.BoundToKey(w.key.Thumbprint())))
		}
		serve(g, bothWays()).refused(t, 401)
		r = bothWays()
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
		serve(g.Require(middleware.CertificateBound()), r).accepted(t)

		// Nested guards agree.
		inner := g.Require(middleware.Claim([]string{"sub"}))
		rec := httptest.NewRecorder()
		g.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))).ServeHTTP(rec, asBearer(w.dpopRequest("/r", legacy)))
		require.Equal(t, 200, rec.Code)

		time.Sleep(30 * 24 * time.Hour)
		serve(g, asBearer(w.dpopRequest("/r", legacy))).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
		serve(g, w.dpopRequest("/r", legacy)).accepted(t)
		_, err := middleware.New(both(w.tokens(), accept)...)
		require.NoError(t, err, "a time that has passed is no mistake: the service must start again")
	})
}

func TestNewRefusesBoundTokensAsBearerWithoutLimits(t *testing.T) {
	w := newWorld(t)
	soon := time.Now().Add(time.Hour)
	resource := middleware.ProtectedResource{Identifier: "https://api.example/r", AuthorizationServers: []string{issuerURL}}
	for want, opts := range map[string][]middleware.Option{
		"needs client ids":       both(middleware.DangerouslyAcceptAsBearer(soon)),
		"none that is empty":     both(middleware.DangerouslyAcceptAsBearer(soon, "a", "")),
		"at most 90 days ahead":  both(middleware.DangerouslyAcceptAsBearer(soon.Add(90*24*time.Hour), "a")),
		"is not a time at most":  both(middleware.DangerouslyAcceptAsBearer(time.Time{}, "a")),
		"needs WithDPoP":         {withMTLS(), middleware.DangerouslyAcceptAsBearer(soon, "a")},
		"FAPI2 forbids Dangerou": both(middleware.FAPI2(), middleware.DangerouslyAcceptAsBearer(soon, "a")),
		"MCP forbids Dangerousl": both(middleware.MCP(resource), middleware.DangerouslyAcceptAsBearer(soon, "a")),
	} {
		_, err := middleware.New(append(opts, w.tokens())...)
		require.ErrorContains(t, err, want)
	}
}

func TestAResponseEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.guard(both(middleware.EndResponsesWithToken(), middleware.AllowUnbound(), middleware.WithSession(session.New(sessionKey, session.WithLifetime(time.Minute))))...)
		until := func(g *middleware.Guard, r *http.Request) (lasted time.Duration, cause error) {
			g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				begin := time.Now()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Hour):
				}
				lasted, cause = time.Since(begin), context.Cause(r.Context())
			})).ServeHTTP(httptest.NewRecorder(), r)
			return lasted, cause
		}
		lasted, cause := until(g, w.dpopRequest("/r", oidctest.ExpiresIn(time.Hour)))
		require.ErrorIs(t, cause, middleware.ErrTokenEnded)
		require.InDelta(t, time.Hour, lasted, float64(2*time.Minute))

		lasted, cause = until(w.guard(), w.dpopRequest("/r", oidctest.ExpiresIn(time.Hour)))
		require.NoError(t, cause, "off by default")
		require.Equal(t, 10*time.Hour, lasted)

		first := w.bearerRequest("/r", oidctest.ExpiresIn(time.Hour))
		cookies := serve(g, first).accepted(t).cookies(t)
		time.Sleep(30 * time.Second)
		lasted, cause = until(g, again(first, cookies))
		require.ErrorIs(t, cause, middleware.ErrTokenEnded)
		require.InDelta(t, 30*time.Second, lasted, float64(2*time.Second), "the session is over before the token is")

		r := w.dpopRequest("/r", oidctest.ExpiresIn(time.Hour))
		require.WithinDuration(t, time.Now().Add(time.Hour), g.Judge(r.Context(), middleware.RequestOf(r)).Ends, 2*time.Minute)
	})
}

func TestAnonymousRequests(t *testing.T) {
	w := newWorld(t)
	var o told
	strict := w.guard(both(withSession(), middleware.AllowUnbound(), o.option())...)
	g := strict.Require(middleware.Scopes("orders:read")).AllowAnonymous()
	cookies := serve(strict, w.bearerRequest("/r", oidctest.Scope("orders:read"))).accepted(t).cookies(t)

	t.Run("a request without any credentials passes, and has none", func(t *testing.T) {
		a := serve(g, get("/r")).accepted(t)
		_, ok := middleware.FromContext(a.seen.Context())
		require.False(t, ok)
		require.Equal(t, "Authorization,Cookie", strings.Join(a.Header()["Vary"], ","))
		require.True(t, o.Anonymous)
		c, err := g.Check(get("/r"))
		require.NoError(t, err)
		require.Nil(t, c)
		v := g.Judge(context.Background(), middleware.RequestOf(get("/r")))
		require.True(t, v.Pass)
		require.Nil(t, v.Credential)
		withTheme := get("/r")
		withTheme.Header.Set("Cookie", "theme=dark")
		require.Equal(t, "theme=dark", serve(g, withTheme).accepted(t).seen.Header.Get("Cookie"))
	})
	t.Run("a request with good credentials has them", func(t *testing.T) {
		for _, r := range []*http.Request{w.dpopRequest("/r", oidctest.Scope("orders:read")), again(get("/r"), cookies)} {
			a := serve(g, r).accepted(t)
			_, ok := middleware.FromContext(a.seen.Context())
			require.True(t, ok)
			require.Contains(t, strings.Join(a.Header()["Vary"], ","), "Authorization")
			require.False(t, o.Anonymous)
		}
	})
	t.Run("whatever is there and bad is refused as usual", func(t *testing.T) {
		with := func(name, value string) *http.Request {
			r := get("/r")
			r.Header.Set(name, value)
			return r
		}
		early := get("/r")
		early.Header.Set("Early-Data", "1")
		for name, row := range map[string]struct {
			r      *http.Request
			status int
		}{
			"an expired token":    {w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour)), 401},
			"a missing scope":     {w.dpopRequest("/r"), 403},
			"another scheme":      {with("Authorization", "Negotiate x"), 401},
			"an empty field":      {with("Authorization", ""), 401},
			"a proof alone":       {with("DPoP", "x"), 401},
			"a query token":       {get("/r?access_token=x"), 401},
			"a query token, ;":    {get("/r?a=1;access%5Ftoken=x"), 401},
			"a session's forgery": {with("Cookie", "__Host-session=1.forged"), 401},
			"early data":          {early, 425},
		} {
			require.Equal(t, row.status, serve(g, row.r).refused(t, row.status).Code, name)
		}
	})
	t.Run("a lent context does not make an anonymous request another's", func(t *testing.T) {
		lent := serve(g, w.dpopRequest("/r", oidctest.Scope("orders:read"))).accepted(t).seen.Context()
		a := serve(g, get("/r").WithContext(lent)).accepted(t)
		_, ok := middleware.FromContext(a.seen.Context())
		require.False(t, ok)
	})
	t.Run("a strict guard inside refuses it", func(t *testing.T) {
		rec := httptest.NewRecorder()
		g.Wrap(strict.Wrap(http.NotFoundHandler())).ServeHTTP(rec, get("/r"))
		require.Equal(t, 401, rec.Code)
	})
	t.Run("the other guards stay as they are", func(t *testing.T) {
		serve(strict, get("/r")).refused(t, 401)
		serve(g.Require(middleware.Scopes("x")), get("/r")).refused(t, 401) // a rule demands a credential
		serve(new(middleware.Guard).AllowAnonymous(), get("/r"))
	})
	t.Run("FAPI2 and MCP forbid it", func(t *testing.T) {
		tokens, err := w.fapiTokens(oidc.FAPI2())
		require.NoError(t, err)
		fapi, err := middleware.New(middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New(origin, dpop.FAPI2())), middleware.FAPI2(),
			middleware.WithRules(middleware.LimitTokenLifetime(time.Hour)))
		require.NoError(t, err)
		require.PanicsWithValue(t, "middleware: AllowAnonymous: FAPI2 forbids it", func() { fapi.AllowAnonymous() })
		mcp := w.guard(middleware.MCP(middleware.ProtectedResource{Identifier: oidctest.Audience, AuthorizationServers: []string{issuerURL}}))
		require.PanicsWithValue(t, "middleware: AllowAnonymous: MCP forbids it", func() { mcp.AllowAnonymous() })
	})
}

// Refuse answers what Wrap would have answered.
func TestRefuseAnswersAsWrapDoes(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.ExposeHeaders(), middleware.AllowUnbound())...)
	stage := new(middleware.Stage)
	stage.Choose(func(c *middleware.Credential) middleware.Level { return middleware.Enforce })
	stage.Set(middleware.Off)
	withSessions := w.guard(both(withSession(), middleware.AllowUnbound())...)
	for name, row := range map[string]struct {
		guard *middleware.Guard
		make  func() *http.Request
	}{
		"no credentials":          {g, func() *http.Request { r := get("/r"); r.Header.Set("Origin", "https://app.example"); return r }},
		"a missing scope":         {g.Require(middleware.Scopes("a"), middleware.Scopes("b", "c")), func() *http.Request { return w.dpopRequest("/r", oidctest.Scope("a")) }},
		"a better authentication": {g.Require(middleware.StepUp(time.Minute, "gold")), func() *http.Request { return w.bearerRequest("/r") }},
		"an expired token":        {g, func() *http.Request { return w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour)) }},
		"a nonce is asked for":    {w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(agingNonces{}, nil)))), func() *http.Request { return w.dpopRequest("/r") }},
		"a downgrade":             {g, func() *http.Request { return asBearer(w.dpopRequest("/r")) }},
		"two fields":              {g, func() *http.Request { r := w.dpopRequest("/r"); r.Header.Add("Authorization", "Bearer x"); return r }},
		"early data":              {g, func() *http.Request { r := w.dpopRequest("/r"); r.Header.Set("Early-Data", "1"); return r }},
		"a bad session":           {withSessions, func() *http.Request { r := get("/r"); r.Header.Set("Cookie", "__Host-session=1.x"); return r }},
		"a stage for the client":  {g.Require(middleware.Staged(middleware.DPoPBound(), stage)), func() *http.Request { return w.bearerRequest("/r") }},
		"a panic":                 {w.guard(both(middleware.WithRules(middleware.RuleFunc("x", func(*http.Request, *middleware.Credential) bool { panic("a bug") })))...), func() *http.Request { return w.dpopRequest("/r") }},
	} {
		t.Run(name, func(t *testing.T) {
			want := serve(row.guard, row.make())
			require.False(t, want.called)
			r := row.make()
			_, err := row.guard.Check(r)
			require.Error(t, err)
			got := httptest.NewRecorder()
			row.guard.Refuse(got, r, err)
			require.Equal(t, want.Code, got.Code)
			require.Equal(t, want.Header(), got.Header())
			require.Equal(t, want.Body.String(), got.Body.String())
		})
	}
	for err, status := range map[error]int{nil: 503, errors.New("of another kind"): 503, middleware.ErrInsufficientScope: 403} {
		rec := httptest.NewRecorder()
		g.Refuse(rec, get("/r"), err)
		require.Equal(t, status, rec.Code)
	}
	rec := httptest.NewRecorder()
	new(middleware.Guard).Refuse(rec, get("/r"), middleware.ErrNoCredentials)
	require.Equal(t, 503, rec.Code)
}
