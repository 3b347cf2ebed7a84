package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
)

// TestEveryFormatHoldsTheSameFindings reads back what each format has of the failures.
func TestEveryFormatHoldsTheSameFindings(t *testing.T) {
	r := &report.Report{Command: "doctor", Target: "https://api.example/orders?a=1&b=<2>", Time: time.Unix(1, 0)}
	odd := []string{"plain", `"quoted" & <tagged>`, "two\nlines", "é \u2028 ✓", "a]]>b", "100% {{.Target}}"}
	var want []string
	for i, text := range odd {
		for _, severity := range []string{"error", "warning", "note"} {
			id := fmt.Sprintf("finding/%d", i) // the same ID three times, as doctor has it
			item := report.Item{ID: id, Severity: severity, Status: report.Fail, Message: text + " " + severity, Fix: "Set " + text + "."}
			r.Items = append(r.Items, item)
			want = append(want, id+"|"+severity+"|"+squeeze(item.Message)+"|"+squeeze(item.Fix))
		}
		r.Items = append(r.Items, report.Item{ID: fmt.Sprintf("fine/%d", i), Status: report.Pass, Message: text},
			report.Item{ID: fmt.Sprintf("skipped/%d", i), Status: report.Skip, Message: text},
			report.Item{ID: fmt.Sprintf("known/%d", i), Severity: "error", Status: report.Accepted, Message: text, Fix: "because"})
	}
	slices.Sort(want)
	for name, got := range map[string][]string{"JSON": fromJSON(t, r), "JUnit": fromJUnit(t, r), "SARIF": fromSARIF(t, r), "HTML": fromHTML(t, r)} {
		slices.Sort(got)
		require.Equal(t, want, got, name)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func written(t *testing.T, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.Bytes()
}

func fromJSON(t *testing.T, r *report.Report) (found []string) {
	var doc report.Report
	require.NoError(t, json.Unmarshal(written(t, func(b *bytes.Buffer) error { return r.WriteJSON(b) }), &doc))
	for _, i := range doc.Items {
		if i.Status == report.Fail {
			found = append(found, i.ID+"|"+i.Severity+"|"+squeeze(i.Message)+"|"+squeeze(i.Fix))
		}
	}
	return found
}

func fromJUnit(t *testing.T, r *report.Report) (found []string) {
	var suite struct {
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Type    string `xml:"type,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(written(t, func(b *bytes.Buffer) error { return r.WriteJUnit(b) }), &suite))
	for _, c := range suite.Cases {
		if f := c.Failure; f != nil {
			fix := strings.TrimPrefix(f.Text, f.Message)
			found = append(found, c.Name+"|"+f.Type+"|"+squeeze(f.Message)+"|"+squeeze(fix))
		}
	}
	require.Equal(t, suite.Failures, len(found))
	return found
}

func fromSARIF(t *testing.T, r *report.Report) (found []string) {
	var doc struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID       string `json:"ruleId"`
				RuleIndex    int    `json:"ruleIndex"`
				Level        string
				Message      struct{ Text string }
				Suppressions []any
			}
		}
	}
	require.NoError(t, json.Unmarshal(written(t, func(b *bytes.Buffer) error { return r.WriteSARIF(b) }), &doc))
	rules := make(map[string]bool)
	for _, rule := range doc.Runs[0].Tool.Driver.Rules {
		require.False(t, rules[rule.ID], "a rule has one entry: %s", rule.ID)
		rules[rule.ID] = true
	}
	for _, result := range doc.Runs[0].Results {
		require.Equal(t, result.RuleID, doc.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID)
		if len(result.Suppressions) > 0 {
			continue
		}
		i := strings.LastIndex(result.Message.Text, "\nSet ")
		found = append(found, result.RuleID+"|"+result.Level+"|"+squeeze(result.Message.Text[:i])+"|"+squeeze(result.Message.Text[i:]))
	}
	return found
}

var htmlRow = regexp.MustCompile(`(?s)<tr><td><code>([^<]*)</code></td><td>([^<]*)</td><td>([^<]*)<br>([^<]*)<blockquote>`)

func fromHTML(t *testing.T, r *report.Report) (found []string) {
	page := string(written(t, func(b *bytes.Buffer) error { return r.WriteHTML(b) }))
	for _, m := range htmlRow.FindAllStringSubmatch(page, -1) {
		found = append(found, html.UnescapeString(m[1]+"|"+m[2]+"|"+squeeze(m[3])+"|"+squeeze(m[4])))
	}
	return found
}
