package middlewaretest_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// greet is a user's handler.
func greet(w http.ResponseWriter, r *http.Request) {
	c, ok := middleware.FromContext(r.Context())
	if !ok {
		http.Error(w, "nobody", http.StatusForbidden)
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "hello %s %s", c.Token.Subject, body)
}

// A user's unit test of a handler.
func ExampleRequest() {
	t := &testing.T{} // a test gets its own
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	greet(rec, middlewaretest.Request(t, r, middlewaretest.Subject("alice"), middlewaretest.Scopes("orders:read")))
	fmt.Println(rec.Body)
	// Output: hello alice
}

// A user's test of a whole service.
func TestGuardedService(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	nonceKey := []byte(rand.Text() + rand.Text())
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.WithDPoP(dpop.New(server.URL, dpop.WithNonces(dpop.NewNonces(nonceKey)))),
	)
	require.NoError(t, err)
	server.Config.Handler = guard.Wrap(http.HandlerFunc(greet))

	key := dpoptest.NewKey(t)
	client := middlewaretest.NewClient(t, server.Client(), key, issuer.Token(oidctest.BoundToKey(key.Thumbprint())))
	for range 2 {
		resp, err := client.Post(server.URL+"/orders?q=1", "text/plain", strings.NewReader("body"))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, "hello user-1 body", string(body))
	}

	thief := middlewaretest.NewClient(t, server.Client(), dpoptest.NewKey(t), issuer.Token(oidctest.BoundToKey(key.Thumbprint())))
	resp, err := thief.Get(server.URL + "/orders")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

func TestContext(t *testing.T) {
	cert := mtlspoptest.SelfSigned(t, "client")
	ctx := middlewaretest.Context(t, t.Context(),
		middlewaretest.ClientID("app"), middlewaretest.Claim("tier", "gold"), middlewaretest.Claim("jti", nil),
		middlewaretest.Scopes("a", "b"),
		middlewaretest.WithProof(dpop.Proof{Thumbprint: strings.Repeat("A", 43), ID: "1"}),
		middlewaretest.WithCertificate(cert.Certificate))
	c, ok := middleware.FromContext(ctx)
	require.True(t, ok)
	require.Equal(t, "app", c.Token.ClientID)
	require.Equal(t, []string{"a", "b"}, c.Token.Scopes)
	require.Equal(t, oidc.Confirmation{JKT: strings.Repeat("A", 43), X5T: cert.Thumbprint()}, c.Token.Confirmation)
	require.Equal(t, "1", c.Proof.ID)
	require.Same(t, cert.Certificate, c.Certificate)
	require.Empty(t, c.Token.ID)
	values, ok := c.Token.Claim("tier")
	require.True(t, ok)
	require.Equal(t, []string{"gold"}, values)
}

func TestAGuardDoesNotRelyOnAFakeCredential(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))),
		middleware.AllowUnbound(),
	)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	guard.Wrap(http.HandlerFunc(greet)).ServeHTTP(rec, middlewaretest.Request(t, httptest.NewRequest("GET", "/", nil)))
	require.Equal(t, 401, rec.Code)
}
