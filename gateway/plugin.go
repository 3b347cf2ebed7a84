package main

// plugins are those attached to one thing: a route, a service, or everything.
type plugins struct {
	openID    *plugin
	handshake *plugin
}

// plugin is one attached plugin. One of its settings is not nil.
type plugin struct {
	*mapping
	openID    *openIDConnect
	handshake bool
	enabled   bool
	broken    bool // there are mistakes in it
}

// readPlugin reads one plugin, without what it is attached to.
func (c *configuration) readPlugin(m *mapping) *plugin {
	p := &plugin{mapping: m, enabled: m.flag("enabled", true)}
	found := len(m.problems.list)
	defer func() { p.broken = len(m.problems.list) > found }()
	name := m.oneOf("name", "", "openid-connect", "tls-handshake-modifier")
	for _, protocol := range m.texts("protocols", "http", "https") {
		if protocol != "http" && protocol != "https" {
			m.wrong("protocols", "%q is not supported; it can be http, https", protocol)
		}
	}
	m.ignore("id", "tags", "instance_name")
	config := m.within("config")
	switch name {
	case "openid-connect":
		if config == nil {
			m.add(m.at, "%s: config is missing", m.where)
			break
		}
		p.openID = readOpenIDConnect(config)
	case "tls-handshake-modifier":
		p.handshake = true
		if config != nil {
			config.oneOf("tls_client_certificate", "REQUEST", "REQUEST")
			config.done(nil)
		}
	case "":
		if !m.has("name") {
			m.add(m.at, "%s: name is missing", m.where)
		}
		return p
	default:
		return p
	}
	m.done(nil)
	return p
}

// readLoosePlugin reads a plugin that stands outside of what it is attached to.
func (c *configuration) readLoosePlugin(m *mapping) {
	to := &c.plugins
	serviceName, routeName := readReference(m, "service"), readReference(m, "route")
	switch {
	case serviceName != "" && routeName != "":
		m.wrong("route", "a plugin on both a route and a service is not supported: a route has one service")
	case routeName != "":
		if r := c.routeNamed(routeName); r != nil {
			to = &r.plugins
		} else {
			m.wrong("route", "there is no route %q", routeName)
		}
	case serviceName != "":
		if s := c.serviceNamed(serviceName); s != nil {
			to = &s.plugins
		} else {
			m.wrong("service", "there is no service %q", serviceName)
		}
	}
	c.attach(to, c.readPlugin(m))
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
	if ref.has("name") {
		return ref.text("name", "")
	}
	return ref.text("id", "")
}

// attach adds a plugin to those of one thing. One that is disabled leaves the
// field to what is attached further out, as in Kong.
func (c *configuration) attach(to *plugins, p *plugin) {
	slot := &to.openID
	switch {
	case p.handshake:
		slot = &to.handshake
	case p.openID == nil:
		return // a mistake that is noted
	}
	c.attached = append(c.attached, p)
	if !p.enabled {
		c.warn(p.at, p.where+" is disabled")
		return
	}
	if *slot != nil {
		p.wrong("name", "is attached here twice")
	}
	*slot = p
}

// openIDOf returns the plugin that guards a route: the nearest one, or nil.
func (c *configuration) openIDOf(r *route) *plugin {
	return nearest(r.plugins.openID, r.service.plugins.openID, c.plugins.openID)
}

func (c *configuration) handshakeOf(r *route) *plugin {
	return nearest(r.plugins.handshake, r.service.plugins.handshake, c.plugins.handshake)
}

func nearest(all ...*plugin) *plugin {
	for _, p := range all {
		if p != nil {
			return p
		}
	}
	return nil
}
