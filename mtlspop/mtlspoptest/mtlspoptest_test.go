package mtlspoptest_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// TestEncodersWriteWhatTerminatorsWrite holds every function that plays a
// terminator against what this terminator was seen to send for the same
// certificate.
func TestEncodersWriteWhatTerminatorsWrite(t *testing.T) {
	text, err := os.ReadFile("../testdata/forwarded-certificates.json")
	require.NoError(t, err)
	var file struct {
		Samples []struct {
			Terminator, Format string
			ConfigLine         string `json:"config_line"`
			Value              *string
			GoValue            *string `json:"go_value"`
			DER                *string `json:"cert_der_base64"`
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))

	encoders := map[string]func(*mtlspoptest.Client) string{
		"nginx pem-urlencoded":                            mtlspoptest.Nginx,
		"nginx pem-folded":                                mtlspoptest.NginxFolded,
		"apache pem-spaces":                               mtlspoptest.Apache,
		"apache pem-urlencoded-lowerhex-plus-kept":        mtlspoptest.ApacheEscaped,
		"apache pem-base64":                               mtlspoptest.ApacheBase64,
		"haproxy der-base64":                              mtlspoptest.HAProxy,
		"haproxy rfc9440":                                 mtlspoptest.RFC9440,
		"caddy rfc9440":                                   mtlspoptest.RFC9440,
		"caddy der-base64":                                mtlspoptest.HAProxy,
		"caddy sha256-hex":                                mtlspoptest.CaddyFingerprint,
		"aws-alb pem-urlencoded-safe+=/":                  mtlspoptest.ALB,
		"aws-alb pem-urlencoded-safe+=/-chain-leaf-first": mtlspoptest.ALBPassthrough,
		"traefik der-base64-chain-comma":                  mtlspoptest.Traefik,
	}
	intermediate := chainOfSamples(t)
	seen := make(map[string]bool)
	for _, s := range file.Samples {
		encode, ok := encoders[s.Terminator+" "+s.Format]
		if !ok || s.Value == nil {
			continue
		}
		seen[s.Terminator+" "+s.Format] = true
		want := s.Value
		if s.GoValue != nil {
			want = s.GoValue // what net/http makes of folded lines and spaces
		}
		var c *mtlspoptest.Client
		if s.DER != nil {
			c = &mtlspoptest.Client{Certificate: parse(t, *s.DER), Chain: []*x509.Certificate{intermediate}}
		}
		require.Equal(t, *want, encode(c), s.ConfigLine)
	}
	require.Len(t, seen, len(encoders))
}

// chainOfSamples returns the intermediate of the samples, from Traefik's list.
func chainOfSamples(t *testing.T) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile("../testdata/forwarded-certificates.json")
	require.NoError(t, err)
	var file struct {
		Samples []struct {
			Format string
			Value  *string
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	for _, s := range file.Samples {
		if s.Format == "der-base64-chain-comma" {
			return parse(t, strings.Split(*s.Value, ",")[1])
		}
	}
	t.Fatal("no chain among the samples")
	return nil
}

func parse(t *testing.T, b64 string) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(b64)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func TestCertificatesAreWhatTheyAreCalled(t *testing.T) {
	root := mtlspoptest.NewCA(t, "Root")
	lower := root.Intermediate("Upper").Intermediate("Lower")
	verify := func(c *mtlspoptest.Client) error {
		pool := x509.NewCertPool()
		for _, cert := range c.Chain {
			pool.AddCert(cert)
		}
		_, err := c.Certificate.Verify(x509.VerifyOptions{
			Roots: root.Pool(), Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		return err
	}
	alice := lower.Issue("alice")
	require.NoError(t, verify(alice))
	require.Len(t, alice.Chain, 2)
	require.Equal(t, lower.Certificate, alice.Chain[0])

	renewed := lower.Reissue(alice)
	require.NoError(t, verify(renewed))
	require.Equal(t, alice.Key, renewed.Key)
	require.NotEqual(t, alice.Thumbprint(), renewed.Thumbprint())
	require.Equal(t, alice.Certificate.RawSubject, renewed.Certificate.RawSubject)

	require.ErrorAs(t, verify(mtlspoptest.SelfSigned(t, "alice")), new(x509.UnknownAuthorityError))
	require.ErrorAs(t, verify(root.Expired("alice")), new(x509.CertificateInvalidError))
	require.ErrorAs(t, verify(root.NotYetValid("alice")), new(x509.CertificateInvalidError))
	require.True(t, root.Expired("alice").Certificate.NotAfter.Before(time.Now()))
	require.True(t, root.NotYetValid("alice").Certificate.NotBefore.After(time.Now()))
}

func TestEnvoyRemovesWhatComesFromClientsWithoutCertificate(t *testing.T) {
	a, b := mtlspoptest.SelfSigned(t, "a"), mtlspoptest.SelfSigned(t, "b")
	require.Empty(t, mtlspoptest.Envoy())
	require.Empty(t, mtlspoptest.Envoy(a, nil))
	require.Equal(t, mtlspoptest.Envoy(b), mtlspoptest.Envoy(a, nil, b))
	require.Equal(t, mtlspoptest.Envoy(a)+","+mtlspoptest.Envoy(b), mtlspoptest.Envoy(a, b))
}

func TestFieldsPassThroughNetHTTP(t *testing.T) {
	c := mtlspoptest.NewCA(t, "Root").Intermediate("Intermediate").Issue("alice")
	for _, value := range []string{
		mtlspoptest.RFC9440(c), mtlspoptest.RFC9440Chain(c), mtlspoptest.HAProxyChain(c), mtlspoptest.Nginx(c),
		mtlspoptest.NginxFolded(c), mtlspoptest.Apache(c), mtlspoptest.Envoy(c, c), mtlspoptest.Traefik(c),
	} {
		h := http.Header{"X-Client-Cert": {"forged", "twice"}}
		mtlspoptest.Forward(h, "X-Client-Cert", value)
		var wire strings.Builder
		wire.WriteString("GET / HTTP/1.1\r\nHost: a\r\n")
		require.NoError(t, h.Write(&wire))
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String() + "\r\n")))
		require.NoError(t, err)
		require.Equal(t, []string{value}, r.Header["X-Client-Cert"])
	}
}

func TestServer(t *testing.T) {
	alice := mtlspoptest.SelfSigned(t, "alice")
	for _, protocol := range []string{"h2", "http/1.1"} {
		var last *tls.ConnectionState
		server := mtlspoptest.NewServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			last = r.TLS
		}), func(c *tls.Config) *tls.Config {
			c.NextProtos = []string{protocol}
			return c
		})
		get := func(c *http.Client) {
			resp, err := c.Get(server.URL)
			require.NoError(t, err)
			resp.Body.Close()
		}
		get(server.Client(nil))
		require.Empty(t, last.PeerCertificates)
		require.Equal(t, protocol, last.NegotiatedProtocol)

		client := server.Client(alice)
		get(client)
		require.Equal(t, alice.Certificate.Raw, last.PeerCertificates[0].Raw)
		require.False(t, last.DidResume)
		client.CloseIdleConnections()
		get(client)
		require.Equal(t, alice.Certificate.Raw, last.PeerCertificates[0].Raw)
		require.True(t, last.DidResume)

		_, err := http.Get(server.URL)
		require.Error(t, err, "the server's certificate is for its own clients")
	}
}
