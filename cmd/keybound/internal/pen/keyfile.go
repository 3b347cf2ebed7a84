package pen

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Parse reads a private key: a JWK (RFC 7517), a set of them, or PEM with PKCS #8, SEC 1
// or PKCS #1. Of a set it takes the first key that is for signatures, by use, as oauth2c
// does; of one without any use, the only key. Errors never hold any of the key.
func Parse(data []byte) (*Key, error) {
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("{")) {
		return parseJWK(data)
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("pen: the key is neither a JWK nor PEM")
		}
		if signer, ok, err := parseBlock(block); err != nil {
			return nil, err
		} else if ok {
			return FromSigner(signer, "")
		}
		data = rest // a certificate or EC PARAMETERS in front of the key
	}
}

// parseBlock reports ok = false for a block that holds no private key.
func parseBlock(block *pem.Block) (signer crypto.Signer, ok bool, err error) {
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, false, errors.New("pen: the key is encrypted; decrypt it first (openssl pkey)")
	default:
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("pen: %s: cannot be parsed", block.Type)
	}
	signer, ok = key.(crypto.Signer)
	if !ok {
		return nil, false, fmt.Errorf("pen: a key of type %T cannot sign", key)
	}
	return signer, true, nil
}

type privateJWK struct {
	Kty string `json:"kty"`
	Use string `json:"use,omitempty"`
	Crv string `json:"crv,omitempty"`
	Alg string `json:"alg,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	D   string `json:"d,omitempty"`
	P   string `json:"p,omitempty"`
	Q   string `json:"q,omitempty"`
	DP  string `json:"dp,omitempty"`
	DQ  string `json:"dq,omitempty"`
	QI  string `json:"qi,omitempty"`
}

func parseJWK(data []byte) (*Key, error) {
	var j struct {
		privateJWK
		Keys []privateJWK `json:"keys"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, errors.New("pen: the JWK is not valid JSON")
	}
	if j.Keys != nil {
		one, err := signingKey(j.Keys)
		if err != nil {
			return nil, err
		}
		j.privateJWK = one
	}
	if j.D == "" {
		return nil, errors.New(`pen: the JWK has no private part (member "d")`)
	}
	signer, err := j.signer()
	if err != nil {
		return nil, err
	}
	key, err := FromSigner(signer, j.Alg)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// signingKey is the key of a set that signs.
func signingKey(set []privateJWK) (privateJWK, error) {
	for _, key := range set {
		if key.Use == "sig" {
			return key, nil
		}
	}
	if len(set) == 1 && set[0].Use == "" {
		return set[0], nil
	}
	return privateJWK{}, fmt.Errorf(`pen: of the %d keys in the set, none has "use": "sig"`, len(set))
}

func (j privateJWK) signer() (crypto.Signer, error) {
	d, err := number(j.D)
	if err != nil {
		return nil, err
	}
	switch j.Kty {
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.Crv]
		if curve == nil {
			return nil, fmt.Errorf("pen: the JWK's curve %q is not P-256, P-384 or P-521", j.Crv)
		}
		raw := make([]byte, (curve.Params().BitSize+7)/8)
		if new(big.Int).SetBytes(d).BitLen() > len(raw)*8 {
			return nil, errors.New("pen: the JWK's private part is too long for its curve")
		}
		key, err := ecdsa.ParseRawPrivateKey(curve, new(big.Int).SetBytes(d).FillBytes(raw))
		if err != nil {
			return nil, errors.New("pen: the JWK's private part is not on its curve")
		}
		return key, nil
	case "OKP":
		if j.Crv != "Ed25519" || len(d) != ed25519.SeedSize {
			return nil, errors.New("pen: the OKP JWK is not a private Ed25519 key")
		}
		return ed25519.NewKeyFromSeed(d), nil
	case "RSA":
		return j.rsa(d)
	default:
		return nil, fmt.Errorf("pen: a JWK of kty %q cannot sign a proof", j.Kty)
	}
}

func (j privateJWK) rsa(d []byte) (crypto.Signer, error) {
	n, err1 := number(j.N)
	e, err2 := number(j.E)
	p, err3 := number(j.P)
	q, err4 := number(j.Q)
	if err := errors.Join(err1, err2, err3, err4); err != nil || len(p) == 0 || len(q) == 0 || len(e) > 4 {
		return nil, errors.New("pen: the RSA JWK needs n, e, d, p and q")
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())},
		D:         new(big.Int).SetBytes(d),
		Primes:    []*big.Int{new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)},
	}
	if err := key.Validate(); err != nil {
		return nil, errors.New("pen: the RSA JWK's numbers do not belong together")
	}
	key.Precompute()
	return key, nil
}

func number(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("pen: a member of the JWK is not base64url")
	}
	return b, nil
}

// PrivateJWK returns the key with its private part as JSON, for a key file.
func (k *Key) PrivateJWK() ([]byte, error) {
	jwk := k.JWK()
	jwk["alg"] = k.Algorithm
	switch key := k.signer.(type) {
	case *ecdsa.PrivateKey:
		raw, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("pen: %w", err)
		}
		jwk["d"] = Encode(raw)
	case ed25519.PrivateKey:
		jwk["d"] = Encode(key.Seed())
	case *rsa.PrivateKey:
		key.Precompute()
		jwk["d"] = Encode(key.D.Bytes())
		jwk["p"], jwk["q"] = Encode(key.Primes[0].Bytes()), Encode(key.Primes[1].Bytes())
		jwk["dp"], jwk["dq"] = Encode(key.Precomputed.Dp.Bytes()), Encode(key.Precomputed.Dq.Bytes())
		jwk["qi"] = Encode(key.Precomputed.Qinv.Bytes())
	default:
		return nil, fmt.Errorf("pen: a key of type %T stays where it is", key)
	}
	return json.MarshalIndent(jwk, "", "  ")
}

// PrivatePEM returns the key as PKCS #8 PEM, for a key file.
func (k *Key) PrivatePEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fmt.Errorf("pen: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePublic reads the public members of a JWK, as a verifier would.
func ParsePublic(jwk map[string]any) (crypto.PublicKey, error) {
	member := func(name string) []byte {
		text, _ := jwk[name].(string)
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil
		}
		return b
	}
	switch jwk["kty"] {
	case "EC":
		crv, _ := jwk["crv"].(string)
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[crv]
		if curve == nil {
			return nil, fmt.Errorf("pen: curve %q is not P-256, P-384 or P-521", crv)
		}
		size := (curve.Params().BitSize + 7) / 8
		if x, y := member("x"), member("y"); len(x) == size && len(y) == size {
			key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
			if err != nil {
				return nil, errors.New("pen: the point is not on the curve")
			}
			return key, nil
		}
		return nil, errors.New("pen: x or y does not have the width of the curve")
	case "RSA":
		n, e := new(big.Int).SetBytes(member("n")), new(big.Int).SetBytes(member("e"))
		if n.BitLen() < 2048 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, errors.New("pen: the RSA key is shorter than 2048 bits, or its exponent is odd to use")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "OKP":
		if x := member("x"); jwk["crv"] == "Ed25519" && len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), nil
		}
		return nil, errors.New("pen: the OKP key is not an Ed25519 key")
	default:
		return nil, fmt.Errorf("pen: kty %v is no public signing key", jwk["kty"])
	}
}
