package oidc

import (
	"context"
	"errors"
	"strings"
)

// Forms verifies JWTs in one way and opaque tokens in another. Make one with
// [ByForm]. Its methods may be called concurrently. The zero Forms, and a nil
// one, accepts nothing.
type Forms struct {
	jwts   verifier
	opaque *Introspector
}

// verifier is what [Verifier], [Issuers] and [Introspected] have in common.
type verifier interface {
	VerifyToken(ctx context.Context, raw string) (*Token, error)
}

var errNoForms = errors.New("oidc: this Forms was not made by ByForm")

// ByForm returns a verifier for a service that is sent JWTs and opaque tokens,
// and whose operator says who answers for which: jwts (a [Verifier], [Issuers]
// or [Introspected]) for those in the form of a JWS, opaque for all others. A
// JWS that jwts does not accept is not shown to opaque: what a token looks like
// never gets it a second chance. A JWS has three parts of base64url, the first
// of which starts a JSON object ("eyJ").
func ByForm(jwts interface {
	VerifyToken(ctx context.Context, raw string) (*Token, error)
}, opaque *Introspector) (*Forms, error) {
	var problems []error
	if jwts == nil {
		problems = append(problems, errors.New("oidc: ByForm: no verifier of JWTs"))
	}
	if opaque == nil || opaque.endpoint == nil {
		problems = append(problems, errors.New("oidc: ByForm: the Introspector was not made by NewIntrospector"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Forms{jwts, opaque}, nil
}

// VerifyToken verifies the token as the one who answers for its form does, with
// its errors.
func (f *Forms) VerifyToken(ctx context.Context, raw string) (*Token, error) {
	switch {
	case f == nil || f.jwts == nil:
		return nil, errNoForms
	case strings.HasPrefix(raw, "eyJ") && strings.Count(raw, ".") == 2:
		return f.jwts.VerifyToken(ctx, raw)
	default:
		return f.opaque.VerifyToken(ctx, raw)
	}
}
