// Command corpus keeps the corpora of the fuzz targets in the tree: it takes what the
// engine has found (in the cache of go build) and what is there already, and leaves in
// testdata/fuzz as few and as small inputs as cover the same blocks, and some of the
// smallest others.
//
//	go -C difftest run ./corpus            every target of the root and of difftest
//	go -C difftest run ./corpus FuzzURI    the named ones
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	most     = 40       // entries of a target
	filler   = 16       // up to so many are kept for other reasons than new blocks
	maxEntry = 8 << 10  // bytes of an entry
	maxTotal = 96 << 10 // bytes of a target
	tried    = 150      // entries of the cache that are looked at, the smallest
)

func main() {
	log.SetFlags(0)
	root, err := filepath.Abs("..")
	check(err)
	cache := strings.TrimSpace(output("", "go", "env", "GOCACHE"))
	for _, module := range []string{".", "difftest"} {
		dir := filepath.Join(root, module)
		for line := range strings.Lines(output(dir, "go", "list", "-f", "{{.ImportPath}} {{.Dir}}", "./...")) {
			path, pkg, _ := strings.Cut(strings.TrimSpace(line), " ")
			targets := targetsIn(pkg)
			if len(os.Args) > 1 {
				targets = slices.DeleteFunc(targets, func(name string) bool { return !slices.Contains(os.Args[1:], name) })
			}
			if len(targets) > 0 {
				keep(dir, path, pkg, filepath.Join(cache, "fuzz", filepath.FromSlash(path)), targets)
			}
		}
	}
}

// targetsIn returns the fuzz targets of a package.
func targetsIn(pkg string) (names []string) {
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "func Fuzz"); ok {
				name, _, _ = strings.Cut(name, "(")
				names = append(names, "Fuzz"+name)
			}
		}
	}
	return names
}

type entry struct {
	name   string
	text   []byte
	blocks []string // that it covers
}

func keep(module, path, pkg, cache string, targets []string) {
	work, err := os.MkdirTemp("", "corpus")
	check(err)
	defer os.RemoveAll(work)
	binary := filepath.Join(work, "test")
	output(module, "go", "test", "-c", "-cover", "-coverpkg=github.com/keybound-go/middleware/...", "-o", binary, path)
	for _, target := range targets {
		tree := filepath.Join(pkg, "testdata", "fuzz", target)
		check(os.MkdirAll(tree, 0o755))
		entries := read(tree)
		found := read(filepath.Join(cache, target))
		for _, e := range found[:min(tried, len(found))] {
			if !slices.ContainsFunc(entries, func(o entry) bool { return bytes.Equal(o.text, e.text) }) {
				entries = append(entries, e)
			}
		}
		for i := range entries {
			check(os.WriteFile(filepath.Join(tree, entries[i].name), entries[i].text, 0o644))
		}
		entries = withoutStale(binary, pkg, target, tree, entries)
		for i := range entries {
			entries[i].blocks = covered(binary, pkg, target, entries[i].name, filepath.Join(work, "cover"))
		}
		kept := choose(entries)
		for _, e := range entries {
			if !slices.Contains(kept, e.name) {
				check(os.Remove(filepath.Join(tree, e.name)))
			}
		}
		fmt.Printf("%s %s: %d of %d\n", path, target, len(kept), len(entries))
	}
}

// withoutStale drops the entries from a time when the target had other arguments.
func withoutStale(binary, pkg, target, tree string, entries []entry) []entry {
	cmd := exec.Command(binary, "-test.run", "^"+target+"$/^none$")
	cmd.Dir = pkg
	out, _ := cmd.CombinedOutput()
	return slices.DeleteFunc(entries, func(e entry) bool {
		stale := strings.Contains(string(out), target+"/"+e.name+`": mismatched types`)
		if stale {
			check(os.Remove(filepath.Join(tree, e.name)))
		}
		return stale
	})
}

// read returns the entries of a corpus, the smallest first.
func read(dir string) (entries []entry) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		check(err)
		if len(text) <= maxEntry {
			entries = append(entries, entry{name: f.Name(), text: text})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(len(a.text)-len(b.text), cmp.Compare(a.name, b.name)) })
	return entries
}

// covered runs one entry alone. One that fails ends everything: it has found something.
func covered(binary, pkg, target, name, profile string) (blocks []string) {
	cmd := exec.Command(binary, "-test.run", "^"+target+"$/^"+name+"$", "-test.coverprofile", profile)
	cmd.Dir = pkg
	if out, err := cmd.CombinedOutput(); err != nil {
		log.Fatalf("%s/%s fails: %v\n%s", target, name, err, out)
	}
	text, err := os.ReadFile(profile)
	check(err)
	for line := range strings.Lines(string(text)) {
		if block, ok := strings.CutSuffix(strings.TrimSpace(line), " 1"); ok {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// choose returns the names of those to keep.
func choose(entries []entry) (kept []string) {
	slices.SortStableFunc(entries, func(a, b entry) int { return len(a.text) - len(b.text) })
	seen := make(map[string]bool)
	total := 0
	take := func(e entry) {
		if len(kept) < most && total+len(e.text) <= maxTotal {
			kept, total = append(kept, e.name), total+len(e.text)
		}
	}
	for {
		best, gain := -1, 0
		for i, e := range entries {
			n := 0
			for _, b := range e.blocks {
				if !seen[b] {
					n++
				}
			}
			if n > gain {
				best, gain = i, n
			}
		}
		if best < 0 {
			break
		}
		for _, b := range entries[best].blocks {
			seen[b] = true
		}
		take(entries[best])
	}
	for _, e := range entries {
		if len(kept) >= filler {
			break
		}
		if !slices.Contains(kept, e.name) {
			take(e)
		}
	}
	return kept
}

func output(dir, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	check(err)
	return string(out)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
