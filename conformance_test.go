package middleware_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/doors"
)

var update = doors.Update

const conformanceDoc = "docs/conformance.md"

// rowPattern matches a row of a requirements table: its ID, the requirement and its
// level, the section, the code that cites the section, and the tests.
var rowPattern = regexp.MustCompile(`(?m)^(\| ([A-Z0-9][A-Za-z0-9]*-[A-Za-z0-9.-]+) \|(?:[^|]|\\\|)*\|(?:[^|]|\\\|)*\|((?:[^|]|\\\|)*)\|)((?:[^|]|\\\|)*)\|(.*)\|$`)

// TestConformanceRowsHaveTests holds docs/conformance.md against the tree: a row
// is named by a test, or its last column says where the documentation explains
// why it is not followed ("see ...").
func TestConformanceRowsHaveTests(t *testing.T) {
	doc, err := os.ReadFile(conformanceDoc)
	require.NoError(t, err)
	sources := testSources(t)
	cited := citations(t)
	rows := 0
	written := rowPattern.ReplaceAllFunc(doc, func(line []byte) []byte {
		rows++
		m := rowPattern.FindSubmatch(line)
		id, code, tests := string(m[2]), strings.TrimSpace(string(m[4])), strings.TrimSpace(string(m[5]))
		citing := cited.of(id, string(m[3]))
		if !*update && code != citing {
			t.Errorf("%s: the section is cited by %s, the page says %s (go test -run Conformance -update .)", id, citing, code)
		}
		var files []string
		for name, text := range sources {
			if namesRow(text, id) {
				files = append(files, "`"+name+"`")
			}
		}
		slices.Sort(files)
		if len(files) == 0 {
			if !strings.HasPrefix(tests, "see ") {
				t.Errorf("%s: no test names this row, and nothing says why", id)
			}
			return []byte(string(m[1]) + " " + citing + " | " + tests + " |")
		}
		found := strings.Join(files, ", ")
		if !*update && tests != found {
			t.Errorf("%s: tests are %s, the page says %s (go test -run Conformance -update .)", id, found, tests)
		}
		return []byte(string(m[1]) + " " + citing + " | " + found + " |")
	})
	require.Greater(t, rows, 250, "rows recognised in %s", conformanceDoc)
	if *update {
		require.NoError(t, os.WriteFile(conformanceDoc, written, 0o644))
	}
}

var (
	decisionPattern = regexp.MustCompile(`(?m)^(\| (\d\d) \|(?:[^|]|\\\|)*\|(?:[^|]|\\\|)*\|((?:[^|]|\\\|)*)\|)(.*)\|$`)
	settingName     = regexp.MustCompile("`(?:([a-z]+)\\.)?([A-Z][A-Za-z0-9]*[a-z])`")
)

// TestConformanceDecisionsAreHeld: each decision is named by a test, and each setting
// that it names is one of the package that it says.
func TestConformanceDecisionsAreHeld(t *testing.T) {
	doc, err := os.ReadFile(conformanceDoc)
	require.NoError(t, err)
	sources := testSources(t)
	decisions := 0
	written := decisionPattern.ReplaceAllFunc(doc, func(line []byte) []byte {
		decisions++
		m := decisionPattern.FindSubmatch(line)
		id := "AMB-" + string(m[2])
		for _, name := range settingName.FindAllStringSubmatch(string(m[3]), -1) {
			if name[2] == "Bearer" {
				continue
			}
			declared := "func " + name[2] + "("
			found := false
			for file, text := range files(t, ".go") {
				found = found || filepath.ToSlash(filepath.Dir(file)) == cmp.Or(name[1], ".") && strings.Contains(text, declared)
			}
			if !found {
				t.Errorf("%s: no function %s", id, name[0])
			}
		}
		var named []string
		for name, text := range sources {
			if namesRow(text, id) {
				named = append(named, "`"+name+"`")
			}
		}
		slices.Sort(named)
		if len(named) == 0 {
			t.Errorf("%s: no test names this decision", id)
		}
		found := strings.Join(named, ", ")
		if tests := strings.TrimSpace(string(m[4])); !*update && tests != found {
			t.Errorf("%s: tests are %s, the page says %s (go test -run Conformance -update .)", id, found, tests)
		}
		return []byte(string(m[1]) + " " + found + " |")
	})
	require.Equal(t, 36, decisions, "decisions recognised in %s", conformanceDoc)
	if *update {
		require.NoError(t, os.WriteFile(conformanceDoc, written, 0o644))
	}
}

// testSources returns the text of every test of the tree, nested modules and
// fakes included, by slash-separated path.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "conformance_test.go" || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		sources[filepath.ToSlash(path)] = string(text)
		return err
	}))
	return sources
}

// namesRow reports whether text has id as a whole: DPOP-4.3-09 does not name
// DPOP-4.3-09b, nor the other way round.
func namesRow(text, id string) bool {
	isPart := func(c byte) bool {
		return c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for rest := text; ; {
		i := strings.Index(rest, id)
		if i < 0 {
			return false
		}
		end := i + len(id)
		if (i == 0 || !isPart(rest[i-1])) && (end == len(rest) || !isPart(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func TestNamesRowTellsRowsApart(t *testing.T) {
	require.True(t, namesRow(`t.Run("DPOP-4.3-09 query"`, "DPOP-4.3-09"))
	require.False(t, namesRow(`t.Run("DPOP-4.3-09b host"`, "DPOP-4.3-09"))
	require.False(t, namesRow(`t.Run("DPOP-4.3-09 query"`, "DPOP-4.3-09b"))
	require.False(t, namesRow(`t.Run("FAT-4-01"`, "AT-4-01"))
}

// TestNoCitationIsBrokenOverALine: a reader searches for "RFC 9449, section 8", and
// must find it. A citation therefore stands on one line.
func TestNoCitationIsBrokenOverALine(t *testing.T) {
	ends := regexp.MustCompile(`\bRFC$|\bRFC \d{4}(bis)?,?$|\bRFC \d{4}(bis)?,? sections?$`)
	goesOn := regexp.MustCompile(`^// *(\d|sections? \d)`)
	for path, text := range files(t, ".go") {
		lines := strings.Split(text, "\n")
		for i, line := range lines[:len(lines)-1] {
			line, next := strings.TrimSpace(line), strings.TrimSpace(lines[i+1])
			if strings.HasPrefix(line, "//") && ends.MatchString(line) && goesOn.MatchString(next) {
				t.Errorf("%s:%d: %q goes on in the next line", path, i+1, line)
			}
		}
	}
}
