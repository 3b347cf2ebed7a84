package promguard_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/promguard"
)

func newMetrics(t testing.TB, opts ...promguard.Option) *promguard.Metrics {
	t.Helper()
	m, err := promguard.New(opts...)
	require.NoError(t, err)
	return m
}

// gathered is what a scrape finds: the value of each series (of a histogram, its count).
func gathered(t testing.TB, m ...prometheus.Collector) (series map[string]float64, lines int) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range m {
		require.NoError(t, r.Register(c))
	}
	families, err := r.Gather()
	require.NoError(t, err)
	series = make(map[string]float64)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			var labels []string
			for _, l := range metric.GetLabel() {
				if l.GetName() != "guard" || l.GetValue() != "default" {
					labels = append(labels, l.GetValue())
				}
			}
			name := strings.TrimPrefix(f.GetName(), "keybound_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case metric.GetCounter() != nil:
				series[name] = metric.GetCounter().GetValue()
				lines++
			case metric.GetGauge() != nil:
				series[name] = metric.GetGauge().GetValue()
				lines++
			default:
				series[name] = float64(metric.GetHistogram().GetSampleCount())
				lines += len(metric.GetHistogram().GetBucket()) + 3 // +Inf, sum, count
			}
		}
	}
	return series, lines
}

// The corpus of the guard, and every reason that there is: 200 series for one issuer.
func TestTheWholeCorpusMakesAtMost200Series(t *testing.T) {
	w := corpus.NewWorld(t, corpus.Place{})
	m := newMetrics(t)
	decided := 0
	observer := middleware.WithObserver(func(ctx context.Context, o middleware.Outcome) {
		decided++
		m.Observe(ctx, o)
	})
	var g *middleware.Guard
	for _, c := range corpus.Cases(t) {
		g = w.Guard(c, observer)
		r := w.Request(c)
		if c.Request.SentBefore {
			_, err := g.Check(r)
			require.NoError(t, err)
		}
		g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), r)
	}
	series, n := gathered(t, m.Watch(g))
	t.Logf("%d series after %d decisions", n, decided)
	require.LessOrEqual(t, n, 200)
	total := 0.0
	for name, value := range series {
		if strings.HasPrefix(name, "decisions_total") {
			total += value
		}
	}
	require.Equal(t, float64(decided), total, "each decision counts once")
	require.Positive(t, series["refusals_total{dpop_replayed}"])
	require.Positive(t, series["decisions_total{key,DPoP,passed}"])
	require.Equal(t, 1.0, series["issuers{}"])

	// The worst case: every reason of the page, besides the corpus.
	page, err := os.ReadFile("../docs/errors.md")
	require.NoError(t, err)
	reasons := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllSubmatch(page, -1)
	require.Greater(t, len(reasons), 80)
	for _, r := range reasons {
		m.Observe(t.Context(), middleware.Outcome{Err: errors.New("x"), Status: 401, Reason: string(r[1])})
	}
	for _, part := range []string{calls.Metadata, calls.Keys, calls.Introspection, calls.TokenEndpoint, calls.ReplayCache, calls.Revocation, calls.Resolve} {
		m.Observe(t.Context(), outcomeWithCall(part))
	}
	_, n = gathered(t, m)
	t.Logf("%d series with every reason", n)
	require.LessOrEqual(t, n, 200)
}

// outcomeWithCall has something for every metric.
func outcomeWithCall(part string) middleware.Outcome {
	o := middleware.Outcome{Err: errors.New("x"), Status: 403, Reason: "rule_scope", WouldDeny: "rule_scope", ClientID: "client"}
	o.Calls = append(o.Calls, calls.Call{Part: part, Begin: time.Now(), Time: time.Second, Failed: true})
	return o
}

// An attacker invents what it likes.
func TestNothingThatAClientInventsBecomesALabel(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	m := newMetrics(t)
	g := w.Guard(middleware.WithObserver(m.Observe))
	h := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	send := func(authorization, proof string) {
		r := httptest.NewRequest(http.MethodGet, "/"+rand.Text(), nil)
		r.Host = rand.Text() + ".example"
		r.Method = rand.Text()
		r.RemoteAddr = "192.0.2.1:" + rand.Text()
		r.Header.Set("Authorization", authorization)
		r.Header.Set("DPoP", proof)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	foreign := oidctest.NewIssuer(t, oidctest.InMemory("https://attacker.example"))
	round := func() {
		send(rand.Text()+" "+rand.Text(), rand.Text())
		send("Bearer "+foreign.Token(oidctest.Claim("client_id", rand.Text()), oidctest.Claim("iss", "https://"+rand.Text()+".example")), "")
		send("DPoP "+foreign.Token(oidctest.Header("kid", rand.Text())), rand.Text())
		send("Basic "+rand.Text(), "")
	}
	round()
	before, n := gathered(t, m.Watch(g))
	for range 50 {
		round()
	}
	after, now := gathered(t, m)
	require.Equal(t, n, now, "%v", after)
	require.ElementsMatch(t, slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	for i := range 1000 {
		m.Observe(t.Context(), middleware.Outcome{Err: errors.New("x"), Status: 401, Reason: fmt.Sprint("made_up_", i), Scheme: rand.Text()})
	}
	m.Observe(t.Context(), middleware.Outcome{Err: errors.New("x"), Status: 401, Reason: "\xff", WouldDeny: strings.Repeat("x", 1<<20)})
	_, now = gathered(t, m)
	require.Less(t, now, n+150, "a part that makes up reasons is bounded too")
}

func TestDecisionsByWhatCameOfThem(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	m := newMetrics(t, promguard.WithClientIDs("client", "absent"))
	stage := new(middleware.Stage)
	stage.Set(middleware.Report)
	observer := middleware.WithObserver(m.Observe)
	g := w.Guard(observer, middleware.AllowUnbound(), middleware.WithRules(middleware.Staged(middleware.Scopes("admin"), stage)))
	inner := g.Require(middleware.Scopes("other"))
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("/", g.Wrap(ok))
	mux.Handle("/twice", g.Wrap(g.Wrap(g.Wrap(ok))))
	mux.Handle("/inner", g.Wrap(inner.Wrap(ok)))
	mux.Handle("/public", g.AllowAnonymous().Wrap(ok))
	w.Serve(mux)
	get := func(c *http.Client, path string) int {
		resp, err := c.Get(w.URL + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	client := w.Client()
	require.Equal(t, 200, get(client, "/"))
	series, _ := gathered(t, m)
	require.Equal(t, 1.0, series["decisions_total{key,DPoP,passed}"])
	require.Equal(t, 1.0, series["would_deny_total{rule_scope}"])
	require.Equal(t, 1.0, series["client_decisions_total{client,DPoP,passed}"])
	require.Equal(t, 1.0, series["decision_duration_seconds{total}"])

	require.Equal(t, 200, get(client, "/twice"))
	series, _ = gathered(t, m)
	require.Equal(t, 2.0, series["decisions_total{key,DPoP,passed}"], "guards that are nested count once")
	require.Equal(t, 2.0, series["decisions_total{key,DPoP,nested}"])
	require.Equal(t, 2.0, series["would_deny_total{rule_scope}"], "and so does what a staged rule says")

	require.Equal(t, 403, get(client, "/inner"))
	series, _ = gathered(t, m)
	require.Equal(t, 3.0, series["decisions_total{key,DPoP,passed}"])
	require.Equal(t, 1.0, series["decisions_total{key,DPoP,refused}"])
	require.Equal(t, 1.0, series["refusals_total{rule_scope}"])

	require.Equal(t, 200, get(w.Anonymous(), "/public"))
	require.Equal(t, 401, get(w.Anonymous(), "/"))
	require.Equal(t, 200, get(w.Client(middlewareClient("stranger")), "/"))
	stage.Set(middleware.Enforce)
	require.Equal(t, 403, get(client, "/"))
	series, _ = gathered(t, m)
	require.Equal(t, 1.0, series["decisions_total{none,none,anonymous}"])
	require.Equal(t, 1.0, series["decisions_total{unknown,none,refused}"])
	require.Equal(t, 1.0, series["client_decisions_total{other,DPoP,passed}"])
	require.Equal(t, 2.0, series["refusals_total{rule_scope}"])
	require.NotContains(t, fmt.Sprint(series), "stranger")
}

func middlewareClient(id string) oidctest.Change { return oidctest.Claim("client_id", id) }

// faultyStore is a replay cache that is down.
type faultyStore struct{}

func (faultyStore) Add(context.Context, string, [32]byte, time.Time) (bool, error) {
	return false, errors.New("connection refused")
}

func TestCallsIssuersAndMemories(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	m := newMetrics(t)
	observer := middleware.WithObserver(m.Observe)
	g := w.Guard(observer)
	w.Serve(g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	client := w.Client()
	for range 3 {
		resp, err := client.Get(w.URL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	series, _ := gathered(t, m.Watch(g))
	issuer := w.Issuer.URL
	require.Equal(t, 1.0, series["call_duration_seconds{keys}"])
	require.Equal(t, 1.0, series["memory_entries{tokens}"])
	require.Equal(t, 3.0, series["memory_entries{proofs}"])
	require.Equal(t, float64(1<<20), series["memory_capacity_entries{proofs}"])
	require.Positive(t, series["issuer_keys{"+issuer+"}"])
	for _, document := range []string{"keys", "metadata"} {
		by := "{" + document + "," + issuer + "}"
		require.Contains(t, series, "issuer_document_age_seconds"+by)
		require.Less(t, series["issuer_document_age_seconds"+by], 60.0)
		require.InDelta(t, float64(time.Now().Unix()), series["issuer_document_last_success_timestamp_seconds"+by], 60)
		require.Zero(t, series["issuer_document_failing"+by])
		require.Zero(t, series["issuer_document_stale"+by])
	}

	down := newMetrics(t)
	g, err := middleware.New(middleware.WithTokens(oidc.New(issuer, oidctest.Audience, oidc.WithHTTPClient(w.Issuer.Client()))),
		middleware.WithDPoP(dpop.New(w.URL, dpop.WithReplayCache(faultyStore{}, nil))), middleware.WithObserver(down.Observe))
	require.NoError(t, err)
	defer g.Close()
	w.Serve(g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	resp, err := client.Get(w.URL)
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	series, _ = gathered(t, down.Watch(g))
	require.Equal(t, 1.0, series["call_failures_total{replay_cache}"])
	require.Equal(t, 1.0, series["refusals_total{unavailable_replay_cache}"])
	require.Equal(t, 1.0, series["decisions_total{key,DPoP,unavailable}"])
	require.NotContains(t, series, "memory_entries{proofs}", "they are elsewhere")
}

// oddIssuers is a TokenVerifier with a Status of its own.
type oddIssuers struct {
	statuses []oidc.Status
	panics   bool
}

func (o *oddIssuers) VerifyToken(context.Context, string) (*oidc.Token, error) {
	return nil, oidc.ErrSignature
}

func (o *oddIssuers) Statuses() []oidc.Status {
	if o.panics {
		panic("a bug")
	}
	return o.statuses
}

func TestOddIssuersDoNotEndAScrape(t *testing.T) {
	guard := func(o *oddIssuers) *middleware.Guard {
		g, err := middleware.New(middleware.WithTokens(o, nil), middleware.AllowUnbound())
		require.NoError(t, err)
		return g
	}
	now := time.Now()
	old := &oidc.KeysStatus{Keys: 1, FetchedAt: now.Add(-time.Hour), LastError: "down"}
	series, _ := gathered(t, newMetrics(t).Watch(guard(&oddIssuers{statuses: []oidc.Status{
		{Issuer: "https://a.example", Keys: old, CachedTokens: 2}, {Issuer: "https://a.example", Keys: &oidc.KeysStatus{Keys: 2, FetchedAt: now}, CachedTokens: 3, CachedAnswers: 3},
		{Issuer: "\xff" + strings.Repeat("é", 500)}, {Issuer: ""},
	}})))
	require.Equal(t, 3.0, series["issuers{}"])
	require.Equal(t, 2.0, series["issuer_keys{https://a.example}"])
	require.Less(t, series["issuer_document_age_seconds{keys,https://a.example}"], 10.0, "of two parts, the one with the newer keys counts")
	require.Zero(t, series["issuer_document_failing{keys,https://a.example}"])
	require.Equal(t, 2.0, series["memory_entries{tokens}"])
	require.Equal(t, 3.0, series["memory_entries{introspection}"])

	series, _ = gathered(t, newMetrics(t).Watch(guard(&oddIssuers{panics: true})))
	require.Zero(t, series["issuers{}"])
	series, _ = gathered(t, newMetrics(t).Watch(new(middleware.Guard), guard(&oddIssuers{panics: true}),
		guard(&oddIssuers{statuses: []oidc.Status{{Issuer: "https://a.example", CachedTokens: 2}}}),
		guard(&oddIssuers{statuses: []oidc.Status{{Issuer: "https://a.example", CachedTokens: 3}}})))
	require.Equal(t, 5.0, series["memory_entries{tokens}"], "of all guards")
	require.Equal(t, 1.0, series["issuers{}"])

	var many []oidc.Status
	good := &oidc.KeysStatus{Keys: 1, FetchedAt: now}
	for i := range 10_000 {
		many = append(many, oidc.Status{Issuer: fmt.Sprintf("https://%d.example", i), Keys: good})
	}
	many = append(many, oidc.Status{Issuer: "https://down.example", Keys: old})
	series, n := gathered(t, newMetrics(t).Watch(guard(&oddIssuers{statuses: many})))
	require.Equal(t, 10_001.0, series["issuers{}"])
	require.Equal(t, 1.0, series["issuer_document_failing{keys,https://down.example}"], "those that fail come first")
	require.Less(t, n, 200)
	require.Panics(t, func() { newMetrics(t).Watch(nil) })
}

func TestScrapesWhileRequestsAreServedAndTheGuardIsClosed(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	m := newMetrics(t)
	g := w.Guard(middleware.WithObserver(m.Observe))
	w.Serve(g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m.Watch(g)))
	require.NoError(t, g.Ready(t.Context()))
	client := w.Client()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				if resp, err := client.Get(w.URL); err == nil {
					resp.Body.Close()
				}
			}
		})
		all.Go(func() {
			for range 50 {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
				m.Watch(g)
			}
		})
	}
	all.Go(func() { g.Close() })
	all.Wait()
	series, _ := gathered(t, m)
	require.Equal(t, 40.0, series["decisions_total{key,DPoP,passed}"])
}

func TestSeveralGuardsInOneRegistry(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	region := promguard.WithConstLabels(prometheus.Labels{"region": "eu"})
	require.NoError(t, r.Register(newMetrics(t, region)))
	require.NoError(t, r.Register(newMetrics(t, region, promguard.WithGuardName("admin"))))
	require.Error(t, r.Register(newMetrics(t, region, promguard.WithGuardName("admin"))), "one registration per guard")
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	labels := prometheus.Labels{"reason": "x", "a-b": "x", "__c": "x", "d": "\xff"}
	_, err := promguard.New(nil, promguard.WithGuardName(""), promguard.WithGuardName("b"), promguard.WithConstLabels(labels), promguard.WithClientIDs("", "a"))
	for _, want := range []string{
		"option 1 is nil", "WithGuardName: a name", "WithGuardName is given twice", "reason is a label of this package",
		`"a-b" is not a label name`, `"__c" is not a label name`, "the value of d is not UTF-8", `WithClientIDs: ""`,
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = promguard.New(promguard.WithClientIDs())
	require.ErrorContains(t, err, "1 to 100 client ids")
}

// Names follow the conventions of Prometheus, and the documentation has them all.
func TestNames(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	m := newMetrics(t, promguard.WithClientIDs("client"))
	g := w.Guard(middleware.WithObserver(m.Observe))
	require.NoError(t, g.Ready(t.Context()))
	m.Observe(t.Context(), outcomeWithCall("keys"))
	problems, err := testutil.CollectAndLint(m.Watch(g))
	require.NoError(t, err)
	require.Empty(t, problems)

	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	r := prometheus.NewRegistry()
	require.NoError(t, r.Register(m))
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			if l.GetName() != "guard" {
				labels = append(labels, l.GetName())
			}
		}
		line := regexp.MustCompile(`(?m)^//\t` + f.GetName() + `(\{([a-z_, ]+)\})?(\s|$)`).FindSubmatch(doc)
		require.NotNil(t, line, "doc.go lacks %s", f.GetName())
		documented := slices.DeleteFunc(strings.Split(string(line[2]), ", "), func(s string) bool { return s == "" })
		require.ElementsMatch(t, labels, documented, f.GetName())
	}
	require.Equal(t, len(families), len(bytes.Split(doc, []byte("\n//\tkeybound_")))-1, "doc.go has metrics that are not there")
}
