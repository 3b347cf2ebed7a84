package mtlspop_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// unparsable returns certificates that crypto/x509 refuses and terminators forward.
func unparsable(t testing.TB) map[string]*mtlspoptest.Client {
	t.Helper()
	files, err := filepath.Glob("testdata/unparsable/*.pem")
	require.NoError(t, err)
	require.Len(t, files, 10)
	clients := make(map[string]*mtlspoptest.Client)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		_, err = x509.ParseCertificate(block.Bytes)
		require.Error(t, err, file)
		// The certificate has no other field than what the formats need.
		name := strings.TrimSuffix(filepath.Base(file), ".pem")
		clients[name] = &mtlspoptest.Client{Certificate: &x509.Certificate{Raw: block.Bytes}}
	}
	return clients
}

// everyForm is each way of forwarding a whole certificate.
func everyForm(c *mtlspoptest.Client) map[mtlspop.Format]string {
	return map[mtlspop.Format]string{
		mtlspop.RFC9440:   mtlspoptest.RFC9440(c),
		mtlspop.PEM:       mtlspoptest.Nginx(c),
		mtlspop.DER:       mtlspoptest.HAProxy(c),
		mtlspop.Base64PEM: mtlspoptest.ApacheBase64(c),
		mtlspop.PEMChain:  mtlspoptest.ALBPassthrough(c),
		mtlspop.DERChain:  mtlspoptest.Traefik(c),
		mtlspop.XFCC(1):   mtlspoptest.Envoy(c),
	}
}

func TestTheDigestDecidesAboutCertificatesThatGoCannotParse(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Issue("alice")
	good := mtlspop.WithRevocation(checkerFunc(func(context.Context, []*x509.Certificate) error { return nil }), nil)
	for name, c := range unparsable(t) {
		for format, value := range everyForm(c) {
			forwarded := mtlspop.WithForwardedCertificate("X-Client-Cert", format, trusted)
			r := forwardedFrom(trustedPeer, "X-Client-Cert", value)
			t.Run("MTLS-7.5-01 B05 "+name+" as "+format.String(), func(t *testing.T) {
				v := newVerifier(t, forwarded)
				for range 2 { // the second time from memory
					e, err := v.Verify(r, c.Thumbprint())
					require.NoError(t, err)
					require.Equal(t, mtlspop.Evidence{Thumbprint: c.Thumbprint(), DER: c.Certificate.Raw}, e)
				}
				e, err := v.Verify(r, alice.Thumbprint())
				refused(t, mtlspop.ErrMismatch, e, err)
			})
			for more, options := range map[string][]mtlspop.Option{
				"RequireValidity": {mtlspop.RequireValidity()},
				"WithRoots":       {mtlspop.WithRoots(ca.Pool())},
				"WithRootsFunc":   {mtlspop.WithRootsFunc(ca.Pool)},
				"WithRevocation":  {mtlspop.WithRoots(ca.Pool()), good},
			} {
				t.Run("MTLS-7.5-01 B05 "+name+" as "+format.String()+" is refused by "+more, func(t *testing.T) {
					v := newVerifier(t, append(options, forwarded)...)
					e, err := v.Verify(r, c.Thumbprint())
					refused(t, mtlspop.ErrUnparsable, e, err)
					require.Equal(t, "invalid_token", mtlspop.ErrUnparsable.Code())
					e, err = v.Verify(r, alice.Thumbprint())
					refused(t, mtlspop.ErrMismatch, e, err)
				})
			}
		}
	}
}

func TestWhatDoesNotMatchMustLookLikeOneCertificate(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, mallory := ca.Issue("alice"), ca.Issue("mallory")
	der := mallory.Certificate.Raw
	require.Equal(t, []byte{0x30, 0x82}, der[:2])
	body := der[4:]
	long := slices.Concat([]byte{0x30, 0x83, 0}, der[2:4], body)
	for name, c := range map[string]struct {
		der  []byte
		want mtlspop.BindingError
	}{
		"a certificate":                     {der, mtlspop.ErrMismatch},
		"a short sequence":                  {[]byte{0x30, 3, 2, 1, 0}, mtlspop.ErrMismatch},
		"an empty sequence":                 {[]byte{0x30, 0}, mtlspop.ErrMismatch},
		"a sequence of 128 bytes":           {append([]byte{0x30, 0x81, 128}, make([]byte, 128)...), mtlspop.ErrMismatch},
		"a byte behind it":                  {append(slices.Clone(der), 0), mtlspop.ErrMalformed},
		"a byte less":                       {der[:len(der)-1], mtlspop.ErrMalformed},
		"two certificates":                  {append(slices.Clone(der), alice.Certificate.Raw...), mtlspop.ErrMalformed},
		"indefinite length of 128 bytes":    {append([]byte{0x30, 0x80}, make([]byte, 128)...), mtlspop.ErrMalformed},
		"indefinite length and no more":     {[]byte{0x30, 0x80}, mtlspop.ErrMalformed},
		"a length beyond 64 bits":           {slices.Concat([]byte{0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 128}, make([]byte, 128)), mtlspop.ErrMalformed},
		"indefinite length":                 {slices.Concat([]byte{0x30, 0x80}, body, []byte{0, 0}), mtlspop.ErrMalformed},
		"a length with a zero in front":     {long, mtlspop.ErrMalformed},
		"a length that fits one byte":       {append([]byte{0x30, 0x81, 127}, make([]byte, 127)...), mtlspop.ErrMalformed},
		"a length of four bytes":            {slices.Concat([]byte{0x30, 0x84, 0, 0}, der[2:]), mtlspop.ErrMalformed},
		"a length that is cut off":          {[]byte{0x30, 0x82, 1}, mtlspop.ErrMalformed},
		"a set":                             {append([]byte{0x31}, der[1:]...), mtlspop.ErrMalformed},
		"a primitive":                       {append([]byte{0x10}, der[1:]...), mtlspop.ErrMalformed},
		"an INTEGER":                        {[]byte{2, 1, 0}, mtlspop.ErrMalformed},
		"one byte":                          {[]byte{0x30}, mtlspop.ErrMalformed},
		"PEM where DER should be":           {[]byte("-----BEGIN CERTIFICATE-----"), mtlspop.ErrMalformed},
		"a chain that begins with the leaf": {slices.Concat(alice.Certificate.Raw, der), mtlspop.ErrMalformed},
	} {
		t.Run("CC-2.2-03 "+name, func(t *testing.T) {
			for format, value := range everyForm(&mtlspoptest.Client{Certificate: &x509.Certificate{Raw: c.der}}) {
				require.Equal(t, c.want, verifyValue(t, format, value, alice.Thumbprint()), format)
			}
		})
	}
}

// A chain's certificate that cannot be parsed is no reason to refuse a client whose
// chain does not need it, and what is no certificate is malformed as ever.
func TestUnparsableCertificatesOfAChainAreLeftOut(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	odd := unparsable(t)["brainpoolP256r1"].Certificate.Raw
	v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, trusted),
		mtlspop.WithForwardedChain("X-Chain", mtlspop.RFC9440), mtlspop.WithRoots(ca.Pool()))
	verify := func(chain ...[]byte) error {
		blob := ":" + base64.StdEncoding.EncodeToString(slices.Concat(chain...)) + ":"
		_, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.HAProxy(alice), "X-Chain", blob), alice.Thumbprint())
		return err
	}
	require.Equal(t, mtlspop.ErrUntrusted, verify(odd))
	require.Equal(t, mtlspop.ErrMalformed, verify([]byte("junk")))
	require.Equal(t, mtlspop.ErrMalformed, verify(odd, []byte{0x30}))
	require.Equal(t, mtlspop.ErrMalformed, verify(slices.Repeat([][]byte{odd}, 11)...))
	require.NoError(t, verify(odd, alice.Chain[0].Raw))
}
