package clientauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/issuertest"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

const secret32 = "0123456789abcdef0123456789abcdef"

// certificate returns a self-signed client certificate, and the function that
// TLSClientAuth takes.
func certificate(t testing.TB, name string) (*x509.Certificate, func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return leaf, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
}

// TestClientAuthenticates plays every method against an issuer that checks it, over TLS.
func TestClientAuthenticates(t *testing.T) {
	const awkward = "s:é %2B+&="
	leaf, getCert := certificate(t, "api")
	signer := josetest.NewKey("ES256").Signer
	keys, err := clientauth.NewKeys(clientauth.Key{Signer: signer})
	require.NoError(t, err)
	bearer := ""
	for name, c := range map[string]struct {
		registered oidctest.Registration
		auth       clientauth.Method
		mtls       bool
	}{
		"client_secret_basic": {
			oidctest.Registration{Secret: awkward, Method: "client_secret_basic"}, clientauth.SecretBasic("a:p/i é", awkward), false},
		"client_secret_post": {
			oidctest.Registration{Secret: awkward, Method: "client_secret_post"}, clientauth.SecretPost("a:p/i é", awkward), false},
		"client_secret_jwt": {
			oidctest.Registration{Secret: secret32, Method: "client_secret_jwt"}, clientauth.SecretJWT("a:p/i é", secret32), false},
		"private_key_jwt": {
			oidctest.Registration{Keys: []crypto.PublicKey{signer.Public()}, Method: "private_key_jwt"}, clientauth.PrivateKeyJWT("a:p/i é", keys), false},
		"tls_client_auth": {
			oidctest.Registration{Subject: "CN=api", Method: "tls_client_auth"}, clientauth.TLS("a:p/i é", getCert), true},
		"self_signed_tls_client_auth": {
			oidctest.Registration{Certificate: leaf, Method: "self_signed_tls_client_auth"}, clientauth.SelfSignedTLS("a:p/i é", getCert), true},
		"none": {
			oidctest.Registration{Method: "none"}, clientauth.Public("a:p/i é"), false},
		"a bearer token": {
			oidctest.Registration{Secret: "other"}, clientauth.Bearer("a:p/i é", func(context.Context) (string, error) { return bearer, nil }), false},
	} {
		t.Run("INTRO-2.1-02 "+name, func(t *testing.T) {
			c.registered.ID = "a:p/i é"
			opts := []oidctest.Option{oidctest.WithClient(c.registered)}
			if c.mtls {
				opts = append(opts, oidctest.ListMTLSAliases())
			}
			issuer := oidctest.NewIssuer(t, opts...)
			bearer = issuer.OpaqueToken()
			i, err := issuertest.NewFrom(t, issuer.URL, oidctest.Audience, c.auth, oidc.WithHTTPClient(issuer.Client()),
				introspect.WithAnswerLifetime(0))
			require.NoError(t, err)
			defer i.Close()
			for range 2 {
				tok, err := i.VerifyToken(t.Context(), issuer.OpaqueToken())
				require.NoError(t, err)
				require.Equal(t, "user-1", tok.Subject)
			}
			require.Equal(t, c.mtls, issuer.Requests(oidctest.Introspection)[0].Certificate != nil,
				"DISC-08 with a certificate the alias is asked, without one it is not")
		})
	}
	t.Run("DISC-08 without an alias, a client with a certificate asks the endpoint itself", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t, oidctest.WithClient(oidctest.Registration{ID: "api", Method: "tls_client_auth", Subject: "CN=api"}))
		i, err := issuertest.NewFrom(t, issuer.URL, oidctest.Audience, clientauth.TLS("api", getCert), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		accept(t, i, issuer.OpaqueToken())
	})
	t.Run("DISC-08 a client without a certificate does not ask the alias", func(t *testing.T) {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		as.Metadata["mtls_endpoint_aliases"] = map[string]any{"introspection_endpoint": "https://mtls.as.example/introspect"}
		i, err := issuertest.NewFrom(t, issuertest.Issuer, issuertest.Audience, clientauth.Public("api"), oidc.WithHTTPClient(as.Client()))
		require.NoError(t, err)
		defer i.Close()
		accept(t, i, "opaque")
		require.Equal(t, "https://as.example/introspect", as.Last(t).URL)
	})
	t.Run("DISC-08 an alias in plain http is refused", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t, oidctest.ListMTLSAliases())
		issuer.Edit(oidctest.OpenIDMetadata, func(m map[string]any) {
			m["mtls_endpoint_aliases"] = map[string]any{"introspection_endpoint": "http://issuer.example/introspect"}
		})
		i, err := issuertest.NewFrom(t, issuer.URL, oidctest.Audience, clientauth.TLS("client", getCert), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), issuer.OpaqueToken())
		issuertest.RequireOutage(t, err)
		require.Zero(t, issuer.Fetches(oidctest.Introspection))
	})
	t.Run("INTRO-2.3-01 a wrong secret of ours is an outage", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t)
		i, err := issuertest.NewFrom(t, issuer.URL, oidctest.Audience, clientauth.SecretBasic("client", "wrong"), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), issuer.OpaqueToken())
		issuertest.RequireOutage(t, err)
		require.ErrorContains(t, err, `clientauth.SecretBasic("client")`)
	})
}

// sent asks once with auth and returns what the issuer received.
func sent(t *testing.T, auth clientauth.Method) issuertest.Post {
	t.Helper()
	as := issuertest.New()
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	accept(t, issuertest.NewIntrospectorAs(t, as, auth), "opaque")
	return as.Last(t)
}

func TestBasicIsFormEncoded(t *testing.T) {
	// RFC 6749, section 2.3.1, with the characters that the encoding is about.
	p := sent(t, clientauth.SecretBasic("a:b c", "%/+é"))
	require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("a%3Ab+c:%25%2F%2B%C3%A9")), p.Header.Get("Authorization"))
	require.NotContains(t, p.Form, "client_id")
	require.NotContains(t, p.Form, "client_secret")
}

// part decodes one part of a compact JWS into a map.
func part(t *testing.T, jws string, n int) map[string]any {
	t.Helper()
	parts := strings.Split(jws, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[n])
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	return m
}

func TestAssertion(t *testing.T) {
	keys, err := clientauth.NewKeys(clientauth.Key{Signer: josetest.NewKey("ES256").Signer, KeyID: "k1"})
	require.NoError(t, err)
	before := time.Now().Unix()
	p := sent(t, clientauth.PrivateKeyJWT("api", keys))
	require.Equal(t, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", p.Form.Get("client_assertion_type"))
	require.Equal(t, "api", p.Form.Get("client_id"))
	require.Empty(t, p.Header.Get("Authorization"))
	jwt := p.Form.Get("client_assertion")
	require.Equal(t, map[string]any{"alg": "ES256", "typ": "JWT", "kid": "k1"}, part(t, jwt, 0))
	claims := part(t, jwt, 1)
	require.Equal(t, "api", claims["iss"])
	require.Equal(t, "api", claims["sub"])
	require.Equal(t, issuertest.Issuer, claims["aud"], "the issuer identifier, as one string")
	require.GreaterOrEqual(t, claims["iat"], float64(before))
	require.Equal(t, claims["iat"].(float64)+60, claims["exp"])
	require.GreaterOrEqual(t, len(claims["jti"].(string)), 22)
	again := part(t, sent(t, clientauth.PrivateKeyJWT("api", keys)).Form.Get("client_assertion"), 1)
	require.NotEqual(t, claims["jti"], again["jti"])

	t.Run("its audience, type and lifetime can be set", func(t *testing.T) {
		jwt := sent(t, clientauth.PrivateKeyJWT("api", keys, clientauth.WithAudience("https://as.example/token"),
			clientauth.WithType("client-authentication+jwt"), clientauth.WithAssertionLifetime(10*time.Second))).Form.Get("client_assertion")
		require.Equal(t, "client-authentication+jwt", part(t, jwt, 0)["typ"])
		claims := part(t, jwt, 1)
		require.Equal(t, "https://as.example/token", claims["aud"])
		require.Equal(t, claims["iat"].(float64)+10, claims["exp"])
	})
	for alg, newHash := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
		t.Run("the MAC of "+alg, func(t *testing.T) {
			secret := strings.Repeat("s", 64)
			opts := []clientauth.Option{clientauth.WithAlgorithm(alg)}
			if alg == "HS256" {
				opts = nil
			}
			jwt := sent(t, clientauth.SecretJWT("api", secret, opts...)).Form.Get("client_assertion")
			require.Equal(t, alg, part(t, jwt, 0)["alg"])
			input, signature := jwt[:strings.LastIndexByte(jwt, '.')], jwt[strings.LastIndexByte(jwt, '.')+1:]
			mac := hmac.New(newHash, []byte(secret))
			mac.Write([]byte(input))
			require.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), signature)
		})
	}
}

// TestMistakesInClientSettings gives every function its mistakes, which it reports by
// name.
func TestMistakesInClientSettings(t *testing.T) {
	keys, err := clientauth.NewKeys(clientauth.Key{Signer: josetest.NewKey("ES256").Signer})
	require.NoError(t, err)
	introspector := func(auth clientauth.Method, opts ...any) error {
		i, err := issuertest.NewFrom(t, issuertest.Issuer, issuertest.Audience, auth, opts...)
		if err != nil {
			require.Nil(t, i)
		}
		return err
	}
	public := clientauth.Public("api")
	issuer, err := oidc.NewIssuer(issuertest.Issuer)
	require.NoError(t, err)
	credentials := func(opts ...exchange.Option) error {
		_, err := exchange.New(issuer, opts...)
		return err
	}
	for want, err := range map[string]error{
		"client authentication is nil":                               introspector(nil),
		"SecretBasic: the client id is empty":                        introspector(clientauth.SecretBasic("", "s")),
		"SecretBasic: the client secret is empty":                    introspector(clientauth.SecretBasic("a", "")),
		"SecretPost: the client secret is empty":                     introspector(clientauth.SecretPost("a", "")),
		"Public: the client id is empty":                             introspector(clientauth.Public("")),
		"SecretJWT: the secret has fewer than the 32 bytes of HS256": introspector(clientauth.SecretJWT("a", secret32[1:])),
		"fewer than the 48 bytes of HS384":                           introspector(clientauth.SecretJWT("a", secret32, clientauth.WithAlgorithm("HS384"))),
		`the algorithm "none" is none of`:                            introspector(clientauth.SecretJWT("a", secret32, clientauth.WithAlgorithm("none"))),
		"PrivateKeyJWT: keys is nil":                                 introspector(clientauth.PrivateKeyJWT("a", nil)),
		"PrivateKeyJWT: the key decides the algorithm":               introspector(clientauth.PrivateKeyJWT("a", keys, clientauth.WithAlgorithm("ES256"))),
		"PrivateKeyJWT: option 1 is nil":                             introspector(clientauth.PrivateKeyJWT("a", keys, nil)),
		"WithAudience is given twice":                                introspector(clientauth.PrivateKeyJWT("a", keys, clientauth.WithAudience("x"), clientauth.WithAudience("x"))),
		"WithType: the value is empty":                               introspector(clientauth.PrivateKeyJWT("a", keys, clientauth.WithType(""))),
		"WithAssertionLifetime: 11m0s":                               introspector(clientauth.PrivateKeyJWT("a", keys, clientauth.WithAssertionLifetime(11*time.Minute))),
		"TLS: certificate is nil":                                    introspector(clientauth.TLS("a", nil)),
		"SelfSignedTLS: certificate is nil":                          introspector(clientauth.SelfSignedTLS("a", nil)),
		"Bearer: source is nil":                                      introspector(clientauth.Bearer("a", nil)),
		"a client certificate cannot be added":                       introspector(clientauth.TLS("a", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }), oidc.WithHTTPClient(&http.Client{Transport: issuertest.New()})),
		"option 1 is nil":                                            introspector(public, nil),
		"WithAnswerLifetime: -1s":                                    introspector(public, introspect.WithAnswerLifetime(-time.Second)),
		"WithAnswerLifetime: 1h0m0.000000001s":                       introspector(public, introspect.WithAnswerLifetime(time.Hour+1)),
		"WithAnswerLifetime is given twice":                          introspector(public, introspect.WithAnswerLifetime(0), introspect.WithAnswerLifetime(0)),
		"WithRefusalLifetime: 1m1s":                                  introspector(public, introspect.WithRefusalLifetime(61*time.Second)),
		"WithStaleAnswers: 0s":                                       introspector(public, introspect.WithStaleAnswers(0)),
		"WithStaleAnswers has nothing to serve":                      introspector(public, introspect.WithStaleAnswers(time.Hour), introspect.WithAnswerLifetime(0)),
		"WithStore: nil":                                             introspector(public, introspect.WithStore(nil, nil)),
		"WithCacheSize: 0":                                           introspector(public, introspect.WithCacheSize(0)),
		"WithEndpoint: the URL is empty":                             introspector(public, introspect.WithEndpoint("")),
		"WithScopes: no scope given":                                 credentials(exchange.WithScopes()),
		`WithScopes: "a b" is not a scope`:                           credentials(exchange.WithScopes("a b")),
		`WithScopes: "" is not a scope`:                              credentials(exchange.WithScopes("")),
		"WithParameter: the name is empty":                           credentials(exchange.WithParameter("", "x")),
		"WithParameter: grant_type is not for this option":           credentials(exchange.WithParameter("grant_type", "password")),
		"WithParameter: client_secret is not for this option":        credentials(exchange.WithParameter("client_secret", "x")),
		"WithTokenLifetime: 0s":                                      credentials(exchange.WithTokenLifetime(0)),
		"WithEndpoint: URL with user information":                    credentials(exchange.WithEndpoint("https://u:p@as.example/t")),
		"WithEndpoint: ftp://as.example/t: https is required":        credentials(exchange.WithEndpoint("ftp://as.example/t")),
	} {
		require.ErrorContains(t, err, want)
		for line := range strings.Lines(err.Error()) {
			room, _, _ := strings.Cut(line, ": ")
			require.Contains(t, []string{"clientauth", "introspect", "exchange"}, room, line)
			require.NotContains(t, line, "u:p@")
		}
	}
	t.Run("every mistake is reported at once", func(t *testing.T) {
		err := introspector(clientauth.SecretBasic("", ""), introspect.WithCacheSize(0), introspect.WithStore(nil, nil), nil, introspect.WithSkew(-1))
		require.Len(t, strings.Split(err.Error(), "\n"), 6, "%v", err)
	})
}

// TestNoSecretIsPrinted prints whatever holds a secret in every way that fmt and
// slog know.
func TestNoSecretIsPrinted(t *testing.T) {
	const secret = "s3cret-0123456789abcdef-0123456789"
	key := josetest.NewKey("Ed25519").Signer
	keys, err := clientauth.NewKeys(clientauth.Key{Signer: key, KeyID: "k"})
	require.NoError(t, err)
	as := issuertest.New()
	as.Token = issuertest.Saying(map[string]any{"access_token": secret, "token_type": "Bearer", "expires_in": 300})
	issuer, err := oidc.NewIssuer(issuertest.Issuer, oidc.WithHTTPClient(as.Client()))
	require.NoError(t, err)
	credentials, err := exchange.New(issuer, exchange.WithEndpoint("https://as.example/token"))
	require.NoError(t, err)
	_, err = credentials.Token(t.Context(), netip.Addr{}, "app", secret)
	require.NoError(t, err)
	as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
	i := issuertest.NewIntrospectorAs(t, as, clientauth.SecretPost("api", secret))
	accept(t, i, secret)
	private := fmt.Sprint(key)[1:20]
	for _, v := range []any{
		clientauth.SecretBasic("api", secret), clientauth.SecretPost("api", secret), clientauth.SecretJWT("api", secret),
		clientauth.PrivateKeyJWT("api", keys), clientauth.Key{Signer: key, KeyID: "k"}, keys, i, *credentials, credentials,
		struct{ a clientauth.Method }{clientauth.SecretBasic("api", secret)},
		struct{ a []clientauth.Method }{[]clientauth.Method{clientauth.SecretJWT("api", secret)}},
		struct{ K clientauth.Key }{clientauth.Key{Signer: key}},
		clientauth.Bearer("api", func(context.Context) (string, error) { return secret, nil }),
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			text := fmt.Sprintf(format, v)
			require.NotContains(t, text, secret, format)
			require.NotContains(t, text, fmt.Sprintf("%x", secret), format)
			require.NotContains(t, text, private, format)
		}
		var text strings.Builder
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "v", v)
		require.NotContains(t, text.String(), secret)
	}
	require.Equal(t, `clientauth.SecretBasic("api")`, fmt.Sprint(clientauth.SecretBasic("api", secret)))
}

func TestBearerTokenFailsAsAnOutage(t *testing.T) {
	for name, source := range map[string]func(context.Context) (string, error){
		"no token":       func(context.Context) (string, error) { return "", nil },
		"line break":     func(context.Context) (string, error) { return "a\r\nX: y", nil },
		"an error":       func(context.Context) (string, error) { return "", errors.New("down") },
		"a client error": func(context.Context) (string, error) { return "", oidc.ErrInactive },
	} {
		as := issuertest.New()
		as.Introspect = issuertest.Saying(issuertest.GoodAnswer())
		_, err := issuertest.NewIntrospectorAs(t, as, clientauth.Bearer("api", source)).VerifyToken(t.Context(), "opaque")
		issuertest.RequireOutage(t, err)
		require.Empty(t, as.Asked(), name)
	}
}

func accept(t testing.TB, i *introspect.Introspector, token string) *oidc.Token {
	t.Helper()
	tok, err := i.VerifyToken(t.Context(), token)
	require.NoError(t, err)
	return tok
}
