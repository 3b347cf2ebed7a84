package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/corpus"
)

// requireVerdict compares an answer with what the corpus says.
func requireVerdict(t *testing.T, want corpus.Verdict, status int, h http.Header, o middleware.Outcome) {
	t.Helper()
	if want.Status == 0 {
		require.NoError(t, o.Err)
		require.Zero(t, o.Status)
		return
	}
	require.Equal(t, want.Status, status, "%v", o.Err)
	require.Equal(t, want.Reason, o.Reason)
	var got []string
	for _, line := range h["Www-Authenticate"] {
		c := parseChallenge(t, line)
		text := c.scheme
		if code := c.params["error"]; code != "" {
			text += " " + code
		}
		got = append(got, text)
	}
	require.Equal(t, want.Challenges, got)
	require.Equal(t, want.Nonce, h.Get("DPoP-Nonce") != "")
	require.Equal(t, "no-store", h.Get("Cache-Control"))
}

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

// The corpus, through each way into a guard.
func TestCorpus(t *testing.T) {
	w := corpus.NewWorld(t, corpus.Place{})
	var o middleware.Outcome
	observer := middleware.WithObserver(func(_ context.Context, told middleware.Outcome) { o = told })
	names := make(map[string]bool)
	for _, c := range corpus.Cases(t) {
		require.False(t, names[c.Name], "two cases are called %q", c.Name)
		names[c.Name] = true
		prepared := func() (*middleware.Guard, *http.Request) {
			g, r := w.Guard(c, observer), w.Request(c)
			if c.Request.SentBefore {
				_, err := g.Check(r)
				require.NoError(t, err)
			}
			return g, r
		}
		t.Run(c.Name+", by Wrap", func(t *testing.T) {
			g, r := prepared()
			a := serve(g, r)
			require.Equal(t, c.Verdict.Status == 0, a.called)
			requireVerdict(t, c.Verdict, a.Code, a.Header(), o)
		})
		t.Run(c.Name+", by Judge", func(t *testing.T) {
			g, r := prepared()
			v := g.Judge(r.Context(), middleware.RequestOf(r))
			require.Equal(t, c.Verdict.Status == 0, v.Pass)
			requireVerdict(t, c.Verdict, v.Denial.Status, v.Header, o)
		})
		t.Run(c.Name+", by Check and Refuse", func(t *testing.T) {
			g, r := prepared()
			_, err := g.Check(r)
			require.Equal(t, c.Verdict.Status == 0, err == nil)
			rec := httptest.NewRecorder()
			if err != nil {
				g.Refuse(rec, r, err)
			}
			requireVerdict(t, c.Verdict, rec.Code, rec.Header(), o)
		})
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
