package middleware

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Level is how far a [Stage] goes with its rule.
type Level uint8

const (
	// Enforce refuses a request that does not satisfy the rule, as without a Stage.
	Enforce Level = iota
	// Report evaluates the rule and tells the operator in Outcome.WouldDeny what
	// Enforce would have answered. The client notices nothing.
	Report
	// Off does not evaluate the rule.
	Off
)

var levelNames = [...]string{Enforce: "enforce", Report: "report", Off: "off"}

// String returns "enforce", "report" or "off". Every other Level is Enforce.
func (l Level) String() string {
	if int(l) >= len(levelNames) {
		l = Enforce
	}
	return levelNames[l]
}

// UnmarshalText reads what [Level.String] returns.
func (l *Level) UnmarshalText(text []byte) error {
	for level, name := range levelNames {
		if string(text) == name {
			*l = Level(level)
			return nil
		}
	}
	return fmt.Errorf("middleware: %q is not a level: enforce, report or off", text)
}

// Stage says how far a rule is rolled out; see [Staged]. It can be changed while
// requests are served: each request is judged by the Level that stands when its rules
// are evaluated. The zero Stage enforces. A Stage must not be copied, and its methods
// may be called concurrently.
type Stage struct {
	level  atomic.Uint32
	choose atomic.Pointer[func(*Credential) Level]
}

// Set sets the Level, for all requests for which the function of [Stage.Choose] does
// not choose another.
func (s *Stage) Set(l Level) { s.level.Store(uint32(l)) }

// Level returns what Set has set.
func (s *Stage) Level() Level {
	if l := s.level.Load(); l < uint32(len(levelNames)) {
		return Level(l)
	}
	return Enforce
}

// Choose has f choose the Level of each request, such as by the ClientID of its Token:
// it is asked once the token and its binding are verified, concurrently, and must not
// change the Credential. If it panics, the Level is Enforce. A nil f ends this.
//
// Where the answer to a request depends on the Level before there is a Credential, as
// the challenges to a request without a token do, what [Stage.Set] has set counts.
func (s *Stage) Choose(f func(*Credential) Level) {
	if f == nil {
		s.choose.Store(nil)
		return
	}
	s.choose.Store(&f)
}

// describe says how far the rule is rolled out at this moment.
func (s *Stage) describe() string {
	if s.choose.Load() != nil {
		return "by a function, else " + s.Level().String()
	}
	return s.Level().String()
}

// of is the Level for a credential, which is nil if there is none.
func (s *Stage) of(c *Credential) (l Level) {
	f := s.choose.Load()
	if f == nil || c == nil {
		return s.Level()
	}
	defer func() {
		if recover() != nil {
			l = Enforce
		}
	}()
	if l = (*f)(c); int(l) >= len(levelNames) {
		l = Enforce
	}
	return l
}

// Staged rolls a rule out in stages, without an outage: while stage says [Report], the
// rule is evaluated exactly as if it was enforced, and its verdict goes to
// Outcome.WouldDeny.
//
// [New], presets, [Guard.Metadata] and the other rules treat a staged rule as absent:
// FAPI2 does not count it as fulfilled. Challenges follow the Level in force. Staged
// stands among the rules of [WithRules] and [Guard.Require], never inside [AnyOf],
// [AllOf] or another Staged. Routes whose Stages change apart have a Stage each.
func Staged(rule Rule, stage *Stage) Rule { return &stagedRule{rule, stage} }

type stagedRule struct {
	rule  Rule
	stage *Stage
}

func (s *stagedRule) validate() error {
	if s.stage == nil {
		return errors.New("middleware: Staged: the Stage is nil")
	}
	return validateInner("Staged", []Rule{s.rule})
}

// admits takes the rule for absent.
func (s *stagedRule) admits(shape) bool { return true }

func (s *stagedRule) check(i *inspection) *unmet {
	switch s.stage.of(&i.Credential) {
	case Off:
		return nil
	case Report:
		if !i.toldBefore(s) {
			i.report(s)
		}
		return nil
	}
	return s.rule.check(i)
}

// report evaluates a rule for the operator alone. The first rule that would deny the
// request is the one that would have answered it.
func (i *inspection) report(s *stagedRule) {
	if i.reported != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			i.reported = &unmet{err: panicked(p)}
		}
		if i.reported != nil {
			i.told, i.operator = s, i.quiet
		}
	}()
	i.reported = s.rule.check(i)
}

// toldBefore reports whether an outer guard has told the same operator already that the
// rule would deny this very request: it counts once. A guard further in knows too.
func (i *inspection) toldBefore(s *stagedRule) bool {
	if i.before == nil || i.before.told != s || i.before.operator != i.quiet {
		return false
	}
	i.told, i.operator = s, i.quiet
	return true
}

// enforced returns the rules in force for a credential, which is nil if there is none.
func enforced(rules []Rule, c *Credential) []Rule {
	var all []Rule
	for _, rule := range rules {
		if s, ok := rule.(*stagedRule); !ok {
			all = append(all, rule)
		} else if s.stage.of(c) == Enforce {
			all = append(all, s.rule)
		}
	}
	return all
}
