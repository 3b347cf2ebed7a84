package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/strictjson"
)

// claims has one member of each type that an Object reads.
type claims struct {
	Text string
	List []string
	Date strictjson.NumericDate
	Any  string // the JSON
}

func (c *claims) read(raw []byte, maxDepth int, start func(*strictjson.Object, []byte, int)) error {
	var o strictjson.Object
	for start(&o, raw, maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "text":
			o.Text(&c.Text)
		case "list":
			o.List(&c.List)
		case "date":
			o.Date(&c.Date)
		case "any", "cnf":
			c.Any = string(o.Value())
		}
	}
	return o.Err()
}

func TestAnObjectIsReadStrictly(t *testing.T) {
	const depth = 8
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, test := range []struct {
		name, raw string
		want      error
	}{
		{"an empty object", `{}`, nil},
		{"white space around it", " \t\r\n{} \n", nil},
		{"unknown members", `{"x":1,"y":{"z":[true,null]}}`, nil},
		{"text not a string", `{"text":1}`, strictjson.ErrMalformed},
		{"list not an array", `{"list":"a"}`, strictjson.ErrMalformed},
		{"list of numbers", `{"list":[1]}`, strictjson.ErrMalformed},
		{"JSON-01 a known member twice", `{"text":"a","text":"a"}`, strictjson.ErrMalformed},
		{"JSON-01 twice, once escaped", `{"text":"a","\u0074ext":"b"}`, strictjson.ErrMalformed},
		{"JSON-01 an unknown member twice", `{"x":1,"x":1}`, strictjson.ErrMalformed},
		{"JSON-01 nested in an unknown member", `{"x":[{"y":{"z":1,"z":2}}]}`, strictjson.ErrMalformed},
		{"JSON-01 nested in any", `{"any":{"y":{"z":1,"z":2}}}`, strictjson.ErrMalformed},
		{"JSON-01 nested in a raw member", `{"raw":{"y":{"z":1,"z":2}}}`, strictjson.ErrMalformed},
		{"JSON-02 another case is another name", `{"Text":1,"TEXT":2,"text":"a"}`, nil},
		{"JSON-03 BCP-3.7 invalid UTF-8", "{\"text\":\"\xff\"}", strictjson.ErrMalformed},
		{"JSON-03 BCP-3.7 in an unknown member", "{\"x\":\"\xff\"}", strictjson.ErrMalformed},
		{"JSON-03 BCP-3.7 in a raw member", "{\"raw\":\"\xff\"}", strictjson.ErrMalformed},
		{"JSON-03 overlong", "{\"text\":\"\xc0\x80\"}", strictjson.ErrMalformed},
		{"JSON-03 an encoded surrogate", "{\"text\":\"\xed\xa0\x80\"}", strictjson.ErrMalformed},
		{"JSON-03 a lone high surrogate", `{"text":"\ud800"}`, strictjson.ErrMalformed},
		{"JSON-03 a lone low surrogate", `{"x":"\udc00"}`, strictjson.ErrMalformed},
		{"JSON-03 surrogates in the wrong order", `{"x":"\udc00\ud800"}`, strictjson.ErrMalformed},
		{"JSON-03 a surrogate pair", `{"text":"\ud83d\ude00"}`, nil},
		{"JSON-03 a byte order mark", "\ufeff{}", strictjson.ErrMalformed},
		{"JSON-04 nothing", ``, strictjson.ErrMalformed},
		{"JSON-04 null", `null`, strictjson.ErrMalformed},
		{"JSON-04 an array", `[]`, strictjson.ErrMalformed},
		{"JSON-04 a string", `"{}"`, strictjson.ErrMalformed},
		{"JSON-04 two objects", `{}{}`, strictjson.ErrMalformed},
		{"JSON-04 a NUL after it", "{}\x00", strictjson.ErrMalformed},
		{"JSON-04 depth 8", deep(depth), nil},
		{"JSON-04 depth 9", deep(depth + 1), strictjson.ErrTooDeep},
		{"JSON-04 depth 9 of arrays", `{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`, strictjson.ErrTooDeep},
		{"JSON-04 wide is not deep", `{"x":[` + strings.Repeat("{},", 100) + `[]]}`, nil},
		{"JSON-04 brackets in strings are text", `{"text":"[[[[[[[[[[\"[[[[[[[[[[\\"}`, nil},
		{"JSON-04 a nesting bomb", `{"x":` + strings.Repeat("[", 1<<20), strictjson.ErrTooDeep},
		{"JSON-05 a date", `{"date":1}`, nil},
		{"JSON-05 a date as text", `{"date":"1"}`, strictjson.ErrMalformed},
		{"JSON-05 a null date", `{"date":null}`, strictjson.ErrMalformed},
		{"JSON-05 a leading zero", `{"date":01}`, strictjson.ErrMalformed},
		{"JSON-05 a plus sign", `{"date":+1}`, strictjson.ErrMalformed},
		{"JSON-05 hexadecimal", `{"date":0x10}`, strictjson.ErrMalformed},
		{"JSON-05 not a number", `{"date":NaN}`, strictjson.ErrMalformed},
		{"JSON-05 infinity", `{"date":Infinity}`, strictjson.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := new(claims).read([]byte(test.raw), depth, (*strictjson.Object).Start); err != test.want {
				t.Errorf("Start: %v, want %v", err, test.want)
			}
			want := test.want
			if test.name == "JSON-05 a null date" {
				want = nil
			}
			if err := new(claims).read([]byte(test.raw), depth, (*strictjson.Object).StartDocument); err != want {
				t.Errorf("StartDocument: %v, want %v", err, want)
			}
		})
	}
}

func TestAbsentNullAndWrongType(t *testing.T) {
	const bad = "malformed"
	for _, test := range []struct{ raw, exact, document string }{
		{`{}`, "", ""},
		{`{"text":null}`, bad, ""},
		{`{"list":null}`, bad, ""},
		{`{"date":null}`, bad, ""},
		{`{"any":null}`, "null", ""},
		{`{"any": null }`, "null", ""},
		{`{"\u0061ny":null}`, "null", ""},
		{`{"any":[null]}`, "[null]", "[null]"},
		{`{"any":"null"}`, `"null"`, `"null"`},
		{`{"any":{"any":null}}`, `{"any":null}`, `{"any":null}`},
		{`{"cnf":null}`, "null", "null"},
		{`{"\u0063nf":null}`, "null", "null"},
		{`{"any":null,"any":1}`, bad, bad},
		{`{"any":1,"any":null}`, bad, bad},
		{`{"any":null,"text":null,"x":`, bad, bad},
		{`{"any":nul}`, bad, bad},
		{`{"text":1}`, bad, bad},
		{`{"text":false}`, bad, bad},
		{`{"text":["a"]}`, bad, bad},
		{`{"text":{}}`, bad, bad},
		{`{"list":"a"}`, bad, bad},
		{`{"list":{}}`, bad, bad},
		{`{"list":["a",null]}`, bad, bad},
		{`{"list":["a",1]}`, bad, bad},
		{`{"date":"1"}`, bad, bad},
		{`{"date":[1]}`, bad, bad},
		{`{"date":true}`, bad, bad},
	} {
		verdict := func(start func(*strictjson.Object, []byte, int)) string {
			var c claims
			if c.read([]byte(test.raw), 8, start) != nil {
				return bad
			}
			return c.Text + strings.Join(c.List, "") + c.Any
		}
		require.Equal(t, test.exact, verdict((*strictjson.Object).Start), "Start: %s", test.raw)
		require.Equal(t, test.document, verdict((*strictjson.Object).StartDocument), "StartDocument: %s", test.raw)
	}
}

func TestTheMembersThatMayNotBeNull(t *testing.T) {
	for name, absent := range map[string]bool{
		"cnf": false, "active": false, "issuer": false, "jwks_uri": false, "keys": false,
		"CNF": true, "iss": true, "jkt": true, "d": true, "introspection_endpoint": true, "token_type": true, "": true,
	} {
		var o strictjson.Object
		o.StartDocument([]byte(`{"`+name+`":null}`), 8)
		require.Equal(t, !absent, o.Next(), name)
	}
}

// B01: an issuer may put as much into a document as the limit of its size allows.
func TestB01TheNumberOfMembersAndElementsIsNotLimited(t *testing.T) {
	var clients, permissions strings.Builder
	for i := range 130 {
		fmt.Fprintf(&clients, `,"client-%d":{"roles":["reader","writer"]}`, i)
	}
	for i := range 90 {
		fmt.Fprintf(&permissions, `,{"scopes":["a:read"],"rsid":"%d","rsname":"resource %d"}`, i, i)
	}
	for name, raw := range map[string]string{
		"130 clients in resource_access": `{"resource_access":{` + clients.String()[1:] + `},"text":"x"}`,
		"90 permissions of UMA":          `{"authorization":{"permissions":[` + permissions.String()[1:] + `]},"text":"x"}`,
		"many members":                   strings.TrimSuffix(objectOf(10_000, nil), "}") + `,"text":"x"}`,
		"many names in one more object":  `{"any":` + objectOf(10_000, nil) + `,"text":"x"}`,
		"many elements":                  `{"any":[0` + strings.Repeat(",0", 100_000) + `],"text":"x"}`,
	} {
		var c claims
		require.NoError(t, c.read([]byte(raw), 8, (*strictjson.Object).Start), name)
		require.Equal(t, "x", c.Text, name)
	}
}

// With a search through all the names before it, each of these would take many
// seconds.
func TestTheTimeForManyNamesIsLinear(t *testing.T) {
	const n = 200_000
	many := objectOf(n, nil)
	for name, raw := range map[string]string{
		"in one object":                     many,
		"in an object within":               `{"a":` + many + `}`,
		"in many objects beside many names": `{"a":` + objectOf(n/4, func(int) string { return `{"a":0,"b":{"a":1}}` }) + `}`,
		"escaped":                           strings.ReplaceAll(many, `"1`, `"\u0031`),
	} {
		began := time.Now()
		_, err := members([]byte(raw), 8)
		require.NoError(t, err, name)
		require.Less(t, time.Since(began), 5*time.Second, name)
	}
}

func TestANameIsFoundAgainHoweverManyThereAre(t *testing.T) {
	for _, n := range []int{1, 31, 32, 33, 34, 63, 64, 65, 127, 128, 129, 1000} {
		for _, twice := range []int{0, n / 2, n - 1} {
			open := strings.TrimSuffix(objectOf(n, func(int) string { return `{"0":0,"1":{"0":[]}}` }), "}")
			again := fmt.Sprintf(`,"%d":0}`, twice)
			_, err := members([]byte(open+again), 8)
			require.Equal(t, strictjson.ErrMalformed, err, "%d names, %d again", n, twice)
			_, err = members([]byte(`{"a":`+open+again+`}`), 8)
			require.Equal(t, strictjson.ErrMalformed, err, "%d names, %d again, in an object within", n, twice)
			// The same name in an object within, and in the next one, is another one.
			_, err = members([]byte(open+fmt.Sprintf(`,"x":{"%d":0},"y":{"%d":0}}`, twice, twice)), 8)
			require.NoError(t, err, "%d names, %d within", n, twice)
		}
	}
}

func TestAnObjectDecodes(t *testing.T) {
	var c claims
	err := c.read([]byte(`{"text":"a\u0062","list":["x","\t"],"TEXT":"no","any":{ "a":1},"date":1}`), 8, (*strictjson.Object).Start)
	require.NoError(t, err)
	require.Equal(t, claims{Text: "ab", List: []string{"x", "\t"}, Any: `{ "a":1}`, Date: c.Date}, c)
	require.EqualValues(t, 1, c.Date.Time().Unix())
	var none strictjson.NumericDate
	require.False(t, none.Present())
	require.True(t, none.Time().IsZero())
}

func TestEveryEscapeIsDecoded(t *testing.T) {
	for _, text := range []string{
		``, `\"\\\/\b\f\n\r\t`, `\u0000\u001f\u007f`, `a\u00e9b`, `\uFFFD\ufffe`, `\ud83d\ude00`, `\uD83D\uDE00x`, `é\u4e16😀`,
	} {
		var want string
		require.NoError(t, json.Unmarshal([]byte(`"`+text+`"`), &want))
		got, ok := strictjson.Text([]byte(`"` + text + `"`))
		require.True(t, ok)
		require.Equal(t, want, got)
	}
}

func TestADateMayBeAnyNumberThatIsOne(t *testing.T) {
	at := func(s string) time.Time {
		instant, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return instant
	}
	for _, test := range []struct {
		number string
		want   time.Time // zero: refused
	}{
		{"0", at("1970-01-01T00:00:00Z")},
		{"-0", at("1970-01-01T00:00:00Z")},
		{"-0.0", at("1970-01-01T00:00:00Z")},
		{"1e-400", at("1970-01-01T00:00:00Z")},
		{"1562262618", at("2019-07-04T17:50:18Z")},
		{"1562262618.0", at("2019-07-04T17:50:18Z")},
		{"1.562262618e9", at("2019-07-04T17:50:18Z")},
		{"1562262618E0", at("2019-07-04T17:50:18Z")},
		{"15622626180e-1", at("2019-07-04T17:50:18Z")},
		{"1562262618.25", at("2019-07-04T17:50:18.25Z")},
		{"1562262618.000001", at("2019-07-04T17:50:18.000001Z")},
		{"1562262618.9999997", at("2019-07-04T17:50:18.999999Z")},
		{"-1", at("1969-12-31T23:59:59Z")},
		{"-0.5", at("1969-12-31T23:59:59.5Z")},
		{"-1.25", at("1969-12-31T23:59:58.75Z")},
		{"253402300799", at("9999-12-31T23:59:59Z")},
		{"253402300799.5", at("9999-12-31T23:59:59.5Z")},
		{"253402300800", time.Time{}},
		{"253402300800.0", time.Time{}},
		{"2.534023008e11", time.Time{}},
		{"-62135596801", time.Time{}},
		{"-62135596800", time.Time{}}, // would be no date
		{"-6.21355968e10", time.Time{}},
		{"-62135596799.9999999", time.Time{}},
		{"-62135596799.5", time.Time{}},
		{"-62135596799", at("0001-01-01T00:00:01Z")},
		{"-62135596800.5", time.Time{}},
		{"9223372036854775807", time.Time{}},
		{"9223372036854775808", time.Time{}},
		{"18446744073709551617", time.Time{}},
		{"-9223372036854775809", time.Time{}},
		{"1e30", time.Time{}},
		{"-1e30", time.Time{}},
		{"1e308", time.Time{}},
		{"1e400", time.Time{}},
		{"-1e400", time.Time{}},
		{"true", time.Time{}},
		{"false", time.Time{}},
		{"null", time.Time{}},
		{`"1562262618"`, time.Time{}},
		{"[1562262618]", time.Time{}},
		{"{}", time.Time{}},
	} {
		t.Run("JSON-05 "+test.number, func(t *testing.T) {
			var c claims
			err := c.read([]byte(`{"date":`+test.number+`}`), 8, (*strictjson.Object).Start)
			if test.want.IsZero() {
				require.Equal(t, strictjson.ErrMalformed, err)
				require.False(t, c.Date.Present())
				return
			}
			require.NoError(t, err)
			require.True(t, c.Date.Present())
			require.True(t, c.Date.Time().Equal(test.want), "%v", c.Date.Time())
		})
	}
}

func TestADateThatIsRefusedLeavesTheOldOne(t *testing.T) {
	var c claims
	require.NoError(t, c.read([]byte(`{"date":1}`), 8, (*strictjson.Object).Start))
	require.Error(t, c.read([]byte(`{"date":"2"}`), 8, (*strictjson.Object).Start))
	require.EqualValues(t, 1, c.Date.Time().Unix())
}

func TestElements(t *testing.T) {
	for raw, want := range map[string][]string{
		`[]`: {}, `[ 1 , "a" ,{"b":[ ]}]`: {"1", `"a"`, `{"b":[ ]}`}, `[null]`: {"null"},
		`{}`: nil, `null`: nil, `"a"`: nil, ``: nil,
	} {
		elements, ok := strictjson.Elements([]byte(raw))
		require.Equal(t, want != nil, ok, raw)
		var got []string
		for _, e := range elements {
			got = append(got, string(e))
		}
		require.ElementsMatch(t, want, got, raw)
	}
}

func TestB24AByteOrderMarkIsTakenFromDocumentsOnly(t *testing.T) {
	require.Equal(t, "{}", string(strictjson.WithoutBOM([]byte("\ufeff{}"))))
	require.Equal(t, "\ufeff{}", string(strictjson.WithoutBOM([]byte("\ufeff\ufeff{}"))), "one of them")
	require.Equal(t, "{}", string(strictjson.WithoutBOM([]byte("{}"))))
	require.Empty(t, strictjson.WithoutBOM(nil))
	for _, start := range []func(*strictjson.Object, []byte, int){(*strictjson.Object).Start, (*strictjson.Object).StartDocument} {
		require.Error(t, new(claims).read([]byte("\ufeff{}"), 8, start))
	}
}

func TestANumberOutsideOfTheYearsIsTakenForTheNearestDate(t *testing.T) {
	first, last := int64(-62135596799), int64(253402300799)
	for number, want := range map[string]int64{
		"1562262618": 1562262618, "1.5": 1, "1562262618000": last, "1e400": last, "253402300800": last, "9223372036854775808": last,
		"-62135596801": first, "-1e400": first, "-1e30": first,
	} {
		var d strictjson.NumericDate
		var o strictjson.Object
		o.Start([]byte(`{"date":`+number+`}`), 8)
		require.True(t, o.Next())
		o.NearestDate(&d)
		require.False(t, o.Next())
		require.NoError(t, o.Err(), number)
		require.Equal(t, want, d.Time().Unix(), number)
	}
	for _, other := range []string{`"1562262618"`, `"Infinity"`, `null`, `true`, `[1]`, `{}`} {
		var d strictjson.NumericDate
		var o strictjson.Object
		o.Start([]byte(`{"date":`+other+`}`), 8)
		require.True(t, o.Next())
		o.NearestDate(&d)
		require.Equal(t, strictjson.ErrMalformed, o.Err(), other)
		require.False(t, d.Present(), other)
	}
}

func TestATextMayStandForAListOfOne(t *testing.T) {
	for raw, want := range map[string][]string{
		`"a"`: {"a"}, `["a","b"]`: {"a", "b"}, `[]`: {}, `1`: nil, `[1]`: nil, `{}`: nil, `null`: nil,
	} {
		var list []string
		var o strictjson.Object
		o.Start([]byte(`{"aud":`+raw+`}`), 8)
		require.True(t, o.Next())
		o.TextOrList(&list)
		require.Equal(t, want != nil, o.Err() == nil, raw)
		require.Equal(t, want, list, raw)
	}
}
