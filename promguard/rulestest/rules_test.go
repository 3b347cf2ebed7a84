package rulestest

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"

	"github.com/keybound-go/middleware/promguard"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func loadRules(t testing.TB) []rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile("../alerts.yml")
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), quiet)
	require.Empty(t, errs)
	require.Len(t, groups.Groups, 1)
	return groups.Groups[0].Rules
}

// ruleTests is the format of promtool, as far as alerts_test.yml uses it.
type ruleTests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []ruleTest     `yaml:"tests"`
}

type ruleTest struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Series   []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []struct {
		Name     string         `yaml:"alertname"`
		At       model.Duration `yaml:"eval_time"`
		Expected []struct {
			Labels      map[string]string `yaml:"exp_labels"`
			Annotations map[string]string `yaml:"exp_annotations"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

func loadTests(t testing.TB) ruleTests {
	t.Helper()
	text, err := os.ReadFile("../alerts_test.yml")
	require.NoError(t, err)
	var all ruleTests
	require.NoError(t, yaml.UnmarshalStrict(text, &all))
	require.NotEmpty(t, all.Tests)
	return all
}

// load puts the data of a test where queries find it, from the Unix epoch on.
func (rt *ruleTest) load(t testing.TB) (storage.Storage, *promql.Engine) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "load %v\n", rt.Interval)
	for _, s := range rt.Series {
		fmt.Fprintf(&b, "  %s %s\n", s.Series, s.Values)
	}
	return promqltest.LoadedStorage(t, b.String()), promqltest.NewTestEngine(t, false, 5*time.Minute, promqltest.DefaultMaxSamplesPerQuery)
}

func toLabels(m map[string]string) labels.Labels { return labels.FromMap(m) }

// TestAlerts is promtool test rules.
func TestAlerts(t *testing.T) {
	all, ruleList := loadTests(t), loadRules(t)
	require.GreaterOrEqual(t, len(ruleList), 5)
	fired, silent := make(map[string]bool), make(map[string]bool)
	for _, rt := range all.Tests {
		t.Run(rt.Name, func(t *testing.T) {
			store, engine := rt.load(t)
			query := rules.EngineQueryFunc(engine, store)
			exprs := parser.NewParser(parser.Options{})
			for _, rule := range ruleList {
				expr, err := exprs.ParseExpr(rule.Expr)
				require.NoError(t, err)
				alerting := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), time.Duration(rule.KeepFiringFor),
					toLabels(rule.Labels), toLabels(rule.Annotations), labels.EmptyLabels(), "", true, quiet)
				now := time.Unix(0, 0).UTC()
				for _, want := range rt.Alerts {
					if want.Name != rule.Alert {
						continue
					}
					// The tests of one alert are in the order of time.
					for end := time.Unix(0, 0).UTC().Add(time.Duration(want.At)); !now.After(end); now = now.Add(time.Duration(all.EvaluationInterval)) {
						_, err := alerting.Eval(t.Context(), 0, now, query, nil, 0)
						require.NoError(t, err)
					}
					var firing []*rules.Alert
					for _, a := range alerting.ActiveAlerts() {
						if a.State == rules.StateFiring {
							firing = append(firing, a)
						}
					}
					require.Len(t, firing, len(want.Expected), "%s at %v: %v", want.Name, want.At, alerting.ActiveAlerts())
					silent[want.Name] = silent[want.Name] || len(firing) == 0
					for i, expected := range want.Expected {
						fired[want.Name] = true
						got := firing[i].Labels.Map()
						delete(got, labels.AlertName)
						require.Equal(t, expected.Labels, got)
						for name, text := range expected.Annotations {
							require.Equal(t, text, firing[i].Annotations.Get(name))
						}
						require.NotContains(t, firing[i].Annotations.String(), "<error", "the templates expand")
					}
				}
			}
		})
	}
	for _, rule := range ruleList {
		require.True(t, fired[rule.Alert], "no test sees %s fire", rule.Alert)
		require.True(t, silent[rule.Alert], "no test sees %s be silent", rule.Alert)
		require.NotEmpty(t, rule.Annotations["summary"])
		require.NotEmpty(t, rule.Annotations["description"])
	}
}

// The page for operators explains every alert.
func TestEveryAlertIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for _, rule := range loadRules(t) {
		require.Contains(t, string(page), "\n| `"+rule.Alert+"` | ")
	}
}

type dashboard struct {
	Panels []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		FieldConfig struct {
			Defaults struct {
				Unit   string `json:"unit"`
				Custom struct {
					Stacking struct {
						Mode string `json:"mode"`
					} `json:"stacking"`
				} `json:"custom"`
			} `json:"defaults"`
		} `json:"fieldConfig"`
		Targets []struct {
			Expr   string `json:"expr"`
			Legend string `json:"legendFormat"`
		} `json:"targets"`
		GridPos struct{ X, Y, W, H int } `json:"gridPos"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string          `json:"name"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func loadDashboard(t testing.TB) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

// withVariables is a query as Grafana sends it, with all values of each variable.
func withVariables(expr string) string {
	return strings.NewReplacer("$job", ".*", "$guard", ".*").Replace(expr)
}

// known are the metrics of promguard with their labels.
func known(t testing.TB) map[string]map[string]bool {
	t.Helper()
	m, err := promguard.New(promguard.WithClientIDs("client"))
	require.NoError(t, err)
	descs := make(chan *prometheus.Desc, 100)
	m.Describe(descs)
	close(descs)
	all := make(map[string]map[string]bool)
	for d := range descs {
		text := d.String()
		_, name, _ := strings.Cut(text, `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		_, variable, _ := strings.Cut(text, "variableLabels: {")
		variable, _, _ = strings.Cut(variable, "}")
		by := map[string]bool{"job": true, "guard": true, "le": true}
		for _, label := range strings.Split(variable, ",") {
			by[label] = true
		}
		all[name] = by
		if strings.HasSuffix(name, "_seconds") {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				all[name+suffix] = by
			}
		}
	}
	return all
}

// requireKnown requires that every metric of a query, and every label, is there.
func requireKnown(t testing.TB, metrics map[string]map[string]bool, query string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	labelsInUse := make(map[string]bool)
	selectors := 0
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			selectors++
			by := metrics[n.Name]
			require.NotNil(t, by, "there is no metric %s: %s", n.Name, query)
			for _, m := range n.LabelMatchers {
				require.True(t, m.Name == model.MetricNameLabel || by[m.Name], "%s has no label %s", n.Name, m.Name)
			}
			for label := range by {
				labelsInUse[label] = true
			}
		}
		return nil
	})
	require.Positive(t, selectors)
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, label := range a.Grouping {
				require.True(t, labelsInUse[label], "no metric of %s has the label %s", query, label)
			}
		}
		return nil
	})
}

func TestEveryMetricOfTheRulesAndOfTheDashboardExists(t *testing.T) {
	metrics := known(t)
	require.Contains(t, metrics, "keybound_decisions_total")
	for _, rule := range loadRules(t) {
		requireKnown(t, metrics, rule.Expr)
	}
	for _, p := range loadDashboard(t).Panels {
		for _, target := range p.Targets {
			requireKnown(t, metrics, withVariables(target.Expr))
		}
	}
	for _, test := range loadTests(t).Tests {
		for _, s := range test.Series {
			requireKnown(t, metrics, s.Series)
		}
	}
}

// Every panel shows something of the test data, and no two stand in one place.
func TestEveryPanelHasData(t *testing.T) {
	d := loadDashboard(t)
	test := loadTests(t).Tests[0]
	store, engine := test.load(t)
	places := make(map[string]bool)
	for _, p := range d.Panels {
		require.NotEmpty(t, p.Description, p.Title)
		place := fmt.Sprint(p.GridPos.X, ",", p.GridPos.Y)
		require.False(t, places[place], "two panels at %s", place)
		places[place] = true
		for _, target := range p.Targets {
			lines := queryRange(t, engine, store, target.Expr)
			require.NotEmpty(t, lines, "%s: %s", p.Title, target.Expr)
			some := false
			for _, line := range lines {
				for _, point := range line.Floats {
					some = some || point.F > 0 && !math.IsNaN(point.F)
				}
			}
			require.True(t, some, "%s: %s", p.Title, target.Expr)
		}
	}
}

// queryRange is what a panel asks, for three hours.
func queryRange(t testing.TB, engine *promql.Engine, store storage.Storage, expr string) promql.Matrix {
	t.Helper()
	begin := time.Unix(0, 0).UTC()
	q, err := engine.NewRangeQuery(t.Context(), store, nil, withVariables(expr), begin.Add(5*time.Minute), begin.Add(3*time.Hour), time.Minute)
	require.NoError(t, err)
	result := q.Exec(t.Context())
	require.NoError(t, result.Err)
	matrix, err := result.Matrix()
	require.NoError(t, err)
	lines := make(promql.Matrix, 0, len(matrix))
	for _, series := range matrix { // the engine takes its memory back
		series.Floats = append([]promql.FPoint(nil), series.Floats...)
		lines = append(lines, series)
	}
	q.Close()
	return lines
}
