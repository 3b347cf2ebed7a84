package oidctest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/stretchr/testify/require"
)

func payload(t *testing.T, jwt string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(raw, &claims))
	return claims
}

func get(t *testing.T, c *http.Client, url string) (status int, doc map[string]any) {
	t.Helper()
	res, err := c.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	_ = json.NewDecoder(res.Body).Decode(&doc)
	return res.StatusCode, doc
}

type request struct {
	url    string
	header http.Header
	form   url.Values
}

func post(t *testing.T, c *http.Client, r request) (status int, answer map[string]any, raw string, h http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(r.form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range r.header {
		req.Header[name] = values
	}
	res, err := c.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	_ = json.Unmarshal(body, &answer)
	return res.StatusCode, answer, string(body), res.Header
}

func basic(id, secret string) http.Header {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}}
}

func TestIssuerServesBothFormsOfMetadataOverTLS(t *testing.T) {
	for name, issuer := range map[string]*oidctest.Issuer{
		"a listener": oidctest.NewIssuer(t, oidctest.WithPath("/realms/main")),
		"in memory":  oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"), oidctest.WithPath("/realms/main")),
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, strings.HasPrefix(issuer.URL, "https://"))
			for _, e := range []oidctest.Endpoint{oidctest.OpenIDMetadata, oidctest.OAuthMetadata} {
				status, doc := get(t, issuer.Client(), issuer.Endpoint(e))
				require.Equal(t, 200, status)
				require.Equal(t, issuer.URL, doc["issuer"])
				require.NotContains(t, doc, "mtls_endpoint_aliases")
				_, set := get(t, issuer.Client(), doc["jwks_uri"].(string))
				require.Len(t, set["keys"], 1)
				require.Equal(t, 1, issuer.Fetches(e))
			}
			status, _ := get(t, issuer.Client(), issuer.URL+"/nowhere")
			require.Equal(t, 404, status)
		})
	}
	_, err := http.Get(oidctest.NewIssuer(t).URL)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	_, err = oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example")).Client().Get("https://elsewhere.example")
	require.ErrorContains(t, err, "not the issuer")
}

func TestDISC08AliasesAreOnAnotherOrigin(t *testing.T) {
	cert := newCertificate(t, "c")
	for name, opt := range map[string]oidctest.Option{
		"DISC-08 a listener": oidctest.WithPath("/a"),
		"DISC-08 in memory":  oidctest.InMemory("https://issuer.example"),
	} {
		t.Run(name, func(t *testing.T) {
			issuer := oidctest.NewIssuer(t, opt, oidctest.ListMTLSAliases(),
				oidctest.WithClient(oidctest.Registration{ID: "c", Certificate: cert.Leaf, CertificateBound: true}))
			_, doc := get(t, issuer.Client(), issuer.Endpoint(oidctest.OpenIDMetadata))
			alias := doc["mtls_endpoint_aliases"].(map[string]any)["token_endpoint"].(string)
			require.NotEqual(t, doc["token_endpoint"], alias)
			status, answer, _, _ := post(t, issuer.ClientWithCertificate(cert), request{
				url: alias, form: url.Values{"grant_type": {"client_credentials"}, "client_id": {"c"}}})
			require.Equal(t, 200, status, answer)
			sum := sha256.Sum256(cert.Leaf.Raw)
			require.Equal(t, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
				payload(t, answer["access_token"].(string))["cnf"])
			require.NotNil(t, issuer.Requests(oidctest.TokenEndpoint)[0].Certificate)
		})
	}
}

func newCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestTokensAreAsTold(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"), oidctest.WithAudience("a"))
	cert := newCertificate(t, "c")
	claims := payload(t, issuer.Token(oidctest.Scope("a", "b"), oidctest.BoundToKey("k"), oidctest.BoundToCertificate(cert.Leaf),
		oidctest.Claim("x", nil), oidctest.Without("jti", "nothing"), oidctest.ExpiresIn(time.Hour), oidctest.ForClient("me")))
	require.Equal(t, "https://issuer.example", claims["iss"])
	require.Equal(t, "a", claims["aud"])
	require.Equal(t, "a b", claims["scope"])
	require.Len(t, claims["cnf"], 2)
	require.Contains(t, claims, "x")
	require.NotContains(t, claims, "jti")
	require.Equal(t, "me", claims["sub"])
	require.InDelta(t, time.Now().Add(time.Hour).Unix(), claims["exp"], 5)

	require.Equal(t, "DPoP", payload(t, issuer.Token(oidctest.BoundToKey("k"), oidctest.Keycloak()))["typ"])
	require.Equal(t, "client", payload(t, issuer.Token(oidctest.Okta("a")))["cid"])
	require.Equal(t, "client", payload(t, issuer.Token(oidctest.EntraID("1.0", "a")))["appid"])
	require.NotContains(t, payload(t, issuer.Token(oidctest.Cognito())), "aud")
	require.Contains(t, payload(t, issuer.Token(oidctest.IDToken("c"))), "at_hash")
}

func TestRotateAndRetire(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	kids := func() (kids []any) {
		_, set := get(t, issuer.Client(), issuer.Endpoint(oidctest.KeySet))
		for _, k := range set["keys"].([]any) {
			kids = append(kids, k.(map[string]any)["kid"])
		}
		return kids
	}
	require.Equal(t, []any{"key-1"}, kids())
	issuer.Rotate()
	require.Equal(t, []any{"key-1", "key-2"}, kids())
	issuer.Retire()
	require.Equal(t, []any{"key-2"}, kids())
	require.True(t, issuer.PublicKey().(*ecdsa.PublicKey).Curve == elliptic.P256())
}

func TestFaults(t *testing.T) {
	const e = oidctest.OpenIDMetadata
	issuer := oidctest.NewIssuer(t)
	patience := time.Minute
	fetch := func() (*http.Response, string, error) {
		c := issuer.Client()
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c.Timeout = patience
		res, err := c.Get(issuer.Endpoint(e))
		if err != nil {
			return nil, "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, string(body), err
	}
	for name, tc := range map[string]struct {
		fault oidctest.Fault
		check func(*http.Response, string) bool
	}{
		"Status": {oidctest.Status(503), func(r *http.Response, _ string) bool { return r.StatusCode == 503 }},
		"Body":   {oidctest.Body("text/html", "x"), func(_ *http.Response, b string) bool { return b == "x" }},
		"ContentType": {oidctest.ContentType("text/plain"), func(r *http.Response, b string) bool {
			return r.Header.Get("Content-Type") == "text/plain" && b[0] == '{'
		}},
		"CacheControl": {oidctest.CacheControl("max-age=7"), func(r *http.Response, _ string) bool { return r.Header.Get("Cache-Control") == "max-age=7" }},
		"Redirect":     {oidctest.Redirect("http://x.example/"), func(r *http.Response, _ string) bool { return r.Header.Get("Location") == "http://x.example/" }},
		"Huge":         {oidctest.Huge(2 << 20), func(_ *http.Response, b string) bool { return len(b) > 2<<20 }},
		"Slow":         {oidctest.Slow(time.Millisecond), func(r *http.Response, _ string) bool { return r.StatusCode == 200 }},
	} {
		t.Run(name, func(t *testing.T) {
			issuer.Break(e, tc.fault)
			defer issuer.Mend(e)
			res, body, err := fetch()
			require.NoError(t, err)
			require.True(t, tc.check(res, body), "%v %.100s", res, body)
		})
	}
	issuer.Break(e, oidctest.Abort())
	_, _, err := fetch()
	require.Error(t, err)
	issuer.Mend(e)
	issuer.SetDown(true)
	_, _, err = fetch()
	require.Error(t, err)
	issuer.SetDown(false)
	issuer.SetDelay(time.Hour)
	patience = 300 * time.Millisecond
	_, _, err = fetch()
	require.Error(t, err)
	patience = time.Minute
	issuer.SetDelay(0)
	issuer.Edit(e, func(doc map[string]any) { doc["issuer"] = "x" })
	_, body, err := fetch()
	require.NoError(t, err)
	require.Contains(t, body, `"issuer":"x"`)
	require.Equal(t, 11, issuer.Fetches(e))
}

func TestClientAuthentication(t *testing.T) {
	key := josetest.NewKey("ES256")
	self, named := newCertificate(t, "self"), newCertificate(t, "named")
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"),
		oidctest.WithClient(oidctest.Registration{ID: "a:b", Secret: "s%:é"}),
		oidctest.WithClient(oidctest.Registration{ID: "basic", Secret: "s", Method: "client_secret_basic"}),
		oidctest.WithClient(oidctest.Registration{ID: "mac", Secret: "0123456789abcdef0123456789abcdef", Method: "client_secret_jwt"}),
		oidctest.WithClient(oidctest.Registration{ID: "key", Keys: []crypto.PublicKey{key.Signer.Public()}}),
		oidctest.WithClient(oidctest.Registration{ID: "self", Certificate: self.Leaf, Method: "self_signed_tls_client_auth"}),
		oidctest.WithClient(oidctest.Registration{ID: "named", Subject: "CN=named"}),
		oidctest.WithClient(oidctest.Registration{ID: "public"}),
	)
	const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	claims := func(id, aud string) map[string]any {
		return map[string]any{"iss": id, "sub": id, "aud": aud, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}
	}
	assertion := func(jwt string) url.Values {
		return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {jwt}}
	}
	mac := func(secret string, claims map[string]any) string {
		body, err := json.Marshal(claims)
		require.NoError(t, err)
		input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	once := key.Sign(nil, claims("key", issuer.URL))
	for _, tc := range []struct {
		name   string
		cert   *tls.Certificate
		header http.Header
		form   url.Values
		ok     bool
	}{
		{"basic, form-encoded", nil, basic("a:b", "s%:é"), nil, true},
		{"basic, wrong secret", nil, basic("a:b", "s"), nil, false},
		{"basic, an unknown client", nil, basic("unknown", ""), nil, false},
		{"post", nil, nil, url.Values{"client_id": {"a:b"}, "client_secret": {"s%:é"}}, true},
		{"post, wrong secret", nil, nil, url.Values{"client_id": {"a:b"}, "client_secret": {""}}, false},
		{"post for a client of basic", nil, nil, url.Values{"client_id": {"basic"}, "client_secret": {"s"}}, false},
		{"basic and post", nil, basic("a:b", "s%:é"), url.Values{"client_id": {"a:b"}, "client_secret": {"s%:é"}}, false},
		{"client_secret_jwt", nil, nil, assertion(mac("0123456789abcdef0123456789abcdef", claims("mac", issuer.URL))), true},
		{"client_secret_jwt, wrong secret", nil, nil, assertion(mac("x", claims("mac", issuer.URL))), false},
		{"private_key_jwt", nil, nil, assertion(once), true},
		{"private_key_jwt, again", nil, nil, assertion(once), false},
		{"private_key_jwt, the endpoint as audience", nil, nil, assertion(key.Sign(nil, claims("key", issuer.Endpoint(oidctest.TokenEndpoint)))), true},
		{"private_key_jwt, another audience", nil, nil, assertion(key.Sign(nil, claims("key", "https://x.example"))), false},
		{"private_key_jwt, another key", nil, nil, assertion(josetest.NewKey("ES256").Sign(nil, claims("key", issuer.URL))), false},
		{"private_key_jwt of another client", nil, nil, assertion(key.Sign(nil, claims("mac", issuer.URL))), false},
		{"self_signed_tls_client_auth", &self, nil, url.Values{"client_id": {"self"}}, true},
		{"self_signed_tls_client_auth, another", &named, nil, url.Values{"client_id": {"self"}}, false},
		{"self_signed_tls_client_auth, none", nil, nil, url.Values{"client_id": {"self"}}, false},
		{"tls_client_auth", &named, nil, url.Values{"client_id": {"named"}}, true},
		{"tls_client_auth, another", &self, nil, url.Values{"client_id": {"named"}}, false},
		{"none", nil, nil, url.Values{"client_id": {"public"}}, true},
		{"none for a client with a key", nil, nil, url.Values{"client_id": {"key"}}, false},
		{"nothing", nil, nil, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := issuer.Client()
			if tc.cert != nil {
				c = issuer.ClientWithCertificate(*tc.cert)
			}
			form := url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}}
			for name, values := range tc.form {
				form[name] = values
			}
			status, answer, _, _ := post(t, c, request{issuer.Endpoint(oidctest.TokenEndpoint), tc.header, form})
			if !tc.ok {
				require.Equal(t, 401, status)
				require.Equal(t, "invalid_client", answer["error"])
				return
			}
			require.Equal(t, 200, status, answer)
			require.Equal(t, "Bearer", answer["token_type"])
			require.Equal(t, "a b", payload(t, answer["access_token"].(string))["scope"])
		})
	}
}

var rsaKey = sync.OnceValue(func() crypto.Signer { return josetest.NewKey("RS256").Signer })

// newKey makes each RSA key only once: they are slow to make.
func newKey(alg string) *josetest.Key {
	if alg == "PS256" || alg == "RS256" {
		return josetest.FromSigner(alg, rsaKey())
	}
	return josetest.NewKey(alg)
}

func TestTokensForProofs(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	endpoint := issuer.Endpoint(oidctest.TokenEndpoint)
	ask := func(proofs ...string) (int, map[string]any, http.Header) {
		h := basic("client", "secret")
		h["Dpop"] = proofs
		status, answer, _, header := post(t, issuer.Client(), request{endpoint, h, url.Values{"grant_type": {"client_credentials"}}})
		return status, answer, header
	}
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			key := newKey(alg)
			prove := func(change func(header, claims map[string]any)) string {
				header := map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()}
				claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": endpoint, "iat": time.Now().Unix()}
				if change != nil {
					change(header, claims)
				}
				return key.Sign(header, claims)
			}
			good := prove(nil)
			status, answer, _ := ask(good)
			require.Equal(t, 200, status, answer)
			require.Equal(t, "DPoP", answer["token_type"])
			require.Equal(t, map[string]any{"jkt": key.Thumbprint()}, payload(t, answer["access_token"].(string))["cnf"])
			for name, proofs := range map[string][]string{
				"again":        {good},
				"two":          {prove(nil), prove(nil)},
				"other method": {prove(func(_, c map[string]any) { c["htm"] = "GET" })},
				"other target": {prove(func(_, c map[string]any) { c["htu"] = issuer.URL })},
				"old":          {prove(func(_, c map[string]any) { c["iat"] = 1 })},
				"other type":   {prove(func(h, _ map[string]any) { h["typ"] = "JWT" })},
				"other key":    {prove(func(h, _ map[string]any) { h["jwk"] = josetest.NewKey("ES256").JWK() })},
				"garbage":      {"x"},
			} {
				status, answer, _ := ask(proofs...)
				require.Equal(t, 400, status, name)
				require.Equal(t, "invalid_dpop_proof", answer["error"], name)
			}
			issuer.RequireNonce("n1")
			defer issuer.RequireNonce("")
			status, answer, header := ask(prove(nil))
			require.Equal(t, 400, status)
			require.Equal(t, "use_dpop_nonce", answer["error"])
			require.Equal(t, "n1", header.Get("DPoP-Nonce"))
			status, _, _ = ask(prove(func(_, c map[string]any) { c["nonce"] = "n1" }))
			require.Equal(t, 200, status)
		})
	}
}

func TestIntrospection(t *testing.T) {
	issuer := oidctest.NewIssuer(t, oidctest.InMemory("https://issuer.example"))
	ask := func(token, accept string) (int, map[string]any, string, http.Header) {
		h := basic("client", "secret")
		h.Set("Accept", accept)
		return post(t, issuer.Client(), request{issuer.Endpoint(oidctest.Introspection), h, url.Values{"token": {token}}})
	}
	opaque := issuer.OpaqueToken(oidctest.BoundToKey("k"), oidctest.Scope("a"))
	_, answer, _, _ := ask(opaque, "application/json")
	require.Equal(t, true, answer["active"])
	require.Equal(t, "DPoP", answer["token_type"])
	require.Equal(t, map[string]any{"jkt": "k"}, answer["cnf"])

	_, _, raw, header := ask(opaque, "application/token-introspection+jwt")
	require.Equal(t, "application/token-introspection+jwt", header.Get("Content-Type"))
	claims := payload(t, raw)
	require.Equal(t, "client", claims["aud"])
	require.Equal(t, true, claims["token_introspection"].(map[string]any)["active"])

	issuer.EditIntrospectionJWT(func(h, c map[string]any) { h["alg"] = "none"; c["aud"] = "x" })
	_, _, raw, _ = ask(opaque, "application/token-introspection+jwt")
	require.True(t, strings.HasSuffix(raw, "."))
	require.Equal(t, "x", payload(t, raw)["aud"])
	issuer.Edit(oidctest.Introspection, func(a map[string]any) { a["active"] = "true" })
	_, answer, _, _ = ask(opaque, "")
	require.Equal(t, "true", answer["active"])
	issuer.Mend(oidctest.Introspection)

	issuer.Revoke(opaque)
	for name, token := range map[string]string{"revoked": opaque, "unknown": "x", "expired": issuer.Token(oidctest.ExpiresIn(-1))} {
		_, answer, _, _ = ask(token, "")
		require.Equal(t, map[string]any{"active": false}, answer, name)
	}
	status, answer, _, _ := post(t, issuer.Client(), request{issuer.Endpoint(oidctest.Introspection), basic("client", "x"), url.Values{"token": {"t"}}})
	require.Equal(t, 401, status)
	require.Equal(t, "invalid_client", answer["error"])
	bearer := http.Header{"Authorization": {"Bearer " + issuer.Token()}}
	status, _, _, _ = post(t, issuer.Client(), request{issuer.Endpoint(oidctest.Introspection), bearer, url.Values{"token": {"t"}}})
	require.Equal(t, 200, status)
}

func TestIssuerStartsOutsideOfTests(t *testing.T) {
	issuer, err := oidctest.Start(oidctest.ListMTLSAliases())
	require.NoError(t, err)
	client := issuer.Client()
	status, _ := get(t, client, issuer.Endpoint(oidctest.KeySet))
	require.Equal(t, 200, status)
	issuer.Close()
	issuer.Close()
	_, err = client.Get(issuer.Endpoint(oidctest.KeySet))
	require.Error(t, err)

	_, err = oidctest.Start(oidctest.InMemory("https://a b"))
	require.ErrorContains(t, err, "oidctest: ")
}

func TestDeviceGrantAndRefresh(t *testing.T) {
	issuer := oidctest.NewIssuer(t,
		oidctest.WithClient(oidctest.Registration{ID: "public"}),
		oidctest.WithClient(oidctest.Registration{ID: "other"}))
	endpoint := issuer.Endpoint(oidctest.TokenEndpoint)
	key := josetest.NewKey("ES256")
	ask := func(key *josetest.Key, form url.Values) (int, map[string]any) {
		h := http.Header{}
		if key != nil {
			h["Dpop"] = []string{key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": key.JWK()},
				map[string]any{"jti": rand.Text(), "htm": "POST", "htu": endpoint, "iat": time.Now().Unix()})}
		}
		status, answer, _, _ := post(t, issuer.Client(), request{endpoint, h, form})
		return status, answer
	}
	_, started, _, _ := post(t, issuer.Client(), request{issuer.Endpoint(oidctest.Device), nil, url.Values{"client_id": {"public"}, "scope": {"a b"}}})
	code := started["device_code"].(string)
	poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {"public"}, "device_code": {code}}

	_, answer := ask(key, poll)
	require.Equal(t, "authorization_pending", answer["error"])
	status, _ := get(t, issuer.Client(), issuer.Endpoint(oidctest.Verification)+"?user_code=wrong")
	require.Equal(t, 404, status)
	status, _ = get(t, issuer.Client(), started["verification_uri_complete"].(string))
	require.Equal(t, 200, status)
	status, answer = ask(key, poll)
	require.Equal(t, 200, status, answer)
	require.Equal(t, "user-1", payload(t, answer["access_token"].(string))["sub"])
	require.Equal(t, "public", payload(t, answer["access_token"].(string))["client_id"])
	_, again := ask(key, poll)
	require.Equal(t, "invalid_grant", again["error"], "a device code is good once")

	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"public"}, "refresh_token": {answer["refresh_token"].(string)}, "scope": {"a"}}
	status, answer = ask(key, form)
	require.Equal(t, 200, status, answer)
	require.Equal(t, "a", payload(t, answer["access_token"].(string))["scope"])
	require.Equal(t, map[string]any{"jkt": key.Thumbprint()}, payload(t, answer["access_token"].(string))["cnf"])
	for name, refused := range map[string]struct {
		key    *josetest.Key
		client string
	}{
		"another key":    {josetest.NewKey("ES256"), "public"},
		"no key":         {nil, "public"},
		"another client": {key, "other"},
	} {
		form.Set("client_id", refused.client)
		_, answer = ask(refused.key, form)
		require.Equal(t, "invalid_grant", answer["error"], name)
	}
}

func TestTokensOfAVendorAndOpaqueOnesFromTheTokenEndpoint(t *testing.T) {
	ask := func(issuer *oidctest.Issuer) string {
		_, answer, _, _ := post(t, issuer.Client(), request{issuer.Endpoint(oidctest.TokenEndpoint), basic("client", "secret"), url.Values{"grant_type": {"client_credentials"}}})
		return answer["access_token"].(string)
	}
	vendor := oidctest.NewIssuer(t, oidctest.WithChanges(oidctest.Keycloak()))
	require.Equal(t, "client", payload(t, ask(vendor))["azp"])
	require.Equal(t, "Bearer", payload(t, vendor.Token())["typ"])
	opaque := oidctest.NewIssuer(t, oidctest.IssueOpaqueTokens())
	require.NotContains(t, ask(opaque), ".")
}
