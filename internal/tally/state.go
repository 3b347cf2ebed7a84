package tally

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware"
)

// maxIssuers is how many issuers are shown one by one.
const maxIssuers = 20

// State is that of several guards together.
type State struct {
	// Count is how many issuers there are. Issuers are 20 of them at the most: those
	// first of which something failed, then by name.
	Count   int
	Issuers []*Issuer
	// Memories are by name.
	Memories []Memory
}

// Issuer is what the parts of the guards know of one issuer.
type Issuer struct {
	Name      string // of MaxLabel bytes at the most, in UTF-8
	Documents []Document
	Keys      int // in use; -1 if no part knows
}

// Document is the metadata or the keys of an issuer. Of those that several parts have,
// it is the one that was fetched last.
type Document struct {
	Kind    string    // metadata or keys
	Fetched time.Time // zero: never
	Failing bool      // the last attempt failed
	Stale   bool      // it is too old to be used
}

// Memory is what is remembered of one kind.
type Memory struct {
	Name       string
	Size, Room int // Room is 0 if it is not known
}

// StateOf sums up the guards. It leaves out a guard with a part that panics, and touches
// no network.
func StateOf(guards []*middleware.Guard) (s State) {
	issuers, memories := make(map[string]*Issuer), make(map[string]Memory)
	for _, g := range guards {
		status := statusOf(g)
		for _, m := range status.Memories {
			held := memories[m.Name]
			memories[m.Name] = Memory{m.Name, held.Size + m.Size, held.Room + m.Room}
		}
		for _, st := range status.Issuers {
			name := label(st.Issuer)
			i := cmp.Or(issuers[name], &Issuer{Name: name, Keys: -1})
			issuers[name] = i
			if m := st.Metadata; m != nil {
				i.add(Document{"metadata", m.FetchedAt, m.LastError != "", m.Stale})
			}
			if k := st.Keys; k != nil {
				i.add(Document{"keys", k.FetchedAt, k.LastError != "", k.Stale})
				i.Keys = max(i.Keys, k.Keys)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(memories)) {
		s.Memories = append(s.Memories, memories[name])
	}
	s.Count = len(issuers)
	s.Issuers = slices.SortedFunc(maps.Values(issuers), func(a, b *Issuer) int {
		switch fails := a.fails(); {
		case fails == b.fails():
			return cmp.Compare(a.Name, b.Name)
		case fails:
			return -1
		}
		return 1
	})
	s.Issuers = s.Issuers[:min(len(s.Issuers), maxIssuers)]
	return s
}

func (i *Issuer) fails() bool {
	return slices.ContainsFunc(i.Documents, func(d Document) bool { return d.Failing || d.Stale })
}

func (i *Issuer) add(d Document) {
	at := slices.IndexFunc(i.Documents, func(old Document) bool { return old.Kind == d.Kind })
	switch {
	case at < 0:
		i.Documents = append(i.Documents, d)
	case d.Fetched.After(i.Documents[at].Fetched):
		i.Documents[at] = d
	}
}

// label is s as a label can hold it: a scrape with other text would fail as a whole.
func label(s string) string {
	s = strings.ToValidUTF8(s, "?")
	return strings.ToValidUTF8(s[:min(len(s), MaxLabel)], "")
}

func statusOf(g *middleware.Guard) (s middleware.Status) {
	defer func() {
		if recover() != nil {
			s = middleware.Status{}
		}
	}()
	return g.Status()
}
