package revocation_test

import (
	"context"
	"crypto/x509"
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
