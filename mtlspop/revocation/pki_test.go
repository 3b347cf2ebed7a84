package revocation_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/keybound-go/middleware/mtlspop/revocation"
)

// identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate under parent, or a self-signed one, from a template of a CA
// or, if change says so, of anything.
func issue(t testing.TB, parent *identity, change func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(4711),
		Subject:               pkix.Name{CommonName: "a client"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &identity{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &identity{cert, key}
}

func newCA(t testing.TB, parent *identity, name string) *identity {
	return issue(t, parent, func(c *x509.Certificate) {
		c.Subject.CommonName = name
		c.IsCA = true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	})
}

// renamed is a CA with ca's key and another name.
func renamed(t testing.TB, ca *identity, name string) *identity {
	t.Helper()
	template := *ca.cert
	template.Subject, template.RawSubject = pkix.Name{CommonName: name}, nil
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, ca.key.Public(), ca.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &identity{cert, ca.key}
}

// site serves one body on loopback and counts what it is asked.
type site struct {
	*httptest.Server
	asked atomic.Int64
	serve atomic.Pointer[http.HandlerFunc]
}

func newSite(t testing.TB, h http.HandlerFunc) *site {
	s := &site{}
	s.serve.Store(&h)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.serve.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func body(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(b) }
}

// status is a current OCSP answer of the given kind about serial.
func status(kind int, serial *big.Int) ocsp.Response {
	return ocsp.Response{
		Status:       kind,
		SerialNumber: serial,
		ThisUpdate:   time.Now().Add(-time.Minute),
		NextUpdate:   time.Now().Add(time.Hour),
		RevokedAt:    time.Now().Add(-time.Minute),
	}
}

// respond signs resp about a certificate of about, as signer.
func respond(t testing.TB, about, signer *identity, resp ocsp.Response) []byte {
	t.Helper()
	der, err := ocsp.CreateResponse(about.cert, signer.cert, resp, signer.key)
	require.NoError(t, err)
	return der
}

// responder answers as RFC 6960 wants it: after reading the request, with what it says
// about that serial number.
func responder(t testing.TB, ca *identity, say func(serial *big.Int) int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		der, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("not an OCSP request: %v %v %v", r.Method, r.Header, err)
		}
		req, err := ocsp.ParseRequest(der)
		if err != nil {
			t.Errorf("not an OCSP request: %v", err)
			return
		}
		w.Write(respond(t, ca, ca, status(say(req.SerialNumber), req.SerialNumber)))
	}
}

// newList is a list of ca that names serials; change may break it.
func newList(t testing.TB, ca *identity, change func(*x509.RevocationList), serials ...*big.Int) []byte {
	t.Helper()
	template := &x509.RevocationList{
		Number:     big.NewInt(7),
		ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().Add(time.Hour),
	}
	for _, serial := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now().Add(-time.Minute)})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.cert, ca.key)
	require.NoError(t, err)
	return der
}

// The parts of an OCSP response that a test changes before it is signed again.
type (
	basicResponse struct {
		Data      responseData
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	responseData struct {
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []singleResponse
		Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	singleResponse struct {
		CertID     certID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
		NextUpdate time.Time `asn1:"generalized,explicit,tag:0,optional"`
	}
	certID struct {
		Hash     pkix.AlgorithmIdentifier
		NameHash []byte
		KeyHash  []byte
		Serial   *big.Int
	}
	responseBytes struct {
		Type  asn1.ObjectIdentifier
		Basic []byte
	}
	response struct {
		Status asn1.Enumerated
		Bytes  responseBytes `asn1:"explicit,tag:0"`
	}
)

// resign changes a response that signer made, and signs it again.
func resign(t testing.TB, der []byte, signer *identity, change func(*responseData)) []byte {
	t.Helper()
	var outer response
	_, err := asn1.Unmarshal(der, &outer)
	require.NoError(t, err)
	var basic basicResponse
	_, err = asn1.Unmarshal(outer.Bytes.Basic, &basic)
	require.NoError(t, err)
	change(&basic.Data)
	tbs, err := asn1.Marshal(basic.Data)
	require.NoError(t, err)
	digest := sha256.Sum256(tbs)
	signature, err := signer.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	basic.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	outer.Bytes.Basic, err = asn1.Marshal(basic)
	require.NoError(t, err)
	changed, err := asn1.Marshal(outer)
	require.NoError(t, err)
	return changed
}

// transport carries requests without a network, so that tests can own the clock.
type transport func(*http.Request) ([]byte, error)

func through(rt http.RoundTripper) revocation.Option {
	return revocation.WithHTTPClient(&http.Client{Transport: rt})
}

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, nil
}
