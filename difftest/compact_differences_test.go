package difftest_test

import (
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/josetest"
)

// headerOf is the header of a compact JWS, or of one that is yet to be signed.
func headerOf(s sample) []byte {
	if s.text != "" {
		return lenient(part(s.text, 0))
	}
	return []byte(s.header)
}

func payloadOf(s sample) []byte {
	if s.text != "" {
		return lenient(part(s.text, 1))
	}
	return []byte(s.payload)
}

// headerRow is a difference in the reading of a header, for the targets compact and
// signed.
type headerRow struct {
	name            string
	kind            kind
	compact, signed []string // the parsers that differ
	right           side
	section, why    string
	is              func(header []byte) bool
	header          string // the example
}

var headerRows = []headerRow{
	{
		"an extension that must be understood", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, []string{goJOSE, golangJWT, jwxV3}, ours,
		"RFC 7515, section 4.1.11", "whoever does not understand what crit lists must refuse the JWS, and an empty list is invalid; no extension is understood here. They leave crit, or an empty one, to the caller",
		func(h []byte) bool { return kindOf(h, "crit") != 0 }, `{"alg":"EdDSA","crit":[]}`,
	},
	{
		"b64 that is not true", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, []string{golangJWT, jwxV3}, ours,
		"RFC 7797, section 7", "a JWT must not have it, and one that is not in crit would be read in two ways",
		func(h []byte) bool { all, _ := members(h); v, ok := all["b64"]; return ok && string(v) != "true" }, `{"alg":"EdDSA","b64":false}`,
	},
	{
		"a name twice", onlyTheirs, []string{golangJWT, jwxV3}, []string{golangJWT, jwxV3}, ours,
		"RFC 7515, section 4", "a reader must refuse it or take the last one; two readers that choose differently see two headers",
		hasDuplicates, `{"alg":"none","alg":"EdDSA"}`,
	},
	{
		"no UTF-8, or half of a surrogate pair", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, []string{goJOSE, golangJWT, jwxV3}, ours,
		"RFC 7515, section 5.2", "step 3 wants a UTF-8-encoded representation; they put U+FFFD in the place of what is none, so that two kids become one",
		hasBadUTF8, `{"alg":"EdDSA","kid":"\ud800"}`,
	},
	{
		"a member of the wrong type", onlyTheirs, []string{goJOSE, golangJWT}, []string{goJOSE, golangJWT}, ours,
		"RFC 7515, section 4.1", "typ and kid are strings, and jwk is an object: a member that is ignored for its type is a check that is left out",
		func(h []byte) bool { return isWrongType(h) && !hasNull(h) }, `{"alg":"EdDSA","typ":["JWT"]}`,
	},
	{
		"a member that is null", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, []string{goJOSE, golangJWT, jwxV3}, ours,
		"RFC 7515, section 4.1", "null is neither a string nor an object; encoding/json takes it for an absent member",
		hasNull, `{"alg":"EdDSA","kid":null}`,
	},
	{
		"nested deeper than 8", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, []string{goJOSE, golangJWT, jwxV3}, both,
		"RFC 8259, section 9", "a parser may limit the depth",
		func(h []byte) bool { return isDeep(h, 8) }, `{"alg":"EdDSA","x":[[[[[[[[[1]]]]]]]]]}`,
	},
	{
		"text behind the header", onlyTheirs, []string{jwxV3}, nil, ours,
		"RFC 7515, section 5.2", "step 3: the header is one completely valid JSON object; they leave what follows it unread",
		func(h []byte) bool {
			return isNoObject(h) && strings.HasPrefix(strings.TrimLeft(string(h), " \t\r\n"), "{")
		}, `{"alg":"EdDSA"}{}`,
	},
	{
		"an algorithm that is not for tokens", onlyTheirs, []string{goJOSE, golangJWT, jwxV3}, nil, ours,
		"RFC 8725, section 3.1", "only algorithms that the caller lists count, and none and HMAC are in no list here (RFC 9449, section 4.3, check 5)",
		func(h []byte) bool {
			return slices.Contains([]string{"none", "HS256", "HS384", "HS512"}, text(h, "alg"))
		}, `{"alg":"HS256"}`,
	},
	{
		"secp256k1", onlyTheirs, []string{jwxV3}, nil, both,
		"RFC 8812, section 3.2", "ES256K is registered as optional",
		func(h []byte) bool { return text(h, "alg") == "ES256K" }, `{"alg":"ES256K"}`,
	},
	{
		"the name Ed25519", onlyOurs, []string{goJOSE, golangJWT}, []string{goJOSE, golangJWT}, ours,
		"RFC 9864, section 2.2", "the RFC of 2025 names it; they do not know it yet",
		func(h []byte) bool { return text(h, "alg") == "Ed25519" }, `{"alg":"Ed25519"}`,
	},
	{
		"another algorithm than the key's", onlyTheirs, nil, []string{jwxV3}, ours,
		"RFC 7515, section 5.2", "step 8: the signature is validated in the manner of the header's alg, which must be there; jwx goes by the algorithm that the caller gives with the key",
		func(h []byte) bool { return text(h, "alg") != "EdDSA" }, `{"alg":"ES256"}`,
	},
	{
		"a member that is not used here is malformed", onlyOurs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, both,
		"RFC 7515, section 4", "x5c and the like are ignored here, as members that are not understood; they are parsed there",
		func(h []byte) bool { return hasUnused(h) }, `{"alg":"EdDSA","x5c":["AA"]}`,
	},
	{
		"jwk is an object but no key", onlyOurs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, both,
		"RFC 7515, section 4.1.3", "the key is read by whoever needs it: jose.ParseKey, for proofs alone",
		func(h []byte) bool { return kindOf(h, "jwk") == '{' }, `{"alg":"EdDSA","jwk":{}}`,
	},
	{
		"a number beyond float64", onlyOurs, []string{goJOSE, golangJWT, jwxV3}, []string{goJOSE, golangJWT, jwxV3}, both,
		"RFC 8259, section 6", "an implementation may limit the range; here a number is text until it is used",
		hasHugeNumber, `{"alg":"EdDSA","x":1e400}`,
	},
	{
		"white space around the header", onlyOurs, nil, []string{jwxV3}, ours,
		"RFC 7515, section 5.2", "step 8: the signature is over the header as it was encoded; jwx encodes it again",
		func(h []byte) bool { return !isBareJSON(h) }, `{"alg":"EdDSA"} `,
	},
}

func isWrongType(h []byte) bool {
	for name, want := range map[string]byte{"alg": '"', "typ": '"', "kid": '"', "jwk": '{'} {
		if k := kindOf(h, name); k != 0 && byte(k) != want {
			return true
		}
	}
	return false
}

func hasNull(h []byte) bool {
	return slices.ContainsFunc([]string{"alg", "typ", "kid", "jwk"}, func(name string) bool { return kindOf(h, name) == 'n' })
}

// hasUnused: a parameter of RFC 7515 that we ignore.
func hasUnused(h []byte) bool {
	return slices.ContainsFunc([]string{"jku", "x5u", "x5c", "x5t", "x5t#S256", "cty", "nonce"}, func(name string) bool { return kindOf(h, name) != 0 })
}

func init() {
	for _, r := range headerRows {
		d := difference{name: r.name, kind: r.kind, right: r.right, section: r.section, why: r.why, is: func(s sample) bool { return r.is(headerOf(s)) }}
		if d.parsers = r.compact; d.parsers != nil {
			d.example = sample{text: josetest.Compact([]byte(r.header), []byte(`{"a":[1]}`), make([]byte, 64))}
			compact.differences = append(compact.differences, d)
		}
		if d.parsers = r.signed; d.parsers != nil {
			d.example = sample{header: r.header, payload: `{}`}
			signed.differences = append(signed.differences, d)
		}
	}
	noClaims := difference{
		name: "the payload is no JSON object", kind: onlyOurs, parsers: []string{golangJWT}, right: both, section: "RFC 7515, section 3",
		why: "the payload of a JWS is any bytes, and golang-jwt reads JWTs only: what makes one of it here is the reader of claims",
		is:  func(s sample) bool { return isNoObject(payloadOf(s)) || hasHugeNumber(payloadOf(s)) },
	}
	noClaims.example = sample{text: josetest.Compact([]byte(`{"alg":"EdDSA"}`), nil, make([]byte, 64))}
	compact.differences = append(compact.differences, noClaims)
	noClaims.example = sample{header: `{"alg":"EdDSA"}`, payload: `x`}
	signed.differences = append(signed.differences, noClaims)

	compact.differences = append(compact.differences,
		difference{
			name: "bits behind the last byte", kind: onlyTheirs, parsers: []string{goJOSE, jwxV3}, right: ours, section: "RFC 4648, section 3.5",
			why: "they must be zero, and a decoder may refuse others: one token must not have several spellings. golang-jwt refuses them when told to be strict",
			is:  func(s sample) bool { return !isCanonicalCompact(s.text) }, example: sample{text: "eyJhbGciOiJFUzI1NiJ9.e30.AB"},
		},
		difference{
			name: "line breaks within base64url", kind: onlyTheirs, parsers: []string{goJOSE, golangJWT, jwxV3}, right: ours, section: "RFC 7515, section 5.2",
			why: "step 2 wants no line breaks, white space or other characters; encoding/base64 skips CR and LF even when strict",
			is:  func(s sample) bool { return strings.ContainsAny(s.text, "\r\n") }, example: sample{text: "eyJhbGciOiJFUzI1NiJ9.e30.AA\n"},
		},
		difference{
			name: "padding, or the other alphabet", kind: onlyTheirs, parsers: []string{jwxV3}, right: ours, section: "RFC 7515, section 2",
			why: "base64url has - and _ and no padding",
			is:  func(s sample) bool { return strings.ContainsAny(s.text, "=+/") }, example: sample{text: "eyJhbGciOiJFUzI1NiJ9.e30.AA=="},
		},
		difference{
			name: "an empty signature", kind: onlyOurs, parsers: []string{jwxV3}, right: both, section: "RFC 7515, section 5.2",
			why: "it is the encoding of no bytes, and no key made it: Verify refuses it",
			is:  func(s sample) bool { return strings.HasSuffix(s.text, ".") }, example: sample{text: "eyJhbGciOiJFUzI1NiJ9.e30."},
		},
	)
}

func isCanonicalCompact(compact string) bool {
	for p := range strings.SplitSeq(compact, ".") {
		if !isCanonical(p) {
			return false
		}
	}
	return true
}
