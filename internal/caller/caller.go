// Package caller answers: which caller made the request for which an issuer is asked?
//
// A verifier that asks an issuer about unknown tokens must serve callers fairly, and so
// must tell them apart by address. The address travels in the context: the root package
// puts it there, package oidc and its rooms read it. Without one all callers count as
// one.
package caller

import (
	"context"
	"net/netip"
)

type key struct{}

// Addresser knows the address of a caller, or returns the zero Addr. CallerAddress may
// be called several times, concurrently, and after the request is over.
type Addresser interface{ CallerAddress() netip.Addr }

// Context is a context that knows its caller. It finds the address only when asked,
// since most tokens are known and need no question.
type Context struct {
	context.Context
	Of Addresser
}

// Value answers for the caller.
func (c *Context) Value(k any) any {
	if k == (key{}) {
		return c.Of
	}
	return c.Context.Value(k)
}

// fixed is an address that is known already.
type fixed netip.Addr

func (f fixed) CallerAddress() netip.Addr { return netip.Addr(f) }

// With returns a context whose caller has the given address.
func With(ctx context.Context, addr netip.Addr) context.Context {
	return &Context{ctx, fixed(addr)}
}

// Address returns the address of the caller on whose behalf ctx is, or the zero Addr.
func Address(ctx context.Context) netip.Addr {
	if of, ok := ctx.Value(key{}).(Addresser); ok {
		return of.CallerAddress()
	}
	return netip.Addr{}
}
