package mtlspop

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
)

// An Option is a setting for [New]. Given twice, it is a mistake, unless its
// comment says otherwise.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithForwardedCertificate reads the client's certificate from a header field
// instead of the TLS connection, when the immediate peer is trusted: one of a
// TLS terminator's addresses. The header is what that terminator writes the
// certificate into; every format's comment has the line of configuration.
//
// The trusted prefixes, such as 10.1.2.3/32, are those of the peers of the TCP
// connection. There must be some, unless [TrustUnixSocket] is given, and they
// must be narrow: prefixes that hold a large part of all addresses are
// refused, and there is no way to trust everybody. Anyone who can connect from
// a trusted address can claim any certificate.
//
// A terminator that merely adds its field lets a client's field of the same
// name through, and one whose configuration forgets the field passes it on as
// it is. The first is refused here, since the field must come once; the second
// cannot be told from an honest field. See docs/terminators.md.
func WithForwardedCertificate(header string, f Format, trusted ...netip.Prefix) Option {
	trusted = slices.Clone(trusted)
	return optionFunc(func(c *config) {
		c.once("WithForwardedCertificate")
		c.header, c.format, c.prefixes = http.CanonicalHeaderKey(header), f, trusted
	})
}

// WithForwardedChain names a field in which the terminator sends certificates
// between the client's and the root, for [WithRoots]. It may be given several
// times, for a terminator that needs several fields. Formats are [RFC9440],
// [PEM], [PEMChain], [DER] and [DERChain]; each of the certificates in them
// may itself be several, in concatenated DER.
//
//	HAProxy       http-request set-header Client-Cert-Chain :%[ssl_c_chain_der,base64]: if { ssl_c_used }   (RFC9440)
//	Apache        RequestHeader set X-Client-Chain0 "%{SSL_CLIENT_CERT_CHAIN_0}s"   (PEM)
//	Google Cloud  customRequestHeaders: "X-Client-Cert-Chain: {client_cert_chain}"   (RFC9440)
//
// HAProxy and Apache lose the chain, and only the chain, when TLS sessions are
// resumed: give the intermediates with [WithIntermediates] as well.
//
// It is not needed for Client-Cert-Chain beside Client-Cert in RFC9440, nor
// for formats that carry the chain in the certificate's own field.
func WithForwardedChain(header string, f Format) Option {
	return optionFunc(func(c *config) {
		c.seen("WithForwardedChain")
		c.chains = append(c.chains, chainField{http.CanonicalHeaderKey(header), f})
	})
}

// TrustUnixSocket also trusts every peer that reaches this service through a
// unix socket: the permissions of the socket's file decide who that is.
func TrustUnixSocket() Option {
	return optionFunc(func(c *config) {
		c.once("TrustUnixSocket")
		c.unix = true
	})
}

// WithProxyThumbprints trusts a peer only if, beside its address, it presents
// one of these certificates on its own TLS connection to this service, whose
// [tls.Config] must ask for it ([RequestClientCert]). They are named by
// [Thumbprint]. Several are for the time of a change.
func WithProxyThumbprints(x5t ...string) Option {
	x5t = slices.Clone(x5t)
	return optionFunc(func(c *config) {
		c.once("WithProxyThumbprints")
		c.proxyPins = x5t
	})
}

// WithProxyRoots trusts a peer only if, beside its address, it presents a
// certificate on its own TLS connection to this service that has a chain to
// one of these roots, for client authentication. Whoever holds such a
// certificate is taken for a terminator: the roots must issue to terminators
// and nobody else.
//
// The pool must not be changed any more.
func WithProxyRoots(pool *x509.CertPool) Option {
	return optionFunc(func(c *config) {
		c.once("WithProxyRoots")
		c.proxyRoots = c.pool("WithProxyRoots", pool)
	})
}

// WithRoots demands that the client's certificate has a chain to one of these
// roots, through what the client or the terminator sends and
// [WithIntermediates], every certificate within its validity, and usable for
// client authentication. RFC 8705 needs none of this for the binding (section
// 6.2). It holds for direct TLS and for forwarded certificates alike.
//
// The chains in r.TLS.VerifiedChains do not count: they are there only if the
// server itself verifies, to roots of its own, and never for what is forwarded.
//
// A chain that was good is remembered until one of its certificates expires.
// The pool must not be changed any more; see [WithRootsFunc].
func WithRoots(pool *x509.CertPool) Option {
	return optionFunc(func(c *config) {
		c.once("WithRoots")
		pool := c.pool("WithRoots", pool)
		c.roots = func() *x509.CertPool { return pool }
	})
}

// WithRootsFunc is [WithRoots] for roots that are replaced while the service
// runs:
//
//	var roots atomic.Pointer[x509.CertPool] // stored at start and at each change
//	mtlspop.New(mtlspop.WithRootsFunc(roots.Load))
//
// The function is called for every certificate that is verified, from many
// goroutines, and must not block. Another pool is known by its address: what
// it returned before must not be changed. While it returns nil, certificates
// cannot be verified, which is the service's error and not the client's; the
// system's roots are never used.
func WithRootsFunc(roots func() *x509.CertPool) Option {
	return optionFunc(func(c *config) {
		c.once("WithRootsFunc")
		if roots == nil {
			c.mistake("WithRootsFunc: the function is nil")
		}
		c.roots = roots
	})
}

// WithIntermediates adds certificates for the way from the client's to the
// roots, for clients and terminators that send the leaf alone. They are not
// trusted by themselves. It may be given several times.
func WithIntermediates(certs ...*x509.Certificate) Option {
	certs = slices.Clone(certs)
	return optionFunc(func(c *config) {
		c.seen("WithIntermediates")
		if len(certs) == 0 || slices.Contains(certs, nil) {
			c.mistake("WithIntermediates: no certificate, or a nil one")
			return
		}
		c.intermediates = append(c.intermediates, certs...)
	})
}

// WithPartialChains lets a chain end at any certificate in the pool of roots,
// not just at one that is its own issuer: an intermediate, or the client's own
// certificate. (In Kong: allow_partial_chain.)
func WithPartialChains() Option {
	return optionFunc(func(c *config) {
		c.once("WithPartialChains")
		c.partial = true
	})
}

// RequireValidity refuses certificates that are expired or not yet valid.
// Without it, and without [WithRoots], they are accepted: the thumbprint
// proves possession just the same, and neither RFC 8705 nor crypto/tls, asked
// for a certificate from anybody, looks at the dates.
func RequireValidity() Option {
	return optionFunc(func(c *config) {
		c.once("RequireValidity")
		c.validity = true
	})
}

// WithRevocation asks a RevocationChecker about each chain that was found with
// [WithRoots], without which there is no issuer to ask.
func WithRevocation(checker RevocationChecker) Option {
	return optionFunc(func(c *config) {
		c.once("WithRevocation")
		if checker == nil {
			c.mistake("WithRevocation: the checker is nil")
		}
		c.revocation = checker
	})
}
