package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/keybound-go/middleware/internal/mutate"
)

const module = "github.com/keybound-go/middleware/"

// block is a block of code and how often it was executed, as coverage profiles have it.
type block struct {
	from, to mutate.Place
	times    int
}

// profile are the blocks of files.
type profile map[string][]block

// coverage finds out which blocks the served guards execute while rows judge them: those
// that run more often than where the guards are made alone.
func (d *draw) coverage(ctx context.Context) (profile, error) {
	dir, within := moduleOf(suite)
	binary := filepath.Join(d.work, "covered")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-covermode=atomic", "-coverpkg="+module+"...", "-o", binary, within)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go test -c -cover: %w\n%s", err, out)
	}
	var runs [2]profile
	for i, test := range [...]string{verdict, making} {
		out := filepath.Join(d.work, "profile-"+test)
		run := exec.CommandContext(ctx, binary, "-test.run=^"+test+"$", "-test.coverprofile="+out)
		run.Dir = filepath.Join(dir, within)
		if text, err := run.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", test, err, text)
		}
		var err error
		if runs[i], err = readProfile(out); err != nil {
			return nil, err
		}
	}
	for file, blocks := range runs[0] {
		for i := range blocks {
			blocks[i].times -= runs[1].times(file, blocks[i])
		}
	}
	return runs[0], nil
}

func readProfile(name string) (profile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := make(profile)
	for s := bufio.NewScanner(file); s.Scan(); {
		path, rest, ok := strings.Cut(strings.TrimPrefix(s.Text(), module), ":")
		if !ok || path == "mode" {
			continue
		}
		var b block
		var statements int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from.Line, &b.from.Column, &b.to.Line, &b.to.Column, &statements, &b.times); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, s.Text(), err)
		}
		p[path] = append(p[path], b)
	}
	return p, nil
}

func (p profile) times(file string, as block) (n int) {
	for _, b := range p[file] {
		if b.from == as.from && b.to == as.to {
			n += b.times
		}
	}
	return n
}

// reaches reports whether the code of a mutant was executed, and what it can only skip.
func (p profile) reaches(m mutate.Mutant) bool {
	return p.executed(m.File, m.At) && (m.Skips == mutate.Place{} || p.executed(m.File, m.Skips))
}

// executed looks for the innermost block around a place. A place in no block, such as the
// head of a function, is executed if the function's first block is.
func (p profile) executed(file string, at mutate.Place) bool {
	var inner, after *block
	for i, b := range p[file] {
		switch {
		case !before(at, b.from) && before(at, b.to) && (inner == nil || before(inner.from, b.from)):
			inner = &p[file][i]
		case !before(b.from, at) && (after == nil || before(b.from, after.from)):
			after = &p[file][i]
		}
	}
	if inner == nil {
		inner = after
	}
	return inner != nil && inner.times > 0
}

func before(a, b mutate.Place) bool {
	return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
}
