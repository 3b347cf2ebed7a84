package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// described is a file with two resources on one host, of which one is bound to
// keys, and one on another host.
const described = `_format_version: "3.0"
services:
  - name: s
    url: ${{ env "DECK_UPSTREAM" }}/anything
    routes:
      - name: orders
        paths: [/orders]
        plugins:
          - name: openid-connect
            config:
              issuer: ${{ env "DECK_ISSUER" }}
              proof_of_possession_dpop: strict
              scopes_required: [orders:read]
              protected_resource_metadata:
                resource: https://api.example/orders
                scopes_supported: [orders:read, orders:write]
                resource_name: Orders
                resource_documentation: https://docs.example/orders
                bearer_methods_supported: [header]
      - name: bills
        paths: [/bills]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', protected_resource_metadata: {resource: 'https://api.example/bills'}}}]
      - name: everything
        paths: [/]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', protected_resource_metadata: {resource: 'https://api.example'}}}]
      - name: elsewhere
        hosts: [other.example]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', protected_resource_metadata: {resource: 'https://OTHER.example:443/'}}}]
`

func TestProtectedResourceMetadata(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, described, "-public-origin", "https://api.example")
	anonymous := bed.Client(nil)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	get := func(path string, edit ...func(*http.Request)) (a answer, document map[string]any) {
		a = ask(t, anonymous, gw.url+path, edit...)
		_ = json.Unmarshal([]byte(a.body), &document)
		return a, document
	}
	const wellKnown = "/.well-known/oauth-protected-resource"

	t.Run("PRM-3-01 PRM-2-03 the document is where RFC 9728 has it, needs no credentials, and says what the guard does", func(t *testing.T) {
		a, document := get(wellKnown + "/orders")
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, "application/json", a.header.Get("Content-Type"))
		require.Equal(t, map[string]any{
			"resource": "https://api.example/orders", "authorization_servers": []any{bed.Issuer.URL},
			"scopes_supported": []any{"orders:read", "orders:write"}, "bearer_methods_supported": []any{"header"},
			"resource_name": "Orders", "resource_documentation": "https://docs.example/orders",
			"dpop_signing_alg_values_supported": document["dpop_signing_alg_values_supported"], "dpop_bound_access_tokens_required": true,
		}, document)
		require.Contains(t, document["dpop_signing_alg_values_supported"], "ES256")
		_, document = get(wellKnown + "/bills")
		require.Equal(t, "https://api.example/bills", document["resource"])
		require.NotContains(t, document, "dpop_bound_access_tokens_required")
	})
	t.Run("a document for each host", func(t *testing.T) {
		for name, want := range map[string]string{
			"api.example": "https://api.example", "api.example:443": "https://api.example", "API.example": "https://api.example",
			"other.example": "https://OTHER.example:443/", "Other.Example:443": "https://OTHER.example:443/",
		} {
			a, document := get(wellKnown, host(name))
			require.Equal(t, 200, a.status, name)
			require.Equal(t, want, document["resource"], name)
		}
	})
	t.Run("where the host decides and is neither, there is none", func(t *testing.T) {
		a, _ := get(wellKnown, host("third.example"))
		require.Equal(t, 401, a.status, "the route for everything")
	})
	t.Run("a terminator in front may write another host where there is only one", func(t *testing.T) {
		a, document := get(wellKnown+"/orders", host("10.0.0.1"))
		require.Equal(t, 200, a.status)
		require.Equal(t, "https://api.example/orders", document["resource"])
	})
	t.Run("the path is compared in its normal form, and Kong's form of it is none", func(t *testing.T) {
		a, _ := get("/.well-known//oauth-protected-resource/%6frders")
		require.Equal(t, 200, a.status)
		for _, path := range []string{"/orders" + wellKnown, wellKnown + "/orders/", wellKnown + "/nothing", wellKnown + "/orders/x"} {
			a, _ := get(path)
			require.Equal(t, 401, a.status, path)
		}
	})
	t.Run("PRM-3.2-01 only GET and HEAD", func(t *testing.T) {
		a, _ := get(wellKnown+"/orders", func(r *http.Request) { r.Method = http.MethodPost })
		require.Equal(t, 405, a.status)
	})
	t.Run("PRM-5.1-01 challenges point to it", func(t *testing.T) {
		for path, want := range map[string]string{"/orders": wellKnown + "/orders", "/bills/1": wellKnown + "/bills", "/x": wellKnown} {
			a, _ := get(path)
			require.Equal(t, 401, a.status)
			require.NotEmpty(t, a.header.Values("WWW-Authenticate"))
			for _, challenge := range a.header.Values("WWW-Authenticate") {
				require.Contains(t, challenge, `resource_metadata="https://api.example`+want+`"`, path)
			}
		}
	})
	t.Run("a good request passes as ever", func(t *testing.T) {
		key := dpoptest.NewKey(t)
		token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Scope("orders:read"))
		proof := key.Proof("GET", "https://api.example/orders", token)
		a, _ := get("/orders", host("api.example"), with("Authorization", "DPoP "+token), with("Dpop", proof))
		require.Equal(t, 200, a.status, a.body)
	})
}

func TestMistakesInProtectedResourceMetadata(t *testing.T) {
	const key = "protected_resource_metadata"
	for name, tc := range map[string]struct{ lines, want string }{
		"nothing to describe":                {"{}", `protected_resource_metadata: resource is missing`},
		"plain HTTP":                         {"{resource: 'http://api.example'}", `resource: "http://api.example" is not an https URL`},
		"a path":                             {"{resource: /orders}", `resource: "/orders" is not an https URL`},
		"a fragment":                         {"{resource: 'https://api.example#x'}", `is not an https URL without fragment`},
		"a dot segment":                      {"{resource: 'https://api.example/a/../b'}", `the path has a dot segment`},
		"another authorization server":       {"{resource: 'https://api.example', authorization_servers: ['https://other.example']}", `authorization_servers: "https://other.example" is none of the issuers`},
		"tokens in the query":                {"{resource: 'https://api.example', bearer_methods_supported: [header, query]}", `bearer_methods_supported: "query" is refused on purpose`},
		"a scope that is none":               {"{resource: 'https://api.example', scopes_supported: ['a b']}", `"a b" is not a scope`},
		"documentation on plain HTTP":        {"{resource: 'https://api.example', resource_documentation: 'http://docs.example'}", `is not an https URL`},
		"what the guard knows better":        {"{resource: 'https://api.example', dpop_bound_access_tokens_required: true}", `dpop_bound_access_tokens_required: is refused on purpose`},
		"another thing that it knows":        {"{resource: 'https://api.example', tls_client_certificate_bound_access_tokens: true}", `tls_client_certificate_bound_access_tokens: is refused on purpose`},
		"algorithms of proofs":               {"{resource: 'https://api.example', dpop_signing_alg_values_supported: [ES256]}", `dpop_signing_alg_values_supported: is refused on purpose`},
		"signed metadata":                    {"{resource: 'https://api.example', signed_metadata: x}", `signed_metadata: is not supported`},
		"an unknown key":                     {"{resource: 'https://api.example', enabled: true}", `enabled: is not supported`},
		"a value that is no description":     {"true", `protected_resource_metadata: a boolean where a mapping is expected`},
		"a list of scopes that is a boolean": {"{resource: 'https://api.example', scopes_supported: true}", `scopes_supported: a boolean where a string in the list is expected`},
	} {
		t.Run(name, func(t *testing.T) {
			found := mistakes(t, good+"      "+key+": "+tc.lines+"\n")
			require.Len(t, found, 1, found)
			require.Regexp(t, `^kong\.yaml:(14|9): `, found[0])
			require.Contains(t, found[0], tc.want)
		})
	}
	require.Empty(t, mistakes(t, good+"      "+key+": null\n"))
	twice := strings.NewReplacer(`'https://OTHER.example:443/'`, `'https://API.example/'`).Replace(described)
	found := mistakes(t, twice, "DECK_UPSTREAM", "http://127.0.0.1:1", "DECK_ISSUER", "https://issuer.example")
	require.Len(t, found, 1, found)
	require.Contains(t, found[0], `protected_resource_metadata.resource: another plugin describes "https://API.example/"`)
}
