package promguard

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/tally"
)

// state makes metrics of the Status of a guard.
type state struct {
	issuers, age, success, failing, stale, keys, entries, capacity *prometheus.Desc
}

func newState(labels prometheus.Labels) *state {
	desc := func(name, help string, by ...string) *prometheus.Desc {
		return prometheus.NewDesc("keybound_"+name, help, by, labels)
	}
	return &state{
		issuers:  desc("issuers", "Issuers that the guard knows. 20 of them have series of their own."),
		age:      desc("issuer_document_age_seconds", "Age of the document in use, metadata or keys.", "issuer", "document"),
		success:  desc("issuer_document_last_success_timestamp_seconds", "When the document was last fetched.", "issuer", "document"),
		failing:  desc("issuer_document_failing", "1 if the last attempt to fetch the document failed.", "issuer", "document"),
		stale:    desc("issuer_document_stale", "1 if the document is too old, and not in use any more.", "issuer", "document"),
		keys:     desc("issuer_keys", "Keys of the issuer that are in use.", "issuer"),
		entries:  desc("memory_entries", "Entries in the memory of this process: tokens, introspection answers, used proofs.", "memory"),
		capacity: desc("memory_capacity_entries", "Entries that the memory has room for, if it says.", "memory"),
	}
}

func (s *state) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.issuers, s.age, s.success, s.failing, s.stale, s.keys, s.entries, s.capacity} {
		ch <- d
	}
}

func (s *state) collect(ch chan<- prometheus.Metric, guards []*middleware.Guard) {
	gauge := func(d *prometheus.Desc, value float64, by ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, by...)
	}
	all, now := tally.StateOf(guards), time.Now()
	for _, m := range all.Memories {
		gauge(s.entries, float64(m.Size), m.Name)
		if m.Room > 0 {
			gauge(s.capacity, float64(m.Room), m.Name)
		}
	}
	gauge(s.issuers, float64(all.Count))
	for _, i := range all.Issuers {
		for _, d := range i.Documents {
			gauge(s.failing, number(d.Failing), i.Name, d.Kind)
			gauge(s.stale, number(d.Stale), i.Name, d.Kind)
			if !d.Fetched.IsZero() {
				gauge(s.age, now.Sub(d.Fetched).Seconds(), i.Name, d.Kind)
				gauge(s.success, float64(d.Fetched.UnixMilli())/1000, i.Name, d.Kind)
			}
		}
		if i.Keys >= 0 {
			gauge(s.keys, float64(i.Keys), i.Name)
		}
	}
}

func number(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
