package main

import (
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// withoutAudience is a file without audience_required, and with more lines.
func withoutAudience(lines string) string {
	return strings.NewReplacer("https://issuer.example", `${{ env "DECK_ISSUER" }}`, "http://127.0.0.1:1", `${{ env "DECK_UPSTREAM" }}`,
		"      auth_methods: [bearer]\n      audience_required: [a]\n", lines).Replace(good)
}

func TestWithoutAudienceRequiredEveryAudiencePassesAndNothingElse(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, withoutAudience("      auth_methods: [bearer]\n"))
	anonymous := bed.Client(nil)
	idToken := []oidctest.Change{oidctest.IDToken("client"), oidctest.Without("nonce", "at_hash"), oidctest.Claim("jti", "1")}
	for name, tc := range map[string]struct {
		token  string
		status int
	}{
		"another audience":               {bed.Issuer.Token(oidctest.Claim("aud", "https://other.example")), 200},
		"another, as Keycloak has it":    {bed.Issuer.Token(oidctest.Keycloak(), oidctest.Claim("aud", "account")), 200},
		"AT-2.2-01 none at all":          {bed.Issuer.Token(oidctest.Without("aud")), 401},
		"AT-2.2-01 none, by Keycloak":    {bed.Issuer.Token(oidctest.Keycloak(), oidctest.Without("aud")), 401},
		"AT-5-01 an ID token":            {bed.Issuer.Token(idToken...), 401},
		"AT-5-01 one of Keycloak":        {bed.Issuer.Token(append(idToken, oidctest.Claim("typ", "ID"))...), 401},
		"an expired token":               {bed.Issuer.Token(oidctest.ExpiresIn(-time.Hour)), 401},
		"a token of another issuer":      {bed.Issuer.Token(oidctest.Claim("iss", "https://other.example")), 401},
		"a bound token without proof":    {bed.Issuer.Token(oidctest.BoundToKey(strings.Repeat("A", 43))), 401},
		"a token with another signature": {bed.Issuer.Token() + "x", 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, anonymous, gw.url+"/headers", bearer(tc.token))
			require.Equal(t, tc.status, a.status, a.body)
		})
	}
	require.Contains(t, gw.log.String(), "audience_required is missing: the audience is not checked")
	require.Regexp(t, `a token has no aud, .* client_id=client`, gw.log.String(), "the log names the claim and the client")
}

func TestTokensWithoutAudienceOfNamedClientsPassIfTheyAreAccessTokens(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, withoutAudience("      auth_methods: [bearer]\n      audience_required: ['https://api.example']\n"), "-dangerously-allow-missing-audience", "client")
	for name, tc := range map[string]struct {
		changes []oidctest.Change
		status  int
	}{
		"none":                       {[]oidctest.Change{oidctest.Without("aud")}, 200},
		"none, by Keycloak":          {[]oidctest.Change{oidctest.Keycloak(), oidctest.Without("aud")}, 200},
		"of another client":          {[]oidctest.Change{oidctest.Without("aud"), oidctest.Claim("client_id", "other")}, 401},
		"empty":                      {[]oidctest.Change{oidctest.Claim("aud", []string{})}, 401},
		"another":                    {[]oidctest.Change{oidctest.Claim("aud", "https://other.example")}, 403},
		"an ID token without one":    {[]oidctest.Change{oidctest.IDToken("client"), oidctest.Without("aud", "nonce", "at_hash"), oidctest.Claim("jti", "1")}, 401},
		"one of Keycloak":            {[]oidctest.Change{oidctest.Keycloak(), oidctest.Claim("typ", "ID"), oidctest.Without("aud")}, 401},
		"a bound token, as a bearer": {[]oidctest.Change{oidctest.Without("aud"), oidctest.BoundToKey(strings.Repeat("A", 43))}, 401},
	} {
		a := ask(t, bed.Client(nil), gw.url+"/headers", bearer(bed.Issuer.Token(tc.changes...)))
		require.Equal(t, tc.status, a.status, "%s: %s", name, a.body)
	}
}

func TestSeveralIssuersNeedNoAudience(t *testing.T) {
	bed, other := testbed.New(t, t.TempDir()), testbed.New(t, t.TempDir())
	t.Setenv("OTHER", other.Issuer.URL)
	gw := start(t, bed, withoutAudience(`      auth_methods: [bearer]
      issuers_allowed: ['${{ env "DECK_ISSUER" }}', '${{ env "OTHER" }}']
`), "-issuer-ca", bothCAs(t, bed, other))
	for _, issuer := range []*oidctest.Issuer{bed.Issuer, other.Issuer} {
		a := ask(t, bed.Client(nil), gw.url+"/headers", bearer(issuer.Token(oidctest.Claim("aud", issuer.URL))))
		require.Equal(t, 200, a.status, a.body)
	}
	forged := other.Issuer.Token(oidctest.Claim("iss", bed.Issuer.URL))
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/headers", bearer(forged)).status, "AT-X-01 the key of the one, the name of the other")
}

func TestEachIssuerSpellsItsTokensItsOwnWay(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, strings.Replace(withoutAudience(`      auth_methods: [bearer]
      issuers_allowed: [https://issuer.example, '${{ env "DECK_ISSUER" }}']
`), `issuer: ${{ env "DECK_ISSUER" }}`, "issuer: https://issuer.example", 1))
	for _, change := range []oidctest.Change{oidctest.Keycloak(), oidctest.Header("typ", "at+jwt")} {
		a := ask(t, bed.Client(nil), gw.url+"/headers", bearer(bed.Issuer.Token(change)))
		require.Equal(t, 200, a.status, a.body)
	}
	found := mistakes(t, strings.Replace(good, "audience_required: [a]", "issuers_allowed: [https://issuer.example, https://tenant.auth0.com/]", 1))
	require.Len(t, found, 1, found)
	require.Contains(t, found[0], "audience_required is missing: nothing but the audience tells access tokens of Auth0")
}

// bothCAs is a file with the CAs of two beds.
func bothCAs(t *testing.T, beds ...*testbed.Bed) string {
	t.Helper()
	file, text := filepath.Join(t.TempDir(), "cas.pem"), ""
	for _, bed := range beds {
		text += testbed.PEM(bed.CA.Certificate)
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestIntrospectionWithoutAudienceRequired(t *testing.T) {
	key := newSigner(t)
	bed := testbed.New(t, t.TempDir(),
		oidctest.WithClient(oidctest.Registration{ID: "signing", Method: "private_key_jwt", Keys: []crypto.PublicKey{key.Public()}}))
	setJWK(t, key)
	gw := start(t, bed, withoutAudience(`      auth_methods: [introspection]
      client_id: [signing]
      client_auth: [private_key_jwt]
      client_jwk: [{kty: EC, crv: P-256, kid: k, alg: ES256, x: '${{ env "DECK_JWK_X" }}', 'y': '${{ env "DECK_JWK_Y" }}', d: '${{ env "DECK_JWK_D" }}'}]
      introspection_accept: application/token-introspection+jwt
`))
	for name, tc := range map[string]struct {
		change oidctest.Change
		status int
	}{
		"another audience":          {oidctest.Claim("aud", "https://other.example"), 200},
		"none at all":               {oidctest.Without("aud"), 200},
		"AT-5-01 an ID token":       {oidctest.Claim("typ", "ID"), 401},
		"a bound one is not stolen": {oidctest.BoundToKey(strings.Repeat("A", 43)), 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, bed.Client(nil), gw.url+"/headers", bearer(bed.Issuer.OpaqueToken(tc.change)))
			require.Equal(t, tc.status, a.status, a.body)
		})
	}
	require.Equal(t, "application/token-introspection+jwt", bed.Issuer.Requests(oidctest.Introspection)[0].Header.Get("Accept"))
	bed.Issuer.EditIntrospectionJWT(func(_, c map[string]any) { c["aud"] = "https://api.example" })
	a := ask(t, bed.Client(nil), gw.url+"/headers", bearer(bed.Issuer.OpaqueToken()))
	require.Equal(t, 503, a.status, "IJWT-5-01 a signed answer for another client")
}

func TestRediscoveryLifetimeIsTheCooldown(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, withoutAudience("      auth_methods: [bearer]\n      rediscovery_lifetime: 1\n"), "-profile", "RFC9068")
	unknown := func() int {
		require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/", bearer(bed.Issuer.Token(oidctest.Header("kid", "made up")))).status)
		return bed.Issuer.Fetches(oidctest.KeySet)
	}
	first := unknown()
	require.Equal(t, first, unknown())
	time.Sleep(1100 * time.Millisecond)
	require.Equal(t, first+1, unknown())
}
