package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jub0bs/cors"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	kpen "github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// deployment is a service in a certain set-up, and a client of it.
type deployment struct {
	url, caFile     string
	key, token      string // files
	cert, certToken string // files
	issuer          *runningIssuer
}

// setUp says how a service is deployed. Its zero value is correct.
type setUp struct {
	replicas       int // 1 if 0
	ownMemories    bool
	ownNonceKeys   bool
	noCORS         bool
	noReplayMemory bool
	nonces         bool
	http2          bool
	// h2 takes the place of net/http's HTTP/2, if it is not nil.
	h2 func(*http.Server, *tls.Conn, http.Handler)
	// field and format are what the terminator writes, and terminate is how.
	field     string
	format    mtlspop.Format
	encode    func(der []byte) string
	terminate func(h http.Header, field, value string, present bool)
	// outside wraps everything, as a middleware outside of the guard does.
	outside func(http.Handler) http.Handler
	// inFront stands in for the terminator's handling of a request.
	inFront func(http.Handler) http.Handler
}

// replace is what a terminator must do.
func replace(h http.Header, field, value string, present bool) {
	h.Del(field)
	if present {
		h.Set(field, value)
	}
}

func (s setUp) start(t *testing.T) *deployment {
	t.Helper()
	issuer := startIssuerCommand(t, "--client", "app", "--client", "machine", "--certificate-bound", "machine")
	server := httptest.NewUnstartedServer(nil)
	server.Config.ErrorLog = nil
	server.TLS = mtlspop.RequestClientCert(nil)
	server.EnableHTTP2 = s.http2
	if s.h2 != nil {
		server.TLS.NextProtos = []string{"h2", "http/1.1"}
		server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": s.h2}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	tokens, err := oidc.New(issuer.url, "https://api.example", oidc.WithHTTPClient(issuer.client(t)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = tokens.Close() })
	shared, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	var replicas []http.Handler
	for i := range max(s.replicas, 1) {
		var opts []dpop.Option
		switch {
		case s.noReplayMemory:
			opts = append(opts, dpop.DangerouslyAllowReplay())
		case !s.ownMemories:
			opts = append(opts, dpop.WithReplayCache(shared, nil))
		}
		if s.nonces {
			key := []byte("0123456789abcdef0123456789abcdef")
			if s.ownNonceKeys {
				key[0] = byte('a' + i)
			}
			opts = append(opts, dpop.WithNonces(dpop.NewNonces(key)))
		}
		parts := []middleware.Option{
			middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New(server.URL, opts...)),
		}
		if s.field != "" {
			parts = append(parts, middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(s.field, s.format, netip.MustParsePrefix("10.9.8.7/32")))))
		} else {
			parts = append(parts, middleware.WithMTLS(mtlspop.New()))
		}
		guard, err := middleware.New(parts...)
		require.NoError(t, err)
		replicas = append(replicas, guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "orders") })))
	}
	var turn atomic.Int64
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		replicas[int(turn.Add(1))%len(replicas)].ServeHTTP(w, r)
	})
	if !s.noCORS {
		c, err := cors.NewMiddleware(cors.Config{Origins: []string{"https://app.example"}, Methods: []string{"GET"},
			RequestHeaders: []string{"Authorization", "DPoP"}, ResponseHeaders: []string{"DPoP-Nonce", "WWW-Authenticate"}})
		require.NoError(t, err)
		handler = c.Wrap(handler)
	}
	if s.outside != nil {
		handler = s.outside(handler)
	}
	if s.field != "" {
		handler = s.terminator(handler)
	}
	if s.inFront != nil {
		handler = s.inFront(handler)
	}
	server.Config.Handler = handler
	return s.client(t, issuer, server)
}

// terminator stands in for one that ends TLS and forwards the certificate in a field.
func (s setUp) terminator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		value, present := "", len(r.TLS.PeerCertificates) > 0
		if present {
			value = s.encode(r.TLS.PeerCertificates[0].Raw)
		}
		s.terminate(r.Header, s.field, value, present)
		r.TLS, r.RemoteAddr = nil, "10.9.8.7:4711"
		next.ServeHTTP(w, r)
	})
}

func (s setUp) client(t *testing.T, issuer *runningIssuer, server *httptest.Server) *deployment {
	t.Helper()
	dir := t.TempDir()
	in := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	key, err := kpen.Generate("ES256")
	require.NoError(t, err)
	jwk, err := key.PrivateJWK()
	require.NoError(t, err)
	cert, err := kpen.SelfSigned("machine", time.Now().Add(-time.Minute))
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	ca, err := os.ReadFile(issuer.caFile)
	require.NoError(t, err)
	d := &deployment{url: server.URL + "/orders", issuer: issuer,
		caFile: in("ca.pem", append(ca, kpen.CertificatePEM(server.Certificate().Raw)...)),
		key:    in("key", jwk),
		cert:   in("cert.pem", append(kpen.CertificatePEM(cert.Leaf.Raw), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)),
	}
	d.token = in("token", []byte(s.obtain(t, issuer, "app", key, nil)))
	d.certToken = in("certificate-token", []byte(s.obtain(t, issuer, "machine", nil, &cert)))
	return d
}

func (s setUp) obtain(t *testing.T, issuer *runningIssuer, id string, key *kpen.Key, cert *tls.Certificate) string {
	t.Helper()
	client := issuer.client(t)
	if cert != nil {
		client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	r, err := http.NewRequest("POST", issuer.url+"/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "client_id": {id}}.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != nil {
		r.Header.Set("DPoP", key.Proof("POST", issuer.url+"/token", "", ""))
	}
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var a grantAnswer
	require.NoError(t, json.NewDecoder(res.Body).Decode(&a))
	require.NotEmpty(t, a.AccessToken, a)
	return a.AccessToken
}

// diagnose runs the command and returns its findings: ID -> message and fix.
func (d *deployment) diagnose(t *testing.T, more ...string) map[string]string {
	t.Helper()
	args := append([]string{"doctor", d.url, "--cacert", d.caFile, "--key", d.key, "--token-file", d.token,
		"--cert", d.cert, "--certificate-token-file", d.certToken, "--app-origin", "https://app.example", "--json", "-", "--connections", "12"}, more...)
	code, out, log := keybound(t, "", args...)
	require.Contains(t, []int{exitOK, exitFailed}, code, log)
	var r report.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	noSecrets(t, out+log)
	findings := make(map[string]string)
	for _, i := range r.Items {
		if i.Status == report.Fail {
			findings[i.ID] += i.Message + " | " + i.Fix + "\n"
			require.NotEmpty(t, i.Fix, i.ID)
		}
	}
	require.Equal(t, len(findings) > 0, code == exitFailed)
	return findings
}

func escaped(der []byte) string   { return url.PathEscape(string(kpen.CertificatePEM(der))) }
func base64DER(der []byte) string { return base64.StdEncoding.EncodeToString(der) }
func rfc9440(der []byte) string   { return ":" + base64DER(der) + ":" }
func xfcc(der []byte) string {
	return fmt.Sprintf(`Hash=%x;Cert="%s"`, sum256(der), escaped(der))
}

func sum256(der []byte) []byte {
	raw, _ := base64.RawURLEncoding.DecodeString(kpen.CertificateThumbprint(der))
	return raw
}

func TestDoctorFindsNothingInACorrectSetUp(t *testing.T) {
	for name, s := range map[string]setUp{
		"direct":                 {},
		"three replicas, nonces": {replicas: 3, nonces: true},
		"HTTP/2":                 {http2: true, nonces: true},
		"nginx with HTTP/2":      {http2: true, field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: replace},
		"nginx":                  {field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: replace},
		"HAProxy":                {field: "Client-Cert", format: mtlspop.RFC9440, encode: rfc9440, terminate: replace},
		"Envoy":                  {field: "X-Forwarded-Client-Cert", format: mtlspop.XFCC(1), encode: xfcc, terminate: replace},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := s.start(t)
			require.Empty(t, d.diagnose(t))
			code, out, log := keybound(t, "", "doctor", d.url, "--cacert", d.caFile, "--key", d.key, "--issuer", d.issuer.url,
				"--client-id", "app", "--app-origin", "https://app.example", "-v")
			require.Equal(t, exitOK, code, out+log)
			require.Contains(t, out, "needs no profile")
		})
	}
}

func TestDoctorFindsTheInvisibleMistakes(t *testing.T) {
	t.Run("no shared replay memory", func(t *testing.T) {
		found := setUp{replicas: 3, ownMemories: true}.start(t).diagnose(t)
		require.Contains(t, found["replay"], "no shared replay memory: one proof was taken 3 times over 12 connections")
		require.Contains(t, found["replay"], "dpop.WithReplayCache(redisstore.NewReplayCache(client))")
		require.Len(t, found, 1)
	})
	t.Run("no replay memory at all", func(t *testing.T) {
		found := setUp{noReplayMemory: true}.start(t).diagnose(t)
		require.Contains(t, found["replay"], "not remembered at all")
		require.Len(t, found, 1)
	})
	t.Run("mixed nonce keys", func(t *testing.T) {
		found := setUp{replicas: 3, nonces: true, ownNonceKeys: true}.start(t).diagnose(t)
		require.Contains(t, found["nonces"], "fresh nonces were refused")
		require.Contains(t, found["nonces"], "Give every replica the same nonce key: dpop.NewNonces(key)")
	})
	t.Run("missing CORS", func(t *testing.T) {
		found := setUp{noCORS: true}.start(t).diagnose(t)
		require.Contains(t, found["cors/preflight"], "a CORS preflight is refused with 401")
		require.Contains(t, found["cors/preflight"], "Put a CORS middleware outside of the guard")
		require.Len(t, found, 1)
		require.Empty(t, setUp{noCORS: true}.start(t).diagnose(t, "--no-browsers"))
	})
	t.Run("CORS without the exposed fields", func(t *testing.T) {
		found := setUp{outside: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&hider{w, []string{"Access-Control-Expose-Headers"}}, r)
			})
		}}.start(t).diagnose(t)
		require.Contains(t, found["cors/exposed"], "Access-Control-Expose-Headers")
	})
}

// hider removes fields of responses, as proxies do.
type hider struct {
	http.ResponseWriter
	names []string
}

func (h *hider) WriteHeader(status int) {
	for _, name := range h.names {
		h.Header().Del(name)
	}
	h.ResponseWriter.WriteHeader(status)
}

func TestDoctorFindsEveryMistakeOfATerminator(t *testing.T) {
	passesOn := func(h http.Header, field, value string, present bool) { // a condition without a removal
		if present {
			h.Set(field, value)
		}
	}
	adds := func(h http.Header, field, value string, present bool) {
		if present {
			h.Add(field, value)
		}
	}
	appends := func(h http.Header, field, value string, present bool) { // Envoy's APPEND_FORWARD
		if present {
			if before := h.Get(field); before != "" {
				value = before + "," + value
			}
			h.Set(field, value)
		}
	}
	for name, c := range map[string]struct {
		s   setUp
		fix string
	}{
		"nginx: a location with a proxy_set_header of its own; Kong without the pre-function": {setUp{field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: passesOn}, "nginx: put proxy_set_header X-Client-Cert $ssl_client_escaped_cert; into every location"},
		"HAProxy: the condition without del-header; Google Cloud: a second backend service":   {setUp{field: "Client-Cert", format: mtlspop.RFC9440, encode: rfc9440, terminate: passesOn}, "HAProxy: http-request del-header Client-Cert"},
		"HAProxy: add-header":                 {setUp{field: "Client-Cert", format: mtlspop.RFC9440, encode: rfc9440, terminate: adds}, "HAProxy: http-request del-header Client-Cert"},
		"Apache: RequestHeader add":           {setUp{field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: adds}, "Apache: RequestHeader set (not add, append or merge)"},
		"Caddy: header_up +Client-Cert":       {setUp{field: "Client-Cert", format: mtlspop.RFC9440, encode: rfc9440, terminate: adds}, "Caddy: header_up Client-Cert (not +Client-Cert)"},
		"Envoy: APPEND_FORWARD":               {setUp{field: "X-Forwarded-Client-Cert", format: mtlspop.XFCC(1), encode: xfcc, terminate: appends}, "Envoy: forward_client_cert_details: SANITIZE_SET"},
		"AWS: another listener":               {setUp{field: "X-Amzn-Mtls-Clientcert-Leaf", format: mtlspop.PEM, encode: escaped, terminate: passesOn}, "AWS: no other listener"},
		"Traefik: passTLSClientCert alone":    {setUp{field: "X-Forwarded-Tls-Client-Cert", format: mtlspop.DERChain, encode: base64DER, terminate: passesOn}, "Traefik: a headers middleware"},
		"Azure App Service: another way in":   {setUp{field: "X-ARR-ClientCert", format: mtlspop.DER, encode: base64DER, terminate: passesOn}, "Azure App Service"},
		"Cloudflare: a rule with a condition": {setUp{field: "Cf-Client-Cert-Der-Base64", format: mtlspop.DER, encode: base64DER, terminate: passesOn}, "Cloudflare: a request header rule"},
		"F5: insert without remove":           {setUp{field: "X-SSL-Client-Cert", format: mtlspop.DER, encode: base64DER, terminate: passesOn}, "F5: HTTP::header remove"},
		"Caddy: the thumbprint added":         {setUp{field: "X-Client-Cert-Sha256", format: mtlspop.ThumbprintHex, encode: func(der []byte) string { return fmt.Sprintf("%x", sum256(der)) }, terminate: passesOn}, "Caddy: header_up X-Client-Cert-Sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := c.s.start(t).diagnose(t)
			require.Contains(t, found["forged-certificate/"+c.s.field], c.fix, found)
			require.Len(t, found, 1, "nothing else is wrong")
		})
	}
}

func TestDoctorFindsWhatStandsInFront(t *testing.T) {
	behindNginx := setUp{field: "X-Client-Cert", format: mtlspop.PEM, encode: escaped, terminate: replace}
	t.Run("a real IP middleware", func(t *testing.T) {
		s := behindNginx
		s.outside = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if ip := r.Header.Get("X-Real-IP"); ip != "" {
					r.RemoteAddr = ip
				}
				next.ServeHTTP(w, r)
			})
		}
		// It is inside of the terminator and outside of the guard.
		found := s.start(t).diagnose(t)
		require.Contains(t, found["address-fields/X-Real-IP"], `Move the "real IP" middleware inside of the guard`)
		require.Len(t, found, 1)
	})
	t.Run("upgrade to h2c", func(t *testing.T) {
		s := setUp{inFront: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") == "h2c" && r.URL.Path == "/" {
					conn, _, err := w.(http.Hijacker).Hijack()
					if err == nil {
						_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))
						conn.Close()
					}
					return
				}
				next.ServeHTTP(w, r)
			})
		}}
		found := s.start(t).diagnose(t)
		require.Contains(t, found["upgrade"], "Let the terminator remove Upgrade unless it is websocket")
		require.Len(t, found, 1)
	})
	rewrite := func(change func(target string) string) setUp {
		return setUp{inFront: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r = r.Clone(r.Context())
				r.RequestURI = change(r.RequestURI)
				u, err := url.ParseRequestURI(r.RequestURI)
				if err == nil {
					r.URL = u
				}
				next.ServeHTTP(w, r)
			})
		}}
	}
	t.Run("dot segments are removed", func(t *testing.T) {
		found := rewrite(func(target string) string {
			if i := strings.Index(target, "/../"); i >= 0 {
				return target[i+3:]
			}
			return target
		}).start(t).diagnose(t)
		require.Contains(t, found["paths"], "proxy_pass without a URI part")
	})
	t.Run("escapes are decoded", func(t *testing.T) {
		found := rewrite(func(target string) string { return strings.ReplaceAll(target, "%7E", "~") }).start(t).diagnose(t)
		require.Empty(t, found["paths/rewritten"], "RFC 3986 has these for the same")
		found = rewrite(func(target string) string { return strings.ReplaceAll(target, "%2F", "/") }).start(t).diagnose(t)
		require.Contains(t, found["paths/rewritten"], "ProxyPass with nocanon")
	})
	t.Run("the challenge is removed", func(t *testing.T) {
		found := setUp{outside: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&hider{w, []string{"Www-Authenticate"}}, r)
			})
		}}.start(t).diagnose(t)
		require.Contains(t, found["challenge"], "proxy_hide_header")
	})
	t.Run("the DPoP field is removed", func(t *testing.T) {
		found := setUp{inFront: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("DPoP"); next.ServeHTTP(w, r) })
		}}.start(t).diagnose(t)
		require.Contains(t, found["good-request/dpop"], "invalid_dpop_proof")
	})
	t.Run("an unguarded URL", func(t *testing.T) {
		found := setUp{inFront: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "open") })
		}}.start(t).diagnose(t)
		require.Contains(t, found["challenge"], "the URL is not guarded")
	})
}

func TestDoctorNeedsAServiceAndTakesNoTokenToo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	code, _, log := keybound(t, "", "doctor", "https://"+listener.Addr().String())
	require.Equal(t, exitNotAsked, code, log)

	d := setUp{}.start(t)
	junit := filepath.Join(t.TempDir(), "doctor.xml")
	code, out, log := keybound(t, "", "doctor", d.url, "--cacert", d.caFile, "--app-origin", "https://app.example", "--junit", junit)
	require.Equal(t, exitOK, code, out+log)
	text, err := os.ReadFile(junit)
	require.NoError(t, err)
	require.Contains(t, string(text), `classname="keybound.doctor" name="challenge"`)
}
