// Package outage answers: which part of this library, or of what it depends on, gave no
// answer?
//
// An error of this family becomes a 503. Its reason is stable and of low cardinality,
// for logs and metrics; its text is for the operator.
package outage

import (
	"errors"
	"slices"
)

// The reasons.
const (
	Issuer        = "unavailable_issuer"         // metadata or keys
	Tenants       = "unavailable_tenants"        // what says which issuers are tenants
	Introspection = "unavailable_introspection"  // the introspection endpoint
	TokenEndpoint = "unavailable_token_endpoint" // client credentials
	ReplayCache   = "unavailable_replay_cache"   // dpop.ReplayCache
	Nonces        = "unavailable_nonces"         // dpop.NonceSource
	Revocation    = "unavailable_revocation"     // mtlspop.RevocationChecker
	Roots         = "unavailable_roots"          // certificate authorities that could not be read
)

// Reasons are all of them.
var Reasons = []string{Issuer, Tenants, Introspection, TokenEndpoint, ReplayCache, Nonces, Revocation, Roots}

// marked is an error with its reason. Its text is that of the error.
type marked struct {
	error
	reason string
}

func (m *marked) Reason() string { return m.reason }
func (m *marked) Unwrap() error  { return m.error }

// As marks err as an outage of the part that reason names, unless it is marked or nil.
func As(reason string, err error) error {
	if err == nil || Reason(err) != "" {
		return err
	}
	return &marked{err, reason}
}

// Reason is what an error in the chain of err says itself, or "".
func Reason(err error) string {
	if m, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok && slices.Contains(Reasons, m.Reason()) {
		return m.Reason()
	}
	return ""
}
