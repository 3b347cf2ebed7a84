package difftest_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sample is one input of a target. Which of the texts there are is the target's
// affair.
type sample struct{ text, header, payload string }

// reading is what a parser has read, by names of this package. A time is a number of
// seconds, under a name that starts with "time ".
type reading map[string]string

// parser reads a sample, or refuses it.
type parser func(t testing.TB, s sample) (reading, error)

// kind is how two parsers can disagree.
type kind uint8

const (
	onlyOurs   kind = iota // we accept, they refuse
	onlyTheirs             // they accept, we refuse
	bothDiffer             // both accept, and read something else
)

func (k kind) String() string {
	return [...]string{"we accept and they refuse", "they accept and we refuse", "both accept and read something else"}[k]
}

// side says who follows the RFC in a difference.
type side string

const (
	ours   side = "ours"
	theirs side = "theirs"
	both   side = "both" // the RFC leaves it open
)

// difference is a class of inputs on which ours and another parser may disagree.
type difference struct {
	name    string   // what is special about the input
	kind    kind     // how they disagree
	parsers []string // which of the others
	right   side     // who is right
	section string   // by which section
	why     string   // the reason, with what the section says
	is      func(s sample) bool
	example sample // on which every one of the parsers disagrees with ours
}

// target is one format, our parser of it, and those of others.
type target struct {
	name        string
	ours        parser
	theirs      map[string]parser
	tolerance   map[string]float64 // in seconds, by parser: how coarse its times are
	differences []difference
}

// targets are all of them, for the tests of the tables.
var targets []*target

func newTarget(g target) *target {
	targets = append(targets, &g)
	return &g
}

// check fails unless every parser reads in s what ours does, or the difference is
// permitted.
func (g *target) check(t testing.TB, s sample) {
	t.Helper()
	mine, err := g.ours(t, s)
	for _, name := range slices.Sorted(maps.Keys(g.theirs)) {
		yours, theirErr := g.theirs[name](t, s)
		k, text := g.compare(name, mine, err, yours, theirErr)
		if text == "" {
			continue
		}
		permitted := slices.ContainsFunc(g.differences, func(d difference) bool {
			return d.kind == k && slices.Contains(d.parsers, name) && d.is(s)
		})
		if !permitted {
			t.Errorf("%s, %s: %v: %s\ntext %q\nheader %q\npayload %q", g.name, name, k, text, s.text, s.header, s.payload)
		}
	}
}

// compare returns how two results differ, and "" if they do not.
func (g *target) compare(name string, mine reading, err error, yours reading, theirErr error) (kind, string) {
	switch {
	case err != nil && theirErr != nil:
		return 0, ""
	case theirErr != nil:
		return onlyOurs, theirErr.Error()
	case err != nil:
		return onlyTheirs, err.Error()
	}
	for field, value := range yours {
		if !g.same(name, field, mine[field], value) {
			return bothDiffer, fmt.Sprintf("%s is %q, and theirs %q", field, mine[field], value)
		}
	}
	return 0, ""
}

func (g *target) same(name, field, mine, yours string) bool {
	if mine == yours {
		return true
	}
	if !strings.HasPrefix(field, "time ") {
		return false
	}
	a, err := strconv.ParseFloat(mine, 64)
	b, theirErr := strconv.ParseFloat(yours, 64)
	if err != nil || theirErr != nil {
		return false // present for one of them only
	}
	// A float64 of seconds is good for so much.
	return math.Abs(a-b) <= g.tolerance[name]+math.Abs(a)*1e-15
}

// Every row of the tables says something: its example makes exactly that difference
// with each parser that it names, and says who is right and why.
func TestEveryPermittedDifferenceOccurs(t *testing.T) {
	for _, g := range targets {
		seen := make(map[string]bool)
		for _, d := range g.differences {
			t.Run(g.name+"/"+d.name, func(t *testing.T) {
				if seen[fmt.Sprint(d.name, d.kind)] {
					t.Error("the row stands twice")
				}
				seen[fmt.Sprint(d.name, d.kind)] = true
				if d.why == "" || d.section == "" || d.right == "" || len(d.parsers) == 0 {
					t.Error("a row without a reason, a section, a side or a parser")
				}
				if d.right == theirs {
					t.Error("they are right: change our parser")
				}
				if !d.is(d.example) {
					t.Error("the example is not of the class")
				}
				mine, err := g.ours(t, d.example)
				for _, name := range d.parsers {
					if g.theirs[name] == nil {
						t.Fatalf("there is no parser %q", name)
					}
					yours, theirErr := g.theirs[name](t, d.example)
					if k, text := g.compare(name, mine, err, yours, theirErr); text == "" || k != d.kind {
						t.Errorf("%s: %v, %q; ours %v %v, theirs %v %v", name, k, text, mine, err, yours, theirErr)
					}
				}
			})
		}
	}
}
