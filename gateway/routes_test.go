package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestG7WhatCanNeverMatchOrMeansAnotherHostIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ old, replacement, want string }{
		"a method in lower case":          {"paths: [/]", "paths: [/]\n        methods: [get]", `:8: services[0].routes[0].methods: "get" matches no request: methods are in upper case`},
		"a method that is two":            {"paths: [/]", "paths: [/]\n        methods: ['GET,POST']", `"GET,POST" matches no request`},
		"no method":                       {"paths: [/]", "paths: [/]\n        methods: []", `methods: is empty: no request matches`},
		"no path":                         {"paths: [/]", "paths: []", `paths: is empty: no request matches`},
		"no host":                         {"paths: [/]", "paths: [/]\n        hosts: []", `hosts: is empty: no request matches`},
		"no protocol":                     {"paths: [/]", "paths: [/]\n        protocols: []", `protocols: is empty: no request matches`},
		"a URL as a host":                 {"paths: [/]", "hosts: ['https://api.example']", `hosts: "https://api.example" matches no request`},
		"a path in a host":                {"paths: [/]", "hosts: [api.example/v1]", `"api.example/v1" matches no request`},
		"a user in a host":                {"paths: [/]", "hosts: [u@api.example]", `"u@api.example" matches no request`},
		"an asterisk alone":               {"paths: [/]", "hosts: ['*']", `"*" matches no request`},
		"an asterisk within":              {"paths: [/]", "hosts: ['api.*.example']", `"api.*.example" matches no request`},
		"two asterisks":                   {"paths: [/]", "hosts: ['*.api.*']", `"*.api.*" matches no request`},
		"an asterisk without a dot":       {"paths: [/]", "hosts: ['*api.example']", `"*api.example" matches no request`},
		"a port that is none":             {"paths: [/]", "hosts: ['api.example:https']", `"api.example:https" matches no request`},
		"a query in a path":               {"paths: [/]", "paths: ['/a?b=c']", `paths: "/a?b=c" is the prefix of no path`},
		"an asterisk in a path":           {"paths: [/]", "paths: ['/api/*']", `"/api/*" is the prefix of no path`},
		"an escaped slash in a path":      {"paths: [/]", "paths: ['/a%2Fb']", `"/a%2Fb" is the prefix of no path`},
		"a backslash in a path":           {"paths: [/]", `paths: ['\a']`, `the path is malformed`},
		"a space in a path":               {"paths: [/]", "paths: ['/a b']", `"/a b" is the prefix of no path`},
		"a path that is a URL":            {"paths: [/]", "paths: ['https://api.example/']", `the path is malformed`},
		"a port with a fraction":          {"url: http://127.0.0.1:1", "host: a.example\n    port: 80.7", `:5: services[0].port: 80.7 is not a whole number between 1 and 65535`},
		"a port beyond all":               {"url: http://127.0.0.1:1", "host: a.example\n    port: 65536", `port: 65536 is not a whole number`},
		"a port in a URL beyond all":      {"url: http://127.0.0.1:1", "url: http://a.example:65536", `is not an http or https URL`},
		"a path that is a domain":         {"url: http://127.0.0.1:1", "host: a\n    path: .evil.example", `path: ".evil.example" is not a path`},
		"a path that is a user":           {"url: http://127.0.0.1:1", "host: a\n    path: '@evil.example'", `"@evil.example" is not a path`},
		"a path that is a port":           {"url: http://127.0.0.1:1", "host: a\n    path: ':8080/x'", `":8080/x" is not a path`},
		"a path with a query":             {"url: http://127.0.0.1:1", "host: a\n    path: '/x?y=z'", `"/x?y=z" is not a path`},
		"a host that is a URL":            {"url: http://127.0.0.1:1", "host: http://a.example", `host: "http://a.example" is not the name or the address of a host`},
		"a host with a port":              {"url: http://127.0.0.1:1", "host: a.example:8080", `"a.example:8080" is not the name`},
		"a host with a path":              {"url: http://127.0.0.1:1", "host: a.example/x", `"a.example/x" is not the name`},
		"a host with a user":              {"url: http://127.0.0.1:1", "host: evil@a.example", `"evil@a.example" is not the name`},
		"a URL and its parts":             {"url: http://127.0.0.1:1", "url: http://a.example\n    host: b.example", `host: is said by url already`},
		"neither a URL nor a host":        {"url: http://127.0.0.1:1", "port: 80", `needs a url, or a host`},
		"a URL without a host":            {"url: http://127.0.0.1:1", "url: 'http://:80/'", `is not an http or https URL`},
		"a condition":                     {"name: openid-connect", "name: openid-connect\n    condition: x", `condition: is refused on purpose`},
		"a plugin for none of our kinds":  {"name: openid-connect", "name: openid-connect\n    protocols: [grpc]", `protocols: names neither http nor https`},
		"a consumer":                      {"name: openid-connect", "name: openid-connect\n    consumer: joe", `consumer: is not supported: there are no consumers`},
		"a field that chooses the route":  {"paths: [/]", "paths: [/]\n        headers: {x: [y]}", `headers: is not supported`},
		"a status that does not redirect": {"paths: [/]", "paths: [/]\n        https_redirect_status_code: 303", `303 is not supported; it can be 301, 302, 307, 308, 426`},
	} {
		t.Run(name, func(t *testing.T) {
			found := mistakes(t, strings.Replace(good, tc.old, tc.replacement, 1))
			require.NotEmpty(t, found)
			require.Contains(t, strings.Join(found, "\n"), tc.want)
			require.Len(t, found, 1, found)
		})
	}
	for _, fine := range [][2]string{
		{"paths: [/]", "hosts: ['*.api.example', 'api.*', API.example, 'api.example:8443', '[::1]', '[::1]:8443', '192.0.2.1']"},
		{"url: http://127.0.0.1:1", "host: '::1'\n    port: 1\n    path: /a%20b/"},
		{"url: http://127.0.0.1:1", "url: https://[::1]:8443/x"},
		{"url: http://127.0.0.1:1", "host: my_service.svc.cluster.local"},
	} {
		require.Empty(t, mistakes(t, strings.Replace(good, fine[0], fine[1], 1)), fine)
	}
}
