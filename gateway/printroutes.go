package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// routes are the statements that put guards and services onto paths.
func (p *program) routes() string {
	var b strings.Builder
	guards := make(map[*kongfile.Plugin]string)
	guardOf := func(plugin *kongfile.Plugin) string {
		if plugin == nil {
			return ""
		}
		if guards[plugin] == "" {
			guards[plugin] = p.guard(plugin.OpenID)
		}
		return guards[plugin]
	}
	if len(p.f.Services) == 0 {
		for _, plugin := range p.f.Attached {
			if plugin.OpenID == nil || !plugin.Enabled {
				continue
			}
			p.std("fmt")
			fmt.Fprintf(&b, "\thttp.Handle(\"/\", %s.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {\n", guardOf(plugin))
			fmt.Fprintf(&b, "\t\tcredential, _ := middleware.FromContext(r.Context())\n\t\tfmt.Fprintln(w, \"hello,\", credential.Token.Subject)\n\t})))\n")
			break
		}
		return b.String()
	}
	for _, s := range p.f.Services {
		proxies := make(map[string]string)
		for _, r := range s.Routes {
			plugin := p.f.OpenIDOf(r)
			p.route(&b, r, guardOf(plugin), func() string { return p.proxy(s, plugin, proxies) })
		}
	}
	return b.String()
}

// proxy returns the variable with what forwards to a service.
func (p *program) proxy(s *kongfile.Service, plugin *kongfile.Plugin, made map[string]string) string {
	p.ours("reverseproxy")
	p.std("net/url")
	target := "must(url.Parse(" + p.text(s.URL.String()) + "))"
	if plugin == nil || len(plugin.OpenID.Upstream.Claims) == 0 {
		if made[""] == "" {
			made[""] = p.variable("service")
			p.say("%s := must(reverseproxy.New(%s))", made[""], target)
		}
		return made[""]
	}
	if at := made[plugin.Place().Path]; at != "" {
		return at
	}
	to, v := p.variable("target"), p.variable("service")
	made[plugin.Place().Path] = v
	var names, sets []string
	p.std("encoding/json")
	p.std("net/http/httputil")
	for _, claim := range plugin.OpenID.Upstream.Claims {
		names = append(names, strconv.Quote(claim.Name))
		sets = append(sets, fmt.Sprintf("setClaim(%q, %s)", claim.Name, quotedList(claim.Path)))
	}
	p.say("%s := %s", to, target)
	p.say(`%s := must(reverseproxy.Harden(&httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(%s)
		pr.SetXForwarded()
		credential, ok := middleware.FromContext(pr.In.Context())
		if !ok {
			return
		}
		setClaim := func(header string, path ...string) {
			var value any
			if credential.Token.Claims(&value) != nil {
				return
			}
			for _, name := range path {
				claims, _ := value.(map[string]any)
				value = claims[name]
			}
			if text, ok := value.(string); ok {
				pr.Out.Header.Set(header, text)
			} else if list, err := json.Marshal(value); err == nil && value != nil {
				pr.Out.Header.Set(header, string(list))
			}
		}
		%s
	}}, reverseproxy.WithIdentityHeaders(%s)))`, v, to, strings.Join(sets, "\n\t\t"), strings.Join(names, ", "))
	return v
}

// route puts one route onto its patterns.
func (p *program) route(b *strings.Builder, r *kongfile.Route, guard string, proxy func() string) {
	handlerFor := func(prefix string) string {
		handler := proxy()
		if r.StripPath && prefix != "/" && prefix != "" {
			handler = fmt.Sprintf("http.StripPrefix(%q, %s)", strings.TrimSuffix(prefix, "/"), handler)
		}
		if guard != "" {
			handler = guard + ".Wrap(" + handler + ")"
		}
		return handler
	}
	paths, hosts, methods := r.Paths, r.Hosts, r.Methods
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(methods) == 0 {
		methods = []string{""}
	}
	for _, host := range hosts {
		if strings.Contains(host, "*") {
			fmt.Fprintf(b, "\t// %s: http.ServeMux has no patterns with an asterisk in the host.\n", host)
			continue
		}
		for _, path := range paths {
			for _, method := range methods {
				patterns := []string{path}
				if !strings.HasSuffix(path, "/") {
					patterns = append(patterns, path+"/")
				}
				for _, pattern := range patterns {
					if method != "" {
						pattern = method + " " + host + pattern
					} else {
						pattern = host + pattern
					}
					fmt.Fprintf(b, "\thttp.Handle(%q, %s)\n", pattern, handlerFor(path))
				}
			}
		}
	}
}
