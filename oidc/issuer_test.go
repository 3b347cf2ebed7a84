package oidc_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

func TestOneIssuerUsedThreeWaysIsFetchedOnce(t *testing.T) {
	fake := newIssuer(t)
	issuer, err := oidc.NewIssuer(fake.URL, oidc.WithHTTPClient(fake.Client()))
	require.NoError(t, err)
	defer issuer.Close()
	jwts, err := issuer.Verifier(oidctest.Audience)
	require.NoError(t, err)
	signed, err := introspect.New(issuer, oidctest.Audience, clientauth.SecretBasic("client", "secret"), introspect.RequireSigned())
	require.NoError(t, err)
	both, err := introspect.Then(jwts, signed)
	require.NoError(t, err)
	credentials, err := exchange.New(issuer)
	require.NoError(t, err)

	for range 2 {
		raw, err := credentials.Token(t.Context(), netip.Addr{}, "client", "secret")
		require.NoError(t, err)
		_, err = verifyToken(t, jwts, raw)
		require.NoError(t, err)
		_, err = verifyToken(t, both, fake.Token())
		require.NoError(t, err)
		_, err = verifyToken(t, signed, fake.OpaqueToken())
		require.NoError(t, err)
	}
	require.Equal(t, 1, fake.Fetches(oidctest.OpenIDMetadata))
	require.Equal(t, 1, fake.Fetches(oidctest.KeySet))
	require.NoError(t, jwts.Close())
	require.NotZero(t, issuer.Status().Keys.NextRefresh, "a Verifier does not close the Issuer that it borrows")
}

func TestBorrowingNeedsAnIssuer(t *testing.T) {
	for _, issuer := range []*oidc.Issuer{nil, {}} {
		require.Empty(t, issuer.URL())
		require.Equal(t, oidc.Status{}, issuer.Status())
		require.ErrorContains(t, issuer.Prefetch(t.Context()), "not made by NewIssuer")
		require.NoError(t, issuer.Close())
		_, err := issuer.Verifier(oidctest.Audience)
		require.ErrorContains(t, err, "not made by NewIssuer")
		_, err = introspect.New(issuer, "a", clientauth.Public("api"))
		require.ErrorContains(t, err, "not made by oidc.NewIssuer")
		_, err = exchange.New(issuer)
		require.ErrorContains(t, err, "not made by oidc.NewIssuer")
	}
}

func TestAnOptionOfTheIssuerIsNoneOfABorrower(t *testing.T) {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	require.NoError(t, err)
	_, err = issuer.Verifier("", oidc.WithJWKSURI("https://issuer.example/keys"))
	require.EqualError(t, err, "oidc: WithJWKSURI is a setting of the Issuer: give it to NewIssuer\noidc: an audience is empty")
}

func TestPolicyOfEveryVerifier(t *testing.T) {
	issuer, err := oidc.NewIssuer("https://issuer.example")
	require.NoError(t, err)
	other, err := oidc.NewIssuer("https://other.example")
	require.NoError(t, err)
	strict, err := issuer.Verifier("a", oidc.WithAlgorithms("ES256"), oidc.WithSkew(1))
	require.NoError(t, err)
	lax, err := other.Verifier("", oidc.WithAlgorithms("PS256", "ES256"), oidc.WithSkew(2), oidc.DangerouslyAcceptAnyAudience())
	require.NoError(t, err)
	auth := clientauth.Public("api")
	asked, err := introspect.New(issuer, "a", auth, introspect.WithSkew(3))
	require.NoError(t, err)
	unnamed, err := introspect.New(issuer, "a", auth, introspect.DangerouslyAllowMissingAudience())
	require.NoError(t, err)
	anyOf, err := oidc.AnyOf(strict, lax)
	require.NoError(t, err)
	then, err := introspect.Then(strict, unnamed)
	require.NoError(t, err)
	orElse, err := introspect.OrElse(strict, asked)
	require.NoError(t, err)
	orLax, err := introspect.OrElse(anyOf, asked)
	require.NoError(t, err)
	thenElse, err := introspect.OrElse(then, asked)
	require.NoError(t, err)
	unknown, err := introspect.OrElse(silent{}, asked)
	require.NoError(t, err)
	undeclared, err := tenants.New(func(context.Context, string) (*oidc.Verifier, error) { return nil, oidc.ErrIssuer })
	require.NoError(t, err)
	declared, err := tenants.New(func(context.Context, string) (*oidc.Verifier, error) { return nil, oidc.ErrIssuer }, tenants.WithPolicy(strict.Policy()))
	require.NoError(t, err)
	tenantsElse, err := introspect.OrElse(declared, asked)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		verifier interface{ Policy() oidc.Policy }
		want     oidc.Policy
	}{
		"R3 a Verifier":                            {strict, oidc.Policy{Algorithms: []string{"ES256"}, Skew: 1, ChecksAudience: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 a Verifier for any audience":           {lax, oidc.Policy{Algorithms: []string{"PS256", "ES256"}, Skew: 2, Issuers: []string{"https://other.example"}}},
		"R3 several issuers":                       {anyOf, oidc.Policy{Algorithms: []string{"ES256", "PS256"}, Skew: 2, Issuers: []string{"https://issuer.example", "https://other.example"}}},
		"R3 an Introspector":                       {asked, oidc.Policy{Skew: 3, ChecksAudience: true, ChecksRevocation: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 an Introspector without audience":      {unnamed, oidc.Policy{Skew: 30e9, ChecksRevocation: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 Then: the JWT's audience is checked":   {then, oidc.Policy{Algorithms: []string{"ES256"}, Skew: 1, ChecksAudience: true, ChecksRevocation: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 OrElse: JWTs are not asked about":      {orElse, oidc.Policy{Algorithms: []string{"ES256"}, Skew: 3, ChecksAudience: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 OrElse: one of the issuers is lax":     {orLax, oidc.Policy{Algorithms: []string{"ES256", "PS256"}, Skew: 3, Issuers: []string{"https://issuer.example", "https://other.example"}}},
		"R3 OrElse of Then: all are asked about":   {thenElse, oidc.Policy{Algorithms: []string{"ES256"}, Skew: 3, ChecksAudience: true, ChecksRevocation: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 Tenants without a policy":              {undeclared, oidc.Policy{Skew: 5 * time.Minute}},
		"R3 Tenants":                               {declared, strict.Policy()},
		"R3 OrElse of Tenants":                     {tenantsElse, oidc.Policy{Algorithms: []string{"ES256"}, Skew: 3, ChecksAudience: true, Issuers: []string{"https://issuer.example"}, Audiences: []string{"a"}}},
		"R3 the zero Tenants":                      {new(tenants.Tenants), oidc.Policy{}},
		"R3 OrElse of a verifier without a Policy": {unknown, oidc.Policy{}},
		"R3 the zero Verifier":                     {new(oidc.Verifier), oidc.Policy{}},
		"R3 the zero Verifiers":                    {new(oidc.Verifiers), oidc.Policy{}},
		"R3 the zero Introspector":                 {new(introspect.Introspector), oidc.Policy{}},
		"R3 the zero Revocable":                    {new(introspect.Revocable), oidc.Policy{}},
		"R3 the zero ByForm":                       {new(introspect.ByForm), oidc.Policy{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, tc.verifier.Policy()) })
	}
}

// silent is a verifier of a user's own without a Policy.
type silent struct{ tokenVerifier }
