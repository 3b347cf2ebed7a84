package dpopclient_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"testing"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// BenchmarkSigning compares a whole signed round trip, over a base that costs
// nothing, with one raw signature of the same run.
func BenchmarkSigning(b *testing.B) {
	b.Run("raw ecdsa.SignASN1", func(b *testing.B) {
		input := make([]byte, 400)
		b.ReportAllocs()
		for b.Loop() {
			sum := sha256.Sum256(input)
			if _, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	tr, err := dpopclient.New(ecKey, dpopclient.WithOrigins(api), withToken(),
		dpopclient.WithBase(base(func(*http.Request) {})))
	if err != nil {
		b.Fatal(err)
	}
	req := request(b, "GET", api+"/orders", nil)
	req.Header.Set("Accept", "application/json")
	b.Run("RoundTrip", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tr.RoundTrip(req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RoundTrip parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := tr.RoundTrip(req); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
