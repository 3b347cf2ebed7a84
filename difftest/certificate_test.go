package difftest_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/keybound-go/middleware/mtlspop"
)

// format is one way in which a terminator forwards a certificate, with a parser of
// others for it: that of RFC 9651 is a library, and the others are put together from
// net/url, encoding/pem, encoding/base64, encoding/hex and regexp.
type format struct {
	name   string
	ours   mtlspop.Format
	theirs func(value string) (leaf []byte, err error)
}

var formats = []format{
	{"RFC9440", mtlspop.RFC9440, func(value string) ([]byte, error) {
		item, err := httpsfv.UnmarshalItem([]string{value})
		if err != nil {
			return nil, err
		}
		der, ok := item.Value.([]byte)
		if !ok || len(item.Params.Names()) > 0 {
			return nil, errTheirs
		}
		return der, nil
	}},
	{"PEM", mtlspop.PEM, func(value string) ([]byte, error) {
		ders, err := pemOf(value)
		if err != nil || len(ders) != 1 {
			return nil, errTheirs
		}
		return ders[0], nil
	}},
	{"DER", mtlspop.DER, func(value string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(value) }},
	{"Base64PEM", mtlspop.Base64PEM, func(value string) ([]byte, error) {
		text, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil {
			return nil, err
		}
		ders, err := blocksOf(string(text))
		if err != nil || len(ders) != 1 {
			return nil, errTheirs
		}
		return ders[0], nil
	}},
	{"PEMChain", mtlspop.PEMChain, func(value string) ([]byte, error) {
		ders, err := pemOf(value)
		if err != nil {
			return nil, err
		}
		return leafOf(ders)
	}},
	{"DERChain", mtlspop.DERChain, func(value string) ([]byte, error) {
		if strings.Contains(value, "%") {
			unescaped, err := url.PathUnescape(value)
			if err != nil {
				return nil, err
			}
			value = unescaped
		}
		var ders [][]byte
		for text := range strings.SplitSeq(value, ",") {
			der, err := base64.StdEncoding.Strict().DecodeString(text)
			if err != nil || len(der) == 0 {
				return nil, errTheirs
			}
			ders = append(ders, der)
		}
		return leafOf(ders)
	}},
	{"XFCC", mtlspop.XFCC(1), xfccOf},
}

// pemOf reads certificates whose line ends have become spaces, or that are
// percent-encoded.
func pemOf(value string) (ders [][]byte, err error) {
	text := value
	if strings.Contains(value, "%") {
		if text, err = url.PathUnescape(value); err != nil {
			return nil, err
		}
	}
	return blocksOf(text)
}

func blocksOf(text string) (ders [][]byte, err error) {
	// The spaces within the lines that begin and end a block stay.
	text = strings.NewReplacer("-----BEGIN CERTIFICATE-----", "\n-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----", "\n-----END CERTIFICATE-----\n", " ", "\n", "\t", "\n").Replace(text)
	rest := []byte(text)
	for strings.TrimSpace(string(rest)) != "" {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, errTheirs
		}
		ders, rest = append(ders, block.Bytes), after
	}
	return ders, nil
}

// leafOf is the first of several certificates, of which the others must be one
// SEQUENCE each.
func leafOf(ders [][]byte) ([]byte, error) {
	if len(ders) == 0 {
		return nil, errTheirs
	}
	for _, der := range ders[1:] {
		var v asn1.RawValue
		if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagSequence || !v.IsCompound {
			return nil, errTheirs
		}
	}
	return ders[0], nil
}

// One element of Envoy's X-Forwarded-Client-Cert: pairs, each with a bare or a quoted
// value. Envoy writes a backslash in front of a quote, and nothing in front of others.
var (
	xfccQuoted  = `"(?:[^"\\]|\\+[^\\])*"`
	xfccPair    = `[A-Za-z]+=(?:` + xfccQuoted + `|[^,;"]*)`
	xfccElement = regexp.MustCompile(`(?s)^` + xfccPair + `(?:;` + xfccPair + `)*$`)
	xfccPairs   = regexp.MustCompile(`(?s)([A-Za-z]+)=(` + xfccQuoted + `|[^,;"]*)(?:;|$)`)
)

func xfccOf(value string) ([]byte, error) {
	if !xfccElement.MatchString(value) {
		return nil, errTheirs
	}
	got := make(map[string]string)
	for _, m := range xfccPairs.FindAllStringSubmatch(value, -1) {
		key := strings.ToLower(m[1])
		if _, twice := got[key]; twice && (key == "cert" || key == "hash" || key == "chain") {
			return nil, errTheirs
		}
		text := m[2]
		if strings.HasPrefix(text, `"`) {
			text = text[1 : len(text)-1]
		}
		got[key] = text
	}
	var leaf []byte
	for _, key := range []string{"cert", "chain"} {
		text, ok := got[key]
		if !ok {
			continue
		}
		ders, err := pemOf(text)
		if err != nil {
			return nil, err
		}
		first, err := leafOf(ders)
		if err != nil || key == "cert" && len(ders) != 1 || leaf != nil && string(leaf) != string(first) {
			return nil, errTheirs
		}
		leaf = first
	}
	if leaf == nil {
		return nil, errTheirs
	}
	if hash, ok := got["hash"]; ok {
		sum := sha256.Sum256(leaf)
		if !strings.EqualFold(hash, hex.EncodeToString(sum[:])) {
			return nil, errTheirs
		}
	}
	return leaf, nil
}

const stdlib = "the standard library" // and httpsfv for RFC 9440

var certificateVerifiers = sync.OnceValue(func() map[string]*mtlspop.Verifier {
	made := make(map[string]*mtlspop.Verifier)
	for _, f := range formats {
		v, err := mtlspop.New(mtlspop.WithForwardedCertificate("X-Cert", f.ours, netip.MustParsePrefix("192.0.2.1/32")))
		if err != nil {
			panic(err)
		}
		made[f.name] = v
	}
	return made
})

func formatNamed(name string) (format, bool) {
	for _, f := range formats {
		if f.name == name {
			return f, true
		}
	}
	return format{}, false
}

// forwarded is the field of a certificate; the header of a sample is the name of its
// format. Both parsers must find the same DER in it, and crypto/x509 the same
// certificate in that.
var forwarded = newTarget(target{
	name: "forwarded certificate",
	ours: func(t testing.TB, s sample) (reading, error) {
		f, ok := formatNamed(s.header)
		if !ok {
			return nil, errTheirs
		}
		v := certificateVerifiers()[f.name]
		request := mtlspop.Request{Header: http.Header{"X-Cert": {s.text}}, RemoteAddr: "192.0.2.1:1"}
		// What the value holds shows in which thumbprint it proves.
		theirs, err := f.theirs(strings.Trim(s.text, " \t"))
		if err == nil && len(theirs) > 0 {
			sum := sha256.Sum256(theirs)
			if e, err := v.VerifyRequest(t.Context(), request, b64(sum[:])); err == nil {
				if cert, _ := x509.ParseCertificate(theirs); (cert == nil) != (e.Certificate == nil) || cert != nil && !cert.Equal(e.Certificate) {
					t.Errorf("%q: crypto/x509 reads %v, ours %v", s.text, cert, e.Certificate)
				}
				return reading{"der": hex.EncodeToString(e.DER)}, nil
			}
		}
		_, err = v.VerifyRequest(t.Context(), request, strings.Repeat("A", 43))
		switch err {
		case mtlspop.ErrMismatch:
			return reading{"der": "another"}, nil
		case nil:
			t.Errorf("%q proves a thumbprint of zeros", s.text)
		}
		return nil, err
	},
	theirs: map[string]parser{
		stdlib: func(_ testing.TB, s sample) (reading, error) {
			f, ok := formatNamed(s.header)
			if !ok {
				return nil, errTheirs
			}
			der, err := f.theirs(strings.Trim(s.text, " \t"))
			if err != nil {
				return nil, err
			}
			if len(der) == 0 {
				return nil, errTheirs
			}
			return reading{"der": hex.EncodeToString(der)}, nil
		},
	},
})

// someCertificate never changes.
var someCertificate = sync.OnceValue(func() []byte {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"},
		NotBefore: time.Unix(bubbleTime, 0), NotAfter: time.Unix(bubbleTime+1e9, 0),
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der
})

// certificateFields are seeds.
func certificateFields() (list []sample) {
	der := someCertificate()
	one := base64.StdEncoding.EncodeToString(der)
	short := base64.StdEncoding.EncodeToString([]byte{0x30, 3, 2, 1, 5})
	lines := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	flat := strings.ReplaceAll(strings.TrimSpace(lines), "\n", " ")
	sum := sha256.Sum256(der)
	escaped := strings.ReplaceAll(url.PathEscape(lines), "+", "%2B")
	small := "-----BEGIN CERTIFICATE----- " + short + " -----END CERTIFICATE-----"
	texts := map[string][]string{
		"RFC9440":   {":" + one + ":", ":" + short + ":", ":" + strings.TrimRight(short, "=") + ":", ":" + short + ":;a=1", ":" + short + ":, :" + short + ":", "::", ": " + short + ":", ":" + short[:4] + "\n" + short[4:] + ":", ":MAMCAQV=:", ":MAMCAQV:", short, `"a"`, ":" + short, ":-_-_:"},
		"PEM":       {flat, escaped, lines, flat + " " + flat, "x" + flat, flat + "x", strings.Replace(flat, " ", " A: b  ", 3), small, strings.ReplaceAll(small, " ", ""), strings.ReplaceAll(small, " ", "%20"), strings.ReplaceAll(small, " ", "+"), "-----BEGIN CERTIFICATE----------END CERTIFICATE-----", "-----BEGIN X----- AA== -----END X-----", small + "%", "-----BEGIN CERTIFICATE----- " + short + "-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE----- A A A A -----END CERTIFICATE-----", "-----BEGIN CERTIFICATE----- MAMCAQV= -----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\u00a0" + short + " -----END CERTIFICATE-----"},
		"DER":       {one, short, strings.TrimRight(short, "="), short + "=", "MAMCAQV=", short[:4] + " " + short[4:], "", "AAAA", "MAA="},
		"Base64PEM": {base64.StdEncoding.EncodeToString([]byte(lines)), base64.StdEncoding.EncodeToString([]byte(flat)), base64.StdEncoding.EncodeToString([]byte(small)), base64.StdEncoding.EncodeToString([]byte("x\n" + lines)), base64.StdEncoding.EncodeToString([]byte(lines + "x")), base64.StdEncoding.EncodeToString([]byte(lines + lines)), base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(lines, "\n", "\r\n")))},
		"PEMChain":  {flat + " " + flat, escaped + escaped, small + small, strings.Repeat(small, 12)},
		"DERChain":  {one + "," + one, short + "," + short, short + ", " + short, short + ",", url.QueryEscape(short + "," + short), short + "%2C" + short, strings.Repeat(short+",", 12) + short},
		"XFCC":      {`By=a;Hash=` + hex.EncodeToString(sum[:]) + `;Cert="` + escaped + `"`, `Cert="` + strings.ReplaceAll(small, " ", "%20") + `"`, `Chain="` + escaped + escaped + `"`, `Cert="";Hash=`, `By=a;URI=;DNS=a;DNS=b;Cert="` + escaped + `"`, `Subject="a\"b,c;d";cert="` + escaped + `"`, `Subject="a\\";Cert="` + escaped + `"`, `Cert="` + escaped + `",By=b`, `Cert="` + escaped + `";Cert="` + escaped + `"`, `By=a`, `Cert=` + small, `Cert="` + flat + `"`},
	}
	for _, f := range formats {
		for _, text := range texts[f.name] {
			list = append(list, sample{header: f.name, text: text})
		}
	}
	return list
}

func FuzzCertificate(f *testing.F) {
	for _, s := range certificateFields() {
		f.Add(s.header, s.text)
	}
	f.Fuzz(func(t *testing.T, name, text string) { forwarded.check(t, sample{header: name, text: text}) })
}
