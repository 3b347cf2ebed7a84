package middleware_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

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

	rows, names := 0, 0
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
		if !named(t, m[1]) {
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

// named reports whether there is a file, a package or an exported declaration of this
// name, such as "dpop.NewNonces", "http.Handler" or "Guard.Check".
func named(t *testing.T, name string) bool {
	t.Helper()
	if _, err := os.Stat(name); err == nil || name == "middleware" {
		return true
	}
	room, symbol, qualified := strings.Cut(name, ".")
	if !qualified {
		room, symbol = "middleware", name
	}
	folder := "./" + room
	switch {
	case room == "middleware":
		folder = "."
	case room == "http":
		folder = "net/http"
	case room == "httputil":
		folder = "net/http/httputil"
	case unicode.IsUpper(rune(room[0])):
		folder, symbol = ".", name
	}
	return exec.Command("go", "doc", folder+"."+symbol).Run() == nil || exec.Command("go", "doc", folder, symbol).Run() == nil
}
