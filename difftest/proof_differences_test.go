package difftest_test

import (
	stdjson "encoding/json"
	"net/url"
	"strings"
)

func init() {
	type at struct {
		name         string
		kind         kind
		parsers      []string
		right        side
		section, why string
		is           func(header, payload []byte) bool
		example      sample
	}
	bothParsers := []string{goJOSE, jwxV3}
	inHeader := func(is func([]byte) bool) func(h, p []byte) bool {
		return func(h, _ []byte) bool { return is(h) }
	}
	inPayload := func(is func([]byte) bool) func(h, p []byte) bool {
		return func(_, p []byte) bool { return is(p) }
	}
	inKey := func(is func([]byte) bool) func(h, p []byte) bool {
		return func(h, _ []byte) bool { all, _ := members(h); return is(all["jwk"]) }
	}
	header := func(text string) sample { return sample{header: text, payload: proofPayload()} }
	payload := func(text string) sample { return sample{header: proofHeader(""), payload: text} }
	key := func(more string) sample {
		return header(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + proofJWK(more) + `}`)
	}
	rows := []at{
		{
			"the header: an extension that must be understood", onlyTheirs, bothParsers, ours,
			"RFC 7515, section 4.1.11", "as for a compact JWS", inHeader(func(h []byte) bool { return kindOf(h, "crit") != 0 }), header(proofHeader(`,"crit":[]`)),
		},
		{
			"the header: a name twice", onlyTheirs, []string{jwxV3}, ours,
			"RFC 7515, section 4", "as for a compact JWS", inHeader(hasDuplicates), header(proofHeader(`,"alg":"EdDSA"`)),
		},
		{
			"the header: a member that is null", onlyTheirs, bothParsers, ours,
			"RFC 7515, section 4.1", "as for a compact JWS", inHeader(hasNull), header(proofHeader(`,"kid":null`)),
		},
		{
			"the header: no UTF-8, or half of a surrogate pair", onlyTheirs, bothParsers, ours,
			"RFC 7515, section 5.2", "as for a compact JWS", inHeader(hasBadUTF8), header(proofHeader(`,"x":"\ud800"`)),
		},
		{
			"the header: nested deeper than 8", onlyTheirs, bothParsers, both,
			"RFC 8259, section 9", "a parser may limit the depth", inHeader(func(h []byte) bool { return isDeep(h, 8) }), header(proofHeader(`,"x":[[[[[[[[1]]]]]]]]`)),
		},
		{
			"the header: a number beyond float64", onlyOurs, bothParsers, both,
			"RFC 8259, section 6", "as for a compact JWS", inHeader(hasHugeNumber), header(proofHeader(`,"x":1e400`)),
		},
		{
			"the header: a member that is not used here is malformed", onlyOurs, bothParsers, both,
			"RFC 7515, section 4", "as for a compact JWS", inHeader(hasUnused), header(proofHeader(`,"x5c":["AA"]`)),
		},
		{
			"the header: the name Ed25519", onlyOurs, bothParsers, ours,
			"RFC 9864, section 2.2", "as for a compact JWS", inHeader(func(h []byte) bool { return text(h, "alg") == "Ed25519" }), header(`{"typ":"dpop+jwt","alg":"Ed25519","jwk":` + proofJWK("") + `}`),
		},
		{
			"the header: white space around it", onlyOurs, []string{jwxV3}, ours,
			"RFC 7515, section 5.2", "as for a compact JWS", inHeader(func(h []byte) bool { return !isBareJSON(h) }), header(proofHeader("") + " "),
		},
		{
			"the key: a private member that is null", onlyTheirs, []string{goJOSE}, ours,
			"RFC 9449, section 4.2", "as for the jwk of a proof", inKey(privateIsNull), key(`,"d":null`),
		},
		{
			"the key: a private member of another kty", onlyTheirs, []string{jwxV3}, ours,
			"RFC 9449, section 4.2", "as for the jwk of a proof", inKey(hasPrivate), key(`,"k":"AA"`),
		},
		{
			"the key: another algorithm, or one that is null or empty", onlyTheirs, bothParsers, ours,
			"RFC 7517, section 4.4", "alg says what the key is for, and the header says something else", inKey(func(k []byte) bool { return kindOf(k, "alg") != 0 }), key(`,"alg":"ES256"`),
		},
		{
			"the key: bits behind its last byte, or line breaks in it", onlyTheirs, bothParsers, ours,
			"RFC 4648, section 3.5", "as for the jwk of a proof", inKey(func(k []byte) bool { return !isCanonicalKey(k) }), header(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + strings.Replace(proofJWK(""), "2ik", "2il", 1) + `}`),
		},
		{
			"the key: a member that is not used here has the wrong type", onlyOurs, bothParsers, both,
			"RFC 7517, section 4", "as for the jwk of a proof", inKey(hasIgnored), key(`,"kid":1`),
		},
		{
			"the key: a member of another kty that is no base64url", onlyOurs, []string{goJOSE}, both,
			"RFC 7517, section 4", "as for the jwk of a proof", inKey(hasForeign), key(`,"n":"!"`),
		},
		{
			"the key: a name in two cases", onlyOurs, []string{jwxV3}, ours,
			"RFC 7517, section 4", "as for the jwk of a proof", inKey(func(k []byte) bool { return hasFolded(k, "kty", "d") }), key(`,"KTY":"RSA"`),
		},
		{
			"the claims: a name twice", onlyTheirs, []string{goJOSE}, ours,
			"RFC 7519, section 4", "as for a claim set; encoding/json/v2, which reads the claims for jwx here, refuses it", inPayload(hasDuplicates), payload(proofPayload("}", `,"jti":"2"}`)),
		},
		{
			"the claims: no UTF-8, or half of a surrogate pair", onlyTheirs, []string{goJOSE}, ours,
			"RFC 8259, section 8.1", "two jti that differ in bad bytes would be one, and the other way round", inPayload(hasBadUTF8), payload(proofPayload(`"1"`, `"\ud800"`)),
		},
		{
			"the claims: one that is null", onlyTheirs, bothParsers, ours,
			"RFC 9449, section 4.2", "a client has no reason to write it, and null is neither a string nor a number", inPayload(func(p []byte) bool { return hasKind(p, 'n', "nonce", "exp", "nbf") }), payload(proofPayload("}", `,"nonce":null}`)),
		},
		{
			"the claims: nested deeper than 8", onlyTheirs, bothParsers, both,
			"RFC 8259, section 9", "a parser may limit the depth", inPayload(func(p []byte) bool { return isDeep(p, 8) }), payload(proofPayload("}", `,"a":[[[[[[[[1]]]]]]]]}`)),
		},
		{
			"the claims: exp or nbf outside of the years, or beyond float64", onlyOurs, bothParsers, both,
			"RFC 7519, section 2", "the end of the years that a date can have: these two can only make the window shorter", inPayload(hasHugeNumber), payload(proofPayload("}", `,"exp":1e400}`)),
		},
		{
			"the claims: a number beyond float64 that is not used", onlyOurs, []string{goJOSE}, both,
			"RFC 8259, section 6", "as for a claim set", inPayload(hasHugeNumber), payload(proofPayload("}", `,"a":1e400}`)),
		},
		{
			"the claims: htu in another spelling", onlyOurs, bothParsers, ours,
			"RFC 9449, section 4.3", "check 9 asks for syntax-based and scheme-based normalization (RFC 3986, sections 6.2.2 and 6.2.3); the reference compares texts", inPayload(isOtherSpelling), payload(proofPayload("orders", "a/../orders")),
		},
	}
	for _, r := range rows {
		dpopProof.differences = append(dpopProof.differences, difference{
			name: r.name, kind: r.kind, parsers: r.parsers, right: r.right, section: r.section, why: r.why, example: r.example,
			is: func(s sample) bool { return r.is([]byte(s.header), []byte(s.payload)) },
		})
	}
}

// isOtherSpelling reports whether net/url finds the scheme, host and path of proofURL in
// the htu, which is not spelt as it.
func isOtherSpelling(payload []byte) bool {
	all, _ := members(payload)
	var htu string
	if stdjson.Unmarshal(all["htu"], &htu) != nil {
		return false
	}
	u, err := url.Parse(htu)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Host, ":443"))
	path := u.JoinPath().Path // without dot segments, decoded
	return strings.ToLower(u.Scheme) == "https" && strings.TrimSuffix(host, ":") == "api.example" && u.User == nil && path == "/orders"
}
