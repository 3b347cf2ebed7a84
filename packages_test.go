package middleware_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// public returns the folders of the packages that users import, those of the modules
// beside the root included.
func public(t *testing.T) []string {
	t.Helper()
	found := make(map[string]bool)
	for name, text := range files(t, ".go") {
		folder := path.Dir(name)
		elements := strings.Split(folder, "/")
		if strings.HasSuffix(name, "_test.go") || slices.Contains(elements, "internal") || slices.Contains(elements, "testdata") ||
			slices.Contains([]string{"cmd", "gateway", "examples", "interop", "bench", "difftest"}, elements[0]) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		require.NoError(t, err)
		if file.Name.Name != "main" && ast.FileExports(file) {
			found[folder] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// TestEveryPublicPackageHasExamplesThatRun counts the examples with an output that the go
// command compares: what pkg.go.dev shows, and what "go test" keeps true.
func TestEveryPublicPackageHasExamplesThatRun(t *testing.T) {
	packages := public(t)
	require.Greater(t, len(packages), 25)
	for _, folder := range packages {
		var tests []*ast.File
		names, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		require.NoError(t, err)
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			require.NoError(t, err)
			tests = append(tests, file)
		}
		var run []string
		for _, example := range doc.Examples(tests...) {
			if example.Output != "" || example.EmptyOutput {
				run = append(run, example.Name)
			}
		}
		want := 3
		if folder == "." {
			want = 10
		}
		if len(run) < want {
			t.Errorf("%s: %d examples with an output, of %d: %v", folder, len(run), want, run)
		}
	}
}

// TestEveryPublicPackageSaysWhatItIsFor reads what pkg.go.dev shows first: one comment of
// the package, which begins "Package NAME answers", names the question, and has a program
// or its lines to start from.
func TestEveryPublicPackageSaysWhatItIsFor(t *testing.T) {
	for _, folder := range public(t) {
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		var comments []string
		for _, entry := range entries {
			name := filepath.Join(folder, entry.Name())
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
			require.NoError(t, err)
			if file.Doc != nil {
				comments = append(comments, file.Doc.Text())
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s: %d comments of the package", folder, len(comments))
			continue
		}
		first, _, _ := strings.Cut(comments[0], "\n\n")
		if !strings.HasPrefix(first, "Package ") || !strings.Contains(strings.ReplaceAll(first, "\n", " "), "?") {
			t.Errorf("%s: the comment begins %q, and names no question", folder, first)
		}
		if !strings.Contains(comments[0], "\n\t") {
			t.Errorf("%s: the comment has no lines of code", folder)
		}
	}
}
