package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
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

var (
	idIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	idDeltaCRLIndicator        = asn1.ObjectIdentifier{2, 5, 29, 27}
	idCertificateIssuer        = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// flag is a member of an IssuingDistributionPoint that is TRUE, or the bits of its
// onlySomeReasons.
func flag(tag int) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte{0xff}}
}

// point is a distributionPoint that has a full name of one URI.
func point(url string) asn1.RawValue { return named(0, 6, url) }

func named(choice, kind int, value string) asn1.RawValue {
	name, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: kind, Bytes: []byte(value)})
	full, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: choice, IsCompound: true, Bytes: name})
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: full}
}

// scoped gives a list an IssuingDistributionPoint.
func scoped(fields ...asn1.RawValue) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		value, _ := asn1.Marshal(fields)
		l.ExtraExtensions = append(l.ExtraExtensions,
			pkix.Extension{Id: idIssuingDistributionPoint, Critical: true, Value: value})
	}
}

func extended(id asn1.ObjectIdentifier, critical bool) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{2, 1, 1}}}
	}
}

func TestLists(t *testing.T) {
	root := newCA(t, nil, "root")
	other := newCA(t, nil, "other")
	namesake := newCA(t, nil, "root")
	server := newSite(t, nil)
	serial, another := big.NewInt(4711), big.NewInt(4712)
	clean := func(change func(*x509.RevocationList)) []byte { return newList(t, root, change, another) }
	entry := func(id asn1.ObjectIdentifier, critical bool) []byte {
		return clean(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions =
				[]pkix.Extension{{Id: id, Critical: critical, Value: []byte{0x30, 0}}}
		})
	}
	const (
		isGood = iota
		isRevoked
		isUnknown
	)
	for _, test := range []struct {
		name string
		body []byte
		want int
	}{
		{"another certificate is revoked", clean(nil), isGood},
		{"empty list", newList(t, root, nil), isGood},
		{"the certificate is revoked", newList(t, root, nil, another, serial), isRevoked},
		{"the certificate is on hold", newList(t, root, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ReasonCode = ocsp.CertificateHold
		}, serial), isRevoked},
		{"serial numbers that contain each other", newList(t, root, nil, big.NewInt(0x12), big.NewInt(0x67), big.NewInt(0x126700)), isGood},
		{"extension that is not critical", clean(extended(asn1.ObjectIdentifier{1, 2, 3}, false)), isGood},
		{"entry extension that is not critical", entry(asn1.ObjectIdentifier{1, 2, 3}, false), isGood},
		{"list of the certificate's distribution point", clean(scoped(point(server.URL))), isGood},
		{"list of user certificates", clean(scoped(flag(1))), isGood},
		{"revoked in a list of user certificates", newList(t, root, scoped(point(server.URL), flag(1)), serial), isRevoked},
		{"empty scope", clean(scoped()), isGood},

		{"list of another distribution point", clean(scoped(point(server.URL + "/1"))), isUnknown},
		{"distribution point that is not a URL", clean(scoped(named(0, 2, server.URL))), isUnknown},
		{"distribution point with a relative name", clean(scoped(named(1, 6, server.URL))), isUnknown},
		{"list of CA certificates", clean(scoped(flag(2))), isUnknown},
		{"list for some reasons", clean(scoped(flag(3))), isUnknown},
		{"indirect list", clean(scoped(flag(4))), isUnknown},
		{"list of attribute certificates", clean(scoped(flag(5))), isUnknown},
		{"unknown member of the scope", clean(scoped(flag(6))), isUnknown},
		{"scope that is no scope", clean(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: idIssuingDistributionPoint, Critical: true, Value: []byte{4, 0}}}
		}), isUnknown},
		{"scope of universal types", clean(scoped(asn1.RawValue{Tag: 1, Bytes: []byte{0xff}})), isUnknown},
		{"signed with SHA-1", clean(func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.ECDSAWithSHA1 }), isUnknown},
		{"delta list", clean(extended(idDeltaCRLIndicator, true)), isUnknown},
		{"unknown critical extension", clean(extended(asn1.ObjectIdentifier{1, 2, 3}, true)), isUnknown},
		{"entry of another CA", entry(idCertificateIssuer, true), isUnknown},
		{"expired", clean(func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(-time.Hour), time.Now().Add(-2*time.Second)
		}), isUnknown},
		{"from the future", clean(func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(10 * time.Minute) }), isUnknown},
		{"of another CA", newList(t, other, nil), isUnknown},
		{"of a CA with the same key and another name", newList(t, renamed(t, root, "twin"), nil), isUnknown},
		{"of a namesake", newList(t, namesake, nil), isUnknown},
		{"revoked by a namesake", newList(t, namesake, nil, serial), isUnknown},
		{"trailing data", append(newList(t, root, nil), 0), isUnknown},
		{"garbage", []byte("-----BEGIN X509 CRL-----"), isUnknown},
		{"nothing", nil, isUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := body(test.body)
			server.serve.Store(&h)
			client := issue(t, root, withCRL(server.URL))
			err := check(newChecker(t), client, root)
			bestEffort := check(newChecker(t, revocation.DangerouslyPassUnknown()), client, root)
			switch test.want {
			case isGood:
				require.NoError(t, err)
				require.NoError(t, bestEffort)
			case isRevoked:
				require.Equal(t, mtlspop.ErrRevoked, err)
				require.Equal(t, mtlspop.ErrRevoked, bestEffort)
			case isUnknown:
				requireUnknown(t, err)
				require.NoError(t, bestEffort)
			}
		})
	}
}

func TestAListOfUserCertificatesSaysNothingOfACA(t *testing.T) {
	root := newCA(t, nil, "root")
	for fields, good := range map[string]bool{"user": false, "CA": true} {
		t.Run(fields, func(t *testing.T) {
			tag := map[string]int{"user": 1, "CA": 2}[fields]
			server := newSite(t, body(newList(t, root, scoped(flag(tag)))))
			sub := issue(t, root, func(c *x509.Certificate) { c.IsCA, c.CRLDistributionPoints = true, []string{server.URL} })
			err := check(newChecker(t), sub, root)
			if good {
				require.NoError(t, err)
			} else {
				requireUnknown(t, err)
			}
		})
	}
}

func TestACAThatMayNotSignLists(t *testing.T) {
	root := newCA(t, nil, "root")
	signer := issue(t, root, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "sub", true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	der := newList(t, signer, nil)
	forbidden := *signer.cert
	forbidden.KeyUsage = x509.KeyUsageCertSign
	server := newSite(t, body(der))
	client := issue(t, signer, withCRL(server.URL))
	require.NoError(t, check(newChecker(t), client, signer))
	requireUnknown(t, check(newChecker(t), client, &identity{&forbidden, nil}))
}

func TestTheListsAreAskedWhenNoResponderAnswers(t *testing.T) {
	root := newCA(t, nil, "root")
	serial := big.NewInt(4711)
	lists := newSite(t, body(newList(t, root, nil, serial)))
	for _, test := range []struct {
		name    string
		answer  []byte
		revoked bool
	}{
		{"good: the lists are not asked", respond(t, root, root, status(ocsp.Good, serial)), false},
		{"revoked: the lists are not asked", respond(t, root, root, status(ocsp.Revoked, serial)), true},
		{"unknown: the list decides", respond(t, root, root, status(ocsp.Unknown, serial)), true},
		{"no answer: the list decides", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			lists.asked.Store(0)
			responder := newSite(t, body(test.answer))
			client := issue(t, root, func(c *x509.Certificate) {
				c.OCSPServer, c.CRLDistributionPoints = []string{responder.URL}, []string{lists.URL}
			})
			err := check(newChecker(t, revocation.DangerouslyPassUnknown()), client, root)
			if test.revoked {
				require.Equal(t, mtlspop.ErrRevoked, err)
			} else {
				require.NoError(t, err)
			}
			require.EqualValues(t, 1, responder.asked.Load())
			require.Equal(t, test.name[len(test.name)-7:] == "decides", lists.asked.Load() == 1)
		})
	}
}

func TestTheNextSourceIsAskedWhenOneFails(t *testing.T) {
	root := newCA(t, nil, "root")
	bad := newSite(t, body([]byte("garbage")))
	good := newSite(t, body(newList(t, root, nil)))
	client := issue(t, root, withCRL("ldap:///x", bad.URL, bad.URL, good.URL))
	require.NoError(t, check(newChecker(t), client, root))
	require.EqualValues(t, 1, bad.asked.Load(), "the same address is not asked twice")

	many := []string{}
	for i := range 50 {
		many = append(many, fmt.Sprintf("%s/%d", bad.URL, i))
	}
	bad.asked.Store(0)
	requireUnknown(t, check(newChecker(t), issue(t, root, withCRL(many...)), root))
	require.EqualValues(t, 3, bad.asked.Load())
}

func TestOneListServesAllCertificatesOfItsCA(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, body(newList(t, root, nil, big.NewInt(7))))
	checker := newChecker(t)
	for i := range int64(20) {
		client := issue(t, root, func(c *x509.Certificate) {
			c.SerialNumber, c.CRLDistributionPoints = big.NewInt(i+1), []string{server.URL}
		})
		if i+1 == 7 {
			require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		} else {
			require.NoError(t, check(checker, client, root))
		}
	}
	require.EqualValues(t, 1, server.asked.Load())
}

func TestAListOfOneCADoesNotServeANamesake(t *testing.T) {
	root, namesake := newCA(t, nil, "root"), newCA(t, nil, "root")
	server := newSite(t, body(newList(t, root, nil)))
	checker := newChecker(t)
	require.NoError(t, check(checker, issue(t, root, withCRL(server.URL)), root))
	requireUnknown(t, check(checker, issue(t, namesake, withCRL(server.URL)), namesake))
}

func TestAnOlderListNeverReplacesANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		numbered := func(number int64, serials ...*big.Int) []byte {
			return newList(t, root, func(l *x509.RevocationList) { l.Number = big.NewInt(number) }, serials...)
		}
		older, newer := numbered(7), numbered(8, big.NewInt(4711))
		sends := newer
		checker := newChecker(t, through(transport(func(*http.Request) ([]byte, error) { return sends, nil })))
		client := issue(t, root, withCRL("http://127.0.0.1/"))
		require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		sends = older
		for range 3 {
			time.Sleep(2 * time.Minute)
			require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root), "a list that has not expired is sent again")
		}
		sends = numbered(9)
		time.Sleep(2 * time.Minute)
		require.NoError(t, check(checker, client, root), "the hold is over")
	})
}

func TestACAThatStartsItsNumbersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		number, serials := int64(100), []*big.Int(nil)
		checker := newChecker(t, through(transport(func(*http.Request) ([]byte, error) {
			return newList(t, root, func(l *x509.RevocationList) { l.Number = big.NewInt(number) }, serials...), nil
		})))
		client := issue(t, root, withCRL("http://127.0.0.1/"))
		require.NoError(t, check(checker, client, root))
		number, serials = 1, []*big.Int{big.NewInt(4711)}
		time.Sleep(2 * time.Hour) // Past the old list's end.
		require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
	})
}
