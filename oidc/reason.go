package oidc

var tokenReasons = [tokenErrors]string{
	ErrTooLarge:       "token_too_large",
	ErrMalformed:      "token_malformed",
	ErrEncrypted:      "token_encrypted",
	ErrCritical:       "token_critical_header",
	ErrType:           "token_other_type",
	ErrTypeJWT:        "token_type_jwt",
	ErrNotAccessToken: "token_not_access",
	ErrAlgorithm:      "token_algorithm",
	ErrNoKey:          "token_unknown_key",
	ErrSignature:      "token_signature",
	ErrClaims:         "token_claims",
	ErrTooDeep:        "token_too_deep",
	ErrIssuer:         "token_issuer",
	ErrAudience:       "token_audience",
	ErrExpired:        "token_expired",
	ErrNotYetValid:    "token_not_yet_valid",
	ErrIssuedInFuture: "token_issued_in_future",
	ErrNoExpiry:       "token_no_expiry",
	ErrNoSubject:      "token_no_subject",
	ErrNoClientID:     "token_no_client_id",
	ErrNoIssuedAt:     "token_no_issue_time",
	ErrNoID:           "token_no_id",
	ErrScope:          "token_scope",
	ErrConfirmation:   "token_confirmation",
	ErrInactive:       "token_inactive",
	ErrUnknown:        "token_unknown_to_issuer",
	ErrTokenType:      "token_dpop_without_key",
}

// Reason is the stable name of the refusal, for logs and metrics: "token_audience".
// It is part of the API. It is "" for a value that is not a kind, and it is not meant
// for the client.
func (e TokenError) Reason() string {
	if e >= tokenErrors {
		return ""
	}
	return tokenReasons[e]
}
