package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

const kongPage = "../docs/kong.md"

// tableOfKeys is the part of the page that is made from the table in the tree.
func tableOfKeys() string {
	var b strings.Builder
	b.WriteString("\n| key | Kong's default | what works | in Go |\n|---|---|---|---|\n")
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, k := range kongfile.Keys {
		byDefault := ""
		if k.Default != "" {
			byDefault = "`" + k.Default + "`"
		}
		works, becomes := k.Values, k.Go
		if works == "" {
			works, becomes = "-", k.Why
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, cell(byDefault), cell(works), cell(becomes))
	}
	return b.String() + "\n"
}

func TestTheTableOfKeysIsOnThePage(t *testing.T) {
	text, err := os.ReadFile(kongPage)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), "test -run TheTable . -->\n")
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "<!-- /keys -->")
	require.True(t, ok)
	want := before + "test -run TheTable . -->\n" + tableOfKeys() + "<!-- /keys -->" + after
	if os.Getenv("KONG_UPDATE") != "" {
		require.NoError(t, os.WriteFile(kongPage, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "KONG_UPDATE=1 writes it anew")
}

func TestTheGoOfThePageIsThatOfTheExamples(t *testing.T) {
	text, err := os.ReadFile(kongPage)
	require.NoError(t, err)
	examples, err := os.ReadFile("kong_example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 5)
	for _, block := range blocks {
		indented := "\t" + strings.ReplaceAll(strings.TrimSuffix(block[1], "\n"), "\n", "\n\t")
		require.Contains(t, string(examples), indented)
	}
}

func TestTheYAMLOfThePageIsUnderstood(t *testing.T) {
	text, err := os.ReadFile(kongPage)
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		yaml := good[:strings.Index(good, "plugins:")] + block[1]
		if !strings.HasPrefix(block[1], "plugins:") {
			yaml = good + block[1]
			for _, key := range []string{"auth_methods"} {
				if strings.Contains(block[1], key) {
					yaml = strings.Replace(good, "      "+key+": [bearer]\n", "", 1) + block[1]
				}
			}
		}
		lookup := func(string) (string, bool) { return "0123456789abcdef0123456789abcdef", true }
		f := kongfile.Read(lookup, kongfile.Source{Name: "page", Text: []byte(yaml)})
		if err := f.Problems.Err(); err != nil {
			require.Contains(t, err.Error(), `there is no CA with the id`, block[1])
		}
	}
}

func TestTheKeysThatTheReaderReadsAreThoseThatTheTableSaysWork(t *testing.T) {
	source, err := os.ReadDir("kongfile")
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range source {
		if name := file.Name(); name != "keys.go" && strings.HasSuffix(name, ".go") {
			text, err := os.ReadFile("kongfile/" + name)
			require.NoError(t, err)
			all.Write(text)
		}
	}
	for _, k := range kongfile.Keys {
		if k.Values == "" {
			continue
		}
		read := strings.Contains(all.String(), `"`+k.Name+`"`) || regexp.MustCompile(`^(audience|scopes|groups|roles)_(required|claim)$`).MatchString(k.Name)
		require.True(t, read, "%s is said to work and not read", k.Name)
	}
}

// rooms are where the functions of the column "in Go" are declared.
var rooms = map[string]string{
	"": "..", "oidc": "../oidc", "dpop": "../dpop", "mtlspop": "../mtlspop", "session": "../session", "introspect": "../oidc/introspect", "exchange": "../oidc/exchange",
	"clientauth": "../oidc/clientauth", "redisstore": "../redisstore", "reverseproxy": "../reverseproxy",
}

func TestTheTableNamesFunctionsThatExist(t *testing.T) {
	declared := make(map[string]string)
	for room, dir := range rooms {
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file.Name(), ".go") {
				text, err := os.ReadFile(dir + "/" + file.Name())
				require.NoError(t, err)
				declared[room] += string(text)
			}
		}
	}
	code, name := regexp.MustCompile("`[^`]+`"), regexp.MustCompile(`(?:\b([a-z]+)\.)?\b([A-Z][A-Za-z]+)\b`)
	for _, k := range kongfile.Keys {
		room := ""
		for _, span := range code.FindAllString(k.Go, -1) {
			for _, found := range name.FindAllStringSubmatch(span, -1) {
				if found[1] != "" {
					room = found[1]
				}
				if room == "http" || room == "time" || room == "redis" {
					room = ""
					continue
				}
				require.Contains(t, rooms, room, k.Name)
				assert.True(t, strings.Contains(declared[room], "func "+found[2]+"(") || strings.Contains(declared[room], ") "+found[2]+"(") || strings.Contains(declared[""], "func "+found[2]+"("),
					"%s: %s.%s does not exist", k.Name, room, found[2])
			}
		}
	}
}
