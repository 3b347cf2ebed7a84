package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware"
)

// readResource reads what clients that know nothing but a URL are told (RFC 9728).
// Its keys are named as in the document that it becomes.
func (p *openIDConnect) readResource() {
	m := p.within("protected_resource_metadata")
	if m == nil {
		return
	}
	p.resource = &middleware.ProtectedResource{
		Identifier:           m.text("resource", ""),
		AuthorizationServers: m.texts("authorization_servers", p.issuers...),
		Scopes:               m.texts("scopes_supported"),
		Name:                 m.text("resource_name", ""),
		Documentation:        m.text("resource_documentation", ""),
		JWKSURI:              m.text("jwks_uri", ""),
	}
	switch u, err := url.Parse(p.resource.Identifier); {
	case !m.has("resource"):
		m.add(m.at, "%s: resource is missing", m.where)
	case err != nil || u.Scheme != "https" || u.Host == "":
		m.wrong("resource", "%q is not an https URL, which RFC 9728, section 1.2, demands", p.resource.Identifier)
	}
	for _, server := range p.resource.AuthorizationServers {
		if !slices.Contains(p.issuers, server) {
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

// documents are the metadata documents of all guards. They are at the URLs that
// clients make of the resources, whatever the routes say.
type documents []document9728

// document9728 is the metadata document of one resource.
type document9728 struct {
	host    string // in lower case, without the port that https has by default
	path    string // normal
	handler http.Handler
}

// add adds the document of a guard, unless it has none.
func (ds *documents) add(p *openIDConnect, guard *middleware.Guard) error {
	if p.resource == nil {
		return nil
	}
	mounted, document := guard.Metadata()
	path, err := normalPath(mounted)
	if err != nil {
		return fmt.Errorf("protected_resource_metadata.resource: %w", err)
	}
	u, err := url.Parse(p.resource.Identifier)
	if err != nil {
		return err
	}
	d := document9728{publicHost(u.Host), path, document}
	if slices.ContainsFunc(*ds, func(other document9728) bool { return other.host == d.host && other.path == d.path }) {
		return fmt.Errorf("protected_resource_metadata.resource: another plugin describes %q, and a resource has one description", p.resource.Identifier)
	}
	*ds = append(*ds, d)
	return nil
}

// find returns the handler of the document at a path, or nil. Of several at the
// same path, the host decides; of a single one it is no matter, since a terminator
// in front may have written another.
func (ds documents) find(host, path string) (found http.Handler) {
	host = publicHost(host)
	several := false
	for _, d := range ds {
		if d.path != path {
			continue
		}
		if d.host == host {
			return d.handler
		}
		several = found != nil
		found = d.handler
	}
	if several {
		return nil
	}
	return found
}

func publicHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }
