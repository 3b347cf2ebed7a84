package difftest_test

import (
	"encoding/base64"
	"net/url"
	"strings"
)

func init() {
	on := func(name string, k kind, right side, section, why string, is func(format, value string) bool, format, value string) {
		forwarded.differences = append(forwarded.differences, difference{
			name: name, kind: k, parsers: []string{stdlib}, right: right, section: section, why: why,
			is: func(s sample) bool { return is(s.header, s.text) }, example: sample{header: format, text: value},
		})
	}
	const short = "MAMCAQU=" // a SEQUENCE of an INTEGER
	block := "-----BEGIN CERTIFICATE----- " + short + " -----END CERTIFICATE-----"

	on("a byte sequence without padding, or with bits behind its last byte", onlyOurs, ours,
		"RFC 9651, section 4.2.7", "parsers should not fail for either, unless they cannot help it; the digest is of the bytes. httpsfv takes neither for good",
		func(f, v string) bool { return f == "RFC9440" && !strings.Contains(v, "=") }, "RFC9440", ":MAMCAQU:")
	on("text that is no certificate, before or between certificates", onlyTheirs, both,
		"RFC 7468, section 2", "a reader of files may skip it, and encoding/pem skips broken blocks too; in a field it is a sign of something wrong",
		func(f, v string) bool { return hasOtherText(pemText(f, v)) }, "PEM", "x"+block)
	on("bits behind the last byte of PEM", onlyTheirs, ours,
		"RFC 4648, section 3.5", "one certificate has one spelling; encoding/pem ignores them",
		func(f, v string) bool { return hasSpareBits(pemText(f, v)) }, "PEM", strings.Replace(block, short, "MAMCAQV=", 1))
	on("line breaks in base64 that is no PEM", onlyTheirs, ours,
		"RFC 9110, section 5.5", "a field has none, and base64 is without them unless a format says so (RFC 4648, section 3.1); encoding/base64 skips them",
		func(f, v string) bool { return strings.ContainsAny(v, "\r\n") || strings.Contains(v, "%0") }, "DER", short[:4]+"\n"+short[4:])
	on("more than 11 certificates", onlyTheirs, both,
		"RFC 8446, section 4.4.2", "a chain has as many as a limit allows; here it is a leaf and ten",
		func(f, v string) bool {
			return strings.Count(pemText(f, v), "-----BEGIN") > 11 || f == "DERChain" && strings.Count(strings.ReplaceAll(strings.ToUpper(v), "%2C", ","), ",") > 10
		},
		"PEMChain", strings.Repeat(block, 12))
	on("a field that is too long", onlyTheirs, both,
		"RFC 9110, section 5.4", "a server may refuse a field that is larger than it wishes to process",
		func(f, v string) bool { return len(v) > 32<<10 }, "DER", base64.StdEncoding.EncodeToString(make([]byte, 30<<10)))
}

// pemText is the PEM in a field of the formats that have it.
func pemText(format, value string) string {
	text := strings.Trim(value, " \t")
	switch format {
	case "PEM", "PEMChain", "XFCC":
		if u, err := url.PathUnescape(text); err == nil && strings.Contains(text, "%") {
			text = u
		}
	case "Base64PEM":
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return ""
		}
		text = string(raw)
	default:
		return ""
	}
	return text
}

// hasOtherText reports whether there is anything but blocks of base64 and white space.
func hasOtherText(text string) bool {
	for body := range strings.SplitSeq(text, "-----BEGIN CERTIFICATE-----") {
		body, after, ok := strings.Cut(body, "-----END CERTIFICATE-----")
		if !ok {
			after, body = body, ""
		}
		_, err := base64.StdEncoding.DecodeString(withoutSpace(body))
		if err != nil || strings.TrimSpace(after) != "" {
			return true
		}
	}
	return false
}

// hasSpareBits reports whether a certificate has bits behind its last byte.
func hasSpareBits(text string) bool {
	for body := range strings.SplitSeq(text, "-----BEGIN CERTIFICATE-----") {
		body, _, ok := strings.Cut(body, "-----END CERTIFICATE-----")
		body = withoutSpace(body)
		_, strict := base64.StdEncoding.Strict().DecodeString(body)
		if _, err := base64.StdEncoding.DecodeString(body); ok && err == nil && strict != nil {
			return true
		}
	}
	return false
}

func withoutSpace(s string) string {
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
}
