package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

func TestOCSPAnswers(t *testing.T) {
	root := newCA(t, nil, "root")
	other := newCA(t, nil, "other")
	namesake := newCA(t, nil, "root")
	sub := newCA(t, root, "sub")
	twin := renamed(t, root, "twin")
	serial := big.NewInt(4711)
	delegate := func(parent *identity, change func(*x509.Certificate)) *identity {
		return issue(t, parent, func(c *x509.Certificate) {
			c.Subject.CommonName = "responder"
			c.SerialNumber = big.NewInt(1)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			if change != nil {
				change(c)
			}
		})
	}
	by := func(d *identity, kind int) []byte {
		resp := status(kind, serial)
		resp.Certificate = d.cert
		return respond(t, root, d, resp)
	}
	plain := func(change func(*ocsp.Response)) []byte {
		resp := status(ocsp.Good, serial)
		change(&resp)
		return respond(t, root, root, resp)
	}
	good := respond(t, root, root, status(ocsp.Good, serial))
	again := func(change func(*responseData)) []byte { return resign(t, good, root, change) }
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)-1] ^= 1

	type verdict int
	const (
		isGood verdict = iota
		isRevoked
		isUnknown
	)
	for _, test := range []struct {
		name string
		body []byte
		want verdict
	}{
		{"good, signed by the issuer", good, isGood},
		{"revoked, signed by the issuer", respond(t, root, root, status(ocsp.Revoked, serial)), isRevoked},
		{"on hold is revoked", plain(func(r *ocsp.Response) {
			r.Status, r.RevocationReason = ocsp.Revoked, ocsp.CertificateHold
		}), isRevoked},
		{"good, with the issuer's own certificate embedded", by(root, ocsp.Good), isGood},
		{"good, signed by a delegate", by(delegate(root, nil), ocsp.Good), isGood},
		{"revoked, signed by a delegate", by(delegate(root, nil), ocsp.Revoked), isRevoked},
		{"good, without an end and new", plain(func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), isGood},
		{"good, with SHA-256 in the CertID", plain(func(r *ocsp.Response) { r.IssuerHash = 5 }), isGood},
		{"good, signed again by the issuer", again(func(*responseData) {}), isGood},

		{"unknown is not an answer", respond(t, root, root, status(ocsp.Unknown, serial)), isUnknown},
		{"expired", plain(func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(-time.Second) }), isUnknown},
		{"from the future", plain(func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(10 * time.Minute) }), isUnknown},
		{"without an end and old", plain(func(r *ocsp.Response) {
			r.NextUpdate, r.ThisUpdate = time.Time{}, time.Now().Add(-2*time.Hour)
		}), isUnknown},
		{"wrong serial number", plain(func(r *ocsp.Response) { r.SerialNumber = big.NewInt(4712) }), isUnknown},
		{"same serial number of another CA", respond(t, other, root, status(ocsp.Good, serial)), isUnknown},
		{"same serial number of a namesake", respond(t, namesake, root, status(ocsp.Good, serial)), isUnknown},
		{"signed by another CA", respond(t, root, other, status(ocsp.Good, serial)), isUnknown},
		{"signed by a namesake", respond(t, root, namesake, status(ocsp.Good, serial)), isUnknown},
		{"signed by another CA, its certificate embedded", by(other, ocsp.Good), isUnknown},
		{"signed by a subordinate CA, its certificate embedded", by(sub, ocsp.Good), isUnknown},
		{"signed by the client itself", by(issue(t, root, nil), ocsp.Good), isUnknown},
		{"delegate without the purpose", by(delegate(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), ocsp.Good), isUnknown},
		{"delegate with any purpose", by(delegate(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}), ocsp.Good), isUnknown},
		{"delegate not for signatures", by(delegate(root, func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageKeyEncipherment
		}), ocsp.Good), isUnknown},
		{"delegate that has expired", by(delegate(root, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Second)
		}), ocsp.Good), isUnknown},
		{"delegate that is not valid yet", by(delegate(root, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		}), ocsp.Good), isUnknown},
		{"delegate with an unknown critical extension", by(delegate(root, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), ocsp.Good), isUnknown},
		{"delegate of another CA", by(delegate(other, nil), ocsp.Good), isUnknown},
		{"delegate of a CA with the same key and another name", by(delegate(twin, nil), ocsp.Good), isUnknown},
		{"delegate of a namesake", by(delegate(namesake, nil), ocsp.Good), isUnknown},
		{"delegate of a subordinate CA", by(delegate(sub, nil), ocsp.Good), isUnknown},
		{"broken signature", flipped, isUnknown},
		{"signed with SHA-1", plain(func(r *ocsp.Response) { r.SignatureAlgorithm = x509.ECDSAWithSHA1 }), isUnknown},
		{"two statuses for the certificate", again(func(d *responseData) {
			d.Responses = append(d.Responses, d.Responses[0])
		}), isUnknown},
		{"no status", again(func(d *responseData) { d.Responses = nil }), isUnknown},
		{"unknown hash in the CertID", again(func(d *responseData) {
			d.Responses[0].CertID.Hash.Algorithm = asn1.ObjectIdentifier{1, 2, 3}
		}), isUnknown},
		{"name of another CA", again(func(d *responseData) { d.Responses[0].CertID.NameHash[0] ^= 1 }), isUnknown},
		{"key of another CA", again(func(d *responseData) { d.Responses[0].CertID.KeyHash[0] ^= 1 }), isUnknown},
		{"critical extension in the response", again(func(d *responseData) {
			d.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), isUnknown},
		{"critical extension in the status", plain(func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), isUnknown},
		{"unsigned error: unauthorized", ocsp.UnauthorizedErrorResponse, isUnknown},
		{"unsigned error: try later", ocsp.TryLaterErrorResponse, isUnknown},
		{"trailing data", append(append([]byte(nil), good...), 0), isUnknown},
		{"garbage", []byte("<html>It works!</html>"), isUnknown},
		{"nothing", nil, isUnknown},
		{"more than an answer", make([]byte, 1<<20), isUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newSite(t, body(test.body))
			client := issue(t, root, withOCSP(server.URL))
			strict := check(newChecker(t), client, root)
			bestEffort := check(newChecker(t, revocation.DangerouslyPassUnknown()), client, root)
			switch test.want {
			case isGood:
				require.NoError(t, strict)
				require.NoError(t, bestEffort)
			case isRevoked:
				require.Equal(t, mtlspop.ErrRevoked, strict)
				require.Equal(t, mtlspop.ErrRevoked, bestEffort)
			case isUnknown:
				requireUnknown(t, strict)
				require.NoError(t, bestEffort)
			}
			require.EqualValues(t, 2, server.asked.Load())
		})
	}
}

func TestTheResponderReadsTheRequest(t *testing.T) {
	root := newCA(t, nil, "root")
	bad := big.NewInt(666)
	server := newSite(t, responder(t, root, func(serial *big.Int) int {
		if serial.Cmp(bad) == 0 {
			return ocsp.Revoked
		}
		return ocsp.Good
	}))
	checker := newChecker(t)
	for range 3 {
		require.NoError(t, check(checker, issue(t, root, withOCSP(server.URL)), root))
		require.Equal(t, mtlspop.ErrRevoked, check(checker, issue(t, root, func(c *x509.Certificate) {
			c.SerialNumber, c.OCSPServer = bad, []string{server.URL}
		}), root))
	}
}

func TestADelegateSpeaksNoLongerThanItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		delegate := issue(t, root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			c.NotAfter = time.Now().Add(20 * time.Second)
		})
		resp := status(ocsp.Good, big.NewInt(4711))
		resp.Certificate = delegate.cert
		der := respond(t, root, delegate, resp)
		checker := newChecker(t, through(transport(func(*http.Request) ([]byte, error) { return der, nil })))
		client := issue(t, root, withOCSP("http://127.0.0.1/"))
		require.NoError(t, check(checker, client, root))
		time.Sleep(21 * time.Second)
		requireUnknown(t, check(checker, client, root))
	})
}
