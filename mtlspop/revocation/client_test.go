package revocation_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
)

func TestLocalAddressesAreRefused(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, responder(t, root, func(*big.Int) int { return ocsp.Good }))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	checker, err := revocation.New()
	require.NoError(t, err)
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "169.254.169.254", "[fe80::1]", "224.0.0.1",
	} {
		t.Run(host, func(t *testing.T) {
			err := check(checker, issue(t, root, withOCSP("http://"+host+":"+port)), root)
			requireUnknown(t, err)
			require.ErrorContains(t, err, "local address")
		})
	}
	require.Zero(t, server.asked.Load())

	named, err := revocation.New(revocation.WithHosts("LocalHost", "::1"))
	require.NoError(t, err)
	require.NoError(t, check(named, issue(t, root, withOCSP("http://LOCALHOST:"+port)), root))
}

func TestAnswersThatAreTooLarge(t *testing.T) {
	root := newCA(t, nil, "root")
	serials := make([]*big.Int, 100)
	for i := range serials {
		serials[i] = big.NewInt(int64(i))
	}
	der := newList(t, root, nil, serials...)
	server := newSite(t, body(der))
	client := issue(t, root, withCRL(server.URL))
	require.NoError(t, check(newChecker(t, revocation.WithMaxListSize(int64(len(der)))), client, root))
	err := check(newChecker(t, revocation.WithMaxListSize(int64(len(der))-1)), client, root)
	requireUnknown(t, err)
	require.ErrorContains(t, err, "more than")
}

func TestAnAnswerWithoutEndIsCutOff(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		for chunk := bytes.Repeat([]byte{0x30}, 32<<10); r.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	client := issue(t, root, withOCSP(server.URL))
	require.ErrorContains(t, check(newChecker(t), client, root), "more than")
}

func TestAServerThatDripsIsCutOff(t *testing.T) {
	root := newCA(t, nil, "root")
	server := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write([]byte{0x30})
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	client := issue(t, root, withOCSP(server.URL))
	start := time.Now()
	requireUnknown(t, check(newChecker(t, revocation.WithTimeout(200*time.Millisecond)), client, root))
	require.Less(t, time.Since(start), 3*time.Second)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	root := newCA(t, nil, "root")
	target := newSite(t, body(newList(t, root, nil)))
	for _, code := range []int{301, 302, 303, 307, 308} {
		server := newSite(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, code) })
		requireUnknown(t, check(newChecker(t), issue(t, root, withCRL(server.URL)), root))
		requireUnknown(t, check(newChecker(t), issue(t, root, withOCSP(server.URL)), root))
	}
	require.Zero(t, target.asked.Load())
}

func TestOnlyStatus200Counts(t *testing.T) {
	root := newCA(t, nil, "root")
	good := respond(t, root, root, status(ocsp.Good, big.NewInt(4711)))
	for _, code := range []int{201, 203, 206, 404, 500} {
		server := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); w.Write(good) })
		requireUnknown(t, check(newChecker(t), issue(t, root, withOCSP(server.URL)), root))
	}
}

func TestTheTLSCertificateOfTheServerIsVerified(t *testing.T) {
	root := newCA(t, nil, "root")
	server := httptest.NewUnstartedServer(responder(t, root, func(*big.Int) int { return ocsp.Good }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client := issue(t, root, withOCSP(server.URL))
	err := check(newChecker(t), client, root)
	requireUnknown(t, err)
	require.ErrorContains(t, err, "certificate")

	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	require.NoError(t, check(newChecker(t, revocation.WithRootCAs(pool)), client, root))
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	_, err := revocation.New(
		nil,
		revocation.WithAnswerLifetime(0),
		revocation.WithCacheSize(0),
		revocation.WithTimeout(2*time.Minute),
		revocation.WithMaxListSize(-1),
		revocation.WithRootCAs(nil),
		revocation.WithHTTPClient(nil),
		revocation.WithProxy(nil),
		revocation.WithHosts("a:80", "", "http://b"),
		revocation.WithObserver(nil),
	)
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 15)
	for _, line := range lines {
		require.True(t, strings.HasPrefix(line, "revocation: "), line)
	}
	for _, opts := range [][]revocation.Option{
		{revocation.WithObserver(func(context.Context, *x509.Certificate, error) {})},
		{revocation.WithHTTPClient(http.DefaultClient), revocation.WithProxy(http.ProxyFromEnvironment)},
		{revocation.DangerouslyPassUnknown(), revocation.DangerouslyPassUnknown()},
		{revocation.WithHosts()},
		{revocation.WithAnswerLifetime(25 * time.Hour)},
		{revocation.WithTimeout(0)},
		{revocation.WithMaxListSize(2 << 30)},
		{revocation.WithTimeout(time.Second), revocation.WithTimeout(time.Second)},
		{revocation.WithHTTPClient(http.DefaultClient), revocation.WithRootCAs(x509.NewCertPool())},
	} {
		_, err := revocation.New(opts...)
		require.Error(t, err)
	}
	_, err = revocation.New()
	require.NoError(t, err)
}

// A certificate cannot be mutated into one that is good, whatever the responder or the
// distribution point sends: the only signed answer that there is says revoked.
func FuzzNoAnswerMakesARevokedCertificateGood(f *testing.F) {
	root, other := newCA(f, nil, "root"), newCA(f, nil, "other")
	serial := big.NewInt(4711)
	delegate := issue(f, root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} })
	byDelegate := status(ocsp.Revoked, serial)
	byDelegate.Certificate = delegate.cert
	embedded := status(ocsp.Good, serial)
	embedded.Certificate = other.cert
	for _, der := range [][]byte{
		nil,
		ocsp.InternalErrorErrorResponse,
		respond(f, root, root, status(ocsp.Revoked, serial)),
		respond(f, root, root, status(ocsp.Unknown, serial)),
		respond(f, root, delegate, byDelegate),
		respond(f, root, root, status(ocsp.Good, big.NewInt(4712))),
		respond(f, root, other, status(ocsp.Good, serial)),
		respond(f, root, other, embedded),
		newList(f, root, nil, serial),
		newList(f, root, scoped(point("http://127.0.0.1/crl"), flag(1)), serial),
		newList(f, root, scoped(point("http://127.0.0.1/other"))),
		newList(f, root, scoped(flag(4))),
		newList(f, other, nil),
	} {
		f.Add(der)
	}
	client := issue(f, root, func(c *x509.Certificate) {
		c.OCSPServer, c.CRLDistributionPoints = []string{"http://127.0.0.1/ocsp"}, []string{"http://127.0.0.1/crl"}
	})
	chain := []*x509.Certificate{client.cert, root.cert}
	f.Fuzz(func(t *testing.T, sent []byte) {
		checker, err := revocation.New(through(transport(
			func(*http.Request) ([]byte, error) { return sent, nil })))
		require.NoError(t, err)
		err = checker.Check(context.Background(), chain)
		if err == nil || err != mtlspop.ErrRevoked && strings.Contains(err.Error(), "panic") {
			t.Fatalf("%x: %v", sent, err)
		}
	})
}

func TestNoByteOfAGoodAnswerCanChange(t *testing.T) {
	root := newCA(t, nil, "root")
	good := respond(t, root, root, status(ocsp.Good, big.NewInt(4711)))
	resp, err := ocsp.ParseResponse(good, nil)
	require.NoError(t, err)
	// What comes before the signed data is an envelope; its lengths are redundant, and
	// the parser reads past one of them.
	signed := bytes.Index(good, resp.TBSResponseData)
	for source, der := range map[string][]byte{"OCSP": good, "CRL": newList(t, root, nil)} {
		t.Run(source, func(t *testing.T) {
			client := issue(t, root, withOCSP("http://127.0.0.1/"))
			if source == "CRL" {
				client = issue(t, root, withCRL("http://127.0.0.1/"))
			}
			sent := bytes.Clone(der)
			carry := through(transport(func(*http.Request) ([]byte, error) { return sent, nil }))
			require.NoError(t, check(newChecker(t, carry), client, root))
			first := map[string]int{"OCSP": signed}[source]
			for i := first; i < len(der); i++ {
				sent = bytes.Clone(der)
				sent[i] ^= 1 << (i % 8)
				if check(newChecker(t, carry), client, root) == nil {
					t.Errorf("byte %d of %d can change", i, len(der))
				}
			}
		})
	}
}
