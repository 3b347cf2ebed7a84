package middleware_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	origin    = "https://api.example"
	issuerURL = "https://issuer.example"
)

// world is an issuer, a client with a key and a certificate, and a way to put a
// guard between them. It makes good requests; each test spoils one thing.
type world struct {
	t      testing.TB
	issuer *oidctest.Issuer
	key    *josetest.Key
	cert   *mtlspoptest.Client
}

func newWorld(t testing.TB) *world {
	return &world{t, oidctest.NewIssuer(t, oidctest.InMemory(issuerURL)), josetest.NewKey("ES256"), mtlspoptest.SelfSigned(t, "client")}
}

func (w *world) tokens(opts ...oidc.Option) middleware.Option {
	return middleware.WithTokens(w.verifier(opts...), nil)
}

func (w *world) verifier(opts ...oidc.Option) *oidc.Verifier {
	w.t.Helper()
	v, err := oidc.New(issuerURL, oidctest.Audience, append(opts, oidc.WithHTTPClient(w.issuer.Client()))...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { v.Close() })
	return v
}

// guard makes a guard for the world's issuer. Without options it has DPoP and mTLS.
func (w *world) guard(opts ...middleware.Option) *middleware.Guard {
	w.t.Helper()
	if len(opts) == 0 {
		opts = both()
	}
	g, err := middleware.New(append(opts, w.tokens())...)
	require.NoError(w.t, err)
	return g
}

func withDPoP() middleware.Option { return middleware.WithDPoP(dpop.New(origin)) }
func withMTLS() middleware.Option { return middleware.WithMTLS(mtlspop.New()) }

func both(more ...middleware.Option) []middleware.Option {
	return append([]middleware.Option{withDPoP(), withMTLS()}, more...)
}

// dpopToken is bound to the world's key.
func (w *world) dpopToken(changes ...oidctest.Change) string {
	return w.issuer.Token(append([]oidctest.Change{oidctest.BoundToKey(w.key.Thumbprint())}, changes...)...)
}

// certToken is bound to the world's certificate.
func (w *world) certToken(changes ...oidctest.Change) string {
	return w.issuer.Token(append([]oidctest.Change{oidctest.BoundToCertificate(w.cert.Certificate)}, changes...)...)
}

// proofClaims are those of a good proof for GET /r.
func proofClaims(method, htu, token string) map[string]any {
	ath := sha256.Sum256([]byte(token))
	return map[string]any{
		"jti": rand.Text(), "htm": method, "htu": htu, "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}
}

// proof signs a proof with the world's key; each edit may spoil a claim.
func (w *world) proof(method, htu, token string, edits ...func(map[string]any)) string {
	claims := proofClaims(method, htu, token)
	for _, edit := range edits {
		edit(claims)
	}
	return w.key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": w.key.JWK()}, claims)
}

// get is a request for path as a TLS server on api.example receives it.
func get(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "api.example"
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	return r
}

// dpopRequest is a good DPoP request for GET path.
func (w *world) dpopRequest(path string, changes ...oidctest.Change) *http.Request {
	r := get(path)
	token := w.dpopToken(changes...)
	htu, _, _ := strings.Cut(origin+path, "?")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", w.proof(r.Method, htu, token))
	return r
}

// certRequest is a good request with the client certificate of the connection.
func (w *world) certRequest(path string, changes ...oidctest.Change) *http.Request {
	r := get(path)
	r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
	r.Header.Set("Authorization", "Bearer "+w.certToken(changes...))
	return r
}

// bearerRequest is a request with an unbound token.
func (w *world) bearerRequest(path string, changes ...oidctest.Change) *http.Request {
	r := get(path)
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token(changes...))
	return r
}

// answer is what came of a request.
type answer struct {
	*httptest.ResponseRecorder
	called bool
	seen   *http.Request // by the handler
}

// serve sends r through g to a handler that answers 200.
func serve(g *middleware.Guard, r *http.Request) *answer {
	a := &answer{ResponseRecorder: httptest.NewRecorder()}
	g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.called, a.seen = true, r })).ServeHTTP(a, r)
	return a
}

// accepted requires that the handler was called.
func (a *answer) accepted(t testing.TB) *answer {
	t.Helper()
	require.True(t, a.called, "handler called; status %d, %v", a.Code, a.Header()["Www-Authenticate"])
	require.Equal(t, http.StatusOK, a.Code)
	require.Empty(t, a.Header()["Www-Authenticate"])
	return a
}

// refused requires the status, that the handler was not called, and what holds
// for every refusal.
func (a *answer) refused(t testing.TB, status int) *answer {
	t.Helper()
	require.False(t, a.called, "handler called")
	require.Equal(t, status, a.Code, "%v", a.Header())
	require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
	require.LessOrEqual(t, len(a.Header()["Dpop-Nonce"]), 1)
	return a
}

// challenges are the parsed challenges in order.
func (a *answer) challenges(t testing.TB) []challenge {
	t.Helper()
	var all []challenge
	for _, line := range a.Header()["Www-Authenticate"] {
		all = append(all, parseChallenge(t, line))
	}
	return all
}

// challenged requires just these challenges: a scheme alone ("DPoP") stands for
// a bare one, "DPoP:invalid_token" for one with an error.
func (a *answer) challenged(t testing.TB, want ...string) *answer {
	t.Helper()
	var got []string
	for _, c := range a.challenges(t) {
		if code, ok := c.params["error"]; ok {
			got = append(got, c.scheme+":"+code)
		} else {
			require.NotContains(t, c.params, "error_description")
			got = append(got, c.scheme)
		}
	}
	require.Equal(t, want, got)
	return a
}

// challenge is one challenge on a line of its own.
type challenge struct {
	scheme string
	params map[string]string
}

// parseChallenge is a strict parser: one challenge, no parameter twice, the
// character sets of RFC 6750, section 3.
func parseChallenge(t testing.TB, line string) challenge {
	t.Helper()
	scheme, rest, ok := strings.Cut(line, " ")
	require.True(t, ok, "AUTH-16: %q has no parameter", line)
	c := challenge{scheme, make(map[string]string)}
	for rest != "" {
		name, after, ok := strings.Cut(rest, `="`)
		require.True(t, ok, "%q", rest)
		require.Regexp(t, `^[a-z0-9_]+$`, name)
		var value strings.Builder
		i := 0
		for ; after[i] != '"'; i++ {
			require.True(t, ' ' <= after[i] && after[i] <= '~', "AUTH-17: %q", line)
			if after[i] == '\\' {
				require.Equal(t, "realm", name, "AUTH-17: backslash in %q", line)
				i++
			}
			value.WriteByte(after[i])
		}
		require.NotContains(t, c.params, name, "AUTH-15: %q", line)
		c.params[name] = value.String()
		if rest = after[i+1:]; rest != "" {
			require.True(t, strings.HasPrefix(rest, ", "), "%q", rest)
			rest = rest[2:]
		}
	}
	return c
}

// tokenVerifierFunc is a TokenVerifier that does what a test wants to see survived.
type tokenVerifierFunc func() (*oidc.Token, error)

func (f *tokenVerifierFunc) VerifyToken(context.Context, string) (*oidc.Token, error) { return (*f)() }

func withVerifier(f func() (*oidc.Token, error)) middleware.Option {
	v := tokenVerifierFunc(f)
	return middleware.WithTokens(&v, nil)
}

func newRecorderWith(name, value string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	rec.Header()[name] = []string{value}
	return rec
}

// introspector asks the world's issuer.
func (w *world) introspector(audience string, auth clientauth.Method, opts ...introspect.Option) (*introspect.Introspector, error) {
	issuer, err := oidc.NewIssuer(issuerURL, oidc.WithHTTPClient(w.issuer.Client()))
	if err != nil {
		return nil, err
	}
	return introspect.New(issuer, audience, auth, opts...)
}
