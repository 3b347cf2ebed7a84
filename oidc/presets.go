package oidc

import (
	"slices"
	"time"
)

// FAPI2 sets what the FAPI 2.0 Security Profile demands of JWT access tokens. It
// makes this setting, which can then not be made again:
//
//	WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519")   section 5.4
func FAPI2() Option { return WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519") }

// What presets ask below may be asked of the zero values too, which accept nothing.

// Algorithms returns the algorithms that tokens may be signed with. The slice is
// the caller's.
func (v *Verifier) Algorithms() []string {
	if v == nil {
		return nil
	}
	return slices.Clone(v.algorithms)
}

// Algorithms returns the algorithms that tokens of any of the issuers may be
// signed with. The slice is the caller's.
func (s *Issuers) Algorithms() []string {
	var all []string
	for _, v := range s.verifiers {
		all = append(all, v.algorithms...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Algorithms returns the algorithms that the tokens themselves may be signed
// with. The slice is the caller's.
func (x *Introspected) Algorithms() []string { return x.verifier.Algorithms() }

// Skew returns by how much the issuer's clock may differ from ours.
func (v *Verifier) Skew() time.Duration {
	if v == nil {
		return 0
	}
	return v.skew
}

// Skew returns by how much the clock of any of the issuers may differ from ours.
func (s *Issuers) Skew() (most time.Duration) {
	for _, v := range s.verifiers {
		most = max(most, v.skew)
	}
	return most
}

// Skew returns by how much the issuer's clock may differ from ours, by the claims
// of the tokens themselves, which the answers can but narrow.
func (x *Introspected) Skew() time.Duration { return x.verifier.Skew() }

// Skew returns by how much the issuer's clock may differ from ours.
func (i *Introspector) Skew() time.Duration { return i.skew }

// ChecksAudience reports that tokens were made for this service: it is false
// with [DangerouslyAcceptAnyAudience].
func (v *Verifier) ChecksAudience() bool { return v == nil || !v.anyAudience }

// ChecksAudience reports whether it does so for the tokens of every issuer.
func (s *Issuers) ChecksAudience() bool {
	return !slices.ContainsFunc(s.verifiers, func(v *Verifier) bool { return v.anyAudience })
}

// ChecksAudience reports whether tokens, or what the issuer says of them, must
// have been made for this service.
func (x *Introspected) ChecksAudience() bool {
	return x.verifier.ChecksAudience() || x.introspector.ChecksAudience()
}

// ChecksAudience reports that tokens were made for this service: it is false
// with [DangerouslyAcceptAnyAudience] and with [DangerouslyAllowMissingAudience].
func (i *Introspector) ChecksAudience() bool { return !i.anyAudience && !i.missingAudience }

// ChecksRevocation reports that the issuer is asked about each token.
func (x *Introspected) ChecksRevocation() bool { return true }

// ChecksRevocation reports that the issuer is asked about each token.
func (i *Introspector) ChecksRevocation() bool { return true }

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

// Policy returns how strict the Verifier is: the zero Policy for one that New did not
// make. The slice is the caller's.
func (v *Verifier) Policy() Policy {
	if v == nil || v.keys == nil {
		return Policy{}
	}
	return Policy{Algorithms: v.Algorithms(), Skew: v.skew, ChecksAudience: !v.anyAudience}
}

// Policy combines the Policies of the Verifiers: what it promises holds for the
// tokens of every issuer.
func (s *Issuers) Policy() Policy {
	if s == nil || len(s.verifiers) == 0 {
		return Policy{}
	}
	return Policy{Algorithms: s.Algorithms(), Skew: s.Skew(), ChecksAudience: s.ChecksAudience()}
}

// Policy returns how strict the Introspector is: the zero Policy for one that
// NewIntrospector did not make.
func (i *Introspector) Policy() Policy {
	if i == nil || i.endpoint == nil {
		return Policy{}
	}
	return Policy{Skew: i.skew, ChecksAudience: i.ChecksAudience(), ChecksRevocation: true}
}

// Policy combines the Policies of both: every token must pass both.
func (x *Introspected) Policy() Policy {
	if x == nil || x.verifier == nil || x.introspector == nil {
		return Policy{}
	}
	p := x.verifier.Policy()
	p.ChecksAudience = x.ChecksAudience()
	p.ChecksRevocation = true
	return p
}

// Policy combines the Policies of both: what it promises holds for tokens of either
// form. It is the zero Policy if the verifier of JWTs cannot say.
func (f *Forms) Policy() Policy {
	if f == nil || f.jwts == nil {
		return Policy{}
	}
	v, ok := f.jwts.(interface{ Policy() Policy })
	if !ok {
		return Policy{}
	}
	p, opaque := v.Policy(), f.opaque.Policy()
	p.Skew = max(p.Skew, opaque.Skew)
	p.ChecksAudience = p.ChecksAudience && opaque.ChecksAudience
	p.ChecksRevocation = p.ChecksRevocation && opaque.ChecksRevocation
	return p
}
