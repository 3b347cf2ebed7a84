package mtlspop

// BindingError says why no certificate proved possession. Its values are
// constants, comparable with ==, and free to return. They are the client's
// errors: everything else that [Verifier.Verify] returns is the service's own
// trouble, has no Code method, and says nothing about the client.
//
// The zero BindingError, and any value that has no constant below, is not a
// kind of error: its Code is "".
type BindingError uint8

// The kinds of BindingError.
const (
	_ BindingError = iota

	// ErrNoCertificate: the token is bound to a certificate and the request
	// came without one (RFC 8705, section 3).
	ErrNoCertificate

	// ErrPeerNotTrusted is ErrNoCertificate for a request that does carry the
	// forwarded field, from a peer that is not trusted to send it. The field
	// was ignored. The client reads the same words as for ErrNoCertificate;
	// only the operator is told the difference, by Hint.
	ErrPeerNotTrusted

	// ErrMismatch: the token is bound to another certificate (RFC 8705, section 3). A
	// certificate renewed with the same key is another certificate (section 6.3).
	ErrMismatch

	// ErrThumbprint: what the token names is not the base64url form of a
	// SHA-256 digest: 43 characters, no padding, no white space (RFC 8705, section 3.1).
	ErrThumbprint

	// ErrMalformed: a trusted peer sent a forwarded field that is not what the
	// configured [Format] says: in another format, too large, several fields or
	// several certificates where one is due, a chain without its leaf
	// (RFC 9440, sections 2.2 and 2.3). What does not match the token's thumbprint must
	// be one DER sequence at least. Either the terminator's configuration is wrong, or a
	// client's own field got through it.
	ErrMalformed

	// ErrExpired: the certificate is expired or not yet valid, and
	// [RequireValidity] or [WithRoots] asks for more.
	ErrExpired

	// ErrUntrusted: no chain leads from the certificate to the configured
	// roots for client authentication ([WithRoots]).
	ErrUntrusted

	// ErrRevoked: the [RevocationChecker] found the certificate, or one
	// between it and the root, revoked. Implementations of RevocationChecker
	// return this very value, wrapped or not.
	ErrRevoked

	// ErrUnparsable: the forwarded certificate is the one that the token is bound
	// to, crypto/x509 cannot parse it, and [WithRoots] or [RequireValidity] asks for
	// more than the binding.
	ErrUnparsable
)

// bindingErrors holds what is fixed about each kind. A description may go to
// the client: RFC 6750, section 3, allows it no quotes, backslashes or
// controls. A hint never leaves the service.
var bindingErrors = [...]struct{ code, description, hint string }{
	ErrNoCertificate: {"invalid_token", "the token is bound to a client certificate and none was presented",
		"TLS ends here: serve with mtlspop.RequestClientCert; TLS ends in front: mtlspop.WithForwardedCertificate"},
	ErrPeerNotTrusted: {"invalid_token", "the token is bound to a client certificate and none was presented",
		"a forwarded certificate was ignored because its sender is not trusted: " +
			"see the trusted prefixes of mtlspop.WithForwardedCertificate, mtlspop.TrustUnixSocket, " +
			"and the certificate asked for by mtlspop.WithProxyThumbprints or mtlspop.WithProxyRoots"},
	ErrMismatch: {"invalid_token", "the token is bound to another client certificate", "the client shows another certificate than the one it got the token with: it was renewed since, or the token is stolen"},
	ErrThumbprint: {"invalid_token", "the certificate thumbprint in the token is malformed",
		"the issuer must send cnf.x5t#S256 as base64url of SHA-256, without padding"},
	ErrMalformed: {"invalid_request", "the forwarded client certificate is malformed",
		"the terminator does not send what the Format of mtlspop.WithForwardedCertificate says, passes a client's own field through, " +
			"or sends more than 32 KiB (with a chain, 96 KiB and ten certificates above the leaf)"},
	ErrExpired: {"invalid_token", "the client certificate is expired or not yet valid",
		"mtlspop.RequireValidity and mtlspop.WithRoots refuse certificates outside their validity"},
	ErrUntrusted: {"invalid_token", "the client certificate is not from a trusted authority",
		"see mtlspop.WithRoots, WithIntermediates, WithForwardedChain and AllowPartialChains"},
	ErrRevoked: {"invalid_token", "the client certificate is revoked", ""},
	ErrUnparsable: {"invalid_token", "the client certificate is of a kind that is not supported",
		"the certificate matches the token, and Go cannot parse it (a curve, serial number or name that crypto/x509 refuses): " +
			"it cannot be checked by mtlspop.WithRoots or mtlspop.RequireValidity; the client needs another kind of certificate"},
}

// isKind reports whether e is one of the constants.
func (e BindingError) isKind() bool {
	return 0 < e && int(e) < len(bindingErrors)
}

// Error returns "mtlspop: " and the description.
func (e BindingError) Error() string {
	return "mtlspop: " + e.Description()
}

// Code returns the error code for the challenge: "invalid_token" (RFC 6750, section 3.1),
// "invalid_request" for ErrMalformed, "" for a value that is not a kind.
func (e BindingError) Code() string {
	if !e.isKind() {
		return ""
	}
	return bindingErrors[e].code
}

// Description returns a fixed text for the challenge's error_description. It
// never holds anything from the request.
func (e BindingError) Description() string {
	if !e.isKind() {
		return "not a binding error"
	}
	return bindingErrors[e].description
}

// Hint names, for the operator, the setting that would have helped, or is "".
func (e BindingError) Hint() string {
	if !e.isKind() {
		return ""
	}
	return bindingErrors[e].hint
}
