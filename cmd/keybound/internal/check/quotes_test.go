package check

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// keyWords are those of RFC 2119.
var keyWords = regexp.MustCompile(`\b(MUST|SHOULD|MAY|REQUIRED|RECOMMENDED|SHALL|OPTIONAL)\b`)

// TestAKeyWordIsTheRFCsOwn holds every sentence of a row that has a key word of RFC 2119
// against testdata/quotes.txt: without the words that stand there under a section that
// the row names, none is left. What a row says in words of its own has no key word.
//
// The sentences of quotes.txt were compared word by word with the published texts, where
// these could be had (see the head of the file); add to it only what you have compared.
func TestAKeyWordIsTheRFCsOwn(t *testing.T) {
	text, err := os.ReadFile("testdata/quotes.txt")
	require.NoError(t, err)
	type quote struct{ document, section, words string }
	var quotes []quote
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		place, words, ok := strings.Cut(line, ": ")
		require.True(t, ok, line)
		document, section, ok := strings.Cut(place, ", section ")
		require.True(t, ok, line)
		quotes = append(quotes, quote{document, section, words})
	}
	used := make(map[int]bool)
	for _, profile := range Profiles {
		for _, row := range Rows(profile) {
			rest := row.Sentence
			for i, q := range quotes {
				if !namesSection(row.Section, q.document, q.section) {
					continue
				}
				for _, words := range []string{q.words, strings.ToUpper(q.words[:1]) + q.words[1:]} {
					if strings.Contains(rest, words) {
						rest, used[i] = strings.ReplaceAll(rest, words, ""), true
					}
				}
			}
			if left := keyWords.FindString(rest); left != "" && !strings.HasPrefix(row.Section, "MCP") {
				t.Errorf("%s (%s): %s in words that are not the document's: %q", row.ID, row.Section, left, rest)
			}
		}
	}
	for i, q := range quotes {
		require.True(t, used[i], "no row quotes %s, section %s: %s", q.document, q.section, q.words)
	}
}

// namesSection reports whether a row's Section names a section of a document, alone or
// among others: "RFC 6750, sections 2 and 3.1; RFC 9449, section 4.3, check 8".
func namesSection(of, document, section string) bool {
	for part := range strings.SplitSeq(of, ";") {
		part = strings.TrimSpace(part)
		if !strings.HasPrefix(part, document+",") {
			continue
		}
		for word := range strings.FieldsFuncSeq(part[len(document):], func(r rune) bool { return r == ' ' || r == ',' }) {
			if word == section {
				return true
			}
		}
	}
	return false
}
