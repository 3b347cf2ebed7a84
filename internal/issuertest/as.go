// Package issuertest is an issuer for this module's own tests, made of handlers: each
// answer is what the test says, right or wrong. oidc/oidctest is the one for users,
// with signed tokens and faults of its own.
package issuertest

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
	"github.com/stretchr/testify/require"
)

const (
	Issuer   = "https://as.example/realm"
	Audience = "https://api.example"
)

// AS is an issuer without a network: an http.RoundTripper, so that tests can
// run in a synctest bubble. It plays discovery, key set, introspection and token
// endpoint.
type AS struct {
	Metadata   map[string]any
	Introspect http.HandlerFunc
	Token      http.HandlerFunc
	Keys       []*josetest.Key

	Down atomic.Bool

	mu    sync.Mutex
	posts []Post
}

// Post is one request to the introspection or token endpoint.
type Post struct {
	URL    string
	Header http.Header
	Form   url.Values
}

// ErrDown is what a client gets from an AS that is down.
type ErrDown struct{}

func (ErrDown) Error() string { return "connection refused" }

func New() *AS {
	return &AS{Metadata: map[string]any{
		"issuer":                 Issuer,
		"jwks_uri":               "https://as.example/jwks",
		"introspection_endpoint": "https://as.example/introspect",
		"token_endpoint":         "https://as.example/token",
	}}
}

// RoundTrip implements http.RoundTripper.
func (as *AS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if as.Down.Load() {
		return nil, ErrDown{}
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

func (as *AS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/.well-known/openid-configuration"):
		WriteJSON(w, 200, as.Metadata)
	case path == "/jwks":
		set := []map[string]any{}
		for _, k := range as.Keys {
			jwk := k.JWK()
			jwk["kid"] = k.KeyID
			set = append(set, jwk)
		}
		WriteJSON(w, 200, map[string]any{"keys": set})
	case strings.HasSuffix(path, "/introspect") && as.Introspect != nil:
		as.record(r)
		as.Introspect(w, r)
	case strings.HasSuffix(path, "/token") && as.Token != nil:
		as.record(r)
		as.Token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (as *AS) record(r *http.Request) {
	_ = r.ParseForm()
	as.mu.Lock()
	defer as.mu.Unlock()
	as.posts = append(as.posts, Post{r.URL.String(), r.Header, r.PostForm})
}

func (as *AS) Asked() []Post {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.posts
}

func (as *AS) Last(t testing.TB) Post {
	t.Helper()
	posts := as.Asked()
	require.NotEmpty(t, posts, "the issuer was not asked")
	return posts[len(posts)-1]
}

func (as *AS) Client() *http.Client { return &http.Client{Transport: as} }

func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// Saying answers every question with v.
func Saying(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, 200, v) }
}

// SayingRaw answers with exactly this body.
func SayingRaw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// GoodAnswer is an introspection answer that every test's Introspector accepts.
func GoodAnswer(edits ...func(map[string]any)) map[string]any {
	now := time.Now()
	a := map[string]any{
		"active": true, "iss": Issuer, "aud": Audience, "sub": "alice", "client_id": "app", "jti": "1",
		"scope": "orders:read orders:write", "token_type": "Bearer",
		"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for _, edit := range edits {
		edit(a)
	}
	return a
}

// With sets one member of an answer, and Without removes one.
func With(name string, value any) func(map[string]any) {
	return func(a map[string]any) { a[name] = value }
}

func Without(name string) func(map[string]any) {
	return func(a map[string]any) { delete(a, name) }
}

// RequireOutage requires an error that the guard answers with 503.
func RequireOutage(t testing.TB, err error) {
	t.Helper()
	var kind interface{ Code() string }
	require.Error(t, err)
	require.NotErrorAs(t, err, &kind, "an outage must not look like the client's fault")
}

// Thumbprint is a well-formed SHA-256 thumbprint.
const Thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
