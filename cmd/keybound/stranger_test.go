package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	kpen "github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// TestAStrangerFindsTheCauseFromThePageAlone: what docs/troubleshooting.md says to run
// for a client's 401 ends with the cause, and the page has the words that are printed.
func TestAStrangerFindsTheCauseFromThePageAlone(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	require.NoError(t, err)
	issuer, key := oidctest.NewIssuer(t), dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	har := func(url, htu, code string) string {
		text, err := json.Marshal(map[string]any{"log": map[string]any{"entries": []any{map[string]any{
			"startedDateTime": time.Now().Format(time.RFC3339),
			"request": map[string]any{"method": "POST", "url": url, "headers": []map[string]string{
				{"name": "authorization", "value": "DPoP " + token}, {"name": "dpop", "value": key.Proof("POST", htu, token)}}},
			"response": map[string]any{"status": 401, "headers": []map[string]string{{"name": "www-authenticate", "value": fmt.Sprintf(`DPoP error=%q, algs="ES256"`, code)}}},
		}}}})
		require.NoError(t, err)
		return string(text)
	}
	own, err := kpen.SelfSigned("a", time.Now())
	require.NoError(t, err)
	other, err := kpen.SelfSigned("b", time.Now())
	require.NoError(t, err)
	certToken := issuer.Token(oidctest.Claim("cnf", map[string]any{"x5t#S256": kpen.CertificateThumbprint(own.Certificate[0])}))
	refused := fmt.Sprintf("* SSL connection\n> GET /orders HTTP/1.1\n> Host: api.example\n> Authorization: Bearer %s\n>\n< HTTP/1.1 401 Unauthorized\n< Server: nginx\n"+
		"< WWW-Authenticate: Bearer error=\"invalid_token\"\n<\n", certToken)
	stale := key.Proof("GET", "https://api.example/orders", token, dpoptest.IssuedAt(time.Now().Add(-17*time.Minute)))
	for name, c := range map[string]struct {
		input  string
		flags  []string
		onPage string // what the page names
		says   []string
	}{
		"a curl line with a stale iat": {fmt.Sprintf("curl 'https://api.example/orders?page=2' -H 'authorization: DPoP %s' -H 'dpop: %s' --compressed", token, stale), nil,
			"FAIL 11: iat", []string{"17m", "--at says when the request was made", "1 of ", "\n  proof 11: iat\n"}},
		"a HAR entry whose htu lacks a proxy's prefix": {har("https://api.example/v1/orders", "https://api.example/orders", "invalid_dpop_proof"), nil,
			"FAIL 9: htu", []string{`"https://api.example/orders"`, "expected  https://api.example/v1/orders", "\n  proof 9: htu\n"}},
		"a prefix that a proxy strips": {har("https://api.example/v1/orders", "https://api.example/v1/orders", "invalid_dpop_proof"), nil,
			"no check fails, and the challenge has `invalid_dpop_proof`", []string{"a prefix that a proxy strips belongs into the origin of dpop.New"}},
		"another certificate behind nginx": {refused, []string{"--certificate", file(t, "client.pem", string(kpen.CertificatePEM(other.Certificate[0])))},
			"FAIL x5t#S256", []string{"obtained the token with", "\n  certificate x5t#S256\n"}},
		"no certificate behind nginx": {refused, nil,
			"no check fails, and the challenge has `invalid_token`", []string{"TLS ends at a proxy that forwards none"}},
		"a curl line with a certificate": {"curl -E client.pem:password -H 'Authorization: Bearer " + certToken + "' https://api.example/orders", nil,
			"--certificate client.pem", []string{"not at hand: --certificate client.pem\n"}},
	} {
		_, out, log := keybound(t, c.input, append([]string{"explain", "--issuer", issuer.URL, "--audience", oidctest.Audience}, c.flags...)...)
		require.Contains(t, string(page), c.onPage, name)
		if strings.HasPrefix(c.onPage, "FAIL") {
			require.Contains(t, out, strings.Replace(c.onPage, "FAIL ", "FAIL  ", 1), name)
		}
		for _, say := range c.says {
			require.Contains(t, out, say, name+out+log)
		}
		noSecrets(t, out+log, token, certToken)
	}
}
