package oidc_test

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
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

const secret32 = "0123456789abcdef0123456789abcdef"

// certificate returns a self-signed client certificate, and the function that TLSClientAuth takes.
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
	keys, err := oidc.NewClientKeys(oidc.ClientKey{Signer: signer})
	require.NoError(t, err)
	bearer := ""
	for name, c := range map[string]struct {
		registered oidctest.Registration
		auth       oidc.ClientAuth
		mtls       bool
	}{
		"client_secret_basic": {
			oidctest.Registration{Secret: awkward, Method: "client_secret_basic"}, oidc.ClientSecretBasic("a:p/i é", awkward), false},
		"client_secret_post": {
			oidctest.Registration{Secret: awkward, Method: "client_secret_post"}, oidc.ClientSecretPost("a:p/i é", awkward), false},
		"client_secret_jwt": {
			oidctest.Registration{Secret: secret32, Method: "client_secret_jwt"}, oidc.ClientSecretJWT("a:p/i é", secret32), false},
		"private_key_jwt": {
			oidctest.Registration{Keys: []crypto.PublicKey{signer.Public()}, Method: "private_key_jwt"}, oidc.PrivateKeyJWT("a:p/i é", keys), false},
		"tls_client_auth": {
			oidctest.Registration{Subject: "CN=api", Method: "tls_client_auth"}, oidc.TLSClientAuth("a:p/i é", getCert), true},
		"self_signed_tls_client_auth": {
			oidctest.Registration{Certificate: leaf, Method: "self_signed_tls_client_auth"}, oidc.SelfSignedTLS("a:p/i é", getCert), true},
		"none": {
			oidctest.Registration{Method: "none"}, oidc.PublicClient("a:p/i é"), false},
		"a bearer token": {
			oidctest.Registration{Secret: "other"}, oidc.BearerToken("a:p/i é", func(context.Context) (string, error) { return bearer, nil }), false},
	} {
		t.Run("INTRO-2.1-02 "+name, func(t *testing.T) {
			c.registered.ID = "a:p/i é"
			opts := []oidctest.Option{oidctest.WithClient(c.registered)}
			if c.mtls {
				opts = append(opts, oidctest.WithMTLSAliases())
			}
			issuer := oidctest.NewIssuer(t, opts...)
			bearer = issuer.OpaqueToken()
			i, err := oidc.NewIntrospector(issuer.URL, oidctest.Audience, c.auth, oidc.WithHTTPClient(issuer.Client()),
				oidc.WithAnswerLifetime(0))
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
		i, err := oidc.NewIntrospector(issuer.URL, oidctest.Audience, oidc.TLSClientAuth("api", getCert), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		accept(t, i, issuer.OpaqueToken())
	})
	t.Run("DISC-08 a client without a certificate does not ask the alias", func(t *testing.T) {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		as.metadata["mtls_endpoint_aliases"] = map[string]any{"introspection_endpoint": "https://mtls.as.example/introspect"}
		i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, oidc.PublicClient("api"), oidc.WithHTTPClient(as.client()))
		require.NoError(t, err)
		defer i.Close()
		accept(t, i, "opaque")
		require.Equal(t, "https://as.example/introspect", as.last(t).url)
	})
	t.Run("DISC-08 an alias in plain http is refused", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t, oidctest.WithMTLSAliases())
		issuer.Edit(oidctest.OpenIDMetadata, func(m map[string]any) {
			m["mtls_endpoint_aliases"] = map[string]any{"introspection_endpoint": "http://issuer.example/introspect"}
		})
		i, err := oidc.NewIntrospector(issuer.URL, oidctest.Audience, oidc.TLSClientAuth("client", getCert), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), issuer.OpaqueToken())
		requireOutage(t, err)
		require.Zero(t, issuer.Fetches(oidctest.Introspection))
	})
	t.Run("INTRO-2.3-01 a wrong secret of ours is an outage", func(t *testing.T) {
		issuer := oidctest.NewIssuer(t)
		i, err := oidc.NewIntrospector(issuer.URL, oidctest.Audience, oidc.ClientSecretBasic("client", "wrong"), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		defer i.Close()
		_, err = i.VerifyToken(t.Context(), issuer.OpaqueToken())
		requireOutage(t, err)
		require.ErrorContains(t, err, `oidc.ClientSecretBasic("client")`)
	})
}

// sent asks once with auth and returns what the issuer received.
func sent(t *testing.T, auth oidc.ClientAuth) fakePost {
	t.Helper()
	as := newFakeAS()
	as.introspect = saying(goodAnswer())
	accept(t, newIntrospectorAs(t, as, auth), "opaque")
	return as.last(t)
}

func TestBasicIsFormEncoded(t *testing.T) {
	// RFC 6749, section 2.3.1, with the characters that the encoding is about.
	p := sent(t, oidc.ClientSecretBasic("a:b c", "%/+é"))
	require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("a%3Ab+c:%25%2F%2B%C3%A9")), p.header.Get("Authorization"))
	require.NotContains(t, p.form, "client_id")
	require.NotContains(t, p.form, "client_secret")
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
	keys, err := oidc.NewClientKeys(oidc.ClientKey{Signer: josetest.NewKey("ES256").Signer, KeyID: "k1"})
	require.NoError(t, err)
	before := time.Now().Unix()
	p := sent(t, oidc.PrivateKeyJWT("api", keys))
	require.Equal(t, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", p.form.Get("client_assertion_type"))
	require.Equal(t, "api", p.form.Get("client_id"))
	require.Empty(t, p.header.Get("Authorization"))
	jwt := p.form.Get("client_assertion")
	require.Equal(t, map[string]any{"alg": "ES256", "typ": "JWT", "kid": "k1"}, part(t, jwt, 0))
	claims := part(t, jwt, 1)
	require.Equal(t, "api", claims["iss"])
	require.Equal(t, "api", claims["sub"])
	require.Equal(t, fakeIssuer, claims["aud"], "the issuer identifier, as one string")
	require.GreaterOrEqual(t, claims["iat"], float64(before))
	require.Equal(t, claims["iat"].(float64)+60, claims["exp"])
	require.GreaterOrEqual(t, len(claims["jti"].(string)), 22)
	again := part(t, sent(t, oidc.PrivateKeyJWT("api", keys)).form.Get("client_assertion"), 1)
	require.NotEqual(t, claims["jti"], again["jti"])

	t.Run("its audience, type and lifetime can be set", func(t *testing.T) {
		jwt := sent(t, oidc.PrivateKeyJWT("api", keys, oidc.WithAssertionAudience("https://as.example/token"),
			oidc.WithAssertionType("client-authentication+jwt"), oidc.WithAssertionLifetime(10*time.Second))).form.Get("client_assertion")
		require.Equal(t, "client-authentication+jwt", part(t, jwt, 0)["typ"])
		claims := part(t, jwt, 1)
		require.Equal(t, "https://as.example/token", claims["aud"])
		require.Equal(t, claims["iat"].(float64)+10, claims["exp"])
	})
	for alg, newHash := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
		t.Run("the MAC of "+alg, func(t *testing.T) {
			secret := strings.Repeat("s", 64)
			opts := []oidc.AssertionOption{oidc.WithAssertionAlgorithm(alg)}
			if alg == "HS256" {
				opts = nil
			}
			jwt := sent(t, oidc.ClientSecretJWT("api", secret, opts...)).form.Get("client_assertion")
			require.Equal(t, alg, part(t, jwt, 0)["alg"])
			input, signature := jwt[:strings.LastIndexByte(jwt, '.')], jwt[strings.LastIndexByte(jwt, '.')+1:]
			mac := hmac.New(newHash, []byte(secret))
			mac.Write([]byte(input))
			require.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), signature)
		})
	}
}

// TestMistakes gives every function its mistakes, which it reports by name.
func TestMistakesInClientSettings(t *testing.T) {
	keys, err := oidc.NewClientKeys(oidc.ClientKey{Signer: josetest.NewKey("ES256").Signer})
	require.NoError(t, err)
	introspector := func(auth oidc.ClientAuth, opts ...oidc.Option) error {
		i, err := oidc.NewIntrospector(fakeIssuer, fakeAudience, auth, opts...)
		if err != nil {
			require.Nil(t, i)
		}
		return err
	}
	public := oidc.PublicClient("api")
	credentials := func(opts ...oidc.Option) error {
		_, err := oidc.NewClientCredentials(fakeIssuer, opts...)
		return err
	}
	verifier := func(opts ...oidc.Option) error {
		_, err := oidc.New(fakeIssuer, fakeAudience, opts...)
		return err
	}
	for want, err := range map[string]error{
		"client authentication is nil":                                     introspector(nil),
		"ClientSecretBasic: the client id is empty":                        introspector(oidc.ClientSecretBasic("", "s")),
		"ClientSecretBasic: the client secret is empty":                    introspector(oidc.ClientSecretBasic("a", "")),
		"ClientSecretPost: the client secret is empty":                     introspector(oidc.ClientSecretPost("a", "")),
		"PublicClient: the client id is empty":                             introspector(oidc.PublicClient("")),
		"ClientSecretJWT: the secret has fewer than the 32 bytes of HS256": introspector(oidc.ClientSecretJWT("a", secret32[1:])),
		"fewer than the 48 bytes of HS384":                                 introspector(oidc.ClientSecretJWT("a", secret32, oidc.WithAssertionAlgorithm("HS384"))),
		`the algorithm "none" is none of`:                                  introspector(oidc.ClientSecretJWT("a", secret32, oidc.WithAssertionAlgorithm("none"))),
		"PrivateKeyJWT: keys is nil":                                       introspector(oidc.PrivateKeyJWT("a", nil)),
		"PrivateKeyJWT: the key decides the algorithm":                     introspector(oidc.PrivateKeyJWT("a", keys, oidc.WithAssertionAlgorithm("ES256"))),
		"PrivateKeyJWT: an option is nil":                                  introspector(oidc.PrivateKeyJWT("a", keys, nil)),
		"WithAssertionAudience is given twice":                             introspector(oidc.PrivateKeyJWT("a", keys, oidc.WithAssertionAudience("x"), oidc.WithAssertionAudience("x"))),
		"WithAssertionType: the value is empty":                            introspector(oidc.PrivateKeyJWT("a", keys, oidc.WithAssertionType(""))),
		"WithAssertionLifetime: 11m0s":                                     introspector(oidc.PrivateKeyJWT("a", keys, oidc.WithAssertionLifetime(11*time.Minute))),
		"TLSClientAuth: certificate is nil":                                introspector(oidc.TLSClientAuth("a", nil)),
		"SelfSignedTLS: certificate is nil":                                introspector(oidc.SelfSignedTLS("a", nil)),
		"BearerToken: source is nil":                                       introspector(oidc.BearerToken("a", nil)),
		"a client certificate cannot be added":                             introspector(oidc.TLSClientAuth("a", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, nil }), oidc.WithHTTPClient(&http.Client{Transport: newFakeAS()})),
		"an option is nil":                                                 introspector(public, nil),
		"WithAnswerLifetime: -1s":                                          introspector(public, oidc.WithAnswerLifetime(-time.Second)),
		"WithAnswerLifetime: 1h0m0.000000001s":                             introspector(public, oidc.WithAnswerLifetime(time.Hour+1)),
		"WithAnswerLifetime is given twice":                                introspector(public, oidc.WithAnswerLifetime(0), oidc.WithAnswerLifetime(0)),
		"WithRefusalLifetime: 1m1s":                                        introspector(public, oidc.WithRefusalLifetime(61*time.Second)),
		"WithStaleAnswers: 0s":                                             introspector(public, oidc.WithStaleAnswers(0)),
		"WithStaleAnswers has nothing to serve":                            introspector(public, oidc.WithStaleAnswers(time.Hour), oidc.WithAnswerLifetime(0)),
		"WithSharedCache: the cache is nil":                                introspector(public, oidc.WithSharedCache(nil)),
		"WithCacheSize: 0":                                                 introspector(public, oidc.WithCacheSize(0)),
		"WithIntrospectionEndpoint: the URL is empty":                      introspector(public, oidc.WithIntrospectionEndpoint("")),
		"WithScopes does not apply to NewIntrospector":                     introspector(public, oidc.WithScopes("a")),
		"WithTokenEndpoint does not apply to NewIntrospector":              introspector(public, oidc.WithTokenEndpoint("https://as.example/token")),
		"WithSignedAnswers does not apply to NewClientCredentials":         credentials(oidc.WithSignedAnswers()),
		"WithIntrospectionEndpoint does not apply to NewClientCredentials": credentials(oidc.WithIntrospectionEndpoint("https://as.example/i")),
		"WithSharedCache does not apply to New":                            verifier(oidc.WithSharedCache(new(sharedMap))),
		"WithScopes: no scope given":                                       credentials(oidc.WithScopes()),
		`WithScopes: "a b" is not a scope`:                                 credentials(oidc.WithScopes("a b")),
		`WithScopes: "" is not a scope`:                                    credentials(oidc.WithScopes("")),
		"WithTokenParameter: the name is empty":                            credentials(oidc.WithTokenParameter("", "x")),
		"WithTokenParameter: grant_type is not for this option":            credentials(oidc.WithTokenParameter("grant_type", "password")),
		"WithTokenParameter: client_secret is not for this option":         credentials(oidc.WithTokenParameter("client_secret", "x")),
		"WithTokenLifetime: 0s":                                            credentials(oidc.WithTokenLifetime(0)),
		"the endpoint \"https://u:p@as.example/t\"":                        credentials(oidc.WithTokenEndpoint("https://u:p@as.example/t")),
		"the endpoint \"ftp://as.example/t\"":                              credentials(oidc.WithTokenEndpoint("ftp://as.example/t")),
	} {
		require.ErrorContains(t, err, want)
		for line := range strings.Lines(err.Error()) {
			require.True(t, strings.HasPrefix(line, "oidc: "), line)
		}
	}
	t.Run("every mistake is reported at once", func(t *testing.T) {
		err := introspector(oidc.ClientSecretBasic("", ""), oidc.WithCacheSize(0), oidc.WithScopes("a"), nil, oidc.WithSkew(-1))
		require.Len(t, strings.Split(err.Error(), "\n"), 6, "%v", err)
	})
}

// TestNoSecretIsPrinted prints whatever holds a secret in every way that fmt and
// slog know.
func TestNoSecretIsPrinted(t *testing.T) {
	const secret = "s3cret-0123456789abcdef-0123456789"
	key := josetest.NewKey("Ed25519").Signer
	keys, err := oidc.NewClientKeys(oidc.ClientKey{Signer: key, KeyID: "k"})
	require.NoError(t, err)
	as := newFakeAS()
	as.token = saying(map[string]any{"access_token": secret, "token_type": "Bearer", "expires_in": 300})
	credentials := newCredentials(t, as)
	_, err = credentials.Token(t.Context(), "app", secret)
	require.NoError(t, err)
	as.introspect = saying(goodAnswer())
	i := newIntrospectorAs(t, as, oidc.ClientSecretPost("api", secret))
	accept(t, i, secret)
	private := fmt.Sprint(key)[1:20]
	for _, v := range []any{
		oidc.ClientSecretBasic("api", secret), oidc.ClientSecretPost("api", secret), oidc.ClientSecretJWT("api", secret),
		oidc.PrivateKeyJWT("api", keys), oidc.ClientKey{Signer: key, KeyID: "k"}, keys, i, *credentials, credentials,
		struct{ a oidc.ClientAuth }{oidc.ClientSecretBasic("api", secret)},
		struct{ a []oidc.ClientAuth }{[]oidc.ClientAuth{oidc.ClientSecretJWT("api", secret)}},
		struct{ K oidc.ClientKey }{oidc.ClientKey{Signer: key}},
		oidc.BearerToken("api", func(context.Context) (string, error) { return secret, nil }),
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
	require.Equal(t, `oidc.ClientSecretBasic("api")`, fmt.Sprint(oidc.ClientSecretBasic("api", secret)))
}

func TestBearerTokenFailsAsAnOutage(t *testing.T) {
	for name, source := range map[string]func(context.Context) (string, error){
		"no token":       func(context.Context) (string, error) { return "", nil },
		"line break":     func(context.Context) (string, error) { return "a\r\nX: y", nil },
		"an error":       func(context.Context) (string, error) { return "", errors.New("down") },
		"a client error": func(context.Context) (string, error) { return "", oidc.ErrInactive },
	} {
		as := newFakeAS()
		as.introspect = saying(goodAnswer())
		_, err := newIntrospectorAs(t, as, oidc.BearerToken("api", source)).VerifyToken(t.Context(), "opaque")
		requireOutage(t, err)
		require.Empty(t, as.asked(), name)
	}
}
