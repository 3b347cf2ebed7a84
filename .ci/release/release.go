package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const root = "github.com/keybound-go/middleware"

// published are the modules that users import or install, by folder, each after
// those that it requires. The others (bench, interop, difftest, examples) are for
// people who have the tree.
var published = []string{".", "redisstore", "promguard", "otelguard", "extauthz", "grpcguard", "connectguard", "mcpguard", "ginguard", "fiberguard", "gateway", "cmd/keybound"}

// part is one module of a release.
type part struct {
	folder string // in the tree, slash-separated
	path   string
	dir    string // where its files are, as the tag will have them
}

func (p part) tag(version string) string {
	return strings.TrimPrefix(path.Join(p.folder, version), "./")
}

type release struct {
	tree, proxy, version string
}

// make writes every published module into the proxy.
func (r *release) make() ([]part, error) {
	var done []part
	for _, folder := range published {
		p := part{folder: folder, path: path.Join(root, folder)}
		var err error
		if p.dir, err = r.copy(folder); err != nil {
			return nil, err
		}
		if err := r.settle(p, done); err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
		if err := r.pack(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
		done = append(done, p)
	}
	return done, nil
}

// copy copies what git tracks of a module to a folder of its own.
func (r *release) copy(folder string) (string, error) {
	dir := filepath.Join(r.proxy, "tree", folder, "module")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	ls := exec.Command("git", "ls-files", "-z", "--", folder)
	ls.Dir = r.tree
	out, err := ls.Output()
	if err != nil {
		return "", err
	}
	files := strings.FieldsFunc(string(out), func(c rune) bool { return c == 0 })
	var nested []string // folders of modules inside this one, which are not part of it
	for _, name := range files {
		if path.Base(name) == "go.mod" && path.Dir(name) != folder {
			nested = append(nested, path.Dir(name)+"/")
		}
	}
	for _, name := range files {
		if slices.ContainsFunc(nested, func(n string) bool { return strings.HasPrefix(name, n) }) {
			continue
		}
		inside, err := filepath.Rel(folder, name)
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(filepath.Join(r.tree, name))
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, inside)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "LICENSE")); err == nil || folder == "." {
		return dir, err
	}
	// A module that does not have a licence of its own takes that of the tree.
	text, err := os.ReadFile(filepath.Join(r.tree, "LICENSE"))
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "LICENSE"), text, 0o644)
}

// settle makes go.mod and go.sum of a module what its tag will have.
func (r *release) settle(p part, before []part) error {
	file := filepath.Join(p.dir, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return err
	}
	changed := len(mod.Replace) > 0
	for _, replace := range slices.Clone(mod.Replace) {
		if !strings.HasPrefix(replace.Old.Path, root) {
			return fmt.Errorf("go.mod replaces %s: users would not get that", replace.Old.Path)
		}
		if err := mod.DropReplace(replace.Old.Path, replace.Old.Version); err != nil {
			return err
		}
	}
	for _, require := range mod.Require {
		if !strings.HasPrefix(require.Mod.Path, root) {
			continue
		}
		if !slices.ContainsFunc(before, func(b part) bool { return b.path == require.Mod.Path }) {
			return fmt.Errorf("go.mod requires %s, which is not published before it", require.Mod.Path)
		}
		if err := mod.AddRequire(require.Mod.Path, r.version); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	mod.Cleanup()
	if text, err = mod.Format(); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	return r.goCommand(p.dir, "mod", "tidy")
}

// goCommand runs the go command with the proxy that is being made before every
// other, and a cache of modules of its own.
func (r *release) goCommand(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), r.environment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// environment lets the go command find the modules of the release, then those
// that this machine has, then others.
func (r *release) environment() []string {
	proxies := []string{"file://" + filepath.ToSlash(r.proxy)}
	for _, name := range []string{"GOMODCACHE", "GOPROXY"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			continue
		}
		if at := strings.TrimSpace(string(value)); name == "GOMODCACHE" {
			proxies = append(proxies, "file://"+filepath.ToSlash(at)+"/cache/download")
		} else {
			proxies = append(proxies, at)
		}
	}
	return []string{
		"GOPROXY=" + strings.Join(proxies, ","),
		"GOMODCACHE=" + filepath.Join(r.proxy, "cache"),
		"GOFLAGS=-modcacherw",
		"GONOSUMDB=" + root + "," + root + "/*",
		"GOWORK=off",
	}
}

// pack writes one version of a module as the protocol of module proxies has it.
func (r *release) pack(p part) error {
	escaped, err := module.EscapePath(p.path)
	if err != nil {
		return err
	}
	at := filepath.Join(r.proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(p.dir, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{r.version, time.Now().UTC()})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, module.Version{Path: p.path, Version: r.version}, p.dir); err != nil {
		return err
	}
	for name, text := range map[string][]byte{".info": info, ".mod": mod, ".zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(at, r.version+name), text, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(at, "list"), []byte(r.version+"\n"), 0o644)
}

// write puts go.mod, go.sum and LICENSE of each module into the tree.
func (r *release) write(modules []part) error {
	for _, m := range modules {
		for _, name := range []string{"go.mod", "go.sum", "LICENSE"} {
			text, err := os.ReadFile(filepath.Join(m.dir, name))
			if os.IsNotExist(err) {
				continue
			} else if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(r.tree, m.folder, name), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// cycloneDX makes bills of materials.
const cycloneDX = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// billsOfMaterials writes one CycloneDX file for each module, from the go.mod of its tag.
func (r *release) billsOfMaterials(modules []part, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tool := filepath.Join(r.proxy, "cyclonedx-gomod")
	install := exec.Command("go", "install", cycloneDX)
	install.Env = append(os.Environ(), "GOBIN="+filepath.Dir(tool), "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", cycloneDX, err, out)
	}
	for _, m := range modules {
		file := filepath.Join(dir, path.Base(m.path)+"-"+r.version+".cdx.json")
		cmd := exec.Command(tool, "mod", "-json", "-type", "library", "-output", file, m.dir)
		cmd.Env = append(os.Environ(), r.environment()...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: bill of materials: %w\n%s", m.path, err, out)
		}
	}
	return nil
}
