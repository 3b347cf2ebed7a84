package pen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority is a CA for one run: it makes server and client certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes a CA that is good for a month.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pen: %w", err)
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	cert, err := sign(t, t, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Server makes the certificate of a server with the given names and addresses.
func (a *Authority) Server(hosts ...string) (tls.Certificate, error) {
	t := template("keybound")
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return a.issue(t)
}

// Client makes a client certificate.
func (a *Authority) Client(name string) (tls.Certificate, error) {
	t := template(name)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(t)
}

func (a *Authority) issue(t *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pen: %w", err)
	}
	return a.issueFor(t, key)
}

func (a *Authority) issueFor(t *x509.Certificate, key *ecdsa.PrivateKey) (tls.Certificate, error) {
	cert, err := sign(t, a.Certificate, key, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// Reissue makes another certificate for the same key and name.
func (a *Authority) Reissue(cert tls.Certificate) (tls.Certificate, error) {
	t := template(cert.Leaf.Subject.CommonName)
	t.ExtKeyUsage = cert.Leaf.ExtKeyUsage
	return a.issueFor(t, cert.PrivateKey.(*ecdsa.PrivateKey))
}

// Pool holds the CA alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte { return CertificatePEM(a.Certificate.Raw) }

// CertificatePEM is one certificate as PEM.
func CertificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// SelfSigned makes a client certificate that no CA has signed. Its validity begins
// at from and lasts for an hour.
func SelfSigned(name string, from time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pen: %w", err)
	}
	t := template(name)
	t.NotBefore, t.NotAfter = from, from.Add(time.Hour)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := sign(t, t, key, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// CertificateThumbprint is x5t#S256 (RFC 8705, section 3.1).
func CertificateThumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return Encode(sum[:])
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func sign(t, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("pen: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pen: %w", err)
	}
	return cert, nil
}
