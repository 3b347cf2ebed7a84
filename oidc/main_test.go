package oidc_test

import (
	"context"
	"testing"
	"time"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// identifier is the issuer of most tests: one without a network.
const identifier = "https://issuer.example/realms/main"

func newIssuer(t testing.TB, opts ...oidctest.Option) *oidctest.Issuer {
	t.Helper()
	return oidctest.NewIssuer(t, append([]oidctest.Option{oidctest.InMemory(identifier)}, opts...)...)
}

// newVerifier returns a Verifier of issuer's tokens.
func newVerifier(t testing.TB, issuer *oidctest.Issuer, opts ...oidc.Option) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(issuer.URL, oidctest.Audience, append([]oidc.Option{oidc.WithHTTPClient(issuer.Client())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// verifyToken is VerifyToken with a time limit.
func verifyToken(t testing.TB, v tokenVerifier, raw string) (*oidc.Token, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return v.VerifyToken(ctx, raw)
}

// code is the RFC 6750 code of this module's error, "" if it has none.
func code(err error) string {
	if coded, ok := err.(interface{ Code() string }); ok {
		return coded.Code()
	}
	return ""
}

func claimCnf(cnf any) oidctest.Change { return oidctest.Claim("cnf", cnf) }

type tokenVerifier interface {
	VerifyToken(context.Context, string) (*oidc.Token, error)
}
