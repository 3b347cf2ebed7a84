package josesign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/josesign"
)

var signers = sync.OnceValue(func() map[string]crypto.Signer {
	all := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[name] = key
	}
	_, all["Ed25519"], _ = ed25519.GenerateKey(rand.Reader)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	all["RSA"] = key
	return all
})

func sign(t *testing.T, key *josesign.Key) string {
	t.Helper()
	jws := josesign.AppendPart(nil, []byte(`{"typ":"dpop+jwt","alg":"`+key.Algorithm()+`","jwk":`+key.JWK()+`}`))
	jws = append(jws, '.')
	jws, err := key.AppendSignature(josesign.AppendPart(jws, []byte(`{"jti":"1"}`)))
	require.NoError(t, err)
	return string(jws)
}

// What is made here, internal/jose takes, which shares no code with it.
func TestEveryAlgorithmOfEveryKeyVerifies(t *testing.T) {
	seen := map[string]bool{}
	for name, signer := range signers() {
		algorithms := josesign.Algorithms(signer.Public())
		for _, alg := range append([]string{""}, algorithms...) {
			key, err := josesign.New(signer, alg)
			require.NoError(t, err)
			if alg == "" {
				require.Equal(t, algorithms[0], key.Algorithm(), "%s: the first is the default", name)
			} else {
				require.Equal(t, alg, key.Algorithm())
			}
			seen[key.Algorithm()] = true
			for range 8 { // R and S have a leading zero now and then
				m, err := jose.Parse(sign(t, key), 8<<10)
				require.NoError(t, err)
				public, thumbprint, err := jose.ParseKey(m.Header.JWK)
				require.NoError(t, err)
				require.NoError(t, m.Verify(public.Public), "%s %s", name, alg)
				require.Equal(t, thumbprint, key.Thumbprint())
			}
		}
	}
	for _, alg := range jose.Algorithms() {
		require.True(t, seen[alg], "%s is verified and not made", alg)
	}
}

// publicOnly shows a public key and cannot sign.
type publicOnly struct{ key crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.key }
func (p publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the device is gone")
}

func TestAKeyThatCannotSignIsRefused(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	modulus := func(bits uint) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), bits-1), 0, 1), E: 65537}
	}
	for name, test := range map[string]struct {
		signer crypto.Signer
		alg    string
	}{
		"none":                          {},
		"a nil pointer":                 {signer: (*ecdsa.PrivateKey)(nil)},
		"a nil Ed25519 key":             {signer: ed25519.PrivateKey(nil)},
		"P-224":                         {signer: p224},
		"RSA of 2047 bits":              {signer: publicOnly{modulus(2047)}},
		"RSA of 4097 bits":              {signer: publicOnly{modulus(4097)}},
		"RSA without a modulus":         {signer: publicOnly{&rsa.PublicKey{E: 65537}}},
		"a nil RSA key":                 {signer: publicOnly{(*rsa.PublicKey)(nil)}},
		"a nil EC key":                  {signer: publicOnly{(*ecdsa.PublicKey)(nil)}},
		"an EC key without a curve":     {signer: publicOnly{&ecdsa.PublicKey{}}},
		"an Ed25519 key of 31 bytes":    {signer: publicOnly{make(ed25519.PublicKey, 31)}},
		"a key of another type":         {signer: publicOnly{"key"}},
		"an algorithm of another curve": {signers()["P-256"], "ES384"},
		"an algorithm of another key":   {signers()["RSA"], "ES256"},
		"no signature":                  {signers()["RSA"], "none"},
		"a MAC":                         {signers()["RSA"], "HS256"},
		"an algorithm in another case":  {signers()["P-256"], "es256"},
	} {
		_, err := josesign.New(test.signer, test.alg)
		require.Error(t, err, name)
	}
}

// lying is a key service that returns whatever it likes.
type lying struct {
	crypto.Signer
	signature []byte
	err       error
}

func (l lying) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return l.signature, l.err }

func TestWhatAKeyServiceReturnsIsNotTakenOnTrust(t *testing.T) {
	der := func(r, s *big.Int) []byte {
		out, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		require.NoError(t, err)
		return out
	}
	one, large := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	for name, l := range map[string]lying{
		"an error":             {signers()["P-256"], nil, errors.New("gone")},
		"nothing":              {signers()["P-256"], nil, nil},
		"r and s side by side": {signers()["P-256"], make([]byte, 64), nil},
		"something after it":   {signers()["P-256"], append(der(one, one), 0), nil},
		"r is zero":            {signers()["P-256"], der(new(big.Int), one), nil},
		"s is negative":        {signers()["P-256"], der(one, big.NewInt(-1)), nil},
		"r is too large":       {signers()["P-256"], der(large, one), nil},
		"a short RSA one":      {signers()["RSA"], make([]byte, 255), nil},
		"a long Ed25519 one":   {signers()["Ed25519"], make([]byte, 65), nil},
	} {
		key, err := josesign.New(l, "")
		require.NoError(t, err, name)
		_, err = key.AppendSignature([]byte("a.b"))
		require.ErrorContains(t, err, "signer: ", name)
	}
}

func TestAKeyDoesNotShowItsPrivatePartWhenPrinted(t *testing.T) {
	private := signers()["P-256"].(*ecdsa.PrivateKey)
	secret, err := private.Bytes()
	require.NoError(t, err)
	key, err := josesign.New(private, "")
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(verb, key)
		require.Contains(t, text, key.Thumbprint(), verb)
		require.NotContains(t, text, new(big.Int).SetBytes(secret).String(), verb)
	}
}
