package middleware_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/keybound-go/middleware"

// rooms is the import table of the house: for each package of this module, what
// it may import from this module, and which modules of others. The standard
// library is not listed. A new edge, or a new room, is a decision to take here.
var rooms = map[string]struct{ own, others []string }{
	"":                   {own: []string{"internal/calls", "internal/origins", "internal/remote", "internal/outage", "dpop", "mtlspop", "oidc", "oidc/exchange", "oidc/tenants", "session", "internal/headers", "internal/options", "internal/peers", "internal/caller"}},
	"internal/headers":   {},
	"internal/options":   {},
	"internal/outage":    {},
	"internal/replayset": {},
	"internal/seal":      {},
	"internal/caller":    {},
	"internal/calls":     {},
	// For the modules grpcguard and connectguard.
	"internal/rpcstatus": {own: []string{""}},
	// For the modules otelguard and promguard.
	"internal/tally":           {own: []string{""}},
	"internal/tally/tallytest": {own: []string{"", "dpop", "internal/josetest", "oidc", "oidc/oidctest"}},
	"internal/corpus":          {own: []string{"", "dpop", "mtlspop", "mtlspop/mtlspoptest", "oidc", "oidc/oidctest", "internal/josetest"}},
	"internal/identity":        {own: []string{"", "internal/josesign"}},
	"internal/doors":           {own: []string{"", "internal/corpus", "mtlspop", "mtlspop/mtlspoptest"}},
	"internal/peers":           {},
	"internal/strictjson":      {},
	"internal/josesign":        {own: []string{"internal/options"}},
	"internal/jose":            {own: []string{"internal/strictjson"}, others: []string{"github.com/lestrrat-go/jwx/v2"}},
	"internal/josetest":        {},
	"internal/origins":         {},
	"internal/remote":          {own: []string{"internal/calls", "internal/origins"}, others: []string{"github.com/lestrrat-go/httprc"}},
	"jwks":                     {own: []string{"internal/calls", "internal/jose", "internal/options", "internal/remote"}},
	"internal/issuer":          {own: []string{"internal/calls", "internal/dialect", "internal/outage", "jwks", "internal/jose", "internal/options", "internal/remote", "internal/strictjson"}},
	"internal/dialect":         {own: []string{"internal/jose", "internal/strictjson"}},
	"internal/recall":          {},
	"internal/issuertest":      {own: []string{"internal/josetest", "oidc", "oidc/clientauth", "oidc/introspect"}, others: []string{"github.com/stretchr/testify"}},
	"oidc":                     {own: []string{"internal/outage", "jwks", "internal/caller", "internal/dialect", "internal/issuer", "internal/jose", "internal/options", "internal/origins", "internal/recall", "internal/remote", "internal/strictjson"}},
	"oidc/tenants":             {own: []string{"internal/calls", "internal/outage", "oidc", "internal/caller", "internal/issuer", "internal/jose", "internal/options", "internal/origins", "internal/recall"}},
	"oidc/introspect":          {own: []string{"internal/calls", "internal/dialect", "oidc", "oidc/clientauth", "internal/caller", "internal/headers", "internal/issuer", "internal/jose", "internal/options", "internal/recall", "internal/strictjson"}},
	"oidc/clientauth":          {own: []string{"internal/headers", "internal/josesign", "internal/options"}},
	"oidc/exchange":            {own: []string{"internal/calls", "oidc", "oidc/clientauth", "internal/headers", "internal/issuer", "internal/jose", "internal/options", "internal/recall", "internal/strictjson"}},
	"dpop":                     {own: []string{"internal/calls", "internal/outage", "internal/jose", "internal/strictjson", "internal/headers", "internal/options", "internal/origins", "internal/replayset"}},
	"session":                  {own: []string{"internal/options", "internal/seal"}},
	"mtlspop":                  {own: []string{"internal/outage", "internal/headers", "internal/options", "internal/peers"}},
	"mtlspop/revocation":       {own: []string{"internal/calls", "mtlspop", "internal/options"}, others: []string{"golang.org/x/crypto"}},
	"dpop/dpopclient":          {own: []string{"internal/headers", "internal/josesign", "internal/options", "internal/origins"}},
	"dpop/dpoptest":            {own: []string{"dpop", "internal/josetest"}},
	"mtlspop/mtlspoptest":      {},
	"forwardauth":              {own: []string{"", "oidc", "internal/headers", "internal/identity", "internal/jose", "internal/options", "internal/peers", "internal/strictjson"}},
	"oidc/oidctest":            {own: []string{"oidc", "internal/josetest"}},
	"reverseproxy":             {own: []string{"internal/options"}},
	"openapi":                  {own: []string{""}},
	"middlewaretest":           {own: []string{"", "dpop", "oidc", "oidc/exchange", "oidc/oidctest", "mtlspop", "dpop/dpoptest", "internal/josetest"}},
	"examples/quickstart":      {own: []string{"", "dpop", "mtlspop", "oidc", "dpop/dpoptest", "mtlspop/mtlspoptest", "oidc/oidctest"}},

	// The decision written a second time, for tests only: nothing of the guard.
	"internal/oracle":      {},
	"internal/producttest": {own: []string{"", "dpop", "internal/josetest", "internal/oracle", "mtlspop", "mtlspop/mtlspoptest", "oidc", "oidc/clientauth", "oidc/introspect", "oidc/oidctest", "oidc/tenants", "session"}},
	"internal/mutate":      {},
	"internal/mutate/cmd":  {own: []string{"internal/mutate"}},
}

type listedPackage struct {
	ImportPath string
	Imports    []string
	Export     string
	Standard   bool
}

// list runs go list over the packages of this module.
func list(t *testing.T, args ...string) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Export,Standard"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var packages []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
}

func room(importPath string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(importPath, module)
	return strings.TrimPrefix(rest, "/"), ok
}

func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestEveryRoomImportsOnlyWhatTheTableAllows(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range list(t, "./...") {
		name, _ := room(p.ImportPath)
		seen[name] = true
		allowed, listed := rooms[name]
		if !listed {
			t.Errorf("room %q is not in the table", name)
			continue
		}
		for _, imported := range p.Imports {
			if own, ok := room(imported); ok {
				if !slices.Contains(allowed.own, own) {
					t.Errorf("%q must not import %q", name, own)
				}
			} else if !isStandard(imported) && !slices.ContainsFunc(allowed.others, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }) {
				t.Errorf("%q must not import %q", name, imported)
			}
		}
	}
	for name := range maps.Keys(rooms) {
		if !seen[name] {
			t.Errorf("room %q is in the table and not in the tree", name)
		}
	}
}

// publicPackages are those that users import, of this module.
func publicPackages(t *testing.T) []*types.Package {
	t.Helper()
	exports := make(map[string]string)
	var own []string
	for _, p := range list(t, "-export", "-deps", "./...") {
		exports[p.ImportPath] = p.Export
		if _, ok := room(p.ImportPath); ok && !strings.Contains(p.ImportPath, "/internal/") && !strings.Contains(p.ImportPath, "/examples/") {
			own = append(own, p.ImportPath)
		}
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var packages []*types.Package
	for _, path := range own {
		pkg, err := imp.Import(path)
		require.NoError(t, err)
		packages = append(packages, pkg)
	}
	return packages
}

func TestNoExportedNameHasATypeOfAnEngine(t *testing.T) {
	for _, pkg := range publicPackages(t) {
		for _, name := range pkg.Scope().Names() {
			if obj := pkg.Scope().Lookup(name); obj.Exported() {
				(&signatureWalk{t: t, at: pkg.Path() + "." + name, seen: make(map[types.Type]bool)}).visit(obj.Type())
			}
		}
	}
}

// At most 60 functions and types are exported by one package. An option With... takes a
// value; a switch is a verb.
func TestPublicNamesKeepTheRules(t *testing.T) {
	for _, pkg := range publicPackages(t) {
		names, scope := 0, pkg.Scope()
		for _, name := range scope.Names() {
			switch obj := scope.Lookup(name).(type) {
			case *types.TypeName:
				if obj.Exported() {
					names++
				}
			case *types.Func:
				if obj.Exported() {
					names++
				}
				if strings.HasPrefix(name, "With") && obj.Signature().Params().Len() == 0 {
					t.Errorf("%s.%s is a switch: its name must be a verb", pkg.Path(), name)
				}
			}
		}
		if names > 60 {
			t.Errorf("%s exports %d functions and types", pkg.Path(), names)
		}
	}
}

// signatureWalk visits every type that a user of an exported name gets to see.
type signatureWalk struct {
	t    *testing.T
	at   string
	seen map[types.Type]bool
}

func (w *signatureWalk) visit(typ types.Type) {
	if w.seen[typ] {
		return
	}
	w.seen[typ] = true
	switch typ := typ.(type) {
	case *types.Named:
		w.named(typ)
	case *types.Alias:
		w.visit(types.Unalias(typ))
	case *types.Signature:
		w.visit(typ.Params())
		w.visit(typ.Results())
	case *types.Tuple:
		for v := range typ.Variables() {
			w.visit(v.Type())
		}
	case *types.Struct:
		for f := range typ.Fields() {
			if f.Exported() || f.Embedded() {
				w.visit(f.Type())
			}
		}
	case *types.Interface:
		for m := range typ.Methods() {
			if m.Exported() {
				w.visit(m.Type())
			}
		}
	case *types.Map:
		w.visit(typ.Key())
		w.visit(typ.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.visit(typ.Elem())
	}
}

func (w *signatureWalk) named(typ *types.Named) {
	pkg := typ.Obj().Pkg()
	if pkg == nil {
		return
	}
	for _, engine := range []string{"lestrrat-go/jwx", "lestrrat-go/httprc", "stretchr/testify", "go-json-experiment", "maypok86/otter"} {
		if strings.Contains(pkg.Path(), engine) {
			w.t.Errorf("%s: %s in an exported signature", w.at, typ)
		}
	}
	if _, ok := room(pkg.Path()); !ok {
		return
	}
	if strings.Contains(pkg.Path(), "/internal/") {
		w.t.Errorf("%s: internal type %s in an exported signature", w.at, typ)
	}
	w.visit(typ.Underlying())
	for m := range typ.Methods() {
		if m.Exported() {
			w.visit(m.Type())
		}
	}
}

const architectureDoc = "docs/architecture.md"

// TestTheArchitecturePageNamesEveryRoom looks for each room of the table, and for each
// module beside the root, in the part of the page that tells of them.
func TestTheArchitecturePageNamesEveryRoom(t *testing.T) {
	page, err := os.ReadFile(architectureDoc)
	require.NoError(t, err)
	told, _, ok := strings.Cut(string(page), "\n## Nouns and verbs")
	require.True(t, ok)
	names := slices.Collect(maps.Keys(rooms))
	modules, err := filepath.Glob("*/go.mod")
	require.NoError(t, err)
	for _, file := range modules {
		names = append(names, filepath.Dir(file))
	}
	for _, name := range names {
		if strings.HasPrefix(name, "examples") || name == "internal/mutate/cmd" || strings.HasSuffix(name, "tallytest") {
			continue
		}
		require.Regexp(t, `\b`+path.Base(name)+`\b`, told, "the room %q", name)
	}
}

// TestTheImportTableOfTheArchitecturePage holds the end of docs/architecture.md
// against the table above (go test -run Architecture -update .).
func TestTheImportTableOfTheArchitecturePage(t *testing.T) {
	page, err := os.ReadFile(architectureDoc)
	require.NoError(t, err)
	const heading = "| room | imports from this module | from other modules |\n|---|---|---|\n"
	before, _, ok := strings.Cut(string(page), heading)
	require.True(t, ok || *update, "the table is there")
	var b strings.Builder
	b.WriteString(heading)
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		own, others := slices.Sorted(slices.Values(rooms[name].own)), rooms[name].others
		for i, room := range own {
			own[i] = shown(room)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", shown(name), strings.Join(own, ", "), strings.Join(others, ", "))
	}
	if *update {
		require.NoError(t, os.WriteFile(architectureDoc, []byte(before+b.String()), 0o644))
		return
	}
	require.Equal(t, before+b.String(), string(page), "run: go test -run Architecture -update .")
}

// shown is the name of a room on the page; the root has none.
func shown(room string) string {
	if room == "" {
		return "(root)"
	}
	return "`" + room + "`"
}
