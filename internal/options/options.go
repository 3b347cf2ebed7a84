// Package options answers: was this setting given, once, and not nil?
//
// Every room with options of its own collects them in a [Set], so that all rooms
// word the same mistake in the same way, and so that a constructor reports every
// mistake at once.
package options

import (
	"errors"
	"fmt"
	"reflect"
)

// Set records the options of one constructor and what is wrong with them. Make
// one with [For]. It is not safe for concurrent use.
type Set struct {
	room     string
	given    map[string]bool
	problems []error
}

// For returns an empty Set for the constructor of a room. The name of the room
// begins every problem: "dpop: WithNonces is given twice".
func For(room string) *Set { return &Set{room: room, given: make(map[string]bool)} }

// Problem records a mistake. The text says which option, what is wrong with its
// value, and what would be right.
func (s *Set) Problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf(s.room+": "+format, args...))
}

// Join records err, the problems of another constructor, unless it is nil. Its
// texts name their own room.
func (s *Set) Join(err error) {
	if err != nil {
		s.problems = append(s.problems, err)
	}
}

// Once records that the option was given. It reports false, and records a
// problem, if it was given before: the first value stands.
func (s *Set) Once(option string) bool {
	if s.given[option] {
		s.Problem("%s is given twice", option)
		return false
	}
	s.given[option] = true
	return true
}

// Given reports whether the option was given.
func (s *Set) Given(option string) bool { return s.given[option] }

// Err joins all problems, one per line, or is nil.
func (s *Set) Err() error { return errors.Join(s.problems...) }

// Each calls apply with every option in order. A nil option is a problem.
func Each[O any](s *Set, opts []O, apply func(O)) {
	for i, opt := range opts {
		if IsNil(opt) {
			s.Problem("option %d is nil", i+1)
			continue
		}
		apply(opt)
	}
}

// Part records an option that takes a constructed part together with the error of
// its constructor. It reports whether the part can be used: given once, made
// without an error, and not nil, also not a nil pointer inside an interface.
func Part[T any](s *Set, option string, part T, err error) bool {
	switch {
	case !s.Once(option):
		return false
	case err != nil:
		s.problems = append(s.problems, fmt.Errorf("%s: %s: %w", s.room, option, err))
		return false
	case IsNil(part):
		s.Problem("%s: nil", option)
		return false
	}
	return true
}

// Value records an option that takes a value which must not be nil. It reports
// whether the value can be used.
func Value[T any](s *Set, option string, value T) bool { return Part(s, option, value, nil) }

// IsNil reports whether v is nil, or a nil pointer, map, slice, function or
// channel inside an interface.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return r.IsNil()
	default:
		return false
	}
}
