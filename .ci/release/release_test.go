package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// commands are the published modules that users install. They import the others, every
// package that has a name for them.
var commands = []string{"gateway", "cmd/keybound"}

// packages lists what a user of a module may import.
func packages(t *testing.T, dir string) (found []string) {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{if ne .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		if elements := strings.Split(p, "/"); !slices.Contains(elements, "internal") && !slices.Contains(elements, "examples") {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no package to import", dir)
	}
	return found
}

// TestAConsumerBuildsAgainstTheRelease makes the release of a version that does
// not exist yet, and uses every module of it as a user would: require and import
// it, or install its command.
func TestAConsumerBuildsAgainstTheRelease(t *testing.T) {
	r := release{tree: "../..", proxy: t.TempDir(), version: "v0.1.0"}
	modules, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	consumer := t.TempDir()
	var imports, requires strings.Builder
	for _, m := range modules {
		if slices.Contains(commands, m.folder) {
			bin := t.TempDir()
			cmd := exec.Command("go", "install", m.path+"@"+r.version)
			cmd.Dir = consumer
			cmd.Env = append(append(os.Environ(), r.environment()...), "GOBIN="+bin)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("go install %s: %v\n%s", m.path, err, out)
			} else if files, _ := os.ReadDir(bin); len(files) != 1 {
				t.Errorf("go install %s installed %d programs", m.path, len(files))
			}
			continue
		}
		fmt.Fprintf(&requires, "require %s %s\n", m.path, r.version)
		for _, p := range packages(t, filepath.Join(r.tree, m.folder)) {
			fmt.Fprintf(&imports, "import _ %q\n", p)
		}
	}
	for name, text := range map[string]string{
		"go.mod":  "module example.org/service\n\ngo 1.26.0\n\n" + requires.String(),
		"main.go": "package main\n\n" + imports.String() + "\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(consumer, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.goCommand(consumer, "mod", "tidy"); err != nil {
		t.Fatal(err)
	}
	if err := r.goCommand(consumer, "build", "./..."); err != nil {
		t.Fatal(err)
	}
}

// TestBillsOfMaterials: the file of a module lists what its packages link, with versions.
func TestBillsOfMaterials(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tool that makes them")
	}
	r := release{tree: "../..", proxy: t.TempDir(), version: "v0.1.0"}
	modules, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	linked, err := dependencies(r.tree)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.billsOfMaterials(modules[:2], dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range modules[:2] {
		text, err := os.ReadFile(filepath.Join(dir, path.Base(m.path)+"-v0.1.0.cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var bill struct {
			BOMFormat  string `json:"bomFormat"`
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(text, &bill); err != nil || bill.BOMFormat != "CycloneDX" {
			t.Fatalf("%s: %v, %q", m.path, err, bill.BOMFormat)
		}
		for _, d := range linked {
			if slices.Contains(d.by, m.path) && !slices.ContainsFunc(bill.Components, func(c struct{ Name, Version string }) bool {
				return c.Name == d.path && c.Version == d.version
			}) {
				t.Errorf("%s: the bill of materials lacks %s %s", m.path, d.path, d.version)
			}
		}
	}
}

// TestEveryModuleIsPublishedOrNotOnPurpose: a new module is a decision to take here.
func TestEveryModuleIsPublishedOrNotOnPurpose(t *testing.T) {
	private := []string{
		".ci/release", "bench", "difftest", "interop", "interop/issuers/hydra", "interop/rpc", "interop/terminators/caddy", "promguard/rulestest",
		"examples/frameworks", "examples/grpc", "examples/mcp", "examples/migration", "examples/observability", "examples/routers",
	}
	ls := exec.Command("git", "ls-files", "--", "go.mod", "*/go.mod")
	ls.Dir = "../.."
	out, err := ls.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range strings.Fields(string(out)) {
		folder := filepath.ToSlash(filepath.Dir(file))
		if slices.Contains(private, folder) == slices.Contains(published, folder) {
			t.Errorf("%s: say in release.go that it is published, or here that it is not", folder)
		}
	}
}
