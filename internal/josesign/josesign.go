// Package josesign answers "what does this key say to these bytes, as a JWS?" It is
// for what this module signs itself: DPoP proofs of a client, and assertions by
// which a service shows an issuer that it is the client it says it is.
//
//	key, err := josesign.New(signer, "") // the algorithm that goes with the key
//	if err != nil {
//		return err
//	}
//	jws := josesign.AppendPart(nil, []byte(`{"typ":"dpop+jwt","alg":"`+key.Algorithm()+`","jwk":`+key.JWK()+`}`))
//	jws = append(jws, '.')
//	jws = josesign.AppendPart(jws, claims)
//	jws, err = key.AppendSignature(jws)
//
// A key may be in a key service: what it returns is not taken on trust but brought
// into the form and size that the algorithm has.
//
// It verifies nothing (internal/jose does), and makes no header and no claims.
package josesign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/keybound-go/middleware/internal/options"
)

// The sizes of RSA keys: RFC 7518, section 3.3, has the least one, and internal/jose
// verifies nothing beyond the largest one.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// A Key signs with one private key by one algorithm. It is immutable, and as safe
// for concurrent use as its signer. It does not show its key when it is printed.
type Key struct {
	signer     crypto.Signer
	alg        algorithm
	jwk        string
	thumbprint string
}

// algorithm is a row of RFC 7518, section 3.1, or RFC 8037, section 3.1.
type algorithm struct {
	name string
	opts crypto.SignerOpts
	size int // of the signature in a JWS, in bytes
}

// New returns the Key of signer: RSA of 2048 to 4096 bits, P-256, P-384, P-521 or
// Ed25519. algorithm is one of [Algorithms]; "" is the first of them. Its errors do
// not name a room: they are for the caller to complete.
func New(signer crypto.Signer, algorithm string) (*Key, error) {
	if options.IsNil(signer) {
		return nil, errors.New("the signer is nil")
	}
	public := signer.Public()
	jwk, err := publicJWK(public)
	if err != nil {
		return nil, err
	}
	var fitting []string
	for _, alg := range algorithms(public) {
		if algorithm == "" || algorithm == alg.name {
			return &Key{signer, alg, jwk, Digest(jwk)}, nil
		}
		fitting = append(fitting, alg.name)
	}
	return nil, fmt.Errorf("a key of type %T signs with %s, not with %q", public, strings.Join(fitting, " or "), algorithm)
}

// Algorithm is the alg that the key signs with.
func (k *Key) Algorithm() string { return k.alg.name }

// JWK is the public key: its required members, in the order and form that
// RFC 7638, section 3, hashes.
func (k *Key) JWK() string { return k.jwk }

// Thumbprint is the RFC 7638 thumbprint with SHA-256, in base64url.
func (k *Key) Thumbprint() string { return k.thumbprint }

// String names the public key.
func (k *Key) String() string { return "josesign.Key(" + k.thumbprint + ")" }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// AppendSignature signs input, a header and a payload with the dot between, and
// returns it with a dot and the signature. Its errors are those of [Key.Sign].
func (k *Key) AppendSignature(input []byte) ([]byte, error) {
	signature, err := k.Sign(input)
	if err != nil {
		return nil, err
	}
	return AppendPart(append(input, '.'), signature), nil
}

// Sign returns the signature of input in the form that a JWS has. The error is the
// signer's, or says what is wrong with what it returned.
func (k *Key) Sign(input []byte) ([]byte, error) {
	signature, err := crypto.SignMessage(k.signer, rand.Reader, input, k.alg.opts)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if strings.HasPrefix(k.alg.name, "ES") {
		if signature, err = fixedWidth(signature, k.alg.size); err != nil {
			return nil, err
		}
	}
	if len(signature) != k.alg.size {
		return nil, fmt.Errorf("signer: returned %d bytes for %s", len(signature), k.alg.name)
	}
	return signature, nil
}

// AppendPart appends a part of a JWS: b in base64url without padding.
func AppendPart(dst, b []byte) []byte { return base64.RawURLEncoding.AppendEncode(dst, b) }

// Digest is the SHA-256 of text in base64url, as thumbprints and the ath of a proof
// (RFC 9449, section 4.2) are.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encoded(sum[:])
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publicJWK has no member that JSON would need escaped.
func publicJWK(key crypto.PublicKey) (string, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return ecJWK(key)
	case *rsa.PublicKey:
		if key == nil || key.N == nil {
			return "", errors.New("the RSA key has no modulus")
		}
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("an RSA key of %d bits, not %d to %d", bits, minRSABits, maxRSABits)
		}
		e := big.NewInt(int64(key.E)).Bytes()
		return `{"e":"` + encoded(e) + `","kty":"RSA","n":"` + encoded(key.N.Bytes()) + `"}`, nil
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return "", errors.New("the Ed25519 public key has a wrong length")
		}
		return `{"crv":"Ed25519","kty":"OKP","x":"` + encoded(key) + `"}`, nil
	default:
		return "", fmt.Errorf("a key of type %T cannot sign a JWS", key)
	}
}

func ecJWK(key *ecdsa.PublicKey) (string, error) {
	if key == nil || len(algorithms(key)) == 0 {
		return "", errors.New("the EC public key is not on P-256, P-384 or P-521")
	}
	point, err := key.Bytes() // 4, x, y: each of the width of the curve.
	if err != nil {
		return "", fmt.Errorf("the EC public key is not valid: %w", err)
	}
	x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
	return `{"crv":"` + key.Params().Name + `","kty":"EC","x":"` + encoded(x) + `","y":"` + encoded(y) + `"}`, nil
}

// Algorithms returns the names of those that key, a public key, can sign with, the
// preferred one first: what FAPI 2.0, section 5.4.1, allows comes before RS256, and
// EdDSA, which all servers with Ed25519 know, before its new name (RFC 9864).
func Algorithms(key crypto.PublicKey) (names []string) {
	for _, alg := range algorithms(key) {
		names = append(names, alg.name)
	}
	return names
}

func algorithms(key crypto.PublicKey) []algorithm {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []algorithm{{"ES256", crypto.SHA256, 64}}
		case elliptic.P384():
			return []algorithm{{"ES384", crypto.SHA384, 96}}
		case elliptic.P521():
			return []algorithm{{"ES512", crypto.SHA512, 132}}
		}
	case *rsa.PublicKey:
		n := key.Size()
		return []algorithm{
			{"PS256", pss(crypto.SHA256), n}, {"PS384", pss(crypto.SHA384), n}, {"PS512", pss(crypto.SHA512), n},
			{"RS256", crypto.SHA256, n}, {"RS384", crypto.SHA384, n}, {"RS512", crypto.SHA512, n},
		}
	case ed25519.PublicKey:
		return []algorithm{{"EdDSA", crypto.Hash(0), ed25519.SignatureSize}, {"Ed25519", crypto.Hash(0), ed25519.SignatureSize}}
	}
	return nil
}

// pss is RFC 7518, section 3.5: the salt is as long as the hash.
func pss(hash crypto.Hash) crypto.SignerOpts {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
}

// fixedWidth turns the ASN.1 signature of a [crypto.Signer] into the two integers
// side by side that a JWS has (RFC 7518, section 3.4).
func fixedWidth(der []byte, size int) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &pair); err != nil || len(rest) > 0 {
		return nil, errors.New("signer: returned no ASN.1 ECDSA signature")
	}
	// Precondition of FillBytes: the number fits. A key service can return anything.
	for _, n := range []*big.Int{pair.R, pair.S} {
		if n.Sign() <= 0 || n.BitLen() > 8*size/2 {
			return nil, errors.New("signer: returned an ECDSA signature that does not belong to the curve")
		}
	}
	signature := make([]byte, size)
	pair.R.FillBytes(signature[:size/2])
	pair.S.FillBytes(signature[size/2:])
	return signature, nil
}
