package main

import (
	"testing"

	"github.com/keybound-go/middleware/internal/mutate"
)

func TestAPatternNamesWhatItMeans(t *testing.T) {
	patterns := map[string]string{
		"outcome.go":                              "a file",
		"check.go: inspection.clock":              "a function",
		"check.go: Guard.decide: *observer*":      "what a change is about",
		"check.go: Guard.shape: len(a) -> *false": "a change",
	}
	for key, want := range map[string]string{
		"outcome.go: Guard.outcome: a -> b":                 "outcome.go",
		"dpop/outcome.go: Guard.outcome: a -> b":            "",
		"check.go: inspection.clock: a -> b":                "check.go: inspection.clock",
		"check.go: inspection.clocks: a -> b":               "",
		"check.go: Guard.decide: g.observer != nil -> true": "check.go: Guard.decide: *observer*",
		"check.go: Guard.decide: a -> b":                    "",
		"check.go: Guard.shape: len(a) -> a || false":       "check.go: Guard.shape: len(a) -> *false",
		"check.go: Guard.shape: len(a) -> false || a":       "",
	} {
		if got := matching(patterns, key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func TestWhatIsExecuted(t *testing.T) {
	at := func(line, column int) mutate.Place { return mutate.Place{Line: line, Column: column} }
	// A function with an if, of which the body is not executed.
	p := profile{"a.go": {
		{from: at(10, 20), to: at(11, 12), times: 3},
		{from: at(11, 12), to: at(13, 3)},
		{from: at(14, 2), to: at(15, 2), times: 3},
	}}
	for name, c := range map[string]struct {
		m    mutate.Mutant
		want bool
	}{
		"a statement":                         {mutate.Mutant{File: "a.go", At: at(10, 30)}, true},
		"the condition":                       {mutate.Mutant{File: "a.go", At: at(11, 5)}, true},
		"the condition, made false":           {mutate.Mutant{File: "a.go", At: at(11, 5), Skips: at(12, 3)}, false},
		"the body":                            {mutate.Mutant{File: "a.go", At: at(12, 3)}, false},
		"behind it":                           {mutate.Mutant{File: "a.go", At: at(14, 4)}, true},
		"the head of the function":            {mutate.Mutant{File: "a.go", At: at(10, 1)}, true},
		"another file":                        {mutate.Mutant{File: "b.go", At: at(10, 30)}, false},
		"a condition that skips what is done": {mutate.Mutant{File: "a.go", At: at(10, 30), Skips: at(14, 4)}, true},
	} {
		if got := p.reaches(c.m); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestTheSampleIsTheFirstOnesThatCount(t *testing.T) {
	for name, c := range map[string]struct {
		m    drawn
		want bool
	}{
		"found":                 {drawn{found: "AUTH-01"}, true},
		"missed":                {drawn{}, true},
		"a server that is down": {drawn{none: "the server does not answer"}, false},
		"no test notices":       {drawn{silent: true}, false},
	} {
		if got := c.m.counts(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
