package issuer

import (
	"context"
	"crypto"
	"crypto/sha256"
	"reflect"
	"sync/atomic"

	"github.com/keybound-go/middleware/internal/jose"
)

// Verifier is the inside of an oidc.Verifier. Package oidc/tenants takes Verifiers over
// and remembers their tokens itself.
type Verifier struct {
	Issuer  *Issuer // whose keys sign the tokens
	Checks  Checks
	Signers Signers
	Origins []string // where the tokens are good, in normal form; empty: everywhere

	OwnsIssuer bool        // closing the Verifier closes the Issuer
	Closed     atomic.Bool // set by Close of a Verifier that owns its Issuer
	Taken      atomic.Bool // an oidc/tenants.Tenants has it, or had it
}

// InsideVerifier returns the inside of an *oidc.Verifier, or nil for a nil or zero one.
// Package oidc sets it when it is initialised.
var InsideVerifier func(outside any) *Verifier

// ParseToken parses a token of at most maxSize bytes, without verifying anything. iss is
// the issuer that the claim set names, or nothing, and lies within m. The error is an
// oidc.TokenError. Package oidc sets ParseToken when it is initialised.
var ParseToken func(raw string, maxSize int) (m *jose.Message, iss []byte, err error)

// VerifyToken verifies m, a token with the SHA-256 id, by an *oidc.Verifier, whose cache
// it leaves alone. The token is an *oidc.Token, and by tells what signed it. Package oidc
// sets VerifyToken when it is initialised.
var VerifyToken func(ctx context.Context, verifier any, id [sha256.Size]byte, m *jose.Message, by *Signature) (token any, err error)

// Signers tells whether the key that signed a token is still the issuer's.
type Signers struct {
	keys    Keys
	current func() uint64 // nil if the key source counts no generations
}

// SignersOf returns the Signers with the given keys. A key source may have a method
// Generation() uint64; see oidc.KeySource.
func SignersOf(keys Keys) Signers {
	s := Signers{keys: keys}
	if g, ok := keys.(interface{ Generation() uint64 }); ok {
		s.current = g.Generation
	}
	return s
}

// Signature is the key that signed a verified token. The key is immutable.
type Signature struct {
	key crypto.PublicKey
	// Invariant: at some time since the key source was in this generation, it contained
	// key.
	generation atomic.Uint64
}

// Set notes that key signed the token, and was found after the Signers were in the
// given generation.
func (s *Signature) Set(key crypto.PublicKey, generation uint64) {
	s.key = key
	s.generation.Store(generation)
}

// Generation is the key source's, or 0 if it counts none or has no keys.
func (s *Signers) Generation() uint64 {
	if s.current == nil {
		return 0
	}
	return s.current()
}

// Include reports whether the issuer still publishes the key of a Signature.
func (s *Signers) Include(by *Signature) bool {
	generation := s.Generation()
	if generation != 0 && generation == by.generation.Load() {
		return true
	}
	if !s.keys.Contains(by.key) {
		return false
	}
	by.generation.Store(generation)
	return true
}

// SameKeys reports whether the Signers have one key source.
func (s *Signers) SameKeys(other *Signers) bool {
	a, b := s.keys, other.keys
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}
