package exchange_test

import (
	"context"
	"errors"
	"testing"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// newFrom makes an oidc.Issuer and an Exchange that borrows it, from the options of
// both. The Issuer is closed with the test.
func newFrom(t testing.TB, url string, opts ...any) (*exchange.Exchange, error) {
	t.Helper()
	issuer, own, err := issuertest.NewIssuer[exchange.Option](t, url, opts)
	x, err2 := exchange.New(issuer, own...)
	return x, errors.Join(err, err2)
}

func accept(t testing.TB, v interface {
	VerifyToken(context.Context, string) (*oidc.Token, error)
}, token string) *oidc.Token {
	t.Helper()
	tok, err := v.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	return tok
}

// newVerifier returns a Verifier of issuer's tokens.
func newVerifier(t testing.TB, issuer *oidctest.Issuer, opts ...oidc.Option) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, oidctest.Audience, append([]oidc.Option{oidc.WithHTTPClient(issuer.Client())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}
