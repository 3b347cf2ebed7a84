package mtlspop

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/peers"
)

// config gathers what the options say, and what is wrong with it.
type config struct {
	header   string // canonical
	format   Format
	prefixes []netip.Prefix
	trusted  *peers.Set // prefixes and unix, checked
	chains   []chainField

	unix       bool
	proxyPins  []string
	proxyRoots *x509.CertPool
	pins       []thumbprint // proxyPins, decoded

	roots         func() *x509.CertPool
	intermediates []*x509.Certificate
	partial       bool

	revocation RevocationChecker
	validity   bool

	given    map[string]bool
	mistakes []error
}

// configure applies opts and reports every mistake in them.
func configure(opts []Option) (*config, error) {
	c := &config{given: make(map[string]bool)}
	for i, opt := range opts {
		if opt == nil {
			c.mistake("option %d is nil", i)
			continue
		}
		opt.apply(c)
	}
	c.checkForwarding()
	c.checkProxy()
	c.checkRoots()
	return c, errors.Join(c.mistakes...)
}

func (c *config) mistake(format string, args ...any) {
	c.mistakes = append(c.mistakes, fmt.Errorf("mtlspop: "+format, args...))
}

// seen notes that an option was given.
func (c *config) seen(option string) {
	c.given[option] = true
}

// once notes that an option was given that stands for one setting.
func (c *config) once(option string) {
	if c.given[option] {
		c.mistake("%s is given twice", option)
	}
	c.seen(option)
}

// exclude reports options that say the same thing in different ways.
func (c *config) exclude(option, other string) {
	if c.given[option] && c.given[other] {
		c.mistake("%s and %s exclude each other", option, other)
	}
}

// needs reports an option that means nothing without another.
func (c *config) needs(option string, others ...string) {
	if !c.given[option] || slices.ContainsFunc(others, func(o string) bool { return c.given[o] }) {
		return
	}
	c.mistake("%s means nothing without %s", option, others[0])
}

// pool returns pool, after a look at whether anything is in it.
func (c *config) pool(option string, pool *x509.CertPool) *x509.CertPool {
	if pool == nil {
		c.mistake("%s: the pool is nil", option)
	} else if pool.Equal(x509.NewCertPool()) {
		c.mistake("%s: the pool is empty, and would refuse everybody", option)
	}
	return pool
}

// checkForwarding checks everything about the forwarded fields.
func (c *config) checkForwarding() {
	const forwarded = "WithForwardedCertificate"
	for _, option := range []string{"WithForwardedChain", "TrustUnixSocket", "WithProxyThumbprints", "WithProxyRoots"} {
		c.needs(option, forwarded)
	}
	if !c.given[forwarded] {
		return
	}
	if problem := c.format.problem(); problem != "" {
		c.mistake("%s: %v: %s", forwarded, c.format, problem)
	}
	if len(c.prefixes) == 0 && !c.unix {
		c.mistake("%s: no trusted prefix: there is no way to trust all peers", forwarded)
	}
	c.trusted = peers.New(c.prefixes, c.unix, func(problem string) {
		c.mistake("%s: trusted prefix %s", forwarded, problem)
	})
	c.addStandardChain()
	c.checkNames()
	c.checkThumbprintFormat()
}

// addStandardChain adds the companion that RFC 9440, section 2.3, gives to
// Client-Cert.
func (c *config) addStandardChain() {
	const chain = "Client-Cert-Chain"
	named := slices.ContainsFunc(c.chains, func(f chainField) bool { return f.name == chain })
	if c.header == "Client-Cert" && c.format == RFC9440 && !named {
		c.chains = append(c.chains, chainField{chain, RFC9440})
	}
}

// checkNames checks the names of the fields, and the formats of chains.
func (c *config) checkNames() {
	c.checkName("WithForwardedCertificate", c.header)
	names := map[string]bool{c.header: true}
	for _, chain := range c.chains {
		c.checkName("WithForwardedChain", chain.name)
		if names[chain.name] {
			c.mistake("WithForwardedChain: the field %q is named twice", chain.name)
		}
		names[chain.name] = true
		if !chain.format.isChain() {
			c.mistake("WithForwardedChain: %v is not a format of chains", chain.format)
		}
	}
}

// checkName refuses what cannot be a field that a terminator writes a
// certificate into, and that is taken away from other peers' requests.
func (c *config) checkName(option, canonical string) {
	switch canonical {
	case headers.Authorization, headers.DPoP, "Host", "Connection", "Cookie", "Content-Length", "Transfer-Encoding":
		c.mistake("%s: the field %q has another use", option, canonical)
	default:
		if !isToken(canonical) {
			c.mistake("%s: %q is not the name of a header field", option, canonical)
		}
	}
}

// checkThumbprintFormat refuses settings for which a thumbprint is not enough.
func (c *config) checkThumbprintFormat() {
	if !c.format.isThumbprint() {
		return
	}
	for _, option := range []string{"WithForwardedChain", "WithRoots", "WithRootsFunc", "WithRevocation", "RequireValidity"} {
		if c.given[option] {
			c.mistake("%s needs a certificate, and the format %v forwards none", option, c.format)
		}
	}
}

// checkProxy checks what is asked of the terminator's own certificate.
func (c *config) checkProxy() {
	c.exclude("WithProxyThumbprints", "WithProxyRoots")
	if c.given["WithProxyThumbprints"] && len(c.proxyPins) == 0 {
		c.mistake("WithProxyThumbprints: no thumbprint")
	}
	for _, x5t := range c.proxyPins {
		pin, ok := parseThumbprint(x5t)
		if !ok || pin == thumbprintOfNothing {
			c.mistake("WithProxyThumbprints: %q is not a thumbprint, as Thumbprint returns it", x5t)
		}
		c.pins = append(c.pins, pin)
	}
}

// checkRoots checks everything about chains.
func (c *config) checkRoots() {
	c.exclude("WithRoots", "WithRootsFunc")
	for _, option := range []string{"WithIntermediates", "WithPartialChains", "WithRevocation"} {
		c.needs(option, "WithRoots", "WithRootsFunc")
	}
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2), as the
// canonical form of net/http leaves it.
func isToken(s string) bool {
	// net/http does not canonicalise what is not a token.
	return s != "" && http.CanonicalHeaderKey(s) == s && !containsDelimiter(s)
}

func containsDelimiter(s string) bool {
	return slices.ContainsFunc([]byte(s), func(c byte) bool {
		return c <= ' ' || c >= 0x7f || slices.Contains([]byte(`"(),/:;<=>?@[\]{}`), c)
	})
}

// forwarding returns nil if only r.TLS counts.
func (c *config) forwarding() *forwarding {
	if !c.given["WithForwardedCertificate"] {
		return nil
	}
	f := &forwarding{
		names:  []string{c.header},
		format: c.format,
		chains: c.chains,
		from:   terminators{peers: c.trusted, proxy: c.proxy()},
	}
	for _, chain := range c.chains {
		f.names = append(f.names, chain.name)
	}
	return f
}

// proxy returns nil if a trusted address is enough.
func (c *config) proxy() *proxyCertificate {
	switch {
	case c.given["WithProxyRoots"]:
		pool := c.proxyRoots
		return &proxyCertificate{roots: &anchors{roots: func() *x509.CertPool { return pool }, partial: true}}
	case c.given["WithProxyThumbprints"]:
		return &proxyCertificate{pinned: c.pins}
	}
	return nil
}

// anchors returns nil if any issuer will do.
func (c *config) anchors() *anchors {
	if c.roots == nil {
		return nil
	}
	return &anchors{roots: c.roots, intermediates: c.intermediates, partial: c.partial}
}
