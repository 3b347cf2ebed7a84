package oidc

import (
	"context"
	"net/netip"
)

type callerKey struct{}

// ContextWithCaller returns a context that tells token verifiers the address of the
// caller, for those that ask the issuer: questions about tokens that they do not
// know are served fairly by caller. Without it, all of these questions share one
// queue. A guard of package middleware sets it for its own TokenVerifier.
func ContextWithCaller(ctx context.Context, caller netip.Addr) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerFromContext returns the address that [ContextWithCaller] was given, or the
// zero Addr.
func CallerFromContext(ctx context.Context) netip.Addr {
	caller, _ := ctx.Value(callerKey{}).(netip.Addr)
	return caller
}
