package kongfile

import (
	"net/url"
	"slices"
)

// Resource is what clients that know only a URL are told (RFC 9728).
type Resource struct {
	entity
	Identifier           string
	AuthorizationServers []string
	Scopes               []string
	Name                 string
	Documentation        string
	JWKSURI              string
}

// readResource reads the description of the resource. Its keys are named as in the
// document that it becomes.
func (p *OpenIDConnect) readResource() {
	m := p.m.within("protected_resource_metadata")
	if m == nil {
		return
	}
	p.Resource = &Resource{
		entity:               entity{m},
		Identifier:           m.text("resource", ""),
		AuthorizationServers: m.texts("authorization_servers", p.Issuers...),
		Scopes:               m.texts("scopes_supported"),
		Name:                 m.text("resource_name", ""),
		Documentation:        m.text("resource_documentation", ""),
		JWKSURI:              m.text("jwks_uri", ""),
	}
	switch u, err := url.Parse(p.Resource.Identifier); {
	case !m.has("resource"):
		m.mistake("resource is missing")
	case err != nil || u.Scheme != "https" || u.Host == "":
		m.wrong("resource", "%q is not an https URL, which RFC 9728, section 1.2, demands", p.Resource.Identifier)
	}
	for _, server := range p.Resource.AuthorizationServers {
		if !slices.Contains(p.Issuers, server) {
			m.wrong("authorization_servers", "%q is none of the issuers whose tokens are accepted", server)
		}
	}
	for _, method := range m.texts("bearer_methods_supported") {
		if method != "header" {
			m.wrong("bearer_methods_supported", "%q is refused on purpose: tokens come in the Authorization field only", method)
		}
	}
	m.done(whyNotInResource)
}

// whyNotInResource knows more about some keys than that they are not supported.
func whyNotInResource(key string) string {
	switch key {
	case "dpop_signing_alg_values_supported", "dpop_bound_access_tokens_required", "tls_client_certificate_bound_access_tokens":
		return "is refused on purpose: the document says what proof_of_possession_dpop and proof_of_possession_mtls say"
	}
	return ""
}
