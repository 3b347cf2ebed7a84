// Package credctx holds the one context key under which a request carries its
// credential. The root package writes and reads it; middlewaretest writes it;
// nobody else can, since a handler that could set a credential could forge one.
package credctx

import "context"

type key struct{}

// With returns a context that carries credential.
func With(ctx context.Context, credential any) context.Context {
	return context.WithValue(ctx, key{}, credential)
}

// From returns what the innermost With stored, or nil.
func From(ctx context.Context) any {
	return ctx.Value(key{})
}
