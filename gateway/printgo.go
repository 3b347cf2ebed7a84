package main

import (
	"cmp"
	"fmt"
	"go/format"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// program is a Go program that does what a configuration says.
type program struct {
	d       *deployment
	f       *kongfile.File
	imports map[string]bool
	setup   strings.Builder   // statements before the guards are used
	names   map[string]bool   // of variables
	issuers map[string]string // variables, by the expressions that they were made by
	fromEnv map[string]string
	needs   []string // what the reader of the program has to provide
}

const module = "github.com/keybound-go/middleware"

// printGo writes the program for the plugins of f, which has no mistakes.
func (d *deployment) printGo(w io.Writer, f *kongfile.File, env map[string]string) error {
	p := &program{d: d, f: f, imports: map[string]bool{"log": true, "net/http": true, module: true}, names: make(map[string]bool), issuers: make(map[string]string), fromEnv: make(map[string]string)}
	for name, value := range env {
		if len(value) > 2 {
			p.fromEnv[value] = name
		}
	}
	routes := p.routes()
	var b strings.Builder
	b.WriteString("// Made by gateway print-go. The service reads its secrets from the environment.\n")
	for _, need := range slices.Compact(slices.Sorted(slices.Values(p.needs))) {
		fmt.Fprintf(&b, "// It needs %s.\n", need)
	}
	b.WriteString("package main\n\nimport (\n")
	p.writeImports(&b)
	b.WriteString(")\n\nfunc main() {\n")
	b.WriteString(p.setup.String())
	b.WriteString(routes)
	p.writeServer(&b)
	b.WriteString("}\n\n// must ends the program if something cannot be made.\nfunc must[T any](made T, err error) T {\n\tif err != nil {\n\t\tlog.Fatal(err)\n\t}\n\treturn made\n}\n")
	text, err := format.Source([]byte(b.String()))
	if err != nil {
		return fmt.Errorf("gateway: print-go: %w\n%s", err, b.String())
	}
	_, err = w.Write(text)
	return err
}

func (p *program) writeImports(b *strings.Builder) {
	all := slices.Sorted(maps.Keys(p.imports))
	sort.SliceStable(all, func(i, j int) bool { return !strings.Contains(all[i], ".") && strings.Contains(all[j], ".") })
	for i, path := range all {
		if i > 0 && strings.Contains(path, ".") && !strings.Contains(all[i-1], ".") {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "\t%q\n", path)
	}
}

// ours and std import a package and return its name.
func (p *program) ours(path string) string {
	p.imports[module+"/"+path] = true
	return path[strings.LastIndex(path, "/")+1:]
}

func (p *program) std(path string) string {
	p.imports[path] = true
	return path[strings.LastIndex(path, "/")+1:]
}

// variable returns a name that is not taken.
func (p *program) variable(name string) string {
	found := name
	for i := 2; p.names[found]; i++ {
		found = name + strconv.Itoa(i)
	}
	p.names[found] = true
	return found
}

func (p *program) say(format string, args ...any) { fmt.Fprintf(&p.setup, "\t"+format+"\n", args...) }

// text is a string of the configuration: what came from the environment comes from
// there again.
func (p *program) text(s string) string {
	if name, ok := p.fromEnv[s]; ok {
		return p.std("os") + ".Getenv(" + strconv.Quote(name) + ")"
	}
	for _, value := range slices.SortedFunc(maps.Keys(p.fromEnv), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		if before, after, found := strings.Cut(s, value); found && len(value) > 8 {
			parts := []string{p.text(value)}
			if before != "" {
				parts = append([]string{strconv.Quote(before)}, parts...)
			}
			if after != "" {
				parts = append(parts, strconv.Quote(after))
			}
			return strings.Join(parts, " + ")
		}
	}
	return strconv.Quote(s)
}

func (p *program) texts(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = p.text(s)
	}
	return strings.Join(quoted, ", ")
}

// secret is a string that does not stand in a program.
func (p *program) secret(s, name string) string {
	if from, ok := p.fromEnv[s]; ok {
		name = from
	}
	return p.std("os") + ".Getenv(" + strconv.Quote(name) + ")"
}

func duration(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "time.Hour"}, {time.Minute, "time.Minute"}, {time.Second, "time.Second"}, {time.Millisecond, "time.Millisecond"}} {
		if d > 0 && d%unit.of == 0 {
			if d == unit.of {
				return unit.name
			}
			return fmt.Sprintf("%d*%s", d/unit.of, unit.name)
		}
	}
	return strconv.FormatInt(int64(d), 10)
}

func (p *program) time(d time.Duration) string {
	p.std("time")
	return duration(d)
}

func call(name string, args ...string) string {
	return name + "(" + strings.Join(slices.DeleteFunc(args, func(s string) bool { return s == "" }), ", ") + ")"
}

func quotedList(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = strconv.Quote(s)
	}
	return strings.Join(quoted, ", ")
}

// writeServer writes the statement that serves.
func (p *program) writeServer(b *strings.Builder) {
	if !asksForCertificates(p.f) {
		b.WriteString("\tlog.Fatal(http.ListenAndServeTLS(\":8443\", \"server.crt\", \"server.key\", nil))\n")
		return
	}
	b.WriteString("\tserver := &http.Server{Addr: \":8443\", TLSConfig: mtlspop.RequestClientCert(nil)}\n\tlog.Fatal(server.ListenAndServeTLS(\"server.crt\", \"server.key\"))\n")
}

var certificateName = regexp.MustCompile(`CERT|CA_|KEY|PEM`)

// lookedUp is an environment for a look at a configuration, on a machine that need
// not have its variables. used are the values by name.
func lookedUp(used map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		if !ok && !certificateName.MatchString(name) {
			value, ok = "https://"+strings.ToLower(strings.ReplaceAll(name, "_", "-"))+".is-not-set-for-this-look.example", true
		}
		if ok {
			used[name] = value
		}
		return value, ok
	}
}
