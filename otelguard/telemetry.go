package otelguard

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/tally"
)

const scope = "github.com/keybound-go/middleware/otelguard"

// The attributes.
const (
	keyGuard     = attribute.Key("keybound.guard")
	keyVerdict   = attribute.Key("keybound.verdict")
	keyScheme    = attribute.Key("keybound.scheme")
	keyBinding   = attribute.Key("keybound.binding")
	keyReason    = attribute.Key("keybound.reason")
	keyWouldDeny = attribute.Key("keybound.would_deny")
	keyClientID  = attribute.Key("keybound.client_id")
	keySubject   = attribute.Key("keybound.subject")
	keyPart      = attribute.Key("keybound.part")
	keyFailed    = attribute.Key("keybound.failed")
	keyIssuer    = attribute.Key("keybound.issuer")
	keyDocument  = attribute.Key("keybound.document")
	keyMemory    = attribute.Key("keybound.memory")
)

// Telemetry records what one guard does. Make it with [New]. It is safe for concurrent
// use.
type Telemetry struct {
	guard             attribute.KeyValue
	clientID, subject bool
	tracer            trace.Tracer

	wouldDeny               metric.Int64Counter
	decisions, parts, calls metric.Float64Histogram

	token, binding []metric.RecordOption // of parts

	reasons tally.Names
	known   sync.Map // decision to *attributes; as many as there are combinations of bounded names

	watched      atomic.Pointer[[]*middleware.Guard]
	registration metric.Registration
}

// decision is what attributes follow from.
type decision struct{ verdict, scheme, binding, reason string }

// attributes are those of a decision, made once: a guard makes few different ones.
type attributes struct {
	span    []attribute.KeyValue
	measure []metric.RecordOption
}

// New returns Telemetry that has recorded nothing yet: give its Observe method to
// [middleware.WithObserver]. The error joins every problem.
func New(opts ...Option) (*Telemetry, error) {
	c := newConfig(opts)
	if err := c.Err(); err != nil {
		return nil, err
	}
	t := &Telemetry{guard: keyGuard.String(c.name), clientID: c.clientID, subject: c.subject, tracer: c.tracers.Tracer(scope)}
	i := &instruments{meter: c.meters.Meter(scope)}
	t.wouldDeny = i.counter("keybound.would_deny", "{decision}", "Requests that passed and that rules staged in report would refuse.")
	t.decisions = i.histogram("keybound.decision.duration", "Time of decisions, and their number, by verdict, scheme, binding and reason.", .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5)
	t.parts = i.histogram("keybound.decision.part.duration", "Time of the parts of decisions: token, binding.", .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5)
	t.calls = i.histogram("keybound.call.duration", "Time that requests waited for others, by part.", .001, .005, .01, .05, .1, .5, 1, 5, 10)
	part := func(name string) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(t.guard, keyPart.String(name)))}
	}
	t.token, t.binding = part("token"), part("binding")
	t.observeState(i)
	if err := i.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Watch adds metrics of the state of guards: of their issuers and of what they remember,
// all together. It returns t. Guards that [middleware.Guard.Require] makes of another
// have the same state: name one of them. The last call counts. A nil guard is a mistake
// at start-up, and panics.
func (t *Telemetry) Watch(guards ...*middleware.Guard) *Telemetry {
	guards = slices.Clone(guards)
	if slices.Contains(guards, nil) {
		panic("otelguard: Watch: nil Guard")
	}
	t.watched.Store(&guards)
	return t
}

// Close ends the metrics that Watch has begun. Decisions are recorded as before. It may
// be called more than once.
func (t *Telemetry) Close() error { return t.registration.Unregister() }

// Observe records a decision. It is for [middleware.WithObserver]: ctx is the request's.
func (t *Telemetry) Observe(ctx context.Context, o middleware.Outcome) {
	d := decision{tally.Verdict(&o), tally.Scheme(&o), tally.Binding(&o), ""}
	if o.Err != nil {
		d.reason = t.reasons.Bounded(o.Reason)
	}
	a := t.attributesOf(d)
	t.decisions.Record(ctx, o.Total.Seconds(), a.measure...)
	if o.TokenTime > 0 {
		t.parts.Record(ctx, o.TokenTime.Seconds(), t.token...)
	}
	if o.BindingTime > 0 {
		t.parts.Record(ctx, o.BindingTime.Seconds(), t.binding...)
	}
	if o.WouldDeny != "" {
		t.wouldDeny.Add(ctx, 1, metric.WithAttributes(t.guard, keyReason.String(t.reasons.Bounded(o.WouldDeny))))
	}
	for _, c := range o.Calls {
		t.calls.Record(ctx, c.Time.Seconds(), metric.WithAttributes(t.guard, keyPart.String(c.Part), keyFailed.Bool(c.Failed)))
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		t.annotate(span, a, &o, d.verdict)
		t.addCalls(ctx, &o)
	}
}

// attributesOf returns the attributes of a decision. Their number is bounded, since each
// part of a decision is.
func (t *Telemetry) attributesOf(d decision) *attributes {
	if a, ok := t.known.Load(d); ok {
		return a.(*attributes)
	}
	a := &attributes{span: []attribute.KeyValue{t.guard, keyVerdict.String(d.verdict), keyScheme.String(d.scheme), keyBinding.String(d.binding)}}
	if d.reason != "" {
		a.span = append(a.span, keyReason.String(d.reason))
	}
	a.measure = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(slices.Clone(a.span)...))}
	known, _ := t.known.LoadOrStore(d, a)
	return known.(*attributes)
}

// annotate puts the decision on the current span.
func (t *Telemetry) annotate(span trace.Span, a *attributes, o *middleware.Outcome, verdict string) {
	var all []attribute.KeyValue
	if verdict != "nested" {
		all = a.span[:len(a.span):len(a.span)]
		if t.clientID && o.ClientID != "" {
			all = append(all, keyClientID.String(o.ClientID))
		}
		if t.subject && o.Subject != "" {
			all = append(all, keySubject.String(o.Subject))
		}
	}
	if o.WouldDeny != "" {
		all = append(all, keyWouldDeny.String(o.WouldDeny))
	}
	if len(all) > 0 {
		span.SetAttributes(all...)
	}
}

// addCalls makes a span for each question that went over the network.
func (t *Telemetry) addCalls(ctx context.Context, o *middleware.Outcome) {
	for _, c := range o.Calls {
		_, span := t.tracer.Start(ctx, "keybound "+c.Part, trace.WithTimestamp(c.Begin), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(t.guard, keyPart.String(c.Part)))
		if c.Failed {
			span.SetStatus(codes.Error, "no answer")
		}
		span.End(trace.WithTimestamp(c.Begin.Add(c.Time)))
	}
}
