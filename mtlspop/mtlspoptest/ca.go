// Package mtlspoptest answers "how does my service treat this client
// certificate?" in tests. It plays the other side of the wire: an authority,
// clients with certificates good and bad, a TLS server to put a handler
// behind, and the header fields that TLS terminators send.
//
//	ca := mtlspoptest.NewCA(t, "Test Root")
//	alice := ca.Issue("alice")
//	server := mtlspoptest.NewServer(t, handler)
//	resp, err := server.Client(alice).Get(server.URL)
//
// A token for alice has the cnf member x5t#S256 = alice.Thumbprint().
//
// Everything here uses the standard library alone, and none of the code of
// package mtlspop. It checks nothing: that is what the handler is there for.
package mtlspoptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"slices"
	"testing"
	"time"
)

// CA is a certification authority. Its fields are for reading.
type CA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Chain is what its clients must send beside their own certificate: this
	// CA's certificate and those above, without the root. It is empty for a
	// root.
	Chain []*x509.Certificate

	tb testing.TB
}

// NewCA makes a root with a P-256 key, valid for a day around now.
func NewCA(tb testing.TB, name string) *CA {
	tb.Helper()
	key := newKey(tb)
	template := caTemplate(tb, name)
	return &CA{Certificate: sign(tb, template, template, key.Public(), key), Key: key, tb: tb}
}

// Intermediate makes an authority below ca. Each edit may change its
// certificate before it is signed.
func (ca *CA) Intermediate(name string, edit ...func(*x509.Certificate)) *CA {
	ca.tb.Helper()
	key := newKey(ca.tb)
	template := caTemplate(ca.tb, name)
	for _, e := range edit {
		e(template)
	}
	cert := sign(ca.tb, template, ca.Certificate, key.Public(), ca.Key)
	return &CA{Certificate: cert, Key: key, Chain: append([]*x509.Certificate{cert}, ca.Chain...), tb: ca.tb}
}

// Pool returns a new pool that holds the certificate of ca alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return pool
}

// Issue makes a client with a new P-256 key and a certificate for client
// authentication, valid for a day around now. Each edit may change it before it
// is signed.
func (ca *CA) Issue(name string, edit ...func(*x509.Certificate)) *Client {
	ca.tb.Helper()
	return ca.certify(newKey(ca.tb), clientTemplate(ca.tb, name), edit)
}

// Expired issues a certificate that ran out an hour ago.
func (ca *CA) Expired(name string) *Client {
	ca.tb.Helper()
	return ca.Issue(name, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
}

// NotYetValid issues a certificate that will be valid in an hour.
func (ca *CA) NotYetValid(name string) *Client {
	ca.tb.Helper()
	return ca.Issue(name, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
}

// Reissue renews c: the same name and key, another certificate.
func (ca *CA) Reissue(c *Client) *Client {
	ca.tb.Helper()
	return ca.certify(c.Key, clientTemplate(ca.tb, c.Certificate.Subject.CommonName), nil)
}

func (ca *CA) certify(key crypto.Signer, template *x509.Certificate, edit []func(*x509.Certificate)) *Client {
	for _, e := range edit {
		e(template)
	}
	cert := sign(ca.tb, template, ca.Certificate, key.Public(), ca.Key)
	return &Client{Certificate: cert, Key: key, Chain: slices.Clone(ca.Chain)}
}

// Client is a holder of a certificate and its key.
type Client struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Chain       []*x509.Certificate // what it sends beside its certificate; never the root
}

// SelfSigned makes a client that issued its own certificate, as for
// self_signed_tls_client_auth (RFC 8705, section 2.2).
func SelfSigned(tb testing.TB, name string, edit ...func(*x509.Certificate)) *Client {
	tb.Helper()
	key := newKey(tb)
	template := clientTemplate(tb, name)
	for _, e := range edit {
		e(template)
	}
	return &Client{Certificate: sign(tb, template, template, key.Public(), key), Key: key}
}

// Thumbprint returns the x5t#S256 of the client's certificate.
func (c *Client) Thumbprint() string {
	sum := sha256.Sum256(c.Certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TLS returns what a [tls.Config] takes.
func (c *Client) TLS() tls.Certificate {
	chain := [][]byte{c.Certificate.Raw}
	for _, cert := range c.Chain {
		chain = append(chain, cert.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: c.Key, Leaf: c.Certificate}
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("mtlspoptest: %v", err)
	}
	return key
}

// template returns what every certificate has. The serial number is random, so
// that no two certificates are the same.
func template(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatalf("mtlspoptest: %v", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-12 * time.Hour),
		NotAfter:     now.Add(12 * time.Hour),
	}
}

func caTemplate(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	c := template(tb, name)
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	return c
}

func clientTemplate(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	c := template(tb, name)
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c
}

func sign(tb testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		tb.Fatalf("mtlspoptest: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("mtlspoptest: %v", err)
	}
	return cert
}
