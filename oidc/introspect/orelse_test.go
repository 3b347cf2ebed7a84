package introspect_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestFormsOfTokensAreRoutedByConfiguration(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	jwts, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	opaque, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "secret"), oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	f, err := introspect.OrElse(jwts, opaque)
	require.NoError(t, err)

	token, err := f.VerifyToken(t.Context(), issuer.Token())
	require.NoError(t, err)
	require.Equal(t, "user-1", token.Subject)
	require.Zero(t, issuer.Fetches(oidctest.Introspection))
	token, err = f.VerifyToken(t.Context(), issuer.OpaqueToken())
	require.NoError(t, err)
	require.Equal(t, "user-1", token.Subject)
	require.Equal(t, 1, issuer.Fetches(oidctest.Introspection))

	t.Run("INTRO-4-04 a JWT that is not accepted gets no second chance", func(t *testing.T) {
		raw := issuer.Token()
		_, err := f.VerifyToken(t.Context(), raw[:strings.LastIndexByte(raw, '.')+1]+"AAAA")
		require.Equal(t, oidc.ErrSignature, err)
		require.Equal(t, 1, issuer.Fetches(oidctest.Introspection))
	})
	t.Run("the operator sees both", func(t *testing.T) {
		rec := httptest.NewRecorder()
		oidc.StatusHandler(f).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		var all []oidc.Status
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all))
		require.Len(t, all, 2)
		require.Equal(t, []string{"key-1"}, all[0].Keys.KeyIDs)
		require.Equal(t, 1, all[1].CachedTokens)
		require.NotContains(t, rec.Body.String(), "secret")
	})
	_, err = introspect.OrElse(nil, nil)
	require.ErrorContains(t, err, "no verifier of JWTs")
	require.ErrorContains(t, err, "the Introspector was not made by New")
	_, err = new(introspect.ByForm).VerifyToken(t.Context(), "x")
	require.Error(t, err)
}
