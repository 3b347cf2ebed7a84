package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"time"
)

const (
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, section 2.2
	assertionLifetime = time.Minute
)

// assertion holds what is the same in every assertion of one client.
type assertion struct {
	redacted
	audience string // "" is the issuer
	typ      string
	alg      string // client_secret_jwt only
	lifetime time.Duration
	problems error
}

func newAssertion(method, id string, opts []AssertionOption) assertion {
	a := assertion{redacted: redacted{method, id}}
	for _, o := range opts {
		if o == nil {
			a.problems = errors.Join(a.problems, fmt.Errorf("oidc: %s: an option is nil", method))
			continue
		}
		a.problems = errors.Join(a.problems, o.applyAssertion(&a))
	}
	if a.typ == "" {
		a.typ = "JWT"
	}
	if a.lifetime == 0 {
		a.lifetime = assertionLifetime
	}
	return a
}

func (a *assertion) check() error { return errors.Join(a.redacted.check(), a.problems) }

type assertionHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid,omitempty"`
}

type assertionClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"` // one string: the update of RFC 7523 forbids a list
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
}

// add signs a fresh assertion (RFC 7523, section 3) and adds it to form.
func (a *assertion) add(form url.Values, issuer, alg, kid string, sign func([]byte) ([]byte, error)) error {
	now := time.Now()
	claims := assertionClaims{
		Issuer: a.id, Subject: a.id, Audience: a.audience,
		ID:       rand.Text(), // 130 bits: unique without a memory
		IssuedAt: now.Unix(), Expiry: now.Add(a.lifetime).Unix(),
	}
	if claims.Audience == "" {
		claims.Audience = issuer
	}
	jwt, err := compactJWS(assertionHeader{alg, a.typ, kid}, claims, sign)
	if err != nil {
		return fmt.Errorf("oidc: %s: signing the assertion: %w", a.method, err)
	}
	form.Set("client_id", a.id)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", jwt)
	return nil
}

// compactJWS is RFC 7515, section 7.1.
func compactJWS(header, payload any, sign func(input []byte) ([]byte, error)) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	p, err := json.Marshal(payload)
	if err != nil {
		return "", err
	}
	out := base64.RawURLEncoding.AppendEncode(nil, h)
	out = append(out, '.')
	out = base64.RawURLEncoding.AppendEncode(out, p)
	signature, err := sign(out)
	if err != nil {
		return "", err
	}
	out = append(out, '.')
	return string(base64.RawURLEncoding.AppendEncode(out, signature)), nil
}

type privateKeyJWT struct {
	assertion
	keys *ClientKeys
}

// PrivateKeyJWT authenticates with an assertion that is signed by the current key
// of keys (private_key_jwt, RFC 7523, section 2.2). The issuer finds the public
// key at the URL where keys is served, or has been given it.
func PrivateKeyJWT(id string, keys *ClientKeys, opts ...AssertionOption) ClientAuth {
	return &privateKeyJWT{newAssertion("PrivateKeyJWT", id, opts), keys}
}

func (a *privateKeyJWT) check() error {
	err := a.assertion.check()
	if a.alg != "" {
		err = errors.Join(err, errors.New("oidc: PrivateKeyJWT: the key decides the algorithm, not WithAssertionAlgorithm"))
	}
	if a.keys == nil {
		err = errors.Join(err, errors.New("oidc: PrivateKeyJWT: keys is nil"))
	}
	return err
}

func (a *privateKeyJWT) authenticate(_ context.Context, issuer string, _ http.Header, form url.Values) error {
	key := a.keys.signing(time.Now())
	return a.add(form, issuer, key.alg.name, key.id, key.sign)
}

type clientSecretJWT struct {
	assertion
	secret secret
}

// ClientSecretJWT authenticates with an assertion whose MAC (HS256) is keyed
// with the client secret (client_secret_jwt, OpenID Connect Core, section 9), so
// that the secret is not sent. The secret has at least 32 bytes (RFC 7518, section 3.2).
func ClientSecretJWT(id, secret string, opts ...AssertionOption) ClientAuth {
	a := &clientSecretJWT{newAssertion("ClientSecretJWT", id, opts), hide(secret)}
	if a.alg == "" {
		a.alg = "HS256"
	}
	return a
}

func (a *clientSecretJWT) hash() func() hash.Hash {
	switch a.alg {
	case "HS256":
		return sha256.New
	case "HS384":
		return sha512.New384
	case "HS512":
		return sha512.New
	default:
		return nil
	}
}

func (a *clientSecretJWT) check() error {
	newHash := a.hash()
	if newHash == nil {
		return errors.Join(a.assertion.check(),
			fmt.Errorf("oidc: ClientSecretJWT: the algorithm %q is none of HS256, HS384 and HS512", a.alg))
	}
	if least := newHash().Size(); len(a.secret()) < least {
		return errors.Join(a.assertion.check(),
			fmt.Errorf("oidc: ClientSecretJWT: the secret has fewer than the %d bytes of %s", least, a.alg))
	}
	return a.assertion.check()
}

func (a *clientSecretJWT) authenticate(_ context.Context, issuer string, _ http.Header, form url.Values) error {
	return a.add(form, issuer, a.alg, "", func(input []byte) ([]byte, error) {
		mac := hmac.New(a.hash(), []byte(a.secret()))
		mac.Write(input)
		return mac.Sum(nil), nil
	})
}
