package introspect_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

// signedFrom returns an Introspector of issuer that insists on signed answers.
func signedFrom(t *testing.T, issuer *oidctest.Issuer, opts ...any) *introspect.Introspector {
	t.Helper()
	i, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "secret"), append([]any{
		oidc.WithHTTPClient(issuer.Client()), introspect.RequireSigned(),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func TestSignedAnswers(t *testing.T) {
	t.Run("IJWT-4-01 a signed answer is asked for, and IJWT-5-01 a good one accepted", func(t *testing.T) {
		issuer := newIssuer(t)
		i := signedFrom(t, issuer)
		require.NoError(t, i.Prefetch(t.Context()))
		require.Equal(t, "user-1", accept(t, i, issuer.OpaqueToken()).Subject)
		require.Equal(t, "application/token-introspection+jwt", issuer.Requests(oidctest.Introspection)[0].Header.Get("Accept"))
	})
	t.Run("IJWT-5-01 a signed answer that is not active is a refusal", func(t *testing.T) {
		_, err := signedFrom(t, newIssuer(t)).VerifyToken(t.Context(), "unknown")
		require.Equal(t, oidc.ErrInactive, err)
	})
	now := time.Now().Unix()
	for name, edit := range map[string]func(header, claims map[string]any){
		"IJWT-5-01 typ is missing":              func(h, _ map[string]any) { delete(h, "typ") },
		"IJWT-5-01 typ is that of any JWT":      func(h, _ map[string]any) { h["typ"] = "JWT" },
		"IJWT-5-01 typ is that of a token":      func(h, _ map[string]any) { h["typ"] = "at+jwt" },
		"IJWT-5-01 alg is none":                 func(h, _ map[string]any) { h["alg"] = "none" },
		"IJWT-5-01 alg is a MAC":                func(h, _ map[string]any) { h["alg"] = "HS256" },
		"IJWT-5-01 alg is not the key's":        func(h, _ map[string]any) { h["alg"] = "ES384" },
		"IJWT-5-01 crit is there":               func(h, _ map[string]any) { h["crit"] = []string{"exp"} },
		"IJWT-5-01 kid is of no key":            func(h, _ map[string]any) { h["kid"] = "other" },
		"IJWT-5-01 iss is another":              func(_, c map[string]any) { c["iss"] = "https://other.example" },
		"IJWT-5-01 iss is missing":              func(_, c map[string]any) { delete(c, "iss") },
		"IJWT-5-01 aud is another":              func(_, c map[string]any) { c["aud"] = "other" },
		"IJWT-5-01 aud is missing":              func(_, c map[string]any) { delete(c, "aud") },
		"IJWT-5-01 iat is missing":              func(_, c map[string]any) { delete(c, "iat") },
		"IJWT-5-01 iat is a string":             func(_, c map[string]any) { c["iat"] = "1" },
		"IJWT-X-01 iat is stale":                func(_, c map[string]any) { c["iat"] = now - 60 },
		"IJWT-X-01 iat is to come":              func(_, c map[string]any) { c["iat"] = now + 60 },
		"IJWT-5-01 the object is missing":       func(_, c map[string]any) { delete(c, "token_introspection") },
		"IJWT-5-01 the object is null":          func(_, c map[string]any) { c["token_introspection"] = nil },
		"IJWT-5-01 the object is a string":      func(_, c map[string]any) { c["token_introspection"] = `{"active":true}` },
		"IJWT-5-01 active is beside the object": func(_, c map[string]any) { c["token_introspection"], c["active"] = map[string]any{}, true },
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			issuer.EditIntrospectionJWT(edit)
			_, err := signedFrom(t, issuer).VerifyToken(t.Context(), issuer.OpaqueToken())
			issuertest.RequireOutage(t, err)
		})
	}
	for name, edit := range map[string]func(header, claims map[string]any){
		"IJWT-5-01 typ in full, in capitals":    func(h, _ map[string]any) { h["typ"] = "Application/Token-Introspection+JWT" },
		"IJWT-5-01 aud is a list":               func(_, c map[string]any) { c["aud"] = []string{"x", "client"} },
		"IJWT-5-01 aud is the service's own":    func(_, c map[string]any) { c["aud"] = oidctest.Audience },
		"IJWT-X-01 iat is within skew, late":    func(_, c map[string]any) { c["iat"] = now - 20 },
		"IJWT-X-01 iat is within skew, early":   func(_, c map[string]any) { c["iat"] = now + 20 },
		"IJWT-5-01 no kid, one key that may be": func(h, _ map[string]any) { delete(h, "kid") },
	} {
		t.Run(name, func(t *testing.T) {
			issuer := newIssuer(t)
			issuer.EditIntrospectionJWT(edit)
			accept(t, signedFrom(t, issuer), issuer.OpaqueToken())
		})
	}
	t.Run("IJWT-5-01 an algorithm that is not in the list", func(t *testing.T) {
		issuer := newIssuer(t)
		_, err := signedFrom(t, issuer, introspect.WithAlgorithms("PS256")).VerifyToken(t.Context(), issuer.OpaqueToken())
		issuertest.RequireOutage(t, err)
		require.ErrorContains(t, err, "WithAlgorithms")
	})
	t.Run("IJWT-5-02 a plain answer is refused, whatever it is called", func(t *testing.T) {
		plain := `{"active":true,"aud":"` + oidctest.Audience + `"}`
		for _, mediaType := range []string{"application/json", "application/token-introspection+jwt"} {
			issuer := newIssuer(t)
			issuer.Break(oidctest.Introspection, oidctest.Body(mediaType, plain))
			_, err := signedFrom(t, issuer).VerifyToken(t.Context(), "opaque")
			issuertest.RequireOutage(t, err)
		}
	})
	t.Run("IJWT-5-01 a signed answer under another media type is refused", func(t *testing.T) {
		for _, mediaType := range []string{"application/jwt", "application/json", "text/plain"} {
			issuer := newIssuer(t)
			issuer.Break(oidctest.Introspection, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					issuertest.SayingRaw(answer.Code, mediaType, answer.Body.String())(w, r)
				})
			})
			_, err := signedFrom(t, issuer).VerifyToken(t.Context(), issuer.OpaqueToken())
			issuertest.RequireOutage(t, err)
		}
	})
	t.Run("IJWT-5-02 a signed answer is refused where none was asked for", func(t *testing.T) {
		issuer := newIssuer(t)
		i, err := newFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "secret"), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		issuer.Break(oidctest.Introspection, oidctest.ContentType("application/token-introspection+jwt"))
		_, err = i.VerifyToken(t.Context(), issuer.OpaqueToken())
		issuertest.RequireOutage(t, err)
	})
	t.Run("IJWT-5-03 an encrypted answer is a clear error", func(t *testing.T) {
		issuer := newIssuer(t)
		issuer.Break(oidctest.Introspection, oidctest.Body("application/token-introspection+jwt", "e30.e30.e30.e30.e30"))
		_, err := signedFrom(t, issuer).VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		require.ErrorContains(t, err, "introspection_encrypted_response_alg")
	})
	t.Run("IJWT-5-01 an answer signed by another issuer's key", func(t *testing.T) {
		stranger := josetest.NewKey("ES256")
		as, issuer := issuertest.New(), josetest.NewKey("ES256")
		issuer.KeyID, stranger.KeyID = "k", "k"
		as.Keys = []*josetest.Key{issuer}
		answerBy := func(key *josetest.Key) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/token-introspection+jwt")
				_, _ = w.Write([]byte(key.Sign(map[string]any{"typ": "token-introspection+jwt"}, map[string]any{
					"iss": issuertest.Issuer, "aud": "api", "iat": time.Now().Unix(), "token_introspection": issuertest.GoodAnswer(),
				})))
			}
		}
		i := newIntrospector(t, as, introspect.RequireSigned(), oidc.WithJWKSURI("https://as.example/jwks"))
		as.Introspect = answerBy(issuer)
		accept(t, i, "one")
		as.Introspect = answerBy(stranger)
		_, err := i.VerifyToken(t.Context(), "two")
		issuertest.RequireOutage(t, err)
		require.ErrorContains(t, err, "signature")
	})
	t.Run("IJWT-5-01 no answer with a flipped bit passes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			as, key := issuertest.New(), josetest.NewKey("ES256")
			key.KeyID = "k"
			as.Keys = []*josetest.Key{key}
			good := key.Sign(map[string]any{"typ": "token-introspection+jwt"}, map[string]any{
				"iss": issuertest.Issuer, "aud": "api", "iat": time.Now().Unix(), "token_introspection": issuertest.GoodAnswer(),
			})
			i := newIntrospector(t, as, introspect.RequireSigned(), oidc.WithJWKSURI("https://as.example/jwks"),
				introspect.WithAnswerLifetime(0), introspect.WithRefusalLifetime(0))
			defer i.Close()
			as.Introspect = issuertest.SayingRaw(200, "application/token-introspection+jwt", good)
			accept(t, i, "opaque")
			for n := range len(good) * 8 {
				if n%7 != 0 { // every bit position of some bytes: enough, and quick
					continue
				}
				bad := []byte(good)
				bad[n/8] ^= 1 << (n % 8)
				as.Introspect = issuertest.SayingRaw(200, "application/token-introspection+jwt", string(bad))
				if _, err := i.VerifyToken(t.Context(), "opaque"); err == nil {
					t.Fatalf("bit %d of %s", n, base64.RawURLEncoding.EncodeToString(bad))
				}
			}
		})
	})
	t.Run("an answer signed with the next key is accepted after the keys rotate", func(t *testing.T) {
		issuer := newIssuer(t)
		i := signedFrom(t, issuer)
		accept(t, i, issuer.OpaqueToken())
		issuer.Rotate()
		accept(t, i, issuer.OpaqueToken())
	})
}

func TestIntrospectionJWTIsNoAccessToken(t *testing.T) {
	issuer := newIssuer(t)
	for name, p := range map[string]oidc.Profile{"RFC 9068": oidc.RFC9068, "Keycloak": oidc.Keycloak, "Okta": oidc.Okta} {
		t.Run("IJWT-8.1-01 AT-X-01 by the profile of "+name, func(t *testing.T) {
			answer := issuer.Token(func(d *oidctest.Draft) { d.Header["typ"] = "token-introspection+jwt" })
			_, err := newVerifier(t, issuer, oidc.WithProfile(p)).VerifyToken(t.Context(), answer)
			require.Equal(t, oidc.ErrType, err)
		})
	}
}
