package middleware_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// The lines of docs/issuers for issuers that cannot be run here. Those of the others run
// in interop.

func auth0() (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New("https://shop.eu.auth0.com/", "https://api.example", oidc.WithProfile(oidc.Auth0))),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
}

func auth0WithItsOwnDomain() (*middleware.Guard, error) {
	own, errOwn := oidc.New("https://login.shop.example/", "https://api.example", oidc.WithProfile(oidc.Auth0))
	vendors, errVendors := oidc.New("https://shop.eu.auth0.com/", "https://api.example", oidc.WithProfile(oidc.Auth0))
	if err := errors.Join(errOwn, errVendors); err != nil {
		return nil, err
	}
	return middleware.New(
		middleware.WithTokens(oidc.AnyOf(own, vendors)),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
}

func okta() (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New("https://shop.okta.com/oauth2/default", "https://api.example", oidc.WithProfile(oidc.Okta))),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
}

func entraV2() (*middleware.Guard, error) {
	const tenant, application = "8d8d7f1a-5f0b-4e0c-9a0e-3f6c1b2d4e5f", "2b1c0d9e-7a6b-4c5d-8e9f-0a1b2c3d4e5f"
	return middleware.New(
		middleware.WithTokens(oidc.New("https://login.microsoftonline.com/"+tenant+"/v2.0", application, oidc.WithProfile(oidc.EntraID))),
		middleware.WithMTLS(mtlspop.New()),
		middleware.AllowUnbound(),
	)
}

func entraBound() (*middleware.Guard, error) {
	const tenant, application = "8d8d7f1a-5f0b-4e0c-9a0e-3f6c1b2d4e5f", "2b1c0d9e-7a6b-4c5d-8e9f-0a1b2c3d4e5f"
	return middleware.New(
		middleware.WithTokens(oidc.New("https://login.microsoftonline.com/"+tenant+"/v2.0", application, oidc.WithProfile(oidc.EntraID))),
		middleware.WithMTLS(mtlspop.New(mtlspop.AcceptMTLSPoP())),
	)
}

func entraV1() (*oidc.Verifier, error) {
	const tenant = "8d8d7f1a-5f0b-4e0c-9a0e-3f6c1b2d4e5f"
	return oidc.New("https://sts.windows.net/"+tenant+"/", "api://orders", oidc.WithProfile(oidc.EntraID),
		oidc.WithMetadataURL("https://login.microsoftonline.com/"+tenant+"/.well-known/openid-configuration"))
}

func cognito() (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a1B2c3D4e", "1example23456789",
			oidc.WithProfile(oidc.Cognito), oidc.WithAudiences("https://api.example"))),
		middleware.AllowUnbound(),
	)
}

func described() (*middleware.Guard, error) {
	profile := oidc.Described(oidc.Dialect{
		Name:     "our issuer",
		Types:    []string{"JWT"},
		ClientID: []string{"azp", "client_id"},
		Scopes:   []string{"scp", "scope"},
		MayLack:  []string{"jti"},
		Evidence: []oidc.Evidence{{Claim: "token_kind", Values: []string{"access"}}},
	})
	return middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example", oidc.WithProfile(profile))),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
}

// A server's project of the Model Context Protocol gives such tokens (P3): typed, with
// neither jti nor client_id.
func withoutIDs() (*middleware.Guard, error) {
	profile := oidc.Described(oidc.Dialect{Name: "typed, without ids", MayLack: []string{"jti", "client_id"}})
	return middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://mcp.example/mcp", oidc.WithProfile(profile))),
		middleware.WithDPoP(dpop.New("https://mcp.example", dpop.MCP())),
		middleware.MCP(middleware.ProtectedResource{
			Identifier:           "https://mcp.example/mcp",
			AuthorizationServers: []string{"https://issuer.example"},
		}),
	)
}

func TestTheLinesOfTheIssuersPages(t *testing.T) {
	for name, guarded := range map[string]func() (*middleware.Guard, error){
		"auth0.md": auth0, "auth0.md, own domain": auth0WithItsOwnDomain, "okta.md": okta, "entra-id.md": entraV2, "entra-id.md, bound": entraBound, "cognito.md": cognito,
		"another.md": described, "another.md, MCP": withoutIDs,
	} {
		guard, err := guarded()
		require.NoError(t, err, name)
		require.NoError(t, guard.Close())
	}
	page, err := os.ReadFile("docs/issuers/another.md")
	require.NoError(t, err)
	for v := oidc.RFC9068; v.String() != "unknown"; v++ {
		require.Contains(t, string(page), "`"+v.String()+"`", "the table of profiles")
	}
	v, err := entraV1()
	require.NoError(t, err)
	require.NoError(t, v.Close())
}
