//go:build !race

package jose_test

import (
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

func TestAllocations(t *testing.T) {
	good := goodProof(testKeys()["ES256"])
	m, err := jose.Parse(good, testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := jose.ParseKey(m.Header.JWK)
	if err != nil {
		t.Fatal(err)
	}
	fourParts := good + "."
	proof := func(alg string) func() {
		p := goodProof(testKeys()[alg])
		return func() {
			if _, _, err := accept(p); err != nil {
				t.Error(err)
			}
		}
	}
	for _, test := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"a whole ES256 proof, of which crypto/ecdsa takes 19", 26, proof("ES256")},
		{"a whole PS256 proof", 24, proof("PS256")},
		{"a whole Ed25519 proof", 9, proof("Ed25519")},
		{"parsing alone", 3, func() { _, _ = jose.Parse(good, testMaxSize) }},
		{"a key known to be sound", 0, func() { _ = key.Usable("ES256") }},
		{"LIM-01 an oversized message", 0, func() { _, _ = jose.Parse(good, 100) }},
		{"a message of four parts", 0, func() { _, _ = jose.Parse(fourParts, testMaxSize) }},
		{"BCP-3.1 a key that does not fit", 0, func() { _ = m.Verify(testKeys()["RS256"]) }},
		{"IsType", 0, func() { _ = jose.IsType(m.Header.Type, "dpop+jwt") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, test.f); got > test.max {
				t.Errorf("%v allocations, want at most %v", got, test.max)
			}
		})
	}
}
