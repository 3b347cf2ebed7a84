package middleware_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every fuzz target of every module has a corpus in the tree: enough to run its parser
// into its corners with each test run, and not more than a reader can look at.
func TestEveryFuzzTargetHasACorpusInTheTree(t *testing.T) {
	const (
		most     = 60        // entries
		maxBytes = 200 << 10 // of all entries of a target
	)
	declaration := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`)
	corpora := make(map[string]bool) // that have a target
	targets := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range declaration.FindAllStringSubmatch(string(text), -1) {
			targets++
			dir := filepath.Join(filepath.Dir(path), "testdata", "fuzz", m[1])
			corpora[dir] = true
			entries, err := os.ReadDir(dir)
			require.NoError(t, err, "%s: go -C difftest run ./corpus %s", path, m[1])
			require.NotEmpty(t, entries, dir)
			require.LessOrEqual(t, len(entries), most, dir)
			size := 0
			for _, e := range entries {
				entry, err := os.ReadFile(filepath.Join(dir, e.Name()))
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(string(entry), "go test fuzz v1\n"), "%s/%s is no entry", dir, e.Name())
				require.NotContains(t, string(entry), "PRIVATE KEY", "%s/%s", dir, e.Name())
				size += len(entry)
			}
			require.LessOrEqual(t, size, maxBytes, dir)
		}
		return nil
	}))
	require.Greater(t, targets, 45)
	found, err := filepath.Glob("*/testdata/fuzz/*")
	require.NoError(t, err)
	deeper, err := filepath.Glob("*/*/testdata/fuzz/*")
	require.NoError(t, err)
	for _, dir := range append(found, deeper...) {
		require.True(t, corpora[dir], "%s is the corpus of no target", dir)
	}
}
