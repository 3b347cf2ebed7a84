package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

func TestStatusHandlerShowsEachIssuer(t *testing.T) {
	a, b := newIssuer(t), oidctest.NewIssuer(t, oidctest.InMemory(otherIdentifier))
	source, err := jwks.New(b.Endpoint(oidctest.KeySet), jwks.WithHTTPClient(b.Client()))
	require.NoError(t, err)
	defer source.Close()
	vb, err := oidc.New(b.URL, oidctest.Audience, oidc.WithKeys(source, nil))
	require.NoError(t, err)
	s := newVerifiers(t, newVerifier(t, a), vb)
	handler := oidc.StatusHandler(s, newStaticVerifier(t, a, &static{}))

	get := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		return w
	}
	var before []oidc.Status
	require.NoError(t, json.Unmarshal(get("GET").Body.Bytes(), &before))
	require.Len(t, before, 3)
	require.True(t, before[0].Metadata.FetchedAt.IsZero())
	require.Nil(t, before[2].Keys)

	raw := a.Token()
	_, err = verifyToken(t, s, raw)
	require.NoError(t, err)
	b.SetDown(true)
	_, err = verifyToken(t, s, b.Token())
	requireOurs(t, err)

	w := get("GET")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.NotContains(t, w.Body.String(), raw)
	var after []oidc.Status
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &after))
	require.Equal(t, a.URL, after[0].Issuer)
	require.Equal(t, a.Endpoint(oidctest.OpenIDMetadata), after[0].Metadata.URL)
	require.Equal(t, a.Endpoint(oidctest.TokenEndpoint), after[0].Metadata.TokenEndpoint)
	require.Equal(t, a.Endpoint(oidctest.Introspection), after[0].Metadata.IntrospectionEndpoint)
	require.Equal(t, 1, after[0].Keys.Keys)
	require.Equal(t, 1, after[0].CachedTokens)
	require.Empty(t, after[0].Keys.LastError)
	require.Nil(t, after[1].Metadata)
	require.NotEmpty(t, after[1].Keys.LastError)

	require.Equal(t, http.StatusOK, get("HEAD").Code)
	require.Equal(t, http.StatusMethodNotAllowed, get("POST").Code)
	require.Equal(t, "GET, HEAD", get("POST").Header().Get("Allow"))
}

func TestStatusOfNothing(t *testing.T) {
	require.Equal(t, oidc.Status{}, (*oidc.Verifier)(nil).Status())
	w := httptest.NewRecorder()
	oidc.StatusHandler((*oidc.Verifiers)(nil)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.JSONEq(t, "[]", w.Body.String())
}

func TestClosedVerifierKeepsWhatItKnows(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, issuer)
	_, err := verifyToken(t, v, issuer.Token())
	require.NoError(t, err)
	require.NoError(t, v.Close())
	require.NoError(t, v.Close())
	_, err = verifyToken(t, v, issuer.Token())
	require.NoError(t, err)
}
