// Command mutate runs the tests against mutants of the decision path and fails if one
// that is not listed survives.
//
//	go run ./internal/mutate/cmd                      every mutant
//	go run ./internal/mutate/cmd -changed main        those on lines that differ from main
//	go run ./internal/mutate/cmd -only dpop -limit 8m those of one target, for eight minutes at the most
//	go run ./internal/mutate/cmd -files '^check'      those of files with such a name
//	go run ./internal/mutate/cmd -quick               only by the tests of the room itself; -again asks the others about the rest
//	go run ./internal/mutate/cmd -again out.txt       those that survived the run with -v whose output is in the file
//	go run ./internal/mutate/cmd -unreached           instead, those whose place no test executes: one run for all of them
//	go run ./internal/mutate/cmd -seeds               instead, which tests find the faults of seeds.txt; -files chooses here too
//	go run ./internal/mutate/cmd -check 65            instead, how many of 65 mutants "keybound check" finds from outside
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/keybound-go/middleware/internal/mutate"
)

// target is a package, its files on the decision path, and the tests that ought to
// notice.
type target struct {
	name  string
	dir   string
	tests []string // packages, and tests in them, those that notice most for their time first
	not   []string // files that decide nothing
}

// A package, and after a space the tests in it.
const (
	product   = "./internal/producttest TestProduct"
	histories = "./internal/producttest History|Rotate"
	outlives  = "./internal/producttest Outlives|Dies|TooLong"
)

// targets is the decision path.
var targets = []target{
	{name: "root", dir: ".", tests: []string{product, ".", histories}, not: []string{"options.go", "metadata.go", "doc.go"}},
	{name: "dpop", dir: "dpop", tests: []string{product, "./dpop", histories}, not: []string{"options.go", "doc.go", "presets.go", "explain.go"}},
	{name: "mtlspop", dir: "mtlspop", tests: []string{"./mtlspop", product, "."}, not: []string{"options.go", "config.go", "doc.go"}},
	{name: "peers", dir: "internal/peers", tests: []string{"./internal/peers", "./mtlspop", "."}},
	{name: "oidc", dir: "oidc", tests: []string{"./oidc", product, outlives, "."}, not: []string{"options.go", "doc.go", "explain.go", "status.go"}},
	{name: "tenants", dir: "oidc/tenants", tests: []string{"./oidc/tenants", product, outlives, "."}, not: []string{"options.go", "doc.go", "status.go"}},
	{name: "signers", dir: "internal/issuer", tests: []string{"./oidc", "./oidc/tenants", product, outlives}, not: []string{"checks.go", "endpoint.go", "issuer.go", "metadata.go"}},
	{name: "dialect", dir: "internal/dialect", tests: []string{"./oidc", "./oidc/introspect", product, "."}},
	{name: "introspect", dir: "oidc/introspect", tests: []string{"./oidc/introspect", product, outlives, "."}, not: []string{"options.go", "doc.go", "explain.go", "ready.go"}},
	{name: "session", dir: "session", tests: []string{"./session", product, "."}, not: []string{"options.go", "doc.go"}},
	{name: "jwks", dir: "jwks", tests: []string{"./jwks", "./oidc", product, outlives, "."}, not: []string{"options.go", "doc.go"}},
	{name: "jose", dir: "internal/jose", tests: []string{"./internal/jose", "./dpop", "./jwks", "./oidc", product}, not: []string{"doc.go"}},
}

// shortest is the least time that the tests may take before a mutant counts as noticed:
// it hangs. Where they take longer without a mutant, it is five times that.
const shortest = 60 * time.Second

// elsewhere are tests that look at the source and not at what the compiled code does, or
// at how many allocations it makes.
const elsewhere = "Allocat|TypeOfAnEngine|Compiles?$|EveryRoom|ConformanceRows|LinksResolve|README|EveryExportedType|NoCitation|EveryTestThat|ConformanceDecisions|Weight|CostsOneToken|IsCheap|TakesNoMemory|CostsNothing|NotEvenHashed|KindsOfError|ProofErrors|Normalising|IsJudgedByItsTransport"

func main() {
	changed := flag.String("changed", "", "only mutants on lines that differ from this commit")
	only := flag.String("only", "", "only this target")
	limit := flag.Duration("limit", 0, "stop after this time; 0 for never")
	listed := flag.String("survivors", "internal/mutate/survivors.txt", "mutants that may survive, with the reason")
	files := flag.String("files", "", "only files whose name this regular expression matches")
	quick := flag.Bool("quick", false, "ask only the tests of the room itself")
	again := flag.String("again", "", "only the mutants that the output of -v in this file calls survivors")
	unreached := flag.Bool("unreached", false, "name the mutants whose place no test executes, and run none")
	sample := flag.Int("check", 0, "draw as many mutants at random, and see which ones the command keybound check finds")
	seed := flag.Uint64("seed", 1, "of the draw of -check")
	verbose := flag.Bool("v", false, "name each mutant")
	seeds := flag.Bool("seeds", false, "plant the faults of internal/mutate/seeds.txt")
	flag.Parse()
	if *seeds {
		if err := runSeeds(context.Background(), "internal/mutate/seeds.txt", *files); err != nil {
			fmt.Fprintln(os.Stderr, "mutate:", err)
			os.Exit(1)
		}
		return
	}
	if *sample > 0 {
		if err := runCheck(context.Background(), *sample, *seed, *listed, *verbose); err != nil {
			fmt.Fprintln(os.Stderr, "mutate:", err)
			os.Exit(1)
		}
		return
	}
	survivors, err := readAgain(*again)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	if err := run(survivors, *changed, *only, *files, *limit, *listed, *quick, *unreached, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// readAgain returns what survived an earlier run, or nil for no file.
func readAgain(name string) (map[string]bool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	survivors := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "SURVIVED"); ok {
			at, key, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(rest, ", not reached:")), " ")
			file, _, _ := strings.Cut(at, ":") // the line moves
			survivors[file+": "+key] = true
		}
	}
	return survivors, nil
}

func run(survivors map[string]bool, changed, only, files string, limit time.Duration, listed string, quick, unreached, verbose bool) error {
	reasons, err := readSurvivors(listed)
	if err != nil {
		return err
	}
	lines, err := changedLines(changed)
	if err != nil {
		return err
	}
	named, err := regexp.Compile(files)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var problems []error
	for _, t := range targets {
		if own := "./" + t.dir; quick && slices.Contains(t.tests, own) {
			t.tests = []string{own}
		}
		if only == "" || only == t.name {
			problems = append(problems, t.run(ctx, filepath.Join(work, t.name), named, survivors, lines, reasons, unreached, verbose))
		}
	}
	return errors.Join(problems...)
}

// readSurvivors reads lines of "key # reason".
func readSurvivors(name string) (map[string]string, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	reasons := make(map[string]string)
	for i, line := range strings.Split(string(source), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, " # ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: no reason", name, i+1)
		}
		reasons[strings.TrimSpace(key)] = reason
	}
	return reasons, nil
}

var hunk = regexp.MustCompile(`^@@ -\S+ \+(\d+)(?:,(\d+))? @@`)

// changedLines returns which lines of which files differ from a commit, or nil for all.
func changedLines(commit string) (map[string]map[int]bool, error) {
	if commit == "" {
		return nil, nil
	}
	out, err := exec.Command("git", "diff", "-U0", commit, "--", "*.go").Output()
	if err != nil {
		return nil, fmt.Errorf("git diff %s: %w", commit, err)
	}
	lines, file := make(map[string]map[int]bool), ""
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "+++ b/"); ok {
			file = name
			lines[file] = make(map[int]bool)
		} else if m := hunk.FindStringSubmatch(s.Text()); m != nil {
			from, _ := strconv.Atoi(m[1])
			count := 1
			if m[2] != "" {
				count, _ = strconv.Atoi(m[2])
			}
			for l := range count {
				lines[file][from+l] = true
			}
		}
	}
	return lines, nil
}

func (t target) run(ctx context.Context, work string, named *regexp.Regexp, survivors map[string]bool, lines map[string]map[int]bool, reasons map[string]string, unreached, verbose bool) error {
	mutants, overlay, err := t.mutants(work)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	mutants = slices.DeleteFunc(mutants, func(m mutate.Mutant) bool { return !named.MatchString(filepath.Base(m.File)) })
	if survivors != nil {
		mutants = slices.DeleteFunc(mutants, func(m mutate.Mutant) bool { return !survivors[m.File+": "+m.Key()] })
	}
	if lines != nil {
		mutants = slices.DeleteFunc(mutants, func(m mutate.Mutant) bool { return !lines[m.File][m.Line] })
	}
	if len(mutants) == 0 {
		fmt.Printf("%s: no mutants\n", t.name)
		return nil
	}
	tests, err := t.compile(ctx, work, overlay)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	if unreached {
		mutants = slices.DeleteFunc(mutants, func(m mutate.Mutant) bool {
			return slices.ContainsFunc(tests, func(c compiled) bool { return c.reached[m.ID] })
		})
		return t.report(slices.Repeat([]result{survived}, len(mutants)), mutants, reasons)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	results := t.test(ctx, tests, mutants, verbose)
	return t.report(results, mutants, reasons)
}

// mutants puts every mutant of the target into copies of its files below work.
func (t target) mutants(work string) ([]mutate.Mutant, string, error) {
	all, replace, err := t.insert(work, 1)
	if err != nil {
		return nil, "", err
	}
	overlay, err := writeOverlay(work, replace)
	return all, overlay, err
}

// insert is mutants without the file that names what is replaced; first is the number of
// the first mutant.
func (t target) insert(work string, first int) (all []mutate.Mutant, replace map[string]string, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, nil, err
	}
	fset := token.NewFileSet()
	files, info, err := t.load(fset)
	if err != nil {
		return nil, nil, err
	}
	replace = make(map[string]string)
	place := func(name string, source []byte) error {
		mutated := filepath.Join(work, filepath.Base(name))
		absolute, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		replace[absolute] = mutated
		return os.WriteFile(mutated, source, 0o644)
	}
	for _, f := range files {
		if slices.Contains(t.not, filepath.Base(f.Name)) {
			continue
		}
		mutants, source := mutate.Insert(fset, info, f, first+len(all))
		all = append(all, mutants...)
		if err := place(f.Name, source); err != nil {
			return nil, nil, err
		}
	}
	runtime := "package " + files[0].Syntax.Name.Name + "\n" + mutate.Runtime
	return all, replace, place(filepath.Join(t.dir, "mutant_runtime.go"), []byte(runtime))
}

func writeOverlay(work string, replace map[string]string) (string, error) {
	overlay := filepath.Join(work, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, text, 0o644)
}

// load parses and type-checks the target.
func (t target) load(fset *token.FileSet) ([]mutate.File, *types.Info, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export,DepOnly", "./"+t.dir).Output()
	if err != nil {
		return nil, nil, err
	}
	exports := make(map[string]string)
	var own struct {
		ImportPath, Dir, Export string
		GoFiles                 []string
		DepOnly                 bool
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := own
		p.DepOnly, p.GoFiles = false, nil
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			own = p
		}
	}
	var files []mutate.File
	var syntax []*ast.File
	for _, name := range own.GoFiles {
		name = filepath.Join(t.dir, name)
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		files, syntax = append(files, mutate.File{Name: name, Source: source, Syntax: file}), append(syntax, file)
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	_, err = config.Check(own.ImportPath, fset, syntax, info)
	return files, info, err
}

// A package may be one of a module below, as in "cmd/keybound//internal/check".
func moduleOf(pkg string) (dir, within string) {
	if dir, within, ok := strings.Cut(pkg, "//"); ok {
		return dir, "./" + within
	}
	return ".", pkg
}

// compiled is a test binary and where it runs.
type compiled struct {
	binary, dir, tests string
	limit              time.Duration
	reached            map[int]bool // the mutants whose place is executed
}

// compile builds the tests with the mutants in, and sees that they pass while all are
// off.
func (t target) compile(ctx context.Context, work, overlay string) ([]compiled, error) {
	tests, err := t.compileOnly(ctx, work, overlay)
	if err != nil {
		return nil, err
	}
	for i := range tests {
		if err := tests[i].measure(ctx, t.tests[i]); err != nil {
			return nil, err
		}
	}
	return tests, nil
}

func (t target) compileOnly(ctx context.Context, work, overlay string) ([]compiled, error) {
	var tests []compiled
	for i, pkg := range t.tests {
		pkg, names, _ := strings.Cut(pkg, " ")
		binary := filepath.Join(work, fmt.Sprintf("test%d-%s", i, strings.Map(letters, pkg)))
		module, within := moduleOf(pkg)
		build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, within)
		build.Dir = module
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go test -c %s: %w\n%s", pkg, err, out)
		}
		tests = append(tests, compiled{binary: binary, dir: filepath.Join(module, within), tests: names, limit: 10 * time.Minute})
	}
	return tests, nil
}

// letters replaces what does not belong into the name of a file.
func letters(r rune) rune {
	if unicode.IsLetter(r) {
		return r
	}
	return '-'
}

// measure runs the tests without a mutant: how long they take, and which mutants they
// reach.
func (c *compiled) measure(ctx context.Context, name string) (err error) {
	began := time.Now()
	if out, r := c.run(ctx, 0, c.binary+".reached"); r != survived {
		return fmt.Errorf("%s fails without a mutant:\n%s", name, out)
	}
	c.limit = max(shortest, 5*time.Since(began))
	c.reached, err = readNumbers(c.binary + ".reached")
	return err
}

// readNumbers reads what [mutate.Runtime] has written; no file is no number.
func readNumbers(name string) (map[int]bool, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	numbers := make(map[int]bool)
	for _, field := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		numbers[n] = true
	}
	return numbers, nil
}

// run runs the tests with one mutant on. With a trace, the numbers of the mutants that
// are reached are written to that file.
func (c compiled) run(ctx context.Context, id int, trace string) (string, result) {
	limited, cancel := context.WithTimeout(ctx, c.limit+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(limited, c.binary, "-test.short", "-test.run="+c.tests, "-test.skip="+elsewhere, "-test.failfast", "-test.timeout="+c.limit.String())
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(id), "MUTANT_TRACE="+trace, "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return string(out), notRun // the end of the time ended the test too
	case err == nil:
		return string(out), survived
	case limited.Err() != nil || bytes.Contains(out, []byte("panic: test timed out")):
		return string(out), hung
	}
	return string(out), noticed
}

type result uint8

const (
	notRun result = iota
	noticed
	hung // noticed, since the tests did not end
	survived
)

func (t target) test(ctx context.Context, tests []compiled, mutants []mutate.Mutant, verbose bool) []result {
	results := make([]result, len(mutants))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				results[i] = survived
				reached := false
				for _, c := range tests {
					if !c.reached[mutants[i].ID] {
						continue
					}
					reached = true
					if _, results[i] = c.run(ctx, mutants[i].ID, ""); results[i] != survived {
						break
					}
				}
				if verbose {
					what := [...]string{"?", "noticed", "hangs", "SURVIVED"}[results[i]]
					if !reached {
						what += ", not reached:"
					}
					fmt.Printf("%s %s:%d %s\n", what, mutants[i].File, mutants[i].Line, mutants[i].Key())
				}
			}
		})
	}
	for i := range mutants {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

func (t target) report(results []result, mutants []mutate.Mutant, reasons map[string]string) error {
	type row struct{ all, noticed, hung, listed, open, notRun int }
	rows := make(map[string]*row)
	var unlisted []string
	for i, r := range results {
		m := mutants[i]
		f := rows[m.File]
		if f == nil {
			f = new(row)
			rows[m.File] = f
		}
		f.all++
		switch {
		case r == notRun:
			f.notRun++
		case r == noticed:
			f.noticed++
		case r == hung:
			f.noticed++
			f.hung++
		case reasons[m.File+": "+m.Key()] != "":
			f.listed++
		default:
			f.open++
			unlisted = append(unlisted, fmt.Sprintf("%s:%d\n%s: %s", m.File, m.Line, m.File, m.Key()))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(rows)) {
		r := rows[file]
		fmt.Printf("%s: %d mutants, %d noticed (%d as the tests did not end), %d survive with a listed reason, %d without, %d not run for want of time\n",
			file, r.all, r.noticed, r.hung, r.listed, r.open, r.notRun)
	}
	if len(unlisted) > 0 {
		slices.Sort(unlisted)
		return fmt.Errorf("%s: no test notices:\n%s", t.name, strings.Join(unlisted, "\n"))
	}
	return nil
}
