package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestReadyFailsOnlyIfNoDecisionIsPossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		g := w.guard()
		defer g.Close()
		w.issuer.SetDown(true)
		require.Error(t, g.Ready(t.Context()), "no keys were ever had")
		for range 100 {
			require.Error(t, g.Ready(t.Context()))
		}
		require.LessOrEqual(t, w.issuer.Fetches(oidctest.OpenIDMetadata), 2, "the issuer is asked once per cooldown")

		w.issuer.SetDown(false)
		time.Sleep(time.Minute)
		require.NoError(t, g.Ready(t.Context()))
		w.issuer.SetDown(true)
		time.Sleep(time.Hour)
		require.NoError(t, g.Ready(t.Context()), "the keys that are known still serve")
	})
}

// store is a replay cache that can be asked how it is.
type store struct {
	dpop.ReplayCache
	err    error
	checks atomic.Int64
}

func (s *store) Check(context.Context) error { s.checks.Add(1); return s.err }

func TestReadyAsksTheReplayCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		memory, err := dpop.NewMemoryCache()
		require.NoError(t, err)
		s := &store{ReplayCache: memory, err: errors.New("connection refused")}
		g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(s, nil))))
		defer g.Close()
		for range 100 {
			require.ErrorContains(t, g.Ready(t.Context()), "dpop: replay cache: connection refused")
		}
		require.EqualValues(t, 1, s.checks.Load())
		s.err = nil
		time.Sleep(6 * time.Second)
		require.NoError(t, g.Ready(t.Context()))
		require.EqualValues(t, 2, s.checks.Load())
	})
	require.Error(t, new(middleware.Guard).Ready(t.Context()))
}

// One issuer that is down is no reason to take the service out of rotation.
func TestReadyWithOneOfSeveralIssuers(t *testing.T) {
	w := newWorld(t)
	down := oidctest.NewIssuer(t, oidctest.InMemory("https://down.example"))
	down.SetDown(true)
	other, err := oidc.New(down.URL, oidctest.Audience, oidc.WithHTTPClient(down.Client()))
	require.NoError(t, err)
	both, err := oidc.AnyOf(w.verifier(), other)
	g, err := middleware.New(middleware.WithTokens(both, err), withDPoP())
	require.NoError(t, err)
	defer g.Close()
	require.NoError(t, g.Ready(t.Context()))
	w.issuer.SetDown(true)
	require.NoError(t, g.Ready(t.Context()))
}

func TestCloseEndsWhatTheGuardStarted(t *testing.T) {
	w := newWorld(t)
	before := runtime.NumGoroutine()
	for range 10 {
		g, err := middleware.New(middleware.WithTokens(oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))), withDPoP())
		require.NoError(t, err)
		serve(g, w.dpopRequest("/r")).accepted(t)
		require.NoError(t, g.Close())
		require.NoError(t, g.Close())
		serve(g, w.dpopRequest("/r")).accepted(t) // what is known still serves
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 10*time.Millisecond,
		"%d goroutines before", before)
	require.NoError(t, new(middleware.Guard).Close())
}

func TestCloseEndsTheTenantsOfAGuard(t *testing.T) {
	w := newWorld(t)
	before := runtime.NumGoroutine()
	for range 10 {
		g, err := middleware.New(middleware.WithTokens(w.anyTenant(nil)), withDPoP())
		require.NoError(t, err)
		serve(g, w.dpopRequest("/r")).accepted(t)
		require.NoError(t, g.Close())
		require.NoError(t, g.Close())
		serve(g, w.dpopRequest("/r")).accepted(t) // what is known still serves
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 10*time.Millisecond,
		"%d goroutines before", before)
}

func TestStatusCountsWhatCouldNotBeDecided(t *testing.T) {
	w := newWorld(t)
	w.issuer.SetDown(true)
	g := w.guard(both(middleware.WithLogger(slog.New(slog.DiscardHandler)))...)
	for range 3 {
		serve(g, w.dpopRequest("/r")).refused(t, 503)
	}
	serve(g, get("/r")).refused(t, 401)
	s := g.Status()
	require.Len(t, s.Failures, 1)
	require.Equal(t, "unavailable_issuer", s.Failures[0].Reason)
	require.EqualValues(t, 3, s.Failures[0].Count)
	require.Len(t, s.Issuers, 1)
	require.Equal(t, issuerURL, s.Issuers[0].Issuer)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.NotContains(t, string(text), "eyJ", "no token")
}

func TestDescribeSaysWhatIsEnforced(t *testing.T) {
	w := newWorld(t)
	g := w.guard(both(middleware.AllowUnbound())...).Require(middleware.Scopes("a", "b"),
		middleware.AnyOf(middleware.Claim([]string{"realm", "role"}, "x"), middleware.DPoPBound()))
	d := g.Describe()
	require.Equal(t, []string{"scopes a b", `any of (claim realm.role: one of ["x"]; dpop_bound)`}, d.Rules)
	require.Equal(t, "this process only", d.DPoP.Replay)
	require.Equal(t, []string{origin}, d.DPoP.Origins)
	require.Contains(t, d.Notes, "bearer tokens are accepted: tokens that are bound to nothing")
	require.Contains(t, d.String(), "remembered by this process only")
	require.True(t, d.Tokens.ChecksAudience)
	require.Equal(t, []string{"tls"}, d.Certificates)
	_, err := json.Marshal(d)
	require.NoError(t, err)
	require.NotEmpty(t, new(middleware.Guard).Describe().Notes)
}

// Row 28: one line at the start says that replicas would not know of each other.
func TestALoggerIsToldOnceWhereProofsAreRemembered(t *testing.T) {
	var out bytes.Buffer
	w := newWorld(t)
	g := w.guard(both(middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))...)
	g.Require(middleware.Scopes("a"))
	require.Equal(t, 1, strings.Count(out.String(), "used proofs are remembered by this process only"))
}

// A key set that cannot be refreshed serves on, and no request would tell.
func TestBackgroundFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := newWorld(t)
		// An issuer of its own: lines are limited by URL, and other tests have another
		// clock.
		w.issuer = oidctest.NewIssuer(t, oidctest.InMemory("https://background.example"))
		g, err := middleware.New(append(both(middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil)))),
			middleware.WithTokens(oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))))...)
		require.NoError(t, err)
		defer g.Close()
		serve(g, w.dpopRequest("/r")).accepted(t)
		out.Reset()
		w.issuer.SetDown(true)
		time.Sleep(3 * time.Hour)
		require.Contains(t, out.String(), "issuer document cannot be fetched")
		require.LessOrEqual(t, strings.Count(out.String(), "cannot be fetched"), 2, "once for the metadata and once for the keys: %s", &out)
		w.issuer.SetDown(false)
		time.Sleep(3 * time.Hour)
		require.Contains(t, out.String(), "issuer document can be fetched again")
	})
}

// An exchange may ask another issuer than the verifier of tokens knows.
func TestStatusNamesTheIssuerOfTheExchange(t *testing.T) {
	w := newWorld(t)
	other, err := oidc.NewIssuer("https://other.example", oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	defer other.Close()
	issuers := func(from *oidc.Issuer) (all []string) {
		for _, i := range w.guard(both(middleware.AllowUnbound(), middleware.WithExchange(exchange.New(from)))...).Status().Issuers {
			all = append(all, i.Issuer)
		}
		return all
	}
	require.Equal(t, []string{issuerURL, "https://other.example"}, issuers(other))
	same, err := oidc.NewIssuer(issuerURL, oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	defer same.Close()
	require.Equal(t, []string{issuerURL}, issuers(same))
}
