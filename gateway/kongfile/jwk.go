package kongfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
)

// ClientKey is a private key by which the gateway proves itself to an issuer.
type ClientKey struct {
	entity
	KeyID     string
	Algorithm string // "" for that of the key
	Signer    crypto.Signer
}

// readJWK reads a private key (RFC 7517, RFC 7518, section 6, RFC 8037).
func readJWK(m *mapping, alg string) *ClientKey {
	k := jwk{m: m}
	key := &ClientKey{entity: entity{m}, KeyID: m.text("kid", ""), Algorithm: m.text("alg", alg)}
	if !m.has("kty") {
		m.mistake("kty is missing")
		return key
	}
	switch m.oneOf("kty", "", "EC", "RSA", "OKP") {
	case "EC":
		key.Signer = k.ec()
	case "RSA":
		key.Signer = k.rsa()
	case "OKP":
		key.Signer = k.okp()
	default:
		return key // the other members mean something else
	}
	m.ignore("use", "key_ops", "x5c", "x5t", "x5t#S256", "x5u")
	m.known = jwkKeys
	m.done(nil)
	if k.err != nil {
		m.mistake("%v", k.err)
	}
	return key
}

// jwk reads the members of a key. Its error is set once one of them is wrong.
type jwk struct {
	m   *mapping
	err error
}

func (k *jwk) fail(err error) {
	if k.err == nil && err != nil {
		k.err = err
	}
}

func (k *jwk) bytes(name string) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(k.m.text(name, ""))
	if err != nil || len(b) == 0 {
		k.fail(fmt.Errorf("%s is missing or not base64url", name))
	}
	return b
}

func (k *jwk) number(name string) *big.Int { return new(big.Int).SetBytes(k.bytes(name)) }

var errHalves = errors.New("the public half is not that of the private one")

func (k *jwk) ec() crypto.Signer {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.m.oneOf("crv", "", "P-256", "P-384", "P-521")]
	if curve == nil {
		k.fail(errors.New("crv is missing or not supported"))
		return nil
	}
	size := (curve.Params().BitSize + 7) / 8
	d, point := k.number("d"), append([]byte{4}, append(k.bytes("x"), k.bytes("y")...)...)
	if d.BitLen() > 8*size {
		k.fail(errors.New("d is too long"))
		return nil
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size)))
	if k.fail(err); err != nil {
		return nil
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil || !key.PublicKey.Equal(public) {
		k.fail(errHalves)
	}
	return key
}

func (k *jwk) okp() crypto.Signer {
	k.m.oneOf("crv", "", "Ed25519")
	seed, public := k.bytes("d"), k.bytes("x")
	if len(seed) != ed25519.SeedSize {
		k.fail(errors.New("d is not 32 bytes"))
		return nil
	}
	key := ed25519.NewKeyFromSeed(seed)
	if !key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(public)) {
		k.fail(errHalves)
	}
	return key
}

func (k *jwk) rsa() crypto.Signer {
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: k.number("n"), E: int(k.number("e").Int64())},
		D:         k.number("d"),
		Primes:    []*big.Int{k.number("p"), k.number("q")},
	}
	k.m.ignore("dp", "dq", "qi")
	if k.err == nil {
		key.Precompute()
		k.fail(key.Validate())
	}
	return key
}

// jwkKeys are the members that Kong has for keys of other kinds. A dump has them as
// null.
var jwkKeys = byName([]Key{
	{Name: "issuer"}, {Name: "crv"}, {Name: "d"}, {Name: "dp"}, {Name: "dq"}, {Name: "e"}, {Name: "k"}, {Name: "n"}, {Name: "oth"}, {Name: "p"},
	{Name: "q"}, {Name: "qi"}, {Name: "r"}, {Name: "t"}, {Name: "x"}, {Name: "y"},
})
