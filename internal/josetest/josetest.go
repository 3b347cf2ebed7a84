// Package josetest answers "how would the other side have signed this?" It
// signs compact JWS with nothing but the standard library: the pen of the
// fakes, and of hostile tests. It shares no code with the verifier, so that a
// mistake there cannot cancel itself out here.
//
//	key := josetest.NewKey("ES256")
//	proof := key.Sign(
//		map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()},
//		map[string]any{"jti": "1", "htm": "GET"},
//	)
//
// It checks nothing: it signs whatever it is told to sign. What it cannot do
// at all, it answers with a panic, since it runs in tests only.
package josetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
)

// Key is a private key together with the algorithm that it signs with. It is
// safe for concurrent use while its fields stay as they are. The zero Key panics.
type Key struct {
	Algorithm string        // the JWS alg
	KeyID     string        // becomes kid in the header that Sign makes, if not empty
	Signer    crypto.Signer // the private key
}

// NewKey makes a key for alg: ES256, ES384, ES512, RS256, RS384, RS512, PS256,
// PS384, PS512, EdDSA or Ed25519. RSA keys have 2048 bits, and take a while to
// make. NewKey panics on any other alg.
func NewKey(alg string) *Key {
	switch alg {
	case "ES256":
		return FromSigner(alg, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	case "ES384":
		return FromSigner(alg, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))
	case "ES512":
		return FromSigner(alg, must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)))
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return FromSigner(alg, must(rsa.GenerateKey(rand.Reader, 2048)))
	case "EdDSA", "Ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return FromSigner(alg, must(private, err))
	}
	panic("josetest: no key for algorithm " + alg)
}

// FromSigner wraps an existing private key, which may live in hardware: an
// ECDSA signer returns ASN.1, as [crypto.Signer] says. Nothing checks that alg
// fits the key; a hostile test may want one that does not.
func FromSigner(alg string, s crypto.Signer) *Key {
	return &Key{Algorithm: alg, Signer: s}
}

// JWK returns the public members (kty, crv, x, y, n, e) and nothing else. The
// map is the caller's.
func (k *Key) JWK() map[string]any {
	jwk := map[string]any{}
	for name, value := range k.required() {
		jwk[name] = value
	}
	return jwk
}

// Thumbprint is the RFC 7638 thumbprint with SHA-256, in base64url.
func (k *Key) Thumbprint() string {
	// encoding/json writes maps in the order of their keys and without white
	// space, which is the form that the RFC hashes.
	sum := sha256.Sum256(must(json.Marshal(k.required())))
	return encode(sum[:])
}

// required returns the members that RFC 7638, section 3.2, hashes.
func (k *Key) required() map[string]string {
	switch pub := k.Signer.Public().(type) {
	case *ecdsa.PublicKey:
		point := must(pub.Bytes())[1:] // x || y
		return map[string]string{
			"kty": "EC", "crv": pub.Curve.Params().Name,
			"x": encode(point[:len(point)/2]), "y": encode(point[len(point)/2:]),
		}
	case *rsa.PublicKey:
		e := big.NewInt(int64(pub.E)).Bytes()
		return map[string]string{"kty": "RSA", "n": encode(pub.N.Bytes()), "e": encode(e)}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": encode(pub)}
	}
	panic("josetest: no JWK for this kind of key")
}

// Sign marshals header and claims with encoding/json and signs. alg, and kid if
// the key has one, are added to a copy of the header if they are absent.
func (k *Key) Sign(header map[string]any, claims any) string {
	full := map[string]any{"alg": k.Algorithm}
	if k.KeyID != "" {
		full["kid"] = k.KeyID
	}
	maps.Copy(full, header)
	return k.SignRaw(must(json.Marshal(full)), must(json.Marshal(claims)))
}

// SignRaw signs the given header and payload bytes as they are.
func (k *Key) SignRaw(header, payload []byte) string {
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(k.SignInput(input))
}

// SignInput returns the JWS signature of signingInput, which is usually
// header.payload in base64url, but may be any text.
func (k *Key) SignInput(signingInput string) []byte {
	hash, pss := operation(k.Algorithm)
	digest := []byte(signingInput)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	var opts crypto.SignerOpts = hash
	if pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature := must(k.Signer.Sign(rand.Reader, digest, opts))
	if pub, ok := k.Signer.Public().(*ecdsa.PublicKey); ok {
		return fixedWidth(signature, (pub.Curve.Params().BitSize+7)/8)
	}
	return signature
}

// operation returns the hash of alg, 0 for Ed25519, and whether it is RSASSA-PSS.
func operation(alg string) (hash crypto.Hash, pss bool) {
	switch alg {
	case "ES256", "RS256", "PS256":
		return crypto.SHA256, alg[0] == 'P'
	case "ES384", "RS384", "PS384":
		return crypto.SHA384, alg[0] == 'P'
	case "ES512", "RS512", "PS512":
		return crypto.SHA512, alg[0] == 'P'
	case "EdDSA", "Ed25519":
		return 0, false
	}
	panic("josetest: cannot sign with algorithm " + alg)
}

// fixedWidth turns the ASN.1 signature of an ECDSA signer into r || s
// (RFC 7518, section 3.4).
func fixedWidth(signature []byte, width int) []byte {
	var ints struct{ R, S *big.Int }
	must(asn1.Unmarshal(signature, &ints))
	fixed := make([]byte, 2*width)
	ints.R.FillBytes(fixed[:width])
	ints.S.FillBytes(fixed[width:])
	return fixed
}

// Compact joins three parts, encoding each as it is: what SignRaw returns, but
// with any signature.
func Compact(header, payload, signature []byte) string {
	return encode(header) + "." + encode(payload) + "." + encode(signature)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must[T any](v T, err error) T {
	if err != nil {
		panic("josetest: " + err.Error())
	}
	return v
}
