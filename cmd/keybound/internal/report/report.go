// Package report answers "how does a machine, or a colleague, read the result?" It
// writes one list of items as JSON, JUnit, SARIF and HTML.
package report

import (
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"time"
)

// Status of an item.
type Status string

// The statuses. Accepted is a failure that a baseline accepts.
const (
	Pass     Status = "pass"
	Fail     Status = "fail"
	Skip     Status = "skip"
	Accepted Status = "accepted"
)

// Item is one row or finding.
type Item struct {
	ID       string        `json:"id"`
	Section  string        `json:"section,omitempty"`
	Sentence string        `json:"sentence,omitempty"`
	Level    string        `json:"level,omitempty"`    // MUST, SHOULD, MAY, PRACTICE; FORM: refused as it must be, in another form
	Severity string        `json:"severity,omitempty"` // error, warning, note: of a failure
	Status   Status        `json:"status"`
	Message  string        `json:"message,omitempty"`
	Fix      string        `json:"fix,omitempty"`
	Duration time.Duration `json:"-"`
}

// Weight is the level of a row, or the severity of a finding.
func (i Item) Weight() string {
	if i.Level == "" {
		return i.Severity
	}
	return i.Level
}

// Report is the result of one run.
type Report struct {
	Command string    `json:"command"` // check or doctor
	Target  string    `json:"target"`
	Profile string    `json:"profile,omitempty"`
	Time    time.Time `json:"time"`
	Items   []Item    `json:"items"`
}

// Cut replaces every text by cut of it, which takes secrets out.
func (r *Report) Cut(cut func(string) string) {
	r.Target = cut(r.Target)
	for i := range r.Items {
		for _, text := range []*string{&r.Items[i].Message, &r.Items[i].Fix} {
			*text = cut(*text)
		}
	}
}

// Count returns how many items have a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, i := range r.Items {
		if i.Status == s {
			n++
		}
	}
	return n
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Failure *junitDetail `xml:"failure,omitempty"`
	Skipped *junitDetail `xml:"skipped,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a JUnit test suite. An accepted failure is a skipped test.
func (r *Report) WriteJUnit(w io.Writer) error {
	s := junitSuite{
		Name: "keybound " + r.Command + " " + r.Target, Tests: len(r.Items), Failures: r.Count(Fail),
		Skipped: r.Count(Skip) + r.Count(Accepted), Time: r.Time.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, i := range r.Items {
		c := junitCase{Class: "keybound." + r.Command, Name: i.ID, Time: fmt.Sprintf("%.3f", i.Duration.Seconds())}
		switch i.Status {
		case Fail:
			c.Failure = &junitDetail{Message: i.Message, Type: i.Weight(), Text: i.detail()}
		case Skip, Accepted:
			c.Skipped = &junitDetail{Message: i.Message}
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (i Item) detail() string {
	text := i.Message
	if i.Fix != "" {
		text += "\n" + i.Fix
	}
	if i.Section != "" {
		text += "\n" + i.Section + ": " + i.Sentence
	}
	return text
}

// WriteSARIF writes SARIF 2.1.0: failures, and accepted failures as suppressed ones.
func (r *Report) WriteSARIF(w io.Writer) error {
	type object = map[string]any
	rules, results := []object{}, []object{}
	index := make(map[string]int) // several findings may be of one rule
	for _, i := range r.Items {
		if _, known := index[i.ID]; !known {
			index[i.ID] = len(rules)
			rules = append(rules, object{
				"id":                   i.ID,
				"shortDescription":     object{"text": orID(i.Section, i.ID)},
				"fullDescription":      object{"text": orID(i.Sentence, i.ID)},
				"defaultConfiguration": object{"level": severityOr(i.Severity)},
			})
		}
		if i.Status != Fail && i.Status != Accepted {
			continue
		}
		result := object{
			"ruleId": i.ID, "ruleIndex": index[i.ID], "level": severityOr(i.Severity),
			"message":   object{"text": i.detail()},
			"locations": []object{{"physicalLocation": object{"artifactLocation": object{"uri": r.Target}}}},
		}
		if i.Status == Accepted {
			result["suppressions"] = []object{{"kind": "external", "justification": i.Fix}}
		}
		results = append(results, result)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"tool":    object{"driver": object{"name": "keybound " + r.Command, "informationUri": "https://github.com/keybound-go/middleware", "rules": rules}},
			"results": results,
		}},
	})
}

func orID(text, id string) string {
	if text == "" {
		return id
	}
	return text
}

func severityOr(s string) string {
	if s == "" {
		return "note"
	}
	return s
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// WriteHTML writes a page that stands alone: no script, no style and no image of
// other hosts.
func (r *Report) WriteHTML(w io.Writer) error {
	return pageTemplate.Execute(w, struct {
		*Report
		Passed, Failed, Skipped, Excused int
		When                             string
	}{r, r.Count(Pass), r.Count(Fail), r.Count(Skip), r.Count(Accepted), r.Time.UTC().Format(time.RFC1123)})
}
