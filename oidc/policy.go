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
	}
}

// Policy combines the Policies of the Verifiers, the laxest value of each: what it
// promises holds for the tokens of every issuer.
func (s *Verifiers) Policy() Policy {
	if s == nil || len(s.verifiers) == 0 {
		return Policy{}
	}
	p := Policy{ChecksAudience: true}
	for _, v := range s.verifiers {
		one := v.Policy()
		p.Algorithms = append(p.Algorithms, one.Algorithms...)
		p.Skew = max(p.Skew, one.Skew)
		p.ChecksAudience = p.ChecksAudience && one.ChecksAudience
	}
	slices.Sort(p.Algorithms)
	p.Algorithms = slices.Compact(p.Algorithms)
	return p
}
