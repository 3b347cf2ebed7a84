package jwks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"testing"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/jwks"
)

// warm makes a Source of ten keys, fetched, and returns the last one's kid.
func warm(tb testing.TB) (s *jwks.Source, kid string, key crypto.PublicKey) {
	i := &issuer{header: http.Header{}}
	var set []map[string]any
	for k := range 10 {
		kid = fmt.Sprintf("key-%d", k)
		set = append(set, named(josetest.NewKey("ES256"), kid))
	}
	i.publish(set...)
	s, err := jwks.New(address, jwks.WithHTTPClient(&http.Client{Transport: i}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	keys, err := s.Keys(tb.Context(), "ES256", kid)
	if err != nil {
		tb.Fatal(err)
	}
	return s, kid, keys[0]
}

func TestLookingUpTakesNoMemoryBeyondTheSlice(t *testing.T) {
	s, kid, key := warm(t)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		most float64
		f    func()
	}{
		"Keys":            {1, func() { s.Keys(ctx, "ES256", kid) }},
		"Keys, alg none":  {0, func() { s.Keys(ctx, "none", kid) }},
		"Keys, wrong alg": {0, func() { s.Keys(ctx, "ES384", kid) }},
		"Contains":        {0, func() { s.Contains(key) }},
		"Generation":      {0, func() { s.Generation() }},
	} {
		if got := testing.AllocsPerRun(100, tt.f); got > tt.most {
			t.Errorf("%s: %v allocations, want %v at most", name, got, tt.most)
		}
	}
}

func Benchmark(b *testing.B) {
	s, kid, key := warm(b)
	ctx := b.Context()
	b.Run("Keys", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Keys(ctx, "ES256", kid)
		}
	})
	b.Run("Keys/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.Keys(ctx, "ES256", kid)
			}
		})
	})
	b.Run("Contains", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Contains(key)
		}
	})
	b.Run("Contains/another pointer", func(b *testing.B) {
		other := *key.(*ecdsa.PublicKey)
		b.ReportAllocs()
		for b.Loop() {
			s.Contains(&other)
		}
	})
	b.Run("Generation", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Generation()
		}
	})
	b.Run("raw ecdsa.Verify", func(b *testing.B) { // the measure for all of the above
		signer := josetest.NewKey("ES256").Signer.(*ecdsa.PrivateKey)
		digest := sha256.Sum256([]byte("header.payload"))
		sig, err := ecdsa.SignASN1(rand.Reader, signer, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			ecdsa.VerifyASN1(&signer.PublicKey, digest[:], sig)
		}
	})
}
