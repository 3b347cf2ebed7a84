package main

import (
	"fmt"
	"net/url"
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
	case strings.HasSuffix(host, ".okta.com"), strings.HasSuffix(host, ".oktapreview.com"):
		vendor = oidc.Okta
	case host == "login.microsoftonline.com", host == "sts.windows.net":
		vendor = oidc.EntraID
	case strings.HasPrefix(host, "cognito-idp."):
		vendor = oidc.Cognito
	default:
		return []oidc.Profile{oidc.RFC9068}
	}
	return []oidc.Profile{oidc.RFC9068, vendor}
}

// profileNamed returns the profile with a name.
func profileNamed(name string) (*oidc.Profile, error) {
	var names []string
	for _, p := range []oidc.Profile{oidc.RFC9068, oidc.Keycloak, oidc.Auth0, oidc.Okta, oidc.EntraID, oidc.Cognito} {
		if p.String() == name {
			return &p, nil
		}
		names = append(names, p.String())
	}
	return nil, fmt.Errorf("it can be %s", strings.Join(names, ", "))
}
