package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// configuration is what Kong's declarative file says, once all of it is
// understood.
type configuration struct {
	services     []*service
	plugins      plugins // those that are attached to everything
	attached     []*plugin
	authorities  map[string]*x509.Certificate // by id
	certificates map[string]*tls.Certificate  // by id
	warnings     []warning
	problems     *problems // where later stages add theirs
}

// warning is something that starts and that an operator should know.
type warning struct {
	line int
	text string
}

// service is what the gateway forwards to.
type service struct {
	*mapping
	name        string
	url         *url.URL
	dialTimeout time.Duration
	readTimeout time.Duration
	authorities []string // ids of the CAs of its TLS certificate; none: those of the system
	routes      []*route
	plugins     plugins
}

// readConfiguration reads a file. The mistakes in it are noted in the result.
func readConfiguration(file string, lookup func(string) (string, bool)) (*configuration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("gateway: -config: %w", err)
	}
	return parseConfiguration(file, text, lookup), nil
}

func parseConfiguration(file string, text []byte, lookup func(string) (string, bool)) *configuration {
	env, marked := newEnvironment(text, lookup)
	d := &document{problems: problems{file: file}, env: env}
	c := &configuration{
		authorities:  make(map[string]*x509.Certificate),
		certificates: make(map[string]*tls.Certificate),
		problems:     &d.problems,
	}
	if m := d.open(marked); m != nil {
		c.readTop(m)
	}
	return c
}

func (c *configuration) readTop(m *mapping) {
	if !m.has("_format_version") {
		m.add(m.at, `_format_version is missing: it has to be "3.0"`)
	}
	m.oneOf("_format_version", "", "3.0")
	m.flag("_transform", true)
	m.ignore("_comment")
	for _, ca := range m.list("ca_certificates") {
		c.readAuthority(ca)
	}
	for _, cert := range m.list("certificates") {
		c.readCertificate(cert)
	}
	for _, s := range m.list("services") {
		c.services = append(c.services, c.readService(s))
	}
	for _, r := range m.list("routes") {
		c.readLooseRoute(r)
	}
	for _, p := range m.list("plugins") {
		c.readLoosePlugin(p)
	}
	m.done(nil)
	c.checkNames()
	c.checkReferences()
	c.checkSessions()
	if len(c.services) == 0 {
		m.add(m.at, "there is no service to forward to")
	}
}

func (c *configuration) readAuthority(m *mapping) {
	id := m.text("id", "")
	if id == "" {
		m.add(m.at, "%s: id is missing: plugins refer to a CA by it", m.where)
	}
	m.ignore("tags", "cert_digest")
	block, rest := pem.Decode([]byte(m.text("cert", "")))
	m.done(nil)
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		m.wrong("cert", "is not one certificate in PEM")
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		m.wrong("cert", "%v", err)
		return
	}
	if c.authorities[id] != nil {
		m.wrong("id", "%q is given twice", id)
	}
	c.authorities[id] = cert
}

// readCertificate reads what tls_client_auth_cert_id refers to.
func (c *configuration) readCertificate(m *mapping) {
	id := m.text("id", "")
	if id == "" {
		m.add(m.at, "%s: id is missing: plugins refer to a certificate by it", m.where)
	}
	m.ignore("tags")
	cert, err := tls.X509KeyPair([]byte(m.text("cert", "")), []byte(m.text("key", "")))
	m.done(nil)
	if err != nil {
		m.wrong("cert", "%v", err)
		return
	}
	if c.certificates[id] != nil {
		m.wrong("id", "%q is given twice", id)
	}
	c.certificates[id] = &cert
}

func (c *configuration) readService(m *mapping) *service {
	const minute = time.Minute
	s := &service{
		mapping:     m,
		name:        m.text("name", ""),
		url:         readTarget(m),
		dialTimeout: m.duration("connect_timeout", time.Millisecond, minute),
		readTimeout: m.duration("read_timeout", time.Millisecond, minute),
		authorities: m.texts("ca_certificates"),
	}
	m.ignore("id", "tags")
	m.mustBe("enabled", true, "leave the service out instead")
	m.mustBe("tls_verify", true, "whoever is in between could read the tokens; name the CA in ca_certificates")
	for _, r := range m.list("routes") {
		s.routes = append(s.routes, c.readRoute(r, s))
	}
	for _, p := range m.list("plugins") {
		c.attach(&s.plugins, c.readPlugin(p))
	}
	m.done(nil)
	return s
}

// readTarget reads where a service is: a url, or its parts.
func readTarget(m *mapping) *url.URL {
	raw, key := m.text("url", ""), "url"
	if !m.has("url") {
		raw, key = m.oneOf("protocol", "http", "http", "https")+"://"+m.text("host", ""), "host"
		if port := m.number("port"); port != 0 {
			raw += ":" + strconv.Itoa(port)
		}
		raw += m.text("path", "")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		m.wrong(key, "%q is not an http or https URL of a host, a port and a path", raw)
		return &url.URL{}
	}
	return u
}

// checkNames finds names that two services or two routes have.
func (c *configuration) checkNames() {
	seen := make(map[string]bool)
	check := func(m *mapping, kind, name string) {
		if name != "" && seen[kind+name] {
			m.wrong("name", "two %ss are called %q", kind, name)
		}
		seen[kind+name] = true
	}
	for _, s := range c.services {
		check(s.mapping, "service", s.name)
		for _, r := range s.routes {
			check(r.mapping, "route", r.name)
		}
	}
}

// checkReferences finds ids that nothing has.
func (c *configuration) checkReferences() {
	for _, s := range c.services {
		for _, id := range s.authorities {
			if c.authorities[id] == nil {
				s.wrong("ca_certificates", "there is no CA with the id %q in ca_certificates", id)
			}
		}
	}
	for _, p := range c.attached {
		if p.openID != nil {
			found := len(c.problems.list)
			p.openID.checkReferences(c)
			p.broken = p.broken || len(c.problems.list) > found
		}
	}
}

func (c *configuration) serviceNamed(name string) *service {
	for _, s := range c.services {
		if name != "" && (s.name == name || s.id() == name) {
			return s
		}
	}
	return nil
}

func (c *configuration) routeNamed(name string) *route {
	for _, s := range c.services {
		for _, r := range s.routes {
			if name != "" && (r.name == name || r.id() == name) {
				return r
			}
		}
	}
	return nil
}

// id is the id of an entity, by which others can refer to it.
func (m *mapping) id() string { return m.text("id", "") }

func (c *configuration) warn(line int, text string) {
	c.warnings = append(c.warnings, warning{line, text})
}
