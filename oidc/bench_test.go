package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

func BenchmarkRawECDSAVerify(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	digest := sha256.Sum256([]byte("baseline"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("bad signature")
		}
	}
}

func benchmarkVerify(b *testing.B, opts ...oidc.Option) {
	issuer := newIssuer(b)
	v := newVerifier(b, issuer, opts...)
	raw := issuer.Token(oidctest.Scope("orders:read", "orders:write"), oidctest.BoundToKey(thumb('a')))
	_, err := verifyToken(b, v, raw)
	require.NoError(b, err)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.VerifyToken(ctx, raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	b.Run("seen before", func(b *testing.B) { benchmarkVerify(b) })
	b.Run("never seen", func(b *testing.B) { benchmarkVerify(b, oidc.WithCacheSize(0)) })
}

func BenchmarkRefusal(b *testing.B) {
	issuer := newIssuer(b)
	v := newVerifier(b, issuer)
	for name, raw := range map[string]string{
		"malformed":       "2YotnFZFEjr1zCsicMWpAA",
		"other audience":  issuer.Token(oidctest.Claim("aud", "https://other.example")),
		"too large":       string(make([]byte, 17<<10)),
		"typ JWT refused": issuer.Token(oidctest.Keycloak()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.VerifyToken(b.Context(), raw); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkClaim(b *testing.B) {
	issuer := newIssuer(b)
	v := newVerifier(b, issuer)
	token, err := verifyToken(b, v, issuer.Token(oidctest.Keycloak(), oidctest.Header("typ", "at+jwt"), oidctest.Claim("client_id", "c")))
	require.NoError(b, err)
	path := []string{"realm_access", "roles"}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := token.Claim(path...); !ok {
			b.Fatal("no claim")
		}
	}
}

// What a token costs must not depend on how many issuers there are.
func BenchmarkByIssuer(b *testing.B) {
	newToken := func(issuer *oidctest.Issuer) string { return issuer.Token(oidctest.BoundToKey(thumb('a'))) }
	for _, n := range []int{1, 10, 100} {
		var vs []*oidc.Verifier
		var last *oidctest.Issuer
		for i := range n {
			last = oidctest.NewIssuer(b, oidctest.InMemory(fmt.Sprintf("https://issuer-%d.example", i)))
			vs = append(vs, newVerifier(b, last))
		}
		s := newVerifiers(b, vs...)
		raw := newToken(last)
		_, err := verifyToken(b, s, raw)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("seen before, %d issuers", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.VerifyToken(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("unknown, %d issuers", n), func(b *testing.B) {
			unknown := newToken(oidctest.NewIssuer(b, oidctest.InMemory("https://unknown.example")))
			for b.Loop() {
				if _, err := s.VerifyToken(b.Context(), unknown); err != oidc.ErrIssuer {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a known token costs should not depend on how many are known. The signature
// of a proof takes ten times as long as the misses of the processor's cache that
// make the difference.
func BenchmarkCachedTokens(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			issuer := newIssuer(b)
			v := newVerifier(b, issuer, oidc.WithCacheSize(2*n))
			tokens := make([]string, n)
			for i := range tokens {
				tokens[i] = issuer.Token(oidctest.Scope("orders:read"), oidctest.BoundToKey(thumb('a')))
				_, err := verifyToken(b, v, tokens[i])
				require.NoError(b, err)
				issuer.Forget()
			}
			b.ReportAllocs()
			next := 0
			for b.Loop() {
				next = (next + 7919) % n // a prime: not in the order in which they came
				if _, err := v.VerifyToken(b.Context(), tokens[next]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
