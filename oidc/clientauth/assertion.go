package clientauth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"time"

	"github.com/keybound-go/middleware/internal/josesign"
	"github.com/keybound-go/middleware/internal/options"
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
	alg      string // client_secret_jwt only; "" is the default
	lifetime time.Duration
	problems error
}

func newAssertion(method, id string, opts []Option) assertion {
	a := assertion{redacted: redacted{method, id}, typ: "JWT", lifetime: assertionLifetime}
	set := options.For("clientauth: " + method)
	options.Each(set, opts, func(o Option) { o.apply(set, &a) })
	a.problems = set.Err()
	return a
}

func (a *assertion) Check() error { return errors.Join(a.redacted.Check(), a.problems) }

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
		return fmt.Errorf("clientauth: %s: signing the assertion: %w", a.method, err)
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
	out := josesign.AppendPart(nil, h)
	out = append(out, '.')
	out = josesign.AppendPart(out, p)
	signature, err := sign(out)
	if err != nil {
		return "", err
	}
	out = append(out, '.')
	return string(josesign.AppendPart(out, signature)), nil
}

type privateKeyJWT struct {
	assertion
	keys *Keys
}

// PrivateKeyJWT authenticates with an assertion that is signed by the current key
// of keys (private_key_jwt, RFC 7523, section 2.2). The issuer finds the public
// key at the URL where keys is served, or has been given it.
func PrivateKeyJWT(id string, keys *Keys, opts ...Option) Method {
	return &privateKeyJWT{newAssertion("PrivateKeyJWT", id, opts), keys}
}

func (a *privateKeyJWT) Check() error {
	err := a.assertion.Check()
	if a.alg != "" {
		err = errors.Join(err, errors.New("clientauth: PrivateKeyJWT: the key decides the algorithm, not WithAlgorithm"))
	}
	if a.keys == nil {
		err = errors.Join(err, errors.New("clientauth: PrivateKeyJWT: keys is nil"))
	}
	return err
}

func (a *privateKeyJWT) Authenticate(_ context.Context, issuer string, _ http.Header, form url.Values) error {
	key := a.keys.signing(time.Now())
	return a.add(form, issuer, key.key.Algorithm(), key.id, key.key.Sign)
}

type secretJWT struct {
	assertion
	secret secret
}

// SecretJWT authenticates with an assertion whose MAC (HS256) is keyed
// with the client secret (client_secret_jwt, OpenID Connect Core, section 9), so
// that the secret is not sent. The secret has at least 32 bytes (RFC 7518, section 3.2).
func SecretJWT(id, secret string, opts ...Option) Method {
	a := &secretJWT{newAssertion("SecretJWT", id, opts), hide(secret)}
	a.alg = cmp.Or(a.alg, "HS256")
	return a
}

func (a *secretJWT) hash() func() hash.Hash {
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

func (a *secretJWT) Check() error {
	newHash := a.hash()
	if newHash == nil {
		return errors.Join(a.assertion.Check(),
			fmt.Errorf("clientauth: SecretJWT: the algorithm %q is none of HS256, HS384 and HS512", a.alg))
	}
	if least := newHash().Size(); len(a.secret()) < least {
		return errors.Join(a.assertion.Check(),
			fmt.Errorf("clientauth: SecretJWT: the secret has fewer than the %d bytes of %s", least, a.alg))
	}
	return a.assertion.Check()
}

func (a *secretJWT) Authenticate(_ context.Context, issuer string, _ http.Header, form url.Values) error {
	return a.add(form, issuer, a.alg, "", func(input []byte) ([]byte, error) {
		mac := hmac.New(a.hash(), []byte(a.secret()))
		mac.Write(input)
		return mac.Sum(nil), nil
	})
}

// Option is a setting of the assertions of [SecretJWT] and [PrivateKeyJWT].
type Option interface {
	apply(*options.Set, *assertion)
}

type option func(*options.Set, *assertion)

func (o option) apply(s *options.Set, a *assertion) { o(s, a) }

// text is an option whose value must not be empty.
func text(name, value string, to func(*assertion) *string) Option {
	return option(func(s *options.Set, a *assertion) {
		switch {
		case !s.Once(name):
		case value == "":
			s.Problem("%s: the value is empty", name)
		default:
			*to(a) = value
		}
	})
}

// WithAudience sets aud of the assertions. The default is the issuer, as FAPI 2.0
// and the update of RFC 7523 ask: an audience that two issuers can both claim lets
// one of them use the assertion at the other. Some older issuers want the URL of
// their token endpoint.
func WithAudience(audience string) Option {
	return text("WithAudience", audience, func(a *assertion) *string { return &a.audience })
}

// WithType sets the typ header of the assertions. The default is "JWT". The update
// of RFC 7523 registers "client-authentication+jwt", which issuers built on
// libraries that accept typ "JWT" alone turn down.
func WithType(typ string) Option {
	return text("WithType", typ, func(a *assertion) *string { return &a.typ })
}

// WithAlgorithm makes [SecretJWT] use HS384 or HS512 in place of HS256; the secret
// has to be as long as the hash. It is a mistake with [PrivateKeyJWT], where the
// algorithm belongs to the key.
func WithAlgorithm(alg string) Option {
	return text("WithAlgorithm", alg, func(a *assertion) *string { return &a.alg })
}

// WithAssertionLifetime sets how long an assertion is valid, from one second to
// ten minutes. The default is a minute: an assertion is used within seconds of
// being made, and the rest allows for clocks that differ.
func WithAssertionLifetime(d time.Duration) Option {
	return option(func(s *options.Set, a *assertion) {
		switch {
		case !s.Once("WithAssertionLifetime"):
		case d < time.Second || d > 10*time.Minute:
			s.Problem("WithAssertionLifetime: %v is not between 1s and 10m", d)
		default:
			a.lifetime = d
		}
	})
}
