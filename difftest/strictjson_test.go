package difftest_test

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keybound-go/middleware/internal/strictjson"
)

const testMaxDepth = 8

// FuzzObject: internal/strictjson accepts exactly the objects that encoding/json/v2
// accepts, within the depth, and reads the same out of them.
func FuzzObject(f *testing.F) {
	for _, text := range jsonTexts() {
		f.Add([]byte(text))
	}
	f.Fuzz(requireSameMembers)
}

func TestEveryChangedByteHasTheSameVerdict(t *testing.T) {
	whole := []byte(`{"A":"\u0061\ud83d\ude00é","b":[-1.5e+3,true,null,{"c":{}}],"d":{"A":"x"}}`)
	for i := range whole {
		requireSameMembers(t, whole[:i])
		for c := range 256 {
			changed := bytes.Clone(whole)
			changed[i] = byte(c)
			requireSameMembers(t, changed)
		}
	}
}

func requireSameMembers(t *testing.T, raw []byte) {
	t.Helper()
	type member struct{ value, text string }
	ours := map[string]member{}
	var o strictjson.Object
	for o.Start(raw, testMaxDepth); o.Next(); {
		text, _ := strictjson.Text(o.Value())
		ours[string(o.Name())] = member{string(o.Value()), text}
	}
	var theirs map[string]jsontext.Value
	theirErr := json.Unmarshal(raw, &theirs)
	accepted := theirErr == nil && jsontext.Value(raw).Kind() == '{' && depth(raw) <= testMaxDepth
	if accepted != (o.Err() == nil) {
		t.Fatalf("%q: %v; encoding/json/v2: %v, depth %d", raw, o.Err(), theirErr, depth(raw))
	}
	if !accepted {
		return
	}
	if len(ours) != len(theirs) {
		t.Fatalf("%q: %v; encoding/json/v2: %v", raw, ours, theirs)
	}
	for name, value := range theirs {
		var text string
		if value.Kind() == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				t.Fatal(err)
			}
		}
		if ours[name] != (member{string(value), text}) {
			t.Fatalf("%q: %v; encoding/json/v2: %v", raw, ours, theirs)
		}
	}
	requireSameDates(t, raw, theirs)
}

// requireSameDates: what is a date is a number of encoding/json, of the same size to
// the microsecond.
func requireSameDates(t *testing.T, raw []byte, theirs map[string]jsontext.Value) {
	t.Helper()
	for name, value := range theirs {
		var date strictjson.NumericDate
		var o strictjson.Object
		for o.Start(raw, testMaxDepth); o.Next(); {
			if string(o.Name()) == name {
				o.Date(&date)
			}
		}
		var number float64
		err := stdjson.Unmarshal(value, &number)
		isDate := value.Kind() == '0' && err == nil && -62135596799 <= number && number < 253402300800
		if isDate != (o.Err() == nil) {
			t.Fatalf("%q: %v; encoding/json: %v, %v", raw, o.Err(), number, err)
		}
		if got := float64(date.Time().UnixMicro()) / 1e6; isDate && (got-number > 2e-6 || number-got > 2e-6) && number < 1e10 && number > -1e10 {
			t.Fatalf("%q: %v; encoding/json: %v", raw, got, number)
		}
	}
}

// depth is how deep the objects and arrays of valid JSON are nested.
func depth(raw []byte) (deepest int) {
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		if _, err := d.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, d.StackDepth())
	}
}

// jsonTexts are the seeds: each has something that parsers differ in.
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
