package mtlspop_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
)

// sample is what a terminator sent for a client with or without a certificate.
type sample struct {
	Terminator string
	ConfigLine string  `json:"config_line"`
	Header     string  `json:"header_name"`
	Value      *string // as on the wire; nil: no field
	Captured   bool
	Format     string
	DER        *string `json:"cert_der_base64"`
	X5T        *string `json:"x5t_s256"`
	NetHTTP    string  `json:"go_net_http"` // what net/http makes of the request: "ok", or an error
	GoValue    *string `json:"go_value"`
}

func samples(t testing.TB) []sample {
	t.Helper()
	text, err := os.ReadFile("testdata/forwarded-certificates.json")
	require.NoError(t, err)
	var file struct{ Samples []sample }
	require.NoError(t, json.Unmarshal(text, &file))
	return file.Samples
}

// sampleFormats says what to configure for the certificates' formats that the
// samples name.
var sampleFormats = map[string]mtlspop.Format{
	"rfc9440":                                 mtlspop.RFC9440,
	"pem-urlencoded":                          mtlspop.PEM,
	"pem-urlencoded-lowerhex-plus-kept":       mtlspop.PEM,
	"pem-urlencoded-safe+=/":                  mtlspop.PEM,
	"pem-urlencoded-safe+=/-chain-leaf-first": mtlspop.PEMChain,
	"pem-folded":                              mtlspop.PEM,
	"pem-spaces":                              mtlspop.PEM,
	"pem-raw-newlines":                        mtlspop.PEM,
	"pem-base64":                              mtlspop.Base64PEM,
	"der-base64":                              mtlspop.DER,
	"der-base64-chain-comma":                  mtlspop.DERChain,
	"der-base64-chain-comma-urlencoded":       mtlspop.DERChain,
	"sha256-hex":                              mtlspop.ThumbprintHex,
	"xfcc":                                    mtlspop.XFCC(1),
	"xfcc-2-elements":                         mtlspop.XFCC(2),
	"xfcc-hash-only":                          mtlspop.XFCCThumbprint(1),
	"pass-through":                            mtlspop.PEM,
	"sha1-hex":                                0, // no format reads it
	"verify-status":                           0,
	"pem-spaces-chain":                        0, // a chain has a field of its own; see TestChainFields
	"rfc9440-chain-concatenated-der":          0,
}

// allFormats are those that a certificate's field can have.
var allFormats = []mtlspop.Format{
	mtlspop.RFC9440, mtlspop.PEM, mtlspop.DER, mtlspop.Base64PEM, mtlspop.PEMChain, mtlspop.DERChain,
	mtlspop.ThumbprintHex, mtlspop.ThumbprintBase64URL, mtlspop.XFCC(1), mtlspop.XFCC(2), mtlspop.XFCCThumbprint(1),
}

// receive puts the sample through net/http.
func (s sample) receive(t testing.TB) (*http.Request, error) {
	t.Helper()
	wire := "GET / HTTP/1.1\r\nHost: api.example\r\n"
	if s.Value != nil {
		wire += s.Header + ": " + *s.Value + "\r\n"
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire + "\r\n")))
	if err == nil {
		r.RemoteAddr = trustedPeer
	}
	return r, err
}

func TestSamples(t *testing.T) {
	for i, s := range samples(t) {
		if s.Header == "(operator)" {
			s.Header = "X-Client-Cert"
		}
		format, known := sampleFormats[s.Format]
		require.True(t, known, s.Format)

		t.Run(fmt.Sprintf("CC-X-01 %d %s %s", i, s.Terminator, s.ConfigLine), func(t *testing.T) {
			r, err := s.receive(t)
			if s.Value != nil && s.NetHTTP != "" && s.NetHTTP != "ok" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			if s.GoValue != nil {
				require.Equal(t, []string{*s.GoValue}, r.Header.Values(s.Header))
			}
			switch {
			case format == 0:
				refusedInEveryFormat(t, s, r)
			case s.Value == nil || s.DER == nil:
				v := newVerifier(t, mtlspop.WithForwardedCertificate(s.Header, format, trusted))
				cert, err := v.Verify(r, anyThumbprint)
				refused(t, mtlspop.ErrNoCertificate, cert, err)
			default:
				acceptedAsItsCertificate(t, s, format, r)
			}
		})
	}
}

// acceptedAsItsCertificate asserts that format, and only formats that carry
// as much, finds the certificate in the sample.
func acceptedAsItsCertificate(t *testing.T, s sample, format mtlspop.Format, r *http.Request) {
	want, err := base64.StdEncoding.DecodeString(*s.DER)
	require.NoError(t, err)
	for _, f := range allFormats {
		v := newVerifier(t, mtlspop.WithForwardedCertificate(s.Header, f, trusted))
		cert, err := v.Verify(r, *s.X5T)
		if f != format {
			if err == nil && cert.DER != nil {
				require.Equal(t, want, cert.DER, f)
			}
			continue
		}
		require.NoError(t, err)
		if f == mtlspop.ThumbprintHex || f == mtlspop.XFCCThumbprint(1) {
			require.Equal(t, mtlspop.Evidence{Thumbprint: *s.X5T}, cert)
			continue
		}
		require.Equal(t, want, cert.DER)
		require.Equal(t, want, cert.Certificate.Raw)

		cert, err = v.Verify(r, anyThumbprint)
		refused(t, mtlspop.ErrMismatch, cert, err)
	}
}

// refusedInEveryFormat asserts that what is no certificate is not taken for
// one, whatever the operator has configured.
func refusedInEveryFormat(t *testing.T, s sample, r *http.Request) {
	for _, f := range allFormats {
		x5t := anyThumbprint
		if s.X5T != nil {
			x5t = *s.X5T
		}
		v := newVerifier(t, mtlspop.WithForwardedCertificate(s.Header, f, trusted))
		cert, err := v.Verify(r, x5t)
		require.Error(t, err, f)
		require.Zero(t, cert, f)
	}
}
