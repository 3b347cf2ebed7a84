package clientauth

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
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// signingAlgorithm is a row of RFC 7518, section 3.1, or RFC 8037, section 3.1.
type signingAlgorithm struct {
	name  string
	hash  crypto.Hash    // 0: the message itself is signed
	curve elliptic.Curve // ECDSA only
	pss   bool
}

func (a *signingAlgorithm) options() crypto.SignerOpts {
	if a.pss {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash}
	}
	return a.hash
}

// signingAlgorithms returns those that public can sign with; the first is the default.
func signingAlgorithms(public crypto.PublicKey) []signingAlgorithm {
	switch public := public.(type) {
	case ed25519.PublicKey:
		return []signingAlgorithm{{name: "EdDSA"}, {name: "Ed25519"}} // RFC 9864 names what EdDSA means here.
	case *rsa.PublicKey:
		return []signingAlgorithm{
			{name: "PS256", hash: crypto.SHA256, pss: true},
			{name: "PS384", hash: crypto.SHA384, pss: true},
			{name: "PS512", hash: crypto.SHA512, pss: true},
			{name: "RS256", hash: crypto.SHA256},
			{name: "RS384", hash: crypto.SHA384},
			{name: "RS512", hash: crypto.SHA512},
		}
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return []signingAlgorithm{{name: "ES256", hash: crypto.SHA256, curve: public.Curve}}
		case elliptic.P384():
			return []signingAlgorithm{{name: "ES384", hash: crypto.SHA384, curve: public.Curve}}
		case elliptic.P521():
			return []signingAlgorithm{{name: "ES512", hash: crypto.SHA512, curve: public.Curve}}
		}
	}
	return nil
}

// signingKey is a Key that has been looked at.
type signingKey struct {
	signer crypto.Signer
	id     string
	alg    signingAlgorithm
	jwk    json.RawMessage // the public key
}

func newSigningKey(k Key) (*signingKey, error) {
	if k.Signer == nil {
		return nil, errors.New("clientauth: a Key without Signer")
	}
	public := k.Signer.Public()
	if key, ok := public.(*rsa.PublicKey); ok && (key.N.BitLen() < 2048 || key.N.BitLen() > 4096) {
		return nil, fmt.Errorf("clientauth: a Key with an RSA key of %d bits, not 2048 to 4096", key.N.BitLen())
	}
	algs := signingAlgorithms(public)
	if len(algs) == 0 {
		return nil, fmt.Errorf("clientauth: a Key that cannot sign a JWT: %T", public)
	}
	for _, alg := range algs {
		if k.Algorithm == "" || k.Algorithm == alg.name {
			return finishSigningKey(k, public, alg)
		}
	}
	return nil, fmt.Errorf("clientauth: a Key whose key does not go with the algorithm %q", k.Algorithm)
}

func finishSigningKey(k Key, public crypto.PublicKey, alg signingAlgorithm) (*signingKey, error) {
	members, err := publicMembers(public)
	if err != nil {
		return nil, err
	}
	if k.KeyID == "" {
		// RFC 7638, section 3: the required members, which are all there are yet, in the
		// order that encoding/json gives to a map, without white space.
		required, err := json.Marshal(members)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(required)
		k.KeyID = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	members["kid"], members["alg"], members["use"] = k.KeyID, alg.name, "sig"
	jwk, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	return &signingKey{k.Signer, k.KeyID, alg, jwk}, nil
}

// publicMembers are the JWK members that make up a public key (RFC 7518, section 6; RFC 8037, section 2).
func publicMembers(public crypto.PublicKey) (map[string]string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch public := public.(type) {
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}, nil
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(public.N.Bytes()), "e": b64(big.NewInt(int64(public.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			return nil, fmt.Errorf("clientauth: a Key whose public key is not valid: %w", err)
		}
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		return map[string]string{"kty": "EC", "crv": public.Params().Name, "x": b64(x), "y": b64(y)}, nil
	default:
		return nil, fmt.Errorf("clientauth: a Key that cannot sign a JWT: %T", public)
	}
}

// sign returns the JWS signature of input.
func (k *signingKey) sign(input []byte) ([]byte, error) {
	signature, err := crypto.SignMessage(k.signer, rand.Reader, input, k.alg.options())
	if err != nil || k.alg.curve == nil {
		return signature, err
	}
	return concatenated(signature, (k.alg.curve.Params().BitSize+7)/8)
}

// concatenated turns the ASN.1 signature of a crypto.Signer into R and S of size
// octets each (RFC 7518, section 3.4).
func concatenated(der []byte, size int) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) > 0 {
		return nil, errors.New("clientauth: the signer's signature is not an ASN.1 ECDSA signature")
	}
	// Precondition of FillBytes: the number fits. A key service can return anything.
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size {
		return nil, errors.New("clientauth: the signer's signature does not belong to the key's curve")
	}
	out := make([]byte, 2*size)
	sig.R.FillBytes(out[:size])
	sig.S.FillBytes(out[size:])
	return out, nil
}
