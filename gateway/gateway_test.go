package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// buffer is an io.Writer that a test can read while others write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a gateway that was started as its command is.
type running struct {
	url, admin string
	log        *buffer
	reload     func() // as SIGHUP does
	stop       func() int
}

// start runs the gateway on a file of testdata, or on the text of one.
func start(t *testing.T, bed *testbed.Bed, config string, args ...string) *running {
	t.Helper()
	t.Setenv("DECK_UPSTREAM", bed.Httpbin)
	t.Setenv("DECK_ISSUER", bed.Issuer.URL)
	t.Setenv("DECK_CLIENT_ID", "client")
	t.Setenv("DECK_CLIENT_SECRET", "secret")
	if strings.Contains(config, "\n") {
		file := filepath.Join(t.TempDir(), "kong.yaml")
		require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
		config = file
	} else {
		config = filepath.Join("testdata", config)
	}
	args = append([]string{"-config", config, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-issuer-ca", bed.CAFile,
		"-tls-cert", bed.CertFile, "-tls-key", bed.KeyFile, "-drain", "20ms"}, args...) // idle connections of HTTP/2 take a second
	ctx, cancel := context.WithCancel(context.Background())
	stdout, stderr, done := &buffer{}, &buffer{}, make(chan int, 1)
	hangups := make(chan os.Signal)
	go func() { done <- run(ctx, args, stdout, stderr, hangups) }()
	r := &running{log: stderr, reload: func() { hangups <- syscall.SIGHUP }, stop: sync.OnceValue(func() int { cancel(); return <-done })}
	t.Cleanup(func() { r.stop() })
	require.Eventually(t, func() bool {
		if len(done) > 0 {
			return true
		}
		_, after, found := strings.Cut(stdout.String(), "gateway: listening on ")
		r.url = strings.TrimSpace(after)
		return found && strings.HasSuffix(after, "\n")
	}, 10*time.Second, 5*time.Millisecond)
	require.NotEmpty(t, r.url, stderr.String())
	_, admin, _ := strings.Cut(stdout.String(), "gateway: admin on ")
	r.admin, _, _ = strings.Cut(admin, "\n")
	return r
}

// answer is a response of httpbin or of the gateway.
type answer struct {
	status  int
	header  http.Header
	body    string
	headers map[string][]string // that httpbin has seen
	url     string              // that httpbin has seen
}

func ask(t *testing.T, client *http.Client, url string, edit ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	for _, e := range edit {
		e(r)
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var seen struct {
		Headers map[string][]string
		URL     string
	}
	_ = json.Unmarshal(body, &seen)
	return answer{resp.StatusCode, resp.Header, string(body), seen.Headers, seen.URL}
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = append(r.Header[name], value) }
}

func bearer(token string) func(*http.Request) { return with("Authorization", "Bearer "+token) }

func TestDPoPStrict(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "dpop-strict.yaml")
	key, anonymous := dpoptest.NewKey(t), bed.Client(nil)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	client := middlewaretest.NewClient(t, anonymous, key, token)

	t.Run("the service behind sees a bearer token and no proof", func(t *testing.T) {
		a := ask(t, client, gw.url+"/anything/a%2Fb?q=1", with("X-Consumer-Username", "admin"), with("X_consumer_username", "admin"))
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"Bearer " + token}, a.headers["Authorization"])
		require.True(t, strings.HasSuffix(a.url, "/anything/a%2Fb?q=1"), a.url)
		for name := range a.headers {
			require.NotContains(t, []string{"dpop", "x-consumer-username"}, strings.ToLower(strings.ReplaceAll(name, "_", "-")))
		}
	})
	t.Run("a token without its proof is refused", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/anything", with("Authorization", "DPoP "+token))
		require.Equal(t, 401, a.status)
		require.JSONEq(t, `{"message":"Unauthorized"}`, a.body)
		require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_dpop_proof"`)
	})
	t.Run("a proof passes once", func(t *testing.T) {
		sign := with("Dpop", key.Proof("GET", gw.url+"/anything", token))
		auth := with("Authorization", "DPoP "+token)
		require.Equal(t, 200, ask(t, anonymous, gw.url+"/anything", sign, auth).status)
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", sign, auth).status)
	})
	t.Run("an unbound token is refused", func(t *testing.T) {
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bearer(bed.Issuer.Token())).status)
	})
	t.Run("the audience is not checked, and a warning says so", func(t *testing.T) {
		for range 2 {
			other := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Claim("aud", "urn:somebody"))
			require.Equal(t, 200, ask(t, middlewaretest.NewClient(t, anonymous, key, other), gw.url+"/anything").status)
		}
		require.Contains(t, gw.log.String(), "audience_required is missing")
		require.Contains(t, gw.log.String(), "dpop-strict.yaml:15")
	})
	t.Run("a token of Keycloak passes", func(t *testing.T) {
		keycloak := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Keycloak())
		require.Equal(t, 200, ask(t, middlewaretest.NewClient(t, anonymous, key, keycloak), gw.url+"/anything").status)
		id := bed.Issuer.Token(oidctest.IDToken("client"), oidctest.BoundToKey(key.Thumbprint()))
		require.Equal(t, 401, ask(t, middlewaretest.NewClient(t, anonymous, key, id), gw.url+"/anything").status)
	})
	t.Run("a token with another signature is refused whatever its audience", func(t *testing.T) {
		forged := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
		forged = forged[:len(forged)-8] + "AAAAAAAA"
		require.Equal(t, 401, ask(t, middlewaretest.NewClient(t, anonymous, key, forged), gw.url+"/anything").status)
	})
	t.Run("the log has one line for a refusal, and neither token nor proof", func(t *testing.T) {
		before := strings.Count(gw.log.String(), `msg="request refused"`)
		proof := key.Proof("GET", "https://evil.example/anything", token, dpoptest.IssuedAt(time.Now().Add(-20*time.Second)))
		ask(t, anonymous, gw.url+"/anything?secret=1", with("Authorization", "DPoP "+token), with("Dpop", proof))
		log := gw.log.String()
		require.Equal(t, before+1, strings.Count(log, `msg="request refused"`))
		last := log[strings.LastIndex(log, `msg="request refused"`):]
		for _, part := range []string{"reason=dpop_target", "unverified_htu=https://evil.example/anything", "expected_htu=" + gw.url + "/anything", "unverified_proof_skew_s=-2", "client_id=client", "issuer=" + bed.Issuer.URL} {
			require.Contains(t, last, part)
		}
		for _, secret := range []string{token, proof, "secret=1", strings.Split(token, ".")[2]} {
			require.NotContains(t, log, secret)
		}
	})
}

func TestBearer(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "bearer.yaml")
	anonymous := bed.Client(nil)
	good := []oidctest.Change{oidctest.Scope("orders:read", "orders:write"), oidctest.Claim("realm_access", map[string]any{"roles": []string{"clerk", "a,b"}})}
	token := func(changes ...oidctest.Change) func(*http.Request) {
		return bearer(bed.Issuer.Token(append(good[:len(good):len(good)], changes...)...))
	}

	t.Run("claims become headers, and only claims do", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/api/anything", token(), with("X-User", "root"), with("x_User", "root"), with("X_roles", "root"))
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"user-1"}, a.headers["X-User"])
		require.Equal(t, []string{base64.StdEncoding.EncodeToString([]byte(`["clerk","a,b"]`))}, a.headers["X-Roles"])
		require.NotContains(t, a.body, "root")
		require.True(t, strings.HasSuffix(a.url, "/anything"), a.url)
	})
	t.Run("a client cannot remove what is said of it", func(t *testing.T) {
		http1 := bed.Client(nil)
		http1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		a := ask(t, http1, gw.url+"/api/anything", token(), with("Connection", "X-User, Authorization"))
		require.Equal(t, 200, a.status, a.body)
		require.Equal(t, []string{"user-1"}, a.headers["X-User"])
		require.Len(t, a.headers["Authorization"], 1)
	})
	t.Run("the client's copy is deleted when the claim is missing, and on other routes", func(t *testing.T) {
		a := ask(t, anonymous, gw.url+"/api/anything", token(oidctest.Claim("realm_access", map[string]any{"roles": "clerk"})), with("X-User", "root"))
		require.Equal(t, []string{"user-1"}, a.headers["X-User"])
		require.Equal(t, []string{"clerk"}, a.headers["X-Roles"])
		require.Equal(t, 418, ask(t, anonymous, gw.url+"/status/418").status)
	})
	for name, tc := range map[string]struct {
		auth   func(*http.Request)
		status int
	}{
		"another element of scopes_required":         {token(oidctest.Scope("admin")), 200},
		"one word of an element is not enough":       {token(oidctest.Scope("orders:read")), 403},
		"another role":                               {token(oidctest.Claim("realm_access", map[string]any{"roles": []string{"a"}})), 403},
		"another audience":                           {token(oidctest.Claim("aud", "https://other.example")), 403},
		"an expired token":                           {token(oidctest.ExpiresIn(-time.Hour)), 401},
		"a bound token is not a bearer token":        {token(oidctest.BoundToKey(strings.Repeat("A", 43))), 401},
		"client credentials that are not configured": {with("Authorization", "Basic Y2xpZW50OnNlY3JldA=="), 401},
		"nothing": {func(*http.Request) {}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, anonymous, gw.url+"/api/anything", tc.auth)
			require.Equal(t, tc.status, a.status, a.body)
			if tc.status == 401 {
				require.Contains(t, a.body, "Who are you?")
			}
		})
	}
	t.Run("no path leads around the guard", func(t *testing.T) {
		for _, path := range []string{"/api", "//api/anything", "/%61pi/anything", "/api/"} {
			require.Equal(t, 401, ask(t, anonymous, gw.url+path).status, path)
		}
		for _, path := range []string{"/status/../api", "/status/%2e%2e/headers", "/status/..%2fheaders", "/status/..;/headers", "/status/%5c..%5cheaders"} {
			require.Equal(t, 400, ask(t, anonymous, gw.url+path).status, path)
		}
		require.Equal(t, 404, ask(t, anonymous, gw.url+"/headers").status)
	})
	t.Run("errors are displayed if the file says so", func(t *testing.T) {
		require.Contains(t, ask(t, anonymous, gw.url+"/api/anything", bearer("x")).body, `"error":"invalid_token"`)
	})
}

func TestCertificateFromHeader(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	clients := mtlspoptest.NewCA(t, "Client Root")
	t.Setenv("DECK_CA_CERT_ID", "a1b2c3d4-0000-4000-8000-000000000001")
	t.Setenv("DECK_CA_CERT", testbed.PEM(clients.Certificate))
	gw := start(t, bed, "mtls-header.yaml", "-trusted-proxy", "127.0.0.1/32")
	alice, stranger := clients.Issue("alice"), mtlspoptest.SelfSigned(t, "stranger")
	bound := bearer(bed.Issuer.Token(oidctest.BoundToCertificate(alice.Certificate)))
	cert := func(c *mtlspoptest.Client) func(*http.Request) { return with("X-Client-Cert", mtlspoptest.HAProxy(c)) }
	anonymous := bed.Client(nil)

	a := ask(t, anonymous, gw.url+"/anything", bound, cert(alice))
	require.Equal(t, 200, a.status, a.body)
	require.NotContains(t, a.headers, "X-Client-Cert")
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bound).status, "no certificate")
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bound, cert(clients.Issue("bob"))).status, "another certificate")
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bearer(bed.Issuer.Token()), cert(alice)).status, "an unbound token")
	untrusted := bearer(bed.Issuer.Token(oidctest.BoundToCertificate(stranger.Certificate)))
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", untrusted, cert(stranger)).status, "not of our CA")
	require.Equal(t, 400, ask(t, anonymous, gw.url+"/anything", bound, cert(alice), cert(alice)).status, "two certificates")

	t.Run("from a peer that is not trusted the header counts for nothing", func(t *testing.T) {
		gw := start(t, bed, "mtls-header.yaml", "-trusted-proxy", "192.0.2.1/32")
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bound, cert(alice)).status)
		require.Contains(t, gw.log.String(), "untrusted_forward=true")
	})
}

func TestCertificateFromHandshake(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "mtls-handshake.yaml")
	alice := mtlspoptest.SelfSigned(t, "alice")
	bound := bearer(bed.Issuer.Token(oidctest.BoundToCertificate(alice.Certificate)))

	require.Equal(t, 200, ask(t, bed.Client(alice), gw.url+"/anything", bound).status)
	require.Equal(t, 401, ask(t, bed.Client(nil), gw.url+"/anything", bound).status, "no certificate")
	require.Equal(t, 401, ask(t, bed.Client(mtlspoptest.SelfSigned(t, "bob")), gw.url+"/anything", bound).status, "another certificate")
	require.Equal(t, 401, ask(t, bed.Client(alice), gw.url+"/anything", bearer(bed.Issuer.Token())).status, "an unbound token")
}

func TestClientCredentials(t *testing.T) {
	key := newSigner(t)
	bed := testbed.New(t, t.TempDir(),
		oidctest.WithClient(oidctest.Registration{ID: "caller", Secret: "the-secret"}),
		oidctest.WithClient(oidctest.Registration{ID: "gateway", Method: "private_key_jwt", Keys: []crypto.PublicKey{key.Public()}}))
	setJWK(t, key)
	gw := start(t, bed, "client-credentials.yaml")
	anonymous := bed.Client(nil)
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(id, secret) }
	}

	for range 2 {
		a := ask(t, anonymous, gw.url+"/anything", basic("caller", "the-secret"))
		require.Equal(t, 200, a.status, a.body)
		require.Len(t, a.headers["Authorization"], 1)
		require.True(t, strings.HasPrefix(a.headers["Authorization"][0], "Bearer ey"), "the service sees a token, not the secret")
	}
	require.Len(t, bed.Issuer.Requests(oidctest.TokenEndpoint), 1, "the second call is served from memory")
	require.Contains(t, bed.Issuer.Requests(oidctest.Introspection)[0].Form.Get("client_assertion_type"), "jwt-bearer")
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", basic("caller", "wrong")).status)
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bearer(bed.Issuer.Token())).status, "bearer is not among the auth_methods")
	require.NotContains(t, gw.log.String(), "the-secret")

	t.Run("the admin listener publishes the key and the issuer's state, the other does not", func(t *testing.T) {
		set := ask(t, http.DefaultClient, gw.admin+"/openid-connect/jwks")
		require.Contains(t, set.body, `"gateway-1"`)
		require.NotContains(t, set.body, `"d"`)
		require.Contains(t, ask(t, http.DefaultClient, gw.admin+"/openid-connect/issuers").body, bed.Issuer.URL)
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/openid-connect/jwks").status)
		text := ask(t, http.DefaultClient, gw.admin+"/metrics").body
		require.Contains(t, text, `keybound_decisions_total{binding="none",guard="gateway",scheme="Basic",verdict="passed"} 2`)
		require.Contains(t, text, `keybound_refusals_total{guard="gateway",reason="credentials_refused"} 1`)
		require.Contains(t, text, `keybound_issuer_keys{guard="gateway",issuer="`+bed.Issuer.URL+`"}`)
		require.Contains(t, text, "process_resident_memory_bytes")
		require.NotContains(t, text, "caller", "no client is named")
		require.Equal(t, 401, ask(t, anonymous, gw.url+"/metrics").status)
	})
}

// oidc-provider's tokens are opaque unless they are for a resource that it knows.
func TestClientCredentialsForWhichTheIssuerGivesOpaqueTokens(t *testing.T) {
	key := newSigner(t)
	bed := testbed.New(t, t.TempDir(),
		oidctest.WithClient(oidctest.Registration{ID: "caller", Secret: "the-secret"}),
		oidctest.WithClient(oidctest.Registration{ID: "gateway", Method: "private_key_jwt", Keys: []crypto.PublicKey{key.Public()}}))
	token := bed.Issuer.OpaqueToken(oidctest.ForClient("caller"), oidctest.Scope("orders:read"))
	bed.Issuer.Break(oidctest.TokenEndpoint, oidctest.Body("application/json", `{"access_token":"`+token+`","token_type":"Bearer","expires_in":300}`))
	setJWK(t, key)
	gw := start(t, bed, "client-credentials.yaml")
	anonymous := bed.Client(nil)

	a := ask(t, anonymous, gw.url+"/anything", func(r *http.Request) { r.SetBasicAuth("caller", "the-secret") })
	require.Equal(t, 200, a.status, gw.log.String())
	require.Equal(t, []string{"Bearer " + token}, a.headers["Authorization"])
	require.Equal(t, 401, ask(t, anonymous, gw.url+"/anything", bearer(token)).status, "bearer is not among the auth_methods")
	bed.Issuer.Revoke(token)
	fresh := start(t, bed, "client-credentials.yaml") // It has no answer to remember.
	require.NotEqual(t, 200, ask(t, anonymous, fresh.url+"/anything", func(r *http.Request) { r.SetBasicAuth("caller", "the-secret") }).status)
}

// newSigner is a key for the gateway itself.
func newSigner(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, ok := mtlspoptest.SelfSigned(t, "key").Key.(*ecdsa.PrivateKey)
	require.True(t, ok)
	return key
}

func setJWK(t *testing.T, key *ecdsa.PrivateKey) {
	t.Helper()
	d, err := key.Bytes()
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	t.Setenv("DECK_JWK_D", base64.RawURLEncoding.EncodeToString(d))
	t.Setenv("DECK_JWK_X", base64.RawURLEncoding.EncodeToString(point[1:33]))
	t.Setenv("DECK_JWK_Y", base64.RawURLEncoding.EncodeToString(point[33:]))
}

func TestARevokedJWTIsRefusedWhereTheIssuerIsAsked(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	file := `_format_version: "3.0"
services:
  - name: s
    url: ${{ env "DECK_UPSTREAM" }}
    routes:
`
	methods := []string{"introspection", "introspection, client_credentials", "introspection, session"}
	for i, m := range methods {
		file += fmt.Sprintf(`      - name: r%d
        paths: [/%d]
        plugins: [{name: openid-connect, config: {issuer: '${{ env "DECK_ISSUER" }}', auth_methods: [%s], client_id: [client], client_secret: [secret], audience_required: ['https://api.example']%s}}]
`, i, i, m, map[bool]string{true: ", session_secret: a secret of thirty-two bytes or more"}[strings.Contains(m, "session")])
	}
	gw := start(t, bed, file, "-public-origin", "https://api.example")
	good, revoked := bed.Issuer.Token(), bed.Issuer.Token()
	bed.Issuer.Revoke(revoked)
	for i, m := range methods {
		require.Equal(t, 200, ask(t, bed.Client(nil), fmt.Sprintf("%s/%d/headers", gw.url, i), bearer(good)).status, m)
		require.Equal(t, 401, ask(t, bed.Client(nil), fmt.Sprintf("%s/%d/headers", gw.url, i), bearer(revoked)).status, m)
	}
}

func TestThePublicOriginIsWhatProofsName(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "dpop-strict.yaml", "-public-origin", "https://api.example/v1", "-public-origin", "https://api2.example")
	key, anonymous := dpoptest.NewKey(t), bed.Client(nil)
	token := bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	call := func(host, htu string) int {
		return ask(t, anonymous, gw.url+"/anything", with("Authorization", "DPoP "+token), with("Dpop", key.Proof("GET", htu, token)),
			func(r *http.Request) { r.Host = host }).status
	}
	require.Equal(t, 200, call("api.example", "https://api.example/v1/anything"))
	require.Equal(t, 200, call("api2.example", "https://api2.example/anything"))
	require.Equal(t, 200, call(strings.TrimPrefix(gw.url, "https://"), "https://api.example/v1/anything"), "a terminator that replaces Host")
	require.NotEqual(t, 200, call("api.example", gw.url+"/anything"))
	require.NotEqual(t, 200, call("evil.example", "https://evil.example/anything"))
}

func TestForwardedFieldsAreThoseOfTrustedPeers(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	const open = "_format_version: \"3.0\"\nservices: [{name: s, url: '${{ env \"DECK_UPSTREAM\" }}', routes: [{name: r, paths: [/]}]}]\n"
	forged := []func(*http.Request){with("X-Forwarded-For", "10.9.9.9"), with("X_forwarded_for", "10.9.9.9"), with("X-Real-Ip", "10.9.9.9"), with("Forwarded", "for=10.9.9.9")}
	a := ask(t, bed.Client(nil), start(t, bed, open).url+"/headers", forged...)
	require.Equal(t, 200, a.status)
	require.NotContains(t, a.body, "10.9.9.9")
	require.Equal(t, []string{"127.0.0.1"}, a.headers["X-Forwarded-For"])
	a = ask(t, bed.Client(nil), start(t, bed, open, "-trusted-proxy", "127.0.0.0/8").url+"/headers", forged[:1]...)
	require.Equal(t, []string{"10.9.9.9, 127.0.0.1"}, a.headers["X-Forwarded-For"])
}

func TestWhatTheServiceSaysOfDPoPStaysBehind(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "_format_version: \"3.0\"\nservices: [{name: s, url: '${{ env \"DECK_UPSTREAM\" }}', routes: [{name: r, paths: [/]}]}]\n")
	a := ask(t, bed.Client(nil), gw.url+"/response-headers?DPoP-Nonce=mine&X-Other=yes")
	require.Equal(t, "yes", a.header.Get("X-Other"))
	require.Empty(t, a.header.Values("DPoP-Nonce"))
}

func TestWhereTheTokenGoes(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	plugin := func(lines string) string {
		return "_format_version: \"3.0\"\nservices: [{name: s, url: '${{ env \"DECK_UPSTREAM\" }}', routes: [{name: r, paths: [/]}]}]\n" +
			"plugins: [{name: openid-connect, config: {issuer: '${{ env \"DECK_ISSUER\" }}', " + lines + "}}]\n"
	}
	token := bed.Issuer.Token()
	for lines, want := range map[string]http.Header{
		"hide_credentials: true":                                                 {},
		"upstream_access_token_header: null":                                     {},
		"upstream_access_token_header: x-token":                                  {"X-Token": {token}},
		"hide_credentials: true, upstream_access_token_header: 'x-token:bearer'": {"X-Token": {"Bearer " + token}},
	} {
		t.Run(lines, func(t *testing.T) {
			a := ask(t, bed.Client(nil), start(t, bed, plugin(lines)).url+"/headers", bearer(token), with("X_token", "forged"))
			require.Equal(t, 200, a.status, a.body)
			require.Equal(t, want["X-Token"], a.headers["X-Token"])
			require.Empty(t, a.headers["Authorization"])
			if len(want) > 0 {
				require.NotContains(t, a.body, "forged")
			}
		})
	}
}

func TestTheReasonIsThatOfTheIssuersOwnSpelling(t *testing.T) {
	bed := testbed.New(t, t.TempDir())
	gw := start(t, bed, "bearer.yaml")
	ask(t, bed.Client(nil), gw.url+"/api/x", bearer(bed.Issuer.Token(oidctest.Keycloak(), oidctest.ExpiresIn(-time.Hour))))
	require.Regexp(t, `msg="request refused" .*reason=token_expired .*hint="the token expired 1h0m\ds ago`, gw.log.String())
}
