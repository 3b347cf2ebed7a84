package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Introspected verifies JWTs and then asks the issuer whether they still are
// active. Make one with [VerifyThenIntrospect]. Its methods may be called
// concurrently. The zero Introspected, and a nil one, accepts nothing.
type Introspected struct {
	verifier     *Verifier
	introspector *Introspector
}

var errNoIntrospected = errors.New("oidc: this Introspected was not made by VerifyThenIntrospect")

// VerifyThenIntrospect returns a verifier of JWTs whose revocation matters: a
// token that v accepts is then shown to i. What v does not accept never reaches
// the issuer. Both must be of the same issuer, and are closed by the caller.
//
//	guard, err := middleware.New(middleware.WithTokens(oidc.VerifyThenIntrospect(v, i)))
func VerifyThenIntrospect(v *Verifier, i *Introspector) (*Introspected, error) {
	switch {
	case v == nil || v.keys == nil:
		return nil, fmt.Errorf("oidc: VerifyThenIntrospect: %w", errNoVerifier)
	case i == nil || i.endpoint == nil:
		return nil, fmt.Errorf("oidc: VerifyThenIntrospect: %w", errNoIntrospector)
	case v.issuer != i.issuer:
		return nil, fmt.Errorf("oidc: VerifyThenIntrospect: the Verifier is for issuer %q, the Introspector for %q", v.issuer, i.issuer)
	}
	return &Introspected{v, i}, nil
}

// VerifyToken verifies a JWT as [Verifier.VerifyToken] does and asks about it as
// [Introspector.VerifyToken] does, with the errors of both. What it returns is
// what the JWT says, narrowed by what the issuer adds: a binding that only one of
// them names is enforced, and of the scopes remain those in both, if the issuer
// names any. If the two contradict each other about jti, sub, the client or the
// binding, the answer is not about this token, and the error has no code.
func (x *Introspected) VerifyToken(ctx context.Context, raw string) (*Token, error) {
	if x == nil || x.verifier == nil {
		return nil, errNoIntrospected
	}
	t, err := x.verifier.VerifyToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	told, err := x.introspector.VerifyToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	if err := t.narrow(told); err != nil {
		return nil, x.introspector.endpoint.outage(0, err)
	}
	return t, nil
}

// narrow restricts t, a JWT's own token, to what the issuer told about it.
//
// Precondition: the caller owns t, if not its slices.
func (t *Token) narrow(told *Token) error {
	for _, claim := range []struct {
		name      string
		own, told string
		to        *string
	}{
		{"jti", t.ID, told.ID, &t.ID},
		{"sub", t.Subject, told.Subject, &t.Subject},
		{"the client", t.ClientID, told.ClientID, &t.ClientID},
		{"cnf.jkt", t.Confirmation.JKT, told.Confirmation.JKT, &t.Confirmation.JKT},
		{"cnf.x5t#S256", t.Confirmation.X5T, told.Confirmation.X5T, &t.Confirmation.X5T},
	} {
		switch {
		case claim.told == "":
		case claim.own == "":
			*claim.to = claim.told
		case claim.own != claim.told:
			return fmt.Errorf("the answer is about another token: it contradicts the JWT in %s", claim.name)
		}
	}
	if !told.Expiry.IsZero() && told.Expiry.Before(t.Expiry) {
		t.Expiry = told.Expiry
	}
	if told.Scopes != nil {
		t.Scopes = common(t.Scopes, told.Scopes)
	}
	return nil
}

// common returns the elements of a that are in b, without writing to either.
func common(a, b []string) []string {
	missing := func(s string) bool { return !slices.Contains(b, s) }
	if !slices.ContainsFunc(a, missing) {
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), missing)
}
