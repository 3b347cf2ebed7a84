package doors

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/corpus"
)

// line is what docs/doors.md says of one door.
type line struct {
	door   Door
	groups []*group
}

// group counts the cases of one group of the corpus.
type group struct {
	name       string
	ran, total int
	why        []string // some cannot be sent
}

func newLine(d Door) *line { return &line{door: d} }

func (l *line) group(name string) *group {
	for _, g := range l.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name}
	l.groups = append(l.groups, g)
	return g
}

func (l *line) ran(c corpus.Case) {
	g := l.group(c.Group)
	g.ran++
	g.total++
}

func (l *line) skip(c corpus.Case, why string) {
	g := l.group(c.Group)
	g.total++
	g.why = append(g.why, why)
}

// runs is how many cases have run.
func (l *line) runs() (n int) {
	for _, g := range l.groups {
		n += g.ran
	}
	return n
}

// row is the door's row of the table.
func (l *line) row() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |", l.link())
	for _, g := range l.groups {
		if g.ran == g.total {
			fmt.Fprintf(&b, " %d |", g.ran)
		} else {
			fmt.Fprintf(&b, " %d of %d |", g.ran, g.total)
		}
	}
	return b.String()
}

// reasons are the door's items of the list below the table.
func (l *line) reasons() (items []string) {
	for _, g := range l.groups {
		var said []string
		for _, why := range g.why {
			if !slices.Contains(said, why) {
				said = append(said, why)
			}
		}
		for _, why := range said {
			n := 0
			for _, other := range g.why {
				if other == why {
					n++
				}
			}
			items = append(items, fmt.Sprintf("- %s, %s, %d: %s", l.link(), g.name, n, why))
		}
	}
	return items
}

func (l *line) link() string {
	return fmt.Sprintf("[%s](%s)", l.door.Name, path.Join("..", l.door.Folder))
}

// head is the head of the table.
func (l *line) head() string {
	names, rule := "| door |", "|---|"
	for _, g := range l.groups {
		names += fmt.Sprintf(" %s (%d) |", g.name, g.total)
		rule += "---:|"
	}
	return names + "\n" + rule
}

// reasonsMark stands between the table and the list.
const reasonsMark = "## Cells that cannot exist\n\n"

// settle compares the page with l, or writes l into it.
func (l *line) settle(t *testing.T) {
	t.Helper()
	page := find(t)
	if *Update {
		defer lock(t, page+".lock")()
	}
	before, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	after, err := l.into(string(before))
	switch {
	case err != nil:
		t.Fatalf("%s: %v", page, err)
	case string(before) == after:
	case !*Update:
		t.Errorf("docs/doors.md is not what this door does; run this test with -update. It must have:\n%s\n%s\n%s",
			l.head(), l.row(), strings.Join(l.reasons(), "\n"))
	default:
		if err := os.WriteFile(page, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// into returns the page with what l says, in place of what it said of the door.
func (l *line) into(page string) (string, error) {
	text, list, ok := strings.Cut(page, reasonsMark)
	if !ok {
		return "", fmt.Errorf("there is no %q", reasonsMark)
	}
	var intro, rows []string
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, line)
		} else {
			intro = append(intro, line)
		}
	}
	rows = others(rows[min(2, len(rows)):], "| "+l.link()+" ") // without the head
	rows = append(rows, l.row())
	items := others(strings.Split(strings.TrimSpace(list), "\n"), "- "+l.link()+",")
	items = append(items, l.reasons()...)
	slices.Sort(rows)
	slices.SortStableFunc(items, func(a, b string) int { return strings.Compare(linked(a), linked(b)) })
	return strings.TrimSpace(strings.Join(intro, "\n")) + "\n\n" + l.head() + "\n" + strings.Join(rows, "\n") + "\n\n" + reasonsMark + strings.Join(items, "\n") + "\n", nil
}

// linked is the part of an item that names its door.
func linked(item string) string {
	door, _, _ := strings.Cut(item, "),")
	return door
}

// others are the lines that do not begin with prefix.
func others(lines []string, prefix string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" || strings.HasPrefix(line, prefix) })
}

// find returns the path of the page, from the folder of a test.
func find(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		page := filepath.Join(dir, "docs", "doors.md")
		if _, err := os.Stat(page); err == nil {
			return page
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("there is no docs/doors.md above this test")
		}
		dir = filepath.Dir(dir)
	}
}

// lock keeps the tests of other packages, which run at the same time, from writing the
// page between a read and a write.
func lock(t *testing.T, dir string) (unlock func()) {
	t.Helper()
	for range 1000 {
		if err := os.Mkdir(dir, 0o700); err == nil {
			return func() { os.Remove(dir) }
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s is in the way", dir)
	return nil
}
