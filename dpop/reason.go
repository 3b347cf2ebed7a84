package dpop

var reasons = [...]string{
	ErrMissing:      "dpop_missing",
	ErrMultiple:     "dpop_multiple",
	ErrTooLarge:     "dpop_too_large",
	ErrMalformed:    "dpop_malformed",
	ErrClaims:       "dpop_claims",
	ErrType:         "dpop_type",
	ErrAlgorithm:    "dpop_algorithm",
	ErrSignature:    "dpop_signature",
	ErrKey:          "dpop_key",
	ErrPrivateKey:   "dpop_private_key",
	ErrMethod:       "dpop_method",
	ErrTarget:       "dpop_target",
	ErrMisdirected:  "dpop_misdirected",
	ErrExpired:      "dpop_expired",
	ErrNotYetValid:  "dpop_not_yet_valid",
	ErrTokenHash:    "dpop_token_hash",
	ErrKeyMismatch:  "dpop_key_mismatch",
	ErrNonceMissing: "dpop_nonce_missing",
	ErrNonceUnknown: "dpop_nonce_unknown",
	ErrNonceExpired: "dpop_nonce_expired",
	ErrReplayed:     "dpop_replayed",
}

// Reason is the stable name of the refusal, for logs and metrics: "dpop_replayed". It
// is part of the API. It is "" for a value that is not a kind, and it is not meant for
// the client.
func (e ProofError) Reason() string {
	if int(e) >= len(reasons) {
		return ""
	}
	return reasons[e]
}
