package mtlspop

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
)

// config gathers what the options say.
type config struct {
	*options.Set

	dialects []*dialect
	common   []dialectOption // given to New, for the only dialect

	roots         func() *x509.CertPool
	intermediates []*x509.Certificate
	partial       bool

	revocation RevocationChecker
	validity   bool
	mtlsPoP    bool
}

// configure applies opts and reports every mistake in them.
func configure(opts []Option) (*config, error) {
	c := &config{Set: options.For("mtlspop")}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	c.applyCommon()
	for _, d := range c.dialects {
		d.check()
		c.Join(d.Err())
	}
	c.checkOverlaps()
	c.checkThumbprints()
	c.checkRoots()
	return c, c.Err()
}

// exclude reports options that say the same thing in different ways.
func exclude(s *options.Set, option, other string) {
	if s.Given(option) && s.Given(other) {
		s.Problem("%s and %s exclude each other", option, other)
	}
}

// usable returns pool, after a look at whether anything is in it.
func usable(s *options.Set, option string, pool *x509.CertPool) *x509.CertPool {
	if options.Value(s, option, pool) && pool.Equal(x509.NewCertPool()) {
		s.Problem("%s: the pool is empty, and would refuse every certificate", option)
	}
	return pool
}

// applyCommon gives the only dialect the options that were given to New.
func (c *config) applyCommon() {
	for _, option := range c.common {
		switch len(c.dialects) {
		case 0:
			c.Problem("%s means nothing without WithForwardedCertificate", option.name)
		case 1:
			option.set(c.dialects[0])
		default:
			c.Problem("%s: there are several dialects: give it to the one that it is for, in WithDialect", option.name)
		}
	}
}

// checkOverlaps refuses dialects that could both be meant by one peer.
func (c *config) checkOverlaps() {
	for i, d := range c.dialects {
		for _, other := range c.dialects[:i] {
			if overlap := d.trusted.Overlap(other.trusted); overlap != "" {
				c.Problem("%s is given twice for the same peers: %s, in the dialects of %s and %s",
					d.option, overlap, other.header, d.header)
			}
		}
	}
}

// checkThumbprints refuses settings for which a thumbprint is not enough.
func (c *config) checkThumbprints() {
	for _, d := range c.dialects {
		if !d.format.isThumbprint() {
			continue
		}
		for _, option := range []string{"WithRoots", "WithRootsFunc", "WithRevocation", "RequireValidity"} {
			if c.Given(option) {
				c.Problem("%s needs a certificate, and the format %v forwards none", option, d.format)
			}
		}
	}
}

// checkRoots checks everything about chains.
func (c *config) checkRoots() {
	exclude(c.Set, "WithRoots", "WithRootsFunc")
	if c.Given("WithRoots") || c.Given("WithRootsFunc") {
		return
	}
	if len(c.intermediates) > 0 {
		c.Problem("WithIntermediates means nothing without WithRoots")
	}
	for _, option := range []string{"AllowPartialChains", "WithRevocation"} {
		if c.Given(option) {
			c.Problem("%s means nothing without WithRoots", option)
		}
	}
}

// anchors returns nil if any issuer will do.
func (c *config) anchors() *anchors {
	if c.roots == nil {
		return nil
	}
	return &anchors{roots: c.roots, intermediates: c.intermediates, partial: c.partial}
}

// dialect gathers what the options say about one kind of terminator.
type dialect struct {
	*options.Set
	option string // that began it

	header   string // canonical
	format   Format
	prefixes []netip.Prefix
	unix     bool
	chains   []chainField

	proxyPins  []thumbprint
	proxyRoots *x509.CertPool

	trusted *peers.Set // prefixes and unix, checked
}

func newDialect(option, header string, f Format) *dialect {
	return &dialect{Set: options.For("mtlspop"), option: option, header: http.CanonicalHeaderKey(header), format: f}
}

// check checks everything about the dialect that does not depend on others.
func (d *dialect) check() {
	if problem := d.format.problem(); problem != "" {
		d.Problem("%s: %v: %s", d.option, d.format, problem)
	}
	if len(d.prefixes) == 0 && !d.unix {
		d.Problem("%s: no trusted prefix for %s: there is no way to trust all peers", d.option, d.header)
	}
	d.trusted = peers.New(d.prefixes, d.unix, func(problem string) {
		d.Problem("%s: trusted prefix %s", d.option, problem)
	})
	d.addStandardChain()
	d.checkNames()
	exclude(d.Set, "WithProxyThumbprints", "WithProxyRoots")
	if d.format.isThumbprint() && len(d.chains) > 0 {
		d.Problem("WithForwardedChain needs a certificate, and the format %v forwards none", d.format)
	}
}

// addStandardChain adds the companion that RFC 9440, section 2.3, gives to
// Client-Cert.
func (d *dialect) addStandardChain() {
	const chain = "Client-Cert-Chain"
	named := slices.ContainsFunc(d.chains, func(f chainField) bool { return f.name == chain })
	if d.header == "Client-Cert" && d.format == RFC9440 && !named {
		d.chains = append(d.chains, chainField{chain, RFC9440})
	}
}

// checkNames checks the names of the fields, and the formats of chains.
func (d *dialect) checkNames() {
	d.checkName(d.option, d.header)
	names := map[string]bool{d.header: true}
	for _, chain := range d.chains {
		d.checkName("WithForwardedChain", chain.name)
		if names[chain.name] {
			d.Problem("WithForwardedChain: the field %q is named twice", chain.name)
		}
		names[chain.name] = true
		if !chain.format.isChain() {
			d.Problem("WithForwardedChain: %v is not a format of chains", chain.format)
		}
	}
}

// checkName refuses what cannot be a field that a terminator writes a
// certificate into, and that is taken away from other peers' requests.
func (d *dialect) checkName(option, canonical string) {
	switch canonical {
	case headers.Authorization, headers.DPoP, "Host", "Connection", "Cookie", "Content-Length", "Transfer-Encoding", "Upgrade":
		d.Problem("%s: the field %q has another use", option, canonical)
	default:
		if !isName(canonical) {
			d.Problem("%s: %q is not the name of a header field", option, canonical)
		}
	}
}

// pin reads the thumbprints of proxies.
func (d *dialect) pin(x5t []string) {
	if len(x5t) == 0 {
		d.Problem("WithProxyThumbprints: no thumbprint")
	}
	for _, text := range x5t {
		pin, ok := parseThumbprint(text)
		if !ok || pin == thumbprintOfNothing {
			d.Problem("WithProxyThumbprints: %q is not a thumbprint, as Thumbprint returns it", text)
			continue
		}
		d.proxyPins = append(d.proxyPins, pin)
	}
}

// forwarding is the dialect as a Verifier uses it.
func (d *dialect) forwarding() *forwarding {
	f := &forwarding{
		names:  []string{d.header},
		format: d.format,
		chains: d.chains,
		from:   terminators{peers: d.trusted, proxy: d.proxy()},
	}
	for _, chain := range d.chains {
		f.names = append(f.names, chain.name)
	}
	return f
}

// proxy returns nil if a trusted address is enough.
func (d *dialect) proxy() *proxyCertificate {
	switch {
	case d.proxyRoots != nil:
		return &proxyCertificate{roots: &anchors{roots: func() *x509.CertPool { return d.proxyRoots }, partial: true}}
	case len(d.proxyPins) > 0:
		return &proxyCertificate{pinned: d.proxyPins}
	}
	return nil
}

// isName reports whether s is the name of a field, in the canonical form of net/http.
func isName(s string) bool { return headers.IsToken(s) && http.CanonicalHeaderKey(s) == s }
