package jose_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

type claims struct {
	Text   string             `json:"text"`
	List   []string           `json:"list"`
	Date   jose.NumericDate   `json:"date"`
	Any    any                `json:"any"`
	Raw    json.RawMessage    `json:"raw"`
	Nested struct{ A string } `json:"nested"`
}

func TestUnmarshalIsStrict(t *testing.T) {
	const depth = 8
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, test := range []struct {
		name, raw string
		want      error
	}{
		{"an empty object", `{}`, nil},
		{"white space around it", " \t\r\n{} \n", nil},
		{"unknown members", `{"x":1,"y":{"z":[true,null]}}`, nil},
		{"text not a string", `{"text":1}`, jose.ErrPayload},
		{"list not an array", `{"list":"a"}`, jose.ErrPayload},
		{"list of numbers", `{"list":[1]}`, jose.ErrPayload},
		{"JSON-01 a known member twice", `{"text":"a","text":"a"}`, jose.ErrPayload},
		{"JSON-01 twice, once escaped", `{"text":"a","\u0074ext":"b"}`, jose.ErrPayload},
		{"JSON-01 an unknown member twice", `{"x":1,"x":1}`, jose.ErrPayload},
		{"JSON-01 nested in an unknown member", `{"x":[{"y":{"z":1,"z":2}}]}`, jose.ErrPayload},
		{"JSON-01 nested in any", `{"any":{"y":{"z":1,"z":2}}}`, jose.ErrPayload},
		{"JSON-01 nested in a raw member", `{"raw":{"y":{"z":1,"z":2}}}`, jose.ErrPayload},
		{"JSON-02 another case is another name", `{"Text":1,"TEXT":2,"text":"a"}`, nil},
		{"JSON-03 BCP-3.7 invalid UTF-8", "{\"text\":\"\xff\"}", jose.ErrPayload},
		{"JSON-03 BCP-3.7 in an unknown member", "{\"x\":\"\xff\"}", jose.ErrPayload},
		{"JSON-03 BCP-3.7 in a raw member", "{\"raw\":\"\xff\"}", jose.ErrPayload},
		{"JSON-03 overlong", "{\"text\":\"\xc0\x80\"}", jose.ErrPayload},
		{"JSON-03 an encoded surrogate", "{\"text\":\"\xed\xa0\x80\"}", jose.ErrPayload},
		{"JSON-03 a lone high surrogate", `{"text":"\ud800"}`, jose.ErrPayload},
		{"JSON-03 a lone low surrogate", `{"x":"\udc00"}`, jose.ErrPayload},
		{"JSON-03 surrogates in the wrong order", `{"x":"\udc00\ud800"}`, jose.ErrPayload},
		{"JSON-03 a surrogate pair", `{"text":"\ud83d\ude00"}`, nil},
		{"JSON-03 a byte order mark", "\ufeff{}", jose.ErrPayload},
		{"JSON-04 nothing", ``, jose.ErrPayload},
		{"JSON-04 null", `null`, jose.ErrPayload},
		{"JSON-04 an array", `[]`, jose.ErrPayload},
		{"JSON-04 a string", `"{}"`, jose.ErrPayload},
		{"JSON-04 two objects", `{}{}`, jose.ErrPayload},
		{"JSON-04 a NUL after it", "{}\x00", jose.ErrPayload},
		{"JSON-04 depth 8", deep(depth), nil},
		{"JSON-04 depth 9", deep(depth + 1), jose.ErrTooDeep},
		{"JSON-04 depth 9 of arrays", `{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`, jose.ErrTooDeep},
		{"JSON-04 wide is not deep", `{"x":[` + strings.Repeat("{},", 100) + `[]]}`, nil},
		{"JSON-04 brackets in strings are text", `{"text":"[[[[[[[[[[\"[[[[[[[[[[\\"}`, nil},
		{"JSON-04 a nesting bomb", `{"x":` + strings.Repeat("[", 1<<20), jose.ErrTooDeep},
		{"JSON-05 a date", `{"date":1}`, nil},
		{"JSON-05 a date as text", `{"date":"1"}`, jose.ErrPayload},
		{"JSON-05 a null date", `{"date":null}`, jose.ErrPayload},
		{"JSON-05 a leading zero", `{"date":01}`, jose.ErrPayload},
		{"JSON-05 a plus sign", `{"date":+1}`, jose.ErrPayload},
		{"JSON-05 hexadecimal", `{"date":0x10}`, jose.ErrPayload},
		{"JSON-05 not a number", `{"date":NaN}`, jose.ErrPayload},
		{"JSON-05 infinity", `{"date":Infinity}`, jose.ErrPayload},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c claims
			if err := jose.Unmarshal([]byte(test.raw), &c, depth); err != test.want {
				t.Errorf("struct: %v, want %v", err, test.want)
			}
			if strings.HasPrefix(test.name, "JSON-05") || strings.Contains(test.name, "not a") || strings.Contains(test.name, "of numbers") {
				return
			}
			m := map[string]any{}
			if err := jose.Unmarshal([]byte(test.raw), &m, depth); err != test.want {
				t.Errorf("map: %v, want %v", err, test.want)
			}
		})
	}
}

// What a parser does for each member, above all to find a name that is there
// twice, costs a stranger nothing and us a lot.
func TestTheNumberOfMembersIsLimited(t *testing.T) {
	object := func(members int) string {
		var b strings.Builder
		for i := range members {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	var v struct{}
	require.NoError(t, jose.Unmarshal([]byte(object(256)), &v, 8))
	require.Equal(t, jose.ErrTooDeep, jose.Unmarshal([]byte(object(257)), &v, 8))
	require.Equal(t, jose.ErrTooDeep, jose.Unmarshal([]byte(`{"x":`+object(256)+`}`), &v, 8), "those of all objects count")
	require.NoError(t, jose.Unmarshal([]byte(`{"x":"`+strings.Repeat(":", 999)+`"}`), &v, 8), "those within strings are none")
	key := josetest.NewKey("ES256")
	_, err := jose.Parse(key.SignRaw([]byte(`{"alg":"ES256"}`), []byte(object(257))), 1<<20, 8)
	require.Equal(t, jose.ErrTooDeep, err)
}

func TestUnmarshalDecodes(t *testing.T) {
	var c claims
	err := jose.Unmarshal([]byte(`{"text":"a\u0062","list":["x"],"TEXT":"no","raw":{ "a":1},"any":[1],"nested":{"A":"y","a":"no"}}`), &c, 8)
	if err != nil {
		t.Fatal(err)
	}
	if c.Text != "ab" || len(c.List) != 1 || string(c.Raw) != `{ "a":1}` || c.Nested.A != "y" || c.Any.([]any)[0] != 1.0 {
		t.Errorf("%+v", c)
	}
	if c.Date.Present() || !c.Date.Time().IsZero() {
		t.Error("a date out of nothing")
	}
}

func TestNumericDate(t *testing.T) {
	at := func(s string) time.Time {
		instant, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
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
			var strict, std struct {
				Date jose.NumericDate `json:"date"`
			}
			raw := []byte(`{"date":` + test.number + `}`)
			err := jose.Unmarshal(raw, &strict, 8)
			if stdErr := json.Unmarshal(raw, &std); (err == nil) != (stdErr == nil) || std != strict {
				t.Errorf("encoding/json: %v, %v; %v, %v", stdErr, std, err, strict)
			}
			if test.want.IsZero() {
				if err != jose.ErrPayload || strict.Date.Present() {
					t.Errorf("%v, %v", strict.Date.Time(), err)
				}
				return
			}
			if got := strict.Date.Time(); err != nil || !got.Equal(test.want) || !strict.Date.Present() {
				t.Errorf("%v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestADateThatIsRefusedLeavesTheOldOne(t *testing.T) {
	var d jose.NumericDate
	if err := d.UnmarshalJSON([]byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := d.UnmarshalJSON([]byte(`"2"`)); err != jose.ErrDate || d.Time().Unix() != 1 {
		t.Error(err, d.Time())
	}
	if err := d.UnmarshalJSON(nil); err != jose.ErrDate {
		t.Error(err)
	}
}
