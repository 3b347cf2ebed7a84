package profile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/profile"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestEveryProfileCanBeNamedInAnyCase(t *testing.T) {
	for name, want := range map[string]oidc.Vendor{"": oidc.RFC9068, "rfc9068": oidc.RFC9068, "entra": oidc.EntraID, "Keycloak": oidc.Keycloak, "wso2": oidc.WSO2, "spring": oidc.SpringAuthorizationServer} {
		v, err := profile.Named(name)
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	_, err := profile.Named("hydra")
	require.ErrorContains(t, err, "there are rfc9068, keycloak, auth0")
}

func TestAdviceNamesAProfileOrWhatElseToDo(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://sso.example"))
	for name, tc := range map[string]struct {
		by     oidc.Vendor
		token  string
		fits   bool
		advice string
	}{
		"fits":                {oidc.Okta, issuer.Token(oidctest.Okta("a")), true, ""},
		"another":             {oidc.RFC9068, issuer.Token(oidctest.Okta("a")), false, "needs oidc.WithProfile(oidc.Okta), if that is the issuer's software"},
		"none is needed":      {oidc.Keycloak, issuer.Token(), false, "needs no profile: it is as RFC 9068 has it"},
		"an ID token":         {oidc.RFC9068, issuer.Token(oidctest.IDToken("app")), false, `no profile reads it (typ is "JWT"): it is an ID token or the like, or the issuer needs a description (oidc.Described)`},
		"lists under Duende":  {oidc.RFC9068, issuer.Token(oidctest.Duende("a")), false, "needs oidc.WithProfile(oidc.Duende), if that is the issuer's software"},
		"no JWT, no profile ": {oidc.RFC9068, "opaque", false, `no profile reads it (typ is ""): it is an ID token or the like, or the issuer needs a description (oidc.Described)`},
	} {
		t.Run(name, func(t *testing.T) {
			fits, advice, err := profile.Fits(tc.token, tc.by)
			require.NoError(t, err)
			require.Equal(t, tc.fits, fits)
			require.Equal(t, tc.advice, advice)
		})
	}
}
