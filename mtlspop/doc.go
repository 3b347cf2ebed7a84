// Package mtlspop answers: did the request come over the certificate that the token is
// bound to? It is for access tokens bound to a client's TLS certificate
// (RFC 8705, section 3).
//
//	v, err := mtlspop.New()
//	...
//	evidence, err := v.Verify(r, token.Confirmation.X5T)
//
// # Where TLS ends
//
// If this service terminates TLS itself, its server must ask for certificates, which
// [RequestClientCert] arranges. crypto/tls cannot ask after the handshake: a certificate
// that was not sent then is not available.
//
//	server := &http.Server{TLSConfig: mtlspop.RequestClientCert(nil)}
//
// If a terminator in front ends TLS, it tells of the certificate in a header field, in
// one of several formats. [WithForwardedCertificate] needs the name of the field, the
// [Format], and the addresses from which the terminator connects:
//
//	v, err := mtlspop.New(mtlspop.WithForwardedCertificate(
//		"Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.1.2.3/32")))
//
// A header field is as good as its sender. Operators MUST make sure that
//
//   - the terminator removes or replaces the field in every request, also in those
//     without a certificate;
//   - the terminator passes on no change of protocols, such as "Upgrade: h2c": behind it,
//     a client writes the field itself;
//   - only the terminator can connect from the trusted addresses;
//   - no middleware outside of the Guard changes Request.RemoteAddr.
//
// # What is compared
//
// The SHA-256 digest of the leaf certificate, as it is, with the token's x5t#S256. A
// certificate that was renewed with the same key is another one, and needs a new token
// (section 6.3). Several proxies, sessions that are resumed, and self-signed or expired
// certificates make no difference, nor do certificates that crypto/x509 cannot parse, if
// a terminator forwards them: see [Evidence].
//
// # What is not checked
//
// Only possession is checked, unless options ask for more: issuer, dates, usage and
// revocation are not. For the binding, RFC 8705 needs none of them (section 6.2): the
// issuer of the token looked at the certificate when it bound the token to it. See
// [WithRoots], [RequireValidity] and [WithRevocation]. The token itself, and whether it
// is bound at all, are the caller's to check.
package mtlspop
