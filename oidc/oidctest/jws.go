package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// jws is what a client signed, read with the standard library only.
type jws struct {
	header struct {
		Algorithm string         `json:"alg"`
		Type      string         `json:"typ"`
		JWK       map[string]any `json:"jwk"`
	}
	payload   []byte
	input     string
	signature []byte
}

func splitJWS(compact string) (*jws, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	header, err1 := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	payload, err2 := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	signature, err3 := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	j := &jws{payload: payload, input: parts[0] + "." + parts[1], signature: signature}
	return j, json.Unmarshal(header, &j.header)
}

// verify reports whether key made the signature.
func (j *jws) verify(key crypto.PublicKey) bool {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[suffix(j.header.Algorithm)]
	digest := []byte(j.input)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		half := len(j.signature) / 2
		if !strings.HasPrefix(j.header.Algorithm, "ES") || hash == 0 || half != (key.Curve.Params().BitSize+7)/8 {
			return false
		}
		r, s := new(big.Int).SetBytes(j.signature[:half]), new(big.Int).SetBytes(j.signature[half:])
		return ecdsa.Verify(key, digest, r, s)
	case *rsa.PublicKey:
		if strings.HasPrefix(j.header.Algorithm, "PS") {
			return rsa.VerifyPSS(key, hash, digest, j.signature, nil) == nil
		}
		return strings.HasPrefix(j.header.Algorithm, "RS") && rsa.VerifyPKCS1v15(key, hash, digest, j.signature) == nil
	case ed25519.PublicKey:
		return hash == 0 && ed25519.Verify(key, digest, j.signature)
	}
	return false
}

func suffix(alg string) string {
	if len(alg) != 5 {
		return ""
	}
	return alg[2:]
}

// publicKey reads the members of a JWK.
func publicKey(jwk map[string]any) (crypto.PublicKey, error) {
	bytesOf := func(name string) []byte {
		text, _ := jwk[name].(string)
		b, _ := base64.RawURLEncoding.DecodeString(text)
		return b
	}
	switch jwk["kty"] {
	case "EC":
		crv, _ := jwk["crv"].(string)
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[crv]
		if curve == nil {
			return nil, errors.New("unknown curve")
		}
		return ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, bytesOf("x")...), bytesOf("y")...))
	case "RSA":
		return &rsa.PublicKey{
			N: new(big.Int).SetBytes(bytesOf("n")),
			E: int(new(big.Int).SetBytes(bytesOf("e")).Int64()),
		}, nil
	case "OKP":
		if x := bytesOf("x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), nil
		}
	}
	return nil, errors.New("unknown key")
}

// thumbprint is RFC 7638 with SHA-256: encoding/json sorts the members of a map.
func thumbprint(jwk map[string]any) string {
	required := make(map[string]any)
	kty, _ := jwk["kty"].(string)
	for _, name := range map[string][]string{
		"EC": {"crv", "kty", "x", "y"}, "RSA": {"e", "kty", "n"}, "OKP": {"crv", "kty", "x"},
	}[kty] {
		required[name] = jwk[name]
	}
	raw, err := json.Marshal(required)
	if err != nil {
		panic(fmt.Sprint("oidctest: ", err))
	}
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
