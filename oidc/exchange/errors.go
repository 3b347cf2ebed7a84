package exchange

// Error says why a caller's client id and secret do not get a token.
// It is a small integer, comparable with ==, and costs nothing to return. The
// zero Error is not an error kind.
type Error uint8

const (
	_ Error = iota
	// ErrRefused: the issuer does not accept the client id with this secret, or not for
	// this grant.
	ErrRefused
	// ErrMalformed: the client id or the secret is empty, too long, or has control
	// characters.
	ErrMalformed

	errorKinds
)

// Error is "exchange: " and the description.
func (e Error) Error() string { return "exchange: " + e.Description() }

// Code is the error code of RFC 6749, section 5.2: "invalid_client", or "" for a value
// that is not a kind.
func (e Error) Code() string {
	if e == 0 || e >= errorKinds {
		return ""
	}
	return "invalid_client"
}

// Description is a fixed text, safe for error_description: it holds nothing of the
// credentials.
func (e Error) Description() string {
	switch e {
	case ErrRefused:
		return "The client credentials are not accepted"
	case ErrMalformed:
		return "The client credentials are malformed"
	default:
		return "unknown error"
	}
}

// Hint names, for the operator, the setting that would have helped, or is "".
func (e Error) Hint() string {
	if e == ErrRefused {
		return "the issuer must allow the client the client_credentials grant; exchange.SendSecretInBody if it does not know client_secret_basic"
	}
	return ""
}
