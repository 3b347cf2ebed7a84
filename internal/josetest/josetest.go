// Package josetest signs compact JWS with nothing but the standard library: the pen of the fakes.
package josetest

import "crypto"

// CONTRACT STUB: internal/josetest's owner replaces this file, keeping these names.

// Key is a private key together with the algorithm that it signs with.
type Key struct {
	Algorithm string
	KeyID     string
	Signer    crypto.Signer
}

// NewKey makes a key for alg: ES256 ES384 ES512 RS256.. PS256.. EdDSA Ed25519. It panics on an unknown alg.
func NewKey(alg string) *Key { panic("stub") }

// FromSigner wraps an existing private key.
func FromSigner(alg string, s crypto.Signer) *Key { panic("stub") }

// JWK returns the public members (kty, crv, x, y, n, e), nothing else.
func (k *Key) JWK() map[string]any { panic("stub") }

// Thumbprint is RFC 7638, SHA-256, derived with std only.
func (k *Key) Thumbprint() string { panic("stub") }

// Sign marshals header and claims with encoding/json and signs. alg is added to the header if absent.
func (k *Key) Sign(header map[string]any, claims any) string { panic("stub") }

// SignRaw signs the given header and payload bytes as they are.
func (k *Key) SignRaw(header, payload []byte) string { panic("stub") }
