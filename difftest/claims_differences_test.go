package difftest_test

import (
	stdjson "encoding/json"
	"math"
	"slices"
	"strconv"
)

var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func init() {
	on := func(name string, k kind, parsers []string, right side, section, why string, is func(raw []byte) bool, example string) {
		claimSet.differences = append(claimSet.differences, difference{
			name: name, kind: k, parsers: parsers, right: right, section: section, why: why,
			is: func(s sample) bool { return is([]byte(s.text)) }, example: sample{text: example},
		})
	}
	all := []string{goJOSE, golangJWT, jwxV3}

	on("an optional claim that is null", onlyOurs, []string{jwxV3}, both,
		"RFC 7519, section 4.1", "each claim is optional; issuers write null for what they do not have, and the policy of a verifier finds what is missing",
		func(c []byte) bool { return hasKind(c, 'n', registered...) }, `{"exp":null}`)
	on("aud that is null", onlyOurs, []string{goJOSE, jwxV3}, both,
		"RFC 7519, section 4.1.3", "as for the others; a verifier with an audience refuses what has none",
		func(c []byte) bool { return kindOf(c, "aud") == 'n' }, `{"aud":null}`)
	on("a negative date", onlyOurs, []string{jwxV3}, ours,
		"RFC 7519, section 2", "NumericDate is a number of seconds from 1970 on, and JSON numbers may be negative: a time long ago",
		func(c []byte) bool { return hasDate(c, func(n float64) bool { return n <= 0 }) }, `{"exp":-1.5}`)
	on("a date that is a string", onlyTheirs, []string{golangJWT, jwxV3}, ours,
		"RFC 7519, section 2", "NumericDate is a JSON number",
		func(c []byte) bool { return hasKind(c, '"', "exp", "nbf", "iat") }, `{"exp":"1764422400"}`)
	on("a date outside of the years 1 to 9999", onlyTheirs, all, both,
		"RFC 7519, section 2", "a date is one of RFC 3339, whose years have four digits; milliseconds in the place of seconds would be a token that never ends",
		func(c []byte) bool { return hasDate(c, outOfYears) }, `{"exp":1764422400000}`)
	on("nbf or iat after the year 9999", bothDiffer, all, both,
		"RFC 7519, section 4.1.5", "here it is the end of those years, so that the token is not valid yet, by how much the operator is told",
		func(c []byte) bool { return hasDate(c, outOfYears) }, `{"iat":1764422400000}`)
	on("a name twice", onlyTheirs, []string{golangJWT, jwxV3}, ours,
		"RFC 7519, section 4", "a reader must refuse it or take the last one; two readers that choose differently see two tokens",
		hasDuplicates, `{"iss":"a","iss":"b"}`)
	on("a name in another case", bothDiffer, []string{golangJWT}, ours,
		"RFC 7519, section 10.1.1", "names of claims are case-sensitive; encoding/json reads ISS as iss",
		func(c []byte) bool { return hasFolded(c, registered...) }, `{"iss":"a","Iss":"b"}`)
	on("a name in another case, of another type", onlyOurs, []string{golangJWT}, ours,
		"RFC 7519, section 10.1.1", "as above",
		func(c []byte) bool { return hasFolded(c, registered...) }, `{"ISS":1}`)
	on("no UTF-8, or half of a surrogate pair", onlyTheirs, all, ours,
		"RFC 8259, section 8.1", "JSON is UTF-8; they put U+FFFD in the place of what is none, so that two subjects become one",
		hasBadUTF8, `{"sub":"\ud800"}`)
	on("null in the place of an object", onlyTheirs, []string{goJOSE, golangJWT}, ours,
		"RFC 7519, section 4", "a claim set is a JSON object",
		isNoObject, `null`)
	on("nested deeper than 32", onlyTheirs, all, both,
		"RFC 8259, section 9", "a parser may limit the depth",
		func(c []byte) bool { return isDeep(c, 32) }, `{"a":`+nest(40)+`}`)
	on("a number beyond float64 that is not used", onlyOurs, []string{jwxV3}, both,
		"RFC 8259, section 6", "an implementation may limit the range; here a number is text until it is used",
		hasHugeNumber, `{"a":1e400}`)
	on("a claim of other RFCs that is malformed", onlyTheirs, all, ours,
		"RFC 7800, section 3.1", "they do not know cnf, scope and client_id: a binding that cannot be read is no unbound token (RFC 9449, section 6; RFC 8705, section 3.1)",
		func(c []byte) bool {
			return kindOf(c, "cnf") != 0 || kindOf(c, "scope") != 0 || kindOf(c, "client_id") != 0
		}, `{"cnf":{}}`)
}

// hasDate reports whether a date has such a value.
func hasDate(raw []byte, such func(float64) bool) bool {
	all, _ := members(raw)
	return slices.ContainsFunc([]string{"exp", "nbf", "iat"}, func(name string) bool {
		text := string(all[name])
		var s string
		if stdjson.Unmarshal(all[name], &s) == nil {
			text = s
		}
		n, err := strconv.ParseFloat(text, 64)
		return (err == nil || math.IsInf(n, 0)) && such(n)
	})
}

func outOfYears(n float64) bool { return n <= -62135596800 || n >= 253402300800 }
