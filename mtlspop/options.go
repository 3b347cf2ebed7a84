package mtlspop

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"

	"github.com/keybound-go/middleware/internal/options"
)

// An Option is a setting for [New]. Given twice, it is a mistake, unless its
// comment says otherwise.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// A DialectOption is a setting for one kind of terminator, which [WithDialect] takes.
// Given to [New] it is for the dialect of the only [WithForwardedCertificate].
type DialectOption interface {
	Option
	dialect() dialectOption
}

type dialectOption struct {
	name string
	set  func(*dialect)
}

func (o dialectOption) apply(c *config)        { c.common = append(c.common, o) }
func (o dialectOption) dialect() dialectOption { return o }

// WithForwardedCertificate reads the client's certificate from a header field
// instead of the TLS connection, when the immediate peer is trusted: one of a
// TLS terminator's addresses. The header is what that terminator writes the
// certificate into; every format's comment has the line of configuration.
//
// The trusted prefixes, such as 10.1.2.3/32, are those of the peers of the TCP
// connection. There must be some, unless [TrustUnixSocket] is given. Prefixes that hold
// a large share of all addresses are refused: IPv4 wider than /8, IPv6 wider than /16
// (fc00::/7 and fe80::/10 may be whole). A peer that can connect from a trusted address
// can claim any certificate.
//
// A terminator that merely adds its field lets a client's field of the same
// name through, and one whose configuration forgets the field passes it on as
// it is. The first is refused here, since the field must come once; the second
// cannot be told from an honest field. See docs/terminators.md.
//
// It may be given several times, for several kinds of terminators in front of one
// service; see [WithDialect].
func WithForwardedCertificate(header string, f Format, trusted ...netip.Prefix) Option {
	trusted = slices.Clone(trusted)
	return optionFunc(func(c *config) {
		d := newDialect("WithForwardedCertificate", header, f)
		d.prefixes = trusted
		c.dialects = append(c.dialects, d)
	})
}

// WithDialect is [WithForwardedCertificate] with options of its own, for a service
// behind several kinds of terminators:
//
//	mtlspop.New(
//		mtlspop.WithDialect("Client-Cert", mtlspop.RFC9440, mtlspop.TrustUnixSocket()),
//		mtlspop.WithDialect("X-Amzn-Mtls-Clientcert-Leaf", mtlspop.PEM,
//			mtlspop.WithTrustedPeers(subnet), mtlspop.WithProxyRoots(pool)))
//
// It may be given several times, also beside WithForwardedCertificate. Each dialect is
// read from its own peers only: the fields of the other dialects are a client's in a
// request from them, and the Guard removes those ([Verifier.TrustedHeaders]). New
// refuses dialects whose peers overlap.
func WithDialect(header string, f Format, opts ...DialectOption) Option {
	opts = slices.Clone(opts)
	return optionFunc(func(c *config) {
		d := newDialect("WithDialect", header, f)
		options.Each(d.Set, opts, func(o DialectOption) { o.dialect().set(d) })
		c.dialects = append(c.dialects, d)
	})
}

// WithTrustedPeers trusts peers with an address in one of the prefixes, as
// [WithForwardedCertificate] does. It may be given several times.
func WithTrustedPeers(prefixes ...netip.Prefix) DialectOption {
	prefixes = slices.Clone(prefixes)
	return dialectOption{"WithTrustedPeers", func(d *dialect) {
		if len(prefixes) == 0 {
			d.Problem("WithTrustedPeers: no prefix")
		}
		d.prefixes = append(d.prefixes, prefixes...)
	}}
}

// TrustUnixSocket also trusts every peer that reaches this service through a
// unix socket: the permissions of the socket's file decide which processes do.
func TrustUnixSocket() DialectOption {
	return dialectOption{"TrustUnixSocket", func(d *dialect) {
		d.unix = d.Once("TrustUnixSocket") || d.unix
	}}
}

// WithForwardedChain names a field in which the terminator sends certificates between the
// client's and the root, for [WithRoots]. It may be given several times, for a terminator
// that needs several fields. Formats are [RFC9440], [PEM], [PEMChain], [DER] and
// [DERChain]; each of the certificates in them may itself be several, in concatenated
// DER.
//
//	HAProxy       http-request set-header Client-Cert-Chain :%[ssl_c_chain_der,base64]: if { ssl_c_used }   (RFC9440)
//	Apache        RequestHeader set X-Client-Chain0 "%{SSL_CLIENT_CERT_CHAIN_0}s"   (PEM)
//	Google Cloud  customRequestHeaders: "X-Client-Cert-Chain: {client_cert_chain}"   (RFC9440)
//
// HAProxy and Apache lose the chain, and only the chain, when TLS sessions are resumed:
// give the intermediates with [WithIntermediates] as well.
//
// It is not needed for Client-Cert-Chain beside Client-Cert in RFC9440, nor for formats
// that carry the chain in the certificate's own field.
func WithForwardedChain(header string, f Format) DialectOption {
	return dialectOption{"WithForwardedChain", func(d *dialect) {
		d.chains = append(d.chains, chainField{http.CanonicalHeaderKey(header), f})
	}}
}

// WithProxyThumbprints trusts a peer only if, beside its address, it presents
// one of these certificates on its own TLS connection to this service, whose
// [tls.Config] must ask for it ([RequestClientCert]). They are named by
// [Thumbprint]. Several are for the time of a change.
func WithProxyThumbprints(x5t ...string) DialectOption {
	x5t = slices.Clone(x5t)
	return dialectOption{"WithProxyThumbprints", func(d *dialect) {
		if d.Once("WithProxyThumbprints") {
			d.pin(x5t)
		}
	}}
}

// WithProxyRoots trusts a peer only if, beside its address, it presents a
// certificate on its own TLS connection to this service that has a chain to
// one of these roots, for client authentication. Every holder of such a
// certificate is taken for a terminator: the roots must issue to terminators
// alone.
//
// The pool must not be changed any more.
func WithProxyRoots(pool *x509.CertPool) DialectOption {
	return dialectOption{"WithProxyRoots", func(d *dialect) {
		d.proxyRoots = usable(d.Set, "WithProxyRoots", pool)
	}}
}

// WithRoots demands that the client's certificate has a chain to one of these
// roots, through what the client or the terminator sends and
// [WithIntermediates], every certificate within its validity, and usable for
// client authentication. RFC 8705 needs none of this for the binding (section 6.2). It
// holds for direct TLS and for forwarded certificates alike.
//
// The chains in r.TLS.VerifiedChains do not count: they are there only if the
// server itself verifies, to roots of its own, and never for what is forwarded.
//
// A chain that was good is remembered until one of its certificates expires.
// The pool must not be changed any more; see [WithRootsFunc].
func WithRoots(pool *x509.CertPool) Option {
	return optionFunc(func(c *config) {
		pool := usable(c.Set, "WithRoots", pool)
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
		if options.Value(c.Set, "WithRootsFunc", roots) {
			c.roots = roots
		}
	})
}

// WithIntermediates adds certificates for the way from the client's to the
// roots, for clients and terminators that send the leaf alone. They are not
// trusted by themselves. It may be given several times.
func WithIntermediates(certs ...*x509.Certificate) Option {
	certs = slices.Clone(certs)
	return optionFunc(func(c *config) {
		if len(certs) == 0 || slices.Contains(certs, nil) {
			c.Problem("WithIntermediates: no certificate, or a nil one")
			return
		}
		c.intermediates = append(c.intermediates, certs...)
	})
}

// AllowPartialChains lets a chain end at any certificate in the pool of roots,
// not just at one that is its own issuer: an intermediate, or the client's own
// certificate. (In Kong: allow_partial_chain.) It trusts no certificate that the
// operator has not put into the pool.
func AllowPartialChains() Option {
	return optionFunc(func(c *config) { c.partial = c.Once("AllowPartialChains") || c.partial })
}

// RequireValidity refuses certificates that are expired or not yet valid.
// Without it, and without [WithRoots], they are accepted: the thumbprint
// proves possession just the same, and neither RFC 8705 nor crypto/tls, asked
// for any certificate at all, looks at the dates.
func RequireValidity() Option {
	return optionFunc(func(c *config) { c.validity = c.Once("RequireValidity") || c.validity })
}

// WithRevocation asks a RevocationChecker about each chain that was found with
// [WithRoots], without which there is no issuer to ask. It takes what a constructor
// returns: WithRevocation(revocation.New()).
func WithRevocation(checker RevocationChecker, err error) Option {
	return optionFunc(func(c *config) {
		if options.Part(c.Set, "WithRevocation", checker, err) {
			c.revocation = checker
		}
	})
}

// AcceptMTLSPoP has a Guard take certificate-bound tokens under the scheme MTLS_POP
// besides Bearer, where RFC 8705, section 3, has them: Microsoft.Identity.Web sends
// tokens of Entra ID so. A token under this scheme must be bound to a certificate,
// whatever else the Guard accepts.
func AcceptMTLSPoP() Option {
	return optionFunc(func(c *config) { c.mtlsPoP = c.Once("AcceptMTLSPoP") || c.mtlsPoP })
}
