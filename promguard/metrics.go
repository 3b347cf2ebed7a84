package promguard

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/tally"
)

// Metrics count the decisions of one guard. Make them with [New]. They are a
// [prometheus.Collector], and safe for concurrent use.
type Metrics struct {
	decisions *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	wouldDeny *prometheus.CounterVec
	clients   *prometheus.CounterVec // nil unless asked for
	durations *prometheus.HistogramVec
	calls     *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	vectors   []prometheus.Collector // all of these

	total, token, binding prometheus.Observer // of durations

	known   map[string]bool // the client ids that have series of their own
	reasons tally.Names

	state   *state
	watched atomic.Pointer[[]*middleware.Guard]
}

var (
	// A decision takes microseconds if everything is in memory, and milliseconds if the
	// issuer or a store is asked.
	decisionBuckets = []float64{.0005, .005, .05, .5}
	callBuckets     = []float64{.01, .1, 1}
)

// New returns metrics that count nothing yet: give their Observe method to
// [middleware.WithObserver], and register what [Metrics.Watch] returns. The error joins
// every problem.
func New(opts ...Option) (*Metrics, error) {
	c := &config{Set: options.For("promguard"), name: "default"}
	options.Each(c.Set, opts, func(opt Option) { opt.apply(c) })
	if err := c.Err(); err != nil {
		return nil, err
	}
	labels := prometheus.Labels{"guard": c.name}
	maps.Copy(labels, c.labels)
	m := &Metrics{state: newState(labels)}
	counter := func(name, help string, by ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keybound", Name: name, Help: help, ConstLabels: labels}, by)
		m.vectors = append(m.vectors, v)
		return v
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "keybound", Name: name, Help: help, ConstLabels: labels, Buckets: buckets}, []string{"part"})
		m.vectors = append(m.vectors, v)
		return v
	}
	m.decisions = counter("decisions_total", "Decisions, by verdict (passed, anonymous, nested, refused, unavailable), scheme and binding of the token.", "verdict", "scheme", "binding")
	m.refusals = counter("refusals_total", "Requests that did not pass, by reason, as docs/errors.md lists them.", "reason")
	m.wouldDeny = counter("would_deny_total", "Requests that passed and that rules staged in report would refuse, by reason.", "reason")
	m.durations = histogram("decision_duration_seconds", "Time of decisions, by part: total, token, binding.", decisionBuckets)
	m.calls = histogram("call_duration_seconds", "Time that requests waited for others, by part: metadata, keys, introspection, token_endpoint, replay_cache, revocation, resolve.", callBuckets)
	m.failures = counter("call_failures_total", "Calls that had no answer, by part.", "part")
	if len(c.clients) > 0 {
		m.known = make(map[string]bool, len(c.clients))
		for _, id := range c.clients {
			m.known[id] = true
		}
		m.clients = counter("client_decisions_total", "Decisions by client, for the clients of WithClientIDs and for all others together.", "client_id", "verdict", "scheme")
	}
	m.total, m.token, m.binding = m.durations.WithLabelValues("total"), m.durations.WithLabelValues("token"), m.durations.WithLabelValues("binding")
	return m, nil
}

// Watch adds metrics of the state of guards: of their issuers and of what they remember,
// all together. It returns m, for a registry. Guards that [middleware.Guard.Require]
// makes of another have the same state: name one of them. The last call counts. A nil
// guard is a mistake at start-up, and panics.
func (m *Metrics) Watch(guards ...*middleware.Guard) *Metrics {
	guards = slices.Clone(guards)
	if slices.Contains(guards, nil) {
		panic("promguard: Watch: nil Guard")
	}
	m.watched.Store(&guards)
	return m
}

// Observe counts a decision. It is for [middleware.WithObserver].
func (m *Metrics) Observe(_ context.Context, o middleware.Outcome) {
	verdict, scheme := tally.Verdict(&o), tally.Scheme(&o)
	m.decisions.WithLabelValues(verdict, scheme, tally.Binding(&o)).Inc()
	m.total.Observe(o.Total.Seconds())
	if o.TokenTime > 0 {
		m.token.Observe(o.TokenTime.Seconds())
	}
	if o.BindingTime > 0 {
		m.binding.Observe(o.BindingTime.Seconds())
	}
	if o.Err != nil {
		m.refusals.WithLabelValues(m.reasons.Bounded(o.Reason)).Inc()
	}
	if o.WouldDeny != "" {
		m.wouldDeny.WithLabelValues(m.reasons.Bounded(o.WouldDeny)).Inc()
	}
	for _, c := range o.Calls {
		m.calls.WithLabelValues(c.Part).Observe(c.Time.Seconds())
		if c.Failed {
			m.failures.WithLabelValues(c.Part).Inc()
		}
	}
	if m.clients != nil && o.ClientID != "" {
		id := o.ClientID
		if !m.known[id] {
			id = "other"
		}
		m.clients.WithLabelValues(id, verdict, scheme).Inc()
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range m.vectors {
		v.Describe(ch)
	}
	m.state.describe(ch)
}

// Collect implements [prometheus.Collector]. It touches no network.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, v := range m.vectors {
		v.Collect(ch)
	}
	if guards := m.watched.Load(); guards != nil {
		m.state.collect(ch, *guards)
	}
}
