package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josetest"
)

func mustParse(t testing.TB, header, payload string, signature []byte) *jose.Message {
	t.Helper()
	m, err := jose.Parse(josetest.Compact([]byte(header), []byte(payload), signature), testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAGoodProofOfEveryAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range jose.Algorithms() {
		t.Run("BCP-3.3 "+alg, func(t *testing.T) {
			key := testKeys()[alg]
			claims, thumbprint, err := accept(goodProof(key))
			if err != nil {
				t.Fatal(err)
			}
			if thumbprint != key.Thumbprint() {
				t.Errorf("thumbprint %q, want %q", thumbprint, key.Thumbprint())
			}
			if claims.Method != "GET" || claims.IssuedAt.Time().Unix() != 1562262618 {
				t.Errorf("claims %+v", claims)
			}
		})
	}
}

func TestAnotherKeyDoesNotVerify(t *testing.T) {
	for alg, other := range otherKeys() {
		t.Run("BCP-3.3 "+alg, func(t *testing.T) {
			m, err := jose.Parse(goodProof(testKeys()[alg]), testMaxSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(other.Signer.Public()); err != jose.ErrSignature {
				t.Error(err)
			}
		})
	}
}

func TestTheHeaderNamesTheAlgorithmAndNothingElseIsTried(t *testing.T) {
	for _, test := range []struct {
		name, signedWith, header string
		want                     jose.Error
	}{
		{"BCP-3.2 none", "ES256", "none", jose.ErrAlgorithm},
		{"BCP-3.2 nOnE", "ES256", "nOnE", jose.ErrAlgorithm},
		{"BCP-3.1 HS256", "ES256", "HS256", jose.ErrAlgorithm},
		{"BCP-3.1 es256", "ES256", "es256", jose.ErrAlgorithm},
		{"BCP-3.1 unknown", "ES256", "XX999", jose.ErrAlgorithm},
		{"JOSE-KEY-02 ES256K", "ES256", "ES256K", jose.ErrAlgorithm},
		{"JOSE-ED Ed448", "EdDSA", "Ed448", jose.ErrAlgorithm},
		{"BCP-3.1 ES384 with P-256", "ES256", "ES384", jose.ErrKeyMismatch},
		{"BCP-3.1 RS256 with P-256", "ES256", "RS256", jose.ErrKeyMismatch},
		{"BCP-3.1 EdDSA with RSA", "RS256", "EdDSA", jose.ErrKeyMismatch},
		{"BCP-3.1 signed with RS256, says PS256", "RS256", "PS256", jose.ErrSignature},
		{"BCP-3.1 signed with PS256, says RS256", "PS256", "RS256", jose.ErrSignature},
		{"BCP-3.1 signed with RS384, says RS256", "RS384", "RS256", jose.ErrSignature},
		{"BCP-3.1 signed with PS512, says PS256", "PS512", "PS256", jose.ErrSignature},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := testKeys()[test.signedWith]
			compact := key.SignRaw([]byte(`{"alg":"`+test.header+`"}`), []byte(`{}`))
			m, err := jose.Parse(compact, testMaxSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(key.Signer.Public()); err != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
	t.Run("JOSE-ED EdDSA and Ed25519 are one operation", func(t *testing.T) {
		key := testKeys()["EdDSA"]
		for _, alg := range []string{"EdDSA", "Ed25519"} {
			m, err := jose.Parse(key.SignRaw([]byte(`{"alg":"`+alg+`"}`), []byte(`{}`)), testMaxSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(key.Signer.Public()); err != nil {
				t.Error(alg, err)
			}
		}
	})
}

func TestAnECDSASignatureHasOneForm(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512"} {
		key := testKeys()[alg]
		public := key.Signer.Public().(*ecdsa.PublicKey)
		order := public.Curve.Params().N
		header, payload := `{"alg":"`+alg+`"}`, `{}`
		good := key.SignInput(b64([]byte(header)) + "." + b64([]byte(payload)))
		width := len(good) / 2
		r, s := good[:width], good[width:]
		fixed := func(n *big.Int) []byte { return n.FillBytes(make([]byte, width)) }
		value := func(bytes []byte) *big.Int { return new(big.Int).SetBytes(bytes) }
		digest := sha256.Sum256([]byte("x"))
		der, err := ecdsa.SignASN1(rand.Reader, key.Signer.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			t.Fatal(err)
		}
		zero, max := make([]byte, width), slices.Repeat([]byte{0xff}, width)
		for _, test := range []struct {
			name      string
			signature []byte
			want      error
		}{
			{"as signed", good, nil},
			{"empty", nil, jose.ErrSignature},
			{"one byte less", good[:len(good)-1], jose.ErrSignature},
			{"one byte more", append(slices.Clone(good), 0), jose.ErrSignature},
			{"a zero byte in front of each half", slices.Concat([]byte{0}, r, []byte{0}, s), jose.ErrSignature},
			{"halves swapped", slices.Concat(s, r), jose.ErrSignature},
			{"ASN.1", der, jose.ErrSignature},
			{"r zero", slices.Concat(zero, s), jose.ErrSignature},
			{"s zero", slices.Concat(r, zero), jose.ErrSignature},
			{"both zero", slices.Concat(zero, zero), jose.ErrSignature},
			{"r the order", slices.Concat(fixed(order), s), jose.ErrSignature},
			{"s the order", slices.Concat(r, fixed(order)), jose.ErrSignature},
			{"r and s the order", slices.Concat(fixed(order), fixed(order)), jose.ErrSignature},
			{"all ones", slices.Concat(max, max), jose.ErrSignature},
			// ECDSA allows it: proofs are to be remembered by jti, not by signature.
			{"r and n-s", slices.Concat(r, fixed(new(big.Int).Sub(order, value(s)))), nil},
		} {
			t.Run("JWS-ES "+alg+" "+test.name, func(t *testing.T) {
				if err := mustParse(t, header, payload, test.signature).Verify(public); err != test.want {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		}
		t.Run("JWS-ES "+alg+" s plus the order, where it fits", func(t *testing.T) {
			small := new(big.Int).Add(value(s), order)
			if small.BitLen() > width*8 {
				t.Skip("does not fit")
			}
			if err := mustParse(t, header, payload, slices.Concat(r, fixed(small))).Verify(public); err != jose.ErrSignature {
				t.Error(err)
			}
		})
	}
}

// The ASN.1 of r and s has a corner for each leading zero byte and each set
// first bit; many signatures meet them all.
func TestShortAndLongRAndSVerify(t *testing.T) {
	key := testKeys()["ES256"]
	header := []byte(`{"alg":"ES256"}`)
	short := 0
	for i := 0; short < 3 && i < 4000; i++ {
		compact := key.SignRaw(header, []byte(`{}`))
		signature := unb64(t, compact[strings.LastIndexByte(compact, '.')+1:])
		if signature[0] != 0 && signature[32] != 0 && i > 100 {
			continue
		}
		if signature[0] == 0 || signature[32] == 0 {
			short++
		}
		m, err := jose.Parse(compact, testMaxSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(key.Signer.Public()); err != nil {
			t.Fatalf("%x: %v", signature, err)
		}
	}
}

func TestPSSDemandsASaltAsLongAsTheHash(t *testing.T) {
	key := testKeys()["PS256"]
	public := key.Signer.Public().(*rsa.PublicKey)
	header, payload := `{"alg":"PS256"}`, `{}`
	digest := sha256.Sum256([]byte(b64([]byte(header)) + "." + b64([]byte(payload))))
	for salt, want := range map[int]error{32: nil, 20: jose.ErrSignature, 0: jose.ErrSignature, 64: jose.ErrSignature} {
		switch {
		case salt == 0 && fips140.Enabled(): // the module then makes it as long as the hash
			want = nil
		case salt > 32 && fips140.Enforced(): // the module then makes none
			continue
		case salt == 0:
			salt = rsa.PSSSaltLengthAuto
		}
		opts := &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}
		signature, err := key.Signer.Sign(rand.Reader, digest[:], opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := mustParse(t, header, payload, signature).Verify(public); err != want {
			t.Errorf("salt %d: %v, want %v", salt, err, want)
		}
		if err := mustParse(t, header, payload, append([]byte{0}, signature...)).Verify(public); err != jose.ErrSignature {
			t.Errorf("salt %d, a leading zero byte: %v", salt, err)
		}
	}
}

func TestNoFlippedBitIsAccepted(t *testing.T) {
	known := testKeys()["PS256"]
	for _, test := range []struct {
		name, compact string
		accept        func(compact string) error
	}{
		{"ES256, the key in the header", goodProof(testKeys()["ES256"]), acceptProof},
		{"Ed25519, the key in the header", goodProof(testKeys()["Ed25519"]), acceptProof},
		// An RSA key in the header would cost many thousand verifications more.
		{"PS256, the key known", known.SignRaw([]byte(`{"alg":"PS256"}`), []byte(`{}`)), func(compact string) error {
			m, err := jose.Parse(compact, testMaxSize)
			if err != nil {
				return err
			}
			return m.Verify(known.Signer.Public())
		}},
	} {
		t.Run("BCP-3.3 B64-02 "+test.name, func(t *testing.T) {
			flipped := []byte(test.compact)
			for i := range flipped {
				for bit := range 8 {
					flipped[i] ^= 1 << bit
					if test.accept(string(flipped)) == nil {
						t.Errorf("byte %d, bit %d: accepted %s", i, bit, flipped)
					}
					flipped[i] ^= 1 << bit
				}
			}
			if err := test.accept(string(flipped)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func acceptProof(compact string) error {
	_, _, err := accept(compact)
	return err
}

func TestTheZeroMessageIsRefused(t *testing.T) {
	if err := new(jose.Message).Verify(testKeys()["ES256"].Signer.Public()); err != jose.ErrAlgorithm {
		t.Error(err)
	}
}
