package otelguard

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/keybound-go/middleware/internal/tally"
)

// instruments makes instruments, and collects what is wrong with them.
type instruments struct {
	meter    metric.Meter
	problems []error
	gauges   []metric.Observable
}

func (i *instruments) err() error { return errors.Join(i.problems...) }

func (i *instruments) counter(name, unit, text string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	i.problems = append(i.problems, err)
	return c
}

func (i *instruments) histogram(name, text string, bounds ...float64) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(bounds...))
	i.problems = append(i.problems, err)
	return h
}

func (i *instruments) gauge(name, unit, text string) metric.Float64ObservableGauge {
	g, err := i.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	i.problems, i.gauges = append(i.problems, err), append(i.gauges, g)
	return g
}

// observeState registers a callback that reads the state of the watched guards at each
// collection.
func (t *Telemetry) observeState(i *instruments) {
	issuers := i.gauge("keybound.issuers", "{issuer}", "Issuers that the guards know. 20 of them are told of one by one.")
	age := i.gauge("keybound.issuer.document.age", "s", "Age of the document in use, metadata or keys.")
	success := i.gauge("keybound.issuer.document.last_success", "s", "When the document was last fetched, in Unix time.")
	failing := i.gauge("keybound.issuer.document.failing", "1", "1 if the last attempt to fetch the document failed.")
	stale := i.gauge("keybound.issuer.document.stale", "1", "1 if the document is too old, and not in use any more.")
	keys := i.gauge("keybound.issuer.keys", "{key}", "Keys of the issuer that are in use.")
	entries := i.gauge("keybound.memory.entries", "{entry}", "Entries in the memory of this process.")
	capacity := i.gauge("keybound.memory.capacity", "{entry}", "Entries that the memory has room for.")
	var err error
	t.registration, err = i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		guards := t.watched.Load()
		if guards == nil {
			return nil
		}
		all, now, guard := tally.StateOf(*guards), time.Now(), metric.WithAttributes(t.guard)
		o.ObserveFloat64(issuers, float64(all.Count), guard)
		for _, m := range all.Memories {
			by := metric.WithAttributes(t.guard, keyMemory.String(m.Name))
			o.ObserveFloat64(entries, float64(m.Size), by)
			if m.Room > 0 {
				o.ObserveFloat64(capacity, float64(m.Room), by)
			}
		}
		for _, known := range all.Issuers {
			if known.Keys >= 0 {
				o.ObserveFloat64(keys, float64(known.Keys), metric.WithAttributes(t.guard, keyIssuer.String(known.Name)))
			}
			for _, d := range known.Documents {
				by := metric.WithAttributes(t.guard, keyIssuer.String(known.Name), keyDocument.String(d.Kind))
				o.ObserveFloat64(failing, number(d.Failing), by)
				o.ObserveFloat64(stale, number(d.Stale), by)
				if !d.Fetched.IsZero() {
					o.ObserveFloat64(age, now.Sub(d.Fetched).Seconds(), by)
					o.ObserveFloat64(success, float64(d.Fetched.UnixMilli())/1000, by)
				}
			}
		}
		return nil
	}, i.gauges...)
	i.problems = append(i.problems, err)
}

func number(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
