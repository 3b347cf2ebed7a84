package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/keybound-go/middleware/internal/josetest"
)

func benchmarkVerify(b *testing.B, alg string) {
	proof := goodProof(testKeys()[alg])
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := accept(proof); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyES256(b *testing.B)   { benchmarkVerify(b, "ES256") }
func BenchmarkVerifyPS256(b *testing.B)   { benchmarkVerify(b, "PS256") }
func BenchmarkVerifyEd25519(b *testing.B) { benchmarkVerify(b, "Ed25519") }

func BenchmarkRawECDSA(b *testing.B) {
	digest := sha256.Sum256([]byte("input"))
	private := josetest.NewKey("ES256").Signer.(*ecdsa.PrivateKey)
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], signature) {
			b.Fatal("bad signature")
		}
	}
}

func BenchmarkRawPSS(b *testing.B) {
	input := "input"
	digest := sha256.Sum256([]byte(input))
	key := testKeys()["PS256"]
	signature := key.SignInput(input)
	public := key.Signer.Public().(*rsa.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if err := rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawEd25519(b *testing.B) {
	input := []byte("input")
	key := testKeys()["Ed25519"]
	signature := key.SignInput(string(input))
	public := key.Signer.Public().(ed25519.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if !ed25519.Verify(public, input, signature) {
			b.Fatal("bad signature")
		}
	}
}
