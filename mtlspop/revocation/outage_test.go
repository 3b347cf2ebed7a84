package revocation_test

import (
	"crypto/x509"
	"errors"
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

// source is a responder or a list that says what it is told to.
type source struct {
	asked int
	send  func() ([]byte, error)
}

func (s *source) checker(t *testing.T, opts ...revocation.Option) *revocation.Checker {
	return newChecker(t, append(opts, through(transport(func(*http.Request) ([]byte, error) {
		s.asked++
		return s.send()
	})))...)
}

func down() ([]byte, error) { return nil, errors.New("down") }

func TestAnAnswerHoldsThroughAnOutageForAsLongAsItIsSigned(t *testing.T) {
	for _, strict := range []bool{false, true} {
		for _, kind := range []int{ocsp.Good, ocsp.Revoked} {
			for _, from := range []string{"OCSP", "CRL"} {
				t.Run(fmt.Sprint("strict: ", strict, " ", ocspName(kind), " ", from), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						root, end := newCA(t, nil, "root"), time.Now().Add(time.Hour)
						s := &source{}
						client := issue(t, root, withOCSP("http://127.0.0.1/"))
						s.send = func() ([]byte, error) {
							resp := status(kind, big.NewInt(4711))
							resp.NextUpdate = end
							return respond(t, root, root, resp), nil
						}
						if from == "CRL" {
							client = issue(t, root, withCRL("http://127.0.0.1/"))
							s.send = func() ([]byte, error) {
								var serials []*big.Int
								if kind == ocsp.Revoked {
									serials = append(serials, big.NewInt(4711))
								}
								return newList(t, root, func(l *x509.RevocationList) { l.NextUpdate = end }, serials...), nil
							}
						}
						checker := s.checker(t)
						if !strict {
							checker = s.checker(t, revocation.DangerouslyPassUnknown())
						}
						see := func() {
							t.Helper()
							defer synctest.Wait() // for what goes on behind
							if err := check(checker, client, root); kind == ocsp.Revoked {
								require.Equal(t, mtlspop.ErrRevoked, err)
							} else {
								require.NoError(t, err)
							}
						}
						see()
						s.send = down
						time.Sleep(time.Minute)
						for n := range 3 {
							for range 3 {
								see()
								require.Equal(t, 2+n, s.asked, "the failure is remembered")
							}
							time.Sleep(30 * time.Second)
						}
						time.Sleep(time.Until(end) - time.Second)
						see()
						time.Sleep(time.Second)
						err := check(checker, client, root)
						if strict {
							requireUnknown(t, err)
						} else {
							require.NoError(t, err)
						}
					})
				})
			}
		}
	}
}

func TestAnOlderAnswerNeverReplacesALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, serial := newCA(t, nil, "root"), big.NewInt(4711)
		answer := func(kind int, life time.Duration) []byte {
			resp := status(kind, serial)
			resp.ThisUpdate, resp.NextUpdate = time.Now(), time.Now().Add(life)
			return respond(t, root, root, resp)
		}
		before := answer(ocsp.Good, 24*time.Hour)
		time.Sleep(10 * time.Minute)
		now := answer(ocsp.Revoked, time.Hour)
		s := &source{send: func() ([]byte, error) { return now, nil }}
		client, checker := issue(t, root, withOCSP("http://127.0.0.1/")), s.checker(t)
		require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))

		s.send = func() ([]byte, error) { return before, nil }
		time.Sleep(time.Minute)
		require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		require.Equal(t, 2, s.asked)
		require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		require.Equal(t, 2, s.asked, "the CA was asked, so the answer that counts is remembered again")

		time.Sleep(time.Minute)
		after := answer(ocsp.Good, time.Hour) // taken off hold
		s.send = func() ([]byte, error) { return after, nil }
		require.NoError(t, check(checker, client, root))
	})
}

func TestThatTheResponderKnowsTheCertificateNoMoreIsNews(t *testing.T) {
	for _, kind := range []int{ocsp.Good, ocsp.Revoked} {
		t.Run(ocspName(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root := newCA(t, nil, "root")
				says := kind
				s := &source{send: func() ([]byte, error) { return respond(t, root, root, status(says, big.NewInt(4711))), nil }}
				client, checker := issue(t, root, withOCSP("http://127.0.0.1/")), s.checker(t)
				_ = check(checker, client, root)
				says = ocsp.Unknown
				time.Sleep(time.Minute)
				if err := check(checker, client, root); kind == ocsp.Revoked {
					require.Equal(t, mtlspop.ErrRevoked, err, "not good again by that")
				} else {
					requireUnknown(t, err)
				}
			})
		})
	}
}

func TestARememberedListDoesNotOutweighThatTheResponderKnowsTheCertificateNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, dead := newCA(t, nil, "root"), false
		checker := newChecker(t, through(transport(func(r *http.Request) ([]byte, error) {
			switch {
			case r.Method == http.MethodPost:
				return respond(t, root, root, status(ocsp.Unknown, big.NewInt(4711))), nil
			case dead:
				return down()
			}
			return newList(t, root, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(time.Hour) }), nil
		})))
		client := issue(t, root, func(c *x509.Certificate) { withOCSP("http://127.0.0.1/")(c); withCRL("http://127.0.0.1/")(c) })
		require.NoError(t, check(checker, client, root), "the list is asked next")
		dead = true
		time.Sleep(time.Minute)
		requireUnknown(t, check(checker, client, root))
	})
}

func TestAnotherSourceKnowsBetterThanWhatIsRemembered(t *testing.T) {
	week := 7 * 24 * time.Hour
	t.Run("the second distribution point, where the first is down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			root := newCA(t, nil, "root")
			list := func(number int64, serials ...*big.Int) []byte {
				return newList(t, root, func(l *x509.RevocationList) {
					l.Number, l.NextUpdate = big.NewInt(number), time.Now().Add(week)
				}, serials...)
			}
			now, dead := list(1), false
			checker := newChecker(t, through(transport(func(r *http.Request) ([]byte, error) {
				if dead && r.URL.Path == "/1" {
					return nil, errors.New("down")
				}
				return now, nil
			})))
			client := issue(t, root, withCRL("http://127.0.0.1/1", "http://127.0.0.1/2"))
			require.NoError(t, check(checker, client, root))
			dead, now = true, list(2, big.NewInt(4711))
			time.Sleep(time.Minute)
			require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		})
	})
	t.Run("a list that says revoked, signed before the responder last said good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			root := newCA(t, nil, "root")
			list := newList(t, root, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(week) }, big.NewInt(4711))
			time.Sleep(time.Minute)
			good := status(ocsp.Good, big.NewInt(4711))
			good.ThisUpdate, good.NextUpdate = time.Now(), time.Now().Add(week)
			answer := respond(t, root, root, good)
			dead := false
			checker := newChecker(t, through(transport(func(r *http.Request) ([]byte, error) {
				switch {
				case r.Method == http.MethodGet:
					return list, nil
				case dead:
					return nil, errors.New("down")
				}
				return answer, nil
			})))
			client := issue(t, root, func(c *x509.Certificate) { withOCSP("http://127.0.0.1/")(c); withCRL("http://127.0.0.1/")(c) })
			require.NoError(t, check(checker, client, root))
			dead = true
			time.Sleep(2 * time.Minute)
			require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
		})
	})
	t.Run("a certificate that was never asked about, by a list that is still current", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			root := newCA(t, nil, "root")
			s := &source{}
			s.send = func() ([]byte, error) {
				return newList(t, root, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(week) }), nil
			}
			checker := s.checker(t)
			require.NoError(t, check(checker, issue(t, root, withCRL("http://127.0.0.1/")), root))
			s.send = down
			time.Sleep(time.Minute)
			require.NoError(t, check(checker, issue(t, root, withCRL("http://127.0.0.1/")), root))
		})
	})
}
