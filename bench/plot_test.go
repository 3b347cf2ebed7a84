package bench

import (
	"os"
	"testing"
)

// TestPlots holds the pictures of docs/performance.md against the tables of README.md.
// TestTable measures the tables; with -update this test draws them.
func TestPlots(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, plot := range map[string]struct{ title, caption, table string }{
		"../docs/performance-decisions.svg": {"One decision", "in raw ECDSA verifications (P-256) of the same run; shorter is faster", "Time of one decision, by that of one raw verification (P-256):"},
		"../docs/performance-growth.svg":    {"What growth costs", "one decision, in raw ECDSA verifications (P-256) of the same run", "Growth, by one raw verification again:"},
	} {
		table, err := ReadTable(string(page), plot.table)
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) < 6 {
			t.Fatalf("%s: %d rows", plot.table, len(table.Rows))
		}
		want := Plot(plot.title, plot.caption, table)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s is not the table of README.md (go -C bench test -run Plots -update .): %v", file, err)
		}
	}
}
