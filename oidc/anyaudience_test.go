package oidc_test

import (
	"testing"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// elsewhere is the audience of another service.
const elsewhere = "https://other.example"

func newAnyAudienceVerifier(t *testing.T, issuer *oidctest.Issuer, p oidc.Profile) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, "", oidc.WithHTTPClient(issuer.Client()), oidc.WithProfile(p), oidc.DangerouslyAcceptAnyAudience())
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// anyAudience are the profiles that can do without an audience, each with its
// issuer's usual token.
func anyAudience() (all []vendor) {
	all = append(all, vendor{profile: oidc.RFC9068, audience: oidctest.Audience})
	for _, v := range vendors {
		if v.profile != oidc.Auth0 {
			all = append(all, v)
		}
	}
	return all
}

func TestAnyAudience(t *testing.T) {
	issuer := newIssuer(t)
	for _, vendor := range anyAudience() {
		v := newAnyAudienceVerifier(t, issuer, vendor.profile)
		for name, tc := range map[string]struct {
			aud  any
			want error
		}{
			"AT-4-04 another":                   {elsewhere, nil},
			"AT-4-04 a list without ours":       {[]string{elsewhere, "x"}, nil},
			"AT-4-04 empty":                     {"", oidc.ErrAudience},
			"AT-4-04 empty list":                {[]string{}, oidc.ErrAudience},
			"AT-4-04 a list of empty ones":      {[]string{"", ""}, oidc.ErrAudience},
			"AT-4-04 nested list":               {[][]string{{elsewhere}}, oidc.ErrClaims},
			"AT-4-04 a number beside":           {[]any{1, elsewhere}, oidc.ErrClaims},
			"AT-4-04 an object":                 {map[string]string{"0": elsewhere}, oidc.ErrClaims},
			"AT-4-04 a second one is no string": {[]any{elsewhere, nil}, oidc.ErrClaims},
		} {
			t.Run(vendor.profile.String()+" "+name, func(t *testing.T) {
				_, err := verifyToken(t, v, issuer.Token(append(vendor.token[:len(vendor.token):len(vendor.token)], oidctest.Claim("aud", tc.aud))...))
				requireKind(t, tc.want, err)
			})
		}
		for name, absent := range map[string]oidctest.Change{"absent": oidctest.Without("aud"), "null": oidctest.Claim("aud", nil)} {
			t.Run(vendor.profile.String()+" AT-2.2-01 AT-4-04 "+name, func(t *testing.T) {
				_, err := verifyToken(t, v, issuer.Token(append(vendor.token[:len(vendor.token):len(vendor.token)], absent)...))
				if vendor.profile == oidc.Cognito { // the client takes its place
					require.NoError(t, err)
					_, err = verifyToken(t, v, issuer.Token(oidctest.Cognito(), oidctest.Without("client_id")))
				}
				requireKind(t, oidc.ErrAudience, err)
			})
		}
	}
}

func TestAnyAudienceAcceptsNoOtherTokens(t *testing.T) {
	issuer := newIssuer(t)
	for _, vendor := range anyAudience() {
		v := newAnyAudienceVerifier(t, issuer, vendor.profile)
		tokens := otherTokens(issuer, vendor)
		delete(tokens, "AT-4-04 another audience")
		if vendor.profile == oidc.RFC9068 { // for which typ at+jwt is enough
			for _, name := range []string{"AT-5-01 an access token with at_hash", "AT-5-01 an access token with c_hash", "AT-5-01 an access token with s_hash", "AT-X-01 a token of typ at+jwt, but with ID claims"} {
				delete(tokens, name)
			}
		}
		// What gives an ID token away if its audience is not looked at.
		idToken := func(more ...oidctest.Change) string {
			return issuer.Token(append([]oidctest.Change{oidctest.IDToken(clientID), oidctest.Without("nonce", "at_hash"), oidctest.Claim("jti", "1")}, more...)...)
		}
		tokens["AT-5-01 an ID token for its client"] = idToken()
		tokens["AT-5-01 an ID token with roles and azp"] = idToken(oidctest.Claim("roles", []string{"r"}))
		tokens["AT-5-01 an ID token with roles and appid"] = idToken(oidctest.Claim("roles", []string{"r"}), oidctest.Rename("azp", "appid"))
		tokens["AT-5-01 an ID token for several, with roles"] = idToken(oidctest.Claim("roles", []string{"r"}), oidctest.Claim("aud", []string{elsewhere, clientID}))
		tokens["AT-5-01 an ID token that another client asked for"] = idToken(oidctest.Claim("aud", elsewhere))
		tokens["AT-5-01 an ID token without azp"] = idToken(oidctest.Without("azp"))
		tokens["AT-5-01 an ID token with client_id and scope"] = idToken(oidctest.Claim("client_id", clientID), oidctest.Claim("scope", "openid"))
		for name, raw := range tokens {
			t.Run(vendor.profile.String()+" "+name, func(t *testing.T) {
				_, err := verifyToken(t, v, raw)
				require.Equal(t, "invalid_token", code(err), "%v", err)
			})
		}
	}
}

func TestAnyAudienceByEntraID(t *testing.T) {
	issuer := newIssuer(t)
	v := newAnyAudienceVerifier(t, issuer, oidc.EntraID)
	entra := oidctest.EntraID("2.0", "a")
	roles := []oidctest.Change{entra, oidctest.Without("scp"), oidctest.Claim("roles", []string{"r"})}
	_, err := verifyToken(t, v, issuer.Token(roles...))
	require.NoError(t, err, "an application with roles")
	_, err = verifyToken(t, v, issuer.Token(entra, oidctest.Claim("aud", clientID)))
	require.NoError(t, err, "a user of the API's own registration")
	_, err = verifyToken(t, v, issuer.Token(append(roles, oidctest.Claim("aud", clientID))...))
	requireKind(t, oidc.ErrNotAccessToken, err)
}

func TestAnyAudienceOfSeveralIssuers(t *testing.T) {
	first, second := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory("https://second.example"))
	issuers, err := oidc.AnyOf(newAnyAudienceVerifier(t, first, oidc.RFC9068), newAnyAudienceVerifier(t, second, oidc.RFC9068))
	require.NoError(t, err)
	for _, issuer := range []*oidctest.Issuer{first, second} {
		_, err = verifyToken(t, issuers, issuer.Token(oidctest.Claim("aud", elsewhere)))
		require.NoError(t, err)
	}
}

func TestAnyAudienceAndAnAudienceExcludeEachOther(t *testing.T) {
	const issuer = "https://issuer.example"
	anyAudience := oidc.DangerouslyAcceptAnyAudience()
	for name, tc := range map[string]struct {
		audience string
		opts     []oidc.Option
		want     string
	}{
		"an audience":                   {"a", []oidc.Option{anyAudience}, "oidc: DangerouslyAcceptAnyAudience and an audience exclude each other"},
		"audiences":                     {"", []oidc.Option{anyAudience, oidc.WithAudiences("a")}, "oidc: DangerouslyAcceptAnyAudience and an audience exclude each other"},
		"audiences before it":           {"", []oidc.Option{oidc.WithAudiences("a"), anyAudience}, "oidc: DangerouslyAcceptAnyAudience and an audience exclude each other"},
		"twice":                         {"", []oidc.Option{anyAudience, anyAudience}, "oidc: DangerouslyAcceptAnyAudience is given twice"},
		"neither":                       {"", nil, "oidc: an audience is empty"},
		"audiences beside an empty one": {"", []oidc.Option{oidc.WithAudiences("a")}, "oidc: an audience is empty"},
		"AT-5-01 Auth0, which cannot tell": {"", []oidc.Option{oidc.WithProfile(oidc.Auth0), anyAudience},
			"oidc: DangerouslyAcceptAnyAudience: by the profile Auth0 nothing but aud tells access tokens from ID tokens; name an audience"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := oidc.New(issuer, tc.audience, tc.opts...)
			require.EqualError(t, err, tc.want)
			require.Nil(t, v)
		})
	}
}
