package mtlspop_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// verifyValue verifies a request from a trusted peer whose one field is value.
func verifyValue(t testing.TB, f mtlspop.Format, value, x5t string) error {
	t.Helper()
	v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", f, trusted))
	cert, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", value), x5t)
	if err != nil {
		require.Zero(t, cert)
	}
	return err
}

// ofLength issues a certificate whose base64 ends in so many padding signs.
func ofLength(t testing.TB, ca *mtlspoptest.CA, padding int) *mtlspoptest.Client {
	t.Helper()
	name := "client"
	for range 100 {
		c := ca.Issue(name)
		if strings.Count(mtlspoptest.HAProxy(c), "=") == padding {
			return c
		}
		name += "x"
	}
	t.Fatal("no certificate of the right length")
	return nil
}

func TestFormatsReadWhatTheirTerminatorsSend(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root").Intermediate("Intermediate")
	for padding := range 3 {
		c := ofLength(t, ca, padding)
		sum, err := base64.RawURLEncoding.DecodeString(c.Thumbprint())
		require.NoError(t, err)
		for name, s := range map[string]struct {
			format mtlspop.Format
			value  string
		}{
			"RFC9440":                      {mtlspop.RFC9440, mtlspoptest.RFC9440(c)},
			"PEM nginx":                    {mtlspop.PEM, mtlspoptest.Nginx(c)},
			"PEM nginx folded":             {mtlspop.PEM, mtlspoptest.NginxFolded(c)},
			"PEM Apache":                   {mtlspop.PEM, mtlspoptest.Apache(c)},
			"PEM Apache escaped":           {mtlspop.PEM, mtlspoptest.ApacheEscaped(c)},
			"PEM ALB":                      {mtlspop.PEM, mtlspoptest.ALB(c)},
			"PEM on one line":              {mtlspop.PEM, "-----BEGIN CERTIFICATE-----" + mtlspoptest.HAProxy(c) + "-----END CERTIFICATE-----"},
			"PEM with carriage returns":    {mtlspop.PEM, strings.ReplaceAll(mtlspoptest.Nginx(c), "%0A", "%0D%0A")},
			"Base64PEM":                    {mtlspop.Base64PEM, mtlspoptest.ApacheBase64(c)},
			"DER":                          {mtlspop.DER, mtlspoptest.HAProxy(c)},
			"PEMChain":                     {mtlspop.PEMChain, mtlspoptest.ALBPassthrough(c)},
			"PEMChain of the leaf":         {mtlspop.PEMChain, mtlspoptest.ALB(c)},
			"DERChain":                     {mtlspop.DERChain, mtlspoptest.Traefik(c)},
			"DERChain escaped":             {mtlspop.DERChain, url.QueryEscape(mtlspoptest.Traefik(c))},
			"DERChain escaped in part":     {mtlspop.DERChain, strings.ReplaceAll(mtlspoptest.Traefik(c), ",", "%2C")},
			"DERChain of the leaf":         {mtlspop.DERChain, mtlspoptest.HAProxy(c)},
			"ThumbprintHex":                {mtlspop.ThumbprintHex, mtlspoptest.CaddyFingerprint(c)},
			"ThumbprintHex in capitals":    {mtlspop.ThumbprintHex, strings.ToUpper(hex.EncodeToString(sum))},
			"ThumbprintBase64URL":          {mtlspop.ThumbprintBase64URL, c.Thumbprint()},
			"XFCC":                         {mtlspop.XFCC(1), mtlspoptest.Envoy(c)},
			"XFCC of two":                  {mtlspop.XFCC(2), mtlspoptest.Envoy(c, ca.Issue("inner"))},
			"XFCCThumbprint":               {mtlspop.XFCCThumbprint(1), mtlspoptest.Envoy(c)},
			"XFCC in other case":           {mtlspop.XFCC(1), `cert="` + mtlspoptest.Nginx(c) + `"`},
			"XFCC Chain":                   {mtlspop.XFCC(1), `Chain="` + url.PathEscape(chainPEM(c)) + `"`},
			"XFCC Cert and Chain":          {mtlspop.XFCC(1), `Cert="` + mtlspoptest.Nginx(c) + `";Chain="` + url.PathEscape(chainPEM(c)) + `"`},
			"XFCC hostile subject":         {mtlspop.XFCC(1), mtlspoptest.Envoy(c) + `;Subject="a\";Cert=\"b,c=\\\"d"`},
			"XFCC several By, URI and DNS": {mtlspop.XFCC(1), "By=a;By=b;" + mtlspoptest.Envoy(c) + ";URI=b=c;DNS=a;DNS=b"},
			"XFCC a key of its own":        {mtlspop.XFCC(1), "Az=a;" + mtlspoptest.Envoy(c)},
			"surrounding space":            {mtlspop.DER, "\t " + mtlspoptest.HAProxy(c) + " \t"},
		} {
			t.Run("CC-X-01 "+name, func(t *testing.T) {
				require.NoError(t, verifyValue(t, s.format, s.value, c.Thumbprint()))
				require.Equal(t, mtlspop.ErrMismatch, verifyValue(t, s.format, s.value, anyThumbprint))
			})
		}
	}
}

// chainPEM is the whole chain of c, leaf first.
func chainPEM(c *mtlspoptest.Client) string {
	text, err := url.PathUnescape(mtlspoptest.ALBPassthrough(c))
	if err != nil {
		panic(err)
	}
	return text
}

// TestFormatsRefuse breaks one thing at a time in what the test above accepts.
func TestFormatsRefuse(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root").Intermediate("Intermediate")
	alice := ofLength(t, ca, 1)
	for !strings.Contains(mtlspoptest.HAProxy(alice), "+") {
		alice = ofLength(t, ca, 1)
	}
	mallory := ca.Issue("mallory")
	b64 := mtlspoptest.HAProxy(alice)
	trailing := base64.StdEncoding.EncodeToString(append(alice.Certificate.Raw[:len(alice.Certificate.Raw):len(alice.Certificate.Raw)], 0))
	double := base64.StdEncoding.EncodeToString(append(alice.Certificate.Raw[:len(alice.Certificate.Raw):len(alice.Certificate.Raw)], mallory.Certificate.Raw...))
	spare := b64[:len(b64)-2] + string(b64[len(b64)-2]+1) + "=" // a bit beyond the last byte
	reshaped := func(head ...byte) string {
		return base64.StdEncoding.EncodeToString(append(head, alice.Certificate.Raw[len(head):]...))
	}
	wrap := func(b64 string) string { return "-----BEGIN CERTIFICATE----- " + b64 + " -----END CERTIFICATE-----" }
	escaped, spaced := mtlspoptest.Nginx(alice), mtlspoptest.Apache(alice)
	element := mtlspoptest.Envoy(alice)
	hash := "Hash=" + mtlspoptest.CaddyFingerprint(alice)
	cert := `Cert="` + escaped + `"`

	for format, values := range map[mtlspop.Format]map[string]string{
		mtlspop.RFC9440: {
			"CC-2.2-01 no colons":                b64,
			"CC-2.2-01 no closing colon":         ":" + b64,
			"CC-2.2-01 no opening colon":         b64 + ":",
			"CC-2.2-01 one colon":                ":",
			"CC-2.2-01 three colons":             ":" + b64 + "::",
			"CC-2.2-01 a string":                 `"` + b64 + `"`,
			"CC-2.2-01 base64url":                ":" + strings.NewReplacer("+", "-", "/", "_").Replace(b64) + ":",
			"CC-2.2-01 space inside":             ":" + b64[:40] + " " + b64[40:] + ":",
			"CC-2.2-01 space at the colon":       ": " + b64 + ":",
			"CC-2.2-01 a line break inside":      ":" + b64[:40] + "\n" + b64[40:] + ":",
			"CC-2.2-01 padding inside":           ":" + b64[:40] + "=" + b64[41:] + ":",
			"CC-2.2-01 too much padding":         ":" + b64 + "===:",
			"CC-2.2-01 a parameter":              ":" + b64 + ":;a=1",
			"CC-2.2-01 a list":                   ":" + b64 + ":, :" + b64 + ":",
			"CC-2.2-01 a trailing comma":         ":" + b64 + ":,",
			"CC-2.2-01 only a space":             ": :",
			"CC-2.2-03 not DER":                  ":AAAA:",
			"CC-2.2-03 a set":                    ":" + reshaped(0x31) + ":",
			"CC-2.2-03 a byte behind it":         ":" + trailing + ":",
			"CC-2.2-03 two certificates":         ":" + double + ":",
			"CC-2.2-03 PEM":                      spaced,
			"CC-2.2-03 Apache's spelling inside": ":(null):",
		},
		mtlspop.PEM: {
			"bare base64":                b64,
			"truncated":                  spaced[:len(spaced)-1],
			"no end":                     strings.TrimSuffix(spaced, "-----END CERTIFICATE-----"),
			"no begin":                   strings.TrimPrefix(spaced, "-----BEGIN CERTIFICATE-----"),
			"text in front":              "x " + spaced,
			"text behind":                spaced + " x",
			"another label":              strings.ReplaceAll(spaced, "CERTIFICATE", "X509 CERTIFICATE"),
			"a trusted certificate":      strings.ReplaceAll(spaced, "CERTIFICATE", "TRUSTED CERTIFICATE"),
			"a header":                   "-----BEGIN CERTIFICATE----- A: b  " + b64 + " -----END CERTIFICATE-----",
			"two certificates":           spaced + " " + mtlspoptest.Apache(mallory),
			"two in one":                 wrap(double),
			"a byte behind it":           wrap(trailing),
			"no padding":                 wrap(strings.TrimRight(b64, "=")),
			"spare bits":                 wrap(spare),
			"base64url":                  wrap(strings.NewReplacer("+", "-", "/", "_").Replace(b64)),
			"empty":                      wrap(""),
			"a set":                      wrap(reshaped(0x31)),
			"two escaped certificates":   escaped + mtlspoptest.Nginx(mallory),
			"a bad escape":               escaped + "%0",
			"a worse escape":             escaped + "%zz",
			"escaped twice":              strings.ReplaceAll(escaped, "%", "%25"),
			"half escaped":               strings.Replace(escaped, "%20", " ", 1),
			"escaped, text behind":       escaped + "x",
			"a space in an escaped one":  strings.Replace(escaped, "%0A", "%0A ", 1),
			"escaped, a NUL behind":      escaped + "%00",
			"spaces as plus signs":       strings.ReplaceAll(escaped, "%20", "+"),
			"every plus sign as a space": strings.ReplaceAll(escaped, "%2B", "%20"),
			"RFC 9440":                   mtlspoptest.RFC9440(alice),
			"only colons":                "::",
			"CC-X-02 as much as a chain": wrap(b64[:40] + strings.Repeat(" ", 32<<10) + b64[40:]),
		},
		mtlspop.DER: {
			"no padding":               strings.TrimRight(b64, "="),
			"spare bits":               spare,
			"too much padding":         b64 + "=",
			"base64url":                strings.NewReplacer("+", "-", "/", "_").Replace(b64),
			"space inside":             b64[:40] + " " + b64[40:],
			"a line break inside":      b64[:40] + "\n" + b64[40:],
			"a line break behind":      b64 + "\r\n",
			"a byte behind it":         trailing,
			"two in one":               double,
			"two with a comma":         b64 + "," + mtlspoptest.HAProxy(mallory),
			"percent-encoded":          url.QueryEscape(b64),
			"with colons":              ":" + b64 + ":",
			"PEM":                      spaced,
			"PEM in base64":            mtlspoptest.ApacheBase64(alice),
			"a set":                    reshaped(0x31),
			"only colons":              "::",
			"the digest of nothing":    mtlspoptest.CaddyFingerprint(nil),
			"a bit flipped in the DER": "A" + b64[1:],
		},
		mtlspop.Base64PEM: {
			"PEM":                    spaced,
			"DER":                    b64,
			"no padding of the PEM":  base64.StdEncoding.EncodeToString([]byte(wrap(strings.TrimRight(b64, "=")))),
			"two certificates":       base64.StdEncoding.EncodeToString([]byte(spaced + "\n" + mtlspoptest.Apache(mallory))),
			"no base64 behind it":    base64.StdEncoding.EncodeToString([]byte(spaced+strings.Repeat(" ", 3-len(spaced)%3))) + "!!!!",
			"encoded twice":          base64.StdEncoding.EncodeToString([]byte(mtlspoptest.ApacheBase64(alice))),
			"percent-encoded inside": base64.StdEncoding.EncodeToString([]byte(escaped)),
		},
		mtlspop.PEMChain: {
			"text between":               spaced + " x " + mtlspoptest.Apache(mallory),
			"text behind":                mtlspoptest.ALBPassthrough(alice) + "x",
			"a comma between":            spaced + "," + mtlspoptest.Apache(mallory),
			"two in one":                 wrap(double),
			"two in one behind the leaf": spaced + wrap(double),
			"a broken one behind":        spaced + wrap("AAAA"),
			"a truncated one behind":     strings.TrimSuffix(mtlspoptest.ALBPassthrough(alice), "-----%0A"),
			"more than a chain has":      strings.Repeat(spaced, 12),
			"CC-X-02 an absurd size":     wrap(b64[:40] + strings.Repeat(" ", 96<<10) + b64[40:]),
		},
		mtlspop.DERChain: {
			"a trailing comma":           b64 + ",",
			"a leading comma":            "," + b64,
			"two commas":                 b64 + ",," + b64,
			"a space behind the comma":   b64 + ", " + b64,
			"two in one":                 double,
			"two in one behind the leaf": b64 + "," + double,
			"a broken one behind":        b64 + ",AAAA",
			"a bad escape":               b64 + "%2",
			"more than a chain has":      strings.Repeat(b64+",", 11) + b64,
		},
		mtlspop.ThumbprintHex: {
			"SHA-1":          "9f85e74c6f1d7dd85e5c40bd63a3fc39a72f4c1b",
			"with colons":    "AE:" + mtlspoptest.CaddyFingerprint(alice)[2:],
			"with a prefix":  "sha256:" + mtlspoptest.CaddyFingerprint(alice),
			"too long":       mtlspoptest.CaddyFingerprint(alice) + "0",
			"no digit":       "g" + mtlspoptest.CaddyFingerprint(alice)[1:],
			"base64url":      alice.Thumbprint(),
			"a certificate":  b64,
			"a comma behind": mtlspoptest.CaddyFingerprint(alice) + ",",
		},
		mtlspop.ThumbprintBase64URL: {
			"hex":            mtlspoptest.CaddyFingerprint(alice),
			"padded":         alice.Thumbprint() + "=",
			"too short":      alice.Thumbprint()[1:],
			"wrong alphabet": "+/" + alice.Thumbprint()[2:],
			"twice":          alice.Thumbprint() + "," + alice.Thumbprint(),
		},
		mtlspop.XFCC(1): {
			"a forged element in front":          mtlspoptest.Envoy(mallory) + "," + element,
			"one smuggled in through a SAN":      mtlspoptest.Envoy(mallory) + "x," + element,
			"a key smuggled in":                  mtlspoptest.Envoy(mallory) + ";" + cert,
			"a hash smuggled in":                 element + ";" + hash,
			"a quote that is not closed":         `Subject="` + element,
			"a quote that is not closed, behind": cert + `;Subject="a`,
			"an escape at the very end":          cert + `;Subject="a\`,
			"a key with a brace":                 "a{=b;" + cert,
			"a key with a bracket":               "a[=b;" + cert,
			"a quote that opens too late":        `Subject=a"b;` + element,
			"text behind a quote":                cert + "x",
			"a pair behind a quote":              cert + "xBy=a",
			"no value":                           "Hash;" + cert,
			"no key":                             "=a;" + cert,
			"a strange key":                      "A b=c;" + cert,
			"a semicolon behind":                 element + ";",
			"a comma behind":                     element + ",",
			"a comma in front":                   "," + element,
			"a space in front of a key":          hash + "; " + cert,
			"Hash only":                          hash,
			"Hash of another client":             "Hash=" + mtlspoptest.CaddyFingerprint(mallory) + ";" + cert,
			"Hash that is none":                  "Hash=;" + cert,
			"Cert that is none":                  `Cert="";Chain="` + url.PathEscape(chainPEM(alice)) + `"`,
			"Cert that the Chain is not of":      cert + `;Chain="` + url.PathEscape(chainPEM(mallory)) + `"`,
			"Cert twice":                         cert + ";" + cert,
			"Cert twice, once empty":             `Cert="";` + cert,
			"Chain twice":                        `Chain="` + escaped + `";chain="` + escaped + `"`,
			"two certificates in Cert":           `Cert="` + escaped + mtlspoptest.Nginx(mallory) + `"`,
			"a broken certificate in Chain":      cert + `;Chain="` + escaped + `x"`,
			"a broken Chain alone":               `Chain="` + escaped + `x"`,
			"a bare certificate":                 escaped,
			"an escaped quote at the end":        `Cert="` + escaped + `\"`,
			"an escaped quote within":            `Cert="` + escaped + `\""`,
			"a quote around the whole":           `"` + element + `"`,
			"the element in a quoted string":     `Subject="` + strings.ReplaceAll(element, `"`, `\"`) + `"`,
		},
		mtlspop.XFCC(2): {
			"a forged element in front": mtlspoptest.Envoy(mallory, alice, mallory),
			"a malformed second":        element + ",x",
		},
		mtlspop.XFCCThumbprint(1): {
			"a forged element in front": mtlspoptest.Envoy(mallory) + "," + element,
			"no Hash":                   cert,
			"Hash twice":                hash + ";" + hash,
			"Hash twice, once empty":    "Hash=;" + hash,
			"SHA-1":                     "Hash=9f85e74c6f1d7dd85e5c40bd63a3fc39a72f4c1b",
		},
	} {
		for name, value := range values {
			t.Run("CC-X-01 "+format.String()+" "+name, func(t *testing.T) {
				require.Equal(t, mtlspop.ErrMalformed, verifyValue(t, format, value, alice.Thumbprint()))
			})
		}
	}
}

func TestXFCCReadsTheOutermostEnvoy(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, outer := ca.Issue("alice"), ca.Issue("outer envoy")
	value := mtlspoptest.Envoy(alice, outer)
	require.NoError(t, verifyValue(t, mtlspop.XFCC(2), value, alice.Thumbprint()))
	require.Equal(t, mtlspop.ErrMismatch, verifyValue(t, mtlspop.XFCC(2), value, outer.Thumbprint()))
	// Fewer Envoys than configured: alice has not been seen by the outermost.
	require.Equal(t, mtlspop.ErrNoCertificate, verifyValue(t, mtlspop.XFCC(3), value, alice.Thumbprint()))
	// The service would take the outer Envoy for its client, or alice for an Envoy.
	require.Equal(t, mtlspop.ErrMalformed, verifyValue(t, mtlspop.XFCC(1), value, alice.Thumbprint()))
}

func TestByteSequencesAsRFC9651AsksParsersTo(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	for padding := range 3 {
		alice := ofLength(t, ca, padding)
		b64 := mtlspoptest.HAProxy(alice)
		t.Run("CC-2.2-01 padding may be missing (section 4.2.7)", func(t *testing.T) {
			require.NoError(t, verifyValue(t, mtlspop.RFC9440, ":"+strings.TrimRight(b64, "=")+":", alice.Thumbprint()))
		})
		t.Run("CC-2.2-01 bits behind the last byte may be set (section 4.2.7)", func(t *testing.T) {
			if padding == 0 {
				t.Skip("there are none")
			}
			last := len(b64) - padding - 1
			spare := b64[:last] + string(b64[last]+1) + b64[last+1:]
			require.NoError(t, verifyValue(t, mtlspop.RFC9440, ":"+spare+":", alice.Thumbprint()))
		})
	}
}

func TestFieldsOfTheRFCs(t *testing.T) {
	vectors := rfcVectors(t)
	v := newVerifier(t, mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted))
	t.Run("CC-2.2-01 RFC 9440, appendix A", func(t *testing.T) {
		vector := vectors["rfc9440-appendix-a"]
		r := forwardedFrom(trustedPeer, "Client-Cert", vector.Input.ClientCert, "Client-Cert-Chain", vector.Input.Chain)
		cert, err := v.Verify(r, vector.Expect.X5T)
		require.NoError(t, err)
		require.Equal(t, "BC", cert.Certificate.Subject.CommonName)
	})
	t.Run("MTLS-7.5-01 RFC 8705, appendix A", func(t *testing.T) {
		vector := vectors["rfc8705-appendix-a"]
		cert, err := v.Verify(forwardedFrom(trustedPeer, "Client-Cert", vector.Input.Header), vector.Expect.X5T)
		require.NoError(t, err)
		require.Equal(t, vector.Expect.X5T, mtlspop.Thumbprint(cert.Certificate))
	})
}

func TestEveryBitOfAForwardedCertificate(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, trusted))
	for bit := range 8 * len(alice.Certificate.Raw) {
		der := append([]byte(nil), alice.Certificate.Raw...)
		der[bit/8] ^= 1 << (bit % 8)
		r := forwardedFrom(trustedPeer, "X-Client-Cert", base64.StdEncoding.EncodeToString(der))
		_, err := v.Verify(r, alice.Thumbprint())
		require.Contains(t, []error{mtlspop.ErrMismatch, mtlspop.ErrMalformed}, err)
	}
}
