package check

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// resourceMetadata are the rows of RFC 9728, which the MCP profile demands.
func (s *suite) resourceMetadata() {
	fetch := func(p *play, method string) (*wire.Response, map[string]any) {
		target := "/.well-known/oauth-protected-resource"
		if path := p.path(); path != "/" {
			target += path
		}
		res := p.do(nil, wire.Request{Method: method, Target: target, Fields: []wire.Field{{Name: "Origin", Value: "https://app.example"}}})
		var doc map[string]any
		_ = json.Unmarshal(res.Body, &doc)
		return res, doc
	}
	doc := func(id string, level Level, section, sentence, name string, try func(p *play, res *wire.Response, doc map[string]any)) {
		s.add(text{id, section, level, sentence, nil}, name, func(p *play) {
			res, d := fetch(p, "GET")
			try(p, res, d)
		})
	}
	doc("PRM-3-01", Must, "RFC 9728, section 3",
		"Protected resources supporting metadata MUST make a JSON document containing metadata as specified in Section 2 available at a URL formed by inserting a well-known URI string into the protected resource's resource identifier between the host component and the path and/or query components.",
		"where-it-is", func(p *play, res *wire.Response, d map[string]any) {
			if res.Status != 200 || d == nil {
				p.fail("GET of the well-known URL answers %d, JSON: %t", res.Status, d != nil)
			}
		})
	doc("PRM-3.2-01", Must, "RFC 9728, section 3.2",
		"A successful response MUST use the 200 OK HTTP status code and return a JSON object using the application/json content type.",
		"content-type", func(p *play, res *wire.Response, _ map[string]any) {
			if ct := res.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
				p.fail("Content-Type %q", ct)
			}
		})
	doc("PRM-3.2-01", Practice, "Fetch standard",
		"The document is public: browsers' applications read it.", "cors", func(p *play, res *wire.Response, _ map[string]any) {
			if res.Header.Get("Access-Control-Allow-Origin") == "" {
				p.fail("no Access-Control-Allow-Origin")
			}
		})
	s.add(text{"PRM-3.2-01", "RFC 9728, section 3.1", Must, "A protected resource metadata document MUST be queried using an HTTP GET request.", nil},
		"post", func(p *play) {
			res, _ := fetch(p, "POST")
			if res.Status/100 == 2 {
				p.fail("POST answers %d", res.Status)
			}
			if res.Status == 405 && !strings.Contains(res.Header.Get("Allow"), "GET") {
				p.fail("405 without Allow, which RFC 9110, section 15.5.6, demands: %q", res.Header.Get("Allow"))
			}
		})
	s.add(text{"PRM-3.2-01", "RFC 9110, section 9.3.2", Must, "HEAD is GET without content.", nil},
		"head", func(p *play) {
			if res, _ := fetch(p, "HEAD"); res.Status != 200 {
				p.fail("HEAD answers %d", res.Status)
			}
		})
	doc("PRM-2-01", Must, "RFC 9728, section 2", "resource: REQUIRED.", "resource", func(p *play, _ *wire.Response, d map[string]any) {
		if r, _ := d["resource"].(string); r == "" {
			p.fail("resource is %v", d["resource"])
		}
	})
	doc("PRM-3.3-01", Must, "RFC 9728, section 3.3",
		"The resource value returned MUST be identical to the protected resource's resource identifier value into which the well-known URI path suffix was inserted to create the URL used to retrieve the metadata.",
		"resource-is-the-url", func(p *play, _ *wire.Response, d map[string]any) {
			want := p.origin() + strings.TrimSuffix(p.path(), "/")
			if r, _ := d["resource"].(string); strings.TrimSuffix(r, "/") != want {
				p.fail("resource is %q, the URL is of %q", r, want)
			}
		})
	doc("PRM-2-02", Must, "RFC 9728, section 3.2",
		"Parameters with zero values MUST be omitted from the response.", "no-empty-lists", func(p *play, _ *wire.Response, d map[string]any) {
			for name, v := range d {
				if v == nil {
					p.fail("%s is null", name)
				}
				if list, ok := v.([]any); ok && len(list) == 0 && name != "bearer_methods_supported" {
					p.fail("%s is empty", name)
				}
			}
		})
	doc("PRM-2-03", Must, "MCP, authorization; RFC 9728, section 2",
		"MCP servers MUST implement protected resource metadata with the authorization_servers field containing at least one authorization server.",
		"authorization-servers", func(p *play, _ *wire.Response, d map[string]any) {
			list, _ := d["authorization_servers"].([]any)
			if !slices.Contains(list, any(p.Issuer.URL)) {
				p.fail("authorization_servers is %v, the issuer is %s", list, p.Issuer.URL)
			}
		})
	doc("PRM-2-03", May, "RFC 9728, section 2",
		"bearer_methods_supported: header alone, since tokens are taken from nowhere else.",
		"bearer-methods", func(p *play, _ *wire.Response, d map[string]any) {
			list, ok := d["bearer_methods_supported"].([]any)
			if ok && !slices.Equal(list, []any{"header"}) {
				p.fail("bearer_methods_supported is %v", list)
			}
		})
	doc("PRM-2-03", May, "RFC 9728, section 2",
		"dpop_signing_alg_values_supported: the algorithms that the challenge names.",
		"dpop-algorithms", func(p *play, _ *wire.Response, d map[string]any) {
			list, ok := d["dpop_signing_alg_values_supported"].([]any)
			if !ok {
				p.fail("it is missing")
			}
			var names []string
			for _, v := range list {
				name, _ := v.(string)
				names = append(names, name)
			}
			if !slices.Equal(names, p.Algorithms) {
				p.fail("it is %v, the challenge has %v", names, p.Algorithms)
			}
		})
	doc("PRM-2-03", May, "RFC 9728, section 2",
		"dpop_bound_access_tokens_required says whether the resource always requires DPoP-bound access tokens.",
		"dpop-required", func(p *play, _ *wire.Response, d map[string]any) {
			if required, _ := d["dpop_bound_access_tokens_required"].(bool); required && p.Unbound {
				p.fail("it is true, and the server takes unbound tokens")
			}
		})
	doc("PRM-7.10", Should, "RFC 9728, section 7.10",
		"Implementations should use HTTP caching directives such as Cache-Control with max-age.",
		"cache-control", func(p *play, res *wire.Response, _ map[string]any) {
			if !strings.Contains(res.Header.Get("Cache-Control"), "max-age") {
				p.fail("Cache-Control is %q", res.Header.Get("Cache-Control"))
			}
		})
	pointed := func(name string, sentence string, edit func(*draft)) {
		s.add(text{"PRM-5.1-01", "RFC 9728, section 5.1", Must, sentence, nil}, name, func(p *play) {
			d := p.draft()
			edit(d)
			res := p.send(d)
			p.refuse(res, anyRefusal)
			want := p.origin() + "/.well-known/oauth-protected-resource"
			if path := p.path(); path != "/" {
				want += path
			}
			challenges, _ := wire.Challenges(res.Header)
			for _, c := range challenges {
				if got := c.Get("resource_metadata"); got != want {
					p.fail("resource_metadata of the %s challenge is %q, expected %q", c.Scheme, got, want)
				}
			}
		})
	}
	pointed("without-credentials", "resource_metadata: the URL of the protected resource metadata; MCP servers name it in WWW-Authenticate.",
		func(d *draft) { d.noToken, d.noProof = true, true })
	pointed("with-a-bad-token", "The same when a token was refused.", tokenClaim("exp", 1))
	pointed("with-a-bad-proof", "The same when a proof was refused.", proofClaim("htm", "PUT"))

	window := func(name string, ahead int64, good bool) {
		s.add(text{"MCP-DPOP", "MCP, SEP-1932", Must,
			"Servers take proofs whose iat is within five minutes of their clock, and refuse others.", needsDPoP}, name, func(p *play) {
			d := p.draft()
			proofClaim("iat", unix(0)+ahead)(d)
			res := p.send(d)
			if good {
				p.accept(res)
			} else {
				p.refuse(res, invalidProof)
			}
		})
	}
	window("iat-290s-ago", -290, true)
	window("iat-305s-ago", -305, false)
	window("iat-305s-ahead", 305, false)
	s.accepted(text{"MCP-DPOP", "MCP, SEP-1932", Must, "Servers support ES256.", needsDPoP}, variant{"ES256", func(*draft) {}})
}
