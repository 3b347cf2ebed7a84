package otelguard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/otelguard"
)

// lab has providers that keep everything.
type lab struct {
	testing.TB
	reader *metric.ManualReader
	meters *metric.MeterProvider
	spans  *tracetest.InMemoryExporter
	tracer *trace.TracerProvider
}

func newLab(tb testing.TB) *lab {
	l := &lab{TB: tb, reader: metric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	l.meters = metric.NewMeterProvider(metric.WithReader(l.reader))
	l.tracer = trace.NewTracerProvider(trace.WithSyncer(l.spans))
	return l
}

func (l *lab) telemetry(opts ...otelguard.Option) *otelguard.Telemetry {
	l.Helper()
	t, err := otelguard.New(append(opts, otelguard.WithMeterProvider(l.meters), otelguard.WithTracerProvider(l.tracer))...)
	require.NoError(l, err)
	l.Cleanup(func() { t.Close() })
	return t
}

// traced is what otelhttp does: a span around the guard.
func (l *lab) traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := l.tracer.Tracer("server").Start(r.Context(), "server")
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// values are the data points of all metrics, by name and attributes but the guard's.
func (l *lab) values() map[string]float64 {
	l.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(l, l.reader.Collect(l.Context(), &data))
	all := make(map[string]float64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(set attribute.Set, value float64) {
				var by []string
				for _, kv := range set.ToSlice() {
					if kv.Key != "keybound.guard" {
						by = append(by, strings.TrimPrefix(string(kv.Key), "keybound.")+"="+kv.Value.String())
					}
				}
				all[strings.TrimPrefix(m.Name, "keybound.")+"{"+strings.Join(by, ",")+"}"] = value
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Count))
				}
			default:
				l.Fatalf("%s: %T", m.Name, d)
			}
		}
	}
	return all
}

func attributesOf(s tracetest.SpanStub) map[string]string {
	all := make(map[string]string)
	for _, kv := range s.Attributes {
		all[strings.TrimPrefix(string(kv.Key), "keybound.")] = kv.Value.String()
	}
	return all
}

func get(tb testing.TB, c *http.Client, url string) int {
	tb.Helper()
	resp, err := c.Get(url)
	require.NoError(tb, err)
	require.NoError(tb, resp.Body.Close())
	return resp.StatusCode
}

var ok = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func TestTheDecisionIsOnTheCurrentSpan(t *testing.T) {
	l, w := newLab(t), middlewaretest.NewWorld(t)
	stage := new(middleware.Stage)
	stage.Set(middleware.Report)
	g := w.Guard(middleware.WithObserver(l.telemetry(otelguard.WithGuardName("api")).Observe), middleware.WithRules(middleware.Staged(middleware.Scopes("admin"), stage)))
	w.Serve(l.traced(g.Wrap(g.Wrap(ok))))
	require.Equal(t, 200, get(t, w.Client(), w.URL))
	spans := l.spans.GetSpans()
	require.Len(t, spans, 2)
	server := spans[len(spans)-1]
	require.Equal(t, map[string]string{"guard": "api", "verdict": "passed", "scheme": "DPoP", "binding": "key", "would_deny": "rule_scope"}, attributesOf(server),
		"neither subject nor client; the inner guard does not say nested")
	child := spans[0]
	require.Equal(t, "keybound keys", child.Name, "the first request waits for the keys")
	require.Equal(t, server.SpanContext.SpanID(), child.Parent.SpanID())
	require.False(t, child.StartTime.Before(server.StartTime))
	require.False(t, child.EndTime.After(server.EndTime))
	require.True(t, child.EndTime.After(child.StartTime))
	require.Equal(t, codes.Unset, child.Status.Code)

	l.spans.Reset()
	require.Equal(t, 401, get(t, w.Anonymous(), w.URL))
	require.Equal(t, map[string]string{"guard": "api", "verdict": "refused", "scheme": "none", "binding": "unknown", "reason": "no_credentials"}, attributesOf(l.spans.GetSpans()[0]))

	l.spans.Reset()
	require.Equal(t, 200, get(t, w.Client(), w.URL))
	require.Len(t, l.spans.GetSpans(), 1, "a request that waits for nothing has no child spans")
}

func TestClientAndSubjectIfAskedFor(t *testing.T) {
	l, w := newLab(t), middlewaretest.NewWorld(t)
	w.Serve(l.traced(w.Guard(middleware.WithObserver(l.telemetry(otelguard.RecordClientID(), otelguard.RecordSubject()).Observe)).Wrap(ok)))
	require.Equal(t, 200, get(t, w.Client(), w.URL))
	spans := l.spans.GetSpans()
	got := attributesOf(spans[len(spans)-1])
	require.NotEmpty(t, got["client_id"])
	require.NotEmpty(t, got["subject"])
	for by := range l.values() {
		require.NotContains(t, by, got["subject"], "metrics have neither")
		require.NotContains(t, by, "client")
	}
}

// faultyStore is a replay cache that is down.
type faultyStore struct{}

func (faultyStore) Add(context.Context, string, [32]byte, time.Time) (bool, error) {
	return false, errors.New("connection refused")
}

func TestACallWithoutAnAnswerIsAnError(t *testing.T) {
	l, w := newLab(t), middlewaretest.NewWorld(t)
	g, err := middleware.New(middleware.WithTokens(oidc.New(w.Issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.Issuer.Client()))),
		middleware.WithDPoP(dpop.New(w.URL, dpop.WithReplayCache(faultyStore{}, nil))), middleware.WithObserver(l.telemetry().Observe))
	require.NoError(t, err)
	defer g.Close()
	w.Serve(l.traced(g.Wrap(ok)))
	require.Equal(t, 503, get(t, w.Client(), w.URL))
	spans := l.spans.GetSpans()
	store := spans[slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == "keybound replay_cache" })]
	require.Equal(t, codes.Error, store.Status.Code)
	require.NotContains(t, fmt.Sprint(store), "connection refused", "the text is for the log")
	require.Equal(t, 1.0, l.values()["call.duration{failed=true,part=replay_cache}"])
	require.Equal(t, 1.0, l.values()["decision.duration{binding=key,reason=unavailable_replay_cache,scheme=DPoP,verdict=unavailable}"])
}

func TestMetrics(t *testing.T) {
	l, w := newLab(t), middlewaretest.NewWorld(t)
	telemetry := l.telemetry()
	g := w.Guard(middleware.WithObserver(telemetry.Observe))
	w.Serve(g.Wrap(g.Wrap(ok)))
	client := w.Client()
	for range 3 {
		require.Equal(t, 200, get(t, client, w.URL))
	}
	require.NotContains(t, l.values(), "issuers{}", "before Watch")
	telemetry.Watch(g)
	values, issuer := l.values(), w.Issuer.URL
	require.Equal(t, 3.0, values["decision.duration{binding=key,scheme=DPoP,verdict=passed}"])
	require.Equal(t, 3.0, values["decision.duration{binding=key,scheme=DPoP,verdict=nested}"])
	require.Equal(t, 3.0, values["decision.part.duration{part=token}"])
	require.Equal(t, 3.0, values["decision.part.duration{part=binding}"])
	require.Equal(t, 1.0, values["call.duration{failed=false,part=keys}"])
	require.Equal(t, 3.0, values["memory.entries{memory=proofs}"])
	require.Equal(t, 1.0, values["memory.entries{memory=tokens}"])
	require.Equal(t, 1.0, values["issuers{}"])
	require.Positive(t, values["issuer.keys{issuer="+issuer+"}"])
	require.Contains(t, values, "issuer.document.age{document=keys,issuer="+issuer+"}")
	require.InDelta(t, float64(time.Now().Unix()), values["issuer.document.last_success{document=metadata,issuer="+issuer+"}"], 60)
	require.Zero(t, values["issuer.document.failing{document=keys,issuer="+issuer+"}"])
	require.NoError(t, telemetry.Close())
	require.NoError(t, telemetry.Close())
	require.NotContains(t, l.values(), "issuers{}")
	require.Panics(t, func() { telemetry.Watch(nil) })
}

// Every metric is documented, and every one that is documented is there.
func TestTheDocumentationHasAllMetrics(t *testing.T) {
	l := newLab(t)
	w := middlewaretest.NewWorld(t)
	telemetry := l.telemetry()
	g := w.Guard(middleware.WithObserver(telemetry.Observe))
	require.NoError(t, g.Ready(t.Context()))
	telemetry.Watch(g)
	telemetry.Observe(t.Context(), outcomeWithCall())
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	documented := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^//\tkeybound\.([a-z_.]+)  `).FindAllSubmatch(doc, -1) {
		documented[string(m[1])] = true
	}
	seen := make(map[string]bool)
	for by := range l.values() {
		name, _, _ := strings.Cut(by, "{")
		seen[name] = true
		require.True(t, documented[name], name)
	}
	for name := range documented {
		if !seen[name] {
			require.Contains(t, []string{"reason", "would_deny", "client_id", "subject"}, name, "not there")
		}
	}
}

func outcomeWithCall() middleware.Outcome {
	o := middleware.Outcome{Err: errors.New("x"), Status: 403, Reason: "rule_scope", WouldDeny: "rule_scope", TokenTime: time.Millisecond}
	o.Calls = append(o.Calls, calls.Call{Part: calls.Keys, Begin: time.Now(), Time: time.Second})
	return o
}

// After the whole corpus, the series of one issuer are still few.
func TestTheWholeCorpusMakesFewSeries(t *testing.T) {
	l, w := newLab(t), corpus.NewWorld(t, corpus.Place{})
	telemetry := l.telemetry()
	var g *middleware.Guard
	decided := 0.0
	for _, c := range corpus.Cases(t) {
		g = w.Guard(c, middleware.WithObserver(telemetry.Observe), middleware.WithObserver(func(context.Context, middleware.Outcome) { decided++ }))
		r := w.Request(c)
		if c.Request.SentBefore {
			_, err := g.Check(r)
			require.NoError(t, err)
		}
		l.traced(g.Wrap(ok)).ServeHTTP(httptest.NewRecorder(), r)
	}
	telemetry.Watch(g)
	values, total := l.values(), 0.0
	for by, value := range values {
		if strings.HasPrefix(by, "decision.duration{") {
			total += value
		}
	}
	require.Equal(t, decided, total, "each decision counts once")
	require.LessOrEqual(t, len(values), 200)
	t.Logf("%d data points", len(values))
}

func TestConcurrentCollectionAndClose(t *testing.T) {
	l, w := newLab(t), middlewaretest.NewWorld(t)
	telemetry := l.telemetry()
	g := w.Guard(middleware.WithObserver(telemetry.Observe))
	require.NoError(t, g.Ready(t.Context()))
	w.Serve(l.traced(g.Wrap(ok)))
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
			for range 20 {
				telemetry.Watch(g)
				var data metricdata.ResourceMetrics
				if err := l.reader.Collect(t.Context(), &data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() { g.Close(); telemetry.Close() })
	all.Wait()
	require.Equal(t, 40.0, l.values()["decision.duration{binding=key,scheme=DPoP,verdict=passed}"])
}

func TestWithoutProvidersNothingHappens(t *testing.T) {
	telemetry, err := otelguard.New()
	require.NoError(t, err)
	w := middlewaretest.NewWorld(t)
	g := w.Guard(middleware.WithObserver(telemetry.Observe))
	telemetry.Watch(g)
	w.Serve(g.Wrap(ok))
	require.Equal(t, 200, get(t, w.Client(), w.URL))
	require.NoError(t, telemetry.Close())
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	_, err := otelguard.New(nil, otelguard.WithGuardName(""), otelguard.WithTracerProvider(nil), otelguard.WithMeterProvider((*metric.MeterProvider)(nil)),
		otelguard.RecordSubject(), otelguard.RecordSubject())
	for _, want := range []string{"option 1 is nil", "WithGuardName: a name", "WithTracerProvider: nil", "WithMeterProvider: nil", "RecordSubject is given twice"} {
		require.ErrorContains(t, err, want)
	}
}
