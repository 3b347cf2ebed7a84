package dpopclient

// RequestError says why a request was refused before anything was sent. The
// values are comparable with ==; [http.Client] wraps them in a *url.Error, which
// [errors.Is] sees through. A failing token source or signer is not a
// RequestError, but an ordinary error that wraps theirs.
type RequestError uint8

const (
	_ RequestError = iota
	// ErrUnready is the answer of the zero Transport.
	ErrUnready
	// ErrTarget means a request that has no target URI to sign: no URL, an opaque
	// or relative one, or a method that is no HTTP token.
	ErrTarget
	// ErrInsecure means a URL that is not https (RFC 6750, section 5.3).
	ErrInsecure
	// ErrOrigin means a request that carries an access token to a server that is
	// not configured to get one.
	ErrOrigin
	// ErrAuthorization means several Authorization fields, or one of the scheme
	// DPoP without a usable token.
	ErrAuthorization
	// ErrTokenType means a token that is not a DPoP token: using it would give up
	// the protection (RFC 9449, section 5).
	ErrTokenType
	// ErrToken means a token source that returned no token, or one that does not
	// fit into a header field.
	ErrToken
)

// Error returns a fixed text; it never holds a token or a URL.
func (e RequestError) Error() string {
	switch e {
	case ErrUnready:
		return "dpopclient: Transport was not made by New"
	case ErrTarget:
		return "dpopclient: request has no target URI that a proof can name"
	case ErrInsecure:
		return "dpopclient: refusing to send over anything but https"
	case ErrOrigin:
		return "dpopclient: access token for a server that is not configured to get it (see WithOrigins)"
	case ErrAuthorization:
		return "dpopclient: Authorization is not one field with one DPoP token"
	case ErrTokenType:
		return "dpopclient: access token is not of the type DPoP"
	case ErrToken:
		return "dpopclient: token source returned no usable access token"
	default:
		return "dpopclient: unknown error"
	}
}
