package issuers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// loose is a description of everything that a description may leave out, for the claim of
// the issuers that have been told to name their access tokens.
var loose = oidc.Described(oidc.Dialect{
	Name:       "loose",
	Types:      []string{"JWT", ""},
	ClientID:   []string{"client_id", "azp"},
	Scopes:     []string{"scp", "scope"},
	ScopeLists: true,
	MayLack:    []string{"sub", "client_id", "iat", "jti"},
	Evidence:   []oidc.Evidence{{Claim: "token_kind", Values: []string{"access"}}},
})

// otherTokens: under no profile and no description does anything pass but access tokens
// for this service, and introspection knows them apart too.
func (w *world) otherTokens(t *testing.T) {
	u := w.issuer.user(t)
	for _, token := range []string{u.access, u.refreshed, u.id, u.refresh} {
		require.NotEmpty(t, token)
	}
	require.NotEqual(t, u.access, u.refreshed)
	columns := []struct{ name, token string }{
		{"access token", u.refreshed},
		{"for another service", curl{}.open(t, w, wish{client: "elsewhere", resource: elsewhere, scope: "orders:read"}).token()},
		{"ID token", u.id},
		{"refresh token", u.refresh},
		{"userinfo", u.userinfo},
	}
	var b strings.Builder
	b.WriteString("|  ")
	for _, c := range columns {
		b.WriteString("| " + c.name + " ")
	}
	b.WriteString("|\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n")
	names, profiles := []string{}, map[string]oidc.Profile{"a description": loose}
	for v := oidc.RFC9068; v.String() != "unknown"; v++ {
		names, profiles[v.String()] = append(names, v.String()), v
	}
	names = append(names, "a description")
	for name, p := range w.issuer.descriptions {
		names, profiles[name] = append(names, name), p
	}
	accepted := 0
	for _, name := range names {
		b.WriteString("| " + name + " ")
		for i, c := range columns {
			cell := w.underProfile(t, c.token, profiles[name], i > 1)
			if i > 0 {
				require.NotEqual(t, "accepted", cell, "%s under %s", c.name, name)
			} else if cell == "accepted" {
				accepted++
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	require.NotZero(t, accepted, "nothing reads the access tokens")
	b.WriteString("| introspection ")
	for i, c := range columns {
		token := c.token
		if i == 0 && u.opaque != "" {
			token = u.opaque
		}
		cell := w.underIntrospection(t, token)
		require.Equal(t, i == 0, cell == "accepted", "%s by introspection: %s", c.name, cell)
		b.WriteString("| " + cell + " ")
	}
	b.WriteString("|\n")
	t.Logf("what is refused:\n%s", b.String())
	if !t.Failed() {
		publishText(t, w.top.Name()[len("Test"):]+", what is refused", b.String())
	}
}

// underProfile is why a token is refused by a verifier of this service, or "accepted". If
// own, the verifier takes the token's own audience too, as one does whose operator
// confuses the two.
func (w *world) underProfile(t *testing.T, token string, p oidc.Profile, own bool) string {
	if token == "" {
		return "-"
	}
	if strings.Count(token, ".") != 2 {
		own = false // opaque
	}
	audiences := []string{audience}
	if own {
		var claims struct{ Aud any }
		part(t, token, 1, &claims)
		list, _ := claims.Aud.([]any)
		for _, a := range append(list, claims.Aud) {
			if s, ok := a.(string); ok && !slices.Contains(audiences, s) {
				audiences = append(audiences, s)
			}
		}
	}
	opts := []oidc.Option{oidc.WithProfile(p), w.trust()}
	if len(audiences) > 1 {
		opts = append(opts, oidc.WithAudiences(audiences[1:]...))
	}
	v, err := oidc.New(w.issuer.url, audience, opts...)
	require.NoError(t, err)
	defer v.Close()
	_, err = v.VerifyToken(context.Background(), token)
	return verdict(t, err)
}

func (w *world) underIntrospection(t *testing.T, token string) string {
	if token == "" {
		return "-"
	}
	from, err := oidc.NewIssuer(w.issuer.url, w.trust())
	require.NoError(t, err)
	defer from.Close()
	opts := append([]introspect.Option{introspect.WithAudiences("user", opaqueAudience)}, w.issuer.introspect...)
	i, err := introspect.New(from, audience, clientauth.PrivateKeyJWT("api", w.service.keys), opts...)
	require.NoError(t, err)
	defer i.Close()
	_, err = i.VerifyToken(context.Background(), token)
	if err != nil && w.issuer.opaque == opaqueAudience && strings.Contains(err.Error(), "unsupported_token_type") {
		return "503: it is not asked about JWTs"
	}
	return verdict(t, err)
}

// verdict is "accepted", or the reason of a refusal. What is no verdict on the token
// fails the test.
func verdict(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "accepted"
	}
	var kind oidc.TokenError
	require.True(t, errors.As(err, &kind), "%v", err)
	return fmt.Sprintf("`%s`", kind.Reason())
}
