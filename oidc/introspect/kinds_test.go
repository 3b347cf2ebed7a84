package introspect_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// R16: an ID token of a client that the service shares its audience with.
func TestAnIDTokenOfAnotherClient(t *testing.T) {
	as := issuertest.New()
	as.Introspect = issuertest.Saying(map[string]any{"active": true, "iss": issuertest.Issuer, "sub": "s", "aud": []string{"web"}, "azp": "web", "client_id": "web",
		"auth_time": 1700000000, "sid": "x", "jti": "j", "exp": 4000000000, "iat": 1700000000})
	i, err := newFrom(t, issuertest.Issuer, "web", clientauth.SecretBasic("api", "s"), oidc.WithHTTPClient(as.Client()), introspect.WithEndpoint("https://as.example/introspect"))
	require.NoError(t, err)
	_, err = i.VerifyToken(t.Context(), "opaque")
	require.Equal(t, oidc.ErrNotAccessToken, err)
}

// The evidence of a profile speaks in answers too: another value is another kind.
func TestEvidenceToTheContrary(t *testing.T) {
	for name, more := range map[string]map[string]any{"by aud": {}, "token_type": {"token_type": "Bearer"}} {
		as := issuertest.New()
		answer := map[string]any{"active": true, "iss": issuertest.Issuer, "sub": "s", "aud": issuertest.Audience, "client_id": "web", "token_kind": "refresh", "exp": 4000000000, "iat": 1700000000}
		for k, v := range more {
			answer[k] = v
		}
		as.Introspect = issuertest.Saying(answer)
		i, err := newFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.SecretBasic("api", "s"), oidc.WithHTTPClient(as.Client()), introspect.WithEndpoint("https://as.example/introspect"),
			introspect.WithProfile(oidc.Described(oidc.Dialect{Name: "x", Types: []string{"JWT"}, Evidence: []oidc.Evidence{{Claim: "token_kind", Values: []string{"access"}}}})))
		require.NoError(t, err)
		_, err = i.VerifyToken(t.Context(), "opaque")
		if err != oidc.ErrNotAccessToken {
			t.Error(name, err)
		}
	}
}

// An issuer that asks for a pause is down as long, and what was good serves on.
func TestStaleAnswersServeWhileTheIssuerAsksForAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		i := newIntrospector(t, as, introspect.WithStaleAnswers(time.Hour))
		accept(t, i, "opaque")
		as.Introspect = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(503)
		}
		time.Sleep(time.Minute)
		for n := range 10 {
			_, err := i.VerifyToken(t.Context(), "opaque")
			if err != nil {
				t.Error(n, err)
			}
			time.Sleep(time.Second)
		}
	})
}
