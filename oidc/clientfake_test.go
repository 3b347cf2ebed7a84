package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/stretchr/testify/require"
)

const (
	fakeIssuer   = "https://as.example/realm"
	fakeAudience = "https://api.example"
)

// fakeAS is an issuer without a network: an http.RoundTripper, so that tests can
// run in a synctest bubble. It plays discovery, key set, introspection and token endpoint.
type fakeAS struct {
	metadata   map[string]any
	introspect http.HandlerFunc
	token      http.HandlerFunc
	keys       []*josetest.Key

	down atomic.Bool

	mu    sync.Mutex
	posts []fakePost
}

// fakePost is one request to the introspection or token endpoint.
type fakePost struct {
	url    string
	header http.Header
	form   url.Values
}

type errDown struct{}

func (errDown) Error() string { return "connection refused" }

func newFakeAS() *fakeAS {
	return &fakeAS{metadata: map[string]any{
		"issuer":                 fakeIssuer,
		"jwks_uri":               "https://as.example/jwks",
		"introspection_endpoint": "https://as.example/introspect",
		"token_endpoint":         "https://as.example/token",
	}}
}

// RoundTrip implements http.RoundTripper.
func (as *fakeAS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if as.down.Load() {
		return nil, errDown{}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	as.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (as *fakeAS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/.well-known/openid-configuration"):
		writeJSON(w, 200, as.metadata)
	case path == "/jwks":
		set := []map[string]any{}
		for _, k := range as.keys {
			jwk := k.JWK()
			jwk["kid"] = k.KeyID
			set = append(set, jwk)
		}
		writeJSON(w, 200, map[string]any{"keys": set})
	case strings.HasSuffix(path, "/introspect") && as.introspect != nil:
		as.record(r)
		as.introspect(w, r)
	case strings.HasSuffix(path, "/token") && as.token != nil:
		as.record(r)
		as.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (as *fakeAS) record(r *http.Request) {
	_ = r.ParseForm()
	as.mu.Lock()
	defer as.mu.Unlock()
	as.posts = append(as.posts, fakePost{r.URL.String(), r.Header, r.PostForm})
}

func (as *fakeAS) asked() []fakePost {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.posts
}

func (as *fakeAS) last(t testing.TB) fakePost {
	t.Helper()
	posts := as.asked()
	require.NotEmpty(t, posts, "the issuer was not asked")
	return posts[len(posts)-1]
}

func (as *fakeAS) client() *http.Client { return &http.Client{Transport: as} }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// saying answers every question with v.
func saying(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, v) }
}

// sayingRaw answers with exactly this body.
func sayingRaw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// goodAnswer is an introspection answer that every test's Introspector accepts.
func goodAnswer(edits ...func(map[string]any)) map[string]any {
	now := time.Now()
	a := map[string]any{
		"active": true, "iss": fakeIssuer, "aud": fakeAudience, "sub": "alice", "client_id": "app", "jti": "1",
		"scope": "orders:read orders:write", "token_type": "Bearer",
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for _, edit := range edits {
		edit(a)
	}
	return a
}

// with sets one member of an answer, and without removes one.
func with(name string, value any) func(map[string]any) {
	return func(a map[string]any) { a[name] = value }
}

func without(name string) func(map[string]any) {
	return func(a map[string]any) { delete(a, name) }
}

func newIntrospector(t testing.TB, as *fakeAS, opts ...oidc.Option) *oidc.Introspector {
	t.Helper()
	return newIntrospectorAs(t, as, oidc.ClientSecretBasic("api", "s3cret"), opts...)
}

func newIntrospectorAs(t testing.TB, as *fakeAS, auth oidc.ClientAuth, opts ...oidc.Option) *oidc.Introspector {
	t.Helper()
	opts = append([]oidc.Option{
		oidc.WithHTTPClient(as.client()),
		// Without a document to refresh, nothing runs in the background.
		oidc.WithIntrospectionEndpoint("https://as.example/introspect"),
	}, opts...)
	i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, auth, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// requireOutage requires an error that the guard answers with 503.
func requireOutage(t testing.TB, err error) {
	t.Helper()
	var kind interface{ Code() string }
	require.Error(t, err)
	require.NotErrorAs(t, err, &kind, "an outage must not look like the client's fault")
}

// thumbprint43 is a well-formed SHA-256 thumbprint.
const thumbprint43 = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
