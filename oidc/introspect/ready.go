package introspect

import (
	"context"
	"errors"
)

// Ready reports whether a token can be verified and asked about now.
func (x *Revocable) Ready(ctx context.Context) error {
	if x == nil || x.verifier == nil {
		return errNoRevocable
	}
	return errors.Join(x.verifier.Prefetch(ctx), x.introspector.Prefetch(ctx))
}

// Close closes the verifier and the introspector.
func (x *Revocable) Close() error {
	if x == nil || x.verifier == nil {
		return nil
	}
	return errors.Join(x.verifier.Close(), x.introspector.Close())
}

// Ready reports whether tokens of either form can be verified now.
func (f *ByForm) Ready(ctx context.Context) error {
	if f == nil || f.opaque == nil {
		return errNoForms
	}
	err := f.opaque.Prefetch(ctx)
	if err == nil {
		return nil
	}
	switch v := f.jwts.(type) {
	case interface{ Ready(context.Context) error }:
		if jwts := v.Ready(ctx); jwts != nil {
			return errors.Join(err, jwts)
		}
	case interface{ Prefetch(context.Context) error }:
		if jwts := v.Prefetch(ctx); jwts != nil {
			return errors.Join(err, jwts)
		}
	}
	return nil
}

// Close closes the verifier of JWTs, if it has a method Close, and the introspector.
func (f *ByForm) Close() error {
	if f == nil || f.opaque == nil {
		return nil
	}
	if v, ok := f.jwts.(interface{ Close() error }); ok {
		return errors.Join(v.Close(), f.opaque.Close())
	}
	return f.opaque.Close()
}
