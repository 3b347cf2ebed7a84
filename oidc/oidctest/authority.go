package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"time"
)

// authority is the CA of one issuer, and the server certificate that it made.
type authority struct {
	pool   *x509.CertPool
	server tls.Certificate
}

func newAuthority() (*authority, error) {
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "oidctest CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(100 * 365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "oidctest issuer"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leafKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	caDER, err1 := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	a := &authority{pool: x509.NewCertPool(), server: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}}
	a.pool.AddCert(root)
	return a, nil
}

// CertPool returns a pool with the CA of the issuer's server certificate.
func (i *Issuer) CertPool() *x509.CertPool { return i.tls.pool.Clone() }

// Client returns a client that trusts the issuer's CA. If the issuer is
// [InMemory], it reaches nothing else.
func (i *Issuer) Client() *http.Client { return i.client(nil) }

// ClientWithCertificate is [Issuer.Client] with a client certificate.
func (i *Issuer) ClientWithCertificate(cert tls.Certificate) *http.Client { return i.client(&cert) }

func (i *Issuer) client(cert *tls.Certificate) *http.Client {
	if i.settings.url != "" {
		return &http.Client{Transport: memory{i, cert}}
	}
	config := &tls.Config{RootCAs: i.CertPool()}
	if cert != nil {
		// Not Certificates: those are sent only if the server's list of CAs suits them.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	i.onClose(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// memory is a transport without a network.
type memory struct {
	issuer *Issuer
	cert   *tls.Certificate
}

// RoundTrip implements http.RoundTripper.
func (m memory) RoundTrip(r *http.Request) (res *http.Response, err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			res, err = nil, fmt.Errorf("oidctest: connection broken: %w", io.ErrUnexpectedEOF)
		} else if p != nil {
			panic(p)
		}
	}()
	if origin := r.URL.Scheme + "://" + r.URL.Host; origin != m.issuer.origin && origin != m.issuer.mtls {
		return nil, fmt.Errorf("oidctest: %s is not the issuer", origin)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	if m.cert != nil {
		leaf, err := x509.ParseCertificate(m.cert.Certificate[0])
		if err != nil {
			return nil, err
		}
		in.TLS.PeerCertificates = []*x509.Certificate{leaf}
	}
	rec := httptest.NewRecorder()
	m.issuer.ServeHTTP(rec, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	res = rec.Result()
	res.Request = r
	return res, nil
}
