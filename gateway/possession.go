package main

import "time"

// certificate is what the plugin demands of client certificates.
type certificate struct {
	mtls   string   // off, optional or strict
	header *mapping // nil: certificates come with the TLS connection

	field         string
	format        string   // url_encoded or base64_encoded
	authorities   []string // ids
	partialChains bool
	revocation    string
	cacheTTL      time.Duration // 0: the library's
	fetchTimeout  time.Duration
	proxies       map[string]string // by scheme: the address of an HTTP proxy
}

func (p *openIDConnect) readCertificate() {
	p.mtls = p.oneOf("proof_of_possession_mtls", "off", "off", "optional", "strict")
	m := p.within("proof_of_possession_mtls_from_header")
	if m == nil {
		return
	}
	p.header = m
	if p.mtls == "off" {
		p.wrong("proof_of_possession_mtls_from_header", "needs proof_of_possession_mtls")
	}
	p.field = m.text("certificate_header_name", "")
	if p.field == "" {
		m.add(m.at, "%s: certificate_header_name is missing", m.where)
	}
	p.format = m.oneOf("certificate_header_format", "url_encoded", "url_encoded", "base64_encoded")
	if p.authorities = m.texts("ca_certificates"); len(p.authorities) == 0 {
		m.wrong("ca_certificates", "needs the id of at least one CA")
	}
	m.mustBe("secure_source", true, "anybody could claim any certificate; name the terminator with -trusted-proxy")
	m.mustBe("ssl_verify", true, "whoever is in between could keep revocations back")
	p.partialChains = m.flag("allow_partial_chain", false)
	p.revocation = m.oneOf("revocation_check_mode", "IGNORE_CA_ERROR", "SKIP", "IGNORE_CA_ERROR", "STRICT")
	p.cacheTTL = m.duration("cert_cache_ttl", time.Millisecond, 0)
	p.fetchTimeout = m.duration("http_timeout", time.Millisecond, 0)
	p.readProxies(m)
	m.done(nil)
}

// readProxies reads the two pairs x_proxy_host and x_proxy_port.
func (p *openIDConnect) readProxies(m *mapping) {
	p.proxies = make(map[string]string)
	for _, scheme := range []string{"http", "https"} {
		host, port := m.text(scheme+"_proxy_host", ""), m.number(scheme+"_proxy_port")
		switch {
		case (host == "") != (port == 0):
			m.add(m.at, "%s: %s_proxy_host and %s_proxy_port need each other", m.where, scheme, scheme)
		case host != "":
			p.proxies[scheme] = joinHostPort(host, port)
		}
	}
}
