package mtlspoptest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Forward does to h what a terminator must do: whatever the client sent under
// that name is gone, and value is the one there is.
func Forward(h http.Header, name, value string) {
	h.Set(name, value)
}

// The functions below return what a terminator sends for a client. A nil
// client is one that presented no certificate.

// RFC9440 is the field Client-Cert, as HAProxy and Caddy write it with colons
// that are always there.
func RFC9440(c *Client) string {
	return ":" + HAProxy(c) + ":"
}

// RFC9440Chain is the field Client-Cert-Chain. It is empty for a client that
// sends its certificate alone.
func RFC9440Chain(c *Client) string {
	var members []string
	for _, cert := range chainOf(c) {
		members = append(members, ":"+base64.StdEncoding.EncodeToString(cert.Raw)+":")
	}
	return strings.Join(members, ", ")
}

// Nginx is $ssl_client_escaped_cert. For a client without a certificate, nginx
// sends no field at all, and this is empty.
func Nginx(c *Client) string {
	return strings.ReplaceAll(url.QueryEscape(pemOf(c)), "+", "%20")
}

// NginxFolded is the deprecated $ssl_client_cert as net/http shows it. The last
// line has no end.
func NginxFolded(c *Client) string {
	return strings.TrimSuffix(strings.ReplaceAll(pemOf(c), "\n", " "), " ")
}

// Apache is %{SSL_CLIENT_CERT}s, as net/http shows it.
func Apache(c *Client) string {
	if c == nil {
		return "(null)"
	}
	return NginxFolded(c)
}

// ApacheEscaped is expr=%{escape:%{SSL_CLIENT_CERT}}.
func ApacheEscaped(c *Client) string {
	return strings.NewReplacer(" ", "%20", "\n", "%0a").Replace(pemOf(c))
}

// ApacheBase64 is expr=%{base64:%{SSL_CLIENT_CERT}}.
func ApacheBase64(c *Client) string {
	return base64.StdEncoding.EncodeToString([]byte(pemOf(c)))
}

// HAProxy is %[ssl_c_der,base64], and also what Caddy, Azure App Service and
// others send: the base64 of the DER.
func HAProxy(c *Client) string {
	if c == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(c.Certificate.Raw)
}

// HAProxyChain is :%[ssl_c_chain_der,base64]:, the chain as one blob.
func HAProxyChain(c *Client) string {
	var blob bytes.Buffer
	for _, cert := range chainOf(c) {
		blob.Write(cert.Raw)
	}
	return ":" + base64.StdEncoding.EncodeToString(blob.Bytes()) + ":"
}

// CaddyFingerprint is {http.request.tls.client.fingerprint}, which for a client
// without a certificate is the digest of nothing.
func CaddyFingerprint(c *Client) string {
	var der []byte
	if c != nil {
		der = c.Certificate.Raw
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ALB is the field X-Amzn-Mtls-Clientcert-Leaf of an AWS load balancer.
func ALB(c *Client) string {
	return albEscape(pemOf(c))
}

// ALBPassthrough is its field X-Amzn-Mtls-Clientcert, which holds the chain.
func ALBPassthrough(c *Client) string {
	text := pemOf(c)
	for _, cert := range chainOf(c) {
		text += pemBlock(cert)
	}
	return albEscape(text)
}

// Traefik is the field X-Forwarded-Tls-Client-Cert.
func Traefik(c *Client) string {
	members := []string{HAProxy(c)}
	for _, cert := range chainOf(c) {
		members = append(members, base64.StdEncoding.EncodeToString(cert.Raw))
	}
	return strings.Join(members, ",")
}

// Envoy is the field x-forwarded-client-cert after a way through several
// Envoys, each of which names the client that it has seen itself: the
// outermost first. An Envoy whose client has no certificate removes the field,
// so nil drops everything before it.
func Envoy(seen ...*Client) string {
	if i := slices.Index(seen, nil); i >= 0 {
		return Envoy(seen[i+1:]...)
	}
	var elements []string
	for _, c := range seen {
		subject := strings.ReplaceAll(c.Certificate.Subject.String(), `"`, `\"`)
		elements = append(elements, "By=spiffe://test/envoy;Hash="+CaddyFingerprint(c)+
			`;Cert="`+Nginx(c)+`";Subject="`+subject+`";URI=`)
	}
	return strings.Join(elements, ",")
}

func chainOf(c *Client) []*x509.Certificate {
	if c == nil {
		return nil
	}
	return c.Chain
}

func pemOf(c *Client) string {
	if c == nil {
		return ""
	}
	return pemBlock(c.Certificate)
}

func pemBlock(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func albEscape(text string) string {
	return strings.NewReplacer(" ", "%20", "\n", "%0A").Replace(text)
}
