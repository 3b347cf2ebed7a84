package dpop

import "errors"

// ProofError says why a proof is not accepted. It is a small integer: errors of
// this type are comparable with ==, cost nothing to return, and hold no text of
// the request. The zero value is not a kind.
type ProofError uint8

// What can be wrong with a proof. Numbers in parentheses are the checks of
// RFC 9449, section 4.3.
const (
	_ ProofError = iota

	// ErrMissing: the request has no DPoP field.
	ErrMissing
	// ErrMultiple: it has more than one (1).
	ErrMultiple
	// ErrTooLarge: the field exceeds [WithMaxSize]. It has no RFC error code;
	// the answer is 431 without a challenge.
	ErrTooLarge
	// ErrMalformed: the field is not one JWT in compact form (2), its header is
	// not one strict JSON object, or has crit.
	ErrMalformed
	// ErrClaims: the claims are not one strict JSON object, a required one is
	// missing or empty, one has the wrong JSON type (3), or jti has more than
	// 512 bytes.
	ErrClaims
	// ErrType: typ is not dpop+jwt (4).
	ErrType
	// ErrAlgorithm: alg is not one of the accepted ones (5).
	ErrAlgorithm
	// ErrSignature: the signature does not verify with jwk (6).
	ErrSignature
	// ErrKey: jwk is missing, not a valid public key, or not a key for alg.
	ErrKey
	// ErrPrivateKey: jwk has a private or symmetric member (7).
	ErrPrivateKey
	// ErrMethod: htm is not the request's method (8).
	ErrMethod
	// ErrTarget: htu is not the request's target URI (9).
	ErrTarget
	// ErrMisdirected: the request names a host, or a form of target, that
	// belongs to none of the configured origins (9).
	ErrMisdirected
	// ErrExpired: iat lies before the window, or exp has passed (11).
	ErrExpired
	// ErrNotYetValid: iat or nbf lie in the future by more than the skew (11).
	ErrNotYetValid
	// ErrTokenHash: ath is not the hash of the access token (12).
	ErrTokenHash
	// ErrKeyMismatch: the access token is bound to another key (12). Its code
	// is invalid_token: it is the token that cannot be used with this proof.
	ErrKeyMismatch
	// ErrNonceMissing: nonces are required and the proof has none (10).
	ErrNonceMissing
	// ErrNonceUnknown: the proof's nonce was not issued here (10).
	ErrNonceUnknown
	// ErrNonceExpired: the proof's nonce is too old (10, 11).
	ErrNonceExpired
	// ErrReplayed: the proof, or another one of its key with the same jti, has
	// been used before (section 11.1).
	ErrReplayed
)

// RFC 9449, section 7.1 and 9.
const (
	codeInvalidProof = "invalid_dpop_proof"
	codeInvalidToken = "invalid_token"
	codeUseNonce     = "use_dpop_nonce"
)

// kind is what a [ProofError] stands for.
type kind struct{ code, description, hint string }

// kindOf returns the zero kind for a value that is not one of the constants.
func kindOf(e ProofError) kind {
	switch e {
	case ErrMissing:
		return kind{codeInvalidProof, "DPoP proof required", "the client sent no DPoP field, or a proxy in front of the service drops it"}
	case ErrMultiple:
		return kind{codeInvalidProof, "more than one DPoP proof", "the client or a proxy in front sends the DPoP field twice"}
	case ErrTooLarge:
		return kind{"", "DPoP proof too large", "dpop.WithMaxSize"}
	case ErrMalformed:
		return kind{codeInvalidProof, "DPoP proof is not a well-formed JWT", ""}
	case ErrClaims:
		return kind{codeInvalidProof, "claims of the DPoP proof are incomplete or malformed", ""}
	case ErrType:
		return kind{codeInvalidProof, "typ of the DPoP proof is not dpop+jwt", ""}
	case ErrAlgorithm:
		return kind{codeInvalidProof, "alg of the DPoP proof is not accepted", "dpop.WithAlgorithms"}
	case ErrSignature:
		return kind{codeInvalidProof, "signature of the DPoP proof does not verify", ""}
	case ErrKey:
		return kind{codeInvalidProof, "jwk of the DPoP proof is not an acceptable public key", "EC keys need 32, 48 or 66 bytes per coordinate and RSA keys 2048 to 4096 bits; a jwk in a proof is not repaired"}
	case ErrPrivateKey:
		return kind{codeInvalidProof, "jwk of the DPoP proof contains a private key", ""}
	case ErrMethod:
		return kind{codeInvalidProof, "htm of the DPoP proof is not the request method", "methods are case-sensitive; a proxy that changes the method breaks the proof"}
	case ErrTarget:
		return kind{codeInvalidProof, "htu of the DPoP proof is not the request URI", "the origin given to dpop.New, with its path prefix"}
	case ErrMisdirected:
		return kind{codeInvalidProof, "request is not for this service", "dpop.WithOrigins, or dpop.WithInternalHosts behind a proxy that replaces Host"}
	case ErrExpired:
		return kind{codeInvalidProof, "DPoP proof is too old", "the client sends a proof again or late, or its clock is slow: dpop.WithLifetime, or dpop.WithNonces for clients with wrong clocks"}
	case ErrNotYetValid:
		return kind{codeInvalidProof, "DPoP proof is from the future", "the client's clock is fast, or this service's slow: dpop.WithSkew, or dpop.WithNonces for clients with wrong clocks"}
	case ErrTokenHash:
		return kind{codeInvalidProof, "ath of the DPoP proof is not the hash of the access token", "the client made the proof for another token, or a gateway in front exchanged the token"}
	case ErrKeyMismatch:
		return kind{codeInvalidToken, "access token is bound to another key", "the client signs with another key than the one it got the token with, or the token is stolen"}
	// RFC 9449, section 8: a missing, an old and a foreign nonce look the same.
	case ErrNonceMissing:
		return kind{codeUseNonce, "DPoP proof needs a recent nonce from this server", "expected once per client; if a client repeats it, it does not keep the nonce: browsers need DPoP-Nonce in Access-Control-Expose-Headers (middleware.ExposeHeaders)"}
	case ErrNonceUnknown:
		return kind{codeUseNonce, "DPoP proof needs a recent nonce from this server", "the nonce is of another service, or of a replica with other keys: give dpop.NewNonces the same keys on every replica"}
	case ErrNonceExpired:
		return kind{codeUseNonce, "DPoP proof needs a recent nonce from this server", "dpop.WithLifetime"}
	case ErrReplayed:
		return kind{codeInvalidProof, "DPoP proof has been used before", "a replay; or a client or proxy that repeats a request with the same proof; or two guards around one handler that do not share one dpop.Verifier"}
	}
	return kind{description: "unknown error"}
}

// Error returns "dpop: " and the description.
func (e ProofError) Error() string { return "dpop: " + e.Description() }

// Code returns the error code of RFC 9449 or RFC 6750 for the challenge:
// invalid_dpop_proof, use_dpop_nonce, or invalid_token. It is empty for
// [ErrTooLarge], and for a value that is not one of the constants.
func (e ProofError) Code() string { return kindOf(e).code }

// Description returns a fixed text, fit for an error_description.
func (e ProofError) Description() string { return kindOf(e).description }

// Hint tells the operator which setting would have let the proof pass, if it was
// an honest one. It is empty where no setting would.
func (e ProofError) Hint() string { return kindOf(e).hint }

// ErrReplayCacheFull is what [MemoryCache.Add] returns when it has no room for a
// proof. It is the service's trouble, not the client's: the answer is 503.
var ErrReplayCacheFull = errors.New("dpop: replay cache is full")

// Mistakes of the code that calls a Verifier. They refuse the request, but as
// errors without a code, since the client is not to blame.
var (
	errNotNew       = errors.New("dpop: Verifier was not made by New")
	errNoThumbprint = errors.New("dpop: Verify called without the thumbprint that the token is bound to")
	errNoToken      = errors.New("dpop: Verify called without an access token or its hash")
	errTwoTokens    = errors.New("dpop: VerifyProof called with an access token and a hash")
	errTwoTargets   = errors.New("dpop: VerifyProof called with a URL beside Host or Target")
)
