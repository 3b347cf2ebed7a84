package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// problems are the mistakes in one file, with their lines.
type problems struct {
	file string
	list []problem
}

// errNoted says that a mistake has been noted already, with a line of its own.
var errNoted = errors.New("noted")

type problem struct {
	line int
	text string
}

// add notes a mistake. Several lines of text become several mistakes, since that
// is what errors.Join makes of them. One mistake is noted once, however often it is found.
func (p *problems) add(line int, format string, args ...any) {
	for text := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		if found := (problem{line, text}); !slices.Contains(p.list, found) {
			p.list = append(p.list, found)
		}
	}
}

// err is all of them in the order of their lines, or nil.
func (p *problems) err() error {
	slices.SortStableFunc(p.list, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	errs := make([]error, len(p.list))
	for i, found := range p.list {
		errs[i] = fmt.Errorf("%s:%d: %s", p.file, found.line, found.text)
	}
	return errors.Join(errs...)
}
