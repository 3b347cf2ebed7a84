// Package mtlspop answers "did this request come over the certificate the
// token is bound to?" for access tokens bound to a client's TLS certificate
// (RFC 8705, section 3).
//
//	v, err := mtlspop.New()
//	...
//	evidence, err := v.Verify(r, token.Confirmation.X5T)
//
// # Where TLS ends
//
// If this service terminates TLS itself, its server must ask for certificates,
// which [RequestClientCert] arranges. It cannot ask later: what a client did
// not show in the handshake, it has not got.
//
//	server := &http.Server{TLSConfig: mtlspop.RequestClientCert(nil)}
//
// If a terminator in front does, it tells of the certificate in a header
// field, in one of several dialects. [WithForwardedCertificate] needs the name
// of the field, the [Format], and the addresses from which the terminator
// connects:
//
//	v, err := mtlspop.New(mtlspop.WithForwardedCertificate(
//		"Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.1.2.3/32")))
//
// A header is as good as the one who sends it. Those who configure the two
// sides MUST see to it that
//
//   - the terminator removes or replaces the field in every request, also in
//     those without a certificate;
//   - nobody but the terminator can connect from the trusted addresses;
//   - no middleware outside of the Guard changes Request.RemoteAddr.
//
// # What is compared
//
// The SHA-256 digest of the leaf certificate, as it is, with the token's
// x5t#S256. A certificate that was renewed with the same key is another one,
// and needs a new token (section 6.3). Several proxies, sessions that are
// resumed, and self-signed or expired certificates make no difference.
//
// # What is not checked
//
// Nothing but possession, unless options ask for it: not who issued the
// certificate, not its dates, usage or revocation. For the binding, RFC 8705
// needs none of them (section 6.2): the issuer of the token has looked at the
// certificate when it bound the token to it. See [WithRoots],
// [RequireValidity] and [WithRevocation]. The token itself, and whether it
// is bound at all, are not this package's business either.
package mtlspop
