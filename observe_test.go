package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// keepLast is an observer that keeps the last Outcome.
func keepLast(o *middleware.Outcome) middleware.Option {
	return middleware.WithObserver(func(_ context.Context, got middleware.Outcome) { *o = got })
}

func TestEveryObserverIsToldInOrder(t *testing.T) {
	w := newWorld(t)
	var order []string
	observer := func(name string) middleware.Option {
		return middleware.WithObserver(func(context.Context, middleware.Outcome) { order = append(order, name) })
	}
	g := w.guard(withDPoP(), observer("a"), observer("b"), observer("c"))
	serve(g, w.dpopRequest("/r")).accepted(t)
	require.Equal(t, []string{"a", "b", "c"}, order)
	_, err := middleware.New(w.tokens(), withDPoP(), observer("a"), middleware.WithObserver(nil))
	require.EqualError(t, err, "middleware: WithObserver: nil")
}

func TestNestedGuardsTellOnceWhatAStagedRuleWouldDeny(t *testing.T) {
	w := newWorld(t)
	var outcomes []string
	observer := middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { outcomes = append(outcomes, o.WouldDeny) })
	rule := middleware.Staged(middleware.Scopes("admin"), staged(middleware.Report))
	own := middleware.Staged(middleware.CertificateBound(), staged(middleware.Report))
	g := w.guard(withDPoP(), withMTLS(), observer, middleware.WithRules(rule))
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	send := func(h http.Handler) []string {
		outcomes = nil
		h.ServeHTTP(httptest.NewRecorder(), w.dpopRequest("/r"))
		return outcomes
	}
	require.Equal(t, []string{"rule_scope", "", ""}, send(g.Wrap(g.Wrap(g.Wrap(ok)))))
	require.Equal(t, []string{"rule_scope", "rule_certificate_bound"}, send(g.Wrap(g.Require(own).Wrap(ok))), "a rule of the inner guard alone is told of")
	require.Equal(t, []string{"rule_scope"}, send(g.Wrap(ok)), "another request is told of again")
}

// elsewhere is a ReplayCache outside of this process.
type elsewhere struct{ err error }

func (s *elsewhere) Add(context.Context, string, [32]byte, time.Time) (bool, error) {
	return s.err == nil, s.err
}

func parts(o middleware.Outcome) (names []string) {
	for _, c := range o.Calls {
		names = append(names, c.Part)
	}
	return names
}

func TestAnObserverIsToldWhatTheRequestWaitedFor(t *testing.T) {
	w := newWorld(t)
	var o middleware.Outcome
	used := &elsewhere{}
	g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(used, nil))), keepLast(&o))

	begin := time.Now()
	serve(g, w.dpopRequest("/r")).accepted(t)
	require.Equal(t, []string{"keys", "replay_cache"}, parts(o), "the first request fetches keys; locating them is part of that")
	for _, c := range o.Calls {
		require.False(t, c.Failed)
		require.False(t, c.Begin.Before(begin))
		require.Positive(t, c.Time)
	}

	used.err = errors.New("connection refused")
	serve(g, w.dpopRequest("/r")).refused(t, 503)
	require.Equal(t, []string{"replay_cache"}, parts(o))
	require.True(t, o.Calls[0].Failed)

	w.issuer.SetDown(true)
	g = w.guard(withDPoP(), keepLast(&o))
	serve(g, w.dpopRequest("/r")).refused(t, 503)
	require.Equal(t, []string{"keys"}, parts(o))
	require.True(t, o.Calls[0].Failed)
	serve(g, w.dpopRequest("/r")).refused(t, 503)
	require.Empty(t, o.Calls, "within the pause after a failure the request does not wait")

	w.issuer.SetDown(false)
	g = w.guard(withDPoP(), keepLast(&o))
	serve(g, w.dpopRequest("/r")).accepted(t)
	serve(g, w.dpopRequest("/r")).accepted(t)
	require.Empty(t, o.Calls, "keys and used proofs are in the memory of this process")
}

func TestAnObserverIsToldOfIntrospection(t *testing.T) {
	w := newWorld(t)
	var o middleware.Outcome
	g, err := middleware.New(middleware.WithTokens(w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))), middleware.AllowUnbound(), keepLast(&o))
	require.NoError(t, err)
	r := w.bearerRequest("/r")
	r.Header.Set("Authorization", "Bearer "+w.issuer.OpaqueToken())
	serve(g, r).accepted(t)
	require.Equal(t, []string{"metadata", "introspection"}, parts(o))
	serve(g, r).accepted(t)
	require.Empty(t, o.Calls, "the answer is remembered")

	r.Header.Set("Authorization", "Bearer unknown")
	serve(g, r).refused(t, 401)
	require.Equal(t, []string{"introspection"}, parts(o))
	require.False(t, o.Calls[0].Failed, "no is an answer")
	w.issuer.SetDown(true)
	r.Header.Set("Authorization", "Bearer another")
	serve(g, r).refused(t, 503)
	require.True(t, o.Calls[0].Failed)

	require.Contains(t, sizes(g), "introspection 1")
}

func sizes(g *middleware.Guard) (all []string) {
	for _, m := range g.Status().Memories {
		text, _ := json.Marshal(m.Size)
		all = append(all, m.Name+" "+string(text))
	}
	return all
}

func TestTheStatusSaysHowMuchIsRemembered(t *testing.T) {
	w := newWorld(t)
	g := w.guard(withDPoP())
	require.Equal(t, []string{"tokens 0", "introspection 0", "proofs 0"}, sizes(g))
	token := w.seenToken("/r")
	serve(g, token()).accepted(t)
	serve(g, token()).accepted(t)
	require.Equal(t, []string{"tokens 1", "introspection 0", "proofs 2"}, sizes(g))
	require.Equal(t, 1<<20, g.Status().Memories[2].Room)
	text, err := json.Marshal(g.Status())
	require.NoError(t, err)
	require.Contains(t, string(text), `"memories":[{"name":"tokens","size":1}`)

	apart := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(&elsewhere{}, nil))))
	require.Equal(t, []string{"tokens 0", "introspection 0"}, sizes(apart))
	require.Empty(t, new(middleware.Guard).Status().Memories)
}

func TestErrorMembers(t *testing.T) {
	w := newWorld(t)
	expired := w.dpopRequest("/r", oidctest.ExpiresIn(-time.Hour))
	body := func(opts ...middleware.Option) string {
		return serve(w.guard(append(opts, withDPoP())...), expired).refused(t, 401).Body.String()
	}
	require.JSONEq(t, `{"error":"invalid_token","error_description":"The access token expired"}`, body(), "off by default")
	require.JSONEq(t, `{"error":"invalid_token","error_description":"The access token expired","error_code":"token.expired"}`,
		body(middleware.WithErrorMembers("error_code", "error_description")))
	require.JSONEq(t, `{"error":"invalid_token","error_code":"token.expired"}`, body(middleware.WithErrorMembers("error_code")))
	require.JSONEq(t, `{"error":"invalid_token"}`, body(middleware.WithErrorMembers()))

	g := w.guard(withDPoP(), middleware.WithErrorMembers("error_code"))
	a := serve(g, expired)
	require.NotContains(t, a.Header()["Www-Authenticate"][0], "token.expired", "RFC 6750 knows no such parameter")
	require.Empty(t, serve(g, get("/r")).refused(t, 401).Body.String(), "RFC 6750, section 3.1: nothing more for a request without credentials")
	v := g.Judge(t.Context(), middleware.RequestOf(expired))
	require.Equal(t, "token.expired", v.Denial.ErrorCode)
	require.JSONEq(t, `{"error":"invalid_token","error_code":"token.expired"}`, string(v.Body))

	var denial middleware.Denial
	serve(w.guard(withDPoP(), middleware.WithErrorMembers("error_code"), middleware.WithDenyHandler(func(rw http.ResponseWriter, _ *http.Request, d middleware.Denial) {
		denial = d
		rw.WriteHeader(d.Status)
	})), expired)
	require.Equal(t, "token.expired", denial.ErrorCode)
	require.Empty(t, denial.Description)

	_, err := middleware.New(w.tokens(), withDPoP(), middleware.WithErrorMembers("reason"))
	require.EqualError(t, err, `middleware: WithErrorMembers: "reason" is neither error_description nor error_code`)
}

// BenchmarkObserved measures what a logger and an observer that does nothing add to a
// request that passes.
func BenchmarkObserved(b *testing.B) {
	w := newWorld(b)
	nothing := middleware.WithObserver(func(context.Context, middleware.Outcome) {})
	logger := middleware.WithLogger(slog.New(slog.NewJSONHandler(new(bytes.Buffer), nil)))
	b.Run("plain", func(b *testing.B) { compare(b, raw(b), 64, passing(b, w.guard(withDPoP()), w.seenToken("/r"))) })
	b.Run("observed", func(b *testing.B) {
		compare(b, raw(b), 64, passing(b, w.guard(withDPoP(), nothing, logger), w.seenToken("/r")))
	})
}
