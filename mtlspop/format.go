package mtlspop

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// A Format says how a terminator writes a client certificate into a header field. Each
// is read strictly: a value that is not exactly in the format is refused.
//
// The comments on the constants give the line of each terminator's
// configuration that produces the format. In every one of them, look for what
// happens to a field of that name that the client sends by itself; the page
// docs/terminators.md tells.
//
// The zero Format is invalid.
type Format uint16

// Formats of a field that holds one certificate, and nothing else.
const (
	_ Format = iota

	// RFC9440 is a Byte Sequence, :base64 of the DER:, as RFC 9440 says. The field
	// Client-Cert brings along Client-Cert-Chain; fields of other names have their chain
	// in what [WithForwardedChain] names. Parameters, of which RFC 9440 defines none, are
	// refused.
	//
	//	HAProxy       http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }
	//	Caddy         header_up Client-Cert ":{http.request.tls.client.certificate_der_base64}:"
	//	Google Cloud  customRequestHeaders: "Client-Cert: {client_cert_leaf}"
	//	Cloudflare    a transform rule that sets Client-Cert from cf.tls_client_auth.cert_rfc9440
	RFC9440

	// PEM is one certificate in PEM (RFC 7468), percent-encoded, or with spaces where the
	// line ends were. A plus sign stands for itself.
	//
	//	nginx    proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
	//	nginx    proxy_set_header X-Client-Cert $ssl_client_cert;   (folded lines; deprecated)
	//	Apache   RequestHeader set X-Client-Cert "expr=%{escape:%{SSL_CLIENT_CERT}}"
	//	Apache   RequestHeader set X-Client-Cert "%{SSL_CLIENT_CERT}s"
	//	AWS ALB  mutual TLS "verify": the field X-Amzn-Mtls-Clientcert-Leaf
	//	Azure    Application Gateway, a rewrite to {var_client_certificate}
	//	Kong     certificate_header_format: url_encoded
	//	BIG-IP   HTTP::header insert X-SSL-Client-Cert [X509::whole [SSL::cert 0]]
	PEM

	// DER is the base64 of one certificate's DER, on one line, with padding.
	//
	//	HAProxy     http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]
	//	Caddy       header_up X-Client-Cert-Der {http.request.tls.client.certificate_der_base64}
	//	Azure       App Service with clientCertEnabled: the field X-ARR-ClientCert
	//	Cloudflare  client_certificate_forwarding: the field Cf-Client-Cert-Der-Base64
	//	Kong        certificate_header_format: base64_encoded
	//	BIG-IP      HTTP::header insert X-SSL-Client-Cert [b64encode [SSL::cert 0]]
	DER

	// Base64PEM is the base64 of one certificate's PEM, line ends and all.
	//
	//	Apache  RequestHeader set X-Client-Cert "expr=%{base64:%{SSL_CLIENT_CERT}}"
	Base64PEM
)

// Formats of a field that holds a certificate and its chain.
const (
	// PEMChain is PEM for a leaf and the certificates above it, one behind
	// the other.
	//
	//	AWS ALB  mutual TLS "passthrough": the field X-Amzn-Mtls-Clientcert
	PEMChain Format = iota + 16

	// DERChain is DER for a leaf and the certificates above it, a comma
	// between them, percent-encoded or not.
	//
	//	Traefik  passTLSClientCert: { pem: true }: the field X-Forwarded-Tls-Client-Cert
	DERChain
)

// Formats of a field that holds a thumbprint and no certificate. It is enough
// for the binding, but leaves nothing to check validity, issuer or revocation
// on, and [Verifier.Verify] no certificate to return.
const (
	// ThumbprintHex is the SHA-256 digest of the certificate's DER as 64
	// hexadecimal digits.
	//
	//	Caddy  header_up X-Client-Cert-Fp {http.request.tls.client.fingerprint}
	//
	// The $ssl_client_fingerprint of nginx is SHA-1, and refused.
	ThumbprintHex Format = iota + 32

	// ThumbprintBase64URL is the same digest as 43 characters of base64url,
	// which is the form of x5t#S256.
	ThumbprintBase64URL
)

// The hops of XFCC and XFCCThumbprint are in the upper byte.
const (
	xfcc Format = iota + 48
	xfccThumbprint
	hopsShift = 8
)

// XFCC is Envoy's x-forwarded-client-cert (also Istio, Contour, and other
// proxies made of Envoy), where the element has a Cert or a Chain:
//
//	forward_client_cert_details: SANITIZE_SET
//	set_current_client_cert_details: { cert: true }    # or chain: true
//
// Each Envoy on the way may add an element for the certificate that it has
// itself seen. The argument is the number of them between the client and this
// service, and the field must have just as many elements: the first is then
// what the outermost Envoy says. With hops 1 there is one Envoy, and it
// replaces what clients send. With 2, the outer one replaces (SANITIZE_SET)
// and the inner one, which trusts the outer's certificate, adds its own
// element (APPEND_FORWARD).
//
// Fewer elements than hops mean no certificate, since an Envoy whose client
// shows none adds none. More are refused: one of them is not from an Envoy of
// yours. It may come from the client's field, or from the certificate itself:
// Envoy does not quote the names in uri and dns, and a client that issues its
// own certificate can put a comma and a whole element into them. For this
// reason, leave those two out.
//
// Hash, Cert and Chain in an element must agree. The other keys are not used.
func XFCC(hops uint8) Format {
	return xfcc | Format(hops)<<hopsShift
}

// XFCCThumbprint is [XFCC] where the element's Hash alone counts: the SHA-256
// digest that Envoy sends even if nothing is set in
// set_current_client_cert_details.
func XFCCThumbprint(hops uint8) Format {
	return xfccThumbprint | Format(hops)<<hopsShift
}

// kind is the format without its hops.
func (f Format) kind() Format { return f & (1<<hopsShift - 1) }

// hops is meaningful for XFCC and XFCCThumbprint.
func (f Format) hops() int { return int(f >> hopsShift) }

// String returns the name of the format in this package.
func (f Format) String() string {
	switch f.kind() {
	case RFC9440:
		return "RFC9440"
	case PEM:
		return "PEM"
	case DER:
		return "DER"
	case Base64PEM:
		return "Base64PEM"
	case PEMChain:
		return "PEMChain"
	case DERChain:
		return "DERChain"
	case ThumbprintHex:
		return "ThumbprintHex"
	case ThumbprintBase64URL:
		return "ThumbprintBase64URL"
	case xfcc:
		return fmt.Sprintf("XFCC(%d)", f.hops())
	case xfccThumbprint:
		return fmt.Sprintf("XFCCThumbprint(%d)", f.hops())
	}
	return fmt.Sprintf("Format(%d)", uint16(f))
}

// problem says why f cannot be the format of a certificate's field, or "".
func (f Format) problem() string {
	switch f.kind() {
	case RFC9440, PEM, DER, Base64PEM, PEMChain, DERChain, ThumbprintHex, ThumbprintBase64URL:
		if f.hops() == 0 {
			return ""
		}
	case xfcc, xfccThumbprint:
		if f.hops() == 0 {
			return "XFCC needs at least one hop"
		}
		return ""
	}
	return "is not a Format of this package"
}

// isThumbprint reports whether f forwards no certificate.
func (f Format) isThumbprint() bool {
	switch f.kind() {
	case ThumbprintHex, ThumbprintBase64URL, xfccThumbprint:
		return true
	}
	return false
}

// isChain reports whether f can be the format of a field with nothing but a
// chain.
func (f Format) isChain() bool {
	switch f {
	case RFC9440, PEM, PEMChain, DER, DERChain:
		return true
	}
	return false
}

// saysNone reports whether value, without surrounding space, is how a
// terminator says that the client has no certificate.
func (f Format) saysNone(value string) bool {
	switch value {
	case "": // HAProxy, Apache's escape, Caddy, Google Cloud
		return true
	case "(null)": // Apache's %{...}s
		return true
	case "::": // HAProxy and Caddy, with unconditional colons
		return f == RFC9440
	}
	return false
}

// maxSize is the greatest length of a value.
func (f Format) maxSize() int {
	switch f.kind() {
	case PEMChain, DERChain, xfcc, xfccThumbprint:
		return maxChainField
	}
	return maxLeafField
}

// parse reads the value of a certificate's field. What it returns as leaf is
// not yet known to be a certificate.
func (f Format) parse(value string) (presented, bool) {
	switch f.kind() {
	case RFC9440:
		return presentOne(parseByteSequence(value))
	case PEM:
		return presentOne(parsePEM(value))
	case DER:
		return presentOne(parseBase64(value))
	case Base64PEM:
		return presentOne(parseBase64PEM(value))
	case PEMChain:
		return presentChain(parsePEMChain(value))
	case DERChain:
		return presentChain(parseDERChain(value))
	case ThumbprintHex:
		return presentThumbprint(parseHexThumbprint(value))
	case ThumbprintBase64URL:
		return presentThumbprint(parseThumbprint(value))
	case xfcc:
		return parseXFCC(value, f.hops())
	case xfccThumbprint:
		return parseXFCCThumbprint(value, f.hops())
	}
	return presented{}, false
}

// parseChain reads the value of a chain's field. It returns nil for what is not one.
func (f Format) parseChain(value string) [][]byte {
	switch f {
	case RFC9440:
		return parseByteSequences(value)
	case PEM, PEMChain:
		return parsePEMChain(value)
	case DER, DERChain:
		return parseDERChain(value)
	}
	return nil
}

func presentOne(leaf []byte, ok bool) (presented, bool) {
	return presented{sum: sha256.Sum256(leaf), leaf: leaf}, ok
}

func presentChain(ders [][]byte) (presented, bool) {
	if len(ders) == 0 {
		return presented{}, false
	}
	for _, der := range ders[1:] {
		if !isSequence(der) {
			return presented{}, false
		}
	}
	return presented{sum: sha256.Sum256(ders[0]), leaf: ders[0], others: ders[1:]}, true
}

func presentThumbprint(sum thumbprint, ok bool) (presented, bool) {
	return presented{sum: sum}, ok
}

// isSequence reports whether der has the outline of one certificate: a DER
// sequence with nothing behind it. It is cheap, and says nothing about what is
// inside.
func isSequence(der []byte) bool {
	size := sequenceSize(der)
	return size > 0 && size == len(der)
}

// sequenceSize returns the number of bytes of the DER sequence that der starts with:
// of definite length, in as few bytes as it takes (X.690, section 10.1). It is 0 if
// there is none, or not all of it.
func sequenceSize(der []byte) int {
	const sequence, long = 0x30, 0x80
	if len(der) < 2 || der[0] != sequence {
		return 0
	}
	length, header := int(der[1]), 2
	if length >= long {
		n := length - long // bytes of the length; 0 is BER's indefinite form
		if n < 1 || n > 3 || header+n > len(der) || der[header] == 0 {
			return 0
		}
		length = 0
		for _, b := range der[header : header+n] {
			length = length<<8 | int(b)
		}
		if header += n; length < long {
			return 0
		}
	}
	if header+length > len(der) {
		return 0
	}
	return header + length
}

// trimSpace removes what RFC 9110, section 5.5, does not count to a value.
func trimSpace(value string) string {
	return strings.Trim(value, " \t")
}
