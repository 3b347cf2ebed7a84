package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// dependency is a module that some published module links.
type dependency struct {
	path, version, dir string
	by                 []string // the published modules whose packages for services link it
	byFakes            []string // those of which only packages for tests do
}

// dependencies lists what the packages of every published module link, without their
// tests.
func dependencies(tree string) ([]dependency, error) {
	found := make(map[string]*dependency)
	for _, folder := range published {
		module := path.Join(root, folder)
		list := exec.Command("go", "list", "-f", "{{.ImportPath}}", "./...")
		list.Dir = filepath.Join(tree, folder)
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: go list: %w", folder, err)
		}
		packages := strings.Fields(string(out))
		for _, fakes := range []bool{false, true} {
			var names []string
			for _, p := range packages {
				if isFake(p) == fakes {
					names = append(names, p)
				}
			}
			if len(names) == 0 {
				continue
			}
			args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}} {{.Dir}}{{end}}"}, names...)
			list := exec.Command("go", args...)
			list.Dir = filepath.Join(tree, folder)
			out, err := list.Output()
			if err != nil {
				return nil, fmt.Errorf("%s: go list -deps: %w", folder, err)
			}
			for line := range strings.Lines(string(out)) {
				words := strings.Fields(line)
				if len(words) != 3 || strings.HasPrefix(words[0], root) {
					continue // the standard library, and this repository's modules
				}
				d := found[words[0]]
				if d == nil {
					d = &dependency{path: words[0], version: words[1], dir: words[2]}
					found[words[0]] = d
				}
				if slices.Contains(d.by, module) || slices.Contains(d.byFakes, module) {
					continue
				}
				if fakes {
					d.byFakes = append(d.byFakes, module)
				} else {
					d.by = append(d.by, module)
				}
			}
		}
	}
	all := make([]dependency, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, *found[name])
	}
	return all, nil
}

// isFake tells packages that tests import from those that services import.
func isFake(importPath string) bool {
	return slices.ContainsFunc(strings.Split(strings.TrimPrefix(importPath, root), "/"), func(element string) bool {
		return strings.HasSuffix(element, "test") || element == "corpus" || element == "examples" || element == "mutate" || element == "oracle"
	})
}

// licences are the texts that tell the licences apart that we accept. A file may hold
// several.
var licences = []struct {
	id   string
	has  []string
	lack []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}, nil},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "to endorse or promote products"}, nil},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}, []string{"to endorse or promote products"}},
	{"ISC", []string{"Permission to use, copy, modify, and distribute this software for any purpose", "above copyright notice and this permission notice appear in all copies"}, nil},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software for any purpose", "above copyright notice and this permission notice appear in all copies"}, nil},
	{"MIT", []string{"Permission is hereby granted, free of charge", "The above copyright notice and this permission notice shall be included"}, nil},
	{"MIT-0", []string{"Permission is hereby granted, free of charge"}, []string{"permission notice shall be included"}},
	{"MPL-2.0", []string{"Mozilla Public License", "2.0"}, nil},
}

// licence finds the licence of a module in its own text.
func (d dependency) licence() (string, error) {
	files, err := os.ReadDir(d.dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, file := range files {
		name := strings.ToUpper(file.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(d.dir, file.Name()))
		if err != nil {
			return "", err
		}
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, l := range licences {
			if contains(flat, l.has, true) && contains(flat, l.lack, false) {
				found = append(found, l.id)
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s %s: no licence that we know in %d files", d.path, d.version, len(files))
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " and "), nil
}

func contains(text string, phrases []string, want bool) bool {
	return !slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) != want })
}

const (
	tableBegins = "<!-- the table is written by: go -C .ci/release test -run Licences -update . -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// licenceTable is the table of docs/dependencies.md.
func licenceTable(all []dependency) (string, error) {
	var b strings.Builder
	b.WriteString("\n| module | version | licence | linked by |\n|---|---|---|---|\n")
	for _, d := range all {
		id, err := d.licence()
		if err != nil {
			return "", err
		}
		var by []string
		for _, module := range d.by {
			by = append(by, "`"+cmp.Or(strings.TrimPrefix(strings.TrimPrefix(module, root), "/"), "root")+"`")
		}
		for _, module := range d.byFakes {
			by = append(by, "`"+cmp.Or(strings.TrimPrefix(strings.TrimPrefix(module, root), "/"), "root")+"` (packages for tests)")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.path, d.version, id, strings.Join(by, ", "))
	}
	b.WriteString("\n")
	return b.String(), nil
}

// between replaces what stands between the two marks of a page.
func between(page []byte, table string) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(tableBegins))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ok2 {
		return nil, fmt.Errorf("the page lacks the marks of its table")
	}
	return slices.Concat(before, []byte(tableBegins), []byte(table), []byte(tableEnds), after), nil
}
