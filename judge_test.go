package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/caller"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// net/http removes Transfer-Encoding from the header: G1 holds for Judge all the same.
func TestJudgeSeesABodyThatNoFieldTellsOf(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.PassPreflights())...)
	var wrap, judge bool
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		judge = g.Judge(r.Context(), middleware.RequestOf(r)).Pass
		g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { wrap = true })).ServeHTTP(rw, r)
	}))
	defer srv.Close()
	r, _ := http.NewRequest("OPTIONS", srv.URL+"/r", struct{ *strings.Reader }{strings.NewReader("body")})
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	require.False(t, wrap)
	require.False(t, judge, "Judge passes what Wrap refuses")
}

// HTTP/2 and gRPC have lower-case names.
func TestJudgeReadsNamesInAnySpelling(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.PassPreflights(), middleware.HideCredentials())...)
	of := func(r *http.Request, more http.Header) middleware.Request {
		q := middleware.RequestOf(r)
		for k, v := range more {
			q.Header[k] = v
		}
		return q
	}
	ctx := context.Background()
	t.Run("early data", func(t *testing.T) {
		require.False(t, g.Judge(ctx, of(w.dpopRequest("/r"), http.Header{"early-data": {"1"}})).Pass)
	})
	t.Run("second authorization", func(t *testing.T) {
		v := g.Judge(ctx, of(w.dpopRequest("/r"), http.Header{"authorization": {"Bearer other"}}))
		require.False(t, v.Pass, "%v", v.Forward)
	})
	t.Run("an upgrade is no preflight", func(t *testing.T) {
		require.False(t, g.Judge(ctx, of(preflight(), http.Header{"upgrade": {"h2c"}})).Pass)
	})
	t.Run("an Authorization field is not anonymous", func(t *testing.T) {
		v := g.AllowAnonymous().Judge(ctx, of(get("/r"), http.Header{"authorization": {"Bearer bad"}, "dpop": {"x"}}))
		require.False(t, v.Pass, "%v", v.Forward)
	})
	t.Run("a proof that comes is checked", func(t *testing.T) {
		token := w.dpopToken()
		g := w.guard(both(middleware.DangerouslyAcceptAsBearer(time.Now().Add(time.Hour), "client-1", "client"))...)
		q := of(get("/r"), http.Header{"Authorization": {"Bearer " + token}, "dpop": {"rubbish"}})
		v := g.Judge(ctx, q)
		require.False(t, v.Pass, "%v", v.Err)
	})
}

// R10: a target in absolute-form can hold a password.
func TestNoUserinfoAndNoFragmentIsLogged(t *testing.T) {
	w := newWorld(t)
	for _, line := range []string{"http://alice:s3cret@api.example/r", "/cb#access_token=s3cret"} {
		var b bytes.Buffer
		g := w.guard(both(middleware.WithLogger(slog.New(slog.NewJSONHandler(&b, nil))))...)
		srv := httptest.NewServer(g.Wrap(http.NotFoundHandler()))
		rawSend(t, srv.Listener.Addr().String(), "GET "+line+" HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
		srv.Close()
		if !(strings.Contains(b.String(), "request refused")) {
			t.Error("no line", line)
		}
		if strings.Contains(b.String(), "s3cret") {
			t.Error(b.String())
		}
	}
}

// A panic is 503, also where another rule is not satisfied.
func TestAnyOfDoesNotHideAFailureOfOurs(t *testing.T) {
	w := newWorld(t)
	boom := middleware.RuleFunc("boom", func(*http.Request, *middleware.Credential) bool { panic("store down") })
	for _, first := range []middleware.Rule{middleware.Scopes("admin"), middleware.StepUp(time.Minute)} {
		g := w.guard().Require(middleware.AnyOf(first, boom))
		require.Equal(t, 503, serve(g, w.dpopRequest("/r")).Code)
	}
}

// The outer guard has read the cookie.
func TestResponsesEndWithTheSessionOfAnOuterGuard(t *testing.T) {
	w := newWorld(t)
	shared := w.tokens()
	mk := func(opts ...middleware.Option) *middleware.Guard {
		g, err := middleware.New(append(opts, shared, middleware.AllowUnbound())...)
		require.NoError(t, err)
		return g
	}
	outer, inner := mk(withSession()), mk(middleware.EndResponsesWithToken())
	both := mk(withSession(), middleware.EndResponsesWithToken())
	cookies := serve(outer, w.bearerRequest("/r", oidctest.ExpiresIn(1000*time.Hour))).accepted(t).cookies(t)
	want, ok := serve(both, again(get("/r"), cookies)).accepted(t).seen.Context().Deadline()
	require.True(t, ok)
	var got time.Time
	outer.Wrap(inner.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = r.Context().Deadline() }))).ServeHTTP(httptest.NewRecorder(), again(get("/r"), cookies))
	require.WithinDuration(t, want, got, time.Minute)
}

// Run with -race: a verifier may ask two issuers at once.
func TestTheCallersAddressMayBeAskedForConcurrently(t *testing.T) {
	w := newWorld(t)
	v := &parallel{w.verifier()}
	g, err := middleware.New(middleware.WithTokens(v, nil), withDPoP(), middleware.WithCallerAddress(func(r *http.Request) netip.Addr { return netip.MustParseAddr("10.0.0.1") }))
	require.NoError(t, err)
	q := middleware.RequestOf(w.dpopRequest("/r"))
	require.True(t, g.Judge(context.Background(), q).Pass)
}

type parallel struct{ v *oidc.Verifier }

func (p *parallel) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	done := make(chan bool)
	for range 2 {
		go func() { caller.Address(ctx); done <- true }()
	}
	<-done
	<-done
	return p.v.VerifyToken(ctx, raw)
}

type reasonErr string

func (e reasonErr) Error() string  { return "down" }
func (e reasonErr) Reason() string { return string(e) }

// Reasons are of low cardinality, whatever an error of another says.
func TestReasonsOfOthersAreNotCounted(t *testing.T) {
	n := 0
	g, err := middleware.New(withVerifier(func() (*oidc.Token, error) { n++; return nil, reasonErr(fmt.Sprint("request ", n)) }), withDPoP(), middleware.AllowUnbound())
	require.NoError(t, err)
	w := newWorld(t)
	for range 30 {
		serve(g, w.bearerRequest("/r"))
	}
	require.Less(t, len(g.Status().Failures), 20)
}

// A rule demands a credential, in whatever order the guard was made.
func TestRequireEndsAnonymity(t *testing.T) {
	w := newWorld(t)
	g := w.guard().AllowAnonymous().Require(middleware.Scopes("admin"))
	require.False(t, serve(g, get("/admin")).called)
}

// The operator is told of verified subjects only.
func TestATokenBesideAnErrorIsNotVerified(t *testing.T) {
	var o told
	g, err := middleware.New(withVerifier(func() (*oidc.Token, error) { return &oidc.Token{Subject: "mallory"}, oidc.ErrSignature }), middleware.AllowUnbound(), o.option())
	require.NoError(t, err)
	serve(g, newWorld(t).bearerRequest("/r")).refused(t, 401)
	require.Empty(t, o.Subject)
}

func rawSend(t *testing.T, addr, text string) {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.Write([]byte(text))
	io.Copy(io.Discard, conn)
}

// A Request may have both Target and URL.
func TestEvidenceIsForTheURLThatProofsAreCheckedAgainst(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		q := middleware.RequestOf(r)
		q.URL = origin + "/admin"
		require.False(t, g.Judge(r.Context(), q).Pass)
	})).ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/r"))
}

type explainer struct{ _ int }

func (e *explainer) VerifyToken(context.Context, string) (*oidc.Token, error) {
	return nil, oidc.ErrSignature
}
func (e *explainer) Explain(string) oidc.Explanation { panic("a bug") }

// It only explains.
func TestAPanicOfExplainChangesNoDecision(t *testing.T) {
	g, err := middleware.New(middleware.WithTokens(&explainer{}, nil), middleware.AllowUnbound(), middleware.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	require.NotPanics(t, func() { serve(g, newWorld(t).bearerRequest("/r")).refused(t, 401) })
}

// What a rule in report would do is for the operator alone.
func TestReportIsInvisibleToTheClient(t *testing.T) {
	w := newWorld(t)
	for _, rule := range []middleware.Rule{middleware.Bound(), middleware.DPoPBound(), middleware.CertificateBound(), middleware.Scopes("never"), middleware.StepUp(time.Minute, "gold"),
		middleware.RuleFunc("p", func(*http.Request, *middleware.Credential) bool { panic("x") }), middleware.AuthorizationDetails("x"), middleware.LimitTokenLifetime(time.Second), middleware.BoundExcept("x")} {
		for _, extra := range []middleware.Rule{nil, middleware.Scopes("other")} {
			st := new(middleware.Stage)
			rules := []middleware.Rule{middleware.Staged(rule, st)}
			if extra != nil {
				rules = append(rules, extra)
			}
			g := w.guard(both(middleware.AllowUnbound(), withSession(), middleware.WithRules(rules...), middleware.WithLogger(slog.New(slog.DiscardHandler)))...)
			for _, mk := range []func() *http.Request{func() *http.Request { return get("/r") }, func() *http.Request { return w.dpopRequest("/r") }, func() *http.Request { return w.certRequest("/r") },
				func() *http.Request { return w.bearerRequest("/r") }, func() *http.Request { r := w.dpopRequest("/r"); r.Header.Set("DPoP", "x.y.z"); return r },
				func() *http.Request { r := w.bearerRequest("/r"); r.Header.Set("Authorization", "Bearer x"); return r }} {
				var got []*answer
				for _, l := range []middleware.Level{middleware.Off, middleware.Report} {
					st.Set(l)
					a := serve(g, mk())
					a.Header().Del("Set-Cookie")
					got = append(got, a)
					r := mk()
					if _, err := g.Check(r); err != nil {
						rec := httptest.NewRecorder()
						g.Refuse(rec, r, err)
						require.Equal(t, a.Header(), rec.Header())
						require.Equal(t, a.Code, rec.Code)
					}
				}
				require.Equal(t, got[0].Code, got[1].Code)
				require.Equal(t, got[0].Header(), got[1].Header())
				require.Equal(t, got[0].Body.String(), got[1].Body.String())
			}
		}
	}
}
