package forwardauth

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/josesign"
)

const (
	// assertionType is the typ of an assertion and of no other token: no profile of
	// package oidc takes it for an access token.
	assertionType = "forwardauth+jwt"

	// assertionLifetime is how long an assertion lives, and the longest that a Receiver
	// accepts.
	assertionLifetime = 30 * time.Second
)

// Signer signs assertions for one service. It is safe for concurrent use, and does not
// show its key when it is printed.
type Signer struct {
	key     *josesign.Key
	service string
}

// NewSigner returns a Signer for the service of that name, which its [Receiver] must have
// as well. The key is the Handler's own: RSA of 2048 to 4096 bits, P-256, P-384, P-521 or
// Ed25519, and used for nothing else.
func NewSigner(service string, key crypto.Signer) (*Signer, error) {
	if service == "" {
		return nil, errors.New("forwardauth: NewSigner: the service has no name")
	}
	k, err := josesign.New(key, "")
	if err != nil {
		return nil, fmt.Errorf("forwardauth: NewSigner: %w", err)
	}
	return &Signer{key: k, service: service}, nil
}

// String names the service and the public key.
func (s *Signer) String() string {
	if s == nil || s.key == nil {
		return "forwardauth.Signer(none)"
	}
	return fmt.Sprintf("forwardauth.Signer(%q, %s)", s.service, s.key.Thumbprint())
}

// GoString is String.
func (s *Signer) GoString() string { return s.String() }

// assertion is the payload. Its own members are not those of an access token: what the
// token says is one level below.
type assertion struct {
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
	Method   string `json:"htm"`
	Host     string `json:"host"`
	Target   string `json:"target"`
	Binding  string `json:"binding"`
	Token    claims `json:"token"`
}

// claims are what an assertion repeats of the token. What the token is bound to is left
// out: the service has no proof to hold against it.
type claims struct {
	Issuer   string   `json:"iss,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	ID       string   `json:"jti,omitempty"`
	Audience []string `json:"aud,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Expiry   int64    `json:"exp,omitempty"`
	IssuedAt int64    `json:"iat,omitempty"`
}

// assert returns the assertion that the holder of c has sent the request q.
func (s *Signer) assert(c *middleware.Credential, q middleware.Request) (string, error) {
	if s.key == nil {
		return "", errors.New("the zero Signer signs nothing")
	}
	now, t := time.Now(), c.Token
	payload, err := json.Marshal(assertion{
		Audience: s.service, IssuedAt: now.Unix(), Expiry: now.Add(assertionLifetime).Unix(),
		Method: q.Method, Host: strings.ToLower(q.Host), Target: q.Target, Binding: identityOf(c).binding,
		Token: claims{
			Issuer: t.Issuer, Subject: t.Subject, ClientID: t.ClientID, ID: t.ID, Audience: t.Audience,
			Scope: strings.Join(t.Scopes, " "), Expiry: seconds(t.Expiry), IssuedAt: seconds(t.IssuedAt),
		},
	})
	if err != nil {
		return "", err
	}
	header := `{"typ":"` + assertionType + `","alg":"` + s.key.Algorithm() + `","kid":"` + s.key.Thumbprint() + `"}`
	jws := josesign.AppendPart(nil, []byte(header))
	jws = josesign.AppendPart(append(jws, '.'), payload)
	jws, err = s.key.AppendSignature(jws)
	return string(jws), err
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
