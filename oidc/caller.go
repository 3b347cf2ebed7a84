package oidc

import (
	"context"
	"net/netip"

	"github.com/keybound-go/middleware/internal/caller"
)

// ContextWithCaller returns a context that tells token verifiers the address of the
// caller, for those that ask the issuer: questions about tokens that they do not
// know are served fairly by caller. Without it, all of these questions share one
// queue. A guard of package middleware sets it for its own TokenVerifier.
func ContextWithCaller(ctx context.Context, address netip.Addr) context.Context {
	return caller.With(ctx, address)
}
