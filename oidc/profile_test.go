package oidc_test

import (
	"slices"
	"testing"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

const clientID = "client"

// vendor is a profile with its issuer's usual token.
type vendor struct {
	profile  oidc.Profile
	audience string
	refusal  oidc.TokenError // of the token under RFC 9068; 0: none
	token    []oidctest.Change
}

// vendors are the profiles of the package, except the default.
var vendors = []vendor{
	{oidc.Keycloak, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.Keycloak()}},
	{oidc.Auth0, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.Auth0()}},
	{oidc.Okta, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.Okta("a")}},
	{oidc.EntraID, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.EntraID("2.0", "a")}},
	{oidc.EntraID, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.EntraID("1.0", "a")}},
	{oidc.EntraIDAnyApplication, oidctest.Audience, oidc.ErrTypeJWT, []oidctest.Change{oidctest.EntraID("2.0", ""), oidctest.Without("scp"), oidctest.Claim("idtyp", "app")}},
	{oidc.Cognito, clientID, oidc.ErrTypeJWT, []oidctest.Change{oidctest.Cognito()}},
	{oidc.Duende, oidctest.Audience, oidc.ErrScope, []oidctest.Change{oidctest.Duende("a")}},
	{oidc.WSO2, oidctest.Audience, 0, []oidctest.Change{oidctest.WSO2()}},
	{oidc.PingOne, oidctest.Audience, 0, []oidctest.Change{oidctest.PingOne()}},
	{oidc.SpringAuthorizationServer, oidctest.Audience, oidc.ErrScope, []oidctest.Change{oidctest.SpringAuthorizationServer("a")}},
}

// mayLackSub are the profiles by which a token without sub speaks for its client.
var mayLackSub = []oidc.Profile{oidc.Duende, oidc.PingOne}

func TestEveryVendorIsInTheTablesOfTheTests(t *testing.T) {
	tested := map[string]bool{oidc.RFC9068.String(): true}
	for _, v := range vendors {
		tested[v.profile.String()] = true
	}
	for v := oidc.RFC9068; v.String() != "unknown"; v++ {
		require.True(t, tested[v.String()], "%v", v)
	}
}

func newVendorVerifier(t *testing.T, issuer *oidctest.Issuer, p oidc.Profile, audience string) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, audience, oidc.WithHTTPClient(issuer.Client()), oidc.WithProfile(p))
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func TestEachProfileAcceptsItsIssuersTokens(t *testing.T) {
	issuer := newIssuer(t)
	for _, vendor := range vendors {
		t.Run(vendor.profile.String(), func(t *testing.T) {
			v := newVendorVerifier(t, issuer, vendor.profile, vendor.audience)
			token, err := verifyToken(t, v, issuer.Token(vendor.token...))
			require.NoError(t, err)
			require.Equal(t, clientID, token.ClientID)

			_, err = verifyToken(t, newVerifier(t, issuer), issuer.Token(vendor.token...))
			if vendor.refusal == 0 {
				require.NoError(t, err)
				return
			}
			requireKind(t, vendor.refusal, err)
			require.Contains(t, oidc.ErrTypeJWT.Hint(), "oidc.WithProfile(oidc.Keycloak)")
		})
	}
}

func TestNoProfileAcceptsOtherTokens(t *testing.T) {
	issuer := newIssuer(t)
	for _, vendor := range vendors {
		v := newVendorVerifier(t, issuer, vendor.profile, vendor.audience)
		for name, raw := range otherTokens(issuer, vendor) {
			t.Run(vendor.profile.String()+" "+name, func(t *testing.T) {
				_, err := verifyToken(t, v, raw)
				require.Equal(t, "invalid_token", code(err), "%v", err)
			})
		}
	}
}

// AT-X-01: what issuers and clients sign besides access tokens, each as it is and with
// what an attacker could have put into it: this service's audience, jti, scope, a client.
func TestNoProfileAcceptsTokensOfOtherKinds(t *testing.T) {
	issuer := newIssuer(t)
	blank := func(d *oidctest.Draft) { clear(d.Claims); d.Header["typ"] = "JWT" }
	now := time.Now().Unix()
	base := []oidctest.Change{blank, oidctest.Claim("iss", identifier), oidctest.Claim("iat", now), oidctest.Claim("exp", now+300), oidctest.Claim("sub", "user-1")}
	kinds := map[string][]oidctest.Change{
		"a refresh token of WSO2":             {oidctest.Header("typ", "rt+jwt")},
		"a refresh token of AT Protocol":      {oidctest.Header("typ", "refresh+jwt")},
		"a refresh token of Keycloak":         {oidctest.Claim("typ", "Refresh")},
		"an offline token of Keycloak":        {oidctest.Claim("typ", "Offline")},
		"a refresh token of Cognito":          {oidctest.Claim("token_use", "refresh")},
		"a logout token":                      {oidctest.Header("typ", "logout+jwt"), oidctest.Claim("events", logout)},
		"a logout token of typ JWT":           {oidctest.Claim("events", logout), oidctest.Claim("sid", "s")},
		"a logout token of Keycloak":          {oidctest.Claim("events", logout), oidctest.Claim("typ", "Logout")},
		"what userinfo signs":                 {oidctest.Claim("email", "a@b.example"), oidctest.Claim("name", "A")},
		"what userinfo signs, with roles":     {oidctest.Claim("email", "a@b.example"), oidctest.Claim("roles", []string{"r"})},
		"a proof":                             {oidctest.Header("typ", "dpop+jwt"), oidctest.Claim("htm", "GET"), oidctest.Claim("htu", "https://api.example/")},
		"a client assertion":                  {oidctest.Claim("iss", clientID), oidctest.Claim("sub", clientID)},
		"a client assertion of explicit type": {oidctest.Header("typ", "client-authentication+jwt"), oidctest.Claim("iss", clientID), oidctest.Claim("sub", clientID)},
		"a client assertion without iss":      {oidctest.Without("iss"), oidctest.Claim("sub", clientID)},
		"an authorization response (JARM)":    {oidctest.Claim("code", "c"), oidctest.Claim("state", "s")},
		"an introspection answer":             {oidctest.Header("typ", "token-introspection+jwt"), oidctest.Claim("token_introspection", map[string]any{"active": true})},
		"an ID token":                         {oidctest.Claim("azp", clientID), oidctest.Claim("nonce", "n")},
		"an ID token that says so":            {oidctest.Claim("azp", clientID), oidctest.Header("typ", "id_token+jwt")},
	}
	for _, vendor := range append(vendors[:len(vendors):len(vendors)], vendor{profile: oidc.RFC9068, audience: oidctest.Audience}) {
		v := newVendorVerifier(t, issuer, vendor.profile, vendor.audience)
		for name, kind := range kinds {
			for how, more := range map[string][]oidctest.Change{
				"for its client":                   {oidctest.Claim("aud", clientID)},
				"for this service":                 {oidctest.Claim("aud", vendor.audience)},
				"for both":                         {oidctest.Claim("aud", []string{clientID, vendor.audience})},
				"with jti, scope and client_id":    {oidctest.Claim("aud", vendor.audience), oidctest.Claim("jti", "1"), oidctest.Claim("scope", "a"), oidctest.Claim("client_id", clientID)},
				"with jti, scp, roles and a list":  {oidctest.Claim("aud", []string{vendor.audience}), oidctest.Claim("jti", "1"), oidctest.Claim("scope", []string{"a"})},
				"without aud, with a client's id":  {oidctest.Claim("client_id", vendor.audience), oidctest.Claim("jti", "1")},
				"with the evidence of others null": {oidctest.Claim("aud", vendor.audience), oidctest.Claim("jti", "1"), oidctest.Claim("idtyp", nil), oidctest.Claim("cid", nil), oidctest.Claim("scp", nil)},
			} {
				_, err := verifyToken(t, v, issuer.Token(slices.Concat(base, kind, more)...))
				require.Equal(t, "invalid_token", code(err), "%v: %s, %s: %v", vendor.profile, name, how, err)
			}
		}
	}
}

var logout = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}

// otherTokens are what must not pass by the vendor's profile.
func otherTokens(issuer *oidctest.Issuer, vendor vendor) map[string]string {
	with := func(more ...oidctest.Change) string {
		return issuer.Token(append(append([]oidctest.Change{}, vendor.token...), more...)...)
	}
	without := []string{"sub"}
	if slices.Contains(mayLackSub, vendor.profile) {
		without = append(without, "client_id")
	}
	return map[string]string{
		"AT-2.2-01 no sub":                                  with(oidctest.Without(without...)),
		"AT-5-01 an ID token for this service":              issuer.Token(oidctest.IDToken(vendor.audience)),
		"AT-5-01 an ID token without nonce and at_hash":     issuer.Token(oidctest.IDToken(vendor.audience), oidctest.Without("nonce", "at_hash")),
		"AT-5-01 an ID token with jti and scope":            issuer.Token(oidctest.Scope("a"), oidctest.IDToken(vendor.audience), oidctest.Without("nonce", "at_hash"), oidctest.Claim("jti", "1"), oidctest.Claim("scope", "a")),
		"AT-5-01 an ID token with roles and without azp":    issuer.Token(oidctest.IDToken(vendor.audience), oidctest.Without("nonce", "at_hash", "azp"), oidctest.Claim("roles", []string{"r"})),
		"AT-5-01 an ID token with Keycloak's typ ID":        issuer.Token(oidctest.IDToken(vendor.audience), oidctest.Without("nonce", "at_hash"), oidctest.Claim("typ", "ID")),
		"AT-5-01 an ID token with Cognito's token_use id":   issuer.Token(oidctest.IDToken(vendor.audience), oidctest.Without("nonce", "at_hash"), oidctest.Claim("token_use", "id")),
		"AT-5-01 an access token with at_hash":              with(oidctest.Claim("at_hash", "x")),
		"AT-5-01 an access token with c_hash":               with(oidctest.Claim("c_hash", "x")),
		"AT-5-01 an access token with s_hash":               with(oidctest.Claim("s_hash", "x")),
		"AT-X-01 dpop+jwt":                                  with(oidctest.Header("typ", "dpop+jwt")),
		"AT-X-01 logout+jwt":                                with(oidctest.Header("typ", "logout+jwt")),
		"AT-X-01 IJWT-8.1-01 token-introspection+jwt":       with(oidctest.Header("typ", "token-introspection+jwt")),
		"AT-X-01 secevent+jwt":                              with(oidctest.Header("typ", "secevent+jwt")),
		"AT-X-01 entity-statement+jwt":                      with(oidctest.Header("typ", "entity-statement+jwt")),
		"AT-X-01 id_token+jwt":                              with(oidctest.Header("typ", "id_token+jwt")),
		"AT-X-01 Okta's own token for its own org":          with(oidctest.Header("typ", "application/okta-internal-at+jwt")),
		"AT-4-03 another issuer":                            with(oidctest.Claim("iss", identifier+"/")),
		"AT-4-04 another audience":                          with(oidctest.Claim("aud", "https://other.example")),
		"AT-4-06 expired":                                   with(oidctest.Claim("exp", 1)),
		"AT-2.2-01 no exp":                                  with(oidctest.Without("exp")),
		"AT-2.2-01 no iat":                                  with(oidctest.Without("iat")),
		"AT-2.2-01 no client":                               with(oidctest.Without("azp", "cid", "appid", "client_id")),
		"MTLS-X-02 an empty cnf":                            with(oidctest.Claim("cnf", map[string]any{})),
		"AT-X-01 a token of typ at+jwt, but with ID claims": issuer.Token(oidctest.IDToken(vendor.audience), oidctest.Header("typ", "at+jwt"), oidctest.Claim("client_id", "c"), oidctest.Claim("jti", "1")),
	}
}

func TestKeycloak(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.Keycloak, oidctest.Audience)
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"at+jwt in the header":                  {[]oidctest.Change{oidctest.Keycloak(), oidctest.Header("typ", "at+jwt")}, nil},
		"a DPoP token":                          {[]oidctest.Change{oidctest.BoundToKey(thumb('a')), oidctest.Keycloak()}, nil},
		"a DPoP token that names no key":        {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "DPoP")}, oidc.ErrConfirmation},
		"a DPoP token of a certificate only":    {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "DPoP"), claimCnf(map[string]any{"x5t#S256": thumb('c')})}, oidc.ErrConfirmation},
		"a Bearer token that names a key":       {[]oidctest.Change{oidctest.Keycloak(), oidctest.BoundToKey(thumb('a'))}, nil},
		"members of its own in cnf":             {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("cnf", map[string]any{"jkt": thumb('a'), "kc.x": true})}, nil},
		"a nonce, as before version 24":         {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("nonce", "n")}, nil},
		"AT-5-01 an ID token":                   {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "ID")}, oidc.ErrNotAccessToken},
		"AT-5-01 a refresh token":               {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "Refresh")}, oidc.ErrNotAccessToken},
		"AT-5-01 an offline token":              {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "Offline")}, oidc.ErrNotAccessToken},
		"AT-5-01 no typ claim":                  {[]oidctest.Change{oidctest.Keycloak(), oidctest.Without("typ")}, oidc.ErrNotAccessToken},
		"AT-5-01 no typ claim, typ at+jwt":      {[]oidctest.Change{oidctest.Keycloak(), oidctest.Without("typ"), oidctest.Header("typ", "at+jwt")}, oidc.ErrNotAccessToken},
		"AT-4-01 no typ in the header":          {[]oidctest.Change{oidctest.Keycloak(), oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-4-04 its usual audience":            {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("aud", "account")}, oidc.ErrAudience},
		"AT-2.2-01 no jti":                      {[]oidctest.Change{oidctest.Keycloak(), oidctest.Without("jti")}, oidc.ErrNoID},
		"AT-2.2-02 a list of scopes":            {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("scope", []string{"a"})}, oidc.ErrScope},
		"client_id where there is no azp":       {[]oidctest.Change{oidctest.Keycloak(), oidctest.Without("azp"), oidctest.Claim("client_id", "c")}, nil},
		"AT-5-01 a typ claim in another case":   {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "bearer")}, oidc.ErrNotAccessToken},
		"AT-5-01 a typ claim that is a list":    {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", []string{"Bearer"})}, oidc.ErrNotAccessToken},
		"a bearer token with a good thumbprint": {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("cnf", map[string]any{"x5t#S256": thumb('c')})}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestAuth0(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.Auth0, oidctest.Audience)
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"the RFC 9068 dialect":                    {nil, nil},
		"AT-5-01 a nonce":                         {[]oidctest.Change{oidctest.Auth0(), oidctest.Claim("nonce", "n")}, oidc.ErrNotAccessToken},
		"AT-5-01 the client in the audience":      {[]oidctest.Change{oidctest.Auth0(), oidctest.Claim("azp", oidctest.Audience)}, oidc.ErrNotAccessToken},
		"AT-5-01 client_id in place of azp":       {[]oidctest.Change{oidctest.Header("typ", "JWT")}, oidc.ErrNotAccessToken},
		"AT-4-01 no typ":                          {[]oidctest.Change{oidctest.Auth0(), oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-2.2-01 the RFC 9068 dialect, no jti":  {[]oidctest.Change{oidctest.Without("jti")}, nil},
		"AT-2.2-02 scopes of the permissions API": {[]oidctest.Change{oidctest.Auth0(), oidctest.Scope("read:a"), oidctest.Claim("permissions", []string{"p"})}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestOkta(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.Okta, oidctest.Audience)
	token, err := verifyToken(t, v, issuer.Token(oidctest.Okta("orders:read", "orders:write")))
	require.NoError(t, err)
	require.Equal(t, []string{"orders:read", "orders:write"}, token.Scopes)
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"typ JWT":                            {[]oidctest.Change{oidctest.Okta("a"), oidctest.Header("typ", "JWT")}, nil},
		"typ at+jwt with the claims of 9068": {nil, nil},
		"AT-5-01 no cid":                     {[]oidctest.Change{oidctest.Okta("a"), oidctest.Rename("cid", "client_id")}, oidc.ErrNotAccessToken},
		"AT-5-01 no scp":                     {[]oidctest.Change{oidctest.Okta("a"), oidctest.Without("scp")}, oidc.ErrNotAccessToken},
		"AT-5-01 a nonce":                    {[]oidctest.Change{oidctest.Okta("a"), oidctest.Claim("nonce", "n")}, oidc.ErrNotAccessToken},
		"AT-5-01 the client in the audience": {[]oidctest.Change{oidctest.Okta("a"), oidctest.Claim("cid", oidctest.Audience)}, oidc.ErrNotAccessToken},
		"AT-2.2-02 scp a string":             {[]oidctest.Change{oidctest.Okta("a"), oidctest.Claim("scp", "a b")}, oidc.ErrScope},
		"AT-2.2-02 scp with null":            {[]oidctest.Change{oidctest.Okta("a"), oidctest.Claim("scp", []any{"a", nil})}, oidc.ErrScope},
		"AT-2.2-02 scp null":                 {[]oidctest.Change{oidctest.Okta("a"), oidctest.Claim("scp", nil)}, oidc.ErrNotAccessToken},
		"AT-2.2-01 no jti":                   {[]oidctest.Change{oidctest.Okta("a"), oidctest.Without("jti")}, oidc.ErrNoID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestEntraID(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.EntraID, oidctest.Audience)
	token, err := verifyToken(t, v, issuer.Token(oidctest.Claim("jti", "u1"), oidctest.EntraID("2.0", "Orders.Read Orders.Write")))
	require.NoError(t, err)
	require.Equal(t, []string{"Orders.Read", "Orders.Write"}, token.Scopes)
	require.Equal(t, "u1", token.ID) // uti
	entra := oidctest.EntraID("2.0", "a")
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"an application with roles":                {[]oidctest.Change{entra, oidctest.Without("scp"), oidctest.Claim("roles", []string{"r"})}, nil},
		"an application that calls its own API":    {[]oidctest.Change{entra, oidctest.Claim("azp", oidctest.Audience)}, nil},
		"AT-5-01 neither scp nor roles":            {[]oidctest.Change{entra, oidctest.Without("scp")}, oidc.ErrNotAccessToken},
		"AT-5-01 neither azp nor appid":            {[]oidctest.Change{entra, oidctest.Rename("azp", "client_id")}, oidc.ErrNotAccessToken},
		"AT-5-01 roles null, no scp":               {[]oidctest.Change{entra, oidctest.Without("scp"), oidctest.Claim("roles", nil)}, oidc.ErrNotAccessToken},
		"AT-5-01 azp null, no appid":               {[]oidctest.Change{entra, oidctest.Claim("azp", nil)}, oidc.ErrNotAccessToken},
		"AT-5-01 an ID token with roles and nonce": {[]oidctest.Change{entra, oidctest.Claim("nonce", "n")}, oidc.ErrNotAccessToken},
		"AT-4-01 no typ":                           {[]oidctest.Change{entra, oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-2.2-02 scp a list":                     {[]oidctest.Change{entra, oidctest.Claim("scp", []string{"a"})}, oidc.ErrScope},
		"AT-2.2-01 azp a number":                   {[]oidctest.Change{entra, oidctest.Claim("azp", 1)}, oidc.ErrNoClientID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestCognito(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.Cognito, clientID)
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"AT-5-01 token_use id":                       {[]oidctest.Change{oidctest.Cognito(), oidctest.Claim("token_use", "id")}, oidc.ErrNotAccessToken},
		"AT-5-01 no token_use":                       {[]oidctest.Change{oidctest.Cognito(), oidctest.Without("token_use")}, oidc.ErrNotAccessToken},
		"AT-4-04 another client":                     {[]oidctest.Change{oidctest.Cognito(), oidctest.Claim("client_id", "other")}, oidc.ErrAudience},
		"AT-4-04 no client":                          {[]oidctest.Change{oidctest.Cognito(), oidctest.Without("client_id")}, oidc.ErrAudience},
		"AT-4-04 another audience, the right client": {[]oidctest.Change{oidctest.Cognito(), oidctest.Claim("aud", "https://other.example")}, oidc.ErrAudience},
		"AT-4-04 an empty list, the right client":    {[]oidctest.Change{oidctest.Cognito(), oidctest.Claim("aud", []string{})}, oidc.ErrAudience},
		"AT-4-04 resource binding":                   {[]oidctest.Change{oidctest.Cognito(), oidctest.Claim("aud", clientID), oidctest.Claim("client_id", "other")}, nil},
		"AT-2.2-01 no jti":                           {[]oidctest.Change{oidctest.Cognito(), oidctest.Without("jti")}, oidc.ErrNoID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
	t.Run("several clients", func(t *testing.T) {
		v, err := oidc.New(issuer.URL, "first", oidc.WithAudiences(clientID, "third"),
			oidc.WithHTTPClient(issuer.Client()), oidc.WithProfile(oidc.Cognito))
		require.NoError(t, err)
		_, err = verifyToken(t, v, issuer.Token(oidctest.Cognito()))
		require.NoError(t, err)
		require.NoError(t, v.Close())
	})
}

func TestDuende(t *testing.T) {
	issuer := newIssuer(t)
	v := newVendorVerifier(t, issuer, oidc.Duende, oidctest.Audience)
	token, err := verifyToken(t, v, issuer.Token(oidctest.Duende("orders:read", "orders:write")))
	require.NoError(t, err)
	require.Equal(t, []string{"orders:read", "orders:write"}, token.Scopes)
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		want    error
	}{
		"scope in a string":                   {[]oidctest.Change{oidctest.Duende(), oidctest.Claim("scope", "a b")}, nil},
		"AT-4-01 AccessTokenJwtType JWT":      {[]oidctest.Change{oidctest.Duende("a"), oidctest.Header("typ", "JWT")}, oidc.ErrTypeJWT},
		"AT-4-01 no AccessTokenJwtType":       {[]oidctest.Change{oidctest.Duende("a"), oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-5-01 at+jwt with nonce":           {[]oidctest.Change{oidctest.Duende("a"), oidctest.Claim("nonce", "n")}, oidc.ErrNotAccessToken},
		"AT-2.2-01 no jti":                    {[]oidctest.Change{oidctest.Duende("a"), oidctest.Without("jti")}, oidc.ErrNoID},
		"AT-2.2-01 neither sub nor client_id": {[]oidctest.Change{oidctest.Duende("a"), oidctest.Without("sub", "client_id")}, oidc.ErrNoSubject},
		"AT-2.2-02 scope a number":            {[]oidctest.Change{oidctest.Duende("a"), oidctest.Claim("scope", 1)}, oidc.ErrScope},
		"AT-4-04 its static audience":         {[]oidctest.Change{oidctest.Duende("a"), oidctest.Claim("aud", identifier+"/resources")}, oidc.ErrAudience},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, v, issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestWSO2AndPingOneAndSpring(t *testing.T) {
	issuer := newIssuer(t)
	for name, tc := range map[string]struct {
		profile oidc.Profile
		changes []oidctest.Change
		want    error
	}{
		"WSO2, a list of scopes":                             {oidc.WSO2, []oidctest.Change{oidctest.WSO2(), oidctest.Claim("scope", []string{"a"})}, nil},
		"AT-4-01 WSO2, a subject token of impersonation":     {oidc.WSO2, []oidctest.Change{oidctest.WSO2(), oidctest.Header("typ", "jwt")}, oidc.ErrTypeJWT},
		"AT-X-01 WSO2, a refresh token":                      {oidc.WSO2, []oidctest.Change{oidctest.WSO2(), oidctest.Header("typ", "rt+jwt")}, oidc.ErrType},
		"PingOne, of an application":                         {oidc.PingOne, []oidctest.Change{oidctest.PingOne(), oidctest.Without("sub")}, nil},
		"AT-4-01 PingOne, without typ as before 2027":        {oidc.PingOne, []oidctest.Change{oidctest.PingOne(), oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-2.2-02 PingOne, a list of scopes":                {oidc.PingOne, []oidctest.Change{oidctest.PingOne(), oidctest.Claim("scope", []string{"a"})}, oidc.ErrScope},
		"AT-4-01 Spring as it comes":                         {oidc.SpringAuthorizationServer, []oidctest.Change{oidctest.SpringAuthorizationServer("a"), oidctest.Header("typ", nil)}, oidc.ErrTypeJWT},
		"AT-2.2-01 Spring, typed but without the client":     {oidc.SpringAuthorizationServer, []oidctest.Change{oidctest.SpringAuthorizationServer("a"), oidctest.Without("client_id")}, oidc.ErrNoClientID},
		"AT-4-04 Spring, typed but for the client's own aud": {oidc.SpringAuthorizationServer, []oidctest.Change{oidctest.SpringAuthorizationServer("a"), oidctest.Claim("aud", clientID)}, oidc.ErrAudience},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyToken(t, newVendorVerifier(t, issuer, tc.profile, oidctest.Audience), issuer.Token(tc.changes...))
			requireKind(t, tc.want, err)
		})
	}
}

func TestProfilesHaveNames(t *testing.T) {
	require.Equal(t, "Keycloak", oidc.Keycloak.String())
	require.Equal(t, "RFC9068", oidc.RFC9068.String())
	require.Equal(t, "unknown", oidc.Vendor(200).String())
}
