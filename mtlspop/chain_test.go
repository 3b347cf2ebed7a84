package mtlspop_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

func TestChains(t *testing.T) {
	root := mtlspoptest.NewCA(t, "Root")
	upper := root.Intermediate("Upper")
	lower := upper.Intermediate("Lower")
	stranger := mtlspoptest.NewCA(t, "Stranger")
	alice, leafOnly := lower.Issue("alice"), lower.Issue("alice")
	leafOnly.Chain = nil
	both := root.Pool()
	both.AddCert(lower.Certificate)
	pinned := x509.NewCertPool()
	self := mtlspoptest.SelfSigned(t, "self")
	pinned.AddCert(self.Certificate)
	pinned.AddCert(leafOnly.Certificate)

	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	roots := mtlspop.WithRoots(root.Pool())
	for _, c := range []struct {
		name    string
		client  *mtlspoptest.Client
		options []mtlspop.Option
		want    error
	}{
		{"the whole chain", alice, []mtlspop.Option{roots}, nil},
		{"issued by the root", root.Issue("alice"), []mtlspop.Option{roots}, nil},
		{"an empty subject", root.Issue(""), []mtlspop.Option{roots}, nil},
		{"the leaf alone", leafOnly, []mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"the leaf alone, intermediates configured", leafOnly,
			[]mtlspop.Option{roots, mtlspop.WithIntermediates(lower.Certificate), mtlspop.WithIntermediates(upper.Certificate)}, nil},
		{"intermediates are not roots", leafOnly,
			[]mtlspop.Option{mtlspop.WithRoots(stranger.Pool()), mtlspop.WithIntermediates(lower.Certificate, upper.Certificate, root.Certificate)}, mtlspop.ErrUntrusted},
		{"another root", alice, []mtlspop.Option{mtlspop.WithRoots(stranger.Pool())}, mtlspop.ErrUntrusted},
		{"another root of the same name", mtlspoptest.NewCA(t, "Root").Issue("alice"), []mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"self-signed", self, []mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"self-signed and pinned", self, []mtlspop.Option{mtlspop.WithRoots(pinned)}, nil},
		{"an intermediate as the only anchor", leafOnly, []mtlspop.Option{mtlspop.WithRoots(lower.Pool())}, mtlspop.ErrUntrusted},
		{"a partial chain", leafOnly, []mtlspop.Option{mtlspop.WithRoots(lower.Pool()), mtlspop.AllowPartialChains()}, nil},
		{"the root beside an intermediate as anchor", alice, []mtlspop.Option{mtlspop.WithRoots(both)}, nil},
		{"a leaf as anchor", leafOnly, []mtlspop.Option{mtlspop.WithRoots(pinned)}, mtlspop.ErrUntrusted},
		{"a leaf as anchor of a partial chain", leafOnly, []mtlspop.Option{mtlspop.WithRoots(pinned), mtlspop.AllowPartialChains()}, nil},
		{"expired", root.Expired("alice"), []mtlspop.Option{roots}, mtlspop.ErrExpired},
		{"not yet valid", root.NotYetValid("alice"), []mtlspop.Option{roots}, mtlspop.ErrExpired},
		{"below an expired intermediate",
			root.Intermediate("Old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }).Issue("alice"),
			[]mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"below a certificate that is no authority",
			root.Intermediate("Leaf", func(c *x509.Certificate) { c.IsCA = false }).Issue("alice"),
			[]mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"for servers only", root.Issue("alice", usage(x509.ExtKeyUsageServerAuth)), []mtlspop.Option{roots}, mtlspop.ErrUntrusted},
		{"for servers and clients", root.Issue("alice", usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)), []mtlspop.Option{roots}, nil},
		{"for no usage in particular", root.Issue("alice", usage()), []mtlspop.Option{roots}, nil},
	} {
		t.Run("MTLS-6.2-01 over TLS: "+c.name, func(t *testing.T) {
			v := newVerifier(t, c.options...)
			for range 2 { // the second time from memory
				cert, err := v.Verify(requestOver(c.client), c.client.Thumbprint())
				require.Equal(t, c.want, err)
				require.Equal(t, err == nil, cert.DER != nil)
			}
		})
		for name, f := range chainFormats {
			t.Run("forwarded as "+name+": "+c.name, func(t *testing.T) {
				v := newVerifier(t, append(f.options, c.options...)...)
				for range 2 {
					cert, err := v.Verify(f.request(c.client), c.client.Thumbprint())
					require.Equal(t, c.want, err)
					require.Equal(t, err == nil, cert.DER != nil)
				}
			})
		}
	}
}

// chainFormats are ways to forward a certificate with its chain.
var chainFormats = map[string]struct {
	options []mtlspop.Option
	request func(*mtlspoptest.Client) *http.Request
}{
	"RFC 9440": {
		[]mtlspop.Option{mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted)},
		func(c *mtlspoptest.Client) *http.Request {
			return forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(c), "Client-Cert-Chain", mtlspoptest.RFC9440Chain(c))
		},
	},
	"HAProxy's blob": {
		[]mtlspop.Option{mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted)},
		func(c *mtlspoptest.Client) *http.Request {
			return forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(c), "Client-Cert-Chain", mtlspoptest.HAProxyChain(c))
		},
	},
	"Google Cloud's fields": {
		[]mtlspop.Option{
			mtlspop.WithForwardedCertificate("X-Client-Cert-Leaf", mtlspop.RFC9440, trusted),
			mtlspop.WithForwardedChain("x-client-cert-chain", mtlspop.RFC9440),
		},
		func(c *mtlspoptest.Client) *http.Request {
			return forwardedFrom(trustedPeer, "X-Client-Cert-Leaf", mtlspoptest.RFC9440(c), "X-Client-Cert-Chain", mtlspoptest.RFC9440Chain(c))
		},
	},
	"Apache's fields": {
		[]mtlspop.Option{
			mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, trusted),
			mtlspop.WithForwardedChain("X-Client-Chain0", mtlspop.PEM),
			mtlspop.WithForwardedChain("X-Client-Chain1", mtlspop.PEM),
		},
		func(c *mtlspoptest.Client) *http.Request {
			fields := []string{"X-Client-Cert", mtlspoptest.Apache(c)}
			for i := range 2 {
				value := "(null)"
				if i < len(c.Chain) {
					value = mtlspoptest.Apache(&mtlspoptest.Client{Certificate: c.Chain[i]})
				}
				fields = append(fields, fmt.Sprint("X-Client-Chain", i), value)
			}
			return forwardedFrom(trustedPeer, fields...)
		},
	},
	"ALB's passthrough": {
		[]mtlspop.Option{mtlspop.WithForwardedCertificate("X-Amzn-Mtls-Clientcert", mtlspop.PEMChain, trusted)},
		func(c *mtlspoptest.Client) *http.Request {
			return forwardedFrom(trustedPeer, "X-Amzn-Mtls-Clientcert", mtlspoptest.ALBPassthrough(c))
		},
	},
	"Traefik's list": {
		[]mtlspop.Option{mtlspop.WithForwardedCertificate("X-Forwarded-Tls-Client-Cert", mtlspop.DERChain, trusted)},
		func(c *mtlspoptest.Client) *http.Request {
			return forwardedFrom(trustedPeer, "X-Forwarded-Tls-Client-Cert", mtlspoptest.Traefik(c))
		},
	},
	"Envoy's Chain": {
		[]mtlspop.Option{mtlspop.WithForwardedCertificate("X-Forwarded-Client-Cert", mtlspop.XFCC(1), trusted)},
		func(c *mtlspoptest.Client) *http.Request {
			value := "Hash=" + mtlspoptest.CaddyFingerprint(c) + `;Chain="` + mtlspoptest.ALBPassthrough(c) + `"`
			return forwardedFrom(trustedPeer, "X-Forwarded-Client-Cert", value)
		},
	},
}

// TestEnvoysCertAndChain has the leaf twice, and the chain beside it.
func TestEnvoysCertAndChain(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	v := newVerifier(t, mtlspop.WithRoots(ca.Pool()),
		mtlspop.WithForwardedCertificate("X-Forwarded-Client-Cert", mtlspop.XFCC(1), trusted))
	value := mtlspoptest.Envoy(alice) + `;Chain="` + mtlspoptest.ALBPassthrough(alice) + `"`
	_, err := v.Verify(forwardedFrom(trustedPeer, "X-Forwarded-Client-Cert", value), alice.Thumbprint())
	require.NoError(t, err)
	cert, err := v.Verify(forwardedFrom(trustedPeer, "X-Forwarded-Client-Cert", value+"x"), alice.Thumbprint())
	refused(t, mtlspop.ErrMalformed, cert, err)
}

func TestMalformedChainFields(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	good := mtlspoptest.RFC9440Chain(alice)
	forwarded := mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, trusted)
	needed, unneeded := newVerifier(t, forwarded, mtlspop.WithRoots(ca.Pool())), newVerifier(t, forwarded)
	blob := base64.StdEncoding.EncodeToString(bytes.Repeat(alice.Chain[0].Raw, 11))
	for name, chains := range map[string][]string{
		"more in one blob":          {":" + blob + ":"},
		"CC-X-02 an absurd size":    {good + strings.Repeat(" ", 96<<10) + "," + good},
		"a trailing comma":          {good + ","},
		"no colons":                 {mtlspoptest.HAProxy(&mtlspoptest.Client{Certificate: alice.Chain[0]})},
		"a parameter":               {good + ";a"},
		"not a certificate":         {":AAAA:"},
		"an empty member":           {good + ", ::"},
		"two fields":                {good, good},
		"more than any chain needs": {good + "," + good + "," + good + "," + good + "," + good + "," + good + "," + good + "," + good + "," + good + "," + good + "," + good},
	} {
		t.Run("CC-2.2-03 "+name, func(t *testing.T) {
			r := forwardedFrom(trustedPeer, "Client-Cert", mtlspoptest.RFC9440(alice))
			r.Header["Client-Cert-Chain"] = chains
			cert, err := needed.Verify(r, alice.Thumbprint())
			refused(t, mtlspop.ErrMalformed, cert, err)
			// A verifier that needs no chain does not read it.
			_, err = unneeded.Verify(r, alice.Thumbprint())
			require.NoError(t, err)
		})
	}
}

// Chains in the fields of other formats than RFC 9440.
func TestMalformedChainsInEveryFormat(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	between := &mtlspoptest.Client{Certificate: alice.Chain[0]}
	b64, text, escaped := mtlspoptest.HAProxy(between), mtlspoptest.Apache(between), mtlspoptest.Nginx(between)
	cut := base64.StdEncoding.EncodeToString(between.Certificate.Raw[:100])
	for format, values := range map[mtlspop.Format]map[string]error{
		mtlspop.DER: {
			b64:                                 nil,
			" \t" + b64 + " ":                   nil,
			strings.ReplaceAll(b64, "=", "%3D"): nil,
			b64 + "," + b64:                     nil,
			b64 + "%2":                          mtlspop.ErrMalformed,
			b64 + ",":                           mtlspop.ErrMalformed,
			b64 + ",%":                          mtlspop.ErrMalformed,
			cut:                                 mtlspop.ErrMalformed,
			strings.Repeat(b64+",", 11) + b64:   mtlspop.ErrMalformed,
			strings.Repeat(b64+",", 10) + b64:   mtlspop.ErrMalformed, // ten is the limit
			strings.Repeat(b64+",", 9) + b64:    nil,
			"":                                  mtlspop.ErrUntrusted,
		},
		mtlspop.PEM: {
			text:                                    nil,
			"  " + text + "\t":                      nil,
			escaped:                                 nil,
			text + text:                             nil,
			escaped + "%2":                          mtlspop.ErrMalformed,
			text + "x":                              mtlspop.ErrMalformed,
			text + " x " + text:                     mtlspop.ErrMalformed,
			strings.Replace(escaped, "%0A", " ", 1): mtlspop.ErrMalformed,
			strings.Repeat(text, 12):                mtlspop.ErrMalformed,
			"(null)":                                mtlspop.ErrUntrusted,
		},
	} {
		for value, want := range values {
			v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, trusted),
				mtlspop.WithForwardedChain("X-Chain", format), mtlspop.WithRoots(ca.Pool()))
			_, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.HAProxy(alice), "X-Chain", value), alice.Thumbprint())
			require.Equal(t, want, err, "%v %.60q", format, value)
		}
	}
}

// MTLS-6.2-01: a chain that was good is remembered, so that a client that does not send
// it again is not refused.
func TestAChainIsRememberedWithoutWhatWasSent(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	alone := *alice
	alone.Chain = nil
	v := newVerifier(t, mtlspop.WithRoots(ca.Pool()))
	_, err := v.Verify(requestOver(&alone), alice.Thumbprint())
	require.Equal(t, mtlspop.ErrUntrusted, err)
	_, err = v.Verify(requestOver(alice), alice.Thumbprint())
	require.NoError(t, err)
	_, err = v.Verify(requestOver(&alone), alice.Thumbprint())
	require.NoError(t, err)
}

// CC-X-02: a value as long as the limit is read, and one byte more is not.
func TestTheLimitsOfFields(t *testing.T) {
	const leafLimit, chainLimit = 32 << 10, 96 << 10
	ca := mtlspoptest.NewCA(t, "Root")
	alice := ca.Intermediate("Intermediate").Issue("alice")
	padded := func(c *mtlspoptest.Client, size int) string {
		text := mtlspoptest.Apache(c)
		return text[:80] + strings.Repeat(" ", size-len(text)) + text[80:]
	}
	require.NoError(t, verifyValue(t, mtlspop.PEM, padded(alice, leafLimit), alice.Thumbprint()))
	require.Equal(t, mtlspop.ErrMalformed, verifyValue(t, mtlspop.PEM, padded(alice, leafLimit+1), alice.Thumbprint()))
	require.NoError(t, verifyValue(t, mtlspop.PEMChain, padded(alice, chainLimit), alice.Thumbprint()))
	require.Equal(t, mtlspop.ErrMalformed, verifyValue(t, mtlspop.PEMChain, padded(alice, chainLimit+1), alice.Thumbprint()))

	// A certificate whose length takes three bytes is one.
	large := append([]byte{0x30, 0x83, 1, 0, 0}, make([]byte, 1<<16)...)
	require.Equal(t, mtlspop.ErrMismatch, verifyValue(t, mtlspop.DERChain, base64.StdEncoding.EncodeToString(large), alice.Thumbprint()))

	// A leaf, and ten certificates above it.
	for n, want := range map[int]error{11: nil, 12: mtlspop.ErrMalformed} {
		require.Equal(t, want, verifyValue(t, mtlspop.PEMChain, strings.Repeat(mtlspoptest.Apache(alice), n), alice.Thumbprint()))
		der := mtlspoptest.HAProxy(alice)
		require.Equal(t, want, verifyValue(t, mtlspop.DERChain, strings.Repeat(der+",", n-1)+der, alice.Thumbprint()))
	}

	between := &mtlspoptest.Client{Certificate: alice.Chain[0]}
	for size, want := range map[int]error{chainLimit: nil, chainLimit + 1: mtlspop.ErrMalformed} {
		v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, trusted),
			mtlspop.WithForwardedChain("X-Chain", mtlspop.PEM), mtlspop.WithRoots(ca.Pool()))
		_, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.HAProxy(alice), "X-Chain", padded(between, size)), alice.Thumbprint())
		require.Equal(t, want, err)
	}
}

func TestRootsAreReplacedWhileRunning(t *testing.T) {
	before, after := mtlspoptest.NewCA(t, "Before"), mtlspoptest.NewCA(t, "After")
	earlier, later := before.Issue("alice"), after.Issue("alice")
	var roots atomic.Pointer[x509.CertPool]
	v := newVerifier(t, mtlspop.WithRootsFunc(roots.Load))

	verify := func(c *mtlspoptest.Client) error {
		_, err := v.Verify(requestOver(c), c.Thumbprint())
		return err
	}
	t.Run("before there are any it is the service's error", func(t *testing.T) {
		err := verify(earlier)
		require.Error(t, err)
		require.False(t, errors.As(err, new(mtlspop.BindingError)))
	})
	roots.Store(before.Pool())
	require.NoError(t, verify(earlier))
	require.NoError(t, verify(earlier))
	require.Equal(t, error(mtlspop.ErrUntrusted), verify(later))
	roots.Store(after.Pool())
	require.Equal(t, error(mtlspop.ErrUntrusted), verify(earlier), "a chain to a root that is gone")
	require.NoError(t, verify(later))
	roots.Store(before.Pool())
	require.NoError(t, verify(earlier))
}

func TestRememberedChainsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := mtlspoptest.NewCA(t, "Root")
		longLived := func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(1, 0, 0) }
		alice := root.Intermediate("Intermediate").Issue("alice", longLived)
		v := newVerifier(t, mtlspop.WithRoots(root.Pool()))
		_, err := v.Verify(requestOver(alice), alice.Thumbprint())
		require.NoError(t, err)
		time.Sleep(11 * time.Hour)
		_, err = v.Verify(requestOver(alice), alice.Thumbprint())
		require.NoError(t, err)
		time.Sleep(2 * time.Hour) // root and intermediate are valid for 12
		cert, err := v.Verify(requestOver(alice), alice.Thumbprint())
		refused(t, mtlspop.ErrUntrusted, cert, err)
	})
}

// checkerFunc is a RevocationChecker.
type checkerFunc func(ctx context.Context, chain []*x509.Certificate) error

func (f checkerFunc) Check(ctx context.Context, chain []*x509.Certificate) error {
	return f(ctx, chain)
}

// ctxKey marks the context of a request.
type ctxKey struct{}

func TestRevocation(t *testing.T) {
	root := mtlspoptest.NewCA(t, "Root")
	lower := root.Intermediate("Intermediate")
	alice := lower.Issue("alice")
	var asked [][]*x509.Certificate
	var answer error
	v := newVerifier(t, mtlspop.WithRoots(root.Pool()), mtlspop.WithRevocation(checkerFunc(
		func(ctx context.Context, chain []*x509.Certificate) error {
			require.Equal(t, "request", ctx.Value(ctxKey{}))
			asked = append(asked, chain)
			return answer
		}), nil))
	verify := func(c *mtlspoptest.Client, x5t string) (mtlspop.Evidence, error) {
		r := requestOver(c)
		return v.Verify(r.WithContext(context.WithValue(r.Context(), ctxKey{}, "request")), x5t)
	}

	t.Run("the chain goes from the leaf to the root", func(t *testing.T) {
		_, err := verify(alice, alice.Thumbprint())
		require.NoError(t, err)
		require.Equal(t, [][]*x509.Certificate{{alice.Certificate, lower.Certificate, root.Certificate}}, asked)
	})
	t.Run("every request is asked about, remembered chain or not", func(t *testing.T) {
		answer = fmt.Errorf("serial 1: %w", mtlspop.ErrRevoked)
		cert, err := verify(alice, alice.Thumbprint())
		refused(t, mtlspop.ErrRevoked, cert, err)
		require.Equal(t, "invalid_token", mtlspop.ErrRevoked.Code())
	})
	t.Run("a checker in trouble is the service's error", func(t *testing.T) {
		answer = context.DeadlineExceeded
		cert, err := verify(alice, alice.Thumbprint())
		require.Zero(t, cert)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, errors.As(err, new(mtlspop.BindingError)))
	})
	t.Run("no checker is asked about what is refused anyway", func(t *testing.T) {
		asked = nil
		stranger := mtlspoptest.NewCA(t, "Stranger").Issue("alice")
		cert, err := verify(stranger, stranger.Thumbprint())
		refused(t, mtlspop.ErrUntrusted, cert, err)
		cert, err = verify(alice, anyThumbprint)
		refused(t, mtlspop.ErrMismatch, cert, err)
		require.Empty(t, asked)
	})
}

func TestManyClientsAreForgottenNotRefused(t *testing.T) {
	original := mtlspoptest.SelfSigned(t, "client").Certificate
	serial := original.SerialNumber.Bytes()
	v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, trusted))
	clients := make([]*mtlspoptest.Client, 1200)
	for i := range clients {
		// Without WithRoots the signature is not looked at.
		other := binary.BigEndian.AppendUint16(slices.Clone(serial[:len(serial)-2]), uint16(i))
		cert, err := x509.ParseCertificate(bytes.Replace(original.Raw, serial, other, 1))
		require.NoError(t, err)
		clients[i] = &mtlspoptest.Client{Certificate: cert}
	}
	for range 2 {
		for _, c := range clients {
			cert, err := v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.HAProxy(c)), c.Thumbprint())
			require.NoError(t, err)
			require.Equal(t, c.Certificate.Raw, cert.Certificate.Raw)
		}
	}
}
