package clientauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/keybound-go/middleware/internal/headers"
)

// Method is how this service authenticates itself to its issuer's endpoints
// (RFC 6749, section 2.3; RFC 7523; RFC 8705, section 2).
//
// The methods of this package may be used concurrently and by several parts, and
// do not show their secret when they are printed or logged. Another
// implementation must do the same.
type Method interface {
	// Check reports every mistake in the method's settings.
	Check() error

	// ClientID names the client to the issuer, and is the audience of its signed answers.
	ClientID() string

	// Authenticate adds what proves the client to the header and the form of one
	// request for an endpoint of issuer (the issuer identifier). ctx ends with the
	// request. It is called again for each request.
	Authenticate(ctx context.Context, issuer string, h http.Header, form url.Values) error

	// Certificate is the client certificate of the connection, in the form of
	// tls.Config.GetClientCertificate, or nil if the method needs none.
	Certificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// redacted is what all methods have in common, and their printed form: the method
// and the client id, never a secret.
type redacted struct{ method, id string }

func (r redacted) String() string {
	if r.id == "" {
		return "clientauth." + r.method
	}
	return fmt.Sprintf("clientauth.%s(%q)", r.method, r.id)
}

func (r redacted) GoString() string     { return r.String() }
func (r redacted) LogValue() slog.Value { return slog.StringValue(r.String()) }
func (r redacted) ClientID() string     { return r.id }

func (r redacted) Certificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return nil
}

func (r redacted) Check() error {
	if r.id == "" {
		return fmt.Errorf("clientauth: %s: the client id is empty", r.method)
	}
	return nil
}

func (r redacted) checkSecret(s secret) error {
	if s() == "" {
		return errors.Join(r.Check(), fmt.Errorf("clientauth: %s: the client secret is empty", r.method))
	}
	return r.Check()
}

// secret hides a string from fmt, which prints the unexported fields of a struct
// without asking their String methods: of a func it prints the address.
type secret func() string

func hide(s string) secret { return func() string { return s } }

type secretBasic struct {
	redacted
	secret secret
}

// SecretBasic sends id and secret in the Authorization header
// (client_secret_basic). Both are form-encoded before they are joined, as
// RFC 6749, section 2.3.1 says. Many clients forget that, which shows as soon as a secret
// holds a colon or a percent sign.
func SecretBasic(id, secret string) Method {
	return secretBasic{redacted{"SecretBasic", id}, hide(secret)}
}

func (a secretBasic) Check() error { return a.checkSecret(a.secret) }

func (a secretBasic) Authenticate(_ context.Context, _ string, h http.Header, _ url.Values) error {
	r := http.Request{Header: h}
	r.SetBasicAuth(url.QueryEscape(a.id), url.QueryEscape(a.secret()))
	return nil
}

type secretPost struct {
	redacted
	secret secret
}

// SecretPost sends id and secret in the request body (client_secret_post).
// RFC 6749, section 2.3.1 does not recommend it; use it for issuers that know no other
// method.
func SecretPost(id, secret string) Method {
	return secretPost{redacted{"SecretPost", id}, hide(secret)}
}

func (a secretPost) Check() error { return a.checkSecret(a.secret) }

func (a secretPost) Authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id)
	form.Set("client_secret", a.secret())
	return nil
}

type public struct{ redacted }

// Public only names the client ("none" in the registry). An introspection
// endpoint that accepts this tells every caller about tokens (RFC 7662, section 2.1
// forbids it); it is here for issuers on a network of their own.
func Public(id string) Method { return public{redacted{"Public", id}} }

func (a public) Authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id)
	return nil
}

type mutualTLS struct {
	redacted
	cert func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// TLS authenticates with a client certificate that a CA vouches for
// (tls_client_auth, RFC 8705, section 2.1). Where the issuer publishes
// mtls_endpoint_aliases, they are used.
//
// certificate is called for each new connection, concurrently, and so can
// reload the certificate from disk or sign in a key service. It must not return
// nil without an error.
func TLS(id string, certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) Method {
	return mutualTLS{redacted{"TLS", id}, certificate}
}

// SelfSignedTLS authenticates with a client certificate that was registered with
// the issuer (self_signed_tls_client_auth, RFC 8705, section 2.2); otherwise it
// is like [TLS].
func SelfSignedTLS(id string, certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) Method {
	return mutualTLS{redacted{"SelfSignedTLS", id}, certificate}
}

func (a mutualTLS) Check() error {
	if a.cert == nil {
		return errors.Join(a.redacted.Check(), fmt.Errorf("clientauth: %s: certificate is nil", a.method))
	}
	return a.redacted.Check()
}

func (a mutualTLS) Certificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return a.cert
}

func (a mutualTLS) Authenticate(_ context.Context, _ string, _ http.Header, form url.Values) error {
	form.Set("client_id", a.id) // RFC 8705, section 2: required, the certificate need not name the client.
	return nil
}

type bearer struct {
	redacted
	source func(context.Context) (string, error)
}

// Bearer authenticates with an access token of this service's own
// (RFC 7662, section 2.1). id is the client that the token was issued to. source is
// called for each request, concurrently, and is expected to cache; its ctx carries the
// deadline of the request.
func Bearer(id string, source func(ctx context.Context) (string, error)) Method {
	return bearer{redacted{"Bearer", id}, source}
}

func (a bearer) Check() error {
	if a.source == nil {
		return errors.Join(a.redacted.Check(), errors.New("clientauth: Bearer: source is nil"))
	}
	return a.redacted.Check()
}

func (a bearer) Authenticate(ctx context.Context, _ string, h http.Header, _ url.Values) error {
	token, err := a.source(ctx)
	if err != nil {
		return fmt.Errorf("clientauth: no token to authenticate with: %w", err)
	}
	if !headers.IsVisible(token) {
		return errors.New("clientauth: the token to authenticate with is empty or cannot stand in a header")
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}
