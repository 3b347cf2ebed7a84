package kongfile

import (
	"net"
	"strconv"
	"time"
)

// Certificate is what a plugin demands of client certificates.
type Certificate struct {
	Mode   string             // off, optional or strict
	Header *CertificateHeader // nil: certificates come with the TLS connection
	Chain  *ClientCertificate // of mtls-auth on all routes of the plugin; nil: chains are not verified
}

// CertificateHeader is how a terminator in front passes certificates on.
type CertificateHeader struct {
	entity
	Field  string
	Format string // url_encoded or base64_encoded
	Chain
}

// Chain is how the chain of a client certificate is verified.
type Chain struct {
	Authorities   []string // ids
	PartialChains bool
	Revocation    string            // SKIP, IGNORE_CA_ERROR or STRICT
	CacheTTL      time.Duration     // of revocation; 0: the library's
	FetchTimeout  time.Duration     // of revocation; 0: the library's
	Proxies       map[string]string // by scheme: the address of an HTTP proxy
}

// ClientCertificate is the configuration of one mtls-auth plugin.
type ClientCertificate struct {
	entity
	Chain
}

func (p *OpenIDConnect) readCertificate() {
	p.Certificate.Mode = p.m.oneOf("proof_of_possession_mtls", "off", "off", "optional", "strict")
	m := p.m.within("proof_of_possession_mtls_from_header")
	if m == nil {
		return
	}
	h := &CertificateHeader{entity: entity{m}}
	p.Certificate.Header = h
	if p.Certificate.Mode == "off" {
		p.Wrong("proof_of_possession_mtls_from_header", "needs proof_of_possession_mtls")
	}
	h.Field = m.text("certificate_header_name", "")
	if h.Field == "" {
		m.mistake("certificate_header_name is missing")
	}
	h.Format = m.oneOf("certificate_header_format", "url_encoded", "url_encoded", "base64_encoded")
	m.mustBe("secure_source", true, "any client could claim any certificate; name the terminator with -trusted-proxy")
	h.Chain = readChain(m)
	m.done(nil)
}

func readChain(m *mapping) (c Chain) {
	if c.Authorities = m.texts("ca_certificates"); len(c.Authorities) == 0 {
		m.wrong("ca_certificates", "needs the id of at least one CA")
	}
	m.mustBe("ssl_verify", true, "an attacker in between could keep revocations back")
	c.PartialChains = m.flag("allow_partial_chain", false)
	c.Revocation = m.oneOf("revocation_check_mode", "IGNORE_CA_ERROR", "SKIP", "IGNORE_CA_ERROR", "STRICT")
	c.CacheTTL = m.duration("cert_cache_ttl", time.Millisecond, 0)
	c.FetchTimeout = m.duration("http_timeout", time.Millisecond, 0)
	c.Proxies = make(map[string]string)
	for _, scheme := range []string{"http", "https"} {
		host, port := m.text(scheme+"_proxy_host", ""), m.integer(scheme+"_proxy_port", 0, 1, 65535)
		switch {
		case (host == "") != (port == 0):
			m.mistake("%s_proxy_host and %s_proxy_port need each other", scheme, scheme)
		case host != "":
			c.Proxies[scheme] = net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	return c
}

// mtlsAuthKeys are the keys of mtls-auth.
var mtlsAuthKeys = byName([]Key{
	{Name: "allow_partial_chain", Default: "false"}, {Name: "revocation_check_mode", Default: `"IGNORE_CA_ERROR"`}, {Name: "ssl_verify", Default: "true"},
	{Name: "cert_cache_ttl", Default: "60000"}, {Name: "http_timeout", Default: "30000"},
	{Name: "skip_consumer_lookup", Default: "false"},
	{Name: "consumer_by", Default: `["username", "custom_id"]`, Why: noConsumers},
	{Name: "default_consumer", Why: noConsumers},
	{Name: "anonymous", Why: "is not supported: a request without a good certificate is refused; a route without the plugin needs none"},
	{Name: "authenticated_group_by", Default: `"CN"`, Why: noConsumers},
	{Name: "cache_ttl", Default: "60", Why: noConsumers},
	{Name: "send_ca_dn", Default: "false", Why: "is not supported: clients are not told which CAs count; leave the key out"},
})

// readClientCertificate reads mtls-auth, as far as it verifies certificates.
func readClientCertificate(m *mapping) *ClientCertificate {
	m.known = mtlsAuthKeys
	m.flag("skip_consumer_lookup", false) // there are none to look up
	c := &ClientCertificate{entity{m}, readChain(m)}
	m.done(nil)
	return c
}

// checkMTLSAuth gives the certificates of mtls-auth to the plugins that check what
// tokens are bound to. Alone, mtls-auth says who calls by a consumer, and there are
// none.
func (f *File) checkMTLSAuth() {
	used := make(map[*Plugin]bool)
	for _, s := range f.Services {
		for _, r := range s.Routes {
			auth, p := f.ClientCertificateOf(r), f.OpenIDOf(r)
			if auth == nil {
				continue
			}
			if !used[auth] {
				f.warn(auth.Place(), auth.Place().Path+": consumers are not looked up: the token says who calls, and the certificate has to be the one that it is bound to")
			}
			used[auth] = true
			switch {
			case p == nil || p.OpenID.Certificate.Mode == "off":
				auth.Mistake("route %s has mtls-auth alone, which knows clients by consumers, and there are none; add openid-connect with proof_of_possession_mtls, which binds tokens to certificates", r)
			case p.OpenID.Certificate.Header != nil:
				auth.Mistake("route %s has certificates from a header, whose chain proof_of_possession_mtls_from_header verifies; leave mtls-auth out", r)
			case p.OpenID.Certificate.Chain != nil && p.OpenID.Certificate.Chain != auth.ClientCertificate:
				auth.Mistake("route %s shares its openid-connect plugin with a route that has another mtls-auth; give each route its own", r)
			default:
				p.OpenID.Certificate.Chain = auth.ClientCertificate
				p.Broken = p.Broken || auth.Broken
			}
		}
	}
	for _, s := range f.Services {
		for _, r := range s.Routes {
			if p := f.OpenIDOf(r); p != nil && p.OpenID.Certificate.Chain != nil && f.ClientCertificateOf(r) == nil {
				p.Mistake("route %s has no mtls-auth, and another route of this plugin has; give each its own openid-connect", r)
			}
		}
	}
	for _, p := range f.Attached {
		if p.ClientCertificate != nil && p.Enabled && !used[p] {
			f.warn(p.Place(), p.Place().Path+" is attached to no route")
		}
	}
}
