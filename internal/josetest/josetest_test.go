package josetest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/josetest"
)

func decode(t *testing.T, s string) []byte {
	t.Helper()
	bytes, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// The key of RFC 7515, appendix A.3, with its published thumbprint.
func publishedKey(t *testing.T) *josetest.Key {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), decode(t, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"))
	if err != nil {
		t.Fatal(err)
	}
	return josetest.FromSigner("ES256", private)
}

func TestAPublishedKey(t *testing.T) {
	key := publishedKey(t)
	want := map[string]any{
		"kty": "EC", "crv": "P-256",
		"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
		"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	}
	jwk := key.JWK()
	if len(jwk) != len(want) {
		t.Errorf("%v", jwk)
	}
	for name, value := range want {
		if jwk[name] != value {
			t.Errorf("%s: %v, want %v", name, jwk[name], value)
		}
	}
	if got := key.Thumbprint(); got != "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U" {
		t.Error("JKT-3:", got)
	}
}

func TestSignaturesVerifyWithTheStandardLibrary(t *testing.T) {
	input := "header.payload"
	verify := map[string]func(*josetest.Key, []byte) bool{
		"ES256": func(k *josetest.Key, signature []byte) bool {
			digest := sha256.Sum256([]byte(input))
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			return len(signature) == 64 && ecdsa.Verify(k.Signer.Public().(*ecdsa.PublicKey), digest[:], r, s)
		},
		"ES512": func(k *josetest.Key, signature []byte) bool {
			h := crypto.SHA512.New()
			h.Write([]byte(input))
			r, s := new(big.Int).SetBytes(signature[:66]), new(big.Int).SetBytes(signature[66:])
			return len(signature) == 132 && ecdsa.Verify(k.Signer.Public().(*ecdsa.PublicKey), h.Sum(nil), r, s)
		},
		"RS256": func(k *josetest.Key, signature []byte) bool {
			digest := sha256.Sum256([]byte(input))
			return rsa.VerifyPKCS1v15(k.Signer.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature) == nil
		},
		"PS256": func(k *josetest.Key, signature []byte) bool {
			digest := sha256.Sum256([]byte(input))
			opts := &rsa.PSSOptions{SaltLength: 32}
			return rsa.VerifyPSS(k.Signer.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature, opts) == nil
		},
		"Ed25519": func(k *josetest.Key, signature []byte) bool {
			return ed25519.Verify(k.Signer.Public().(ed25519.PublicKey), []byte(input), signature)
		},
	}
	for alg, ok := range verify {
		t.Run(alg, func(t *testing.T) {
			key := josetest.NewKey(alg)
			if !ok(key, key.SignInput(input)) {
				t.Error("does not verify")
			}
		})
	}
}

func TestSignAddsOnlyWhatIsAbsent(t *testing.T) {
	key := publishedKey(t)
	key.KeyID = "k"
	given := map[string]any{"typ": "JWT"}
	header := func(compact string) map[string]any {
		m := map[string]any{}
		if err := json.Unmarshal(decode(t, strings.Split(compact, ".")[0]), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if h := header(key.Sign(given, nil)); h["alg"] != "ES256" || h["kid"] != "k" || h["typ"] != "JWT" || len(given) != 1 {
		t.Errorf("%v, given %v", h, given)
	}
	if h := header(key.Sign(map[string]any{"alg": "none", "kid": ""}, nil)); h["alg"] != "none" || h["kid"] != "" {
		t.Errorf("%v", h)
	}
}

func TestSignRawChangesNothing(t *testing.T) {
	compact := publishedKey(t).SignRaw([]byte("\xff{"), []byte(" "))
	if want := josetest.Compact([]byte("\xff{"), []byte(" "), nil); !strings.HasPrefix(compact, want) {
		t.Errorf("%s, want %s", compact, want)
	}
}

func TestWhatCannotBeDonePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"an unknown algorithm": func() { josetest.NewKey("HS256") },
		"signing with none":    func() { josetest.FromSigner("none", publishedKey(t).Signer).SignInput("") },
		"claims without JSON":  func() { publishedKey(t).Sign(nil, func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
