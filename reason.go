package middleware

import (
	"errors"

	"github.com/keybound-go/middleware/internal/outage"
)

// Reasons of refusals that no part gives.
const (
	reasonPanic         = "panic"         // in a part or in a rule
	reasonMisconfigured = "misconfigured" // the zero Guard, or a part that returns nothing
	reasonUnavailable   = "unavailable"   // a part of the user's own gave no answer
)

var requestReasons = [numRequestErrors]string{
	ErrNoCredentials:              "no_credentials",
	ErrUnsupportedScheme:          "unsupported_scheme",
	ErrMalformedAuthorization:     "malformed_authorization",
	ErrSeveralTokens:              "several_tokens",
	ErrQueryToken:                 "query_token",
	ErrStrayProof:                 "stray_proof",
	ErrTooEarly:                   "early_data",
	ErrUnbound:                    "token_unbound",
	ErrBindingNotConfigured:       "binding_not_configured",
	ErrDowngrade:                  "dpop_token_as_bearer",
	ErrNotForDPoP:                 "dpop_scheme_without_binding",
	ErrNotBound:                   "rule_bound",
	ErrNotDPoPBound:               "rule_dpop_bound",
	ErrNotCertificateBound:        "rule_certificate_bound",
	ErrInsufficientScope:          "rule_scope",
	ErrClaim:                      "rule_claim",
	ErrInsufficientAuthentication: "rule_authentication",
	ErrPlainHTTP:                  "plain_http",
	ErrLongLived:                  "rule_token_lifetime",
	ErrCrossOrigin:                "cross_origin",
	ErrBadTarget:                  "bad_target",
	ErrAuthorizationDetails:       "rule_authorization_details",
	ErrRule:                       "rule_func",
}

// Reason is the stable name of the refusal, for logs and metrics: "rule_scope". It is
// part of the API. It is "" for a value that is not a kind, and it is not meant for the
// client.
func (e RequestError) Reason() string {
	if e >= numRequestErrors {
		return ""
	}
	return requestReasons[e]
}

// reasoned is what every error of the client's family has, and every outage.
type reasoned interface{ Reason() string }

// reasonOf is the stable name of a refusal.
//
// Precondition: err is not nil.
func reasonOf(err error) string {
	if e, ok := asClientError(err); ok {
		if r, ok := e.(reasoned); ok && r.Reason() != "" {
			return r.Reason()
		}
	}
	if r := outage.Reason(err); r != "" {
		return r
	}
	switch {
	case errors.Is(err, errZeroGuard), errors.Is(err, errNoToken), errors.Is(err, errNoProof), errors.Is(err, errNoError):
		return reasonMisconfigured
	case errors.As(err, new(panicError)):
		return reasonPanic
	}
	return reasonUnavailable
}

// panicError is a panic during a decision. Its text holds nothing that the client has
// sent, and no secret of a part.
type panicError string

func (e panicError) Error() string { return string(e) }
