package oidc_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// ours is the dialect of an issuer that no Vendor stands for.
func ours() oidc.Dialect {
	return oidc.Dialect{
		Name:       "ours",
		Types:      []string{"JWT", "application/Our-AT+jwt"},
		ClientID:   []string{"app", "client_id"},
		TokenID:    []string{"tid"},
		Scopes:     []string{"permissions"},
		ScopeLists: true,
		MayLack:    []string{"sub", "iat"},
		Evidence:   []oidc.Evidence{{Claim: "kind", Values: []string{"access", "service"}}, {Claim: "tty", Values: []string{"at"}}},
	}
}

// ourToken is how ours spells a token.
func ourToken(more ...oidctest.Change) []oidctest.Change {
	return append([]oidctest.Change{
		oidctest.Header("typ", "JWT"), oidctest.Rename("client_id", "app"), oidctest.Rename("jti", "tid"),
		oidctest.Claim("permissions", []string{"a", "b"}), oidctest.Claim("kind", "access"), oidctest.Claim("tty", "at"),
	}, more...)
}

func TestADescribedIssuersTokens(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.WithProfile(oidc.Described(ours())))
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"as described":                           {nil, nil},
		"another of the listed values":           {[]oidctest.Change{oidctest.Claim("kind", "service")}, nil},
		"scopes in a string":                     {[]oidctest.Change{oidctest.Claim("permissions", "a b")}, nil},
		"without what may be missing":            {[]oidctest.Change{oidctest.Without("sub", "iat")}, nil},
		"at+jwt, which needs no evidence":        {[]oidctest.Change{oidctest.Header("typ", "at+jwt"), oidctest.Without("kind", "tty")}, nil},
		"a type of its own, likewise":            {[]oidctest.Change{oidctest.Header("typ", "our-at+jwt"), oidctest.Without("kind", "tty")}, nil},
		"evidence outweighs nonce":               {[]oidctest.Change{oidctest.Claim("nonce", "n")}, nil},
		"AT-5-01 without one piece of evidence":  {[]oidctest.Change{oidctest.Without("tty")}, oidc.ErrNotAccessToken},
		"AT-5-01 without all of it":              {[]oidctest.Change{oidctest.Without("kind", "tty")}, oidc.ErrNotAccessToken},
		"AT-5-01 another value":                  {[]oidctest.Change{oidctest.Claim("kind", "id")}, oidc.ErrNotAccessToken},
		"AT-5-01 the value in another case":      {[]oidctest.Change{oidctest.Claim("kind", "Access")}, oidc.ErrNotAccessToken},
		"AT-5-01 the value in a list":            {[]oidctest.Change{oidctest.Claim("kind", []string{"access"})}, oidc.ErrNotAccessToken},
		"AT-5-01 evidence that is null":          {[]oidctest.Change{oidctest.Claim("kind", nil)}, oidc.ErrNotAccessToken},
		"AT-5-01 an ID token":                    {[]oidctest.Change{oidctest.IDToken(oidctest.Audience), oidctest.Without("kind")}, oidc.ErrNotAccessToken},
		"AT-4-01 without typ":                    {[]oidctest.Change{oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-X-01 a type that is not listed":      {[]oidctest.Change{oidctest.Header("typ", "dpop+jwt")}, oidc.ErrType},
		"AT-2.2-01 without what must be there":   {[]oidctest.Change{oidctest.Without("tid")}, oidc.ErrNoID},
		"AT-2.2-01 without a client":             {[]oidctest.Change{oidctest.Without("app")}, oidc.ErrNoClientID},
		"AT-2.2-01 without subject and client":   {[]oidctest.Change{oidctest.Without("sub", "app")}, oidc.ErrNoSubject},
		"AT-2.2-02 scopes of another form":       {[]oidctest.Change{oidctest.Claim("permissions", 7)}, oidc.ErrScope},
		"AT-4-04 another audience":               {[]oidctest.Change{oidctest.Claim("aud", "https://other.example")}, oidc.ErrAudience},
		"MTLS-X-02 a cnf that names no key here": {[]oidctest.Change{oidctest.Claim("cnf", map[string]any{})}, oidc.ErrConfirmation},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := verifyToken(t, v, issuer.Token(ourToken(tc.changes...)...))
			requireKind(t, tc.want, err)
			if err == nil {
				require.Equal(t, clientID, token.ClientID)
				require.Equal(t, []string{"a", "b"}, token.Scopes)
				require.NotEmpty(t, token.ID)
			}
		})
	}
}

func TestATokenWithoutSubjectSpeaksForItsClient(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer, oidc.WithProfile(oidc.Described(ours())))
	token, err := verifyToken(t, v, issuer.Token(ourToken(oidctest.Without("sub"))...))
	require.NoError(t, err)
	require.Equal(t, clientID, token.Subject)
	require.True(t, token.SubjectIsClient())
}

func TestDescriptionsThatLetOtherTokensPassAreRefused(t *testing.T) {
	with := func(edit func(*oidc.Dialect)) oidc.Dialect {
		d := ours()
		edit(&d)
		return d
	}
	evidence := func(claim string, values ...string) func(*oidc.Dialect) {
		return func(d *oidc.Dialect) { d.Evidence = []oidc.Evidence{{Claim: claim, Values: values}} }
	}
	refused := map[string]oidc.Dialect{
		"ID tokens have the typ JWT":  with(func(d *oidc.Dialect) { d.Evidence = nil }),
		"or none, too":                with(func(d *oidc.Dialect) { d.Types, d.Evidence = []string{""}, nil }),
		"Name is missing":             with(func(d *oidc.Dialect) { d.Name = "" }),
		`"DPoP+JWT" is the type`:      with(func(d *oidc.Dialect) { d.Types = []string{"DPoP+JWT"} }),
		`"application/logout+jwt" is`: with(func(d *oidc.Dialect) { d.Types = []string{"application/logout+jwt"} }),
		`"jwt" is given twice`:        with(func(d *oidc.Dialect) { d.Types = []string{"JWT", "jwt"} }),
		"no values for the claim":     with(evidence("kind")),
		"an empty value":              with(evidence("kind", "access", "")),
		"Evidence: a claim without":   with(evidence("", "x")),
		"ClientID: a claim without":   with(func(d *oidc.Dialect) { d.ClientID = []string{""} }),
		`MayLack: "exp"`:              with(func(d *oidc.Dialect) { d.MayLack = []string{"exp"} }),
		`MayLack: "aud"`:              with(func(d *oidc.Dialect) { d.MayLack = []string{"aud"} }),
	}
	for _, claim := range []string{"aud", "azp", "sub", "scope", "scp", "iss", "client_id", "name", "email", "roles", "nonce", "at_hash", "events"} {
		refused[`the claim "`+claim+`" does not tell`] = with(evidence(claim, "x"))
	}
	for want, d := range refused {
		_, err := oidc.New(identifier, oidctest.Audience, oidc.WithProfile(oidc.Described(d)))
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "oidc: WithProfile: the dialect "), err.Error())
	}
	_, err := oidc.New(identifier, oidctest.Audience, oidc.WithProfile(nil))
	require.EqualError(t, err, "oidc: WithProfile: nil")
}

func TestTokensOfApplicationsWithoutRoles(t *testing.T) {
	issuer := newIssuer(t)
	app := []oidctest.Change{oidctest.EntraID("2.0", ""), oidctest.Without("scp"), oidctest.Claim("idtyp", "app")}
	with := func(more ...oidctest.Change) string {
		return issuer.Token(append(append([]oidctest.Change{}, app...), more...)...)
	}

	// B17: by default a token that grants nothing is refused.
	_, err := verifyToken(t, newVerifier(t, issuer, oidc.WithProfile(oidc.EntraID)), with())
	requireKind(t, oidc.ErrNotAccessToken, err)

	v := newVerifier(t, issuer, oidc.WithProfile(oidc.EntraIDAnyApplication))
	token, err := verifyToken(t, v, with())
	require.NoError(t, err)
	require.True(t, token.SubjectIsClient())
	for name, raw := range map[string]string{
		"without idtyp":         with(oidctest.Without("idtyp")),
		"idtyp of a user":       with(oidctest.Claim("idtyp", "user")),
		"an ID token":           with(oidctest.Claim("nonce", "n")),
		"without a client's id": with(oidctest.Without("azp")),
	} {
		_, err := verifyToken(t, v, raw)
		require.Equal(t, oidc.ErrNotAccessToken, err, name)
	}
}

func TestSubjectIsClientByEachProfile(t *testing.T) {
	const service = "0a1b"
	for name, tc := range map[string]struct {
		profile oidc.Profile
		token   []oidctest.Change
		want    bool
	}{
		"RFC9068, client":           {oidc.RFC9068, []oidctest.Change{oidctest.ForClient(service)}, true},
		"RFC9068, user":             {oidc.RFC9068, nil, false},
		"Auth0, client":             {oidc.Auth0, []oidctest.Change{oidctest.Auth0(), oidctest.Claim("sub", clientID+"@clients")}, true},
		"Auth0, user":               {oidc.Auth0, []oidctest.Change{oidctest.Auth0(), oidctest.Claim("sub", "auth0|7")}, false},
		"Auth0, another client":     {oidc.Auth0, []oidctest.Change{oidctest.Auth0(), oidctest.Claim("sub", "other@clients")}, false},
		"Okta, client":              {oidc.Okta, []oidctest.Change{oidctest.Okta("a"), oidctest.Claim("sub", clientID)}, true},
		"Entra ID, application":     {oidc.EntraID, []oidctest.Change{oidctest.EntraID("2.0", ""), oidctest.Without("scp"), oidctest.Claim("roles", []string{"r"}), oidctest.Claim("oid", "user-1")}, true},
		"Entra ID, user":            {oidc.EntraID, []oidctest.Change{oidctest.EntraID("2.0", "a"), oidctest.Claim("oid", "user-1")}, false},
		"Keycloak, service account": {oidc.Keycloak, []oidctest.Change{oidctest.Keycloak(), oidctest.Claim("client_id", clientID), oidctest.Claim("preferred_username", "service-account-"+clientID)}, true},
		"R15 Keycloak, service account without client_id": {oidc.Keycloak, []oidctest.Change{oidctest.Keycloak(), oidctest.Claim("preferred_username", "service-account-"+clientID)}, true},
		"Keycloak, a user of that name":                   {oidc.Keycloak, []oidctest.Change{oidctest.Keycloak(), oidctest.Claim("preferred_username", "service-account-"+clientID), oidctest.Claim("sid", "1")}, false},
		"Keycloak, client_id in the token of a user":      {oidc.Keycloak, []oidctest.Change{oidctest.Keycloak(), oidctest.Claim("client_id", clientID), oidctest.Claim("preferred_username", "alice")}, false},
		"Duende, client":            {oidc.Duende, []oidctest.Change{oidctest.Duende("a"), oidctest.Without("sub")}, true},
		"Duende, user":              {oidc.Duende, []oidctest.Change{oidctest.Duende("a")}, false},
		"WSO2, client":              {oidc.WSO2, []oidctest.Change{oidctest.WSO2(), oidctest.Claim("aut", "APPLICATION")}, true},
		"WSO2, user":                {oidc.WSO2, []oidctest.Change{oidctest.WSO2()}, false},
		"WSO2, aut of another form": {oidc.WSO2, []oidctest.Change{oidctest.WSO2(), oidctest.Claim("aut", []string{"APPLICATION"})}, false},
		"PingOne, client":           {oidc.PingOne, []oidctest.Change{oidctest.PingOne(), oidctest.Without("sub")}, true},
		"PingOne, user":             {oidc.PingOne, []oidctest.Change{oidctest.PingOne()}, false},
		"Spring, client":            {oidc.SpringAuthorizationServer, []oidctest.Change{oidctest.SpringAuthorizationServer("a"), oidctest.Claim("sub", clientID)}, true},
		"Spring, user":              {oidc.SpringAuthorizationServer, []oidctest.Change{oidctest.SpringAuthorizationServer("a")}, false},
		"Cognito, client":           {oidc.Cognito, []oidctest.Change{oidctest.Cognito(), oidctest.Claim("aud", oidctest.Audience), oidctest.Claim("sub", clientID)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			token, err := verifyToken(t, newVerifier(t, issuer, oidc.WithProfile(tc.profile)), issuer.Token(tc.token...))
			require.NoError(t, err)
			require.Equal(t, tc.want, token.SubjectIsClient())
		})
	}
}

func TestTestProfile(t *testing.T) {
	issuer := newIssuer(t)
	oidctest.TestProfile(t, oidc.Described(ours()), oidctest.Samples{
		Audience: oidctest.Audience,
		Access:   []string{issuer.Token(ourToken(oidctest.ExpiresIn(-1))...), issuer.Token(ourToken(oidctest.BoundToKey(thumb('a')))...)},
		Other:    []string{issuer.Token(ourToken(oidctest.Claim("kind", "id"))...), issuer.Token(oidctest.IDToken("app"))},
	})
}

// Types that say no more than JWT does, or that no header has.
func TestTypesThatSayNothingAreRefused(t *testing.T) {
	for _, typ := range []string{"JOSE", "JOSE+JSON", "JWS", "JWT ", " JWT", "JWT; v=1", "application/application/jwt"} {
		_, err := oidc.New(identifier, oidctest.Audience, oidc.WithProfile(oidc.Described(oidc.Dialect{Name: "x", Types: []string{typ}})))
		require.Error(t, err, "%q", typ)
	}
}

// Registered claims have a place of their own, where ClientID would never look.
func TestClaimsThatAreNeverFoundAreRefused(t *testing.T) {
	_, err := oidc.New(identifier, oidctest.Audience, oidc.WithProfile(oidc.Described(oidc.Dialect{Name: "x", ClientID: []string{"sub"}})))
	require.Error(t, err)
}
