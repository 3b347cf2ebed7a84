package bench

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "measure for longer, and write the result to README.md")
	rounds = flag.Int("rounds", 0, "of 4 requests each; 0: 3, or 200 with -update")
)

// TestTable measures what README.md shows. Without -update it only makes sure
// that this works.
func TestTable(t *testing.T) {
	n := cmp.Or(*rounds, 3)
	if *update {
		n = cmp.Or(*rounds, 200)
	}
	w := NewWorld(t)
	contenders := Contenders(t, w)
	var text strings.Builder
	fmt.Fprintf(&text, "%s, on %s.\n\n", time.Now().UTC().Format(time.DateOnly), machine())
	for _, c := range contenders[1:] {
		fmt.Fprintf(&text, "- %s: %s\n", c.Name(), versions(t, c.Modules()))
	}
	costs := make(map[string]Cost)
	rows := append(requestRows(t, w), growthRows(t, *update)...)
	for _, row := range rows {
		for i, c := range contenders {
			if subject, ok := row.work(c, i == 0); ok {
				cost, err := Compare(RawVerification(), subject, n, 4)
				if err != nil {
					t.Fatal(row.name, c.Name(), err)
				}
				costs[row.name+c.Name()] = cost
			}
		}
	}
	write := func(title string, own bool, cell func(Cost) string) {
		fmt.Fprintf(&text, "\n%s\n\n| |", title)
		rule := "|---|"
		for i, c := range contenders {
			if i == 0 || !own {
				text.WriteString(" " + c.Name() + " |")
				rule += "---|"
			}
		}
		text.WriteString("\n" + rule + "\n")
		for _, row := range rows {
			if row.own != own {
				continue
			}
			text.WriteString("| " + row.name + " |")
			for _, c := range contenders {
				if cost, ok := costs[row.name+c.Name()]; ok {
					text.WriteString(" " + cell(cost) + " |")
				}
			}
			text.WriteString("\n")
		}
	}
	ratio := func(c Cost) string { return fmt.Sprintf("%.2f", c.Ratio) }
	write("Time of one decision, by that of one raw verification (P-256):", false, ratio)
	write("Allocations of one decision, objects and bytes:", false, func(c Cost) string { return fmt.Sprintf("%.0f, %.0f", c.Allocs, c.Bytes) })
	write("Time of one decision:", false, func(c Cost) string { return c.Time.Round(100 * time.Nanosecond).String() })
	write("Growth, by one raw verification again:", true, ratio)
	if !*update {
		t.Log("\n" + text.String())
		return
	}
	if err := Section("README.md", "table", text.String()); err != nil {
		t.Fatal(err)
	}
}

// tableRow is one row: the work of a contender, if it takes part.
type tableRow struct {
	name string
	own  bool // of this module only
	work func(c Contender, own bool) (Work, bool)
}

func requestRows(_ testing.TB, w *World) (rows []tableRow) {
	for _, p := range paths {
		rows = append(rows,
			tableRow{string(p) + ", token seen before", false, func(c Contender, _ bool) (Work, bool) { return Deciding(c, p, w.Seen(p)), true }},
			tableRow{string(p) + ", token never seen", false, func(c Contender, _ bool) (Work, bool) { return Deciding(c, p, w.New(p)), true }})
	}
	return rows
}

func growthRows(tb testing.TB, all bool) (rows []tableRow) {
	for _, d := range Dimensions() {
		sizes := d.Sizes[:1]
		if all {
			sizes = d.Sizes
		}
		if all && *full && d.Full > 0 {
			sizes = append(sizes, d.Full)
		}
		for _, size := range sizes {
			rows = append(rows, tableRow{d.Name + ": " + strconv.Itoa(size), true, func(_ Contender, own bool) (Work, bool) {
				if !own {
					return Work{}, false
				}
				return d.Make(tb, size), true
			}})
		}
	}
	return rows
}

// machine says where this runs.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.Trim(line, "\t :")
		}
	}
	return fmt.Sprintf("%d x %s, %s, %s/%s", runtime.NumCPU(), model, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// versions asks the go command which versions of the modules are in use.
func versions(t *testing.T, modules []string) string {
	out, err := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, modules...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ", ")
}
