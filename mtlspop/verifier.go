package mtlspop

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/peers"
)

// Verifier checks that a request came over the client certificate that a
// token is bound to. It is safe for concurrent use; [New] fixes all of it. The
// zero Verifier refuses every request.
type Verifier struct {
	made       bool              // by New
	dialects   []*forwarding     // none: only the TLS connection counts
	names      []string          // of the fields of all dialects
	roots      *anchors          // nil: any issuer
	revocation RevocationChecker // nil: not checked; never without roots
	validity   bool              // refuse certificates outside their validity
	mtlsPoP    bool              // takes tokens under the scheme of that name
}

// New returns a Verifier for certificates of direct TLS connections, unless
// options say otherwise. It reports every mistake in the options at once.
func New(opts ...Option) (*Verifier, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		made:       true,
		roots:      c.anchors(),
		revocation: c.revocation,
		validity:   c.validity,
		mtlsPoP:    c.mtlsPoP,
	}
	for _, d := range c.dialects {
		f := d.forwarding()
		v.dialects = append(v.dialects, f)
		for _, name := range f.names {
			if !slices.Contains(v.names, name) {
				v.names = append(v.names, name)
			}
		}
	}
	return v, nil
}

// A Request is what a Verifier looks at, in a form that does not depend on the
// transport. [RequestOf] makes it from a request of net/http.
type Request struct {
	// Header holds at least the fields that [Verifier.ForwardedHeaders] names,
	// under those names, with every value that was sent.
	Header http.Header

	// TLS is the connection between the immediate peer and this service; nil if
	// that peer did not use TLS.
	TLS *tls.ConnectionState

	// RemoteAddr is the transport address of the immediate peer, "IP:port". Never
	// take it from a header field.
	RemoteAddr string

	// LocalAddr is this service's end of the connection. Its network tells a unix
	// socket from TCP; without it RemoteAddr is taken for an IP address of the
	// peer, which a peer on a unix socket can choose.
	LocalAddr net.Addr
}

// String names the peer and the fields, and no value of them: some are credentials.
func (q Request) String() string {
	names := slices.Sorted(maps.Keys(q.Header))
	return fmt.Sprintf("mtlspop.Request{from %q, TLS: %t, fields: %q}", q.RemoteAddr, q.TLS != nil, names)
}

// Format prints the same as String, whatever the verb.
func (q Request) Format(s fmt.State, _ rune) { io.WriteString(s, q.String()) }

// LogValue keeps slog from printing the fields.
func (q Request) LogValue() slog.Value { return slog.StringValue(q.String()) }

// MarshalText keeps encoding/json from printing the fields.
func (q Request) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// RequestOf returns the Request that r is. It shares the header and the TLS state
// with r.
func RequestOf(r *http.Request) Request {
	p := peers.Of(r)
	return Request{Header: r.Header, TLS: r.TLS, RemoteAddr: p.RemoteAddr, LocalAddr: p.LocalAddr}
}

// Evidence is what proved that a request came over the certificate that a token is
// bound to. It is shared with other requests: do not modify what it points to.
type Evidence struct {
	// Thumbprint is the x5t#S256 that was asked for, as it was spelt. It is not
	// empty if there is no error.
	Thumbprint string

	// Certificate is the client's certificate. It is nil beside a nil error if the
	// configured [Format] forwards only a thumbprint ([ThumbprintHex],
	// [ThumbprintBase64URL], [XFCCThumbprint]), and if crypto/x509 cannot parse the
	// certificate that a terminator forwarded, such as one with a brainpool key or
	// a negative serial number. The binding is proven all the same. It is never
	// nil under [WithRoots], [WithRootsFunc] or [RequireValidity].
	Certificate *x509.Certificate

	// DER is the certificate as it came, also where Certificate is nil because it
	// could not be parsed. It is nil if only a thumbprint was forwarded.
	DER []byte
}

// Verify is [Verifier.VerifyRequest] for a request of net/http.
func (v *Verifier) Verify(r *http.Request, x5t string) (Evidence, error) {
	return v.VerifyRequest(r.Context(), RequestOf(r), x5t)
}

// VerifyRequest returns the Evidence that q came over the client certificate whose
// SHA-256 thumbprint is x5t, the value of the token's cnf member x5t#S256
// (RFC 8705, section 3.1). The context is for the [RevocationChecker].
//
// Only the leaf counts: never another certificate of the chain. Where it comes from
// depends on the immediate peer alone. From a trusted peer it is the forwarded field
// and nothing else, so that a terminator's own TLS certificate is never taken for the
// client's. From any other peer the field is ignored, and it is the certificate of the
// TLS connection.
//
// An error that is a [BindingError] is the client's, and the request must be refused.
// Any other error is the service's own: the zero Verifier, roots that are not loaded, a
// revocation server that does not answer, or an empty x5t, which is the caller's
// mistake. The request must be refused then too. With an error the Evidence is empty.
//
// VerifyRequest does not look at TLS.HandshakeComplete or early data: over crypto/tls,
// a request cannot arrive before the handshake is complete.
// The thumbprint may come from a JWT or from an introspection answer
// (RFC 8705, section 3.2). Another certificate of the same client does not do
// (RFC 8705, section 6.3).
func (v *Verifier) VerifyRequest(ctx context.Context, q Request, x5t string) (Evidence, error) {
	if v == nil || !v.made {
		return Evidence{}, errZeroVerifier
	}
	if x5t == "" {
		return Evidence{}, errNoThumbprint
	}
	want, ok := parseThumbprint(x5t)
	if !ok || want == thumbprintOfNothing {
		return Evidence{}, ErrThumbprint
	}
	var e Evidence
	var err error
	if f := v.dialectOf(q); f != nil {
		e, err = v.verifyForwarded(ctx, f, q, want)
	} else {
		e, err = v.verifyTLS(ctx, q, want)
	}
	if err != nil {
		return Evidence{}, err
	}
	e.Thumbprint = x5t
	return e, nil
}

var errZeroVerifier = errors.New("mtlspop: the zero Verifier refuses every request: make one with New")

// verifyTLS checks the certificate of the connection that q came over. A resumed
// connection still shows it (RFC 9440, section 3.3).
func (v *Verifier) verifyTLS(ctx context.Context, q Request, want thumbprint) (Evidence, error) {
	if q.TLS == nil || len(q.TLS.PeerCertificates) == 0 {
		if v.claimed(q.Header) {
			return Evidence{}, ErrPeerNotTrusted
		}
		return Evidence{}, ErrNoCertificate
	}
	leaf := q.TLS.PeerCertificates[0]
	if sum := thumbprint(sha256.Sum256(leaf.Raw)); !sum.equal(want) {
		return Evidence{}, ErrMismatch
	}
	others := func() ([]*x509.Certificate, error) { return q.TLS.PeerCertificates[1:], nil }
	return Evidence{Certificate: leaf, DER: leaf.Raw}, v.examine(ctx, leaf, want, others)
}

// verifyForwarded checks the certificate that the terminator in front says it
// has seen.
//
// Precondition: f is the dialect of the peer of q.
// The certificate of the connection is then the terminator's and not the client's
// (RFC 9440, section 1).
func (v *Verifier) verifyForwarded(ctx context.Context, f *forwarding, q Request, want thumbprint) (Evidence, error) {
	p, err := f.read(q.Header)
	if err != nil {
		return Evidence{}, err
	}
	if !p.sum.equal(want) {
		// What has not even the outline of a certificate is the terminator's
		// fault, and not a wrong certificate of the client.
		if p.leaf != nil && !isSequence(p.leaf) {
			return Evidence{}, ErrMalformed
		}
		return Evidence{}, ErrMismatch
	}
	if p.leaf == nil {
		return Evidence{}, nil // A thumbprint is all that this format forwards.
	}
	leaf := f.certificate(p)
	others := func() ([]*x509.Certificate, error) { return f.intermediates(q.Header, p) }
	return Evidence{Certificate: leaf, DER: p.leaf}, v.examine(ctx, leaf, p.sum, others)
}

// examine asks for more than possession, where options do: validity, a chain
// to the roots, revocation. The chain's other certificates are only parsed if
// they are needed. The leaf is nil if it could not be parsed.
func (v *Verifier) examine(ctx context.Context, leaf *x509.Certificate, sum thumbprint, others func() ([]*x509.Certificate, error)) error {
	switch {
	case !v.validity && v.roots == nil:
		return nil
	case leaf == nil:
		return ErrUnparsable
	case v.validity && !validAt(leaf, time.Now()):
		return ErrExpired
	case v.roots == nil:
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

// AcceptsMTLSPoP reports whether [AcceptMTLSPoP] was given. A nil Verifier reports false.
func (v *Verifier) AcceptsMTLSPoP() bool { return v != nil && v.mtlsPoP }

// ForwardedHeaders returns the canonical names of the fields that v reads
// forwarded certificates from: for each dialect the field of the certificate, then
// those of its chain. It is nil if only the TLS connection counts. The slice is the
// caller's.
//
// Only a trusted peer may send these fields. Remove them from all other requests
// before a handler sees them, together with any other spelling that the handler, or a
// program behind it, takes for the same name: net/http keeps X-Client_Cert apart from
// X-Client-Cert, CGI and WSGI do not.
//
// A response that depends on them is not for shared caches, unless they are
// in its Vary field (RFC 9440, section 2.4).
func (v *Verifier) ForwardedHeaders() []string {
	if v == nil {
		return nil
	}
	return slices.Clone(v.names)
}

// TrustsPeer reports whether the immediate peer of r may send forwarded fields. It is
// false without [WithForwardedCertificate] and [WithDialect].
//
// The peer is judged by the network of the connection, r.RemoteAddr and r.TLS, never
// by a header. Therefore the Guard must stand outside of any middleware that writes a
// header's content into RemoteAddr ("real IP", "proxy headers"): inside of one, clients
// choose their own RemoteAddr.
func (v *Verifier) TrustsPeer(r *http.Request) bool { return v.dialectOf(RequestOf(r)) != nil }

// TrustedHeaders returns those of [Verifier.ForwardedHeaders] that the immediate peer
// of q may send: the fields of its own dialect, and nil if that peer is not trusted.
// Whatever else of them is in q came from a client. The slice is shared: do not modify
// it.
func (v *Verifier) TrustedHeaders(q Request) []string {
	if f := v.dialectOf(q); f != nil {
		return f.names
	}
	return nil
}

// dialectOf returns the dialect of the immediate peer of q, or nil if that peer is not
// trusted.
// A field counts only if the trusted peer itself sent it (RFC 9440, section 4;
// RFC 9700, section 4.13).
func (v *Verifier) dialectOf(q Request) *forwarding {
	if v == nil {
		return nil
	}
	peer := peers.Peer{RemoteAddr: q.RemoteAddr, LocalAddr: q.LocalAddr}
	for _, f := range v.dialects {
		if f.from.trust(peer, q.TLS) {
			return f
		}
	}
	return nil
}

// claimed reports whether a request has any forwarded field, for whatever that is
// worth: it is asked about peers that are not trusted.
func (v *Verifier) claimed(h http.Header) bool {
	return slices.ContainsFunc(v.names, func(name string) bool { return len(h[name]) > 0 })
}
