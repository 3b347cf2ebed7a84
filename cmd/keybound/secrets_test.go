package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	kpen "github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

// leaks fails if a text holds more of a secret than its first eight characters.
func leaks(t *testing.T, what, text string, secrets map[string]string) {
	t.Helper()
	for name, secret := range secrets {
		if rest := secret[min(8, len(secret)-4):]; strings.Contains(text, rest) {
			i := strings.Index(text, rest)
			t.Errorf("%s shows the %s: ...%s...", what, name, text[max(0, i-60):min(len(text), i+60)])
		}
	}
	if jwt := regexp.MustCompile(`eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{20,}`).FindString(text); jwt != "" {
		t.Errorf("%s shows a signed JWT: %s...", what, jwt[:40])
	}
}

// spiteful answers every request with all that the client sent, in every place.
func spiteful(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	w.Header().Set("X-Echo", token+" "+r.Header.Get("DPoP"))
	w.Header().Set("Location", "https://app.example/#access_token="+strings.TrimPrefix(token, "DPoP "))
	w.Header().Set("Set-Cookie", "session="+token+"; Path=/")
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`DPoP error="invalid_token", error_description=%q, algs=%q`, token, token))
	w.WriteHeader(http.StatusUnauthorized)
}

// TestNoSubcommandPrintsOrKeepsASecret runs every subcommand with secrets that can be
// recognised, on good ways and bad ones, and reads all that it wrote.
func TestNoSubcommandPrintsOrKeepsASecret(t *testing.T) {
	d := setUp{nonces: true}.start(t)
	server := httptest.NewTLSServer(http.HandlerFunc(spiteful))
	defer server.Close()
	dir := t.TempDir()
	in := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.TrimSpace(string(text))
	}
	ca := in("ca.pem", read(d.caFile)+"\n"+string(kpen.CertificatePEM(server.Certificate().Raw)))
	token, certToken, key := read(d.token), read(d.certToken), read(d.key)
	var jwk map[string]string
	require.NoError(t, json.Unmarshal([]byte(key), &jwk))
	opaque, clientSecret := "canaryOpaqueToken0123456789abcdefghij", "canaryClientSecret0123456789"
	_, proof, _ := keybound(t, "", "proof", "--key", d.key, "--token-file", d.token, d.url)
	proof = strings.TrimSpace(proof)
	own, err := kpen.SelfSigned("canary", time.Now())
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	require.NoError(t, err)
	secrets := map[string]string{
		"token": token, "certificate-bound token": certToken, "private key": jwk["d"], "opaque token": opaque, "client secret": clientSecret,
		"proof": proof, "private key of the certificate": base64.StdEncoding.EncodeToString(der),
	}
	signature := token[strings.LastIndexByte(token, '.')+1:]
	secrets["signature of the token"] = signature
	opaqueFile, secretFile := in("opaque", opaque), in("secret", clientSecret)
	reports := func(name string) []string {
		return []string{"--json", filepath.Join(dir, name+".json"), "--junit", filepath.Join(dir, name+".xml"), "--sarif", filepath.Join(dir, name+".sarif"), "--html", filepath.Join(dir, name+".html")}
	}
	har := func(url string) string {
		text, err := json.Marshal(map[string]any{
			"request":  map[string]any{"method": "GET", "url": url, "headers": []map[string]string{{"name": "authorization", "value": "DPoP " + token}, {"name": "dpop", "value": proof}}},
			"response": map[string]any{"status": 401, "headers": []map[string]string{{"name": "www-authenticate", "value": `DPoP error="` + token + `", error_description="` + token + `"`}}},
		})
		require.NoError(t, err)
		return string(text)
	}
	spite := server.URL + "/orders?access_token=" + opaque
	before, err := os.ReadDir(dir)
	require.NoError(t, err)
	inputs := make(map[string]bool)
	for _, f := range before {
		inputs[f.Name()] = true
	}
	for name, c := range map[string]struct {
		stdin string
		args  []string
	}{
		"call":                            {"", []string{"call", "--key", d.key, "--token-file", d.token, "--cacert", ca, d.url, "-o", filepath.Join(dir, "body")}},
		"call, spite":                     {"", []string{"call", "--key", d.key, "--token-file", d.token, "--cacert", ca, spite, "-H", "X-Api-Key: " + clientSecret, "-H", "Cookie: a=" + clientSecret + "; b=" + opaque}},
		"call, opaque, spite":             {"", []string{"call", "--key", d.key, "--token", opaque, "--cacert", ca, spite}},
		"call, bearer":                    {"", []string{"call", "--token-file", opaqueFile, "--cacert", ca, spite}},
		"call, no server":                 {"", []string{"call", "--token-file", opaqueFile, "https://user:" + clientSecret + "@127.0.0.1:1/?token=" + opaque}},
		"call, Basic":                     {"", []string{"call", "--key", d.key, "--issuer", d.issuer.url, "--client-id", "a", "--client-secret-file", secretFile, "--cacert", ca, d.url}},
		"call, secret in the form":        {"", []string{"call", "--key", d.key, "--issuer", d.issuer.url, "--client-id", "a", "--secret-in-body", "--client-secret-file", secretFile, "--cacert", ca, d.url}},
		"call, spiteful endpoint":         {"", []string{"call", "--key", d.key, "--token-endpoint", spite, "--client-id", "a", "--client-secret-file", secretFile, "--cacert", ca, d.url}},
		"call, the value for a file":      {"", []string{"call", "--key", d.key, "--token-file", token, d.url}},
		"call, opaque for a file":         {"", []string{"call", "--key", d.key, "--token-file", opaque, d.url}},
		"call, a key for a file":          {"", []string{"call", "--key", key, "--token-file", d.token, d.url}},
		"call, two tokens":                {"", []string{"call", "--token", token, "--token-file", d.token, d.url}},
		"call, token as argument":         {"", []string{"call", token, token}},
		"token as command":                {"", []string{token}},
		"token as flag":                   {"", []string{"call", "--" + token, d.url}},
		"token for a number":              {"", []string{"call", "--timeout", token, d.url}},
		"proof, no key":                   {"", []string{"proof", "--token-file", d.token, d.url}},
		"proof, bad URL":                  {"", []string{"proof", "--key", d.key, "--token-file", d.token, token}},
		"key":                             {"", []string{"key", "--key", d.key}},
		"key, made":                       {"", []string{"key", "--key", filepath.Join(dir, "made.pem"), "--make-key", "ES256"}},
		"key, a token for a key":          {"", []string{"key", "--key", d.token}},
		"explain, HAR":                    {har(d.url), []string{"explain", "--json", filepath.Join(dir, "explain.json")}},
		"explain, token in the query":     {har(d.url + "?access_token=" + opaque), []string{"explain", "--json", "-"}},
		"explain, no scheme":              {"GET /orders HTTP/1.1\nHost: api.example\nAuthorization: " + token + "\nDPoP: " + proof, []string{"explain"}},
		"explain, opaque, no scheme":      {"GET /orders HTTP/1.1\nHost: api.example\nAuthorization: " + opaque, []string{"explain"}},
		"explain, swapped":                {"GET /orders HTTP/1.1\nHost: api.example\nAuthorization: DPoP " + proof + "\nDPoP: " + token, []string{"explain"}},
		"explain, Basic":                  {"GET /orders HTTP/1.1\nHost: api.example\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+clientSecret)), []string{"explain"}},
		"explain, --oauth2-bearer":        {"curl " + d.url + " --oauth2-bearer " + opaque, []string{"explain"}},
		"explain, unknown flag":           {"curl " + d.url + " --bearer-thing " + opaque, []string{"explain"}},
		"explain, -u":                     {"curl " + d.url + " -u a:" + clientSecret + " -H 'Cookie: s=" + clientSecret + "'", []string{"explain"}},
		"explain, --cert with a password": {"curl " + d.url + " -E client.pem:" + clientSecret + " -H 'Authorization: DPoP " + token + "'", []string{"explain"}},
		"explain, curl of a token":        {"curl " + token, []string{"explain"}},
		"explain, a token":                {token, []string{"explain"}},
		"explain, bad JSON":               {`{"log": "` + token, []string{"explain"}},
		"explain, htu with a token":       {"", []string{"explain", "--token-file", d.token, "--proof-file", in("odd", oddProof(t, d.key, opaque)), "--url", d.url}},
		"explain, value for a file":       {"", []string{"explain", "--token-file", d.token, "--proof-file", proof, "--url", d.url}},
		"doctor":                          {"", append([]string{"doctor", d.url, "-v", "--cacert", ca, "--key", d.key, "--token-file", d.token, "--cert", d.cert, "--certificate-token-file", d.certToken, "--no-browsers", "--connections", "3"}, reports("doctor")...)},
		"doctor, spite":                   {"", append([]string{"doctor", spite, "-v", "--cacert", ca, "--key", d.key, "--token-file", opaqueFile, "--cert", d.cert, "--certificate-token-file", d.certToken, "--connections", "3"}, reports("spite")...)},
		"doctor, with a client":           {"", []string{"doctor", d.url, "-v", "--cacert", ca, "--key", d.key, "--issuer", d.issuer.url, "--client-id", "a", "--client-secret-file", secretFile, "--connections", "3"}},
		"issuer, wrong":                   {"", []string{"issuer", "--client", "app:" + clientSecret, "--profile", "none"}},
		"check, no server":                {"", []string{"check", "https://127.0.0.1:1/?access_token=" + opaque, "--issuer", "https://" + freeAddress(t), "--wait", "1ms"}},
		"completion":                      {"", []string{"completion", "bash"}},
		"completing":                      {"", []string{"__complete", "call", "--token", token, ""}},
	} {
		code, out, log := keybound(t, c.stdin, c.args...)
		require.Contains(t, []int{exitOK, exitFailed, exitUsage, exitNotAsked}, code, name)
		leaks(t, name, out+log, secrets)
	}
	written, err := os.ReadDir(dir)
	require.NoError(t, err)
	kept := 0
	for _, f := range written {
		if inputs[f.Name()] || f.Name() == "odd" || f.Name() == "made.pem" {
			continue
		}
		kept++
		leaks(t, "the file "+f.Name(), read(filepath.Join(dir, f.Name())), secrets)
	}
	require.GreaterOrEqual(t, kept, 10)
	made := read(filepath.Join(dir, "made.pem"))
	block, _ := pem.Decode([]byte(made))
	require.NotNil(t, block, "the one file that a flag names for a key")
}

// oddProof is a proof whose htu has a token in its query.
func oddProof(t *testing.T, keyFile, token string) string {
	t.Helper()
	data, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	key, err := kpen.Parse(data)
	require.NoError(t, err)
	return key.Proof("GET", "https://user:"+token+"@api.example/orders?access_token="+token, token, "")
}
