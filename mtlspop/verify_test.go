package mtlspop_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

func newVerifier(t testing.TB, opts ...mtlspop.Option) *mtlspop.Verifier {
	t.Helper()
	v, err := mtlspop.New(opts...)
	require.NoError(t, err)
	return v
}

// requestOver returns a request as a TLS server sees it that c's client is
// connected to.
func requestOver(c *mtlspoptest.Client) *http.Request {
	r := httptest.NewRequest("GET", "https://api.example/", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	if c != nil {
		r.TLS.PeerCertificates = append([]*x509.Certificate{c.Certificate}, c.Chain...)
	}
	return r
}

// refused asserts that err is kind, and with it no certificate comes.
func refused(t testing.TB, kind mtlspop.BindingError, e mtlspop.Evidence, err error) {
	t.Helper()
	require.Zero(t, e)
	require.Equal(t, error(kind), err)
}

func TestVerifyOverTLS(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, mallory := ca.Issue("alice"), ca.Issue("mallory")
	v := newVerifier(t)

	t.Run("MTLS-3-01 the certificate that the token is bound to", func(t *testing.T) {
		e, err := v.Verify(requestOver(alice), alice.Thumbprint())
		require.NoError(t, err)
		require.Same(t, alice.Certificate, e.Certificate)
		require.Equal(t, mtlspop.Evidence{Thumbprint: alice.Thumbprint(), Certificate: alice.Certificate, DER: alice.Certificate.Raw}, e)
	})
	t.Run("MTLS-3-02 another certificate", func(t *testing.T) {
		cert, err := v.Verify(requestOver(mallory), alice.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)
		require.Equal(t, "invalid_token", mtlspop.ErrMismatch.Code())
	})
	t.Run("MTLS-3-03 no certificate, or no TLS at all", func(t *testing.T) {
		cert, err := v.Verify(requestOver(nil), alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
		cert, err = v.Verify(httptest.NewRequest("GET", "/", nil), alice.Thumbprint())
		refused(t, mtlspop.ErrNoCertificate, cert, err)
		require.Equal(t, "invalid_token", mtlspop.ErrNoCertificate.Code())
	})
	t.Run("MTLS-6.3-01 a certificate renewed with the same key", func(t *testing.T) {
		renewed := ca.Reissue(alice)
		require.Equal(t, alice.Key.Public(), renewed.Key.Public())
		cert, err := v.Verify(requestOver(renewed), alice.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)
	})
	t.Run("only the leaf counts, not what is sent beside it", func(t *testing.T) {
		r := requestOver(mallory)
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, alice.Certificate)
		cert, err := v.Verify(r, alice.Thumbprint())
		refused(t, mtlspop.ErrMismatch, cert, err)
	})
	t.Run("the zero Verifier, and a nil one, refuse every request as the service's own error", func(t *testing.T) {
		for _, v := range []*mtlspop.Verifier{nil, new(mtlspop.Verifier)} {
			for _, x5t := range []string{alice.Thumbprint(), mallory.Thumbprint(), ""} {
				e, err := v.Verify(requestOver(alice), x5t)
				require.ErrorContains(t, err, "zero Verifier")
				require.False(t, errors.As(err, new(mtlspop.BindingError)))
				require.Zero(t, e)
			}
			require.Nil(t, v.ForwardedHeaders())
			require.False(t, v.AcceptsMTLSPoP())
			require.False(t, v.TrustsPeer(requestOver(alice)))
			require.Nil(t, v.TrustedHeaders(mtlspop.RequestOf(requestOver(alice))))
		}
	})
	t.Run("a request in neutral form is judged alike", func(t *testing.T) {
		r := requestOver(alice)
		for _, x5t := range []string{alice.Thumbprint(), mallory.Thumbprint(), "", "junk"} {
			want, wantErr := v.Verify(r, x5t)
			got, err := v.VerifyRequest(r.Context(), mtlspop.Request{TLS: r.TLS}, x5t)
			require.Equal(t, want, got)
			require.Equal(t, wantErr, err)
		}
	})
}

func TestVerifyReadsThumbprintsStrictly(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	v, r, x5t := newVerifier(t), requestOver(alice), alice.Thumbprint()
	sha := sha256.Sum256(alice.Certificate.Raw)
	old := sha[:20] // as long as SHA-1, which GODEBUG=fips140=only forbids

	for name, broken := range map[string]string{
		"MTLS-3.1-01 padded":            x5t + "=",
		"MTLS-3.1-01 line feed behind":  x5t + "\n",
		"MTLS-3.1-01 line feed within":  x5t[:20] + "\n" + x5t[20:],
		"MTLS-3.1-01 line feed instead": x5t[:20] + "\n" + x5t[21:],
		"MTLS-3.1-01 space in front":    " " + x5t,
		"MTLS-3.1-01 hex":               hex.EncodeToString(sha[:]),
		"MTLS-3.1-01 SHA-1":             base64.RawURLEncoding.EncodeToString(old[:]),
		"too short":                     x5t[:42],
		"wrong alphabet":                "+/" + x5t[2:],
		"the digest of nothing":         "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
	} {
		t.Run(name, func(t *testing.T) {
			cert, err := v.Verify(r, broken)
			refused(t, mtlspop.ErrThumbprint, cert, err)
			require.Equal(t, "invalid_token", mtlspop.ErrThumbprint.Code())
		})
	}
	t.Run("MTLS-3.1-02 bits behind the last byte do not matter", func(t *testing.T) {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, x5t[42])
		for bits := 1; bits < 4; bits++ {
			_, err := v.Verify(r, x5t[:42]+string(alphabet[last|bits]))
			require.NoError(t, err)
		}
		// Figure 1 of section 3.1 has such bits, for a certificate not printed.
		cert, err := v.Verify(r, "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2")
		refused(t, mtlspop.ErrMismatch, cert, err)
	})
	t.Run("without a thumbprint it is the caller's error, and never a success", func(t *testing.T) {
		for _, r := range []*http.Request{r, requestOver(nil)} {
			cert, err := v.Verify(r, "")
			require.Error(t, err)
			require.Zero(t, cert)
			require.False(t, errors.As(err, new(mtlspop.BindingError)))
		}
	})
	t.Run("every bit counts", func(t *testing.T) {
		for bit := range 256 {
			flipped := sha
			flipped[bit/8] ^= 1 << (bit % 8)
			cert, err := v.Verify(r, base64.RawURLEncoding.EncodeToString(flipped[:]))
			refused(t, mtlspop.ErrMismatch, cert, err)
		}
	})
}

func TestTrustIsAnOption(t *testing.T) {
	ca, stranger := mtlspoptest.NewCA(t, "Root"), mtlspoptest.NewCA(t, "Stranger")
	for name, c := range map[string]*mtlspoptest.Client{
		"MTLS-6.2-01 self-signed":       mtlspoptest.SelfSigned(t, "alice"),
		"MTLS-6.2-01 unknown authority": stranger.Issue("alice"),
		"MTLS-6.2-02 expired":           ca.Expired("alice"),
		"MTLS-6.2-02 not yet valid":     ca.NotYetValid("alice"),
	} {
		t.Run(name+" is accepted by default", func(t *testing.T) {
			_, err := newVerifier(t).Verify(requestOver(c), c.Thumbprint())
			require.NoError(t, err)
		})
		t.Run(name+" is refused by WithRoots", func(t *testing.T) {
			v := newVerifier(t, mtlspop.WithRoots(ca.Pool()))
			cert, err := v.Verify(requestOver(c), c.Thumbprint())
			require.Zero(t, cert)
			require.Contains(t, []error{mtlspop.ErrUntrusted, mtlspop.ErrExpired}, err)
		})
	}
	t.Run("MTLS-6.2-02 AMB-16 RequireValidity refuses what is out of date, and only that", func(t *testing.T) {
		v := newVerifier(t, mtlspop.RequireValidity())
		for _, c := range []*mtlspoptest.Client{ca.Expired("alice"), ca.NotYetValid("alice")} {
			cert, err := v.Verify(requestOver(c), c.Thumbprint())
			refused(t, mtlspop.ErrExpired, cert, err)
		}
		alice := stranger.Issue("alice")
		_, err := v.Verify(requestOver(alice), alice.Thumbprint())
		require.NoError(t, err)
	})
}

// rfcVector is a certificate printed in an RFC.
type rfcVector struct {
	ID    string
	Input struct {
		PEM        string `json:"certificate_pem"`
		ClientCert string `json:"client_cert"`
		Header     string `json:"client_cert_header"`
		Chain      string `json:"client_cert_chain"`
	}
	Expect struct {
		X5T string `json:"x5t#S256"`
	}
}

func rfcVectors(t testing.TB) map[string]rfcVector {
	t.Helper()
	text, err := os.ReadFile("testdata/rfc.json")
	require.NoError(t, err)
	var file struct{ Vectors []rfcVector }
	require.NoError(t, json.Unmarshal(text, &file))
	byID := make(map[string]rfcVector)
	for _, v := range file.Vectors {
		byID[v.ID] = v
	}
	return byID
}

func TestCertificateOfRFC8705(t *testing.T) {
	vector := rfcVectors(t)["rfc8705-appendix-a"]
	block, _ := pem.Decode([]byte(vector.Input.PEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	t.Run("MTLS-7.5-01 crypto/x509 reads the certificate of appendix A", func(t *testing.T) {
		require.Equal(t, 1, cert.Version)
		require.Equal(t, vector.Expect.X5T, mtlspop.Thumbprint(cert))
	})
	t.Run("MTLS-6.2-02 which is expired, and accepted", func(t *testing.T) {
		require.True(t, time.Now().After(cert.NotAfter))
		r := requestOver(&mtlspoptest.Client{Certificate: cert})
		_, err := newVerifier(t).Verify(r, vector.Expect.X5T)
		require.NoError(t, err)
	})
}

func TestThumbprintNeedsACertificate(t *testing.T) {
	require.Panics(t, func() { mtlspop.Thumbprint(nil) })
	require.Panics(t, func() { mtlspop.Thumbprint(new(x509.Certificate)) })
	alice := mtlspoptest.SelfSigned(t, "alice")
	require.Equal(t, alice.Thumbprint(), mtlspop.Thumbprint(alice.Certificate))
}

// answer serves what Verify says about the thumbprint in a field of the
// request: 204, or the code of the error.
func answer(v *mtlspop.Verifier) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.TLS.DidResume {
			w.Header().Set("Resumed", "yes")
		}
		_, err := v.Verify(r, r.Header.Get("Want"))
		kind, ok := err.(mtlspop.BindingError)
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case !ok:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case kind.Code() == "invalid_request":
			http.Error(w, err.Error(), http.StatusBadRequest)
		default:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	}
}

// ask sends a request to a server with the handler answer.
func ask(t testing.TB, client *http.Client, url, want string) (status int, resumed bool) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	r.Header.Set("Want", want)
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header.Get("Resumed") != ""
}

func TestRealTLSServers(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	clients := map[string]struct {
		client  *mtlspoptest.Client
		resumes bool // crypto/tls resumes no session with an expired certificate
	}{
		"issued":        {ca.Intermediate("Intermediate").Issue("alice"), true},
		"self-signed":   {mtlspoptest.SelfSigned(t, "alice"), true},
		"expired":       {ca.Expired("alice"), false},
		"not yet valid": {ca.NotYetValid("alice"), true},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, mode := range []tls.ClientAuthType{tls.NoClientCert, tls.RequestClientCert, tls.RequireAnyClientCert} {
			server := mtlspoptest.NewServer(t, answer(newVerifier(t)), func(c *tls.Config) *tls.Config {
				c.MinVersion, c.MaxVersion, c.ClientAuth = version, version, mode
				return mtlspop.RequestClientCert(c)
			})
			for name, c := range clients {
				t.Run("MTLS-X-04 "+tls.VersionName(version)+" "+mode.String()+" "+name, func(t *testing.T) {
					client := server.Client(c.client)
					transport := client.Transport.(*http.Transport)
					status, resumed := ask(t, client, server.URL, c.client.Thumbprint())
					require.Equal(t, 204, status)
					require.False(t, resumed)

					transport.CloseIdleConnections()
					status, resumed = ask(t, client, server.URL, c.client.Thumbprint())
					require.Equal(t, 204, status)
					require.Equal(t, c.resumes, resumed)

					transport.CloseIdleConnections()
					other := mtlspoptest.SelfSigned(t, "other")
					status, _ = ask(t, client, server.URL, other.Thumbprint())
					require.Equal(t, 401, status)
				})
			}
		}
	}
}

func TestRequestClientCert(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice := mtlspoptest.SelfSigned(t, "alice")

	serve := func(t *testing.T, edit ...func(*tls.Config) *tls.Config) *mtlspoptest.Server {
		return mtlspoptest.NewServer(t, answer(newVerifier(t)), edit...)
	}
	t.Run("MTLS-5-01 a server that names its authorities shuts self-signed clients out", func(t *testing.T) {
		naming := func(c *tls.Config) *tls.Config {
			c.ClientCAs = ca.Pool()
			return c
		}
		named := serve(t, naming)
		status, _ := ask(t, named.Client(alice), named.URL, alice.Thumbprint())
		require.Equal(t, 401, status)

		unnamed := serve(t, naming, mtlspop.RequestClientCert)
		status, _ = ask(t, unnamed.Client(alice), unnamed.URL, alice.Thumbprint())
		require.Equal(t, 204, status)
	})
	t.Run("MTLS-5-01 RequireAnyClientCert is kept, and serves the same clients", func(t *testing.T) {
		server := serve(t, func(c *tls.Config) *tls.Config {
			c.ClientAuth = tls.RequireAnyClientCert
			return c
		}, mtlspop.RequestClientCert)
		status, _ := ask(t, server.Client(alice), server.URL, alice.Thumbprint())
		require.Equal(t, 204, status)
		_, err := server.Client(nil).Get(server.URL)
		require.Error(t, err)
	})
	t.Run("nothing becomes weaker", func(t *testing.T) {
		for _, mode := range []tls.ClientAuthType{tls.RequireAnyClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert} {
			c := mtlspop.RequestClientCert(&tls.Config{ClientAuth: mode, ClientCAs: ca.Pool()})
			require.Equal(t, mode, c.ClientAuth)
			require.Equal(t, mode >= tls.VerifyClientCertIfGiven, c.ClientCAs != nil)
		}
	})
	t.Run("the argument is not touched, and may be nil", func(t *testing.T) {
		before := &tls.Config{ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS13}
		after := mtlspop.RequestClientCert(before)
		require.Equal(t, tls.NoClientCert, before.ClientAuth)
		require.NotNil(t, before.ClientCAs)
		require.Equal(t, uint16(tls.VersionTLS13), after.MinVersion)
		require.Equal(t, tls.RequestClientCert, mtlspop.RequestClientCert(nil).ClientAuth)
	})
}

func TestConcurrentUse(t *testing.T) {
	ca := mtlspoptest.NewCA(t, "Root")
	alice, bob := ca.Intermediate("Intermediate").Issue("alice"), ca.Issue("bob")
	v := newVerifier(t, mtlspop.WithRootsFunc(ca.Pool), // a new pool each time: nothing is remembered for long
		mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DERChain, trusted))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, c := range []*mtlspoptest.Client{alice, bob} {
					_, err := v.Verify(requestOver(c), c.Thumbprint())
					assert.NoError(t, err)
					_, err = v.Verify(forwardedFrom(trustedPeer, "X-Client-Cert", mtlspoptest.Traefik(c)), c.Thumbprint())
					assert.NoError(t, err)
				}
				_, err := v.Verify(requestOver(alice), bob.Thumbprint())
				assert.Equal(t, mtlspop.ErrMismatch, err)
			}
		})
	}
	wg.Wait()
}
