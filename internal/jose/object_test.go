package jose_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
)

// members reads raw by an Object; the values are compacted, as those of Unmarshal are.
func members(raw []byte, maxDepth int) (map[string]string, error) {
	all := map[string]string{}
	var o jose.Object
	for o.Start(raw, maxDepth); o.Next(); {
		all[string(o.Name())] = string(o.Value())
	}
	return all, o.Err()
}

// requireSameMembers holds an Object against Unmarshal, which decodes with
// another parser, and fails if they differ in anything.
func requireSameMembers(t *testing.T, raw []byte, maxDepth int) {
	t.Helper()
	var theirs map[string]json.RawMessage
	theirErr := jose.Unmarshal(raw, &theirs, maxDepth)
	ours, err := members(raw, maxDepth)
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("%q: %v, Unmarshal: %v", raw, err, theirErr)
	}
	// Of what is both malformed and too large, whichever is found first.
	if err != nil && err != theirErr && !(theirErr == jose.ErrTooDeep && err == jose.ErrPayload) {
		t.Fatalf("%q: %v, Unmarshal: %v", raw, err, theirErr)
	}
	if err != nil {
		return
	}
	if len(ours) != len(theirs) {
		t.Fatalf("%q: %q, Unmarshal: %q", raw, ours, theirs)
	}
	for name, value := range theirs {
		if ours[name] != string(value) {
			t.Fatalf("%q: %q, Unmarshal: %q", raw, ours, theirs)
		}
	}
	var text, theirText struct{ A string }
	requireSameText(t, raw, &text.A, jose.Unmarshal(raw, &theirText, maxDepth), theirText.A)
	var date struct {
		A jose.NumericDate
	}
	err = jose.Unmarshal(raw, &date, maxDepth)
	var ourDate jose.NumericDate
	var o jose.Object
	for o.Start(raw, maxDepth); o.Next(); {
		if string(o.Name()) == "A" {
			o.Date(&ourDate)
		}
	}
	if (err == nil) != (o.Err() == nil) || err == nil && ourDate != date.A {
		t.Fatalf("%q: %v %v, Unmarshal: %v %v", raw, ourDate, o.Err(), date.A, err)
	}
}

func requireSameText(t *testing.T, raw []byte, text *string, theirErr error, theirText string) {
	t.Helper()
	var o jose.Object
	for o.Start(raw, testMaxDepth); o.Next(); {
		if string(o.Name()) == "A" {
			o.Text(text)
		}
	}
	if (theirErr == nil) != (o.Err() == nil) || theirErr == nil && *text != theirText {
		t.Fatalf("%q: %q %v, Unmarshal: %q %v", raw, *text, o.Err(), theirText, theirErr)
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
	for _, n := range []int{23, 24, 25, 100, 255, 256, 257} {
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

func TestAnObjectIsReadAsUnmarshalReadsIt(t *testing.T) {
	for _, text := range jsonTexts() {
		requireSameMembers(t, []byte(text), testMaxDepth)
	}
	// Every prefix, and every octet changed, of a text that has everything.
	whole := []byte(`{"A":"\u0061\ud83d\ude00é","b":[-1.5e+3,true,null,{"c":{}}],"d":{"A":"x"}}`)
	for i := range whole {
		requireSameMembers(t, whole[:i], testMaxDepth)
		for c := range 256 {
			changed := bytes.Clone(whole)
			changed[i] = byte(c)
			requireSameMembers(t, changed, testMaxDepth)
		}
	}
	// Every octet at every place of a string that is longer than a machine word.
	long := []byte(`{"A":"` + strings.Repeat("x", 20) + `","B":"é"}`)
	for i := range 20 {
		for c := range 256 {
			changed := bytes.Clone(long)
			changed[6+i] = byte(c)
			requireSameMembers(t, changed, testMaxDepth)
			changed[6+(i+1)%20] = byte(c)
			requireSameMembers(t, changed, testMaxDepth)
		}
	}
	for depth := range 4 {
		requireSameMembers(t, []byte(`{"a":[{}]}`), depth)
	}
}

func FuzzObject(f *testing.F) {
	for _, text := range jsonTexts() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { requireSameMembers(t, raw, testMaxDepth) })
}

func TestAnObjectGivesAwayNoMemoryThatAppendCouldShare(t *testing.T) {
	raw := []byte(`{"a":{"b":1},"c":2}`)
	var o jose.Object
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
	var o jose.Object
	require.False(t, o.Next())
	require.Error(t, o.Err())
}
