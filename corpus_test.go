package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
)

// The rows that the corpus names are rows of the table.
func TestCorpusNamesRowsOfTheTable(t *testing.T) {
	page, err := os.ReadFile("docs/conformance.md")
	require.NoError(t, err)
	for _, c := range corpus.Cases(t) {
		if id := regexp.MustCompile(`^[A-Z]+-[0-9]\S*`).FindString(c.Name); id != "" {
			require.Contains(t, string(page), "\n| "+id+" |", c.Name)
		}
	}
}

// Two cases of the corpus have different names.
func TestCorpusNamesEachCaseOnce(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range corpus.Cases(t) {
		require.NotEmpty(t, c.Group)
		require.False(t, names[c.Name], "two cases are called %q", c.Name)
		names[c.Name] = true
	}
}

// The corpus, through each way into a guard.
func TestDoors(t *testing.T) {
	t.Run("Wrap", func(t *testing.T) {
		doors.Run(t, doors.Door{Name: "net/http, Wrap", Folder: ".", Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
			return func(q doors.Question) doors.Answer {
				a := serve(g, q.Request)
				return doors.Answer{Passed: a.called, Status: a.Code, Header: a.Header()}
			}
		}})
	})
	t.Run("Judge", func(t *testing.T) {
		doors.Run(t, doors.Door{Name: "net/http, Judge", Folder: ".", Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
			return func(q doors.Question) doors.Answer {
				v := g.Judge(q.Request.Context(), middleware.RequestOf(q.Request))
				return doors.Answer{Passed: v.Pass, Status: v.Denial.Status, Header: v.Header}
			}
		}})
	})
	t.Run("Check and Refuse", func(t *testing.T) {
		doors.Run(t, doors.Door{Name: "net/http, Check and Refuse", Folder: ".", Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
			return func(q doors.Question) doors.Answer {
				rec := httptest.NewRecorder()
				_, err := g.Check(q.Request)
				if err != nil {
					g.Refuse(rec, q.Request, err)
				}
				return doors.Answer{Passed: err == nil, Status: rec.Code, Header: rec.Header()}
			}
		}})
	})
}

// A line that no test owns would stand forever.
func TestEveryDoorOfThePageHasATest(t *testing.T) {
	page, err := os.ReadFile("docs/doors.md")
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| \[([^\]]+)\]\(([^)]+)\) \|`).FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		tests, err := filepath.Glob(filepath.Join("docs", row[2], "*_test.go"))
		require.NoError(t, err)
		runs := slices.ContainsFunc(tests, func(name string) bool {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			return strings.Contains(string(text), "doors.Run(")
		})
		require.True(t, runs, "%s: no test in %s runs the corpus", row[1], row[2])
	}
}

// What a rule in report says it would answer is what it answers once it is enforced:
// for every case of the corpus with its rules staged, and with each further rule.
// furtherRules are rules of every kind, beside those that the cases have.
func furtherRules(w *corpus.World) map[string]middleware.Rule {
	rules := map[string]middleware.Rule{"": nil}
	for _, text := range []string{
		"bound", "dpop_bound", "certificate_bound", "bound_except legacy", "bound_except client", "scopes orders:read", "scopes never", "claim tenant one", "claim client_id client",
		"step_up gold", "details payment initiate", "lifetime 60", "lifetime 86400", "func yes", "func no", "func panic",
	} {
		rules[text] = w.Rule(text)
	}
	r := w.Rule
	rules["a recent login"] = middleware.StepUp(time.Minute)
	rules["any of bindings"] = middleware.AnyOf(r("dpop_bound"), r("certificate_bound"))
	rules["any of a binding and a scope"] = middleware.AnyOf(r("scopes never"), r("bound"))
	rules["any of nothing that holds"] = middleware.AnyOf(r("func no"), r("claim tenant one"))
	rules["any of a panic"] = middleware.AnyOf(r("scopes never"), r("func panic"))
	rules["all of bindings"] = middleware.AllOf(r("dpop_bound"), r("certificate_bound"))
	rules["all of any of"] = middleware.AllOf(middleware.AnyOf(r("bound"), r("scopes never")), r("func yes"), r("lifetime 60"))
	return rules
}

// staging is how the rules of one guard are staged in the test below.
type staging struct {
	name string
	// of the rule with that index; set makes a Stage that says so.
	set func(level middleware.Level, index int) *middleware.Stage
}

var stagings = []staging{
	{"by Set", func(level middleware.Level, _ int) *middleware.Stage { return staged(level) }},
	{"by Choose", func(level middleware.Level, _ int) *middleware.Stage {
		s := staged(middleware.Off) // which decides nothing
		s.Choose(func(*middleware.Credential) middleware.Level { return level })
		return s
	}},
	{"the first is enforced", func(level middleware.Level, index int) *middleware.Stage {
		if index == 0 {
			return staged(middleware.Enforce)
		}
		return staged(level)
	}},
	{"all but the first are enforced", func(level middleware.Level, index int) *middleware.Stage {
		if index > 0 {
			return staged(middleware.Enforce)
		}
		return staged(level)
	}},
}

// What a rule in report says it would answer is what it answers once it is enforced, and
// what it answers without a Stage: for every case of the corpus with its rules staged,
// and with each further rule, before and behind them; with a client whose bound tokens
// are tolerated as Bearer, too.
func TestReportPredictsEnforce(t *testing.T) {
	w := corpus.NewWorld(t, corpus.Place{})
	compared, reasons := make(map[string]int), make(map[string]bool)
	further := furtherRules(w)
	for i, c := range corpus.Cases(t) {
		for j, name := range slices.Sorted(maps.Keys(further)) {
			rule := further[name]
			orders := [][]middleware.Rule{w.Rules(c.Guard.Rules)}
			if rule != nil {
				orders[0] = append(orders[0], rule)
			}
			if rule != nil && len(c.Guard.Rules) > 0 {
				orders = append(orders, append([]middleware.Rule{rule}, w.Rules(c.Guard.Rules)...))
			}
			for _, rules := range orders {
				if len(rules) == 0 {
					continue
				}
				for n, by := range stagings {
					if n >= 2 && len(rules) < 2 || n > 0 && (i+j)%3 != 0 { // for time
						continue
					}
					d := differential{t, w, c, rules, by, n == 0 && c.Guard.DPoP && c.Request.Scheme == "Bearer"}
					reasons[d.compare(name)] = true
					compared[c.Name]++
				}
			}
		}
	}
	for _, c := range corpus.Cases(t) {
		require.GreaterOrEqual(t, compared[c.Name], len(further)-1, c.Name)
	}
	for _, reason := range []string{"panic", "rule_bound", "rule_dpop_bound", "rule_certificate_bound", "rule_scope", "rule_claim", "rule_authentication",
		"rule_authorization_details", "rule_func", "rule_token_lifetime"} {
		require.True(t, reasons[reason], "no request was reported for %s", reason)
	}
}

// differential is one case with one list of rules.
type differential struct {
	t         *testing.T
	w         *corpus.World
	c         corpus.Case
	rules     []middleware.Rule
	by        staging
	tolerated bool // bound tokens of the client pass as Bearer
}

func (d *differential) options() []middleware.Option {
	opts := d.w.Options(d.c.Guard)
	if d.tolerated {
		opts = append(opts, middleware.DangerouslyAcceptAsBearer(time.Now().Add(time.Hour), "client"))
	}
	return append(opts, middleware.WithLogger(slog.New(slog.DiscardHandler)))
}

// decide sends the request of the case to a guard with the rules.
func (d *differential) decide(rules []middleware.Rule) (o middleware.Outcome, a *answer, err error) {
	observer := middleware.WithObserver(func(_ context.Context, told middleware.Outcome) { o = told })
	g, err := middleware.New(append(d.options(), observer, middleware.WithRules(rules...))...)
	if err != nil {
		return o, nil, err
	}
	r := d.w.Request(d.c)
	if d.c.Request.SentBefore {
		_, _ = g.Check(r)
	}
	return o, serve(g, r), nil
}

func (d *differential) at(level middleware.Level) (middleware.Outcome, *answer) {
	d.t.Helper()
	var all []middleware.Rule
	for n, r := range d.rules {
		all = append(all, middleware.Staged(r, d.by.set(level, n)))
	}
	o, a, err := d.decide(all)
	require.NoError(d.t, err)
	return o, a
}

// verdict is what the operator is told of a refusal by a rule.
type verdict struct{ reason, rule, hint, wanted, had string }

func verdictOf(reason string, o middleware.Outcome) verdict {
	return verdict{reason, o.Rule, o.Hint, strings.Join(o.WantedScopes, " "), strings.Join(o.HadScopes, " ")}
}

// compare returns the reason that was reported, or "".
func (d *differential) compare(rule string) string {
	d.t.Helper()
	what := fmt.Sprintf("%s, with %q, %s", d.c.Name, rule, d.by.name)
	report, passed := d.at(middleware.Report)
	enforced, refused := d.at(middleware.Enforce)
	off, none := d.at(middleware.Off)
	require.Empty(d.t, enforced.WouldDeny, what)
	require.Empty(d.t, off.WouldDeny, what)
	require.Equal(d.t, off.Reason, report.Reason, "%s: report is off but for its report", what)
	require.Equal(d.t, none.Code, passed.Code, what)
	require.Equal(d.t, none.called, passed.called, what)
	require.Equal(d.t, none.Header()["Www-Authenticate"], passed.Header()["Www-Authenticate"], what)
	if report.WouldDeny == "" {
		require.Equal(d.t, enforced.Reason, report.Reason, what)
		require.Equal(d.t, refused.Code, passed.Code, what)
	} else {
		require.Equal(d.t, enforced.Reason, report.WouldDeny, what)
		require.False(d.t, refused.called, what)
		if report.Reason == "" { // or the line is about the rule that refuses
			require.Equal(d.t, verdictOf(enforced.Reason, enforced), verdictOf(report.WouldDeny, report), what)
		}
	}
	// New refuses rules that no token could satisfy; a staged rule is absent to it.
	if plain, answer, err := d.decide(d.rules); err == nil {
		require.Equal(d.t, plain.Reason, enforced.Reason, what)
		require.Equal(d.t, answer.Code, refused.Code, what)
		if d.by.name == "by Choose" && enforced.Issuer == "" {
			return report.WouldDeny // Without a Credential there is no client to choose for: challenges follow Set.
		}
		require.Equal(d.t, answer.Header()["Www-Authenticate"], refused.Header()["Www-Authenticate"], what)
		require.Equal(d.t, answer.Body.String(), refused.Body.String(), what)
	}
	return report.WouldDeny
}
