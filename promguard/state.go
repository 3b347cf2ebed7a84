package promguard

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keybound-go/middleware"
)

// maxIssuers is how many issuers have series of their own.
const maxIssuers = 20

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

// document is the state of the metadata or of the keys of an issuer.
type document struct {
	fetched time.Time
	failing bool
	stale   bool
}

// issuer is what several parts of a guard know of one issuer.
type issuer struct {
	documents map[string]document
	keys      int
	hasKeys   bool
}

// newer keeps the document that was fetched last: two parts may have one each.
func (i *issuer) newer(name string, d document) {
	if old, ok := i.documents[name]; !ok || d.fetched.After(old.fetched) {
		i.documents[name] = d
	}
}

// memory is what all guards together remember of one kind.
type memory struct{ size, room int }

// summary is the state of several guards.
type summary struct {
	issuers  map[string]*issuer // by name, as labels hold it
	memories map[string]memory
}

// summaryOf leaves out a guard with a part that panics.
func summaryOf(guards []*middleware.Guard) summary {
	all := summary{make(map[string]*issuer), make(map[string]memory)}
	for _, g := range guards {
		if status, ok := statusOf(g); ok {
			all.add(status)
		}
	}
	return all
}

func (s *state) collect(ch chan<- prometheus.Metric, guards []*middleware.Guard) {
	all, now := summaryOf(guards), time.Now()
	gauge := func(d *prometheus.Desc, value float64, by ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, by...)
	}
	for _, name := range slices.Sorted(maps.Keys(all.memories)) {
		gauge(s.entries, float64(all.memories[name].size), name)
		if room := all.memories[name].room; room > 0 {
			gauge(s.capacity, float64(room), name)
		}
	}
	gauge(s.issuers, float64(len(all.issuers)))
	names := slices.Sorted(maps.Keys(all.issuers))
	for _, name := range names[:min(len(names), maxIssuers)] {
		for _, kind := range slices.Sorted(maps.Keys(all.issuers[name].documents)) {
			d := all.issuers[name].documents[kind]
			gauge(s.failing, number(d.failing), name, kind)
			gauge(s.stale, number(d.stale), name, kind)
			if !d.fetched.IsZero() {
				gauge(s.age, now.Sub(d.fetched).Seconds(), name, kind)
				gauge(s.success, float64(d.fetched.UnixMilli())/1000, name, kind)
			}
		}
		if all.issuers[name].hasKeys {
			gauge(s.keys, float64(all.issuers[name].keys), name)
		}
	}
}

func (all *summary) add(status middleware.Status) {
	for _, m := range status.Memories {
		held := all.memories[m.Name]
		all.memories[m.Name] = memory{held.size + m.Size, held.room + m.Room}
	}
	for _, st := range status.Issuers {
		name := strings.ToValidUTF8(st.Issuer, "?")
		name = strings.ToValidUTF8(name[:min(len(name), maxLabel)], "")
		i := cmp.Or(all.issuers[name], &issuer{documents: make(map[string]document)})
		all.issuers[name] = i
		if m := st.Metadata; m != nil {
			i.newer("metadata", document{m.FetchedAt, m.LastError != "", m.Stale})
		}
		if k := st.Keys; k != nil {
			i.newer("keys", document{k.FetchedAt, k.LastError != "", k.Stale})
			i.keys, i.hasKeys = max(i.keys, k.Keys), true
		}
	}
}

func number(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

// statusOf survives a panic of a part of the user's own.
func statusOf(g *middleware.Guard) (s middleware.Status, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return g.Status(), true
}
