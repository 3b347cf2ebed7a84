package difftest_test

import (
	"slices"
	"strings"
)

func init() {
	good := func(more string) string {
		return `{"active":true,"aud":"https://api.example","sub":"alice","exp":946688400` + more + `}`
	}
	on := func(name string, k kind, right side, section, why string, is func(raw []byte) bool, example string) {
		answer.differences = append(answer.differences, difference{
			name: name, kind: k, parsers: []string{jsonV2}, right: right, section: section, why: why,
			is: func(s sample) bool { return is([]byte(s.text)) }, example: sample{text: example},
		})
	}
	on("a byte order mark", onlyOurs, both,
		"RFC 8259, section 8.1", "a reader may ignore one; a configured issuer that writes it is no attacker",
		func(a []byte) bool { return strings.HasPrefix(string(a), "\ufeff") }, "\ufeff"+good(""))
	on("token_type that is no access token's", onlyTheirs, ours,
		"RFC 7662, section 2.2", "it is that of RFC 6749, section 5.1: a refresh token or a token of an unknown kind is not one to let in",
		func(a []byte) bool { return kindOf(a, "token_type") != 0 }, good(`,"token_type":"refresh_token"`))
	on("a DPoP token that names no key", onlyTheirs, ours,
		"RFC 9449, section 6.2", "the answer about a DPoP-bound token has cnf with jkt; without it the token would pass as a bearer token",
		func(a []byte) bool { return strings.EqualFold(text(a, "token_type"), "DPoP") }, good(`,"token_type":"DPoP"`))
	on("what only an ID token or a logout token has", onlyTheirs, ours,
		"RFC 8725, section 3.12", "one kind of JWT must not pass for another: nonce, at_hash, c_hash, s_hash and events",
		func(a []byte) bool {
			return slices.ContainsFunc([]string{"nonce", "at_hash", "c_hash", "s_hash", "events"}, func(name string) bool { return kindOf(a, name) != 0 })
		}, good(`,"events":{}`))
	on("client_id that is no string", onlyOurs, both,
		"RFC 7662, section 2.2", "it is optional; here it is empty then, and a rule about clients refuses",
		func(a []byte) bool { k := kindOf(a, "client_id"); return k != 0 && k != '"' }, good(`,"client_id":1`))
	on("nested deeper than 32", onlyTheirs, both,
		"RFC 8259, section 9", "a parser may limit the depth",
		func(a []byte) bool { return isDeep(a, 32) }, good(`,"a":`+nest(32)))
	on("a date outside of the years 1 to 9999", onlyTheirs, both,
		"RFC 7519, section 2", "as for a claim set",
		func(a []byte) bool { return hasDate(a, outOfYears) }, `{"active":true,"aud":"https://api.example","exp":1764422400000}`)
}
