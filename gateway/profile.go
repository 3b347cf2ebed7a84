package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/oidc"
)

// profilesOf returns how an issuer may spell its tokens: by RFC 9068, and by the
// habits of the vendor that its URL tells of. Kong takes every spelling; each of
// the library's profiles still tells access tokens from ID tokens.
func profilesOf(issuer string) []oidc.Profile {
	u, err := url.Parse(issuer)
	if err != nil {
		return []oidc.Profile{oidc.RFC9068}
	}
	host := u.Hostname()
	var vendor oidc.Profile
	switch {
	case strings.Contains(u.Path, "/realms/"):
		vendor = oidc.Keycloak
	case strings.HasSuffix(host, ".auth0.com"):
		vendor = oidc.Auth0
	case slices.ContainsFunc(oktaDomains, func(d string) bool { return strings.HasSuffix(host, d) }):
		vendor = oidc.Okta
	case slices.Contains(entraHosts, host), strings.HasSuffix(host, ".ciamlogin.com"):
		vendor = oidc.EntraID
	case strings.HasPrefix(host, "cognito-idp."):
		vendor = oidc.Cognito
	default:
		return []oidc.Profile{oidc.RFC9068}
	}
	return []oidc.Profile{oidc.RFC9068, vendor}
}

// The domains of Okta's cells, and the hosts of Entra ID's clouds (the global one, US
// Government, 21Vianet in China).
var (
	oktaDomains = []string{".okta.com", ".oktapreview.com", ".okta-emea.com", ".okta-gov.com", ".okta.mil"}
	entraHosts  = []string{
		"login.microsoftonline.com", "sts.windows.net",
		"login.microsoftonline.us",
		"login.partner.microsoftonline.cn", "login.chinacloudapi.cn", "sts.chinacloudapi.cn",
	}
)

// profileNamed returns the profile with a name.
func profileNamed(name string) (*oidc.Profile, error) {
	var names []string
	for v := oidc.RFC9068; v.String() != "unknown"; v++ {
		if v.String() == name {
			p := oidc.Profile(v)
			return &p, nil
		}
		names = append(names, v.String())
	}
	return nil, fmt.Errorf("it can be %s", strings.Join(names, ", "))
}
