package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
)

func sample() *report.Report {
	return &report.Report{Command: "check", Target: "https://api.example/", Profile: "rfc9449", Time: time.Unix(0, 0), Items: []report.Item{
		{ID: "A/1", Section: "RFC 1", Sentence: "It MUST <b>.", Level: "MUST", Severity: "error", Status: report.Fail, Message: `got "200" & <script>`},
		{ID: "A/2", Section: "RFC 1", Sentence: "It SHOULD.", Level: "SHOULD", Severity: "warning", Status: report.Accepted, Message: "got 400", Fix: "known"},
		{ID: "A/3", Status: report.Pass}, {ID: "A/4", Status: report.Skip, Message: "opaque"},
	}}
}

func TestJUnitCountsAndEscapes(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteJUnit(&b))
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &suite))
	require.Equal(t, 4, suite.Tests)
	require.Equal(t, 1, suite.Failures)
	require.Equal(t, 2, suite.Skipped)
	require.Equal(t, `got "200" & <script>`, suite.Cases[0].Failure.Message)
	require.NotNil(t, suite.Cases[1].Skipped)
	require.Nil(t, suite.Cases[2].Failure)
}

func TestSARIFHasARuleForEachResult(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteSARIF(&b))
	var doc struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID       string `json:"ruleId"`
				RuleIndex    int    `json:"ruleIndex"`
				Level        string
				Suppressions []any
			}
		}
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &doc))
	require.Equal(t, "2.1.0", doc.Version)
	require.Len(t, doc.Runs[0].Results, 2)
	for _, r := range doc.Runs[0].Results {
		require.Equal(t, r.RuleID, doc.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID)
	}
	require.Equal(t, "error", doc.Runs[0].Results[0].Level)
	require.Len(t, doc.Runs[0].Results[1].Suppressions, 1)
}

func TestThePageStandsAloneAndEscapes(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteHTML(&b))
	page := b.String()
	require.Contains(t, page, "1 fail")
	require.Contains(t, page, "&lt;script&gt;")
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "src=")
	require.NotContains(t, page, "href=")
	b.Reset()
	require.NoError(t, sample().WriteJSON(&b))
	var r report.Report
	require.NoError(t, json.Unmarshal(b.Bytes(), &r))
	require.Equal(t, "A/1", r.Items[0].ID)
}
