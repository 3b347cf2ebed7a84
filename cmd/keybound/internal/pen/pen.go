// Package pen answers "how would a client or an issuer have written this?" It makes
// keys, thumbprints, JWS and whole proofs with the standard library alone, and reads
// keys from files.
//
// It shares no code with the library's verifiers, since keybound judges servers
// that may be built from them: a fault in a shared encoder would hide itself.
// It signs whatever it is told to sign. It verifies nothing.
package pen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // hashes of ES384 and ES512
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"
)

// Key is a private key and the algorithm that it signs with. It is immutable, and
// safe for concurrent use. It does not print its private part.
type Key struct {
	Algorithm string // JWS alg
	ID        string // goes into the header as kid, if not empty
	signer    crypto.Signer
}

// Algorithms are those that [Generate] knows.
var Algorithms = []string{"ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA", "Ed25519"}

// Generate makes a key for one of [Algorithms].
func Generate(alg string) (*Key, error) {
	var signer crypto.Signer
	var err error
	switch alg {
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA", "Ed25519":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no key can be made for algorithm %q; known are %s", alg, strings.Join(Algorithms, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("pen: %w", err)
	}
	return &Key{Algorithm: alg, signer: signer}, nil
}

// FromSigner wraps a private key. An empty alg means the usual one of its kind.
func FromSigner(signer crypto.Signer, alg string) (*Key, error) {
	usual, err := usualAlgorithm(signer.Public())
	if err != nil {
		return nil, err
	}
	if alg == "" {
		alg = usual
	}
	if !fits(alg, usual) {
		return nil, fmt.Errorf("pen: a key for %s cannot sign with %s", usual, alg)
	}
	return &Key{Algorithm: alg, signer: signer}, nil
}

func usualAlgorithm(public crypto.PublicKey) (string, error) {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		case elliptic.P521():
			return "ES512", nil
		}
		return "", fmt.Errorf("pen: no JWS algorithm for curve %s", public.Curve.Params().Name)
	case *rsa.PublicKey:
		return "PS256", nil
	case ed25519.PublicKey:
		return "Ed25519", nil
	default:
		return "", fmt.Errorf("pen: a key of type %T cannot sign a JWS", public)
	}
}

// fits reports whether a key whose usual algorithm is usual can sign with alg.
func fits(alg, usual string) bool {
	switch usual {
	case "PS256":
		return strings.HasPrefix(alg, "PS") || strings.HasPrefix(alg, "RS")
	case "Ed25519":
		return alg == "Ed25519" || alg == "EdDSA"
	default:
		return alg == usual
	}
}

// Signer returns the private key.
func (k *Key) Signer() crypto.Signer { return k.signer }

// As returns the same key with another alg, which need not fit: the header then
// says alg, and the signature is of the key's own kind.
func (k *Key) As(alg string) *Key { return &Key{Algorithm: alg, ID: k.ID, signer: k.signer} }

// WithID returns the same key with a kid.
func (k *Key) WithID(id string) *Key { return &Key{Algorithm: k.Algorithm, ID: id, signer: k.signer} }

// String names the key without its private part.
func (k *Key) String() string { return k.Algorithm + " key " + k.Thumbprint() }

// GoString is [Key.String], so that %#v does not show the private part.
func (k *Key) GoString() string { return k.String() }

// JWK returns the public members (RFC 7517) in a map that is the caller's.
func (k *Key) JWK() map[string]any {
	jwk, err := PublicJWK(k.signer.Public())
	if err != nil {
		panic(err) // Generate, FromSigner and Parse make no other keys.
	}
	return jwk
}

// PublicJWK returns the required members of a public key's JWK.
func PublicJWK(public crypto.PublicKey) (map[string]any, error) {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			return nil, fmt.Errorf("pen: %w", err)
		}
		half := len(point) / 2
		return map[string]any{"kty": "EC", "crv": public.Curve.Params().Name, "x": Encode(point[1 : 1+half]), "y": Encode(point[1+half:])}, nil
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": Encode(public.N.Bytes()), "e": Encode(big.NewInt(int64(public.E)).Bytes())}, nil
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": Encode(public)}, nil
	default:
		return nil, fmt.Errorf("pen: no JWK for a key of type %T", public)
	}
}

// Thumbprint is the key's RFC 7638 thumbprint with SHA-256, in base64url.
func (k *Key) Thumbprint() string { return Thumbprint(k.JWK()) }

// Thumbprint hashes the required members of a JWK (RFC 7638, section 3.2). Members
// that are missing are left out, so that the result for a broken key matches no
// good one.
func Thumbprint(jwk map[string]any) string {
	required := make(map[string]any)
	for _, name := range []string{"crv", "e", "k", "kty", "n", "x", "y"} {
		if v, ok := jwk[name]; ok && requiredFor(jwk["kty"], name) {
			required[name] = v
		}
	}
	raw, err := json.Marshal(required) // in the order of the names, without white space
	if err != nil {
		return ""
	}
	return Digest(string(raw))
}

func requiredFor(kty any, name string) bool {
	members, _ := map[any]string{"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x", "oct": "k kty"}[kty]
	return strings.Contains(" "+members+" ", " "+name+" ")
}

// Digest is base64url of SHA-256: the form of ath and of thumbprints.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return Encode(sum[:])
}

// Encode is base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Sign makes a compact JWS. alg, and kid if the key has one, are added to a copy of
// the header unless it has them; a header member that is nil is left out.
func (k *Key) Sign(header map[string]any, claims any) string {
	full := map[string]any{"alg": k.Algorithm}
	if k.ID != "" {
		full["kid"] = k.ID
	}
	maps.Copy(full, header)
	maps.DeleteFunc(full, func(_ string, v any) bool { return v == nil })
	return k.SignBytes(marshal(full), marshal(claims))
}

// SignBytes signs header and payload as they are.
func (k *Key) SignBytes(header, payload []byte) string {
	input := Encode(header) + "." + Encode(payload)
	return input + "." + Encode(k.SignInput(input))
}

// SignInput returns the JWS signature of any text.
func (k *Key) SignInput(input string) []byte {
	hash, opts := operation(k.Algorithm)
	message := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	signature, err := k.signer.Sign(rand.Reader, message, opts)
	if err != nil {
		panic(fmt.Errorf("pen: %s: %w", k.Algorithm, err)) // a key in memory does not fail on its own algorithm
	}
	if public, ok := k.signer.Public().(*ecdsa.PublicKey); ok {
		return fixedWidth(signature, (public.Curve.Params().BitSize+7)/8)
	}
	return signature
}

// operation returns the hash of alg, 0 for Ed25519, and the options for signing.
func operation(alg string) (crypto.Hash, crypto.SignerOpts) {
	var hash crypto.Hash
	switch {
	case strings.HasSuffix(alg, "256"):
		hash = crypto.SHA256
	case strings.HasSuffix(alg, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(alg, "512"):
		hash = crypto.SHA512
	}
	if strings.HasPrefix(alg, "PS") {
		return hash, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return hash, hash
}

// fixedWidth turns ASN.1 into r and s side by side (RFC 7518, section 3.4).
func fixedWidth(der []byte, size int) []byte {
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		panic(fmt.Errorf("pen: %w", err))
	}
	signature := make([]byte, 2*size)
	pair.R.FillBytes(signature[:size])
	pair.S.FillBytes(signature[size:])
	return signature
}

// ProofHeader is the JOSE header of a good proof by k.
func (k *Key) ProofHeader() map[string]any {
	return map[string]any{"typ": "dpop+jwt", "alg": k.Algorithm, "jwk": k.JWK()}
}

// ProofClaims are the claims of a good proof (RFC 9449, section 4.2), made now. An
// empty token or nonce leaves ath or nonce out.
func ProofClaims(method, htu, token, nonce string) map[string]any {
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": htu, "iat": time.Now().Unix()}
	if token != "" {
		claims["ath"] = Digest(token)
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return claims
}

// Proof makes a good proof.
func (k *Key) Proof(method, htu, token, nonce string) string {
	return k.Sign(k.ProofHeader(), ProofClaims(method, htu, token, nonce))
}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("pen: %w", err)) // maps of strings, numbers and lists only
	}
	return raw
}
