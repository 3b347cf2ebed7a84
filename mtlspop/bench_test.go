package mtlspop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// verification is what one benchmark or allocation test verifies again and again.
type verification struct {
	name    string
	options []mtlspop.Option
	request func(*mtlspoptest.Client) *http.Request
	allocs  float64
}

func verifications(ca *mtlspoptest.CA) []verification {
	forwarded := func(name string, f mtlspop.Format, encode func(*mtlspoptest.Client) string, allocs float64) verification {
		return verification{name,
			[]mtlspop.Option{mtlspop.WithForwardedCertificate("X-Client-Cert", f, trusted)},
			func(c *mtlspoptest.Client) *http.Request {
				return forwardedFrom(trustedPeer, "X-Client-Cert", encode(c))
			}, allocs}
	}
	return []verification{
		{"TLS", nil, requestOver, 0},
		{"TLS WithRoots", []mtlspop.Option{mtlspop.WithRoots(ca.Pool())}, requestOver, 0},
		forwarded("RFC9440", mtlspop.RFC9440, mtlspoptest.RFC9440, 1),
		forwarded("DER", mtlspop.DER, mtlspoptest.HAProxy, 1),
		forwarded("PEM escaped", mtlspop.PEM, mtlspoptest.Nginx, 3),
		forwarded("PEM spaced", mtlspop.PEM, mtlspoptest.Apache, 2),
		forwarded("XFCC", mtlspop.XFCC(1), func(c *mtlspoptest.Client) string { return mtlspoptest.Envoy(c) }, 8),
		forwarded("ThumbprintHex", mtlspop.ThumbprintHex, mtlspoptest.CaddyFingerprint, 1),
	}
}

// large makes a certificate of about 1 KB, as many are.
func large(c *x509.Certificate) {
	for range 20 {
		c.DNSNames = append(c.DNSNames, "a-rather-long-name.of-a-client.example")
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ca := mtlspoptest.NewCA(t, "Root")
	alice, mallory := ca.Issue("alice", large), ca.Issue("mallory", large)
	for _, c := range verifications(ca) {
		t.Run(c.name, func(t *testing.T) {
			v, r := newVerifier(t, c.options...), c.request(alice)
			x5t, wrong := alice.Thumbprint(), mallory.Thumbprint()
			got := testing.AllocsPerRun(100, func() {
				if _, err := v.Verify(r, x5t); err != nil {
					t.Error(err)
				}
			})
			require.LessOrEqual(t, got, c.allocs)
			if c.request(nil).TLS != nil {
				got = testing.AllocsPerRun(100, func() {
					if _, err := v.Verify(r, wrong); err != mtlspop.ErrMismatch {
						t.Error(err)
					}
				})
				require.Zero(t, got)
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		v := newVerifier(t, mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, trusted))
		for _, r := range []*http.Request{forwardedFrom(trustedPeer), forwardedFrom(untrustedPeer, "X-Client-Cert", "x")} {
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if _, err := v.Verify(r, anyThumbprint); err == nil {
					t.Error("accepted")
				}
			}))
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	ca := mtlspoptest.NewCA(b, "Root")
	alice := ca.Issue("alice", large)
	b.Logf("certificate of %d bytes", len(alice.Certificate.Raw))
	for _, c := range verifications(ca) {
		b.Run(c.name, func(b *testing.B) {
			v, r, x5t := newVerifier(b, c.options...), c.request(alice), alice.Thumbprint()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r, x5t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBaseline is the crypto that no verifier can do without, and one that
// shows how fast the machine is.
func BenchmarkBaseline(b *testing.B) {
	alice := mtlspoptest.NewCA(b, "Root").Issue("alice", large)
	b.Run("sha256.Sum256 of the certificate", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(alice.Certificate.Raw)
		}
	})
	b.Run("x509.ParseCertificate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x509.ParseCertificate(alice.Certificate.Raw)
		}
	})
	b.Run("ecdsa.VerifyASN1", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(b, err)
		digest := sha256.Sum256(nil)
		sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig)
		}
	})
}
