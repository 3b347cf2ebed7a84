package oidc_test

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Wrong profile: under each profile the token of each other vendor is explained by a
// profile that reads it, and ID tokens by none.
func TestTheRightProfileIsNamed(t *testing.T) {
	issuer := newIssuer(t)
	profiles := append(vendors[:len(vendors):len(vendors)], vendor{profile: oidc.RFC9068, audience: oidctest.Audience})
	for _, expected := range profiles {
		v := newVendorVerifier(t, issuer, expected.profile, expected.audience)
		for _, of := range profiles {
			e := v.Explain(issuer.Token(of.token...))
			require.Equal(t, expected.profile.String(), e.ExpectedProfile)
			if of.profile == expected.profile {
				require.True(t, e.FitsProfile, "%v", of.profile)
			}
			require.Equal(t, e.FitsProfile, e.ReadableBy == "", "%v under %v", of.profile, expected.profile)
			if e.ReadableBy != "" {
				named := profiles[slices.IndexFunc(profiles, func(p vendor) bool { return p.profile.String() == e.ReadableBy })]
				_, err := verifyToken(t, newVendorVerifier(t, issuer, named.profile, of.audience), issuer.Token(of.token...))
				require.NoError(t, err, "%v is said to read a token of %v", named.profile, of.profile)
			}
		}
		for _, more := range [][]oidctest.Change{nil, {oidctest.Without("nonce", "at_hash")}} {
			e := v.Explain(issuer.Token(append([]oidctest.Change{oidctest.IDToken(clientID)}, more...)...))
			require.False(t, e.FitsProfile)
			require.Empty(t, e.ReadableBy)
		}
	}
}

// Of profiles that read a token alike, that of the software is named.
func TestTheSoftwareIsNamed(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	for want, token := range map[string][]oidctest.Change{
		"Duende":                    {oidctest.Duende("a")},
		"WSO2":                      {oidctest.WSO2(), oidctest.Claim("scope", []string{"a"})},
		"SpringAuthorizationServer": {oidctest.SpringAuthorizationServer("a")},
		"Keycloak":                  {oidctest.Keycloak()},
		"Okta":                      {oidctest.Okta("a")},
		"Auth0":                     {oidctest.Auth0()},
		"EntraID":                   {oidctest.EntraID("2.0", "a")},
		"Cognito":                   {oidctest.Cognito()},
		"EntraIDAnyApplication":     {oidctest.EntraID("2.0", ""), oidctest.Without("scp"), oidctest.Claim("idtyp", "app")},
	} {
		require.Equal(t, want, v.Explain(issuer.Token(token...)).ReadableBy)
	}
	require.Equal(t, "Duende", v.Explain(issuer.Token(oidctest.Duende("a"), oidctest.Without("sub", "idp"))).ReadableBy, "of a client")
}

// R6's kind: a token over the limit is refused for nothing, and a logger that wants it
// explained must not change that.
func TestExplainingATokenOverTheLimitCostsNothing(t *testing.T) {
	v := newVerifier(t, newIssuer(t))
	encode := base64.RawURLEncoding.EncodeToString
	var claims strings.Builder
	claims.WriteString(`{"iss":"x"`)
	for i := 0; claims.Len() < 740_000; i++ {
		fmt.Fprintf(&claims, `,"%x":1`, i)
	}
	claims.WriteString(`}`)
	raw := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode([]byte(claims.String())) + ".AAAA"
	_, err := v.VerifyToken(t.Context(), raw)
	requireKind(t, oidc.ErrTooLarge, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Equal(t, "JWT", v.Explain(raw).Form)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), "bytes")
}
