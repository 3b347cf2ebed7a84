package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware/internal/mutate"
)

// How many faults of a guard does the command "keybound check" find, which sees nothing
// but what the server answers?
//
// Most mutants of the guard change nothing that any client could see, so that a draw
// among all of them would say nothing about the rows. A mutant counts if
//
//  1. it is in a room of the decision path (visible);
//  2. a served guard executes it while rows judge it. What the guards did before, to be
//     made, does not count. A block that no row reaches is a gap of the rows, or belongs
//     to a configuration that no served guard has; the draw names how many such mutants
//     there are, and with -v which ones. A condition that a fault makes false belongs to
//     the block that it skips then;
//  3. neither outside.txt nor survivors.txt names it, each with a reason;
//  4. a test notices it: a row, or else the product test or a test of the room. What none
//     of them notices is the same guard in other words.
//
// A mutant of which check says nothing, since the server does not start or does not
// answer, does not count, and another is drawn.

// visible are the rooms that decide what a client is answered, and the tests that are
// asked about a mutant that no row has found.
var visible = []target{
	{name: "root", dir: ".", tests: []string{product, ".", histories}},
	{name: "dpop", dir: "dpop", tests: []string{product, "./dpop", histories}},
	{name: "mtlspop", dir: "mtlspop", tests: []string{product, "./mtlspop", "."}},
	{name: "jose", dir: "internal/jose", tests: []string{"./internal/jose", product, "./oidc", "./dpop"}},
	{name: "strictjson", dir: "internal/strictjson", tests: []string{"./internal/strictjson", product, "./internal/jose", "./oidc"}},
	{name: "headers", dir: "internal/headers", tests: []string{"./internal/headers", product, "."}},
	{name: "jwks", dir: "jwks", tests: []string{"./jwks", product, "./oidc"}},
	{name: "oidc", dir: "oidc", tests: []string{product, "./oidc", "."}},
	{name: "dialect", dir: "internal/dialect", tests: []string{"./oidc", "./oidc/introspect", product}},
	{name: "introspect", dir: "oidc/introspect", tests: []string{"./oidc/introspect", product}},
}

// The suite, and the tests in it: one that ends with a line "verdict on the guard: ...",
// and one that makes the guards and does not judge them.
const (
	suite   = "cmd/keybound//internal/check"
	verdict = "TestVerdictOnOurGuard"
	making  = "TestServersAreMade"
	outside = "internal/mutate/outside.txt"
)

// perVerdict is longer than the suite takes, which ends by itself after ten minutes: what
// no row has found by then is not found.
const perVerdict = 15 * time.Minute

// drawn is a mutant that was drawn, and what came of it.
type drawn struct {
	room int // in visible
	mutate.Mutant
	found  string // by which row; "" for none
	none   string // why there is no verdict; "" if there is one
	silent bool   // no test notices it either
}

// counts reports whether the mutant is one of the sample.
func (d *drawn) counts() bool { return d.none == "" && !d.silent }

// draw is a run of -check.
type draw struct {
	work, overlay string
	suite         compiled
	verbose       bool

	mu    sync.Mutex
	tests map[string]compiled // of the rooms, made when one is first asked
}

// runCheck draws mutants until sample of them count, and lets the suite of the command
// keybound find them, with our own guards as the servers.
func runCheck(ctx context.Context, sample int, seed uint64, listed string, verbose bool) error {
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	d := &draw{work: work, verbose: verbose, tests: make(map[string]compiled)}
	all, err := d.candidates(ctx, listed)
	if err != nil {
		return err
	}
	if d.suite, err = d.build(ctx, suite+" "+verdict); err != nil {
		return err
	}
	if out := d.suite.verdict(ctx, 0); out != "passes" {
		return fmt.Errorf("without a mutant the guard does not pass: %q", out)
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	tried, err := d.judge(ctx, all, sample)
	if err != nil {
		return err
	}
	return report(all, tried, sample, seed)
}

// candidates are the mutants that fulfil conditions 1 to 3.
func (d *draw) candidates(ctx context.Context, listed string) ([]*drawn, error) {
	all, sum, err := d.insert(listed)
	if err != nil {
		return nil, err
	}
	executed, err := d.coverage(ctx)
	if err != nil {
		return nil, err
	}
	seen := len(all)
	all = slices.DeleteFunc(all, func(m *drawn) bool {
		reached := executed.reaches(m.Mutant)
		if d.verbose {
			what := map[bool]string{true: "can be drawn:", false: "no row reaches"}[reached]
			fmt.Printf("%s %s:%d %s\n", what, m.File, m.Line, m.Key())
		}
		return !reached
	})
	fmt.Printf("%d mutants: %d cannot be seen from outside (%s, %s), %d are where no row comes, %d can be drawn\n",
		sum, sum-seen, outside, filepath.Base(listed), seen-len(all), len(all))
	return all, nil
}

// insert puts the mutants of all rooms into copies of their files. It returns those that
// no list names, and how many there are in all.
func (d *draw) insert(listed string) (all []*drawn, sum int, err error) {
	survivors, err := readSurvivors(listed)
	if err != nil {
		return nil, 0, err
	}
	outsiders, err := readSurvivors(outside)
	if err != nil {
		return nil, 0, err
	}
	replace := make(map[string]string)
	used := make(map[string]bool)
	for i, t := range visible {
		mutants, files, err := t.insert(filepath.Join(d.work, t.name), sum+1)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", t.name, err)
		}
		maps.Copy(replace, files)
		sum += len(mutants)
		for _, m := range mutants {
			key := m.File + ": " + m.Key()
			pattern := matching(outsiders, key)
			used[pattern] = true
			if pattern == "" && survivors[key] == "" {
				all = append(all, &drawn{room: i, Mutant: m})
			}
		}
	}
	idle := slices.DeleteFunc(slices.Sorted(maps.Keys(outsiders)), func(pattern string) bool { return used[pattern] })
	if len(idle) > 0 {
		return nil, 0, fmt.Errorf("%s: these name no mutant:\n%s", outside, strings.Join(idle, "\n"))
	}
	d.overlay, err = writeOverlay(d.work, replace)
	return all, sum, err
}

// matching returns the pattern that names the key, "" for none. An asterisk stands for any
// text, and the end of a pattern for any end at a colon.
func matching(patterns map[string]string, key string) string {
next:
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		rest, parts := key, strings.Split(pattern, "*")
		for i, part := range parts {
			at := strings.Index(rest, part)
			if at < 0 || i == 0 && at > 0 {
				continue next
			}
			rest = rest[at+len(part):]
		}
		if rest == "" || strings.HasPrefix(rest, ":") || strings.HasSuffix(pattern, "*") {
			return pattern
		}
	}
	return ""
}

// build compiles tests with all mutants in.
func (d *draw) build(ctx context.Context, pkg string) (compiled, error) {
	tests, err := target{tests: []string{pkg}}.compileOnly(ctx, d.work, d.overlay)
	if err != nil {
		return compiled{}, err
	}
	return tests[0], nil
}

// verdict runs the suite against the guards with one mutant on.
func (c compiled) verdict(ctx context.Context, id int) string {
	ctx, cancel := context.WithTimeout(ctx, perVerdict)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, "-test.run=^"+verdict+"$", "-test.v", "-test.timeout="+perVerdict.String())
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(id), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if _, text, ok := strings.Cut(line, "verdict on the guard: "); ok {
			return strings.TrimSpace(text)
		}
	}
	return fmt.Sprintf("none, since the servers do not start: %v", err)
}

// judge tries mutants in their order until sample of them count. It returns how many were
// tried.
func (d *draw) judge(ctx context.Context, all []*drawn, sample int) (tried int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next, counted, failed := 0, 0, error(nil)
	done := make([]bool, len(all))
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				if i == len(all) || counted >= sample || failed != nil {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				err := d.try(ctx, all[i])
				mu.Lock()
				failed, done[i] = errors.Join(failed, err), true
				if all[i].counts() {
					counted++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return next, failed
}

func (d *draw) try(ctx context.Context, m *drawn) error {
	switch text := d.suite.verdict(ctx, m.ID); {
	case strings.HasPrefix(text, "found by "):
		m.found = strings.TrimPrefix(text, "found by ")
	case strings.HasPrefix(text, "none, since "):
		m.none = strings.TrimPrefix(text, "none, since ")
	default:
		noticed, err := d.noticedByTests(ctx, m)
		if err != nil {
			return err
		}
		m.silent = noticed == ""
		if d.verbose && noticed != "" {
			fmt.Printf("MISSED, noticed by %s: ", noticed)
		}
	}
	if d.verbose {
		fmt.Printf("%s:%d %s: found by %q, no verdict %q, silent %t\n", m.File, m.Line, m.Key(), m.found, m.none, m.silent)
	}
	return ctx.Err()
}

// noticedByTests asks the product test and the room's own about a mutant.
func (d *draw) noticedByTests(ctx context.Context, m *drawn) (string, error) {
	for _, pkg := range visible[m.room].tests {
		tests, err := d.testsOf(ctx, pkg)
		if err != nil {
			return "", err
		}
		if !tests.reached[m.ID] {
			continue
		}
		if _, r := tests.run(ctx, m.ID, ""); r == noticed || r == hung {
			return pkg, nil
		}
	}
	return "", nil
}

func (d *draw) testsOf(ctx context.Context, pkg string) (compiled, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.tests[pkg]; ok {
		return c, nil
	}
	c, err := d.build(ctx, pkg)
	if err != nil {
		return compiled{}, err
	}
	if err := c.measure(ctx, pkg); err != nil {
		return compiled{}, err
	}
	d.tests[pkg] = c
	return c, nil
}

// report prints the result of a draw: the first ones of those that were tried, until
// sample of them count.
func report(all []*drawn, tried, sample int, seed uint64) error {
	found, counted, silent, none := 0, 0, 0, 0
	var missed []string
	for _, m := range all[:tried] {
		switch {
		case counted == sample:
		case m.none != "":
			none++
		case m.silent:
			silent++
		default:
			counted++
			if m.found != "" {
				found++
			} else {
				missed = append(missed, fmt.Sprintf("%s:%d %s", m.File, m.Line, m.Key()))
			}
		}
	}
	fmt.Printf("keybound check finds %d of %d mutants, drawn with seed %d; %d more were drawn that no test notices, and %d without a verdict\n",
		found, counted, seed, silent, none)
	for _, m := range missed {
		fmt.Println("missed:", m)
	}
	return nil
}
