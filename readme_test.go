package middleware_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheProgramInTheREADMECompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(readme), "\n"), 200, "lines of README.md")
	_, program, ok := strings.Cut(string(readme), "```go\npackage main")
	require.True(t, ok, "README.md has a whole program")
	program, _, _ = strings.Cut(program, "```")
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte("package main"+program), 0o600))
	out, err := exec.Command("go", "vet", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestTheTablesOfTheREADMEAreTrue looks up what the tables name: each "rows X" has rows in
// docs/conformance.md, which other tests hold against the code; each file, folder and
// exported name is there; and no public package is missing.
func TestTheTablesOfTheREADMEAreTrue(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	conformance, err := os.ReadFile("docs/conformance.md")
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "| ") {
			lines = append(lines, line)
		}
	}
	table := strings.Join(lines, "")

	declared, rows, names := declarations(t), 0, 0
	for _, m := range regexp.MustCompile(`rows ([A-Z0-9.-]+(?:, [A-Z0-9.-]+)*)`).FindAllStringSubmatch(table, -1) {
		for prefix := range strings.SplitSeq(m[1], ", ") {
			rows++
			if !strings.Contains(string(conformance), "| "+prefix) {
				t.Errorf("rows %s: docs/conformance.md has none", prefix)
			}
		}
	}
	for _, m := range regexp.MustCompile("`([^` ]+)`").FindAllStringSubmatch(table, -1) {
		names++
		if !named(declared, m[1]) {
			t.Errorf("`%s` is neither a file, a package nor an exported name", m[1])
		}
	}
	require.Greater(t, rows, 20)
	require.Greater(t, names, 40)
	for _, folder := range public(t) {
		if folder != "." && !strings.HasSuffix(folder, "test") && !strings.Contains(table, "`"+folder+"`") {
			t.Errorf("the README's packages lack %s", folder)
		}
	}
}

// TestThePageOfSettingsNamesWhatThereIs looks up each name of docs/settings.md.
func TestThePageOfSettingsNamesWhatThereIs(t *testing.T) {
	page, err := os.ReadFile("docs/settings.md")
	require.NoError(t, err)
	declared, names := declarations(t), 0
	for _, m := range regexp.MustCompile("`([A-Za-z]+\\.[A-Za-z.]+)`").FindAllStringSubmatch(string(page), -1) {
		names++
		if m[1] != "http.Server.MaxHeaderBytes" && !declared[m[1]] {
			t.Errorf("`%s` is not declared", m[1])
		}
	}
	require.Greater(t, names, 50)
}

// declarations are the exported names of the public packages: "oidc.New", and of the root
// both "middleware.Guard" and "Guard"; methods and fields as "Guard.Check" and
// "oidc.Token.Subject".
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, folder := range public(t) {
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			require.NoError(t, err)
			add := func(names ...string) {
				symbol := strings.Join(names, ".")
				found[file.Name.Name+"."+symbol] = true
				if folder == "." {
					found[symbol] = true
				}
			}
			for _, declaration := range file.Decls {
				switch d := declaration.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil {
						add(d.Name.Name)
						continue
					}
					receiver := d.Recv.List[0].Type
					if pointer, ok := receiver.(*ast.StarExpr); ok {
						receiver = pointer.X
					}
					if named, ok := receiver.(*ast.Ident); ok {
						add(named.Name, d.Name.Name)
					}
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						switch spec := spec.(type) {
						case *ast.ValueSpec:
							for _, name := range spec.Names {
								add(name.Name)
							}
						case *ast.TypeSpec:
							add(spec.Name.Name)
							if fields, ok := spec.Type.(*ast.StructType); ok {
								for _, field := range fields.Fields.List {
									for _, name := range field.Names {
										add(spec.Name.Name, name.Name)
									}
								}
							}
						}
					}
				}
			}
		}
	}
	return found
}

// named reports whether name is a file, a package, or an exported name.
func named(declared map[string]bool, name string) bool {
	if _, err := os.Stat(name); err == nil {
		return true
	}
	return declared[name] || slices.Contains([]string{"middleware", "http.Handler", "http.RoundTripper", "httputil.ReverseProxy"}, name)
}
