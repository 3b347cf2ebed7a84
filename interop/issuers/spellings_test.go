package issuers_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// spellings are other texts that Keycloak takes for the same token: it splits at dots and
// drops empty parts at the end, and its decoder is lenient.
func spellings(t *testing.T, token string) map[string]string {
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	all := map[string]string{
		"a dot more": token + ".", "two dots more": token + "..", "many dots more": token + strings.Repeat(".", 40),
		"a padding character": token + "=", "two": token + "==", "padding in the middle": parts[0] + "=." + parts[1] + "." + parts[2],
		"a part of nothing": token + ".e30", "five parts": token + ".e30.e30",
	}
	// The last character of a signature of 256 bytes has four bits that mean nothing.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	if len(raw)%3 == 1 {
		last := strings.IndexByte(alphabet, parts[2][len(parts[2])-1])
		all["another last character"] = token[:len(token)-1] + string(alphabet[last^1])
	}
	return all
}

// spelt is R2 and R4: one token is one token, whatever Keycloak takes for it, and a JWT
// that was refused gets no second chance as an opaque token.
func (w *world) spelt(t *testing.T) {
	from, err := oidc.NewIssuer(w.issuer.url, w.trust())
	require.NoError(t, err)
	defer from.Close()
	method := clientauth.PrivateKeyJWT("api", w.service.keys)
	token := curl{}.open(t, w, wish{client: "bearer"}).token()
	asking, err := introspect.New(from, audience, method)
	require.NoError(t, err)
	defer asking.Close()
	_, err = asking.VerifyToken(context.Background(), token)
	require.NoError(t, err)

	// The issuer says yes to some of them itself, or this test would show nothing.
	said := 0
	for _, spelling := range spellings(t, token) {
		if w.introspected(t, method, spelling) {
			said++
		}
	}
	require.NotZero(t, said, "Keycloak takes no spelling but one any more")
	for name, spelling := range spellings(t, token) {
		_, err := asking.VerifyToken(context.Background(), spelling)
		var kind oidc.TokenError
		require.True(t, errors.As(err, &kind), "R2, %s: %v", name, err)
	}
	require.Equal(t, 1, asking.Status().CachedTokens, "R2: spellings take places of their own")

	// R4: the verifier refuses a token of another audience, and the introspector would
	// accept it.
	anyone, err := introspect.New(from, "", method, introspect.DangerouslyAcceptAnyAudience())
	require.NoError(t, err)
	defer anyone.Close()
	jwts, err := from.Verifier("https://third.example", oidc.WithProfile(oidc.Keycloak))
	require.NoError(t, err)
	both, err := introspect.OrElse(jwts, anyone)
	require.NoError(t, err)
	_, err = anyone.VerifyToken(context.Background(), token)
	require.NoError(t, err)
	for name, spelling := range spellings(t, token) {
		_, err := both.VerifyToken(context.Background(), spelling)
		require.Error(t, err, "R4, %s", name)
	}
	_, err = both.VerifyToken(context.Background(), token)
	require.ErrorIs(t, err, oidc.ErrAudience)
}

// introspected is what the endpoint itself says of a text: whether it is an active token.
func (w *world) introspected(t *testing.T, method clientauth.Method, text string) bool {
	header, form := http.Header{}, url.Values{"token": {text}}
	require.NoError(t, method.Authenticate(context.Background(), w.issuer.url, header, form))
	r, err := http.NewRequest(http.MethodPost, w.issuer.url+"/protocol/openid-connect/token/introspect", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.files.client(nil).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct{ Active bool }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return resp.StatusCode == http.StatusOK && answer.Active
}
