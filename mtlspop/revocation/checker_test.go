package revocation_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

func newChecker(t testing.TB, opts ...revocation.Option) *revocation.Checker {
	t.Helper()
	c, err := revocation.New(append(opts, revocation.WithHosts("127.0.0.1"))...)
	require.NoError(t, err)
	return c
}

func check(c *revocation.Checker, ids ...*identity) error {
	var chain []*x509.Certificate
	for _, id := range ids {
		chain = append(chain, id.cert)
	}
	return c.Check(context.Background(), chain)
}

// requireUnknown holds an error against the contract of "ours": not the client's fault, and without an RFC code.
func requireUnknown(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotErrorIs(t, err, mtlspop.ErrRevoked)
	var kind mtlspop.BindingError
	require.False(t, errors.As(err, &kind), "an error of ours must not be a kind: %v", err)
}

// withOCSP names a responder in the certificate.
func withOCSP(url string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.OCSPServer = []string{url} }
}

func withCRL(urls ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.CRLDistributionPoints = urls }
}

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
			strict := check(newChecker(t, revocation.Strict), client, root)
			bestEffort := check(newChecker(t), client, root)
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
	checker := newChecker(t, revocation.Strict)
	for range 3 {
		require.NoError(t, check(checker, issue(t, root, withOCSP(server.URL)), root))
		require.Equal(t, mtlspop.ErrRevoked, check(checker, issue(t, root, func(c *x509.Certificate) {
			c.SerialNumber, c.OCSPServer = bad, []string{server.URL}
		}), root))
	}
}

func TestEveryCertificateButTheAnchorIsChecked(t *testing.T) {
	server := newSite(t, nil)
	root := issue(t, nil, func(c *x509.Certificate) { // A root that would fail if it were asked about.
		c.IsCA, c.Subject.CommonName, c.OCSPServer = true, "root", []string{"http://127.0.0.1:1/"}
	})
	sub := issue(t, root, func(c *x509.Certificate) {
		c.IsCA, c.Subject.CommonName, c.SerialNumber = true, "sub", big.NewInt(5)
		c.OCSPServer = []string{server.URL + "/root"}
	})
	client := issue(t, sub, withOCSP(server.URL+"/sub"))
	serve := func(bad int64) {
		say := func(serial *big.Int) int {
			if serial.Int64() == bad {
				return ocsp.Revoked
			}
			return ocsp.Good
		}
		var h http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/root" {
				responder(t, root, say)(w, r)
			} else {
				responder(t, sub, say)(w, r)
			}
		}
		server.serve.Store(&h)
	}

	serve(0)
	require.NoError(t, check(newChecker(t, revocation.Strict), client, sub, root))
	require.EqualValues(t, 2, server.asked.Load())
	serve(4711)
	require.Equal(t, mtlspop.ErrRevoked, check(newChecker(t), client, sub, root))
	serve(5)
	require.Equal(t, mtlspop.ErrRevoked, check(newChecker(t), client, sub, root), "the intermediate is revoked")
	require.NoError(t, check(newChecker(t, revocation.Strict), client), "the leaf itself is the anchor")
}

func TestAServerThatIsDown(t *testing.T) {
	root := newCA(t, nil, "root")
	for _, source := range []string{"OCSP", "CRL"} {
		for mode, tolerated := range map[revocation.Mode]bool{
			revocation.Off: true, revocation.BestEffort: true, revocation.Strict: false,
		} {
			t.Run(source+" "+mode.String(), func(t *testing.T) {
				down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
				server := newSite(t, down)
				client, up := issue(t, root, withOCSP(server.URL)), responder(t, root, func(*big.Int) int { return ocsp.Revoked })
				if source == "CRL" {
					client, up = issue(t, root, withCRL(server.URL)), body(newList(t, root, nil, big.NewInt(4711)))
				}
				checker := newChecker(t, mode)
				for range 2 {
					err := check(checker, client, root)
					if tolerated {
						require.NoError(t, err)
					} else {
						requireUnknown(t, err)
					}
				}
				// The failure is not remembered: the very next check sees what the server says now.
				server.serve.Store(&up)
				err := check(checker, client, root)
				if mode == revocation.Off {
					require.NoError(t, err)
					require.Zero(t, server.asked.Load(), "Off asks nobody")
				} else {
					require.Equal(t, mtlspop.ErrRevoked, err)
				}
			})
		}
	}
}

func TestNobodyListens(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, nil)
	server.Close()
	client := issue(t, root, withOCSP(server.URL))
	require.NoError(t, check(newChecker(t), client, root))
	requireUnknown(t, check(newChecker(t, revocation.Strict), client, root))
}

func TestNoSourceIsRefusedByStrictOnly(t *testing.T) {
	root := newCA(t, nil, "root")
	for name, change := range map[string]func(*x509.Certificate){
		"none":           nil,
		"LDAP":           withCRL("ldap://127.0.0.1/CN=root?certificateRevocationList"),
		"file":           withOCSP("file:///etc/passwd"),
		"credentials":    withOCSP("http://user:secret@127.0.0.1/"),
		"no host":        withOCSP("http:///ocsp"),
		"not a URL":      withOCSP("http://127.0.0.1:x/"),
		"not in hosts":   withOCSP("http://127.0.0.2/"),
		"host as suffix": withOCSP("http://x.127.0.0.1/"),
	} {
		t.Run(name, func(t *testing.T) {
			client := issue(t, root, change)
			require.NoError(t, check(newChecker(t), client, root))
			err := check(newChecker(t, revocation.Strict), client, root)
			requireUnknown(t, err)
			require.ErrorIs(t, err, revocation.ErrNoSource)
		})
	}
}

func TestTheObserverHearsOfWhatBestEffortLetThrough(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, body(ocsp.TryLaterErrorResponse))
	client := issue(t, root, withOCSP(server.URL))
	var heard []error
	observe := revocation.WithObserver(func(_ context.Context, cert *x509.Certificate, err error) {
		require.Same(t, client.cert, cert)
		heard = append(heard, err)
	})
	require.NoError(t, check(newChecker(t, observe), client, root))
	require.Len(t, heard, 1)
	require.ErrorContains(t, heard[0], "try later")
	require.ErrorContains(t, heard[0], server.URL)

	requireUnknown(t, check(newChecker(t, observe, revocation.Strict), client, root))
	require.Len(t, heard, 1, "Strict tells the caller")
}

func TestAnswersLiveNoLongerThanTheyMay(t *testing.T) {
	for _, test := range []struct {
		name   string
		ttl    time.Duration
		answer time.Duration // until nextUpdate
		want   time.Duration
	}{
		{"the default ceiling is a minute", 0, time.Hour, time.Minute},
		{"a shorter ceiling", 10 * time.Second, time.Hour, 10 * time.Second},
		{"an answer that ends before the ceiling", time.Hour, 30 * time.Second, 30 * time.Second},
	} {
		for _, source := range []string{"OCSP", "CRL"} {
			for _, kind := range []int{ocsp.Good, ocsp.Revoked} {
				t.Run(test.name+" "+source+" "+ocspName(kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						root := newCA(t, nil, "root")
						asked := 0
						carry := transport(func(r *http.Request) ([]byte, error) {
							asked++
							if source == "CRL" {
								var serials []*big.Int
								if kind == ocsp.Revoked {
									serials = []*big.Int{big.NewInt(4711)}
								}
								return newList(t, root, func(l *x509.RevocationList) {
									l.NextUpdate = time.Now().Add(test.answer)
								}, serials...), nil
							}
							resp := status(kind, big.NewInt(4711))
							resp.NextUpdate = time.Now().Add(test.answer)
							return respond(t, root, root, resp), nil
						})
						opts := []revocation.Option{revocation.Strict, revocation.WithTransport(carry)}
						if test.ttl > 0 {
							opts = append(opts, revocation.WithCacheTTL(test.ttl))
						}
						client := issue(t, root, withOCSP("http://127.0.0.1/"))
						if source == "CRL" {
							client = issue(t, root, withCRL("http://127.0.0.1/"))
						}
						checker := newChecker(t, opts...)
						see := func() {
							if err := check(checker, client, root); kind == ocsp.Revoked {
								require.Equal(t, mtlspop.ErrRevoked, err)
							} else {
								require.NoError(t, err)
							}
						}
						see()
						time.Sleep(test.want - time.Second)
						see()
						require.Equal(t, 1, asked, "still remembered")
						time.Sleep(time.Second)
						see()
						require.Equal(t, 2, asked, "asked again")
					})
				})
			}
		}
	}
}

func ocspName(kind int) string {
	return map[int]string{ocsp.Good: "good", ocsp.Revoked: "revoked"}[kind]
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
		checker := newChecker(t, revocation.Strict,
			revocation.WithTransport(transport(func(*http.Request) ([]byte, error) { return der, nil })))
		client := issue(t, root, withOCSP("http://127.0.0.1/"))
		require.NoError(t, check(checker, client, root))
		time.Sleep(21 * time.Second)
		requireUnknown(t, check(checker, client, root))
	})
}

func TestRequestsAtTheSameTimeShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		var asked atomic.Int64
		checker := newChecker(t, revocation.Strict, revocation.WithTransport(transport(func(*http.Request) ([]byte, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return respond(t, root, root, status(ocsp.Good, big.NewInt(4711))), nil
		})))
		client := issue(t, root, withOCSP("http://127.0.0.1/"))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := check(checker, client, root); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, asked.Load())
	})
}

func TestACallerWhoLeavesTakesNothingFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		asked := 0
		checker := newChecker(t, revocation.WithTransport(transport(func(r *http.Request) ([]byte, error) {
			asked++
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(time.Second):
				return respond(t, root, root, status(ocsp.Good, big.NewInt(4711))), nil
			}
		})))
		client := issue(t, root, withOCSP("http://127.0.0.1/"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := checker.Check(ctx, []*x509.Certificate{client.cert, root.cert})
		require.ErrorIs(t, err, context.DeadlineExceeded, "in BestEffort too: nobody waits for the answer any more")
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.NoError(t, check(checker, client, root))
		require.Equal(t, 1, asked, "the fetch went on")
	})
}

func TestTheTimeoutEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		checker := newChecker(t, revocation.Strict, revocation.WithTimeout(3*time.Second),
			revocation.WithTransport(transport(func(r *http.Request) ([]byte, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})))
		start := time.Now()
		requireUnknown(t, check(checker, issue(t, root, withOCSP("http://127.0.0.1/")), root))
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestFewFetchesRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		var running, most atomic.Int64
		hangs := revocation.WithTransport(transport(func(r *http.Request) ([]byte, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		start := time.Now()
		checkMany(t, newChecker(t, hangs), root, withOCSP("http://127.0.0.1/"))
		require.EqualValues(t, 8, most.Load())
		require.Equal(t, 5*time.Second, time.Since(start), "the wait for a turn counts")
	})
}

func TestAHostThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		list := newList(t, root, nil)
		checker, err := revocation.New(revocation.Strict, revocation.WithTransport(transport(func(r *http.Request) ([]byte, error) {
			if r.URL.Host == "crl.example" {
				return list, nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})))
		require.NoError(t, err)
		start := time.Now()
		checkMany(t, checker, root, func(c *x509.Certificate) {
			c.OCSPServer, c.CRLDistributionPoints = []string{"http://ocsp.example/"}, []string{"http://crl.example/"}
		})
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

// checkMany checks many certificates at a time, all of which must pass.
func checkMany(t *testing.T, checker *revocation.Checker, root *identity, change func(*x509.Certificate)) {
	var all sync.WaitGroup
	for i := range int64(50) {
		client := issue(t, root, func(c *x509.Certificate) {
			change(c)
			c.SerialNumber = big.NewInt(i + 1)
		})
		all.Go(func() {
			if err := check(checker, client, root); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAPanicInTheTransportIsOurError(t *testing.T) {
	root := newCA(t, nil, "root")
	checker := newChecker(t, revocation.Strict,
		revocation.WithTransport(transport(func(*http.Request) ([]byte, error) { panic("boom") })))
	requireUnknown(t, check(checker, issue(t, root, withOCSP("http://127.0.0.1/")), root))
}

func TestAnAnswerOfOneIssuerIsNotAnothers(t *testing.T) {
	root, namesake := newCA(t, nil, "root"), newCA(t, nil, "root")
	server := newSite(t, responder(t, root, func(*big.Int) int { return ocsp.Good }))
	client := issue(t, root, withOCSP(server.URL))
	checker := newChecker(t, revocation.Strict)
	require.NoError(t, check(checker, client, root))
	requireUnknown(t, check(checker, client, namesake))
}

func TestMisuse(t *testing.T) {
	root := newCA(t, nil, "root")
	client, other := issue(t, root, nil), newCA(t, nil, "other")
	requireUnknown(t, check(new(revocation.Checker), client, root))
	requireUnknown(t, check(newChecker(t)))
	requireUnknown(t, check(newChecker(t), client, other, root))
}
