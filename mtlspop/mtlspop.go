// Package mtlspop answers "did this request come over the certificate the token is bound to?"
package mtlspop

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
)

// CONTRACT STUB: mtlspop's owner replaces this file, keeping these names.

type Verifier struct{}
type Option interface{ apply(*int) }

func New(opts ...Option) (*Verifier, error) { panic("stub") }

// Verify returns the client certificate of r if its SHA-256 thumbprint is x5t (canonical base64url, 43 characters).
func (v *Verifier) Verify(r *http.Request, x5t string) (*x509.Certificate, error) { panic("stub") }

// ForwardedHeaders returns the canonical names of the fields that v reads certificates from; nil if only r.TLS counts.
func (v *Verifier) ForwardedHeaders() []string { panic("stub") }

// TrustsPeer reports whether r's immediate peer may send the forwarded headers.
func (v *Verifier) TrustsPeer(r *http.Request) bool { panic("stub") }

func Thumbprint(cert *x509.Certificate) string { panic("stub") }

func RequestClientCert(c *tls.Config) *tls.Config { panic("stub") }

// BindingError says why a certificate does not prove possession; comparable with ==.
type BindingError uint8

const (
	_ BindingError = iota
	ErrNoCertificate
	ErrMismatch
	ErrMalformed // of the forwarded field, from a trusted peer
)

func (e BindingError) Error() string       { panic("stub") } // "mtlspop: " + Description
func (e BindingError) Code() string        { panic("stub") } // invalid_token; invalid_request for a malformed field; "" for a non-kind
func (e BindingError) Description() string { panic("stub") }
func (e BindingError) Hint() string        { panic("stub") }
