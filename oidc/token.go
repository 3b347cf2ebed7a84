package oidc

import "time"

// Token is a verified access token.
type Token struct {
	Issuer       string
	Subject      string
	ClientID     string
	ID           string // jti
	Audience     []string
	Scopes       []string
	IssuedAt     time.Time
	Expiry       time.Time
	Confirmation Confirmation

	claims []byte // the claim set as JSON
}

// Confirmation is the cnf claim (RFC 7800): what a token is bound to. The
// zero Confirmation is an unbound token. A token whose cnf is malformed, or
// names no method known here, is not a Token at all.
type Confirmation struct {
	JKT string // jkt: SHA-256 thumbprint of the DPoP key, canonical base64url (RFC 9449, section 6.1)
	X5T string // x5t#S256: SHA-256 of the certificate, canonical base64url (RFC 8705, section 3.1)
}

// Claims decodes the token's claim set into v, a pointer, by encoding/json rules.
func (t *Token) Claims(v any) error { panic("stub") }

// TokenFromClaims builds a Token from a claim set that somebody else has
// verified. It checks shapes (cnf above all), not times, issuer or audience.
func TokenFromClaims(claims []byte) (*Token, error) { panic("stub") }

// Claim returns the values of the claim at path. (CONTRACT STUB)
func (t *Token) Claim(path ...string) (values []string, ok bool) { panic("stub") }
