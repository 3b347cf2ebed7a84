package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ClientAuth is how this service authenticates itself to its issuer's endpoints
// (RFC 6749, section 2.3; RFC 7523; RFC 8705, section 2). There is one
// constructor for each method of the IANA registry "OAuth Token Endpoint
// Authentication Methods", and [BearerToken].
//
// The constructors report no mistakes; the function that is given the ClientAuth
// does. A ClientAuth may be used concurrently and by several parts. None of them
// shows its secret when it is printed or logged.
type ClientAuth interface {
	fmt.Stringer
	fmt.GoStringer
	slog.LogValuer

	// check reports every mistake in the method's settings.
	check() error
	// clientID names the client to the issuer, and is the audience of its signed answers.
	clientID() string
	// authenticate adds what proves the client to a request for issuer's endpoint.
	authenticate(ctx context.Context, issuer string, h http.Header, form url.Values) error
	// certificate is the client certificate of the connection, or nil if the method needs none.
	certificate() getCertificate
}

// getCertificate is the type of tls.Config.GetClientCertificate.
type getCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

// redacted implements the printing half of ClientAuth: the method and the client
// id, never a secret.
type redacted struct{ method, id string }

func (r redacted) String() string {
	if r.id == "" {
		return "oidc." + r.method
	}
	return fmt.Sprintf("oidc.%s(%q)", r.method, r.id)
}

func (r redacted) GoString() string            { return r.String() }
func (r redacted) LogValue() slog.Value        { return slog.StringValue(r.String()) }
func (r redacted) clientID() string            { return r.id }
func (r redacted) certificate() getCertificate { return nil }

func (r redacted) check() error {
	if r.id == "" {
		return fmt.Errorf("oidc: %s: the client id is empty", r.method)
	}
	return nil
}

func (r redacted) checkSecret(s secret) error {
	if s() == "" {
		return errors.Join(r.check(), fmt.Errorf("oidc: %s: the client secret is empty", r.method))
	}
	return r.check()
}

// secret hides a string from fmt, which prints the unexported fields of a struct
// without asking their String methods: of a func it prints the address.
type secret func() string

func hide(s string) secret { return func() string { return s } }

type clientSecretBasic struct {
	redacted
	secret secret
}

// ClientSecretBasic sends id and secret in the Authorization header. Both are
// form-encoded before they are joined, as RFC 6749, section 2.3.1 says and many
// clients forget, which shows as soon as a secret holds a colon or a percent sign.
func ClientSecretBasic(id, secret string) ClientAuth {
	return clientSecretBasic{redacted{"ClientSecretBasic", id}, hide(secret)}
}

func (a clientSecretBasic) check() error { return a.checkSecret(a.secret) }

func (a clientSecretBasic) authenticate(_ context.Context, _ string, h http.Header, _ url.Values) error {
	setBasic(h, a.id, a.secret())
	return nil
}

func setBasic(h http.Header, id, secret string) {
	r := http.Request{Header: h}
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
}

type clientSecretPost struct {
	redacted
	secret secret
}

// ClientSecretPost sends id and secret in the request body. RFC 6749, section
// 2.3.1 does not recommend it; use it for issuers that know nothing else.
func ClientSecretPost(id, secret string) ClientAuth {
	return clientSecretPost{redacted{"ClientSecretPost", id}, hide(secret)}
}

func (a clientSecretPost) check() error { return a.checkSecret(a.secret) }

func (a clientSecretPost) authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id)
	form.Set("client_secret", a.secret())
	return nil
}

type publicClient struct{ redacted }

// PublicClient only names the client ("none" in the registry). An introspection
// endpoint that is content with this tells anybody about tokens (RFC 7662,
// section 2.1 forbids it); it is here for issuers on a network of their own.
func PublicClient(id string) ClientAuth { return publicClient{redacted{"PublicClient", id}} }

func (a publicClient) authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id)
	return nil
}

type tlsClientAuth struct {
	redacted
	cert getCertificate
}

// TLSClientAuth authenticates with a client certificate that a CA vouches for
// (tls_client_auth, RFC 8705, section 2.1). Where the issuer publishes
// mtls_endpoint_aliases, they are used.
//
// certificate is called for each new connection, concurrently, and so can
// reload the certificate from disk or sign in a key service. It must not return
// nil without an error.
func TLSClientAuth(id string, certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) ClientAuth {
	return tlsClientAuth{redacted{"TLSClientAuth", id}, certificate}
}

// SelfSignedTLS authenticates with a client certificate that was registered with
// the issuer (self_signed_tls_client_auth, RFC 8705, section 2.2); otherwise it
// is like [TLSClientAuth].
func SelfSignedTLS(id string, certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) ClientAuth {
	return tlsClientAuth{redacted{"SelfSignedTLS", id}, certificate}
}

func (a tlsClientAuth) check() error {
	if a.cert == nil {
		return errors.Join(a.redacted.check(), fmt.Errorf("oidc: %s: certificate is nil", a.method))
	}
	return a.redacted.check()
}

func (a tlsClientAuth) certificate() getCertificate { return a.cert }

func (a tlsClientAuth) authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id) // RFC 8705, section 2: required, the certificate need not name the client.
	return nil
}

type bearerToken struct {
	redacted
	source func(context.Context) (string, error)
}

// BearerToken authenticates with an access token of this service's own (RFC
// 7662, section 2.1). id is the client that the token was issued to. source is called for
// each request, concurrently, and is expected to cache; its ctx carries the
// deadline of the request.
func BearerToken(id string, source func(ctx context.Context) (string, error)) ClientAuth {
	return bearerToken{redacted{"BearerToken", id}, source}
}

func (a bearerToken) check() error {
	if a.source == nil {
		return errors.Join(a.redacted.check(), errors.New("oidc: BearerToken: source is nil"))
	}
	return a.redacted.check()
}

func (a bearerToken) authenticate(ctx context.Context, _ string, h http.Header, _ url.Values) error {
	token, err := a.source(ctx)
	if err != nil {
		return fmt.Errorf("oidc: no token to authenticate with: %w", err)
	}
	if token == "" || strings.ContainsFunc(token, notVisibleASCII) {
		return errors.New("oidc: the token to authenticate with is empty or cannot stand in a header")
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

func notVisibleASCII(r rune) bool { return r <= ' ' || r > '~' }

// AssertionOption configures [ClientSecretJWT] and [PrivateKeyJWT].
type AssertionOption interface{ applyAssertion(*assertion) error }

type assertionOption func(*assertion) error

func (o assertionOption) applyAssertion(a *assertion) error { return o(a) }

// WithAssertionAudience sets aud of the assertions. The default is the issuer,
// as FAPI 2.0 and the update of RFC 7523 ask: an audience that two issuers can
// both claim lets one of them use the assertion at the other. Some older issuers
// want the URL of their token endpoint.
func WithAssertionAudience(audience string) AssertionOption {
	return assertionOption(func(a *assertion) error {
		return setOnce("WithAssertionAudience", &a.audience, audience)
	})
}

// WithAssertionType sets the typ header of the assertions. The default is "JWT".
// The update of RFC 7523 registers "client-authentication+jwt", which issuers
// built on libraries that accept typ "JWT" alone turn down.
func WithAssertionType(typ string) AssertionOption {
	return assertionOption(func(a *assertion) error { return setOnce("WithAssertionType", &a.typ, typ) })
}

// WithAssertionLifetime sets how long an assertion is valid, from one second to
// ten minutes. The default is a minute: an assertion is used within seconds of
// being made, and the rest allows for clocks that differ.
func WithAssertionLifetime(d time.Duration) AssertionOption {
	return assertionOption(func(a *assertion) error {
		if d < time.Second || d > 10*time.Minute {
			return fmt.Errorf("oidc: WithAssertionLifetime: %v is not between 1s and 10m", d)
		}
		return setOnce("WithAssertionLifetime", &a.lifetime, d)
	})
}

// WithAssertionAlgorithm makes [ClientSecretJWT] use HS384 or HS512 in place of
// HS256; the secret has to be as long as the hash. It is a mistake with
// [PrivateKeyJWT], where the algorithm belongs to the key.
func WithAssertionAlgorithm(alg string) AssertionOption {
	return assertionOption(func(a *assertion) error { return setOnce("WithAssertionAlgorithm", &a.alg, alg) })
}

// setOnce sets an option that may be given once and whose zero value is a mistake.
func setOnce[T comparable](name string, to *T, value T) error {
	var zero T
	switch {
	case value == zero:
		return fmt.Errorf("oidc: %s: the value is empty", name)
	case *to != zero:
		return fmt.Errorf("oidc: %s is given twice", name)
	}
	*to = value
	return nil
}
