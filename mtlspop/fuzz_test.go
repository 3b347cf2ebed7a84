package mtlspop

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// capturedSample is as much of a sample as parsing alone needs.
type capturedSample struct {
	Format string
	Value  *string
	DER    *string `json:"cert_der_base64"`
}

func capturedSamples(t testing.TB) []capturedSample {
	t.Helper()
	text, err := os.ReadFile("testdata/forwarded-certificates.json")
	require.NoError(t, err)
	var file struct{ Samples []capturedSample }
	require.NoError(t, json.Unmarshal(text, &file))
	return file.Samples
}

// fuzz feeds values to the format's parser. What is accepted and holds a
// certificate must be what encode makes of this certificate, in the sense that
// it reads the same.
func fuzz(f *testing.F, format Format, encode func(*mtlspoptest.Client) string) {
	for _, s := range capturedSamples(f) {
		if s.Value != nil {
			f.Add(*s.Value)
		}
	}
	chained := mtlspoptest.NewCA(f, "Root").Intermediate("Upper").Intermediate("Lower").Issue("alice")
	for _, c := range []*mtlspoptest.Client{nil, chained, mtlspoptest.SelfSigned(f, "bob")} {
		f.Add(encode(c))
	}
	f.Add(`By=a;Hash=00;Cert="%2D\"";Chain="",URI=;DNS=a,b`)
	f.Fuzz(func(t *testing.T, value string) {
		p, ok := format.parse(value)
		require.False(t, ok && format.saysNone(value), "a certificate, and none")
		if format.isChain() {
			checkChain(t, format, value)
		}
		if !ok || p.leaf == nil {
			require.True(t, !ok || format.isThumbprint() || p.sum == thumbprintOfNothing)
			return
		}
		require.Equal(t, thumbprint(sha256.Sum256(p.leaf)), p.sum)
		cert, err := x509.ParseCertificate(p.leaf)
		if err != nil {
			return // refused by Verify
		}
		client := &mtlspoptest.Client{Certificate: cert}
		for _, der := range p.others {
			other, err := x509.ParseCertificate(der)
			if err != nil {
				return
			}
			client.Chain = append(client.Chain, other)
		}
		again, ok := format.parse(encode(client))
		require.True(t, ok)
		require.Equal(t, p.leaf, again.leaf)
	})
}

// checkChain asserts that a chain's parser has the promised bound.
func checkChain(t *testing.T, format Format, value string) {
	ders := format.parseChain(value)
	require.LessOrEqual(t, len(ders), maxChain+1)
}

func FuzzRFC9440(f *testing.F)   { fuzz(f, RFC9440, mtlspoptest.RFC9440) }
func FuzzPEM(f *testing.F)       { fuzz(f, PEM, mtlspoptest.Nginx) }
func FuzzDER(f *testing.F)       { fuzz(f, DER, mtlspoptest.HAProxy) }
func FuzzBase64PEM(f *testing.F) { fuzz(f, Base64PEM, mtlspoptest.ApacheBase64) }
func FuzzPEMChain(f *testing.F)  { fuzz(f, PEMChain, mtlspoptest.ALBPassthrough) }
func FuzzDERChain(f *testing.F)  { fuzz(f, DERChain, mtlspoptest.Traefik) }

func FuzzXFCC(f *testing.F) {
	fuzz(f, XFCC(1), func(c *mtlspoptest.Client) string { return mtlspoptest.Envoy(c) })
}

func FuzzXFCCOfTwo(f *testing.F) {
	inner := mtlspoptest.SelfSigned(f, "outer envoy")
	fuzz(f, XFCC(2), func(c *mtlspoptest.Client) string { return mtlspoptest.Envoy(c, inner) })
}

// fuzzThumbprint is fuzz for formats that read a digest: it must be that of
// encode's argument.
func fuzzThumbprint(f *testing.F, format Format, encode func(thumbprint) string) {
	for _, s := range capturedSamples(f) {
		if s.Value != nil {
			f.Add(*s.Value)
		}
	}
	f.Add(encode(thumbprintOfNothing))
	f.Fuzz(func(t *testing.T, value string) {
		p, ok := format.parse(value)
		if !ok {
			return
		}
		require.Nil(t, p.leaf)
		again, ok := format.parse(encode(p.sum))
		require.True(t, ok)
		require.Equal(t, p.sum, again.sum)
	})
}

func FuzzThumbprintHex(f *testing.F) {
	fuzzThumbprint(f, ThumbprintHex, func(t thumbprint) string { return strings.ToUpper(hex.EncodeToString(t[:])) })
}

func FuzzThumbprintBase64URL(f *testing.F) {
	fuzzThumbprint(f, ThumbprintBase64URL, func(t thumbprint) string { return base64.RawURLEncoding.EncodeToString(t[:]) })
}

func FuzzXFCCThumbprint(f *testing.F) {
	fuzzThumbprint(f, XFCCThumbprint(1), func(t thumbprint) string { return "By=a;Hash=" + hex.EncodeToString(t[:]) })
}

// TestCapturedChains reads the fields that hold a chain and no leaf.
func TestCapturedChains(t *testing.T) {
	formats := map[string]Format{"pem-spaces-chain": PEM, "rfc9440-chain-concatenated-der": RFC9440}
	n := 0
	for _, s := range capturedSamples(t) {
		format, ok := formats[s.Format]
		if !ok || s.Value == nil || s.DER == nil {
			continue
		}
		n++
		t.Run("CC-X-01 "+s.Format, func(t *testing.T) {
			ders := format.parseChain(trimSpace(*s.Value))
			require.Len(t, ders, 1)
			intermediate, err := x509.ParseCertificate(ders[0])
			require.NoError(t, err)
			der, err := base64.StdEncoding.DecodeString(*s.DER)
			require.NoError(t, err)
			leaf, err := x509.ParseCertificate(der)
			require.NoError(t, err)
			require.NoError(t, leaf.CheckSignatureFrom(intermediate))
		})
	}
	require.Equal(t, 2, n)
}
