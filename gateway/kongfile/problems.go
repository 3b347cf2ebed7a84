package kongfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Place is where something stands in a file.
type Place struct {
	File string
	Line int
	Path string // from the top of the document, such as plugins[0].config
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Problems are the mistakes in the files of one configuration, each with its place.
type Problems struct {
	list []problem
	seen map[problem]bool
}

// maxProblems is how many mistakes are told. Each is told once.
const maxProblems = 1000

type problem struct {
	file  string
	order int // of the file among the others
	line  int
	text  string
}

func (p *Problems) add(d *document, line int, format string, args ...any) {
	for text := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		found := problem{d.name, d.order, line, text}
		if p.seen[found] || p.full() {
			continue
		}
		if len(p.list) == maxProblems {
			found = problem{d.name, d.order, line, "there are more mistakes"}
		}
		if p.seen == nil {
			p.seen = make(map[problem]bool)
		}
		p.seen[found] = true
		p.list = append(p.list, found)
	}
}

// full reports whether no more mistakes are told.
func (p *Problems) full() bool { return len(p.list) > maxProblems }

// Err is all of them in the order of their lines, or nil.
func (p *Problems) Err() error {
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.line, b.line))
	})
	errs := make([]error, len(p.list))
	for i, found := range p.list {
		errs[i] = fmt.Errorf("%s:%d: %s", found.file, found.line, found.text)
	}
	return errors.Join(errs...)
}

// Texts are the mistakes without the places, each with the path of its key in front.
func (p *Problems) Texts() (all []string) {
	for _, found := range p.list {
		all = append(all, found.text)
	}
	return all
}

// Warning is something that starts and that an operator should know.
type Warning struct {
	Place Place
	Text  string
}

// entity is what everything that is read from a mapping can do: say where it stands,
// and take the mistakes that show only later, with the lines of their keys.
type entity struct{ m *mapping }

// Place is where the entity stands.
func (e entity) Place() Place { return e.m.place(e.m.at) }

// PlaceOf is where a key of the entity stands, or the entity if it is not there.
func (e entity) PlaceOf(key string) Place { return e.m.place(e.m.line(key)) }

// Given reports whether a key is there, neither null nor at Kong's default, which to
// Kong is the same as absent.
func (e entity) Given(key string) bool { return e.m.has(key) }

// Wrong notes a mistake in the value of a key.
func (e entity) Wrong(key, format string, args ...any) { e.m.wrong(key, format, args...) }

// Mistake notes a mistake in the entity as a whole. Several lines of text become
// several mistakes, since that is what errors.Join makes of them. A mistake that is
// found twice is noted once.
func (e entity) Mistake(format string, args ...any) { e.m.mistake(format, args...) }

// ID is the id of an entity, by which others can refer to it; "" if it has none.
func (e entity) ID() string { return e.m.text("id", "") }
