package identity

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
	// AssertionType is the typ of assertions alone: every profile of package oidc refuses
	// it for an access token.
	AssertionType = "forwardauth+jwt"

	// AssertionLifetime is how long an assertion lives, and the longest that a receiver
	// accepts.
	AssertionLifetime = 30 * time.Second
)

// Signer signs assertions for one service. It is safe for concurrent use.
type Signer struct {
	key     *josesign.Key
	service string
}

// NewSigner returns a Signer for the service of that name. Its errors have no prefix.
func NewSigner(service string, key crypto.Signer) (*Signer, error) {
	if service == "" {
		return nil, errors.New("NewSigner: the service has no name")
	}
	k, err := josesign.New(key, "")
	if err != nil {
		return nil, fmt.Errorf("NewSigner: %w", err)
	}
	return &Signer{key: k, service: service}, nil
}

// String names the service and the public key.
func (s *Signer) String() string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%q, %s", s.service, s.key.Thumbprint())
}

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

// claims are what an assertion repeats of the token. The binding is left out: the service
// gets no proof to check it with.
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

// Assert returns the assertion that the holder of c has sent the request q.
func (s *Signer) Assert(c *middleware.Credential, q middleware.Request) (string, error) {
	if s == nil {
		return "", errors.New("the zero Signer signs nothing")
	}
	now, t := time.Now(), c.Token
	payload, err := json.Marshal(assertion{
		Audience: s.service, IssuedAt: now.Unix(), Expiry: now.Add(AssertionLifetime).Unix(),
		Method: q.Method, Host: strings.ToLower(q.Host), Target: q.Target, Binding: Of(c).Binding,
		Token: claims{
			Issuer: t.Issuer, Subject: t.Subject, ClientID: t.ClientID, ID: t.ID, Audience: t.Audience,
			Scope: strings.Join(t.Scopes, " "), Expiry: seconds(t.Expiry), IssuedAt: seconds(t.IssuedAt),
		},
	})
	if err != nil {
		return "", err
	}
	header := `{"typ":"` + AssertionType + `","alg":"` + s.key.Algorithm() + `","kid":"` + s.key.Thumbprint() + `"}`
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
