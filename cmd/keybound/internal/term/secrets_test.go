package term_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/term"
)

func TestSecretsAreCutAndOtherTextIsNot(t *testing.T) {
	var secrets term.Secrets
	secrets.Add("DPoP opaque-token-0123456789", "short", "")
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.AAAAAAAAAAAAAAAAAAAA"
	for text, want := range map[string]string{
		"got opaque-token-0123456789":                                 "got ... (23 characters)",
		"got " + jwt + ".":                                            "got eyJhbGci... (",
		"https://api.example/?access_token=abc&page=2":                "https://api.example/?access_token=...&page=2",
		"#id_token=abc":                                               "#id_token=...",
		"?code=0123456789abcdefghijklmn":                              "?code=...",
		`{"kty":"EC","x":"abc","d":"secret"}`:                         `{"kty":"EC","x":"abc","d":"..."}`,
		"-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----": "(a private key)",
	} {
		require.Contains(t, secrets.Cut(text), want)
	}
	for _, text := range []string{
		"https://issuer.example/device?code=WDJB-MJHT", "open https://issuer.example/device?user_code=WDJB-MJHT", "DPoP short", "token_type=DPoP",
		`error_code="x"`, "the token is bound; token: yes", "typ dpop+jwt, alg ES256", "QN8nibLFJ9lRpTq2dSmHNpSzXnLR-7I_atHs0Rw6g7g",
		`{"kty":"EC","crv":"P-256","x":"abc","y":"def"}`, "a.b.c", "https://api.example/v1.2.3/orders",
	} {
		require.Equal(t, text, secrets.Cut(text))
	}
	var out bytes.Buffer
	o := term.New(&out, &secrets)
	o.Printf("%s and %s\n", jwt, "opaque-token-0123456789")
	require.NotContains(t, out.String(), "token-01")
	require.False(t, strings.Contains(out.String(), "AAAAAAAA"))
}
