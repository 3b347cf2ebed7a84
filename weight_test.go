package middleware_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a server that says hello gains in weight by importing this package with dpop
// and oidc. The limits are a little above what is measured, so that a dependency
// that brings much with it shows in the change that brings it; raise one only with
// a reason. jwx and httprc account for most of the edges.
const (
	maxBytesAdded  = 3_550_000
	maxBytesLater  = 4_350_000 // from Go 1.27 on, whose encoding/json is made of its version 2
	maxAllocsAdded = 300       // when the program starts, before main
	maxEdges       = 70        // of the module graph
)

const plainServer = `package main

import (
	"net/http"
	"os"
)

func main() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })
	if len(os.Args) > 1 {
		http.ListenAndServe(os.Args[1], hello)
	}
}
`

const guardedServer = `package main

import (
	"net/http"
	"os"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

func main() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")))
	if err != nil {
		panic(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })
	if len(os.Args) > 1 {
		http.ListenAndServe(os.Args[1], guard.Wrap(hello))
	}
}
`

func TestTheWeightOfImportingThisModule(t *testing.T) {
	if testing.Short() {
		t.Skip("links two programs")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the limits are those of linux/amd64")
	}
	dir := t.TempDir()
	here, err := os.Getwd()
	require.NoError(t, err)
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	sums, err := os.ReadFile("go.sum")
	require.NoError(t, err)
	write("go.sum", string(sums))
	write("go.mod", "module example.com/hello\n\ngo 1.26.0\n\nrequire "+module+" v0.0.0\n\nreplace "+module+" => "+here+"\n")
	write("plain/main.go", plainServer)
	write("guarded/main.go", guardedServer)
	run := func(env, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	weigh := func(program string) (size int64, allocs int) {
		t.Helper()
		run("", "go", "build", "-o", program+".bin", "./"+program)
		info, err := os.Stat(filepath.Join(dir, program+".bin"))
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(`(?m)^init .* (\d+) allocs$`).FindAllStringSubmatch(run("GODEBUG=inittrace=1", filepath.Join(dir, program+".bin")), -1) {
			n, err := strconv.Atoi(found[1])
			require.NoError(t, err)
			allocs += n
		}
		require.Positive(t, allocs)
		return info.Size(), allocs
	}
	plainSize, plainAllocs := weigh("plain")
	size, allocs := weigh("guarded")
	edges := strings.Count(run("", "go", "mod", "graph"), "\n")
	t.Logf("%d bytes and %d allocations added, %d edges", size-plainSize, allocs-plainAllocs, edges)
	limit := int64(maxBytesLater)
	if strings.HasPrefix(runtime.Version(), "go1.26") {
		limit = maxBytesAdded
	}
	require.LessOrEqual(t, size-plainSize, limit, "bytes added to the program")
	require.LessOrEqual(t, allocs-plainAllocs, maxAllocsAdded, "allocations before main")
	require.LessOrEqual(t, edges, maxEdges, "edges of the module graph")
}
