package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// TestExplainAgreesWithTheGuard runs each proof of dpoptest through a guard and through
// explain: what the guard refuses has a check that fails, and what it takes has none.
func TestExplainAgreesWithTheGuard(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	tokens, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = tokens.Close() })
	guard, err := middleware.New(middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New("https://api.example")))
	require.NoError(t, err)
	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))

	judge := func(t *testing.T, token, proof string) (guardSays, explainSays bool, out string) {
		r := httptest.NewRequest("GET", "https://api.example/orders?x=1", nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		_, err := guard.Check(r)
		dir := t.TempDir()
		head := "GET https://api.example/orders?x=1 HTTP/1.1\r\nHost: api.example\r\nAuthorization: DPoP " + token + "\r\nDPoP: " + proof + "\r\n\r\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "head"), []byte(head), 0o600))
		code, out, log := keybound(t, "", "explain", filepath.Join(dir, "head"), "--issuer", issuer.URL, "--audience", oidctest.Audience)
		require.Contains(t, []int{exitOK, exitFailed}, code, log)
		if len(proof) > 100 {
			require.NotContains(t, out, proof)
		}
		require.NotContains(t, out, token)
		return err == nil, code == exitOK, out
	}
	for _, b := range dpoptest.Broken() {
		t.Run(b.Name, func(t *testing.T) {
			takes, passes, out := judge(t, token, b.Proof(key, "GET", "https://api.example/orders", token))
			require.False(t, takes)
			require.False(t, passes, out)
		})
	}
	for _, u := range dpoptest.Unusual() {
		t.Run(u.Name, func(t *testing.T) {
			takes, passes, out := judge(t, token, u.Proof(key, "GET", "https://api.example/orders", token))
			require.True(t, takes)
			require.True(t, passes, out)
		})
	}
	for name, changes := range map[string][]oidctest.Change{
		"expired":        {oidctest.Claim("exp", time.Now().Add(-time.Hour).Unix())},
		"other audience": {oidctest.Claim("aud", "https://other.example")},
		"other issuer":   {oidctest.Claim("iss", "https://other.example")},
		"no subject":     {oidctest.Without("sub")},
		"type":           {oidctest.Header("typ", "JWT")},
		"not yet":        {oidctest.Claim("nbf", time.Now().Add(time.Hour).Unix())},
		"unbound":        {oidctest.Without("cnf")},
		"other key":      {oidctest.Claim("cnf", map[string]any{"jkt": strings.Repeat("A", 43)})},
		"empty cnf":      {oidctest.Claim("cnf", map[string]any{})},
		"critical":       {oidctest.Header("crit", []string{"x"})},
		"listed scopes":  {oidctest.Claim("scope", []string{"a"})},
	} {
		t.Run("token "+name, func(t *testing.T) {
			token := issuer.Token(append([]oidctest.Change{oidctest.BoundToKey(key.Thumbprint())}, changes...)...)
			takes, passes, out := judge(t, token, key.Proof("GET", "https://api.example/orders", token))
			require.False(t, takes)
			require.False(t, passes, out)
		})
	}
}

func TestExplainReadsWhatBrowsersAndCurlWrite(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	proof := key.Proof("POST", "https://api.example/orders", token)
	fields := []map[string]string{{"name": ":authority", "value": "api.example"}, {"name": "authorization", "value": "DPoP " + token}, {"name": "dpop", "value": proof}}
	entry := map[string]any{
		"startedDateTime": time.Now().Format(time.RFC3339),
		"request":         map[string]any{"method": "POST", "url": "https://api.example/orders?x=1", "headers": fields},
		"response":        map[string]any{"status": 401, "headers": []map[string]string{{"name": "www-authenticate", "value": `DPoP error="invalid_token", algs="ES256"`}}},
	}
	fine := map[string]any{"request": map[string]any{"method": "GET", "url": "https://api.example/"}, "response": map[string]any{"status": 200}}
	har, err := json.Marshal(map[string]any{"log": map[string]any{"entries": []any{fine, entry}}})
	require.NoError(t, err)
	one, err := json.Marshal(entry)
	require.NoError(t, err)
	inputs := map[string]string{
		"har":       string(har),
		"one entry": string(one),
		"curl":      fmt.Sprintf("curl 'https://api.example/orders?x=1' \\\n  -H 'authorization: DPoP %s' \\\n  -H 'dpop: %s' \\\n  --data-raw $'{\"a\":\"\\'\"}' --compressed", token, proof),
		"curl -X":   fmt.Sprintf(`curl -sXPOST -o /dev/null --header="Authorization: DPoP %s" -H"DPoP: %s" --url https://api.example/orders`, token, proof),
		"curl -v":   fmt.Sprintf("> POST /orders HTTP/1.1\n> Host: api.example\n> Authorization: DPoP %s\n> DPoP: %s\n> \n* done\n< HTTP/1.1 401 Unauthorized\n< WWW-Authenticate: DPoP error=\"use_dpop_nonce\"\n<\nno", token, proof),
		"head":      fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: api.example\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n\r\nbody", token, proof),
	}
	for name, text := range inputs {
		code, out, log := keybound(t, text, "explain", "--issuer", issuer.URL, "--audience", oidctest.Audience)
		require.Equal(t, exitOK, code, name+out+log)
		require.Contains(t, out, "12: key", name)
		noSecrets(t, out+log, token, proof)
	}
	_, out, _ := keybound(t, inputs["har"], "explain", "--issuer", issuer.URL, "--audience", "https://other.example")
	require.Contains(t, out, "FAIL  aud")
	require.Contains(t, out, `got       "`+oidctest.Audience+`"`)
	require.Contains(t, out, "oidc.WithAudiences")
	require.Contains(t, out, "the server answered 401")
	require.Contains(t, out, "get a new one with the same key")

	// What curl says of the connection tells plain http from https.
	local := key.Proof("POST", "http://localhost:8080/orders", token)
	for connection, expected := range map[string]string{
		"* Connected to localhost (127.0.0.1) port 8080 (#0)\n":                                          "pass  9: htu",
		"* Established connection to localhost (127.0.0.1 port 8080) from 127.0.0.1 port 40000 \n":       "pass  9: htu",
		"* Connected to localhost (127.0.0.1) port 8080 (#0)\n* SSL connection using TLSv1.3 / x25519\n": "FAIL  9: htu",
		"": "FAIL  9: htu",
	} {
		text := connection + strings.NewReplacer("api.example", "localhost:8080", proof, local).Replace(inputs["curl -v"])
		_, out, _ := keybound(t, text, "explain")
		require.Contains(t, out, expected, connection)
	}

	_, out, _ = keybound(t, inputs["curl -v"], "explain")
	require.Contains(t, out, "the server answered 401")
	require.Contains(t, out, "nonce from DPoP-Nonce")
	_, out, _ = keybound(t, strings.Replace(inputs["head"], "POST", "PUT", 1), "explain")
	require.Contains(t, out, "FAIL  8: htm")
	_, out, _ = keybound(t, inputs["curl"], "explain", "--at", time.Now().Add(5*time.Minute).Format(time.RFC3339))
	require.Contains(t, out, "FAIL  11: iat")
	_, out, _ = keybound(t, inputs["curl"], "explain", "--origin", "https://gateway.example")
	require.Contains(t, out, "FAIL  9: htu")
	_, out, _ = keybound(t, inputs["curl"], "explain", "--nonces")
	require.Contains(t, out, "FAIL  10: nonce")
	for want, text := range map[string]string{"neither a HAR": "hello world", "is not JSON": "{", "no URL": "curl -v", "no end": "curl 'x", "is empty": " "} {
		code, _, log := keybound(t, text, "explain")
		require.Equal(t, exitUsage, code)
		require.Contains(t, log, want)
	}
}

func TestExplainChecksTheSignatureWithKeys(t *testing.T) {
	issuer := startIssuerCommand(t)
	d := setUp{}.start(t)
	token, err := os.ReadFile(d.token)
	require.NoError(t, err)
	_, proof, _ := keybound(t, "", "proof", "--key", d.key, "--token-file", d.token, d.url)
	proofFile := file(t, "proof", proof)
	args := []string{"explain", "--token-file", d.token, "--proof-file", proofFile, "--url", d.url, "--issuer", d.issuer.url, "--audience", "https://api.example", "--online", "--cacert", d.caFile}
	code, out, log := keybound(t, "", args...)
	require.Equal(t, exitOK, code, out+log)
	require.Contains(t, out, "pass  signature")

	parts := strings.Split(strings.TrimSpace(string(token)), ".")
	forged := file(t, "forged", parts[0]+"."+parts[1]+"."+strings.Repeat("A", 86))
	args[2] = forged
	code, out, _ = keybound(t, "", args...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "FAIL  signature")

	// Keys from a file, of an issuer that has not signed the token.
	res, err := issuer.client(t).Get(issuer.url + "/jwks")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	var set json.RawMessage
	require.NoError(t, json.NewDecoder(res.Body).Decode(&set))
	code, out, _ = keybound(t, "", "explain", "--token-file", d.token, "--proof-file", proofFile, "--url", d.url, "--jwks", file(t, "jwks", string(set)))
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "FAIL  signature")
}

// TestExplainOfATokenAlone: without a request the scheme and the proof are not judged.
func TestExplainOfATokenAlone(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	key := dpoptest.NewKey(t)
	file := filepath.Join(t.TempDir(), "token")
	explain := func(token string) (int, string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
		code, out, log := keybound(t, "", "explain", "--token-file", file, "--issuer", issuer.URL, "--audience", oidctest.Audience)
		require.NotContains(t, out+log, token)
		return code, out
	}
	code, out := explain(issuer.Token(oidctest.BoundToKey(key.Thumbprint())))
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "it is bound to a DPoP key")
	code, out = explain(issuer.Token())
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "it is bound to nothing")
	code, out = explain(issuer.Token(oidctest.Claim("aud", "https://other.example")))
	require.Equal(t, exitFailed, code, out)
}
