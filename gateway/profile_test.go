package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

func TestVendorsAreToldByTheirDomains(t *testing.T) {
	for issuer, want := range map[string]oidc.Profile{
		"https://sso.example/realms/main":                       oidc.Keycloak,
		"https://shop.eu.auth0.com/":                            oidc.Auth0,
		"https://shop.okta.com/oauth2/default":                  oidc.Okta,
		"https://shop.oktapreview.com/oauth2/default":           oidc.Okta,
		"https://shop.okta-emea.com/oauth2/default":             oidc.Okta,
		"https://agency.okta-gov.com/oauth2/default":            oidc.Okta,
		"https://login.microsoftonline.com/t/v2.0":              oidc.EntraID,
		"https://login.microsoftonline.us/t/v2.0":               oidc.EntraID,
		"https://login.partner.microsoftonline.cn/t/v2.0":       oidc.EntraID,
		"https://sts.windows.net/t/":                            oidc.EntraID,
		"https://sts.chinacloudapi.cn/t/":                       oidc.EntraID,
		"https://shop.ciamlogin.com/t/v2.0":                     oidc.EntraID,
		"https://cognito-idp.us-gov-west-1.amazonaws.com/p":     oidc.Cognito,
		"https://cognito-idp.cn-north-1.amazonaws.com.cn/p":     oidc.Cognito,
		"https://login.shop.example/oauth2/default":             nil, // custom domains tell nothing
		"https://login.microsoftonline.com.evil.example/t/v2.0": nil,
		"https://evilokta.com/oauth2/default":                   nil,
	} {
		profiles := []oidc.Profile{oidc.RFC9068}
		if want != nil {
			profiles = append(profiles, want)
		}
		require.Equal(t, profiles, profilesOf(issuer), issuer)
	}
}

func TestEveryVendorCanBeNamed(t *testing.T) {
	for _, want := range []oidc.Profile{oidc.RFC9068, oidc.EntraIDAnyApplication, oidc.Duende, oidc.SpringAuthorizationServer} {
		p, err := profileNamed(want.String())
		require.NoError(t, err)
		require.Equal(t, want, *p)
	}
	_, err := profileNamed("Hydra")
	require.ErrorContains(t, err, "it can be RFC9068, Keycloak, Auth0, Okta, EntraID, EntraIDAnyApplication, Cognito, Duende")
}
