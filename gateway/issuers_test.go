package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestTheIssuersAreShownAsTheVerifiersHaveThem(t *testing.T) {
	bed := testbed.New(t, t.TempDir(), oidctest.WithClient(oidctest.Registration{ID: "caller", Secret: "the-secret"}))
	gw := start(t, bed, `_format_version: "3.0"
services: [{name: s, url: '${{ env "DECK_UPSTREAM" }}', routes: [{name: r, paths: [/]}]}]
plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [bearer, client_credentials]}}]
`)
	type shown struct {
		ID, Issuer    string
		Configuration map[string]any
		Keys          []map[string]any
		Uses          []string
	}
	get := func() (all []shown) {
		var body struct {
			Data []shown
			Next *string
		}
		a := ask(t, http.DefaultClient, gw.admin+"/openid-connect/issuers")
		require.Equal(t, 200, a.status)
		require.NoError(t, json.Unmarshal([]byte(a.body), &body), a.body)
		require.Contains(t, a.body, `"next":null`)
		return body.Data
	}
	before := get()
	require.Len(t, before, 1)
	require.Nil(t, before[0].Configuration, "which no request has needed yet")
	require.Empty(t, before[0].Keys)
	anonymous := bed.Client(nil)
	// Of the spellings that this issuer may have, the second verifies this token.
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/anything", bearer(bed.Issuer.Token(oidctest.Keycloak()))).status)
	require.Equal(t, 200, ask(t, anonymous, gw.url+"/anything", func(r *http.Request) { r.SetBasicAuth("caller", "the-secret") }).status)
	after := get()
	require.Len(t, after, 1)
	require.Equal(t, bed.Issuer.URL, after[0].Issuer)
	require.Equal(t, bed.Issuer.URL, after[0].Configuration["issuer"])
	require.NotEmpty(t, after[0].Configuration["response_types_supported"], "the document, and not what is read of it")
	require.NotEmpty(t, after[0].Keys)
	require.NotEmpty(t, after[0].Keys[0]["kid"])
	require.NotContains(t, after[0].Keys[0], "d")
	require.Equal(t, []string{"tokens", "client_credentials"}, after[0].Uses)
	one := ask(t, http.DefaultClient, gw.admin+"/openid-connect/issuers/"+after[0].ID)
	require.Equal(t, 200, one.status)
	require.Contains(t, one.body, `"configuration":{`)
	require.Equal(t, 404, ask(t, http.DefaultClient, gw.admin+"/openid-connect/issuers/nothing").status)
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/openid-connect/issuers").status, "clients are not shown them")
}
