package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	kpen "github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// noSecrets fails if the texts hold a JWT with its signature, or one of the secrets.
func noSecrets(t *testing.T, text string, secrets ...string) {
	t.Helper()
	require.NotRegexp(t, regexp.MustCompile(`eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), text)
	for _, s := range secrets {
		require.NotContains(t, text, s)
	}
}

func TestCallWithClientCredentialsAndAKeyMadeOnTheSpot(t *testing.T) {
	issuer := startIssuerCommand(t, "--client", "app:very-secret", "--nonce", "issuer-nonce")
	service := startService(t, issuer, withNonces())
	key := filepath.Join(t.TempDir(), "client.jwk")
	args := []string{"call", "--key", key, "--make-key", "ES256", "--cacert", service.caFile,
		"--issuer", issuer.url, "--client-id", "app", "--client-secret-file", file(t, "secret", "very-secret\n"),
		"--scope", "orders:read", "-d", "hello", service.url + "/orders?x=1"}
	code, out, log := keybound(t, "", args...)
	require.Equal(t, exitOK, code, log)
	require.Equal(t, "POST app orders:read hello", out)
	require.Equal(t, 2, strings.Count(log, "use_dpop_nonce")+strings.Count(log, "400 Bad Request"), "one challenge from each server: %s", log)
	require.Contains(t, log, "the service wants the nonce from DPoP-Nonce in the proof")
	require.Contains(t, log, "nonce=issuer-nonce")
	noSecrets(t, log, "very-secret")

	info, err := os.Stat(key)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	code, shown, _ := keybound(t, "", "key", "--key", key)
	require.Equal(t, exitOK, code)
	require.NotContains(t, shown, `"d"`)
	code, out, _ = keybound(t, "", append(args, "--quiet")...)
	require.Equal(t, exitOK, code, "the same key again")
	require.Equal(t, "POST app orders:read hello", out)
}

func TestCallExplainsARefusalInWords(t *testing.T) {
	issuer := startIssuerCommand(t)
	service := startService(t, issuer)
	key := filepath.Join(t.TempDir(), "client.pem")
	t.Setenv(secretVariable, "secret")
	args := []string{"call", "--key", key, "--make-key", "Ed25519", "--cacert", service.caFile, "--issuer", issuer.url, "--client-id", "client", service.url}
	code, _, log := keybound(t, "", append(args, "--audience", "https://other.example")...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, log, "made for another service")
	code, _, log = keybound(t, "", append(args, "--bearer")...)
	require.Equal(t, exitFailed, code, log)
	code, _, log = keybound(t, "", "call", "--cacert", service.caFile, service.url)
	require.Equal(t, exitFailed, code)
	require.Contains(t, log, "The service accepts DPoP")
	text, err := os.ReadFile(key)
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	_, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err, "a file called .pem is PEM")
}

func TestCallWithACertificate(t *testing.T) {
	issuer := startIssuerCommand(t, "--client", "machine", "--certificate-bound", "machine")
	service := startService(t, issuer)
	cert, err := kpen.SelfSigned("machine", time.Now().Add(-time.Minute))
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	both := string(kpen.CertificatePEM(cert.Leaf.Raw)) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	code, out, log := keybound(t, "", "call", "--cert", file(t, "machine.pem", both), "--cacert", service.caFile,
		"--issuer", issuer.url, "--client-id", "machine", "-X", "PATCH", "-H", "X-Trace: 1", service.url)
	require.Equal(t, exitOK, code, log)
	require.Equal(t, "PATCH machine  ", out)
	require.Contains(t, log, "> X-Trace: 1")
}

func TestCallForAUserByTheDeviceFlowAndThenByRefresh(t *testing.T) {
	issuer := startIssuerCommand(t, "--client", "cli")
	service := startService(t, issuer)
	key, refresh := filepath.Join(t.TempDir(), "client.jwk"), filepath.Join(t.TempDir(), "refresh")
	args := []string{"call", "--key", key, "--make-key", "ES256", "--cacert", service.caFile, "--issuer", issuer.url,
		"--client-id", "cli", "--refresh-token-file", refresh, service.url}

	log := &syncBuffer{}
	out := &syncBuffer{}
	ended := make(chan int)
	go func() { ended <- run(t.Context(), append(args, "--device"), strings.NewReader(""), out, log) }()
	link := regexp.MustCompile(`or open (\S+)`)
	require.Eventually(t, func() bool { return link.MatchString(log.String()) }, 5*time.Second, 10*time.Millisecond)
	res, err := issuer.client(t).Get(link.FindStringSubmatch(log.String())[1]) // the user's consent
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, exitOK, <-ended, log.String())
	require.Equal(t, "GET user-1  ", out.String())

	first, err := os.ReadFile(refresh)
	require.NoError(t, err)
	code, second, text := keybound(t, "", args...)
	require.Equal(t, exitOK, code, text)
	require.Equal(t, "GET user-1  ", second)
	rotated, err := os.ReadFile(refresh)
	require.NoError(t, err)
	require.NotEqual(t, first, rotated, "the new refresh token replaces the old one")
	noSecrets(t, log.String()+text, strings.TrimSpace(string(first)), strings.TrimSpace(string(rotated)))
}

func TestProofIsForCurl(t *testing.T) {
	issuer := startIssuerCommand(t)
	service := startService(t, issuer)
	key, err := kpen.Generate("ES256")
	require.NoError(t, err)
	jwk, err := key.PrivateJWK()
	require.NoError(t, err)
	keyFile := file(t, "k", `{"keys": [{"use": "sig", "kid": "k", `+strings.TrimPrefix(string(jwk), "{")+`]}`) // as oauth2c has it
	token := obtain(t, issuer, key)
	code, proof, log := keybound(t, token, "proof", "--key", keyFile, "--token-file", "-", service.url+"/orders?q=1#f")
	require.Equal(t, exitOK, code, log)
	proof = strings.TrimSpace(proof)

	pool := x509.NewCertPool()
	all, err := os.ReadFile(service.caFile)
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(all))
	client := issuer.client(t)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	r, err := http.NewRequest("GET", service.url+"/orders?q=2", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 200, res.StatusCode)
}

// obtain gets a token that is bound to key from the token endpoint.
func obtain(t *testing.T, issuer *runningIssuer, key *kpen.Key) string {
	t.Helper()
	endpoint := issuer.url + "/token"
	r, err := http.NewRequest("POST", endpoint, strings.NewReader("grant_type=client_credentials"))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", key.Proof("POST", endpoint, "", ""))
	r.SetBasicAuth("client", "secret")
	res, err := issuer.client(t).Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var a grantAnswer
	require.NoError(t, json.NewDecoder(res.Body).Decode(&a))
	require.NotEmpty(t, a.AccessToken)
	return a.AccessToken
}

func TestWrongCommandLinesSayWhatIsWrong(t *testing.T) {
	broken := file(t, "broken", "key")
	for want, args := range map[string][]string{
		"not an http or https URL":   {"call", "ftp://x"},
		"--make-key needs --key":     {"call", "--make-key", "ES256", "https://x"},
		"neither a JWK nor PEM":      {"call", "--key", broken, "https://x"},
		"no such file":               {"call", "--key", broken + "x", "https://x"},
		"exclude each other":         {"call", "--token", "a", "--token-file", "b", "https://x"},
		"--client-id is missing":     {"call", "--token-endpoint", "https://x/token", "https://x"},
		"holds no certificate":       {"call", "--cacert", broken, "https://x"},
		"--cert-key needs --cert":    {"call", "--cert-key", broken, "https://x"},
		"unknown flag: --nope":       {"call", "--nope", "https://x"},
		"--key is missing":           {"proof", "https://x"},
		"is not endpoint=kind":       {"issuer", "--fault", "tokens=503"},
		"is not a status":            {"issuer", "--fault", "token=9"},
		"no such --client":           {"issuer", "--certificate-bound", "x"},
		"without query and fragment": {"issuer", "--url", "https://x?y"},
		"is not one of ES256":        {"issuer", "--alg", "HS256"},
		"accepts 1 arg(s)":           {"call"},
		`unknown command "cal" for`:  {"cal"},
		"is not 'Name: value'":       {"call", "-H", "x", "https://x"},
	} {
		code, _, log := keybound(t, "", args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, log)
		require.Contains(t, log, want, args)
	}
	code, _, log := keybound(t, "", "call", "https://127.0.0.1:1")
	require.Equal(t, exitNotAsked, code, log)
}

func TestTheIssuerSpeaksEveryProfileAndHasFaults(t *testing.T) {
	for profile := range profiles {
		issuer := startIssuerCommand(t, "--profile", profile, "--subject", "alice", "--token-lifetime", "1h")
		key, err := kpen.Generate("ES256")
		require.NoError(t, err)
		parts := strings.Split(obtain(t, issuer, key), ".")
		require.Len(t, parts, 3, profile)
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		require.Contains(t, string(raw), `"sub":"alice"`, profile)
	}
	issuer := startIssuerCommand(t, "--fault", "keys=503", "--fault", "metadata=html", "--fault", "introspection=huge:10", "--opaque", "--rotate-every", "10ms", "--retire-after", "1ms")
	for path, want := range map[string]string{
		"/jwks": "<h1>Service Unavailable", "/.well-known/openid-configuration": "<html>hello", "/introspect": "xxxxxxxxxx",
	} {
		res, err := issuer.client(t).Get(issuer.url + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Contains(t, string(body), want, path)
	}
}

func TestThePageIsWhatTheCommandSays(t *testing.T) {
	code, page, _ := keybound(t, "", "docs")
	require.Equal(t, exitOK, code)
	written, err := os.ReadFile("../../docs/keybound.md")
	require.NoError(t, err)
	require.Equal(t, page, string(written), "run: go -C cmd/keybound run . docs > docs/keybound.md")
}

func TestEveryCommandTeaches(t *testing.T) {
	for _, c := range newRoot(&streams{}).Commands() {
		if c.Hidden || c.Name() == "completion" || c.Name() == "help" {
			continue
		}
		require.NotEmpty(t, c.Long, c.Name())
		require.NotEmpty(t, c.Example, c.Name())
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, script, _ := keybound(t, "", "completion", shell)
		require.Equal(t, exitOK, code)
		require.Contains(t, script, "keybound", shell)
	}
}
