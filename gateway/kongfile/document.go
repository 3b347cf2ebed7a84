package kongfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document is a YAML file while it is read.
type document struct {
	*Problems
	name  string
	order int
	env   *environment
}

func (d *document) add(line int, format string, args ...any) {
	d.Problems.add(d, line, format, args...)
}

// open parses text and returns what stands at its top, if it can be parsed.
func (d *document) open(text []byte) []*yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := decoder.Decode(&root); err != nil {
		d.add(1, "not YAML: %v", err)
		return nil
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		d.add(max(more.Line, 1), "a second document: there has to be one in each file")
	}
	return root.Content
}

// mapping is a YAML mapping that is read key by key. What has not been read when
// done is called is a mistake: that is how every unsupported key is found.
type mapping struct {
	*document
	at     int    // line
	where  string // path from the top
	keys   []*yaml.Node
	lines  map[string]int
	values map[string]*yaml.Node
	read   map[string]bool
	known  map[string]*Key // of Kong's schema; nil: not known
}

// mapping makes one of a node, or notes a mistake and returns nil.
func (d *document) mapping(n *yaml.Node, where string) *mapping {
	m := &mapping{document: d, at: n.Line, where: where, lines: make(map[string]int), values: make(map[string]*yaml.Node), read: make(map[string]bool)}
	if n.Kind != yaml.MappingNode {
		d.add(n.Line, "%s%s where a mapping is expected", prefix(where), kind(n))
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			d.add(key.Line, "%s%s as a key is not supported", prefix(where), kind(key))
			continue
		case m.values[key.Value] != nil:
			d.add(key.Line, "%s is given twice", m.path(key.Value))
			continue
		}
		m.keys = append(m.keys, key)
		m.values[key.Value] = value
		m.lines[key.Value] = key.Line
	}
	return m
}

func prefix(where string) string {
	if where == "" {
		return ""
	}
	return where + ": "
}

func (m *mapping) path(key string) string {
	if m.where == "" {
		return key
	}
	return m.where + "." + key
}

func (m *mapping) place(line int) Place { return Place{m.name, line, m.where} }

// line is where key stands, or the mapping if it is not there.
func (m *mapping) line(key string) int {
	if line, ok := m.lines[key]; ok {
		return line
	}
	return m.at
}

// wrong notes a mistake in the value of key.
func (m *mapping) wrong(key, format string, args ...any) {
	m.add(m.line(key), "%s: %s", m.path(key), fmt.Sprintf(format, args...))
}

// mistake notes a mistake in the mapping as a whole.
func (m *mapping) mistake(format string, args ...any) {
	m.add(m.at, "%s%s", prefix(m.where), fmt.Sprintf(format, args...))
}

// get returns the value of key, or nil if it is absent, null, or Kong's default: to
// Kong the three are the same, and what Kong writes into a dump is the default.
func (m *mapping) get(key string) *yaml.Node {
	n := m.asWritten(key)
	if n == nil || m.isDefault(key, n) {
		return nil
	}
	return n
}

// asWritten is get for a key whose default is worth saying.
func (m *mapping) asWritten(key string) *yaml.Node {
	m.read[key] = true
	n := m.values[key]
	if n == nil || isNull(n) {
		return nil
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (m *mapping) has(key string) bool { return m.get(key) != nil }

// isNull reports whether key is there and null.
func (m *mapping) isNull(key string) bool { return m.values[key] != nil && isNull(m.values[key]) }

// scalar returns the text of a value with the given YAML tag. A value from the
// environment has no tag of its own.
func (m *mapping) scalar(key string, n *yaml.Node, wanted string, tags ...string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		m.wrong(key, "%s where %s is expected", kind(n), wanted)
		return "", false
	}
	text, fromEnvironment, err := m.env.expand(n.Value)
	switch {
	case err != nil:
		m.wrong(key, "%v", err)
	case strings.Contains(text, "${{") && !fromEnvironment:
		m.wrong(key, `%q: the only template is ${{ env "NAME" }}`, text)
	case !fromEnvironment && !slices.Contains(tags, n.Tag):
		m.wrong(key, "%s where %s is expected", kind(n), wanted)
	default:
		return text, true
	}
	return "", false
}

// text returns a string, or fallback if there is none.
func (m *mapping) text(key, fallback string) string {
	return m.textOf(key, m.get(key), fallback)
}

func (m *mapping) textOf(key string, n *yaml.Node, fallback string) string {
	if n == nil {
		return fallback
	}
	s, ok := m.scalar(key, n, "a string", "!!str")
	if ok && s == "" {
		m.wrong(key, "is empty")
	}
	return s
}

// oneOf returns one of several strings.
func (m *mapping) oneOf(key, fallback string, allowed ...string) string {
	s := m.text(key, fallback)
	if s != "" && !slices.Contains(allowed, s) {
		m.wrong(key, "%q is not supported; it can be %s", s, strings.Join(allowed, ", "))
	}
	return s
}

// texts returns a list of strings, none of them empty. One string is a list of one,
// as decK reads it.
func (m *mapping) texts(key string, fallback ...string) []string {
	n := m.get(key)
	if n == nil {
		return fallback
	}
	items := n.Content
	switch n.Kind {
	case yaml.SequenceNode:
	case yaml.ScalarNode:
		items = []*yaml.Node{n}
	default:
		m.wrong(key, "%s where a list of strings is expected", kind(n))
		return nil
	}
	all := []string{}
	for _, item := range items {
		s, ok := m.scalar(key, item, "a string in the list", "!!str")
		switch {
		case ok && s == "":
			m.add(item.Line, "%s: an empty string", m.path(key))
		case ok:
			all = append(all, s)
		}
	}
	return all
}

// only returns the one element of a list that Kong allows to be longer.
func (m *mapping) only(key string) string {
	all := m.texts(key)
	if len(all) > 1 {
		m.wrong(key, "has %d elements: one client is supported", len(all))
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func (m *mapping) flag(key string, fallback bool) bool {
	return m.flagOf(key, m.get(key), fallback)
}

func (m *mapping) flagOf(key string, n *yaml.Node, fallback bool) bool {
	if n == nil {
		return fallback
	}
	if b, ok := oldBoolean(n); ok {
		return b
	}
	s, ok := m.scalar(key, n, "true or false", "!!bool")
	b, err := strconv.ParseBool(s)
	if ok && err != nil {
		m.wrong(key, "%q where true or false is expected", s)
	}
	return b
}

// oldBoolean reads what is a boolean in YAML 1.1, which decK speaks, and a string in
// YAML 1.2, unless it is in quotes.
func oldBoolean(n *yaml.Node) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return false, false
	}
	switch n.Value {
	case "on", "On", "ON", "yes", "Yes", "YES", "y", "Y":
		return true, true
	case "off", "Off", "OFF", "no", "No", "NO", "n", "N":
		return false, true
	}
	return false, false
}

// duration returns a number of units, or fallback.
func (m *mapping) duration(key string, unit, fallback time.Duration) time.Duration {
	return m.durationOf(key, m.get(key), unit, fallback)
}

func (m *mapping) durationOf(key string, n *yaml.Node, unit, fallback time.Duration) time.Duration {
	if n == nil {
		return fallback
	}
	f, ok := m.numberOf(key, n)
	if ok && !(f >= 0 && f <= 1e9) {
		m.wrong(key, "%v is out of range", n.Value)
		return 0
	}
	return time.Duration(f * float64(unit))
}

func (m *mapping) numberOf(key string, n *yaml.Node) (float64, bool) {
	s, ok := m.scalar(key, n, "a number", "!!int", "!!float")
	f, err := strconv.ParseFloat(s, 64)
	if ok && err != nil {
		m.wrong(key, "%q where a number is expected", s)
		return 0, false
	}
	return f, ok
}

// integer returns a whole number between two others, or fallback.
func (m *mapping) integer(key string, fallback, least, most int) int {
	n := m.get(key)
	if n == nil {
		return fallback
	}
	f, ok := m.numberOf(key, n)
	if !ok {
		return fallback
	}
	if f != float64(int(f)) || int(f) < least || int(f) > most {
		m.wrong(key, "%s is not a whole number between %d and %d", n.Value, least, most)
		return fallback
	}
	return int(f)
}

// mustBe refuses every value of key but one, with the reason.
func (m *mapping) mustBe(key string, value bool, why string) {
	if m.flag(key, value) != value {
		m.wrong(key, "%v is refused on purpose: %s", !value, why)
	}
}

// within returns the mapping under key, or nil.
func (m *mapping) within(key string) *mapping {
	n := m.get(key)
	if n == nil {
		return nil
	}
	return m.members(key, m.mapping(n, m.path(key)))
}

// members tells a record, or one of a list, which keys Kong has for it.
func (m *mapping) members(key string, record *mapping) *mapping {
	if k := m.known[key]; record != nil && k != nil && len(k.Members) > 0 {
		record.known = byName(k.Members)
	}
	return record
}

// list returns the mappings in a list.
func (m *mapping) list(key string) (all []*mapping) {
	n := m.get(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		m.wrong(key, "%s where a list is expected", kind(n))
		return nil
	}
	for i, item := range n.Content {
		if one := m.mapping(item, fmt.Sprintf("%s[%d]", m.path(key), i)); one != nil {
			all = append(all, m.members(key, one))
		}
	}
	return all
}

// ignore reads keys that mean nothing here: ids, tags and the like.
func (m *mapping) ignore(keys ...string) {
	for _, key := range keys {
		m.read[key] = true
	}
}

// ignoreAll reads all keys of a record that is not in use.
func (m *mapping) ignoreAll() {
	for _, key := range m.keys {
		m.read[key.Value] = true
	}
}

// done notes every key that has not been read, unless it is one of Kong's that is
// null or at Kong's default and so changes nothing. why may know more than that it
// is not supported.
func (m *mapping) done(why func(key string) string) {
	for _, key := range m.keys {
		if m.full() {
			return // the reasons below take their time
		}
		older := why != nil && why(key.Value) != "" && isNull(m.values[key.Value])
		if m.read[key.Value] || older || m.isIdle(key.Value) {
			continue
		}
		reason := ""
		if known := m.known[key.Value]; known != nil {
			reason = known.Why
		}
		if reason == "" && why != nil {
			reason = why(key.Value)
		}
		if reason == "" {
			reason = "is not supported" + m.suggestion(key.Value)
		}
		m.wrong(key.Value, "%s", reason)
	}
}

// suggestion names a key that is read and that key may be a slip of, or is "". Keys of
// Kong's own are none.
func (m *mapping) suggestion(key string) string {
	if m.known[key] != nil {
		return ""
	}
	best, least := "", 3
	for _, candidate := range slices.Sorted(maps.Keys(m.read)) {
		if d := distance(key, candidate); d < least && d*3 <= len(candidate) {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is how many bytes must be added, removed or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// kind says what a node is.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode, n.Tag == "!!merge":
		return "an alias, which is not supported,"
	}
	switch n.Tag {
	case "!!str":
		return "a string"
	case "!!bool":
		return "a boolean"
	case "!!int", "!!float":
		return "a number"
	case "!!null":
		return "null"
	}
	return "a " + n.Tag
}
