package oidc

// TokenError says why a token is not accepted. (CONTRACT STUB; the owner names the kinds.)
type TokenError uint8

const (
	_ TokenError = iota
	// ErrTooLarge: the token exceeds the size limit. Code is "", status is 431.
	ErrTooLarge
	// ErrMalformed ...
	ErrMalformed
)

// Error is "oidc: " + Description.
func (e TokenError) Error() string { panic("stub") }

// Code is the RFC 6750 error code: "invalid_token", or "" for ErrTooLarge and for a value that is not a kind.
func (e TokenError) Code() string { panic("stub") }

// Description is a fixed, safe text for error_description.
func (e TokenError) Description() string { panic("stub") }

// Hint names, for the operator, the setting that would have helped, or "".
func (e TokenError) Hint() string { panic("stub") }
