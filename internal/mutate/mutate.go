// Package mutate answers "would a test notice if this line were wrong?"
//
// It puts many small faults (mutants) into a copy of a package's files, each behind a
// switch that the environment variable MUTANT turns on, so that the package and its tests
// are compiled once for all of them. MUTANT_TRACE names a file for the numbers of the
// places that are executed: tests that do not reach a mutant need not be run for it. A
// mutant that no test notices is a check that could be lost.
//
// The faults: a condition that always or never holds, one half of a && or || left out, a
// comparison turned round or its bound moved, an error or another answer that becomes
// nil, a truth value turned round, a sum that becomes a difference, a statement left out,
// a function that does nothing. Constants and the order of statements are left alone.
package mutate

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"sort"
	"strings"
)

// Mutant is one fault.
type Mutant struct {
	ID       int    // what MUTANT is set to
	File     string // as the file set names it
	Line     int
	Function string // that it is in
	From, To string // the source as it is, and what it becomes
	At       Place  // where it is executed
	// Skips is where the body begins that the fault can do nothing but skip; zero if there
	// is more that it can do.
	Skips Place
}

// Place is a place in a source file.
type Place struct{ Line, Column int }

// Key names the mutant in a way that survives changes elsewhere in the file.
func (m Mutant) Key() string { return fmt.Sprintf("%s: %s -> %s", m.Function, m.From, m.To) }

// File is one source file that mutants are put into.
type File struct {
	Name   string
	Source []byte
	Syntax *ast.File
}

// Runtime is the source of the file that goes beside the mutated ones, without its
// package clause.
const Runtime = `
import (
	"fmt"
	"os"
	"strconv"
	"sync"
)

var activeMutant, _ = strconv.Atoi(os.Getenv("MUTANT"))

// A run of all tests tells which places they reach.
var mutantTrace = os.Getenv("MUTANT_TRACE")
var mutantsReached sync.Map

func mutant(n int) bool {
	if mutantTrace != "" {
		if _, before := mutantsReached.LoadOrStore(n, true); !before {
			f, err := os.OpenFile(mutantTrace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(f, n)
			f.Close()
		}
	}
	return activeMutant == n
}

func mutantOr[T any](n int, mutated, real T) T {
	if mutant(n) {
		return mutated
	}
	return real
}
`

// Insert returns the mutants of f, numbered from first on, and f's source with all of
// them in.
func Insert(fset *token.FileSet, info *types.Info, f File, first int) ([]Mutant, []byte) {
	m := &inserter{fset: fset, info: info, file: f, next: first}
	for _, decl := range f.Syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			m.function(fn)
		}
	}
	return m.mutants, m.source()
}

// inserter collects insertions into one file. Nothing is ever replaced, so that mutants
// can stand within one another.
type inserter struct {
	fset       *token.FileSet
	info       *types.Info
	file       File
	name       string // of the function
	results    []types.Type
	next       int
	mutants    []Mutant
	insertions []insertion
}

type insertion struct {
	at    int
	order int // among those at the same place
	text  string
}

func (m *inserter) offset(p token.Pos) int { return m.fset.Position(p).Offset }

func (m *inserter) text(n ast.Node) string {
	return string(m.file.Source[m.offset(n.Pos()):m.offset(n.End())])
}

// mutant records a fault and returns its number.
func (m *inserter) mutant(at ast.Node, from, to string) int {
	p := m.fset.Position(at.Pos())
	short := func(s string) string {
		s = strings.Join(strings.Fields(s), " ")
		if len(s) > 90 {
			s = s[:87] + "..."
		}
		return s
	}
	m.mutants = append(m.mutants, Mutant{ID: m.next, File: m.file.Name, Line: p.Line, Function: m.name, From: short(from), To: short(to), At: Place{p.Line, p.Column}})
	m.next++
	return m.next - 1
}

// around puts text before and after n: outside of what is put around its parts later on.
func (m *inserter) around(n ast.Node, before, after string) {
	i := len(m.insertions)
	m.insertions = append(m.insertions,
		insertion{m.offset(n.Pos()), i, before},
		insertion{m.offset(n.End()), -i, after})
}

func (m *inserter) before(at token.Pos, text string) {
	m.insertions = append(m.insertions, insertion{m.offset(at), len(m.insertions), text})
}

// source is the file with everything inserted.
func (m *inserter) source() []byte {
	sort.SliceStable(m.insertions, func(i, j int) bool {
		a, b := m.insertions[i], m.insertions[j]
		if a.at != b.at {
			return a.at < b.at
		}
		// What ends here comes before what begins here.
		if (a.order < 0) != (b.order < 0) {
			return a.order < 0
		}
		return a.order < b.order
	})
	var out strings.Builder
	last := 0
	for _, ins := range m.insertions {
		out.Write(m.file.Source[last:ins.at])
		out.WriteString(ins.text)
		last = ins.at
	}
	out.Write(m.file.Source[last:])
	return []byte(out.String())
}

func (m *inserter) function(fn *ast.FuncDecl) {
	m.name = fn.Name.Name
	if fn.Recv != nil {
		m.name = receiver(fn.Recv.List[0].Type) + "." + m.name
	}
	signature := m.info.Defs[fn.Name].Type().(*types.Signature)
	m.results = nil
	for v := range signature.Results().Variables() {
		m.results = append(m.results, v.Type())
	}
	m.doNothing(fn)
	m.block(fn.Body)
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// doNothing makes the function return at once.
func (m *inserter) doNothing(fn *ast.FuncDecl) {
	if len(fn.Body.List) < 2 || fn.Type.TypeParams != nil {
		return // one statement is mutated by itself
	}
	values := []string{""}
	if fn.Type.Results != nil {
		var zeros []string
		for _, field := range fn.Type.Results.List {
			for range max(1, len(field.Names)) {
				zeros = append(zeros, "*new("+m.text(field.Type)+")")
			}
		}
		values = []string{strings.Join(zeros, ", ")}
		if last := m.results[len(m.results)-1]; isBool(last) {
			zeros[len(zeros)-1] = "true"
			values = append(values, strings.Join(zeros, ", "))
		}
	}
	for _, v := range values {
		n := m.mutant(fn, "{ ... }", "{ return "+v+" }")
		m.before(fn.Body.Lbrace+1, fmt.Sprintf(" if mutant(%d) { return %s };", n, v))
	}
}

func (m *inserter) block(b *ast.BlockStmt) {
	if b != nil {
		m.statements(b.List)
	}
}

func (m *inserter) statements(list []ast.Stmt) {
	for _, s := range list {
		m.statement(s, true)
	}
}

// statement mutates s; alone says that it stands in a list and can be left out.
func (m *inserter) statement(s ast.Stmt, alone bool) {
	switch s := s.(type) {
	case *ast.ExprStmt:
		m.leaveOut(s, alone)
		m.expr(s.X)
	case *ast.AssignStmt:
		if s.Tok != token.DEFINE {
			m.leaveOut(s, alone)
		}
		for _, e := range s.Rhs {
			m.expr(e)
		}
	case *ast.IncDecStmt:
		m.leaveOut(s, alone)
	case *ast.ReturnStmt:
		m.returns(s)
	case *ast.IfStmt:
		m.optional(s.Init)
		m.skipping(s.Cond, s.Body.List)
		m.block(s.Body)
		if s.Else != nil {
			m.statement(s.Else, false)
		}
	case *ast.ForStmt:
		m.optional(s.Init)
		if s.Cond != nil {
			m.condition(s.Cond, false)
		}
		m.block(s.Body)
	case *ast.RangeStmt:
		m.expr(s.X)
		m.block(s.Body)
	case *ast.SwitchStmt:
		m.optional(s.Init)
		m.cases(s, s.Body, s.Tag == nil)
	case *ast.TypeSwitchStmt:
		m.optional(s.Init)
		m.cases(s, s.Body, false)
	case *ast.SelectStmt:
		for _, c := range s.Body.List {
			m.statements(c.(*ast.CommClause).Body)
		}
	case *ast.BlockStmt:
		m.block(s)
	case *ast.DeferStmt:
		m.expr(s.Call)
	case *ast.GoStmt:
		m.expr(s.Call)
	case *ast.LabeledStmt:
		m.statement(s.Stmt, false)
	}
}

func (m *inserter) optional(s ast.Stmt) {
	if s != nil {
		m.statement(s, false)
	}
}

// cases mutates those of a switch. Their conditions are where the switch is.
func (m *inserter) cases(at ast.Stmt, body *ast.BlockStmt, conditions bool) {
	p := m.fset.Position(at.Pos())
	for _, c := range body.List {
		clause := c.(*ast.CaseClause)
		for _, e := range clause.List {
			if conditions {
				first := len(m.mutants)
				m.skipping(e, clause.Body)
				for i := range m.mutants[first:] {
					m.mutants[first+i].At = Place{p.Line, p.Column}
				}
			}
		}
		m.statements(clause.Body)
	}
}

func (m *inserter) leaveOut(s ast.Stmt, alone bool) {
	if !alone {
		return
	}
	n := m.mutant(s, m.text(s), "nothing")
	m.around(s, fmt.Sprintf("if !mutant(%d) { ", n), " }")
}

// skipping is condition for one that leads to a body, which a condition that never holds
// skips, and nothing else.
func (m *inserter) skipping(e ast.Expr, body []ast.Stmt) {
	first := len(m.mutants)
	m.condition(e, true)
	if len(body) == 0 {
		return
	}
	p := m.fset.Position(body[0].Pos())
	all := m.text(e)
	for i := range m.mutants[first:] {
		c := &m.mutants[first+i]
		or, _ := ast.Unparen(e).(*ast.BinaryExpr)
		if c.To == "false" && i == 0 || or != nil && or.Op == token.LOR && c.From == strings.Join(strings.Fields(all), " ") && strings.Contains(c.To, "false") && c.To != "false" {
			c.Skips = Place{p.Line, p.Column}
		}
	}
}

// condition makes e always and never hold. A loop that never ends tells nothing.
func (m *inserter) condition(e ast.Expr, always bool) {
	never := m.mutant(e, m.text(e), "false")
	if always {
		n := m.mutant(e, m.text(e), "true")
		m.around(e, fmt.Sprintf("(mutant(%d) || !mutant(%d) && (", n, never), "))")
	} else {
		m.around(e, fmt.Sprintf("(!mutant(%d) && (", never), "))")
	}
	m.expr(e)
}

// returns makes an answer nil, and turns a truth value round.
func (m *inserter) returns(s *ast.ReturnStmt) {
	for _, e := range s.Results {
		m.expr(e)
	}
	if len(s.Results) == 0 || len(s.Results) != len(m.results) {
		return
	}
	last, t := s.Results[len(s.Results)-1], m.results[len(m.results)-1]
	if _, isFunc := last.(*ast.FuncLit); isFunc {
		return
	}
	switch {
	case isBool(t):
		n := m.mutant(last, m.text(last), "!("+m.text(last)+")")
		m.around(last, fmt.Sprintf("(mutant(%d) != (", n), "))")
	case nilable(t) && m.text(last) != "nil":
		var others []string
		for _, e := range s.Results[:len(s.Results)-1] {
			others = append(others, m.text(e))
		}
		mutated := "return " + strings.Join(append(others, "nil"), ", ")
		n := m.mutant(s, m.text(s), mutated)
		m.around(s, fmt.Sprintf("if mutant(%d) { %s }; ", n, mutated), "")
	}
}

func isBool(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Kind() == types.Bool
}

func nilable(t types.Type) bool {
	switch t.Underlying().(type) {
	case *types.Pointer, *types.Interface, *types.Slice, *types.Map, *types.Signature:
		return true
	}
	return false
}

// opposite is what a comparison becomes.
var opposite = map[token.Token]string{
	token.EQL: "!=", token.NEQ: "==", token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">",
}

// expr mutates the parts of e.
func (m *inserter) expr(e ast.Expr) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			m.binary(n)
		case *ast.FuncLit:
			outer := m.results
			m.results = nil
			if s, ok := m.info.Types[n].Type.(*types.Signature); ok {
				for v := range s.Results().Variables() {
					m.results = append(m.results, v.Type())
				}
			}
			m.block(n.Body)
			m.results = outer
			return false
		}
		return true
	})
}

func (m *inserter) binary(e *ast.BinaryExpr) {
	if tv := m.info.Types[e]; tv.Value != nil {
		return // a constant
	}
	a, b := m.text(e.X), m.text(e.Y)
	switch e.Op {
	case token.LAND:
		for _, half := range []ast.Expr{e.X, e.Y} {
			n := m.mutant(half, m.text(e), strings.Replace(m.text(e), m.text(half), "true", 1))
			m.around(half, fmt.Sprintf("(mutant(%d) || (", n), "))")
		}
	case token.LOR:
		for _, half := range []ast.Expr{e.X, e.Y} {
			n := m.mutant(half, m.text(e), strings.Replace(m.text(e), m.text(half), "false", 1))
			m.around(half, fmt.Sprintf("(!mutant(%d) && (", n), "))")
		}
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		mutated := a + " " + opposite[e.Op] + " " + b
		n := m.mutant(e, m.text(e), mutated)
		m.around(e, fmt.Sprintf("(mutant(%d) && (%s) || !mutant(%d) && (", n, mutated, n), "))")
	case token.ADD, token.SUB:
		if t, ok := m.info.Types[e].Type.Underlying().(*types.Basic); !ok || t.Info()&types.IsNumeric == 0 {
			return
		}
		mutated := a + " - " + b
		if e.Op == token.SUB {
			mutated = a + " + " + b
		}
		n := m.mutant(e, m.text(e), mutated)
		// Without the type, a shift of an untyped constant would become an int.
		as := ""
		if basic, ok := m.info.Types[e].Type.(*types.Basic); ok {
			as = "[" + basic.Name() + "]"
		}
		m.around(e, fmt.Sprintf("mutantOr%s(%d, %s, ", as, n, mutated), ")")
	}
}
