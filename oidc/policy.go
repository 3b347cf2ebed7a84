package oidc

import (
	"slices"
	"time"
)

// Policy says how strict a token verifier is. The presets of package middleware ask
// for it, and refuse a verifier that cannot answer. The zero Policy promises nothing.
type Policy struct {
	// Algorithms are the signatures that tokens may have. It is empty if no
	// signature of a token is verified, because the issuer is asked instead.
	Algorithms []string
	// Skew is by how much the issuer's clock may differ from ours.
	Skew time.Duration
	// ChecksAudience says that every accepted token was made for this service.
	ChecksAudience bool
	// ChecksRevocation says that the issuer is asked about every accepted token.
	ChecksRevocation bool
	// Issuers are those whose tokens can be accepted. It is empty if the verifier cannot
	// list them.
	Issuers []string
	// Audiences are those that a token of any of the Issuers may name: each is accepted,
	// whichever issuer the token is of. It is empty if the verifier cannot list them.
	Audiences []string
}

// With returns the Policy of a verifier that passes some tokens to one of the Policy p
// and the others to one of the Policy q: the laxest value of each, so that what it
// promises holds for every token.
func (p Policy) With(q Policy) Policy {
	union := func(a, b []string) []string {
		return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	}
	both := Policy{
		Algorithms:       union(p.Algorithms, q.Algorithms),
		Skew:             max(p.Skew, q.Skew),
		ChecksAudience:   p.ChecksAudience && q.ChecksAudience,
		ChecksRevocation: p.ChecksRevocation && q.ChecksRevocation,
	}
	if len(p.Issuers) > 0 && len(q.Issuers) > 0 {
		both.Issuers = union(p.Issuers, q.Issuers)
	}
	for _, a := range p.Audiences {
		if slices.Contains(q.Audiences, a) {
			both.Audiences = append(both.Audiences, a)
		}
	}
	return both
}

// Policy returns how strict the Verifier is: it is the zero Policy for one that was
// not made by New. The slice is the caller's.
func (v *Verifier) Policy() Policy {
	if v == nil || v.keys == nil {
		return Policy{}
	}
	return Policy{
		Algorithms:     slices.Clone(v.checks.Algorithms),
		Skew:           v.checks.Skew,
		ChecksAudience: !v.checks.AnyAudience && len(v.withoutAudience) == 0,
		Issuers:        []string{v.issuer.URL()},
		Audiences:      slices.Clone(v.checks.Audiences),
	}
}

// Policy combines the Policies of the Verifiers, the laxest value of each: what it
// promises holds for the tokens of every issuer.
func (s *Verifiers) Policy() Policy {
	if s == nil || len(s.verifiers) == 0 {
		return Policy{}
	}
	p := s.verifiers[0].Policy()
	slices.Sort(p.Algorithms)
	for _, v := range s.verifiers[1:] {
		p = p.With(v.Policy())
	}
	return p
}
