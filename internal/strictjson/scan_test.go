package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/strictjson"
)

const testMaxDepth = 8

// members reads raw; the values are as they stand in it.
func members(raw []byte, maxDepth int) (map[string]string, error) {
	all := map[string]string{}
	var o strictjson.Object
	for o.Start(raw, maxDepth); o.Next(); {
		all[string(o.Name())] = string(o.Value())
	}
	return all, o.Err()
}

// surrogate finds escapes of which encoding/json replaces those that stand alone.
var surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F]`)

// strictByTokens decides with the tokens of encoding/json, and a set of names for
// each object, whether raw is a strict object.
func strictByTokens(raw []byte, maxDepth int) bool {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var open []map[string]bool // nil for an array
	for name := false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil || len(open) == 0 && token != json.Delim('{') {
			return false
		}
		switch token {
		case json.Delim('{'):
			open, name = append(open, map[string]bool{}), true
		case json.Delim('['):
			open, name = append(open, nil), false
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			name = len(open) > 0 && open[len(open)-1] != nil
		default:
			if names := open[len(open)-1]; names != nil {
				if name && names[token.(string)] {
					return false
				} else if name {
					names[token.(string)] = true
				}
				name = !name
			}
		}
		if len(open) > maxDepth {
			return false
		}
	}
}

// requireTheVerdictOfEncodingJSON fails if an Object accepts another text than a
// reader built on encoding/json, or reads something else. (The module difftest holds
// it against encoding/json/v2 as well.)
func requireTheVerdictOfEncodingJSON(t *testing.T, raw []byte, maxDepth int) {
	t.Helper()
	ours, err := members(raw, maxDepth)
	if strict := strictByTokens(raw, maxDepth); strict != (err == nil) && !(strict && surrogate.Match(raw)) {
		t.Fatalf("%q: %v, by tokens %v", raw, err, strict)
	}
	if err != nil {
		return
	}
	var theirs map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &theirs), "%q", raw)
	require.Len(t, ours, len(theirs), "%q", raw)
	for name, value := range theirs {
		require.Equal(t, string(value), ours[name], "%q", raw)
		var text string
		isText := value[0] == '"' && json.Unmarshal(value, &text) == nil
		got, ok := strictjson.Text([]byte(ours[name]))
		require.Equal(t, isText, ok, "%q", raw)
		require.Equal(t, text, got, "%q", raw)
	}
}

// jsonTexts are the texts that the readers of JSON are held against each other with.
func jsonTexts() []string {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	arrays := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	texts := []string{
		`{}`, ` { } `, `{"A":"b"}`, `{"A":null}`, `{"A":1}`, `{"A":-1.5e3}`, `{"A":1e400}`, `{"a":[true,false,null,"x",{}]}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"\u0061":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1},{"b":2}]}`,
		`{"a":{"a":{"a":1},"b":1},"b":1}`, `{"a":{"b":1},"b":2,"a":3}`, `{"":1}`, `{"":1,"":2}`, `{"A":"\ud83d\ude00"}`,
		`{"A":"\ud800"}`, `{"A":"\udc00"}`, `{"A":"\ud800\ud800"}`, `{"A":"\ud83dx"}`, `{"A":"\ud83d\n"}`, `{"A":"\u12"}`,
		`{"A":"\u00e9\"\\\/\b\f\n\r\t"}`, `{"A":"\x"}`, `{"A":"\`, `{"A":"`, `{"A":"\u00G0"}`, "{\"A\":\"\x00\"}", "{\"A\":\"\x7f\"}",
		"{\"A\":\"\xff\"}", "{\"A\":\"\xc0\x80\"}", "{\"A\":\"\xed\xa0\x80\"}", "{\"A\":\"\ufffd\"}", "{\"A\":\"é世😀\"}", "{\"\xff\":1}",
		"\ufeff{}", "{}\x00", `{}{}`, `[]`, `null`, `"a"`, ``, ` `, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`,
		`{"a" 1}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":+1}`, `{"a":0x1}`,
		`{"a":tru}`, `{"a":True}`, `{"a":nulll}`, `{"a":NaN}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{]}`, `{"a":1]`,
		`{"a"/**/:1}`, "{\"a\"\u00a0:1}", "\t\r\n {\t\"A\"\r:\n\"x\" , \"b\" : [ 1 , { \"c\" : 2 } ] }\n",
		nested(testMaxDepth), nested(testMaxDepth + 1), arrays(testMaxDepth - 1), arrays(testMaxDepth), `{"x":` + strings.Repeat("[", 5000),
	}
	for _, n := range []int{31, 32, 33, 100, 257} {
		texts = append(texts, objectOf(n, nil), objectOf(n, func(int) string { return `{"a":0,"b":{}}` }))
		texts = append(texts, strings.TrimSuffix(objectOf(n, nil), "}")+`,"`+fmt.Sprint(n-1)+`":1}`)
		texts = append(texts, strings.TrimSuffix(objectOf(n, nil), "}")+`,"\u0030":1}`)
	}
	return texts
}

func objectOf(members int, value func(i int) string) string {
	var b strings.Builder
	for i := range members {
		v := "0"
		if value != nil {
			v = value(i)
		}
		fmt.Fprintf(&b, `,"%d":%s`, i, v)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestAnObjectIsReadAsEncodingJSONReadsIt(t *testing.T) {
	for _, text := range jsonTexts() {
		requireTheVerdictOfEncodingJSON(t, []byte(text), testMaxDepth)
	}
	// Every prefix, and every byte changed, of a text that has everything.
	whole := []byte(`{"A":"\u0061\ud83d\ude00é","b":[-1.5e+3,true,null,{"c":{}}],"d":{"A":"x"}}`)
	for i := range whole {
		requireTheVerdictOfEncodingJSON(t, whole[:i], testMaxDepth)
		for c := range 256 {
			changed := bytes.Clone(whole)
			changed[i] = byte(c)
			requireTheVerdictOfEncodingJSON(t, changed, testMaxDepth)
		}
	}
	// Every byte at every place of a string that is longer than a machine word.
	long := []byte(`{"A":"` + strings.Repeat("x", 20) + `","B":"é"}`)
	for i := range 20 {
		for c := range 256 {
			changed := bytes.Clone(long)
			changed[6+i] = byte(c)
			requireTheVerdictOfEncodingJSON(t, changed, testMaxDepth)
			changed[6+(i+1)%20] = byte(c)
			requireTheVerdictOfEncodingJSON(t, changed, testMaxDepth)
		}
	}
	for depth := range 4 {
		requireTheVerdictOfEncodingJSON(t, []byte(`{"a":[{}]}`), depth)
	}
}

func FuzzObject(f *testing.F) {
	for _, text := range jsonTexts() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { requireTheVerdictOfEncodingJSON(t, raw, testMaxDepth) })
}

func TestAnObjectGivesAwayNoMemoryThatAppendCouldShare(t *testing.T) {
	raw := []byte(`{"a":{"b":1},"c":2}`)
	var o strictjson.Object
	o.Start(raw, testMaxDepth)
	require.True(t, o.Next())
	require.Equal(t, `{"b":1}`, string(o.Value()))
	_ = append(o.Value(), "XXXX"...)
	require.True(t, o.Next())
	require.Equal(t, "2", string(o.Value()))
	require.False(t, o.Next())
	require.False(t, o.Next(), "the end is the end")
	require.NoError(t, o.Err())
}

func TestTheZeroObjectHasNoMembers(t *testing.T) {
	var o strictjson.Object
	require.False(t, o.Next())
	require.Error(t, o.Err())
}
