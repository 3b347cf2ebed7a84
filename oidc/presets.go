package oidc

import "slices"

// FAPI2 sets what the FAPI 2.0 Security Profile demands of JWT access tokens. It
// makes this setting, which can then not be made again:
//
//	WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519")   section 5.4
func FAPI2() Option { return WithAlgorithms("PS256", "ES256", "EdDSA", "Ed25519") }

// Algorithms returns the algorithms that tokens may be signed with. The slice is
// the caller's.
func (v *Verifier) Algorithms() []string { return slices.Clone(v.algorithms) }

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

// ChecksRevocation reports that the issuer is asked about each token.
func (x *Introspected) ChecksRevocation() bool { return true }

// ChecksRevocation reports that the issuer is asked about each token.
func (i *Introspector) ChecksRevocation() bool { return true }
