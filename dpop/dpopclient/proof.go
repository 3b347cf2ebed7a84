package dpopclient

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/keybound-go/middleware/internal/josesign"
	"github.com/keybound-go/middleware/internal/options"
)

// A signer makes proofs with one key and one algorithm. It is immutable, and as
// safe for concurrent use as its key.
type signer struct {
	key    *josesign.Key
	header string // of every proof, base64url, with the dot after it
}

func newSigner(private crypto.Signer, algorithm string) (*signer, error) {
	if algorithm == "" && !options.IsNil(private) {
		if _, ok := private.Public().(ed25519.PublicKey); ok {
			algorithm = "Ed25519" // RFC 9864 deprecates EdDSA, the name that older servers know.
		}
	}
	key, err := josesign.New(private, algorithm)
	if err != nil {
		return nil, fmt.Errorf("dpopclient: %w", err)
	}
	header := `{"typ":"dpop+jwt","alg":"` + key.Algorithm() + `","jwk":` + key.JWK() + `}`
	return &signer{key: key, header: string(josesign.AppendPart(nil, []byte(header))) + "."}, nil
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
	jws, err := s.key.AppendSignature(josesign.AppendPart(jws, c.json()))
	if err != nil {
		return "", fmt.Errorf("dpopclient: %w", err)
	}
	return string(jws), nil
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
