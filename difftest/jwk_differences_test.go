package difftest_test

import (
	stdjson "encoding/json"
	"math/big"
	"slices"
	"strings"
)

// keyRow is a difference in the reading of a key, for the targets proofKey and published.
type keyRow struct {
	name             string
	kind             kind
	proof, published []string // the parsers that differ
	right            side
	section, why     string
	is               func(key []byte) bool
	key              string // the example
}

const (
	// Of RFC 7517, appendix A.1, without the closing brace.
	someEC  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"`
	someN   = `0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw`
	badByte = "\xff"
)

var keyRows = []keyRow{
	{
		"a private member", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, ours,
		"RFC 9449, section 4.2", "a proof must not contain a private key; d, p, q, dp, dq, qi, oth and k are private whatever the kty (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1), and whoever publishes one has lost it",
		func(k []byte) bool { return hasPrivate(k) && !privateIsNull(k) }, someEC + `,"k":"AA"}`,
	},
	{
		"a private member that is null", onlyTheirs, []string{goJOSE}, nil, ours,
		"RFC 9449, section 4.2", "in a proof a client has no reason to write it",
		privateIsNull, someEC + `,"d":null}`,
	},
	{
		"a private member that is null, published", onlyOurs, nil, []string{jwxV3}, both,
		"RFC 7517, section 4", "issuers write null for what they do not have: an optional member that is null is absent in a document of an issuer",
		privateIsNull, someEC + `,"d":null}`,
	},
	{
		"an optional member that is null", onlyTheirs, []string{goJOSE}, nil, ours,
		"RFC 7517, section 4.4", "alg is a string; null is none",
		func(k []byte) bool { return kindOf(k, "alg") == 'n' }, someEC + `,"alg":null}`,
	},
	{
		"an optional member that is null, published", onlyOurs, nil, []string{jwxV3}, both,
		"RFC 7517, section 4", "as for private members",
		func(k []byte) bool { return hasKind(k, 'n', "use", "kid", "alg", "key_ops") }, someEC + `,"alg":null}`,
	},
	{
		"key_ops without verify", onlyTheirs, nil, []string{goJOSE, jwxV3}, ours,
		"RFC 7517, section 4.3", "the list says what the key is for; go-jose does not read it, and jwx does not tell an empty list from none",
		func(k []byte) bool { return kindOf(k, "key_ops") != 0 }, someEC + `,"key_ops":[]}`,
	},
	{
		"an empty use or alg", onlyTheirs, []string{goJOSE}, []string{goJOSE}, ours,
		"RFC 7517, section 4.2", "the empty string is neither sig nor an algorithm",
		func(k []byte) bool { return isEmptyText(k, "use") || isEmptyText(k, "alg") }, someEC + `,"alg":"","use":""}`,
	},
	{
		"an empty use", onlyTheirs, nil, []string{jwxV3}, ours,
		"RFC 7517, section 4.2", "the empty string is not sig",
		func(k []byte) bool { return isEmptyText(k, "use") }, someEC + `,"use":""}`,
	},
	{
		"an algorithm that the key does not fit, or that is not one of ours", onlyTheirs, nil, []string{goJOSE, jwxV3}, ours,
		"RFC 8725, section 3.1", "a key is for one algorithm; they leave that to the verification",
		func(k []byte) bool { return text(k, "alg") != "" }, someEC + `,"alg":"ES384"}`,
	},
	{
		"an algorithm that jwx does not know", onlyOurs, []string{jwxV3}, nil, both,
		"RFC 7517, section 4.4", "here it is refused when the header's alg is another",
		func(k []byte) bool { return kindOf(k, "alg") == '"' }, someEC + `,"alg":"new"}`,
	},
	{
		"a member that is not used here has the wrong type", onlyOurs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, both,
		"RFC 7517, section 4", "members that are not understood must be ignored; kid, use and key_ops of a proof's key, and the certificates of any, are not used here",
		hasIgnored, someEC + `,"x5c":["AA"]}`,
	},
	{
		"a member of another kty that is no base64url", onlyOurs, []string{goJOSE}, []string{goJOSE}, both,
		"RFC 7517, section 4", "it is not understood for this kty",
		hasForeign, someEC + `,"n":"!"}`,
	},
	{
		"a name in two cases", onlyOurs, []string{jwxV3}, []string{jwxV3}, ours,
		"RFC 7517, section 4", "names are compared exactly (RFC 8259, section 8.3, by way of RFC 7515, section 5.3); jwx finds the kty regardless of case",
		func(k []byte) bool { return hasFolded(k, "kty", "d") }, someEC + `,"KTY":"RSA"}`,
	},
	{
		"a name twice", onlyTheirs, []string{jwxV3}, []string{jwxV3}, ours,
		"RFC 7517, section 4", "names must be unique; jwx reads the last one, and finds the type of the key by the first",
		hasDuplicates, `{"kty":"EC",` + someEC[1:] + `}`,
	},
	{
		"a number of RSA with zero bytes in front", onlyTheirs, []string{goJOSE, jwxV3}, nil, ours,
		"RFC 7518, section 2", "Base64urlUInt has as few bytes as possible: one key must not have several spellings in a proof. In a published key this is repaired",
		func(k []byte) bool { return hasLeadingZero(k, "n") || hasLeadingZero(k, "e") }, `{"kty":"RSA","e":"AAEAAQ","n":"` + someN + `"}`,
	},
	{
		"a coordinate with zero bytes in front, published", onlyOurs, nil, []string{goJOSE, jwxV3}, both,
		"RFC 7518, section 6.2.1.2", "it has the width of the curve; issuers write it as their big integers come, and the number is the same: repaired in published keys alone",
		func(k []byte) bool {
			return len(lenient(text(k, "x"))) != len(lenient(text(k, "y"))) || hasLeadingZero(k, "x")
		}, `{"kty":"EC","crv":"P-256","x":"AAAwoEJM0hwpRIOKLXXJKzfnbqINnwCJOjtO7oo8Cq_sPg","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`,
	},
	{
		"an exponent of RSA that is too large", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, both,
		"RFC 7518, section 6.3.1", "any is allowed; one beyond 31 bits makes verification slow, and crypto/rsa refuses it",
		func(k []byte) bool { return exponent(k).BitLen() > 31 }, `{"kty":"RSA","e":"AQAAAAE","n":"` + someN + `"}`,
	},
	{
		"base64url that is not canonical", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, ours,
		"RFC 4648, section 3.5", "bits behind the last byte must be zero, and line breaks are no base64url (RFC 7515, section 2)",
		func(k []byte) bool { return !isCanonicalKey(k) }, `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv\n7D5","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`,
	},
	{
		"an Ed25519 point of small order", onlyTheirs, []string{jwxV3}, []string{jwxV3}, ours,
		"RFC 8032, section 8", "signatures of such a key verify for many messages",
		func(k []byte) bool { return text(k, "crv") == "Ed25519" }, `{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	},
	{
		"bytes that are no point of Ed25519", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, ours,
		"RFC 8032, section 5.1.3", "decoding fails for them: no signature verifies",
		func(k []byte) bool { return text(k, "crv") == "Ed25519" }, `{"kty":"OKP","crv":"Ed25519","x":"__________________________________________8"}`,
	},
	{
		"no UTF-8, or half of a surrogate pair", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, ours,
		"RFC 8259, section 8.1", "JSON is UTF-8; they put U+FFFD in the place of what is none",
		hasBadUTF8, someEC + `,"kid":"` + badByte + `"}`,
	},
	{
		"nested deeper than 8 with what is around it", onlyTheirs, []string{goJOSE, jwxV3}, []string{goJOSE, jwxV3}, both,
		"RFC 8259, section 9", "a parser may limit the depth",
		func(k []byte) bool { return isDeep(k, 6) }, someEC + `,"a":[[[[[[[1]]]]]]]}`,
	},
	{
		"a number beyond float64", onlyOurs, []string{jwxV3}, []string{jwxV3}, both,
		"RFC 8259, section 6", "an implementation may limit the range; here a number is text until it is used",
		hasHugeNumber, someEC + `,"a":1e400}`,
	},
	{
		"something behind the key", onlyTheirs, []string{jwxV3}, nil, ours,
		"RFC 7517, section 4", "a key is one JSON object; jwx leaves what follows it unread",
		func(k []byte) bool {
			return isNoObject(k) && strings.HasPrefix(strings.TrimLeft(string(k), " \t\r\n"), "{")
		}, someEC + `},1`,
	},
}

func init() {
	for _, r := range keyRows {
		d := difference{name: r.name, kind: r.kind, right: r.right, section: r.section, why: r.why, example: sample{text: r.key}, is: func(s sample) bool { return r.is([]byte(s.text)) }}
		if d.parsers = r.proof; d.parsers != nil {
			proofKey.differences = append(proofKey.differences, d)
		}
		if d.parsers = r.published; d.parsers != nil {
			published.differences = append(published.differences, d)
		}
	}
}

var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

func hasPrivate(k []byte) bool {
	return slices.ContainsFunc(privateMembers, func(name string) bool { return kindOf(k, name) != 0 })
}

func privateIsNull(k []byte) bool { return hasKind(k, 'n', privateMembers...) }

func hasKind(k []byte, kind byte, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return byte(kindOf(k, name)) == kind })
}

func isEmptyText(k []byte, name string) bool { return kindOf(k, name) == '"' && text(k, name) == "" }

// hasIgnored: a member that may have any value here.
func hasIgnored(k []byte) bool {
	all, _ := members(k)
	for name := range all {
		switch name {
		case "kty", "crv", "x", "y", "n", "e", "alg":
		default:
			return true
		}
	}
	return false
}

// hasForeign: a member of another kty than the key's.
func hasForeign(k []byte) bool {
	names := map[string][]string{"EC": {"n", "e"}, "OKP": {"y", "n", "e"}, "RSA": {"crv", "x", "y"}}[text(k, "kty")]
	return slices.ContainsFunc(names, func(name string) bool { return kindOf(k, name) != 0 })
}

func hasLeadingZero(k []byte, name string) bool {
	raw := lenient(text(k, name))
	return len(raw) > 1 && raw[0] == 0
}

func exponent(k []byte) *big.Int { return new(big.Int).SetBytes(lenient(text(k, "e"))) }

func isCanonicalKey(k []byte) bool {
	all, _ := members(k)
	for _, name := range []string{"x", "y", "n", "e"} {
		var s string
		if stdjson.Unmarshal(all[name], &s) == nil && !isCanonical(s) {
			return false
		}
	}
	return true
}
