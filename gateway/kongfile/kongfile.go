// Package kongfile answers: what does a declarative configuration of Kong Gateway
// say, and is all of it understood?
//
//	file := kongfile.Read(os.LookupEnv, kongfile.Source{Name: "kong.yaml", Text: text})
//	if err := file.Problems.Err(); err != nil { ... }
//
// What comes out are plain settings with the places where they stand. Every key that
// is not understood is a mistake with its line: a setting that a gateway drops in
// silence is a route that is open. The keys of Kong's openid-connect plugin are in
// one table, [Keys].
//
// This package makes no guards and touches no network: whether an issuer exists, or
// whether the settings suit the library that will enforce them, shows later. The Wrong
// and Mistake of what was read then report the fault, with its line.
package kongfile

import (
	"crypto/tls"
	"crypto/x509"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Source is one file.
type Source struct {
	Name string // for messages
	Text []byte
}

// File is what the files of one configuration say together.
type File struct {
	Services     []*Service
	Plugins      Plugins                      // those that are attached to everything
	Attached     []*Plugin                    // all, in the order of their lines
	Authorities  map[string]*x509.Certificate // by id
	Certificates map[string]*tls.Certificate  // by id
	Warnings     []Warning
	Problems     Problems

	top []*mapping
}

// Read reads files and merges them as decK does: the lists of one follow those of
// the other. lookup finds variables of the environment. The mistakes are in the
// Problems of the result.
func Read(lookup func(string) (string, bool), sources ...Source) *File {
	return read(lookup, false, sources)
}

func read(lookup func(string) (string, bool), anyForm bool, sources []Source) *File {
	f := &File{Authorities: make(map[string]*x509.Certificate), Certificates: make(map[string]*tls.Certificate)}
	for i, source := range sources {
		env, marked := newEnvironment(source.Text, lookup)
		d := &document{Problems: &f.Problems, name: source.Name, order: i, env: env}
		var documents []*yaml.Node
		if anyForm {
			documents = d.forms(marked)
		} else {
			documents = d.open(marked)
		}
		for _, n := range documents {
			if n == nil {
				continue // a mistake that is noted
			}
			if m := d.mapping(n, ""); m != nil {
				m.known = topKeys
				f.top = append(f.top, m)
			}
		}
	}
	if len(f.top) > 0 {
		f.readTop()
	}
	return f
}

func (f *File) readTop() {
	first := f.top[0]
	if !slices.ContainsFunc(f.top, func(m *mapping) bool { return m.has("_format_version") }) {
		first.mistake(`_format_version is missing: it has to be "3.0"`)
	}
	for _, m := range f.top {
		m.oneOf("_format_version", "", "3.0")
		m.flag("_transform", true)
		m.ignore("_comment", "_konnect", "_workspace", "_ignore")
		readInfo(m)
	}
	f.each("ca_certificates", f.readAuthority)
	f.each("certificates", f.readCertificate)
	f.each("services", func(m *mapping) { f.Services = append(f.Services, f.readService(m)) })
	f.each("routes", f.readLooseRoute)
	f.each("plugins", f.readLoosePlugin)
	for _, m := range f.top {
		m.done(nil)
	}
	f.checkNames()
	f.checkReferences()
	f.checkSessions()
	f.checkMTLSAuth()
}

// RequireService notes a mistake if there is no service to forward to.
func (f *File) RequireService() {
	if len(f.Services) == 0 && len(f.top) > 0 {
		f.top[0].mistake("there is no service to forward to: Kong keeps them in its database; give the file that has them as well, by another -config, or add them here")
	}
}

// each reads the elements of a list of all files.
func (f *File) each(key string, read func(*mapping)) {
	for _, m := range f.top {
		for _, element := range m.list(key) {
			read(element)
		}
	}
}

// readInfo reads what decK writes about a dump.
func readInfo(m *mapping) {
	info := m.within("_info")
	if info == nil {
		return
	}
	info.ignore("select_tags", "lookup_selector_tags")
	info.known = byName([]Key{{Name: "defaults", Type: "record", Why: "is not supported: write the values out, as a dump without -s does"}})
	info.done(nil)
}

// topKeys are the lists of a file that are not supported, unless they are empty.
var topKeys = byName([]Key{
	{Name: "consumers", Why: "is not supported: there are no consumers; a service reads the claims of the token from upstream_headers, in Go from middleware.FromContext"},
	{Name: "consumer_groups", Why: "is not supported: there are no consumers; demand groups of the token by groups_required"},
	{Name: "upstreams", Why: "is not supported: a service has one address; put a load balancer there"},
	{Name: "targets", Why: "is not supported: a service has one address; put a load balancer there"},
	{Name: "vaults", Why: "is not supported: refer to the environment, by {vault://env/NAME}"},
	{Name: "snis", Why: "is not supported: the gateway has the certificate of -tls-cert"},
	{Name: "_plugin_configs", Why: "is not supported: write the configuration into each plugin"},
	{Name: "_defaults"}, {Name: "licenses"}, {Name: "rbac_roles"}, {Name: "rbac_endpoints"}, {Name: "filter_chains"}, {Name: "keys"}, {Name: "key_sets"},
	{Name: "partials"}, {Name: "degraphql_routes"}, {Name: "graphql_ratelimiting_cost_decorations"}, {Name: "document_objects"},
	{Name: "basicauth_credentials"}, {Name: "keyauth_credentials"}, {Name: "oauth2_credentials"}, {Name: "hmacauth_credentials"}, {Name: "jwt_secrets"},
	{Name: "acls"}, {Name: "mtls_auth_credentials"}, {Name: "service_packages"}, {Name: "custom_entities"},
})

func (f *File) warn(at Place, text string) { f.Warnings = append(f.Warnings, Warning{at, text}) }
