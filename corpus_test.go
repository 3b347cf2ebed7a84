package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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

// A line that no test owns would stand for ever.
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
func TestReportPredictsEnforce(t *testing.T) {
	w := corpus.NewWorld(t, corpus.Place{})
	further := []string{
		"", "bound", "dpop_bound", "certificate_bound", "bound_except legacy", "scopes orders:read", "scopes never", "claim tenant one", "step_up gold",
		"details payment initiate", "lifetime 60", "func yes", "func no", "func panic",
	}
	compared := 0
	for _, c := range corpus.Cases(t) {
		for _, rule := range further {
			rules := w.Rules(c.Guard.Rules)
			if rule != "" {
				rules = append(rules, w.Rule(rule))
			}
			if len(rules) == 0 {
				continue
			}
			decide := func(level middleware.Level) (o middleware.Outcome) {
				var all []middleware.Rule
				for _, r := range rules {
					all = append(all, middleware.Staged(r, staged(level)))
				}
				observer := middleware.WithObserver(func(_ context.Context, told middleware.Outcome) { o = told })
				g, err := middleware.New(append(w.Options(c.Guard), observer, middleware.WithRules(all...))...)
				require.NoError(t, err)
				r := w.Request(c)
				if c.Request.SentBefore {
					_, _ = g.Check(r)
				}
				g.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
				return o
			}
			report, enforced, off := decide(middleware.Report), decide(middleware.Enforce), decide(middleware.Off)
			predicted := report.Reason
			if predicted == "" {
				predicted = report.WouldDeny
			}
			require.Equal(t, enforced.Reason, predicted, "%s, with %q", c.Name, rule)
			require.Empty(t, enforced.WouldDeny)
			require.Empty(t, off.WouldDeny)
			require.Equal(t, off.Reason, report.Reason, "%s, with %q: report is off but for its report", c.Name, rule)
			compared++
		}
	}
	require.Greater(t, compared, 500)
}
