package tenants_test

import (
	"context"
	"crypto"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// newIssuer returns an issuer without a network.
func newIssuer(t testing.TB) *oidctest.Issuer {
	t.Helper()
	return oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example/realms/main"))
}

type tokenVerifier interface {
	VerifyToken(context.Context, string) (*oidc.Token, error)
}

// verifyToken is VerifyToken with a time limit.
func verifyToken(t testing.TB, v tokenVerifier, raw string) (*oidc.Token, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return v.VerifyToken(ctx, raw)
}

// requireOurs is for errors that are not the token's fault: the answer is 503.
func requireOurs(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.False(t, errors.As(err, new(oidc.TokenError)), "%v", err)
}

// requireKind is for kinds of TokenError, which are compared with ==; nil is success.
func requireKind(t testing.TB, want, got error) {
	t.Helper()
	require.Truef(t, want == got, "want %v, got %v", want, got)
}

// static is a key source of one key, which counts what it is asked.
type static struct {
	key     crypto.PublicKey
	lookups atomic.Int64
	gone    atomic.Bool
}

func (s *static) Keys(context.Context, string, string) ([]crypto.PublicKey, error) {
	s.lookups.Add(1)
	if s.gone.Load() {
		return nil, jwks.ErrNoKey
	}
	return []crypto.PublicKey{s.key}, nil
}

func (s *static) Contains(crypto.PublicKey) bool { return !s.gone.Load() }
