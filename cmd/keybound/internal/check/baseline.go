package check

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Baseline are the deviations that an operator accepts: row -> why.
type Baseline map[string]string

// why returns the reason for a row, "" if the baseline does not accept it. An entry for a
// row is one for its result over HTTP/2 too.
func (b Baseline) why(id string) (entry, why string) {
	if why := b[id]; why != "" {
		return id, why
	}
	entry = strings.TrimSuffix(id, overHTTP2)
	return entry, b[entry]
}

// ReadBaseline reads lines of a row's ID and, behind white space, why its failure is
// accepted. Empty lines, and those that begin with #, are skipped.
func ReadBaseline(r io.Reader) (Baseline, error) {
	b := make(Baseline)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		id, why, _ := strings.Cut(line, " ")
		if _, twice := b[id]; twice {
			return nil, fmt.Errorf("check: baseline, line %d: %s stands twice", n, id)
		}
		if why = strings.TrimSpace(why); why == "" {
			return nil, fmt.Errorf("check: baseline, line %d: %s has no reason behind it", n, id)
		}
		b[id] = why
	}
	return b, lines.Err()
}

// Apply marks the accepted failures. stale are entries whose rows pass by now, or
// that name no row.
func (b Baseline) Apply(results []Result) (stale []string) {
	failed := make(map[string]bool)
	for i := range results {
		if results[i].Status == Failed {
			entry, why := b.why(results[i].Row.ID)
			failed[entry] = true
			results[i].Accept = why
		}
	}
	for id := range b {
		if !failed[id] {
			stale = append(stale, id)
		}
	}
	slices.Sort(stale)
	return stale
}

// WriteBaseline writes an entry for each failure, to be given a reason. A row that fails
// over HTTP/1.1 and HTTP/2 has one entry.
func WriteBaseline(w io.Writer, results []Result) error {
	failed := make(map[string]bool)
	for _, r := range results {
		if r.Status != Failed || failed[strings.TrimSuffix(r.Row.ID, overHTTP2)] {
			continue
		}
		failed[r.Row.ID] = true
		why := r.Accept
		if why == "" {
			why = "not examined yet: " + r.Reason
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", r.Row.ID, strings.ReplaceAll(why, "\n", " ")); err != nil {
			return err
		}
	}
	return nil
}
