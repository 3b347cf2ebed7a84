package middleware_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// pages returns the text of every page of the tree, nested modules included.
func pages(t *testing.T) map[string]string { return files(t, ".md") }

// files returns the text of every file of the tree whose name ends in suffix, by
// slash-separated path. What tools put beside the sources is left out.
func files(t *testing.T, suffix string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != "." && (name == "node_modules" || name == "target" || strings.HasPrefix(name, ".") && name != ".github") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[filepath.ToSlash(path)] = string(text)
		return err
	}))
	return texts
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	fence   = regexp.MustCompile("(?ms)^( *)```([a-z]*)[^\n]*\n(.*?)^ *```")
)

// TestEveryLinkOfThePagesResolves follows the links within the tree: the file is
// there, and so is the heading that a fragment names. Links to other sites are
// not followed.
func TestEveryLinkOfThePagesResolves(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %s does not exist", page, m[1])
					continue
				}
			}
			if destination, isPage := all[file]; fragment != "" && isPage && !slices.Contains(fragments(destination), fragment) {
				t.Errorf("%s: %s has no heading %q", page, file, fragment)
			}
		}
	}
}

// fragments returns what a link may name within a page: its headings, as the
// usual renderers spell them, and its anchors.
func fragments(page string) (names []string) {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		var slug strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				slug.WriteByte('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				slug.WriteRune(r)
			}
		}
		names = append(names, slug.String())
	}
	for _, m := range anchor.FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestEveryGoSnippetOfThePagesCompiles: a snippet is a whole program, which is
// compiled here, or an excerpt of a Go file of the tree, which the tests of that
// file's module compile.
// Snippets in other languages are excerpts of programs that a test of interop runs.
func TestEveryGoSnippetOfThePagesCompiles(t *testing.T) {
	programs := map[string][]string{}
	for language, suffixes := range map[string][]string{"javascript": {".mjs", ".js"}, "python": {".py"}, "java": {".java"}, "bash": {".sh"}} {
		for _, suffix := range suffixes {
			for _, text := range files(t, suffix) {
				programs[language] = append(programs[language], unindented(text))
			}
		}
	}

	var sources []string
	for _, text := range files(t, ".go") {
		sources = append(sources, unindented(text))
	}
	for page, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			sources := sources
			if m[2] != "go" {
				if sources = programs[m[2]]; sources == nil {
					continue
				}
			}
			snippet := m[3]
			if strings.HasPrefix(strings.TrimSpace(snippet), "package ") {
				compile(t, page, snippet)
				continue
			}
			// Lines that are only an ellipsis separate excerpts of one file.
			for _, excerpt := range regexp.MustCompile(`(?m)^\s*(// )?\.\.\.\s*$`).Split(snippet, -1) {
				excerpt = strings.TrimSpace(unindented(excerpt))
				if !slices.ContainsFunc(sources, func(s string) bool { return strings.Contains(s, excerpt) }) {
					t.Errorf("%s: this snippet is in no file of the tree, so nothing compiles or runs it:\n%s", page, excerpt)
				}
			}
		}
	}
}

// TestReasonsOfThePagesExist: a reason that a page for operators or clients names is one
// of docs/errors.md.
func TestReasonsOfThePagesExist(t *testing.T) {
	known := pages(t)["docs/errors.md"]
	require.NotEmpty(t, known)
	outcome, err := os.ReadFile("outcome.go")
	require.NoError(t, err)
	keys := string(outcome)
	named := regexp.MustCompile("`((?:dpop|token|certificate|unavailable|rule)_[a-z0-9_]+)`")
	found := 0
	for _, page := range []string{"docs/clients.md", "docs/operations.md", "docs/proxies.md", "docs/rollout.md", "docs/troubleshooting.md"} {
		for _, m := range named.FindAllStringSubmatch(pages(t)[page], -1) {
			if strings.HasSuffix(m[1], "_endpoint") && !strings.HasPrefix(m[1], "unavailable") || m[1] == "token_type" || m[1] == "rule_files" {
				continue // of the metadata, of an answer, or of Prometheus
			}
			found++
			if !strings.Contains(known, "| `"+m[1]+"` |") && !strings.Contains(keys, `"`+m[1]+`"`) {
				t.Errorf("%s names %s, which is no reason and no key of a log line", page, m[1])
			}
		}
	}
	require.Greater(t, found, 40)
}

// unindented drops what indents the lines of a text, and the blank ones.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// compile compiles a program of a page in a module that has what it imports:
// the root module, or one of the nested ones that the page is about.
func compile(t *testing.T, page, program string) {
	t.Helper()
	name := "main.go"
	if strings.Contains(program, "testing.T") {
		name = "main_test.go"
	}
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	var failures bytes.Buffer
	for _, module := range modulesFor(program) {
		cmd := exec.Command("go", "vet", file)
		cmd.Dir = module
		out, err := cmd.CombinedOutput()
		if err == nil {
			return
		}
		failures.Write(out)
	}
	t.Errorf("%s: a program does not compile:\n%s", page, &failures)
}

// modulesFor returns the modules whose go.mod names everything that the program
// imports from modules other than this one.
func modulesFor(program string) (dirs []string) {
	imports := regexp.MustCompile(`"([a-z0-9.-]+\.[a-z]+/[^"]+)"`).FindAllStringSubmatch(program, -1)
	files, _ := filepath.Glob("go.mod")
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		more, _ := filepath.Glob(pattern)
		files = append(files, more...)
	}
	for _, file := range files {
		mod, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fits := !slices.ContainsFunc(imports, func(m []string) bool {
			path := m[1]
			for { // the module is some prefix of the package's path
				if bytes.Contains(mod, []byte(path+" ")) || bytes.Contains(mod, []byte("module "+path+"\n")) {
					return false
				}
				i := strings.LastIndexByte(path, '/')
				if i < 0 {
					return true
				}
				path = path[:i]
			}
		})
		if fits {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

// TestEveryTestThatAPageNamesExists holds the promises of SECURITY.md and of
// docs/assurance.md: what they name as the test that holds a promise is there.
func TestEveryTestThatAPageNamesExists(t *testing.T) {
	var all strings.Builder
	for _, text := range files(t, "_test.go") {
		all.WriteString(text)
	}
	tests := all.String()
	for _, page := range []string{"SECURITY.md", "docs/assurance.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)`").FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, named, page)
		for _, m := range named {
			if !strings.Contains(tests, "func "+m[1]+"(") {
				t.Errorf("%s: there is no test %s", page, m[1])
			}
		}
	}
}
