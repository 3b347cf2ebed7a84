// Package jwks answers "which public keys does this issuer sign with, right now?"
package jwks

import (
	"context"
	"crypto"
)

// CONTRACT STUB: jwks's owner replaces this file, keeping these names.

// Source is one issuer's key set, kept fresh.
type Source struct{}

// Option configures a Source.
type Option interface{ apply(*int) }

// New returns a source for a fixed jwks_uri. It touches no network.
func New(url string, opts ...Option) (*Source, error) { panic("stub") }

// NewLocated is New with a jwks_uri that has to be found out first (discovery); locate is called before each fetch.
func NewLocated(locate func(context.Context) (string, error), opts ...Option) (*Source, error) {
	panic("stub")
}

// Keys returns the keys that may verify a signature by alg under kid ("" if the token names none), 1 to 16 of them.
// No such key: ErrNoKey (after one rate-limited refresh). No key set at all: an error that wraps ErrUnavailable.
func (s *Source) Keys(ctx context.Context, alg, kid string) ([]crypto.PublicKey, error) {
	panic("stub")
}

// Contains reports, without touching the network, whether key is still in the issuer's set.
func (s *Source) Contains(key crypto.PublicKey) bool { panic("stub") }
