package terminators_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// identity is a certificate with its key, and the certificates above it that its holder
// sends.
type identity struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain [][]byte
}

// issue makes a certificate under parent, or a self-signed one.
func issue(t testing.TB, parent *identity, name string, change func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &identity{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &identity{cert: cert, key: key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
}

// x5t is the thumbprint of RFC 8705, section 3.1, by other means than the library's.
func (id *identity) x5t() string {
	sum := sha256.Sum256(id.cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (id *identity) tls() *tls.Certificate {
	if id == nil {
		return new(tls.Certificate)
	}
	return &tls.Certificate{Certificate: append([][]byte{id.cert.Raw}, id.chain...), PrivateKey: id.key}
}

func (id *identity) certPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw}))
}

func (id *identity) keyPEM(t testing.TB) string {
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
