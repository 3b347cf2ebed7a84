package oidc

import "github.com/keybound-go/middleware/internal/dialect"

// TokenError says why a token is not accepted: the client's fault, or the
// issuer's, but not that of this service. It is a small integer, comparable
// with ==, and costs nothing to return. Errors of the other family (the issuer
// cannot be reached, its answer makes no sense) are not TokenErrors.
//
// The zero TokenError is not an error kind; its Code is "".
type TokenError uint8

const (
	// ErrTooLarge: the token exceeds [WithMaxTokenSize]. It is the one kind without a
	// code: the answer is 431, not a challenge.
	ErrTooLarge TokenError = iota + 1
	// ErrMalformed: not a compact JWS, or one whose header is not strict JSON.
	ErrMalformed
	// ErrEncrypted: a JWE (five parts). Nothing here decrypts.
	ErrEncrypted
	// ErrCritical: the header has crit (RFC 7515, section 4.1.11) or b64; no extension
	// is understood.
	ErrCritical
	// ErrType: typ says that this is some other kind of token: a proof, a logout token,
	// an introspection response.
	ErrType
	// ErrTypeJWT: typ is "JWT" or missing, which the profile does not take for an
	// access token.
	ErrTypeJWT
	// ErrNotAccessToken: what the profile goes by says that this is not an access
	// token, or does not say that it is.
	ErrNotAccessToken
	// ErrAlgorithm: alg is not in the list of [WithAlgorithms], or is not an asymmetric
	// signature at all.
	ErrAlgorithm
	// ErrNoKey: the issuer publishes no key that fits the token's kid and alg.
	ErrNoKey
	// ErrSignature: no key of the issuer made this signature.
	ErrSignature
	// ErrClaims: the claims are not strict JSON (RFC 8725, section 3.7; no duplicate
	// names), or one has the wrong type.
	ErrClaims
	// ErrTooDeep: objects and lists of the claims are nested more than 32 deep.
	ErrTooDeep
	// ErrIssuer: iss is missing, or is not the configured issuer, character for
	// character.
	ErrIssuer
	// ErrAudience: aud is missing, or does not contain the configured audience.
	ErrAudience
	// ErrExpired: the time of exp has come.
	ErrExpired
	// ErrNotYetValid: the time of nbf has not come.
	ErrNotYetValid
	// ErrIssuedInFuture: iat is later than now.
	ErrIssuedInFuture
	// ErrNoExpiry: no exp.
	ErrNoExpiry
	// ErrNoSubject: no sub.
	ErrNoSubject
	// ErrNoClientID: no client_id, or what the profile reads in its place.
	ErrNoClientID
	// ErrNoIssuedAt: no iat.
	ErrNoIssuedAt
	// ErrNoID: no jti.
	ErrNoID
	// ErrScope: scope is not a string of words separated by spaces.
	ErrScope
	// ErrConfirmation: cnf is there, but is malformed or names only methods that are
	// not known here.
	ErrConfirmation
	// ErrInactive: the introspection endpoint says that the token is not active.
	ErrInactive
	// ErrUnknown: the introspection endpoint answers with an error instead of saying
	// that the token is not active.
	ErrUnknown
	// ErrTokenType: the introspection endpoint calls it a DPoP token and names no key.
	ErrTokenType
	// ErrOrigin: the request was sent to a host at which the tokens of this issuer are
	// not good (see [WithOrigins]).
	ErrOrigin

	tokenErrors // the number of kinds
)

// faults are the kinds for what package internal/dialect finds.
var faults = [...]TokenError{
	dialect.Malformed:      ErrClaims,
	dialect.TooDeep:        ErrTooDeep,
	dialect.BadScope:       ErrScope,
	dialect.OtherType:      ErrType,
	dialect.TypeJWT:        ErrTypeJWT,
	dialect.NotAccessToken: ErrNotAccessToken,
	dialect.NoKey:          ErrConfirmation,
	dialect.NoExpiry:       ErrNoExpiry,
	dialect.NoSubject:      ErrNoSubject,
	dialect.NoClientID:     ErrNoClientID,
	dialect.NoIssuedAt:     ErrNoIssuedAt,
	dialect.NoID:           ErrNoID,
}

// invalidToken is RFC 6750, section 3.1; RFC 9068, section 4 asks for it on every
// failure.
const invalidToken = "invalid_token"

// Invariant: descriptions hold only what RFC 6750, section 3 allows in
// error_description, and nothing of the token.
var tokenErrorTexts = [tokenErrors]struct{ description, hint string }{
	ErrTooLarge:  {"The access token is too large", "oidc.WithMaxTokenSize sets the limit"},
	ErrMalformed: {"The access token is not a well-formed JWT", "if the issuer's tokens are opaque, use introspect.New"},
	ErrEncrypted: {"Encrypted access tokens are not supported",
		"let the issuer sign without encrypting, or use introspect.New"},
	ErrCritical: {"The access token has a critical header parameter that is not understood", ""},
	ErrType:     {"The token is not an access token", "its typ is that of a proof, a logout token or another kind of JWT: the client sends the wrong token"},
	ErrTypeJWT: {"The token is not marked as an access token",
		"typ JWT refused; for Keycloak use oidc.WithProfile(oidc.Keycloak), for other issuers see oidc.Profile"},
	ErrNotAccessToken: {"The token is not an access token", "the client may have sent its ID token; see oidc.Profile"},
	ErrAlgorithm:      {"The signing algorithm of the access token is not accepted", "oidc.WithAlgorithms sets the list"},
	ErrNoKey:          {"The signing key of the access token is not known", "the issuer publishes no key with this kid: it was rotated within the cooldown of key fetches (oidc.WithCooldown), its published key has no kid, or the token is from elsewhere"},
	ErrSignature:      {"The signature of the access token is not valid", "the token was changed on its way, or another issuer uses the same identifier and kid: see the key set of the issuer"},
	ErrClaims:         {"A claim of the access token is malformed", ""},
	ErrTooDeep: {"The access token is nested too deeply",
		"objects and lists may be nested 32 deep; this limit is fixed"},
	ErrIssuer: {"The access token is from another issuer",
		"iss must equal the issuer given to oidc.New character for character, the last slash included; with tenants.New, resolve must know it"},
	ErrAudience: {"The access token is for another audience",
		"aud must contain the audience given to oidc.New; Keycloak needs an audience mapper for it"},
	ErrExpired:        {"The access token expired", "the client must get another one; if it has just got it, the clocks differ (oidc.WithSkew)"},
	ErrNotYetValid:    {"The access token is not valid yet", "if the clocks differ, oidc.WithSkew"},
	ErrIssuedInFuture: {"The access token was issued in the future", "if the clocks differ, oidc.WithSkew"},
	ErrNoExpiry:       {"The access token has no expiry", ""},
	ErrNoSubject:      {"The access token has no subject", "oidc.WithProfile names issuers that leave out sub"},
	ErrNoClientID:     {"The access token has no client_id", "oidc.WithProfile names issuers that put it into another claim"},
	ErrNoIssuedAt:     {"The access token has no time of issue", ""},
	ErrNoID:           {"The access token has no jti", "oidc.WithProfile names issuers that leave it out"},
	ErrScope:          {"The scope of the access token is malformed", "oidc.WithProfile names issuers that send a list"},
	ErrConfirmation: {"The confirmation of the access token is malformed or not supported",
		"oidc.DangerouslyIgnoreConfirmation can name cnf members to overlook"},
	ErrInactive:  {"The access token is not active", "the issuer says so: it is revoked or expired, or, at Keycloak, the introspecting client is not in its aud"},
	ErrTokenType: {"The access token is a DPoP token that names no key", ""},
	ErrOrigin: {"The access token is not for this host",
		"the client sent it to the host of another tenant; if the host is the tenant's, oidc.WithOrigins must list it, and a proxy must pass on Host"},
	// The client is told the same as of one that is not active (RFC 7662, section 2.2).
	ErrUnknown: {"The access token is not active",
		"the introspection endpoint answered 400, 401 or 404 for this token, which it does not know"},
}

// Error is "oidc: " and the description.
func (e TokenError) Error() string { return "oidc: " + e.Description() }

// Code is the error code of RFC 6750, section 3.1: "invalid_token", or "" for
// [ErrTooLarge] and for a value that is not a kind.
func (e TokenError) Code() string {
	if e == 0 || e == ErrTooLarge || e >= tokenErrors {
		return ""
	}
	return invalidToken
}

// Description is a fixed text, safe for error_description: it holds nothing of the token.
func (e TokenError) Description() string {
	if e == 0 || e >= tokenErrors {
		return "unknown error"
	}
	return tokenErrorTexts[e].description
}

// Hint names, for the operator, the setting that would have helped, or is "".
// It is not meant for the client.
func (e TokenError) Hint() string {
	if e >= tokenErrors {
		return ""
	}
	return tokenErrorTexts[e].hint
}

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
	ErrOrigin:         "token_origin",
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
