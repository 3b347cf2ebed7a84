package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// dumped is a record as Kong writes it into a dump: every key, those that were not
// set at their default.
func dumped(keys []kongfile.Key, set map[string]any) map[string]any {
	record := make(map[string]any)
	for _, k := range keys {
		var value any
		if k.Default != "" {
			if err := json.Unmarshal([]byte(k.Default), &value); err != nil {
				panic(err)
			}
		}
		record[k.Name] = value
	}
	for name, value := range set {
		record[name] = value
	}
	return record
}

// dump is the dump of a Kong with n services, one route and one plugin each.
func dump(n int, issuer, upstream string) map[string]any {
	var services []any
	for i := range n {
		name := fmt.Sprint("s", i)
		host, port, _ := strings.Cut(strings.TrimPrefix(upstream, "http://"), ":")
		var number int
		fmt.Sscan(port, &number)
		services = append(services, map[string]any{
			"id": name + "-id", "name": name, "protocol": "http", "host": host, "port": number, "path": "/anything", "retries": 5,
			"connect_timeout": 60000, "read_timeout": 60000, "write_timeout": 60000, "enabled": true, "tls_verify": nil, "tls_verify_depth": nil,
			"client_certificate": nil, "ca_certificates": nil, "tags": nil,
			"routes": []any{map[string]any{
				"id": name + "-route", "name": name + "-route", "paths": []string{"/" + name}, "protocols": []string{"http", "https"}, "methods": nil, "hosts": nil,
				"headers": nil, "snis": nil, "sources": nil, "destinations": nil, "https_redirect_status_code": 426, "path_handling": "v0", "regex_priority": 0,
				"preserve_host": false, "strip_path": true, "request_buffering": true, "response_buffering": true, "tags": nil,
				"plugins": []any{
					map[string]any{"name": "tls-handshake-modifier", "enabled": true, "protocols": []string{"grpcs", "https", "tls"}, "config": map[string]any{"tls_client_certificate": "REQUEST"}},
					map[string]any{
						"name": "openid-connect", "enabled": true, "consumer": nil, "consumer_group": nil, "instance_name": nil, "ordering": nil, "partials": nil, "tags": nil,
						"protocols": []string{"grpc", "grpcs", "http", "https"},
						"config":    dumped(kongfile.Keys, map[string]any{"issuer": issuer, "auth_methods": []string{"bearer"}, "audience_required": []string{"https://api.example"}, "proof_of_possession_dpop": "optional"}),
					},
				},
			}},
		})
	}
	return map[string]any{
		"_format_version": "3.0", "_transform": false, "_info": map[string]any{"select_tags": []string{"a"}, "defaults": map[string]any{}}, "_workspace": "default", "_konnect": map[string]any{},
		"services": services, "consumers": []any{}, "upstreams": []any{}, "vaults": []any{},
	}
}

func TestB21ADumpStarts(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	d := dump(10, bed.Issuer.URL, bed.Httpbin)
	d["_transform"] = true
	text, err := json.MarshalIndent(d, "", " ")
	require.NoError(t, err)
	gw := start(t, bed, string(text))
	token := bearer(bed.Issuer.Token())
	for i := range 10 {
		require.Equal(t, 401, ask(t, bed.Client(nil), fmt.Sprint(gw.url, "/s", i)).status)
		require.Equal(t, 200, ask(t, bed.Client(nil), fmt.Sprint(gw.url, "/s", i), token).status)
	}
	require.Contains(t, gw.log.String(), "bearer_token_param_type is Kong's default: it is read as header")
	require.Equal(t, 10, strings.Count(gw.log.String(), "level=WARN"), gw.log.String())
}

func TestEachKeyOfKongsIsKnownAndChangesNothingAtItsDefault(t *testing.T) {
	require.Len(t, kongfile.Keys, 235)
	for i, k := range kongfile.Keys {
		require.Less(t, kongfile.Keys[max(i-1, 0)].Name, k.Name+"!", "the keys are in order")
		require.NotEqual(t, k.Values == "", k.Why == "", "%s works, or is refused with a reason", k.Name)
		require.Equal(t, k.Values == "", k.Go == "", k.Name)
		if k.Why != "" {
			require.Regexp(t, `^is (not supported|refused on purpose): .{10}`, k.Why, "%s: the reason and what to do instead", k.Name)
		}
		if k.Name == "issuer" || k.Name == "auth_methods" || k.Name == "audience_required" {
			continue // which good has
		}
		require.Empty(t, mistakes(t, good+"      "+k.Name+": null\n"), k.Name)
		if k.Default != "" {
			require.Empty(t, mistakes(t, good+"      "+k.Name+": "+k.Default+"\n"), k.Name)
		}
	}
	require.Empty(t, mistakes(t, good+"      bearer_token_param_type: [query, header, body]\n      response_type: [code]\n      ignore_signature: []\n      redis: {host: 127.0.0.1, port: 6379, ssl: off, cluster_nodes: null, cloud_authentication: {aws_is_serverless: true}}\n"))
}

// otherValues are values that are not Kong's default, by type.
var otherValues = map[string][]string{
	"string": {"something"}, "strings": {"[something]", "something"}, "number": {"7"}, "boolean": {"true", "false"},
	"record": {"{something: 1}"}, "records": {"[{something: 1}]"},
}

func TestAValueThatWouldChangeSomethingUnsupportedIsRefusedWithItsLineAndReason(t *testing.T) {
	for _, k := range kongfile.Keys {
		if k.Values != "" {
			continue
		}
		for _, value := range otherValues[k.Type] {
			if value == k.Default {
				continue
			}
			found := mistakes(t, good+"      "+k.Name+": "+value+"\n")
			require.Len(t, found, 1, "%s: %s: %v", k.Name, value, found)
			require.Equal(t, "kong.yaml:14: plugins[0].config."+k.Name+": "+k.Why, found[0])
		}
	}
	found := mistakes(t, good+"      redis: {host: redis.example}\n")
	require.Len(t, found, 1)
	require.Contains(t, found[0], "set cluster_cache_strategy and cluster_cache_redis")
}

func TestSeveralFilesAreMerged(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	entities := write("kong/1-entities.yaml", "_format_version: \"3.0\"\nservices:\n  - name: example-service\n    url: http://127.0.0.1:1/anything\nroutes:\n  - name: example-route\n    paths:\n    - \"/anything\"\n    service:\n      name: example-service\n")
	plugin := write("kong/more/2-oidc.yml", "_format_version: \"3.0\"\nplugins:\n  - name: openid-connect\n    route: example-route\n    config:\n      issuer: \"${{ env \"DECK_ISSUER\" }}\"\n      auth_methods:\n      - bearer\n      proof_of_possession_mtls: strict\n      proof_of_possession_auth_methods_validation: on\n")
	modifier := write("kong/3-tls.json", `{"_format_version": "3.0", "plugins": [{"name": "tls-handshake-modifier", "route": "example-route", "config": {"tls_client_certificate": "REQUEST"}}]}`)
	write("kong/README.md", "not Kong's")
	lookup := func(string) (string, bool) { return "https://issuer.example", true }
	for _, names := range [][]string{{entities, plugin, modifier}, {modifier, plugin, entities}, {filepath.Join(dir, "kong")}, {"-", plugin, modifier}} {
		text, err := os.ReadFile(entities)
		require.NoError(t, err)
		sources, err := kongfile.Sources(names, strings.NewReader(string(text)))
		require.NoError(t, err)
		f := kongfile.Read(lookup, sources...)
		require.NoError(t, f.Problems.Err())
		require.Len(t, f.Services, 1)
		require.Len(t, f.Services[0].Routes, 1)
		require.Equal(t, "strict", f.OpenIDOf(f.Services[0].Routes[0]).OpenID.Certificate.Mode)
		require.NotNil(t, f.HandshakeOf(f.Services[0].Routes[0]))
	}
	sources, err := kongfile.Sources([]string{plugin}, nil)
	require.NoError(t, err)
	single := kongfile.Read(lookup, sources...)
	single.RequireService()
	alone := single.Problems.Err()
	require.ErrorContains(t, alone, plugin+`:4: plugins[0].route: there is no route "example-route"; Kong may have it in its database: give the file that has it as well, by another -config`)
	require.ErrorContains(t, alone, plugin+":1: there is no service to forward to")
	for _, names := range [][]string{{filepath.Join(dir, "nothing")}, {t.TempDir()}} {
		_, err := kongfile.Sources(names, nil)
		require.Error(t, err)
	}
}

func TestSecretsFromTheEnvironment(t *testing.T) {
	config := func(secret string) string {
		return withSession("") + "      client_id: [c]\n      client_secret: [" + secret + "]\n"
	}
	env := []string{"MY_SECRET", "s3", "ALL", `{"of-kong": "s4"}`, "BROKEN", "x"}
	for ref, want := range map[string]string{
		`"{vault://env/my-secret}"`: "", `"{vault://env/MY_SECRET}"`: "", `"{vault://env/all/of-kong}"`: "",
		`"{vault://hcv/kong/oidc/session-secret}"`: `the vault "hcv" is not supported: let what starts the gateway read it`,
		`"{vault://aws/x}"`:                        `the vault "aws" is not supported`,
		`"{vault://env/not-set}"`:                  `the environment variable NOT_SET is not set`,
		`"{vault://env/all/nothing}"`:              `the environment variable ALL has no member "nothing"`,
		`"{vault://env/broken/x}"`:                 `the environment variable BROKEN is not a JSON object of strings`,
		`"{vault://env}"`:                          `is not a reference that is supported`,
		`"x{vault://env/my-secret}"`:               `is not a reference that is supported`,
		`"{vault://env/my-secret?ttl=1}"`:          `is not a reference that is supported`,
	} {
		found := mistakes(t, config(ref), env...)
		if want == "" {
			require.Empty(t, found, ref)
			continue
		}
		require.Len(t, found, 1, ref)
		require.Contains(t, found[0], "kong.yaml:16: plugins[0].config.client_secret: ")
		require.Contains(t, found[0], want)
	}
	found := mistakes(t, strings.Replace(withSession(""), secret, `"{vault://hcv/kong/oidc/session-secret}"`, 1))
	require.Len(t, found, 1)
	require.Contains(t, found[0], `session_secret: the vault "hcv" is not supported`)
}

func TestWhatDecKReadsIsRead(t *testing.T) {
	ca := testbed.PEM(mtlspoptest.NewCA(t, "CA").Certificate)
	for name, text := range map[string]string{
		"indent, within the block":  "ca_certificates:\n  - id: a\n    cert: |\n      ${{ env \"CA\" | indent 6 }}\n",
		"indent, from the margin":   "ca_certificates:\n  - id: a\n    cert: |\n${{ env \"CA\" | indent 6 }}\n",
		"a string in one line":      "ca_certificates:\n  - {id: a, cert: '${{ env \"CA\" }}'}\n",
		"a reference in a comment":  "# ${{ env \"NOT_SET\" }}\n",
		"trimming of spaces":        "ca_certificates:\n  - {id: a, cert: '${{- env \"CA\" -}}'}\n",
		"on, and no, and a default": "_transform: on\n",
	} {
		found := mistakes(t, strings.Replace(good, "services:", text+"services:", 1), "CA", ca)
		require.Empty(t, found, name)
	}
	require.Empty(t, mistakes(t, good+"      display_errors: on\n      run_on_preflight: no\n      dpop_use_nonce: Off\n      client_id: one\n      scopes_required: orders:read\n"))
	require.Empty(t, mistakes(t, good+"      proof_of_possession_dpop: off\n"), "which is a word there")
	require.Contains(t, strings.Join(mistakes(t, good+"      display_errors: \"on\"\n"), ""), "a string where true or false is expected")
}

func TestSplitHorizon(t *testing.T) {
	read := func(lines string) *kongfile.OpenIDConnect {
		f := kongfile.Read(func(string) (string, bool) { return "", false }, kongfile.Source{Name: "kong.yaml", Text: []byte(strings.Replace(good, "https://issuer.example", "https://inside.example/realms/x", 1) + lines)})
		return f.Plugins.OpenID.OpenID
	}
	p := read("      issuers_allowed: [https://public.example/realms/x]\n")
	require.Equal(t, "https://public.example/realms/x", p.Issuer, "what tokens say")
	require.Equal(t, "https://inside.example/realms/x/.well-known/openid-configuration", p.MetadataURL, "where the metadata is")
	require.Equal(t, "https://inside.example/realms/x", p.MetadataIssuer, "which it may name")
	require.Empty(t, mistakes(t, strings.Replace(good, "https://issuer.example", "https://inside.example/realms/x", 1)+"      issuers_allowed: [https://public.example/realms/x]\n"))
	p = read("      issuers_allowed: [https://inside.example/realms/x, https://other.example]\n")
	require.Empty(t, p.MetadataURL)
	found := mistakes(t, good+"      issuers_allowed: [https://a.example, https://b.example]\n")
	require.Len(t, found, 1)
	require.Contains(t, found[0], "has several issuers, and issuer is none of them")
}
