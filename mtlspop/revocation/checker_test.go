package revocation_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
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

// requireUnknown holds an error against the contract of "ours": not the client's fault,
// and without an RFC code.
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
	require.NoError(t, check(newChecker(t), client, sub, root))
	require.EqualValues(t, 2, server.asked.Load())
	serve(4711)
	require.Equal(t, mtlspop.ErrRevoked, check(newChecker(t, revocation.DangerouslyPassUnknown()), client, sub, root))
	serve(5)
	require.Equal(t, mtlspop.ErrRevoked, check(newChecker(t, revocation.DangerouslyPassUnknown()), client, sub, root), "the intermediate is revoked")
	require.NoError(t, check(newChecker(t), client), "the leaf itself is the anchor")
}

func TestAServerThatIsDown(t *testing.T) {
	for _, from := range []string{"OCSP", "CRL"} {
		for _, tolerated := range []bool{true, false} {
			t.Run(fmt.Sprint(from, " tolerated: ", tolerated), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					root := newCA(t, nil, "root")
					s := &source{send: down}
					client := issue(t, root, withOCSP("http://127.0.0.1/"))
					if from == "CRL" {
						client = issue(t, root, withCRL("http://127.0.0.1/"))
					}
					var opts []revocation.Option
					if tolerated {
						opts = append(opts, revocation.DangerouslyPassUnknown())
					}
					checker := s.checker(t, opts...)
					see := func(asked int) {
						t.Helper()
						if err := check(checker, client, root); tolerated {
							require.NoError(t, err)
						} else {
							requireUnknown(t, err)
						}
						require.Equal(t, asked, s.asked)
					}
					// G12: a failure is remembered for 5 s, and for twice as long with
					// each further one, up to 30 s.
					for n, pause := range []time.Duration{5, 10, 20, 30, 30} {
						see(n + 1)
						see(n + 1)
						time.Sleep(pause*time.Second - time.Millisecond)
						see(n + 1)
						time.Sleep(time.Millisecond)
					}
					s.send = func() ([]byte, error) {
						if from == "CRL" {
							return newList(t, root, nil, big.NewInt(4711)), nil
						}
						return respond(t, root, root, status(ocsp.Revoked, big.NewInt(4711))), nil
					}
					require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
				})
			})
		}
	}
}

func TestNoServerListens(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, nil)
	server.Close()
	client := issue(t, root, withOCSP(server.URL))
	require.NoError(t, check(newChecker(t, revocation.DangerouslyPassUnknown()), client, root))
	requireUnknown(t, check(newChecker(t), client, root))
}

func TestACertificateWithoutASourceIsUnknown(t *testing.T) {
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
			require.NoError(t, check(newChecker(t, revocation.DangerouslyPassUnknown()), client, root))
			err := check(newChecker(t), client, root)
			requireUnknown(t, err)
			require.ErrorIs(t, err, revocation.ErrNoSource)
		})
	}
}

func TestTheObserverHearsOfWhatWasLetThrough(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, body(ocsp.TryLaterErrorResponse))
	client := issue(t, root, withOCSP(server.URL))
	var heard []error
	observe := revocation.WithObserver(func(_ context.Context, cert *x509.Certificate, err error) {
		require.Same(t, client.cert, cert)
		heard = append(heard, err)
	})
	checker := newChecker(t, observe, revocation.DangerouslyPassUnknown())
	for range 3 {
		require.NoError(t, check(checker, client, root))
	}
	require.Len(t, heard, 1, "once for each attempt")
	require.ErrorContains(t, heard[0], "try later")
	require.ErrorContains(t, heard[0], server.URL)
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
						opts := []revocation.Option{through(carry)}
						if test.ttl > 0 {
							opts = append(opts, revocation.WithAnswerLifetime(test.ttl))
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

func TestRequestsAtTheSameTimeShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		var asked atomic.Int64
		checker := newChecker(t, through(transport(func(*http.Request) ([]byte, error) {
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
		checker := newChecker(t, revocation.DangerouslyPassUnknown(), through(transport(func(r *http.Request) ([]byte, error) {
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
		require.ErrorIs(t, err, context.DeadlineExceeded, "also where the unknown passes: the caller does not wait for the answer any more")
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.NoError(t, check(checker, client, root))
		require.Equal(t, 1, asked, "the fetch went on")
	})
}

func TestTheTimeoutEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		checker := newChecker(t, revocation.WithTimeout(3*time.Second),
			through(transport(func(r *http.Request) ([]byte, error) {
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
		hangs := through(transport(func(r *http.Request) ([]byte, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		start := time.Now()
		checkMany(t, newChecker(t, hangs, revocation.DangerouslyPassUnknown()), root, withOCSP("http://127.0.0.1/"))
		require.EqualValues(t, 8, most.Load())
		require.Equal(t, 5*time.Second, time.Since(start), "the wait for a turn counts")
	})
}

func TestAHostThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		list := newList(t, root, nil)
		checker, err := revocation.New(through(transport(func(r *http.Request) ([]byte, error) {
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
	checker := newChecker(t, through(transport(func(*http.Request) ([]byte, error) { panic("boom") })))
	requireUnknown(t, check(checker, issue(t, root, withOCSP("http://127.0.0.1/")), root))
}

func TestAnAnswerOfOneIssuerIsNotAnothers(t *testing.T) {
	root, namesake := newCA(t, nil, "root"), newCA(t, nil, "root")
	server := newSite(t, responder(t, root, func(*big.Int) int { return ocsp.Good }))
	client := issue(t, root, withOCSP(server.URL))
	checker := newChecker(t)
	require.NoError(t, check(checker, client, root))
	requireUnknown(t, check(checker, client, namesake))
}

func TestMisuse(t *testing.T) {
	root := newCA(t, nil, "root")
	client, other := issue(t, root, nil), newCA(t, nil, "other")
	requireUnknown(t, check(new(revocation.Checker), client, root))
	requireUnknown(t, check(newChecker(t, revocation.DangerouslyPassUnknown())))
	requireUnknown(t, check(newChecker(t, revocation.DangerouslyPassUnknown()), client, other, root))
}
