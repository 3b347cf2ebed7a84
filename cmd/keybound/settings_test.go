package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A hint that leads nowhere is worse than none: each setting of the library that the
// command names in its texts exists under that name.
func TestEverySettingThatIsNamedExists(t *testing.T) {
	rooms := map[string]string{
		"middleware": "../..", "dpop": "../../dpop", "mtlspop": "../../mtlspop", "oidc": "../../oidc",
		"introspect": "../../oidc/introspect", "tenants": "../../oidc/tenants", "middlewaretest": "../../middlewaretest", "redisstore": "../../redisstore",
	}
	declared := make(map[string]map[string]bool)
	for room, dir := range rooms {
		declared[room] = exported(t, dir)
		require.NotEmpty(t, declared[room], room)
	}
	named := regexp.MustCompile(`\b(middleware|dpop|mtlspop|oidc|introspect|tenants|middlewaretest|redisstore)\.([A-Z]\w+)`)
	seen := 0
	for _, pattern := range []string{"*.go", "internal/*/*.go", "../../docs/keybound.md", "../../docs/check.md"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, m := range named.FindAllStringSubmatch(string(text), -1) {
				seen++
				if !declared[m[1]][m[2]] {
					t.Errorf("%s names %s, which does not exist", name, m[0])
				}
			}
		}
	}
	require.Greater(t, seen, 50)
}

// exported returns the exported names at the top of a package, and its methods.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						names[spec.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}
