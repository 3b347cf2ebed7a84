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
	all = append(all, vendor{oidc.RFC9068, oidctest.Audience, nil})
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
	issuers, err := oidc.ByIssuer(newAnyAudienceVerifier(t, first, oidc.RFC9068), newAnyAudienceVerifier(t, second, oidc.RFC9068))
	require.NoError(t, err)
	for _, issuer := range []*oidctest.Issuer{first, second} {
		_, err = verifyToken(t, issuers, issuer.Token(oidctest.Claim("aud", elsewhere)))
		require.NoError(t, err)
	}
}

func TestAnyAudienceInAnswers(t *testing.T) {
	introspector := func(t *testing.T, as *fakeAS, more ...oidc.Option) *oidc.Introspector {
		i, err := oidc.NewIntrospector(fakeIssuer, "", oidc.ClientSecretBasic("api", "s3cret"), append(more,
			oidc.WithHTTPClient(as.client()), oidc.WithIntrospectionEndpoint("https://as.example/introspect"), oidc.DangerouslyAcceptAnyAudience())...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = i.Close() })
		return i
	}
	bare := without("token_type")
	for name, tc := range map[string]struct {
		edits []func(map[string]any)
		opts  []oidc.Option
		want  error
	}{
		"INTRO-2.2-03 aud is another":             {edits: []func(map[string]any){with("aud", elsewhere)}},
		"INTRO-2.2-03 aud is missing":             {edits: []func(map[string]any){without("aud")}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud is an empty list":       {edits: []func(map[string]any){with("aud", []string{})}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud is empty":               {edits: []func(map[string]any){with("aud", "")}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud need not be there":      {edits: []func(map[string]any){without("aud")}, opts: []oidc.Option{oidc.DangerouslyAllowMissingAudience()}},
		"INTRO-2.2-03 an empty list is no option": {edits: []func(map[string]any){with("aud", []string{})}, opts: []oidc.Option{oidc.DangerouslyAllowMissingAudience()}, want: oidc.ErrAudience},
		"AT-X-01 a refresh token: a scope only":   {edits: []func(map[string]any){bare, without("aud")}, opts: []oidc.Option{oidc.DangerouslyAllowMissingAudience()}, want: oidc.ErrNotAccessToken},
		"INTRO-2.2-03 iss is another":             {edits: []func(map[string]any){with("iss", elsewhere)}, want: oidc.ErrIssuer},
		"INTRO-2.2-04 cnf is empty":               {edits: []func(map[string]any){with("cnf", map[string]any{})}, want: oidc.ErrConfirmation},
		"AT-5-01 only its audience tells":         {edits: []func(map[string]any){bare, without("scope"), with("aud", "app")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 nor does a missing one":          {edits: []func(map[string]any){bare, without("scope"), without("aud")}, opts: []oidc.Option{oidc.DangerouslyAllowMissingAudience()}, want: oidc.ErrNotAccessToken},
		"AT-5-01 token_type is null":              {edits: []func(map[string]any){with("token_type", nil), without("scope")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 a scope and a nonce":             {edits: []func(map[string]any){bare, with("nonce", "n")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 typ is not a name":               {edits: []func(map[string]any){bare, without("scope"), with("typ", 1)}, want: oidc.ErrNotAccessToken},
		"AT-5-01 typ is that of any JWT":          {edits: []func(map[string]any){bare, without("scope"), with("typ", "JWT")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 token_use is not a name":         {edits: []func(map[string]any){bare, without("scope"), with("token_use", true)}, want: oidc.ErrNotAccessToken},
		"AT-5-01 an ID token of Keycloak":         {edits: []func(map[string]any){with("typ", "ID")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 at_hash":                         {edits: []func(map[string]any){with("at_hash", "x")}, want: oidc.ErrNotAccessToken},
		"an access token, by its scope":           {edits: []func(map[string]any){bare}},
		"an access token, by Keycloak's typ":      {edits: []func(map[string]any){bare, without("scope"), with("typ", "Bearer")}},
		"an access token, by Hydra's token_use":   {edits: []func(map[string]any){bare, without("scope"), with("token_use", "access_token")}},
		"an access token, by token_type and less": {edits: []func(map[string]any){without("scope")}},
	} {
		t.Run(name, func(t *testing.T) {
			as := newFakeAS()
			as.introspect = saying(goodAnswer(tc.edits...))
			_, err := introspector(t, as, tc.opts...).VerifyToken(t.Context(), "opaque")
			require.Equal(t, tc.want, err)
		})
	}
	t.Run("IJWT-5-01 a signed answer is for our client id, and for nobody else", func(t *testing.T) {
		issuer := newIssuer(t)
		signed := func() *oidc.Introspector {
			i, err := oidc.NewIntrospector(issuer.URL, "", oidc.ClientSecretBasic("client", "secret"),
				oidc.WithHTTPClient(issuer.Client()), oidc.WithSignedAnswers(), oidc.DangerouslyAcceptAnyAudience())
			require.NoError(t, err)
			t.Cleanup(func() { _ = i.Close() })
			return i
		}
		accept(t, signed(), issuer.OpaqueToken(oidctest.Claim("aud", elsewhere)))
		for _, aud := range []any{elsewhere, oidctest.Audience, "", []string{}} {
			issuer.EditIntrospectionJWT(func(_, c map[string]any) { c["aud"] = aud })
			_, err := signed().VerifyToken(t.Context(), issuer.OpaqueToken())
			requireOutage(t, err)
		}
	})
}

func TestAnyAudienceAndAnAudienceExcludeEachOther(t *testing.T) {
	const issuer = "https://issuer.example"
	anyAudience, auth := oidc.DangerouslyAcceptAnyAudience(), oidc.ClientSecretBasic("id", "secret")
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
		"the option for missing ones":   {"", []oidc.Option{oidc.DangerouslyAllowMissingAudience()}, "oidc: an audience is empty"},
		"AT-5-01 Auth0, which cannot tell": {"", []oidc.Option{oidc.WithProfile(oidc.Auth0), anyAudience},
			"oidc: DangerouslyAcceptAnyAudience: by the profile Auth0 nothing but aud tells access tokens from ID tokens; name an audience"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "the option for missing ones" {
				v, err := oidc.New(issuer, tc.audience, tc.opts...)
				require.EqualError(t, err, tc.want)
				require.Nil(t, v)
			}
			if name != "AT-5-01 Auth0, which cannot tell" { // of answers, it is the issuer who tells
				i, err := oidc.NewIntrospector(issuer, tc.audience, auth, tc.opts...)
				require.EqualError(t, err, tc.want)
				require.Nil(t, i)
			}
		})
	}
	_, err := oidc.NewClientCredentials(issuer, anyAudience)
	require.EqualError(t, err, "oidc: DangerouslyAcceptAnyAudience does not apply to NewClientCredentials")
}
