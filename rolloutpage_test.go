package middleware_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// page is a page of docs, read for a test that does what it says.
type page struct {
	t     *testing.T
	name  string
	used  map[string]bool     // sections
	texts map[string][]string // the fenced blocks by section, each with its kind before a newline
	prose map[string]string
}

func readPage(t *testing.T, name string) *page {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	p := &page{t: t, name: name, used: make(map[string]bool), texts: make(map[string][]string), prose: make(map[string]string)}
	for _, section := range strings.Split("\n"+string(text), "\n## ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		for _, m := range fence.FindAllStringSubmatch(rest, -1) {
			p.texts[title] = append(p.texts[title], m[2]+"\n"+m[3])
		}
		p.prose[title] = fence.ReplaceAllString(rest, "")
	}
	return p
}

// step is one section: its blocks of one kind.
func (p *page) step(title, kind string) (blocks []string) {
	p.t.Helper()
	require.Contains(p.t, p.prose, title, p.name)
	p.used[title] = true
	for _, b := range p.texts[title] {
		if k, text, _ := strings.Cut(b, "\n"); k == kind {
			blocks = append(blocks, text)
		}
	}
	return blocks
}

// done requires that the test has been through the whole page.
func (p *page) done() {
	p.t.Helper()
	for title := range p.prose {
		require.True(p.t, p.used[title], "%s: no test runs the section %q", p.name, title)
	}
}

// requireLines requires that each line of a page is a line of the log, in order. What
// the page leaves out it shows as dots, and the time.
func requireLines(t *testing.T, page, log string) {
	t.Helper()
	lines := strings.Split(log, "\n")
	for _, want := range strings.Split(strings.TrimSpace(page), "\n") {
		var parts []string
		for _, part := range strings.Split(want, " ... ") {
			parts = append(parts, regexp.QuoteMeta(part))
		}
		matches := regexp.MustCompile(strings.Join(parts, ".*"))
		for len(lines) > 0 && !matches.MatchString(lines[0]) {
			lines = lines[1:]
		}
		require.NotEmpty(t, lines, "the page says\n%s\nand the log\n%s", want, log)
	}
}

// TestWhatOperatorsReadOfARolloutHappens does what docs/rollout.md says, with the
// settings, lines and commands that stand there.
func TestWhatOperatorsReadOfARolloutHappens(t *testing.T) {
	p := readPage(t, "docs/rollout.md")
	w := newWorld(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	before := slog.Default()
	slog.SetDefault(logger)
	defer slog.SetDefault(before)
	said := func() string { defer log.Reset(); return log.String() }
	guard := func(opts ...middleware.Option) *middleware.Guard {
		g, err := middleware.New(append(opts, w.tokens(), middleware.WithLogger(slog.Default()))...)
		require.NoError(t, err)
		return g
	}
	client := func(id string) oidctest.Change { return oidctest.Claim("client_id", id) }

	// 1
	const first = "1. The service learns DPoP, and demands nothing"
	require.Len(t, p.step(first, "go"), 1)
	old := guard(middleware.AllowUnbound())
	serve(old, w.bearerRequest("/orders", client("batch"))).accepted(t)
	serve(old, w.dpopRequest("/orders", client("early"))).refused(t, 401)
	serve(old, asBearer(w.dpopRequest("/orders", client("early")))).refused(t, 401)
	requireLines(t, p.step(first, "text")[0], said())
	proofs := middleware.WithDPoP(dpop.New("https://api.example"))
	g := guard(proofs, middleware.AllowUnbound())
	serve(g, w.bearerRequest("/orders", client("batch"))).accepted(t)
	serve(g, w.dpopRequest("/orders", client("app"))).accepted(t)

	// 2
	const second = "2. Clients sign"
	said()
	r := w.bearerRequest("/orders", client("early"))
	serve(g, r).accepted(t)
	token := sent(r)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", w.proof("GET", origin+"/orders", token))
	serve(g, r).refused(t, 401)
	requireLines(t, p.step(second, "text")[0], said())
	requireFields(t, p.prose[second], w, g)

	// 3
	const third = "3. The issuer binds"
	sloppy := func() *http.Request { return asBearer(w.dpopRequest("/orders", client("sloppy"))) }
	serve(g, sloppy()).refused(t, 401)
	requireLines(t, p.step(third, "text")[0], said())
	tolerant := middleware.DangerouslyAcceptAsBearer(time.Now().Add(90*24*time.Hour), "sloppy")
	serve(guard(proofs, middleware.AllowUnbound(), tolerant), sloppy()).accepted(t)
	requireLines(t, p.step(third, "text")[1], said())
	for _, rule := range []middleware.Rule{middleware.Bound(), middleware.DPoPBound()} {
		serve(guard(proofs, middleware.AllowUnbound(), tolerant, middleware.WithRules(rule)), sloppy()).refused(t, 401)
	}
	_, err := middleware.New(w.tokens(), proofs, middleware.DangerouslyAcceptAsBearer(time.Now().Add(91*24*time.Hour), "sloppy"))
	require.ErrorContains(t, err, "90 days")

	// 4
	const fourth = "4. Report"
	stage := new(middleware.Stage)
	require.Equal(t, middleware.Enforce, stage.Level(), "the zero Stage enforces")
	stage.Set(middleware.Report)
	g = guard(proofs, middleware.AllowUnbound(), tolerant, middleware.WithRules(middleware.Staged(middleware.Bound(), stage)))
	said()
	traffic := func(status int) {
		for id, n := range map[string]int{"batch": 3, "late": 1} {
			for range n {
				require.Equal(t, status, serve(g, w.bearerRequest("/orders", client(id))).Code)
			}
		}
		for range 2 {
			require.Equal(t, status, serve(g, sloppy()).Code)
		}
		serve(g, w.dpopRequest("/orders", client("app"))).accepted(t)
	}
	traffic(200)
	report := said()
	requireLines(t, p.step(fourth, "text")[0], report)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "service.log"), []byte(report), 0o600))
	cmd := exec.Command("sh", "-c", p.step(fourth, "sh")[0])
	cmd.Dir = dir
	counted, err := cmd.CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, strings.Fields(p.step(fourth, "text")[1]), strings.Fields(string(counted)))
	serve(g, w.bearerRequest("/orders", client("batch"), oidctest.ExpiresIn(-time.Hour))).refused(t, 401)
	require.NotContains(t, said(), "would_deny", "the rules are evaluated last")

	// 5
	const fifth = "5. Enforce, client by client"
	blocks := p.step(fifth, "go")
	require.Len(t, blocks, 3)
	ready := map[string]bool{"app": true}
	stage.Choose(func(c *middleware.Credential) middleware.Level {
		if ready[c.Token.ClientID] {
			return middleware.Enforce
		}
		return middleware.Report
	})
	stage.Set(middleware.Enforce) // decides nothing while a function chooses
	traffic(200)
	serve(g, w.bearerRequest("/orders", client("app"))).refused(t, 401)
	stage.Set(middleware.Enforce)
	stage.Choose(nil)
	said()
	traffic(401)
	requireLines(t, p.step(fifth, "text")[0], said())
	stage.Choose(func(*middleware.Credential) middleware.Level { panic("means enforce") })
	traffic(401)
	runStages(t, blocks[2], stage)
	traffic(200)
	runStages(t, blocks[1], stage)
	traffic(401)
	except := guard(proofs, middleware.AllowUnbound(), middleware.WithRules(middleware.BoundExcept("batch")))
	serve(except, w.bearerRequest("/orders", client("batch"))).accepted(t)
	serve(except, w.bearerRequest("/orders", client("late"))).refused(t, 401)

	// 6
	said()
	serve(guard(proofs), w.bearerRequest("/orders", client("batch"))).refused(t, 401)
	requireLines(t, p.step("6. Clean up", "text")[0], said())
	p.done()
}

// runStages does what the lines of a page say: calls of Set and Choose.
func runStages(t *testing.T, block string, stage *middleware.Stage) {
	t.Helper()
	for line := range strings.Lines(block) {
		switch line = strings.TrimSpace(line); {
		case line == "stage.Set(middleware.Report)":
			stage.Set(middleware.Report)
		case line == "stage.Set(middleware.Enforce)":
			stage.Set(middleware.Enforce)
		case line == "stage.Choose(nil)":
			stage.Choose(nil)
		default:
			require.True(t, strings.HasPrefix(line, "//"), "what does %q do?", line)
		}
	}
}

// requireFields holds what the page says that browsers need: a preflight that asks for
// DPoP, and the fields of a refusal that a script must see.
func requireFields(t *testing.T, prose string, w *world, g *middleware.Guard) {
	t.Helper()
	exposing := w.guard(both(middleware.ExposeHeaders(), middleware.AllowUnbound())...)
	r := get("/orders")
	r.Header.Set("Origin", "https://app.example")
	exposed := strings.Join(serve(exposing, r).refused(t, 401).Header()["Access-Control-Expose-Headers"], ",")
	m := regexp.MustCompile("`([^`]+)` and\\s+`([^`]+)` in\\s+`Access-Control-Expose-Headers`").FindStringSubmatch(prose)
	require.Len(t, m, 3, "the page names no fields")
	for _, name := range m[1:] {
		require.Contains(t, strings.ToLower(exposed), strings.ToLower(name))
	}
	require.Contains(t, words(prose), "`DPoP` in `Access-Control-Allow-Headers`")
}
