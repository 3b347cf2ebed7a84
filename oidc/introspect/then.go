package introspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/oidc"
)

// Revocable verifies JWTs and then asks the issuer whether they still are active.
// Make one with [Then]. Its methods may be called concurrently. The zero Revocable,
// and a nil one, accepts nothing.
type Revocable struct {
	verifier     *oidc.Verifier
	introspector *Introspector
}

var errNoRevocable = errors.New("introspect: this Revocable was not made by Then")

// Then returns a verifier of JWTs whose revocation matters: a token that v accepts
// is then shown to i. What v does not accept never reaches the issuer. Both must be
// of the same issuer, and are closed by the caller.
//
//	guard, err := middleware.New(middleware.WithTokens(introspect.Then(v, i)))
func Then(v *oidc.Verifier, i *Introspector) (*Revocable, error) {
	s := options.For("introspect")
	if v.Issuer() == nil {
		s.Problem("Then: the Verifier was not made by oidc.New")
	}
	if i == nil || i.endpoint == nil {
		s.Problem("Then: the Introspector was not made by New")
	}
	if s.Err() == nil && v.Issuer().URL() != i.issuer.URL() {
		s.Problem("Then: the Verifier is for issuer %q, the Introspector for %q", v.Issuer().URL(), i.issuer.URL())
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return &Revocable{v, i}, nil
}

// VerifyToken verifies a JWT as [oidc.Verifier.VerifyToken] does and asks about it as
// [Introspector.VerifyToken] does, with the errors of both. What it returns is
// what the JWT says, narrowed by what the issuer adds: a binding that only one of
// them names is enforced, and of the scopes remain those in both, if the issuer
// names any. If the two contradict each other about jti, sub, the client or the
// binding, the answer is not about this token, and the error has no code.
func (x *Revocable) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	if x == nil || x.verifier == nil {
		return nil, errNoRevocable
	}
	t, err := x.verifier.VerifyToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	told, err := x.introspector.VerifyToken(ctx, raw)
	if err != nil {
		return nil, err
	}
	if err := narrow(t, told); err != nil {
		return nil, x.introspector.endpoint.Outage(0, err)
	}
	return t, nil
}

// narrow restricts t, a JWT's own token, to what the issuer told about it.
//
// Precondition: the caller owns t, if not its slices.
func narrow(t, told *oidc.Token) error {
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

// Policy combines the Policies of the two: the tokens themselves are verified, and
// the issuer is asked about each.
func (x *Revocable) Policy() oidc.Policy {
	if x == nil || x.verifier == nil {
		return oidc.Policy{}
	}
	p, asked := x.verifier.Policy(), x.introspector.Policy()
	p.ChecksAudience = p.ChecksAudience || asked.ChecksAudience
	p.ChecksRevocation = asked.ChecksRevocation
	return p
}

// Statuses returns the state of both parts at this moment. It touches no network.
func (x *Revocable) Statuses() []oidc.Status {
	if x == nil || x.verifier == nil {
		return nil
	}
	return append(x.verifier.Statuses(), x.introspector.Statuses()...)
}
