package kongfile

import (
	"cmp"
	"slices"
)

// Plugins are those attached to one thing: a route, a service, or everything.
type Plugins struct {
	OpenID            *Plugin
	Handshake         *Plugin
	ClientCertificate *Plugin
}

// Plugin is one attached plugin. One of its settings says which.
type Plugin struct {
	entity
	OpenID            *OpenIDConnect     // of openid-connect
	Handshake         bool               // tls-handshake-modifier: ask for client certificates
	ClientCertificate *ClientCertificate // of mtls-auth
	Enabled           bool
	target            string // the name of the route or service; "" for everything
	Broken            bool   // there are mistakes in it
}

// pluginKeys are the keys that a dump shows and that change nothing here.
var pluginKeys = byName([]Key{
	{Name: "enabled", Default: "true", Written: true},
	{Name: "consumer", Why: "is not supported: there are no consumers; attach the plugin to a service or a route"},
	{Name: "consumer_group", Why: "is not supported: there are no consumers; attach the plugin to a service or a route"},
	{Name: "ordering", Why: "is not supported: a request is judged before anything else is done with it"},
	{Name: "condition", Why: "is refused on purpose: a guard that applies to some requests of a route leaves the others open; make two routes"},
	{Name: "partials", Why: "is not supported: write the configuration into the plugin"},
})

// readPlugin reads one plugin, without what it is attached to.
func (f *File) readPlugin(m *mapping) *Plugin {
	m.known = pluginKeys
	p := &Plugin{entity: entity{m}, Enabled: m.flag("enabled", true)}
	found := len(f.Problems.list)
	defer func() { p.Broken = len(f.Problems.list) > found }()
	name := m.oneOf("name", "", "openid-connect", "tls-handshake-modifier", "mtls-auth")
	readProtocols(m)
	m.ignore("id", "tags", "instance_name", "created_at", "updated_at")
	config := m.within("config")
	switch name {
	case "openid-connect":
		if config == nil {
			m.mistake("config is missing")
			break
		}
		p.OpenID = f.readOpenIDConnect(config)
	case "tls-handshake-modifier":
		p.Handshake = true
		if config != nil {
			config.oneOf("tls_client_certificate", "REQUEST", "REQUEST")
			config.done(nil)
		}
	case "mtls-auth":
		if config == nil {
			m.mistake("config is missing")
			break
		}
		p.ClientCertificate = readClientCertificate(config)
	case "":
		if !m.has("name") {
			m.mistake("name is missing")
		}
		return p
	default:
		return p
	}
	m.done(nil)
	return p
}

// readProtocols accepts what Kong writes. A plugin guards its routes whatever the
// client speaks, so that a list cannot open one; but one that Kong would not run for
// HTTP at all is a mistake.
func readProtocols(m *mapping) {
	known := []string{"http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp", "ws", "wss"}
	protocols := m.texts("protocols", "http", "https")
	for _, protocol := range protocols {
		if !slices.Contains(known, protocol) {
			m.wrong("protocols", "%q is not supported; it can be http, https", protocol)
			return
		}
	}
	if !slices.Contains(protocols, "http") && !slices.Contains(protocols, "https") {
		m.wrong("protocols", "names neither http nor https, and nothing else is served")
	}
}

// readLoosePlugin reads a plugin that stands outside of what it is attached to.
func (f *File) readLoosePlugin(m *mapping) {
	to := &f.Plugins
	serviceName, routeName := readReference(m, "service"), readReference(m, "route")
	const other = "; Kong may have it in its database: give the file that has it as well, by another -config"
	switch {
	case serviceName != "" && routeName != "":
		m.wrong("route", "a plugin on both a route and a service is not supported: a route has one service")
	case routeName != "":
		if r := f.routeNamed(routeName); r != nil {
			to = &r.Plugins
		} else {
			m.wrong("route", "there is no route %q"+other, routeName)
		}
	case serviceName != "":
		if s := f.serviceNamed(serviceName); s != nil {
			to = &s.Plugins
		} else {
			m.wrong("service", "there is no service %q"+other, serviceName)
		}
	}
	f.attach(to, f.readPlugin(m), cmp.Or(routeName, serviceName))
}

// readReference reads a name of another entity: itself, or a mapping with a name
// or an id.
func readReference(m *mapping, key string) string {
	n := m.get(key)
	if n == nil {
		return ""
	}
	if len(n.Content) == 0 {
		return m.text(key, "")
	}
	ref := m.within(key)
	if ref == nil {
		return ""
	}
	defer ref.done(nil)
	name, id := ref.text("name", ""), ref.text("id", "")
	if name != "" {
		return name
	}
	return id
}

// attach adds a plugin to those of one thing. One that is disabled leaves the
// field to what is attached further out, as in Kong.
func (f *File) attach(to *Plugins, p *Plugin, target string) {
	p.target = target
	slot := &to.OpenID
	switch {
	case p.Handshake:
		slot = &to.Handshake
	case p.ClientCertificate != nil:
		slot = &to.ClientCertificate
	case p.OpenID == nil:
		return // a mistake that is noted
	}
	f.Attached = append(f.Attached, p)
	if !p.Enabled {
		f.warn(p.Place(), p.Place().Path+" is disabled")
		return
	}
	if *slot != nil {
		p.Wrong("name", "is attached here twice")
	}
	*slot = p
}

// OpenIDOf returns the plugin that guards a route: the nearest one, or nil.
func (f *File) OpenIDOf(r *Route) *Plugin {
	return nearest(r.Plugins.OpenID, r.Service.Plugins.OpenID, f.Plugins.OpenID)
}

// HandshakeOf returns the plugin that asks for client certificates, or nil.
func (f *File) HandshakeOf(r *Route) *Plugin {
	return nearest(r.Plugins.Handshake, r.Service.Plugins.Handshake, f.Plugins.Handshake)
}

// ClientCertificateOf returns the mtls-auth plugin of a route, or nil.
func (f *File) ClientCertificateOf(r *Route) *Plugin {
	return nearest(r.Plugins.ClientCertificate, r.Service.Plugins.ClientCertificate, f.Plugins.ClientCertificate)
}

func nearest(all ...*Plugin) *Plugin {
	for _, p := range all {
		if p != nil {
			return p
		}
	}
	return nil
}
