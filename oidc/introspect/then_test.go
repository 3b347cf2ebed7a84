package introspect_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// newIntrospected returns the combination for issuer.
func newIntrospected(t *testing.T, issuer *oidctest.Issuer, opts ...any) *introspect.Revocable {
	t.Helper()
	i, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "secret"),
		append([]any{oidc.WithHTTPClient(issuer.Client())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Close() })
	x, err := introspect.Then(newVerifier(t, issuer), i)
	require.NoError(t, err)
	return x
}

func TestVerifyThenIntrospect(t *testing.T) {
	t.Run("INTRO-4-04 a token that does not verify is not shown to the issuer", func(t *testing.T) {
		issuer, other := newIssuer(t), newIssuer(t)
		x := newIntrospected(t, issuer)
		good := issuer.Token()
		for _, bad := range []string{
			other.Token(), issuer.OpaqueToken(), good[:len(good)-4] + "AAAA", issuer.Token(oidctest.Claim("aud", "https://other.example")),
		} {
			_, err := x.VerifyToken(t.Context(), bad)
			require.Equal(t, "invalid_token", code(err))
		}
		require.Zero(t, issuer.Fetches(oidctest.Introspection))
		accept(t, x, good)
		require.Equal(t, 1, issuer.Fetches(oidctest.Introspection))
	})
	t.Run("a token that is revoked is refused, though it verifies", func(t *testing.T) {
		issuer := newIssuer(t)
		x := newIntrospected(t, issuer)
		token := issuer.Token()
		issuer.Revoke(token)
		_, err := x.VerifyToken(t.Context(), token)
		require.Equal(t, oidc.ErrInactive, err)
	})
	t.Run("within a minute of its revocation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := newIssuer(t)
			i, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "secret"), oidc.WithHTTPClient(issuer.Client()))
			require.NoError(t, err)
			defer i.Close()
			v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
			require.NoError(t, err)
			defer v.Close()
			x, err := introspect.Then(v, i)
			require.NoError(t, err)
			token := issuer.Token()
			accept(t, x, token)
			issuer.Revoke(token)
			accept(t, x, token)
			time.Sleep(time.Minute)
			_, err = x.VerifyToken(t.Context(), token)
			require.Equal(t, oidc.ErrInactive, err)
		})
	})
	t.Run("the introspection endpoint is down", func(t *testing.T) {
		issuer := newIssuer(t)
		x := newIntrospected(t, issuer)
		issuer.Break(oidctest.Introspection, oidctest.Status(500))
		_, err := x.VerifyToken(t.Context(), issuer.Token())
		issuertest.RequireOutage(t, err)
	})
	for name, c := range map[string]struct {
		edit func(map[string]any)
		want func(*oidc.Token) bool // nil: the answer is about another token
	}{
		"IJWT-X-01 another jti":    {issuertest.With("jti", "other"), nil},
		"IJWT-X-01 another sub":    {issuertest.With("sub", "other"), nil},
		"IJWT-X-01 another client": {issuertest.With("client_id", "other"), nil},
		"IJWT-X-01 another key":    {issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint[1:] + "A"}), nil},
		"what it leaves out is no contradiction": {func(a map[string]any) {
			for _, name := range []string{"jti", "sub", "client_id", "cnf", "scope", "iss", "exp"} {
				delete(a, name)
			}
			a["token_type"] = "Bearer"
		}, func(tok *oidc.Token) bool {
			return tok.Confirmation.JKT == issuertest.Thumbprint && tok.Subject == "user-1" && len(tok.Scopes) == 2 && !tok.Expiry.IsZero()
		}},
		"a binding that only the answer names is enforced too": {
			issuertest.With("cnf", map[string]any{"jkt": issuertest.Thumbprint, "x5t#S256": issuertest.Thumbprint}), func(tok *oidc.Token) bool {
				return tok.Confirmation == oidc.Confirmation{JKT: issuertest.Thumbprint, X5T: issuertest.Thumbprint}
			}},
		"scopes that the answer leaves out are gone": {issuertest.With("scope", "b c"), func(tok *oidc.Token) bool {
			return len(tok.Scopes) == 1 && tok.Scopes[0] == "b"
		}},
		"an exp that is earlier counts": {issuertest.With("exp", time.Now().Add(time.Minute).Unix()), func(tok *oidc.Token) bool {
			return time.Until(tok.Expiry) <= time.Minute
		}},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			x := newIntrospected(t, issuer)
			token := issuer.Token(oidctest.BoundToKey(issuertest.Thumbprint), oidctest.Claim("scope", "a b"))
			issuer.Edit(oidctest.Introspection, c.edit)
			for range 2 {
				tok, err := x.VerifyToken(t.Context(), token)
				if c.want == nil {
					issuertest.RequireOutage(t, err)
					continue
				}
				require.NoError(t, err)
				require.True(t, c.want(tok), "%+v", tok)
			}
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		issuer := newIssuer(t)
		v := newVerifier(t, issuer)
		i := newIntrospector(t, issuertest.New())
		for want, args := range map[string]struct {
			v *oidc.Verifier
			i *introspect.Introspector
		}{
			"the Verifier was not made by oidc.New": {nil, i},
			"the Introspector was not made by New":  {v, nil},
			"the Introspector for":                  {v, i},
		} {
			x, err := introspect.Then(args.v, args.i)
			require.ErrorContains(t, err, want)
			_, err = x.VerifyToken(t.Context(), "token")
			issuertest.RequireOutage(t, err)
		}
		for _, i := range []*introspect.Introspector{nil, {}} {
			_, err := i.VerifyToken(t.Context(), "token")
			issuertest.RequireOutage(t, err)
			issuertest.RequireOutage(t, i.Prefetch(t.Context()))
			require.NoError(t, i.Close())
		}
	})
}
