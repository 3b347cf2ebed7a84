package main

import (
	"crypto/rand"
	"regexp"
	"strconv"
	"strings"
)

// environment replaces ${{ env "NAME" }} as decK does, with one difference: the
// value goes into the parsed document, not into its text, so that it can neither
// add keys nor move lines.
type environment struct {
	lookup func(string) (string, bool)
	marks  *strings.Replacer // of marks by values
	mark   string            // what stands in the text for a variable, up to its number
	names  []string          // by number
}

var reference = regexp.MustCompile(`\$\{\{[ \t]*env[ \t]+"([A-Za-z_][A-Za-z0-9_]*)"[ \t]*(?:\|[ \t]*to(?:Bool|Int|Float)[ \t]*)?\}\}`)

// newEnvironment returns text with a mark in the place of each reference.
func newEnvironment(text []byte, lookup func(string) (string, bool)) (*environment, []byte) {
	e := &environment{lookup: lookup, mark: "env" + rand.Text() + "n"}
	var pairs []string
	marked := reference.ReplaceAllFunc(text, func(ref []byte) []byte {
		mark := e.mark + strconv.Itoa(len(e.names)) + "e"
		name := string(reference.FindSubmatch(ref)[1])
		value, _ := lookup(name)
		e.names = append(e.names, name)
		pairs = append(pairs, mark, value)
		return []byte(mark)
	})
	e.marks = strings.NewReplacer(pairs...)
	return e, marked
}

// expand puts the values into one scalar. unset is the name of a variable that it
// needs and that is not set.
func (e *environment) expand(scalar string) (value string, from bool, unset string) {
	if !strings.Contains(scalar, e.mark) {
		return scalar, false, ""
	}
	for i, name := range e.names {
		if !strings.Contains(scalar, e.mark+strconv.Itoa(i)+"e") {
			continue
		}
		if _, ok := e.lookup(name); !ok {
			return "", true, name
		}
	}
	return e.marks.Replace(scalar), true, ""
}
