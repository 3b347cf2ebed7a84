package revocation_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
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

// raw carries requests without a network and answers with whole responses.
type raw func(*http.Request) (*http.Response, error)

func (f raw) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply is a response with a body of known length.
func reply(code int, contentType string, body []byte) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {contentType}, "Location": {"http://127.0.0.1/elsewhere"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body))}
}

// silent waits until the client gives up.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// What a source can send besides a signed answer, and what each means. A source in an
// outage is not asked about other certificates for a while either; one that has nothing
// here is asked about the next.
func TestWhichAnswersAreNone(t *testing.T) {
	const (
		answered = iota
		nothingHere
		outage
	)
	root := newCA(t, nil, "root")
	goodOCSP, goodCRL := respond(t, root, root, status(ocsp.Good, big.NewInt(4711))), newList(t, root, nil)
	ocspError := func(status byte) []byte { return []byte{0x30, 3, 0x0a, 1, status} }
	const ocspType, crlType, html = "application/ocsp-response", "application/pkix-crl", "text/html; charset=utf-8"
	page := []byte("<!doctype html><title>Welcome to the Wi-Fi</title>")
	type row struct {
		name string
		send func() (*http.Response, error)
		want int
	}
	fixed := func(code int, contentType string, body []byte) func() (*http.Response, error) {
		return func() (*http.Response, error) { return reply(code, contentType, body), nil }
	}
	rows := map[string][]row{"OCSP": nil, "CRL": nil}
	for source, good := range map[string][]byte{"OCSP": goodOCSP, "CRL": goodCRL} {
		contentType := map[string]string{"OCSP": ocspType, "CRL": crlType}[source]
		add := func(name string, want int, send func() (*http.Response, error)) {
			rows[source] = append(rows[source], row{name, send, want})
		}
		add("200", answered, fixed(200, contentType, good))
		add("200 with another content type", answered, fixed(200, html, good))
		add("200 without a content type", answered, fixed(200, "", good))
		for _, code := range []int{100, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 408, 429, 500, 501, 502, 503, 504, 599} {
			add(fmt.Sprint(code, " with a good answer"), outage, fixed(code, contentType, good))
		}
		for _, code := range []int{400, 401, 403, 404, 405, 410, 415, 451} {
			want := nothingHere
			if source == "CRL" {
				want = outage // There is one list for all certificates.
			}
			add(fmt.Sprint(code, " with a good answer"), want, fixed(code, contentType, good))
		}
		add("an empty body", outage, fixed(200, contentType, nil))
		add("a web page", outage, fixed(200, html, page))
		add("a web page under the right content type", outage, fixed(200, contentType, page))
		add("an empty JSON object", outage, fixed(200, "application/json", []byte("{}")))
		add("a byte order mark in front", outage, fixed(200, contentType, append([]byte("\xef\xbb\xbf"), good...)))
		add("PEM", outage, fixed(200, contentType, []byte("-----BEGIN X509 CRL-----\n")))
		add("something behind the answer", outage, fixed(200, contentType, append(bytes.Clone(good), 0)))
		add("half of the answer", outage, fixed(200, contentType, good[:len(good)/2]))
		add("a connection that breaks", outage, func() (*http.Response, error) { return nil, errors.New("connection reset") })
		add("a body that breaks", outage, func() (*http.Response, error) {
			resp := reply(200, contentType, good)
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(good[:9]), &broken{}))
			return resp, nil
		})
		add("the answer of the other kind", outage, fixed(200, contentType, map[string][]byte{"OCSP": goodCRL, "CRL": goodOCSP}[source]))
	}
	rows["OCSP"] = append(rows["OCSP"],
		row{"malformedRequest", fixed(200, ocspType, ocspError(1)), nothingHere},
		row{"internalError", fixed(200, ocspType, ocspError(2)), outage},
		row{"tryLater", fixed(200, ocspType, ocspError(3)), outage},
		row{"sigRequired", fixed(200, ocspType, ocspError(5)), nothingHere},
		row{"unauthorized", fixed(200, ocspType, ocspError(6)), nothingHere},
		row{"a status that does not exist", fixed(200, ocspType, ocspError(77)), nothingHere},
		row{"a signed answer about another certificate", fixed(200, ocspType, respond(t, root, root, status(ocsp.Good, big.NewInt(5)))), nothingHere},
		row{"unknown, signed", fixed(200, ocspType, respond(t, root, root, status(ocsp.Unknown, big.NewInt(4711)))), nothingHere},
	)
	for source, list := range rows {
		for _, row := range list {
			t.Run(source+" "+row.name, func(t *testing.T) {
				asked := 0
				checker := newChecker(t, through(raw(func(*http.Request) (*http.Response, error) {
					asked++
					return row.send()
				})))
				name := withOCSP("http://127.0.0.1/")
				if source == "CRL" {
					name = withCRL("http://127.0.0.1/")
				}
				client := issue(t, root, name)
				other := issue(t, root, func(c *x509.Certificate) { name(c); c.SerialNumber = big.NewInt(4712) })
				err := check(checker, client, root)
				if row.want == answered {
					require.NoError(t, err)
					return
				}
				requireUnknown(t, err)
				require.Equal(t, 1, asked, "redirects are not followed, and nothing is repeated")
				requireUnknown(t, check(checker, client, root))
				require.Equal(t, 1, asked, "the failure is remembered for the certificate")
				requireUnknown(t, check(checker, other, root))
				require.Equal(t, row.want == nothingHere, asked == 2, "the failure counts for another certificate")
			})
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// G12: an answer that the CA has signed for hours is good while the CA is silent, and no
// request waits for the silence to end.
func TestNoRequestWaitsForASilentCAWhileAnAnswerIsHeld(t *testing.T) {
	for _, from := range []string{"OCSP", "CRL"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, end := newCA(t, nil, "root"), time.Now().Add(10*time.Hour)
				var quiet atomic.Bool
				var asked atomic.Int64
				kind := ocsp.Good
				checker := newChecker(t, through(raw(func(r *http.Request) (*http.Response, error) {
					asked.Add(1)
					if quiet.Load() {
						return silent(r)
					}
					if from == "CRL" {
						var serials []*big.Int
						if kind == ocsp.Revoked {
							serials = append(serials, big.NewInt(4711))
						}
						return reply(200, "", newList(t, root, func(l *x509.RevocationList) { l.NextUpdate = end }, serials...)), nil
					}
					resp := status(kind, big.NewInt(4711))
					resp.NextUpdate = end
					return reply(200, "", respond(t, root, root, resp)), nil
				})))
				name := withOCSP("http://127.0.0.1/")
				if from == "CRL" {
					name = withCRL("http://127.0.0.1/")
				}
				client := issue(t, root, name)
				took := func() time.Duration {
					begin := time.Now()
					require.NoError(t, check(checker, client, root))
					return time.Since(begin)
				}
				require.Zero(t, took())
				quiet.Store(true)
				time.Sleep(5 * time.Hour)
				require.LessOrEqual(t, took(), 50*time.Millisecond)
				for range 600 { // a request every tenth of a second
					require.Zero(t, took())
					time.Sleep(100 * time.Millisecond)
				}
				require.Less(t, asked.Load(), int64(7))
				time.Sleep(30 * time.Second)

				var waiting sync.WaitGroup
				for range 50 { // many at once
					waiting.Go(func() {
						if d := took(); d > 50*time.Millisecond {
							t.Error(d)
						}
					})
				}
				waiting.Wait()

				kind = ocsp.Revoked
				quiet.Store(false)
				time.Sleep(time.Minute)
				_ = check(checker, client, root) // Does not wait, since the CA was silent the last time.
				synctest.Wait()
				require.Equal(t, mtlspop.ErrRevoked, check(checker, client, root))
			})
		})
	}
}

// G12: with nothing held, the first request waits, and the next ones do not.
func TestASilentCAIsWaitedForOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		checker := newChecker(t, revocation.DangerouslyPassUnknown(), through(raw(silent)))
		six := issue(t, root, func(c *x509.Certificate) {
			for i := range 3 {
				c.OCSPServer = append(c.OCSPServer, fmt.Sprint("http://127.0.0.1/o", i))
				c.CRLDistributionPoints = append(c.CRLDistributionPoints, fmt.Sprint("http://127.0.0.1/c", i))
			}
		})
		begin := time.Now()
		require.NoError(t, check(checker, six, root))
		require.Equal(t, 30*time.Second, time.Since(begin))
		begin = time.Now()
		for range 10 {
			require.NoError(t, check(checker, six, root))
		}
		require.Zero(t, time.Since(begin))
		// Another certificate with the same responders: those that were asked last are
		// still left alone.
		other := issue(t, root, func(c *x509.Certificate) {
			c.SerialNumber = big.NewInt(4712)
			c.CRLDistributionPoints = []string{"http://127.0.0.1/c2"}
		})
		require.NoError(t, check(checker, other, root))
		require.Zero(t, time.Since(begin))
	})
}

// G12: a list that is too large costs one download and one report, and says which limit.
func TestAListThatIsTooLargeIsOneFailure(t *testing.T) {
	root := newCA(t, nil, "root")
	serials := make([]*big.Int, 100)
	for i := range serials {
		serials[i] = big.NewInt(int64(i))
	}
	der := newList(t, root, nil, serials...)
	limit := int64(len(der)) - 1
	for name, announced := range map[string]bool{"with its length": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				downloads, read := 0, 0
				carry := through(raw(func(*http.Request) (*http.Response, error) {
					downloads++
					resp := reply(200, "", der)
					resp.Body = io.NopCloser(&counting{bytes.NewReader(der), &read})
					if !announced {
						resp.ContentLength = -1
					}
					return resp, nil
				}))
				var heard []error
				observe := revocation.WithObserver(func(_ context.Context, _ *x509.Certificate, err error) { heard = append(heard, err) })
				checker := newChecker(t, carry, revocation.DangerouslyPassUnknown(), revocation.WithMaxListSize(limit), observe)
				client := issue(t, root, withCRL("http://127.0.0.1/"))
				for range 20 {
					require.NoError(t, check(checker, client, root))
				}
				require.Equal(t, 1, downloads)
				require.Equal(t, announced, read == 0, "a length that is announced is enough")
				for range 100 { // five minutes
					time.Sleep(3 * time.Second)
					require.NoError(t, check(checker, client, root))
				}
				require.LessOrEqual(t, downloads, 11)
				require.Len(t, heard, 1)
				require.ErrorContains(t, heard[0], fmt.Sprintf("more than %d bytes, the limit of WithMaxListSize", limit))

				err := check(newChecker(t, carry, revocation.WithMaxListSize(limit)), client, root)
				requireUnknown(t, err)
				require.ErrorContains(t, err, "WithMaxListSize")
			})
		})
	}
}

type counting struct {
	io.Reader
	n *int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += n
	return n, err
}

// R14: a transport that ignores its context is bounded by our clock, and by number.
func TestATransportThatNeverEndsTakesNothingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newCA(t, nil, "root")
		free := make(chan struct{})
		var begun atomic.Int64
		checker := newChecker(t, through(raw(func(*http.Request) (*http.Response, error) {
			begun.Add(1)
			<-free
			return nil, errors.New("at last")
		})))
		begin := time.Now()
		requireUnknown(t, check(checker, issue(t, root, withOCSP("http://127.0.0.1/")), root))
		require.Less(t, time.Since(begin), 6*time.Second)
		for i := range 200 {
			err := check(checker, issue(t, root, withOCSP(fmt.Sprint("http://127.0.0.1/", i))), root)
			requireUnknown(t, err)
		}
		require.LessOrEqual(t, begun.Load(), int64(64))
		close(free)
		synctest.Wait()
		requireUnknown(t, check(checker, issue(t, root, withOCSP("http://127.0.0.1/again")), root))
	})
}

// G9: a proxy for one scheme leaves the filter on the direct paths of the other.
func TestAProxyDoesNotOpenDirectPathsToLocalAddresses(t *testing.T) {
	root := newCA(t, nil, "root")
	local := newSite(t, responder(t, root, func(*big.Int) int { return ocsp.Good }))
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		require.Equal(t, "pki.example", r.URL.Host)
		responder(t, root, func(*big.Int) int { return ocsp.Good })(w, r)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	to := func(scheme string) revocation.Option {
		return revocation.WithProxy(func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == scheme {
				return address, nil
			}
			return nil, nil
		})
	}
	for name, opts := range map[string][]revocation.Option{"no proxy": nil, "a proxy for https alone": {to("https")}} {
		t.Run(name, func(t *testing.T) {
			checker, err := revocation.New(opts...)
			require.NoError(t, err)
			for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"} {
				client := issue(t, root, withOCSP("http://"+host+local.URL[strings.LastIndex(local.URL, ":"):]))
				err = check(checker, client, root)
				requireUnknown(t, err)
				require.ErrorContains(t, err, "local address")
			}
			require.Zero(t, local.asked.Load())
			require.Zero(t, proxied.Load())
		})
	}
	t.Run("the proxy itself may be local", func(t *testing.T) {
		checker, err := revocation.New(to("http"))
		require.NoError(t, err)
		require.NoError(t, check(checker, issue(t, root, withOCSP("http://pki.example/")), root))
		require.EqualValues(t, 1, proxied.Load())
	})
	t.Run("a function that fails says nothing of its proxy", func(t *testing.T) {
		checker, err := revocation.New(revocation.WithProxy(func(*http.Request) (*url.URL, error) {
			return nil, errors.New("http://user:S3CR3T@proxy.internal: no")
		}))
		require.NoError(t, err)
		err = check(checker, issue(t, root, withOCSP("http://pki.example/")), root)
		requireUnknown(t, err)
		require.NotContains(t, err.Error(), "S3CR3T")
	})
}

// R10: what a transport panics with stays where it is.
func TestAPanicOfTheTransportTellsNothing(t *testing.T) {
	root := newCA(t, nil, "root")
	checker := newChecker(t, through(raw(func(*http.Request) (*http.Response, error) { panic("proxy password S3CR3T") })))
	err := check(checker, issue(t, root, withOCSP("http://127.0.0.1/")), root)
	requireUnknown(t, err)
	require.ErrorContains(t, err, "panic: a value of type string")
	require.NotContains(t, err.Error(), "S3CR3T")
}

// P1: what GODEBUG=fips140=only forbids is refused at the start, by name, and the rest
// works.
func TestFIPSOnly(t *testing.T) {
	const variable = "REVOCATION_FIPS_ONLY"
	if os.Getenv(variable) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSOnly$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestFIPSOnly")
		return
	}
	_, err := revocation.New()
	require.ErrorContains(t, err, "SHA-1")
	require.ErrorContains(t, err, "fips140=only")
	require.ErrorContains(t, err, "AskListsOnly")

	root := newCA(t, nil, "root")
	for serial, want := range map[int64]error{4711: nil, 4712: mtlspop.ErrRevoked} {
		checker := newChecker(t, revocation.AskListsOnly(), through(transport(func(r *http.Request) ([]byte, error) {
			require.Equal(t, http.MethodGet, r.Method)
			return newList(t, root, nil, big.NewInt(4712)), nil
		})))
		client := issue(t, root, func(c *x509.Certificate) {
			c.SerialNumber = big.NewInt(serial)
			withOCSP("http://127.0.0.1/")(c)
			withCRL("http://127.0.0.1/")(c)
		})
		require.Equal(t, want, check(checker, client, root))
	}
}
