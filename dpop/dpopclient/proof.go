package dpopclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for the hashes of ES384 and ES512
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/options"
)

// minRSABits is the least size that RFC 7518, section 3.3 allows.
const minRSABits = 2048

// A signer makes proofs with one key and one algorithm. It is immutable, and as
// safe for concurrent use as its key.
type signer struct {
	key        crypto.Signer
	scheme     scheme
	header     string // of every proof, base64url, with the dot after it
	thumbprint string
}

// A scheme is how a JWS algorithm signs (RFC 7518, section 3).
type scheme struct {
	name string
	opts crypto.SignerOpts
	size int // of the signature in a JWS, in bytes
}

func newSigner(key crypto.Signer, algorithm string) (*signer, error) {
	if options.IsNil(key) {
		return nil, errors.New("dpopclient: signer is nil")
	}
	public := key.Public()
	jwk, err := publicJWK(public)
	if err != nil {
		return nil, err
	}
	scheme, err := schemeFor(algorithm, public)
	if err != nil {
		return nil, err
	}
	header := `{"typ":"dpop+jwt","alg":"` + scheme.name + `","jwk":` + jwk + `}`
	return &signer{
		key:        key,
		scheme:     scheme,
		header:     encode([]byte(header)) + ".",
		thumbprint: digest(jwk),
	}, nil
}

// publicJWK returns the required public members of the key in the order and form
// that RFC 7638, section 3 hashes.
func publicJWK(key crypto.PublicKey) (string, error) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return ecJWK(key)
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.N.BitLen() < minRSABits {
			return "", fmt.Errorf("dpopclient: RSA key is shorter than %d bits", minRSABits)
		}
		e := big.NewInt(int64(key.E)).Bytes()
		return `{"e":"` + encode(e) + `","kty":"RSA","n":"` + encode(key.N.Bytes()) + `"}`, nil
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return "", errors.New("dpopclient: Ed25519 public key has a wrong length")
		}
		return `{"crv":"Ed25519","kty":"OKP","x":"` + encode(key) + `"}`, nil
	default:
		return "", fmt.Errorf("dpopclient: public key of type %T cannot sign a proof", key)
	}
}

func ecJWK(key *ecdsa.PublicKey) (string, error) {
	if key == nil || key.Curve == nil || key.Curve == elliptic.P224() {
		return "", errors.New("dpopclient: EC key is not on P-256, P-384 or P-521")
	}
	point, err := key.Bytes() // 4, x, y: each of the width of the curve.
	if err != nil {
		return "", fmt.Errorf("dpopclient: EC public key: %w", err)
	}
	width := len(point) / 2
	x, y := point[1:1+width], point[1+width:]
	return `{"crv":"` + key.Params().Name + `","kty":"EC","x":"` + encode(x) + `","y":"` + encode(y) + `"}`, nil
}

// schemeFor returns the algorithm called name if key can sign with it, or the
// key's usual one if name is empty.
//
// Precondition: publicJWK accepts key.
func schemeFor(name string, key crypto.PublicKey) (scheme, error) {
	var fitting []string
	for _, s := range schemesOf(key) {
		if name == "" || name == s.name {
			return s, nil
		}
		fitting = append(fitting, s.name)
	}
	return scheme{}, fmt.Errorf("dpopclient: a key of type %T signs with %s, not with %q",
		key, strings.Join(fitting, " or "), name)
}

func schemesOf(key crypto.PublicKey) []scheme {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []scheme{{"ES256", crypto.SHA256, 64}}
		case elliptic.P384():
			return []scheme{{"ES384", crypto.SHA384, 96}}
		default:
			return []scheme{{"ES512", crypto.SHA512, 132}}
		}
	case *rsa.PublicKey:
		pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		return []scheme{{"PS256", pss, key.Size()}, {"RS256", crypto.SHA256, key.Size()}}
	default:
		// RFC 9864 renamed EdDSA with this curve; older servers know the old name.
		return []scheme{
			{"Ed25519", crypto.Hash(0), ed25519.SignatureSize},
			{"EdDSA", crypto.Hash(0), ed25519.SignatureSize},
		}
	}
}

// claims is what one proof says (RFC 9449, section 4.2). An empty ath or nonce is
// left out.
//
// Invariant: no member holds a character that JSON would need escaped. method is an
// HTTP token, url is made of normalised origin and escaped path, ath is base64url,
// and isNonce holds for nonce.
type claims struct {
	method, url string
	issuedAt    time.Time
	ath, nonce  string
}

// proof makes one proof: a new jti and a new signature with each call.
func (s *signer) proof(c claims) (string, error) {
	jws := make([]byte, 0, len(s.header)+768)
	jws = append(jws, s.header...)
	jws = base64.RawURLEncoding.AppendEncode(jws, c.json())
	signature, err := crypto.SignMessage(s.key, rand.Reader, jws, s.scheme.opts)
	if err != nil {
		return "", fmt.Errorf("dpopclient: signer: %w", err)
	}
	if strings.HasPrefix(s.scheme.name, "ES") {
		if signature, err = fixedWidth(signature, s.scheme.size); err != nil {
			return "", err
		}
	}
	if len(signature) != s.scheme.size {
		return "", fmt.Errorf("dpopclient: signer: returned %d bytes for %s", len(signature), s.scheme.name)
	}
	jws = append(jws, '.')
	return string(base64.RawURLEncoding.AppendEncode(jws, signature)), nil
}

func (c claims) json() []byte {
	b := make([]byte, 0, 192+len(c.url)+len(c.nonce))
	b = append(b, `{"jti":"`...)
	b = append(b, rand.Text()...) // 26 characters, 130 bits.
	b = append(b, `","htm":"`...)
	b = append(b, c.method...)
	b = append(b, `","htu":"`...)
	b = append(b, c.url...)
	b = append(b, `","iat":`...)
	b = strconv.AppendInt(b, c.issuedAt.Unix(), 10)
	if c.ath != "" {
		b = append(b, `,"ath":"`...)
		b = append(append(b, c.ath...), '"')
	}
	if c.nonce != "" {
		b = append(b, `,"nonce":"`...)
		b = append(append(b, c.nonce...), '"')
	}
	return append(b, '}')
}

// fixedWidth turns the ASN.1 signature of a [crypto.Signer] into the two integers
// side by side that a JWS has (RFC 7518, section 3.4).
func fixedWidth(der []byte, size int) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil {
		return nil, fmt.Errorf("dpopclient: signer: ECDSA signature: %w", err)
	}
	for _, n := range []*big.Int{pair.R, pair.S} {
		if n.Sign() <= 0 || n.BitLen() > size/2*8 || len(rest) > 0 {
			return nil, errors.New("dpopclient: signer: ECDSA signature does not fit the curve")
		}
	}
	signature := make([]byte, size)
	pair.R.FillBytes(signature[:size/2])
	pair.S.FillBytes(signature[size/2:])
	return signature, nil
}

// digest is the form of both ath and thumbprints.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encode(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
