package introspect_test

import (
	"testing"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// elsewhere is the audience of another service.
const elsewhere = "https://other.example"

func TestAnyAudienceInAnswers(t *testing.T) {
	introspector := func(t *testing.T, as *issuertest.AS, more ...any) *introspect.Introspector {
		i, err := newFrom(t, issuertest.Issuer, "", clientauth.SecretBasic("api", "s3cret"), append(more,
			oidc.WithHTTPClient(as.Client()), introspect.WithEndpoint("https://as.example/introspect"), introspect.DangerouslyAcceptAnyAudience())...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = i.Close() })
		return i
	}
	bare := issuertest.Without("token_type")
	for name, tc := range map[string]struct {
		edits []func(map[string]any)
		opts  []any
		want  error
	}{
		"INTRO-2.2-03 aud is another":             {edits: []func(map[string]any){issuertest.With("aud", elsewhere)}},
		"INTRO-2.2-03 aud is missing":             {edits: []func(map[string]any){issuertest.Without("aud")}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud is an empty list":       {edits: []func(map[string]any){issuertest.With("aud", []string{})}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud is empty":               {edits: []func(map[string]any){issuertest.With("aud", "")}, want: oidc.ErrAudience},
		"INTRO-2.2-03 aud need not be there":      {edits: []func(map[string]any){issuertest.Without("aud")}, opts: []any{introspect.DangerouslyAllowMissingAudience()}},
		"INTRO-2.2-03 an empty list is no option": {edits: []func(map[string]any){issuertest.With("aud", []string{})}, opts: []any{introspect.DangerouslyAllowMissingAudience()}, want: oidc.ErrAudience},
		"AT-X-01 a refresh token: a scope only":   {edits: []func(map[string]any){bare, issuertest.Without("aud")}, opts: []any{introspect.DangerouslyAllowMissingAudience()}, want: oidc.ErrNotAccessToken},
		"INTRO-2.2-03 iss is another":             {edits: []func(map[string]any){issuertest.With("iss", elsewhere)}, want: oidc.ErrIssuer},
		"INTRO-2.2-04 cnf is empty":               {edits: []func(map[string]any){issuertest.With("cnf", map[string]any{})}, want: oidc.ErrConfirmation},
		"AT-5-01 only its audience tells":         {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("aud", "app")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 nor does a missing one":          {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.Without("aud")}, opts: []any{introspect.DangerouslyAllowMissingAudience()}, want: oidc.ErrNotAccessToken},
		"AT-5-01 token_type is null":              {edits: []func(map[string]any){issuertest.With("token_type", nil), issuertest.Without("scope")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 a scope and a nonce":             {edits: []func(map[string]any){bare, issuertest.With("nonce", "n")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 typ is not a name":               {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("typ", 1)}, want: oidc.ErrNotAccessToken},
		"AT-5-01 typ is that of any JWT":          {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("typ", "JWT")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 token_use is not a name":         {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("token_use", true)}, want: oidc.ErrNotAccessToken},
		"AT-5-01 an ID token of Keycloak":         {edits: []func(map[string]any){issuertest.With("typ", "ID")}, want: oidc.ErrNotAccessToken},
		"AT-5-01 at_hash":                         {edits: []func(map[string]any){issuertest.With("at_hash", "x")}, want: oidc.ErrNotAccessToken},
		"an access token, by its scope":           {edits: []func(map[string]any){bare}},
		"an access token, by Keycloak's typ":      {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("typ", "Bearer")}},
		"an access token, by Hydra's token_use":   {edits: []func(map[string]any){bare, issuertest.Without("scope"), issuertest.With("token_use", "access_token")}},
		"an access token, by token_type and less": {edits: []func(map[string]any){issuertest.Without("scope")}},
	} {
		t.Run(name, func(t *testing.T) {
			as := issuertest.New()
			as.Introspect = issuertest.Saying(issuertest.GoodAnswer(tc.edits...))
			_, err := introspector(t, as, tc.opts...).VerifyToken(t.Context(), "opaque")
			require.Equal(t, tc.want, err)
		})
	}
	t.Run("IJWT-5-01 a signed answer is for our client id, and for no other audience", func(t *testing.T) {
		issuer := newIssuer(t)
		signed := func() *introspect.Introspector {
			i, err := newFrom(t, issuer.URL, "", clientauth.SecretBasic("client", "secret"),
				oidc.WithHTTPClient(issuer.Client()), introspect.RequireSigned(), introspect.DangerouslyAcceptAnyAudience())
			require.NoError(t, err)
			t.Cleanup(func() { _ = i.Close() })
			return i
		}
		accept(t, signed(), issuer.OpaqueToken(oidctest.Claim("aud", elsewhere)))
		for _, aud := range []any{elsewhere, oidctest.Audience, "", []string{}} {
			issuer.EditIntrospectionJWT(func(_, c map[string]any) { c["aud"] = aud })
			_, err := signed().VerifyToken(t.Context(), issuer.OpaqueToken())
			issuertest.RequireOutage(t, err)
		}
	})
}

func TestAnyAudienceAndAnAudienceExcludeEachOther(t *testing.T) {
	anyAudience := introspect.DangerouslyAcceptAnyAudience()
	for name, tc := range map[string]struct {
		audience string
		opts     []any
		want     string
	}{
		"an audience":                   {"a", []any{anyAudience}, "introspect: DangerouslyAcceptAnyAudience and an audience exclude each other"},
		"audiences":                     {"", []any{anyAudience, introspect.WithAudiences("a")}, "introspect: DangerouslyAcceptAnyAudience and an audience exclude each other"},
		"twice":                         {"", []any{anyAudience, anyAudience}, "introspect: DangerouslyAcceptAnyAudience is given twice"},
		"neither":                       {"", nil, "introspect: an audience is empty"},
		"audiences beside an empty one": {"", []any{introspect.WithAudiences("a")}, "introspect: an audience is empty"},
		"the option for missing ones":   {"", []any{introspect.DangerouslyAllowMissingAudience()}, "introspect: an audience is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := newFrom(t, "https://issuer.example", tc.audience, clientauth.SecretBasic("id", "secret"), tc.opts...)
			require.EqualError(t, err, tc.want)
			require.Nil(t, i)
		})
	}
}
