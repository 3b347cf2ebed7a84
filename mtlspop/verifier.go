package mtlspop

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/peers"
)

// Verifier checks that a request came over the client certificate that a
// token is bound to. It is safe for concurrent use; all of it is fixed by
// [New]. The zero Verifier reads the TLS connection of the request only, as
// New without options does.
type Verifier struct {
	forwarded  *forwarding       // nil: only r.TLS counts
	roots      *anchors          // nil: any issuer
	revocation RevocationChecker // nil: not checked; never without roots
	validity   bool              // refuse certificates outside their validity
}

// New returns a Verifier for certificates of direct TLS connections, unless
// options say otherwise. It reports every mistake in the options at once.
func New(opts ...Option) (*Verifier, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	return &Verifier{
		forwarded:  c.forwarding(),
		roots:      c.anchors(),
		revocation: c.revocation,
		validity:   c.validity,
	}, nil
}

// Verify returns the client certificate of r if its SHA-256 thumbprint is
// x5t, the value of the token's cnf member x5t#S256 (RFC 8705, section 3.1).
//
// Only the leaf counts: never another certificate of the chain. Where it comes
// from depends on the immediate peer alone. From a trusted peer it is the
// forwarded field and nothing else, so that a terminator's own TLS certificate
// is never taken for the client's. From anybody else the field is ignored, and
// it is the certificate of the TLS connection.
//
// The certificate is nil, beside a nil error, if the configured [Format]
// forwards no more than a thumbprint ([ThumbprintHex], [ThumbprintBase64URL],
// [XFCCThumbprint]): the binding is proven, and there is no certificate to
// hand out. In every other configuration a nil error comes with a certificate.
// It is shared with other requests: do not modify it.
//
// An error that is a [BindingError] is the client's, and the request must be
// refused. Any other error is the service's own: roots that are not loaded, a
// revocation server that does not answer, or an empty x5t, which is the
// caller's mistake. The request must be refused then too.
//
// Verify does not look at r.TLS.HandshakeComplete or early data: over
// crypto/tls, a request cannot arrive before the handshake is complete.
func (v *Verifier) Verify(r *http.Request, x5t string) (*x509.Certificate, error) {
	if x5t == "" {
		return nil, errNoThumbprint
	}
	want, ok := parseThumbprint(x5t)
	if !ok || want == thumbprintOfNothing {
		return nil, ErrThumbprint
	}
	if v.TrustsPeer(r) {
		return v.verifyForwarded(r, want)
	}
	return v.verifyTLS(r, want)
}

// verifyTLS checks the certificate of the connection that r came over.
func (v *Verifier) verifyTLS(r *http.Request, want thumbprint) (*x509.Certificate, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if v.forwarded.present(r.Header) {
			return nil, ErrPeerNotTrusted
		}
		return nil, ErrNoCertificate
	}
	leaf := r.TLS.PeerCertificates[0]
	if sum := thumbprint(sha256.Sum256(leaf.Raw)); !sum.equal(want) {
		return nil, ErrMismatch
	}
	others := func() ([]*x509.Certificate, error) { return r.TLS.PeerCertificates[1:], nil }
	if err := v.examine(r.Context(), leaf, want, others); err != nil {
		return nil, err
	}
	return leaf, nil
}

// verifyForwarded checks the certificate that the terminator in front says it
// has seen.
//
// Precondition: v trusts the peer of r.
func (v *Verifier) verifyForwarded(r *http.Request, want thumbprint) (*x509.Certificate, error) {
	f := v.forwarded
	p, err := f.read(r.Header)
	if err != nil {
		return nil, err
	}
	if !p.sum.equal(want) {
		// Something that is no certificate is the terminator's fault, not a
		// wrong certificate of the client.
		if p.leaf != nil {
			if _, err := x509.ParseCertificate(p.leaf); err != nil {
				return nil, ErrMalformed
			}
		}
		return nil, ErrMismatch
	}
	if p.leaf == nil {
		return nil, nil // A thumbprint is all that this format forwards.
	}
	leaf, err := f.certificate(p)
	if err != nil {
		return nil, err
	}
	others := func() ([]*x509.Certificate, error) { return f.intermediates(r.Header, p) }
	if err := v.examine(r.Context(), leaf, p.sum, others); err != nil {
		return nil, err
	}
	return leaf, nil
}

// examine asks for more than possession, where options do: validity, a chain
// to the roots, revocation. The chain's other certificates are only parsed if
// they are needed.
func (v *Verifier) examine(ctx context.Context, leaf *x509.Certificate, sum thumbprint, others func() ([]*x509.Certificate, error)) error {
	if v.validity && !validAt(leaf, time.Now()) {
		return ErrExpired
	}
	if v.roots == nil {
		return nil
	}
	chain, err := v.roots.chain(leaf, sum, others)
	if err != nil {
		return err
	}
	if v.revocation == nil {
		return nil
	}
	return checkRevocation(ctx, v.revocation, chain)
}

// ForwardedHeaders returns the canonical names of the fields that v reads
// forwarded certificates from: the field of the certificate first, then those
// of its chain. It is nil if only r.TLS counts. The slice is the caller's.
//
// Nobody but a trusted peer may send these fields. Remove them from all other
// requests before a handler sees them, together with any other spelling that
// the handler, or a program behind it, takes for the same name: net/http keeps
// X-Client_Cert apart from X-Client-Cert, CGI and WSGI do not.
//
// A response that depends on them is not for shared caches, unless they are
// in its Vary field (RFC 9440, section 2.4).
func (v *Verifier) ForwardedHeaders() []string {
	if v.forwarded == nil {
		return nil
	}
	return slices.Clone(v.forwarded.names)
}

// TrustsPeer reports whether the immediate peer of r may send the forwarded
// fields. It is false without [WithForwardedCertificate].
//
// The peer is judged by r.RemoteAddr and r.TLS, never by a header. Therefore
// the Guard must stand outside of any middleware that writes a header's
// content into RemoteAddr ("real IP", "proxy headers"): inside of one, clients
// choose their own RemoteAddr.
func (v *Verifier) TrustsPeer(r *http.Request) bool {
	return v.forwarded != nil && v.forwarded.from.trust(peers.Of(r), r.TLS)
}
