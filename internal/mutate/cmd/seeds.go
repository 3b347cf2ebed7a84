package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// seed is a fault made by hand.
type seed struct{ name, file, from, to string }

// readSeeds reads blocks of name, file, lines with "- " and lines with "+ ".
func readSeeds(name string) ([]seed, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var seeds []seed
	for _, block := range strings.Split(string(source), "\n\n") {
		var s seed
		for _, line := range strings.Split(block, "\n") {
			switch {
			case strings.HasPrefix(line, "name: "):
				s.name = line[len("name: "):]
			case strings.HasPrefix(line, "file: "):
				s.file = line[len("file: "):]
			case strings.HasPrefix(line, "- "):
				s.from += line[2:] + "\n"
			case strings.HasPrefix(line, "+ "):
				s.to += line[2:] + "\n"
			}
		}
		if s.name != "" {
			seeds = append(seeds, s)
		}
	}
	return seeds, nil
}

// nested are the folders of the nested modules whose faults their own product tests must
// find.
var nested = []string{"grpcguard", "connectguard", "extauthz", "fiberguard", "ginguard"}

// finders are the tests that a seeded fault of a module meets.
var finders = []struct{ name, module, pkg, tests string }{
	{"product", ".", "./internal/producttest", "TestProduct"},
	{"invariants", ".", "./internal/producttest", "History|Rotate|Outlives|Dies|TooLong"},
	{"product of gRPC", "grpcguard", ".", "TestProduct"},
	{"product of ext_authz", "extauthz", ".", "TestProduct"},
	{"product of Fiber", "fiberguard", ".", "TestProduct"},
	{"product of gin", "ginguard", ".", "TestProduct"},
	{"product of Connect", "connectguard", ".", "TestProduct"},
}

// runSeeds prints the table of which tests find which fault, for those in files whose
// path matches.
func runSeeds(ctx context.Context, name, files string) error {
	named, err := regexp.Compile(files)
	if err != nil {
		return err
	}
	seeds, err := readSeeds(name)
	if err != nil {
		return err
	}
	seeds = slices.DeleteFunc(seeds, func(s seed) bool { return !named.MatchString(s.file) })
	work, err := os.MkdirTemp("", "seeds")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	fmt.Print("| fault | file | found by |\n|---|---|---|\n")
	missed := 0
	for _, s := range seeds {
		overlay, err := s.plant(work)
		if err != nil {
			return err
		}
		found, err := s.found(ctx, work, overlay)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			missed++
			found = []string{"**nothing**"}
		}
		fmt.Printf("| %s | `%s` | %s |\n", s.name, s.file, strings.Join(found, ", "))
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d seeded faults are not found", missed, len(seeds))
	}
	return nil
}

// found returns what finds the fault. The room's own tests are asked only if the others
// find nothing.
func (s seed) found(ctx context.Context, work, overlay string) (found []string, err error) {
	module, room := ".", "./"+filepath.Dir(s.file)
	if folder := filepath.Dir(s.file); slices.Contains(nested, folder) {
		module, room = folder, "."
	}
	built := ""
	build := func(pkg string) (string, error) {
		binary := filepath.Join(work, "planted.test")
		if built != pkg {
			test := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, pkg)
			test.Dir = module
			if out, err := test.CombinedOutput(); err != nil {
				return "", fmt.Errorf("%s: %s", s.name, out)
			}
			built = pkg
		}
		return binary, nil
	}
	finds := func(pkg string, args ...string) (bool, error) {
		binary, err := build(pkg)
		if err != nil {
			return false, err
		}
		test := exec.CommandContext(ctx, binary, append(args, "-test.failfast")...)
		test.Dir = filepath.Join(module, pkg)
		if !slices.Contains(args, "-test.short") {
			test.Env = append(os.Environ(), "INVARIANTS=60") // some faults need a rare history
		}
		return test.Run() != nil, nil
	}
	for _, f := range finders {
		if f.module != module {
			continue
		}
		ok, err := finds(f.pkg, "-test.run="+f.tests, "-test.short")
		if err == nil && !ok {
			ok, err = finds(f.pkg, "-test.run="+f.tests)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, f.name)
		}
	}
	if len(found) == 0 {
		ok, err := finds(room, "-test.short", "-test.skip="+elsewhere)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, "the room's own tests")
		}
	}
	return found, nil
}

// plant writes the file with the fault in, and the overlay that names it.
func (s seed) plant(work string) (overlay string, err error) {
	source, err := os.ReadFile(s.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), s.from); n != 1 {
		return "", fmt.Errorf("%s: %s has its lines %d times", s.name, s.file, n)
	}
	planted := filepath.Join(work, "planted.go")
	if err := os.WriteFile(planted, []byte(strings.Replace(string(source), s.from, s.to, 1)), 0o644); err != nil {
		return "", err
	}
	absolute, err := filepath.Abs(s.file)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{absolute: planted}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(work, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o644)
}
