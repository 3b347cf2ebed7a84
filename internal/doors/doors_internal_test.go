package doors

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/corpus"
)

func TestChallengesAreReadAsTheCorpusSpellsThem(t *testing.T) {
	for field, want := range map[string][]string{
		`DPoP algs="ES256 PS256"`: {"DPoP"},
		`DPoP`:                    {"DPoP"},
		`Bearer realm="a, error=\"x\", b", error="invalid_token"`:            {"Bearer invalid_token"},
		`DPoP algs="ES256", error="use_dpop_nonce", Bearer realm="api"`:      {"DPoP use_dpop_nonce", "Bearer"},
		`DPoP error="invalid_token", Bearer error="invalid_token", scope=""`: {"DPoP invalid_token", "Bearer invalid_token"},
		``: {""},
	} {
		if got := Challenges(http.Header{"Www-Authenticate": {field}}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if got := Challenges(http.Header{"Www-Authenticate": {"DPoP", "Bearer"}}); !slices.Equal(got, []string{"DPoP", "Bearer"}) {
		t.Errorf("two fields: %q", got)
	}
}

// made is a line of a door with two cases. One of them may be missing.
func made(name, why string) *line {
	l := newLine(Door{Name: name, Folder: "room"})
	l.ran(corpus.Case{Group: "one"})
	if why == "" {
		l.ran(corpus.Case{Group: "two"})
	} else {
		l.skip(corpus.Case{Group: "two"}, why)
	}
	return l
}

func TestEachDoorOwnsItsLines(t *testing.T) {
	page := "# Doors\n\nText.\n\n" + reasonsMark
	for _, l := range []*line{made("b", "No."), made("a", ""), made("b", "Never."), made("b", "Never.")} {
		var err error
		if page, err = l.into(page); err != nil {
			t.Fatal(err)
		}
	}
	want := `# Doors

Text.

| door | one (1) | two (1) |
|---|---:|---:|
| [a](../room) | 1 | 1 |
| [b](../room) | 1 | 0 of 1 |

` + reasonsMark + `- [b](../room), two, 1: Never.
`
	if page != want {
		t.Errorf("%s\nwant:\n%s", page, want)
	}
	if page, err := made("b", "").into(page); err != nil || strings.Contains(page, "Never") {
		t.Errorf("a reason that is over stays: %v, %s", err, page)
	}
	if _, err := made("a", "").into("no heading"); err == nil {
		t.Error("a page without the heading is no error")
	}
}
