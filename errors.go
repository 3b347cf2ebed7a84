package middleware

import (
	"errors"
	"net/http"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
)

// RequestError says what is wrong with a request before, between or after the
// checks of the other rooms: with its Authorization field, with how the scheme
// fits the token's binding, or with a rule. It is comparable with == and costs
// no allocation. The other refusals that the client can cause are
// [dpop.ProofError], [mtlspop.BindingError], [oidc.TokenError] and [exchange.Error].
type RequestError uint8

// The kinds of RequestError.
const (
	_ RequestError = iota
	// ErrNoCredentials: there is no Authorization field (RFC 6750, section 3.1).
	ErrNoCredentials
	// ErrUnsupportedScheme: the scheme is not one that this guard accepts.
	ErrUnsupportedScheme
	// ErrMalformedAuthorization: the field is not a scheme, spaces, and one
	// token68 (RFC 9449, section 7.1).
	ErrMalformedAuthorization
	// ErrSeveralTokens: there is more than one Authorization field.
	ErrSeveralTokens
	// ErrQueryToken: an access_token stands in the query beside the one in the
	// field (RFC 6750, section 2). See [IgnoreQueryToken].
	ErrQueryToken
	// ErrStrayProof: a DPoP proof came with a token that is not bound to a key,
	// and [RefuseStrayProofs] is set.
	ErrStrayProof
	// ErrTooEarly: the request came as TLS early data, which an attacker on the
	// path can replay (RFC 8470).
	ErrTooEarly
	// ErrUnbound: the token is bound to nothing, and the guard is without
	// [AllowUnbound].
	ErrUnbound
	// ErrBindingNotConfigured: the token is bound by a means that the guard has
	// no verifier for. It is never treated as a bearer token.
	ErrBindingNotConfigured
	// ErrDowngrade: a DPoP-bound token came under the Bearer scheme
	// (RFC 9449, section 7.2).
	ErrDowngrade
	// ErrNotForDPoP: a token without cnf.jkt came under the DPoP scheme.
	ErrNotForDPoP
	// ErrNotBound, ErrNotDPoPBound and ErrNotCertificateBound: the token is not
	// bound as the rule of that name demands.
	ErrNotBound
	ErrNotDPoPBound
	ErrNotCertificateBound
	// ErrInsufficientScope: the token lacks a scope that [Scopes] demands.
	ErrInsufficientScope
	// ErrClaim: the token lacks a claim that [Claim] demands.
	ErrClaim
	// ErrInsufficientAuthentication: the user did not authenticate as [StepUp]
	// demands.
	ErrInsufficientAuthentication
	// ErrPlainHTTP: the request did not come over TLS, and [RequireTLS] is set.
	ErrPlainHTTP
	// ErrLongLived: the token lives longer than [LimitTokenLifetime] allows.
	ErrLongLived
	// ErrCrossOrigin: a page of another origin made a browser send the request
	// within a session (see [WithSession]).
	ErrCrossOrigin
	// ErrBadTarget: the Target of a [Request] is none of HTTP, or a request of HTTP/2 is
	// malformed (RFC 9113, section 8.3.1). For HTTP/1.1 a server of net/http answers
	// such a request itself.
	ErrBadTarget
	// ErrAuthorizationDetails: the token lacks what [AuthorizationDetails] demands.
	ErrAuthorizationDetails
	// ErrRule: a [RuleFunc] refused the request.
	ErrRule
	numRequestErrors // Invariant: every kind below it has a row in requestErrors.
)

var requestErrors = [numRequestErrors]struct {
	status            int
	code, description string
	hint              string
}{
	ErrNoCredentials:              {status: http.StatusUnauthorized, description: "no credentials", hint: "the client sent no Authorization field; if this is so for all clients, a proxy in front of the service drops it"},
	ErrUnsupportedScheme:          {status: http.StatusUnauthorized, description: "authentication scheme not supported", hint: "the guard takes Bearer, DPoP with middleware.WithDPoP, and Basic with middleware.WithExchange"},
	ErrMalformedAuthorization:     {400, "invalid_request", "malformed Authorization field", ""},
	ErrSeveralTokens:              {400, "invalid_request", "more than one Authorization field", "a client, or a proxy that adds a field of its own, sends two Authorization fields"},
	ErrQueryToken:                 {400, "invalid_request", "access token in the query", "middleware.IgnoreQueryToken ignores the one in the query"},
	ErrStrayProof:                 {400, "invalid_request", "DPoP proof beside a token that is not DPoP-bound", "without middleware.RefuseStrayProofs the proof is ignored"},
	ErrTooEarly:                   {status: http.StatusTooEarly, description: "request in TLS early data", hint: "the client repeats the request once the handshake is over; a TLS terminator without early data (0-RTT) never gets here"},
	ErrUnbound:                    {401, "invalid_token", "token is not sender-constrained", "middleware.AllowUnbound accepts bearer tokens; better, have the issuer bind them"},
	ErrBindingNotConfigured:       {401, "invalid_token", "token is bound by a means not accepted here", "the token's cnf names jkt or x5t#S256: add middleware.WithDPoP or middleware.WithMTLS"},
	ErrDowngrade:                  {401, "invalid_token", "DPoP-bound token requires the DPoP scheme", "the client sends a DPoP-bound token as Bearer: it must send \"Authorization: DPoP\" and a proof (RFC 9449, section 7.1)"},
	ErrNotForDPoP:                 {401, "invalid_token", "token is not bound to a DPoP key", "the issuer did not bind the token: is DPoP enabled for this client at the issuer?"},
	ErrNotBound:                   {401, "invalid_token", "token is not sender-constrained", "turn DPoP, or tokens that are bound to a certificate, on for this client at the issuer; middleware.Staged reports such clients before the rule is enforced"},
	ErrNotDPoPBound:               {401, "invalid_token", "token is not bound to a DPoP key", "turn DPoP on for this client at the issuer; middleware.Staged reports such clients before the rule is enforced"},
	ErrNotCertificateBound:        {401, "invalid_token", "token is not bound to a certificate", "turn tokens that are bound to a certificate on for this client at the issuer; middleware.Staged reports such clients before the rule is enforced"},
	ErrInsufficientScope:          {403, "insufficient_scope", "the token lacks a required scope", "the client must ask the issuer for the scope, and the issuer must grant it"},
	ErrClaim:                      {403, "insufficient_scope", "the token lacks a required claim", ""},
	ErrPlainHTTP:                  {400, "invalid_request", "TLS is required", "middleware.RequireTLS takes the addresses of TLS terminators; on a unix socket, middleware.TrustUnixSocket"},
	ErrLongLived:                  {401, "invalid_token", "the token lives too long", "middleware.LimitTokenLifetime sets the limit"},
	ErrCrossOrigin:                {status: http.StatusForbidden, description: "request of another origin within a session", hint: "session.WithTrustedOrigins names origins whose pages may do that"},
	ErrBadTarget:                  {400, "invalid_request", "malformed request target", ""},
	ErrAuthorizationDetails:       {403, "insufficient_scope", "the token lacks required authorization details", ""},
	ErrRule:                       {403, "insufficient_scope", "a rule of the service refuses the request", ""},
	ErrInsufficientAuthentication: {401, "insufficient_user_authentication", "a different or more recent authentication is required", ""},
}

// Error returns "middleware: " and the description.
func (e RequestError) Error() string { return "middleware: " + e.Description() }

// Code returns the error code of the challenge (RFC 6750, section 3.1), or ""
// where the challenge carries none: a request without credentials is told only
// how to authenticate.
func (e RequestError) Code() string {
	if e >= numRequestErrors {
		return ""
	}
	return requestErrors[e].code
}

// Description returns a fixed text that is safe to show to the client.
func (e RequestError) Description() string {
	if e >= numRequestErrors || requestErrors[e].description == "" {
		return "unknown request error"
	}
	return requestErrors[e].description
}

// Hint names the setting that would have let the request pass, for the
// operator, or is "".
func (e RequestError) Hint() string {
	if e >= numRequestErrors {
		return ""
	}
	return requestErrors[e].hint
}

// clientError is what a client is told of a refusal that it caused itself.
// Exactly five types of this module are meant; asClientError lists them.
type clientError interface {
	error
	Code() string
	Description() string
	Hint() string
}

// asClientError finds the refusal that err is or, coming from a TokenVerifier
// that wraps, contains. It reports false if the client is not at fault. In either case
// err remains a refusal: only status and challenge depend on the answer.
func asClientError(err error) (clientError, bool) {
	switch e := err.(type) { // the usual case, without reflection
	case RequestError:
		return e, true
	case oidc.TokenError:
		return e, true
	case dpop.ProofError:
		return e, true
	case mtlspop.BindingError:
		return e, true
	case exchange.Error:
		return e, true
	}
	if e, ok := errors.AsType[oidc.TokenError](err); ok {
		return e, true
	}
	return nil, false
}

// statusOf maps a refusal to its HTTP status.
func statusOf(err clientError) int {
	switch err {
	case clientError(oidc.ErrTooLarge), clientError(dpop.ErrTooLarge):
		return http.StatusRequestHeaderFieldsTooLarge // RFC 6585, section 5; RFC 9110, section 5.4.
	}
	if e, ok := err.(RequestError); ok && e < numRequestErrors && requestErrors[e].status != 0 {
		return requestErrors[e].status
	}
	switch err.Code() {
	case "invalid_request":
		return http.StatusBadRequest
	case "":
		// A value that is no kind: a bug in a TokenVerifier, not the client's fault.
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnauthorized
	}
}
