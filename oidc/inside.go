package oidc

import (
	"context"
	"crypto/sha256"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
)

// The packages introspect, exchange and tenants reach these through internal/issuer, so
// that none of them is exported.
func init() {
	issuer.Inside = func(outside any) *issuer.Issuer { return outside.(*Issuer).insides() }
	issuer.InsideVerifier = func(outside any) *issuer.Verifier { return outside.(*Verifier).insides() }
	issuer.ParseToken = parseToken
	issuer.VerifyToken = func(ctx context.Context, v any, id [sha256.Size]byte, m *jose.Message, by *issuer.Signature) (any, error) {
		return v.(*Verifier).check(ctx, id, m, by)
	}
	issuer.CheckProfile = func(profile any) error {
		_, err := profile.(Profile).dialect()
		return err
	}
	issuer.ReadAnswer = func(iss string, claims []byte, by *issuer.Checks) (any, error) {
		t, err := readAnswer(iss, claims, by)
		return t, err
	}
}
