package introspect

import (
	"context"
	"errors"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/oidc"
)

// ByForm verifies JWTs in one way and opaque tokens in another. Make one with
// [OrElse]. Its methods may be called concurrently. The zero ByForm, and a nil
// one, accepts nothing.
type ByForm struct {
	jwts   verifier
	opaque *Introspector
}

type verifier interface {
	VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
}

var errNoForms = errors.New("introspect: this ByForm was not made by OrElse")

// OrElse returns a verifier for a service that is sent JWTs and opaque tokens,
// and whose operator says which part answers for which: jwts (an [oidc.Verifier],
// [oidc.Verifiers], tenants.Tenants or [Revocable]) for those in the form of a JWS,
// opaque for all others, JWEs among them. A JWS that jwts does not accept is not shown to
// opaque: what a token looks like never gets it a second chance. So a token that looks
// like JOSE, and is neither a canonical compact JWS nor a canonical compact JWE, is
// refused by both: issuers accept more than one spelling of a token.
//
// A preset of package middleware asks for the [ByForm.Policy]. If jwts is a type
// of the caller's own, it needs a method Policy() oidc.Policy for that; without one
// the Policy is the zero Policy, which presets refuse.
func OrElse(jwts interface {
	VerifyToken(ctx context.Context, raw string) (*oidc.Token, error)
}, opaque *Introspector) (*ByForm, error) {
	s := options.For("introspect")
	if options.IsNil(jwts) {
		s.Problem("OrElse: no verifier of JWTs")
	}
	if opaque == nil || opaque.endpoint == nil {
		s.Problem("OrElse: the Introspector was not made by New")
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return &ByForm{jwts, opaque}, nil
}

// VerifyToken verifies the token as the part that answers for its form does, with
// its errors.
func (f *ByForm) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	switch {
	case f == nil || f.jwts == nil:
		return nil, errNoForms
	case jose.FormOf(raw) == jose.Signed:
		return f.jwts.VerifyToken(ctx, raw)
	default: // which refuses what looks like JOSE and is no canonical JWE
		return f.opaque.VerifyToken(ctx, raw)
	}
}

// Policy combines the Policies of the two parts, the laxest value of each.
func (f *ByForm) Policy() oidc.Policy {
	if f == nil || f.jwts == nil {
		return oidc.Policy{}
	}
	jwts, ok := f.jwts.(interface{ Policy() oidc.Policy })
	if !ok {
		return oidc.Policy{}
	}
	return jwts.Policy().With(f.opaque.Policy())
}

// Statuses returns the state of both parts at this moment. It touches no network.
func (f *ByForm) Statuses() (all []oidc.Status) {
	if f == nil || f.jwts == nil {
		return nil
	}
	if jwts, ok := f.jwts.(oidc.Reporter); ok {
		all = jwts.Statuses()
	}
	return append(all, f.opaque.Statuses()...)
}
