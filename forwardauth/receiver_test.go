package forwardauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/internal/josesign"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// behind is a service with a guard of its own, behind a proxy.
type behind struct {
	handler http.Handler
	seen    *middleware.Credential
	header  http.Header
}

func newBehind(t testing.TB, service string, key crypto.PublicKey, rules ...middleware.Rule) *behind {
	t.Helper()
	receiver, err := forwardauth.NewReceiver(service, key, forwardauth.WithTrustedPeers(proxyPrefix))
	opts := []middleware.Option{middleware.WithTokens(receiver, err), middleware.AllowUnbound()}
	if len(rules) > 0 {
		opts = append(opts, middleware.WithRules(rules...))
	}
	guard, err := middleware.New(opts...)
	require.NoError(t, err)
	b := &behind{}
	b.handler = receiver.Wrap(guard.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b.seen, _ = middleware.FromContext(r.Context())
		b.header = r.Header
	})))
	return b
}

// passed is the client's request, as the proxy passes it on with an assertion.
func passed(method, target, assertion string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "api.example", proxyPeer
	r.Header.Set("Authorization", "DPoP the-client's-own")
	r.Header.Set("DPoP", "the-client's-own")
	r.Header.Set("X-Auth-Subject", "whatever")
	r.Header.Set("X-Auth-Assertion", assertion)
	return r
}

func TestAnAssertionStandsForTheProof(t *testing.T) {
	w, key := newWorld(t), newKey(t)
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithAssertion(forwardauth.NewSigner("orders", key)))
	assertion := func(method, target string) string {
		a := ask(h, w.signed(subrequest(dialects[forwardauth.NGINX], method, target), method, target))
		require.Equal(t, 200, a.Code, a.Body)
		return a.Header().Get("X-Auth-Assertion")
	}
	b := newBehind(t, "orders", key.Public(), middleware.Scopes("orders:read"))
	good := func() *http.Request {
		return passed("POST", "/orders/%7E1?page=2", assertion("POST", "/orders/%7E1?page=2"))
	}
	require.Equal(t, 200, ask(b.handler, good()).Code)
	require.Equal(t, w.issuer.URL, b.seen.Token.Issuer)
	require.NotEmpty(t, b.seen.Token.Subject)
	require.Equal(t, []string{"orders:read", "orders:write"}, b.seen.Token.Scopes)
	require.Equal(t, oidc.Confirmation{}, b.seen.Token.Confirmation)
	for name := range b.header {
		require.False(t, strings.HasPrefix(name, "X-Auth-"), name)
	}
	require.Empty(t, b.header["Dpop"])
	require.Equal(t, 403, ask(newBehind(t, "orders", key.Public(), middleware.Scopes("admin")).handler, good()).Code, "the rules of the service hold")

	unix := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Net: "unix"}))
	for name, change := range map[string]func(*http.Request) *http.Request{
		"another method":     func(r *http.Request) *http.Request { r.Method = "GET"; return r },
		"another path":       func(r *http.Request) *http.Request { r.RequestURI = "/admin"; return r },
		"another query":      func(r *http.Request) *http.Request { r.RequestURI = "/orders/%7E1?page=3"; return r },
		"another spelling":   func(r *http.Request) *http.Request { r.RequestURI = "/orders/~1?page=2"; return r },
		"another host":       func(r *http.Request) *http.Request { r.Host = "other.example"; return r },
		"an untrusted peer":  func(r *http.Request) *http.Request { r.RemoteAddr = otherPeer; return r },
		"a unix socket":      func(r *http.Request) *http.Request { return r.WithContext(unix) },
		"no assertion":       func(r *http.Request) *http.Request { r.Header.Del("X-Auth-Assertion"); return r },
		"an empty assertion": func(r *http.Request) *http.Request { r.Header.Set("X-Auth-Assertion", ""); return r },
		"two assertions": func(r *http.Request) *http.Request {
			r.Header.Add("X-Auth-Assertion", r.Header.Get("X-Auth-Assertion"))
			return r
		},
		"a forged one beside it":   func(r *http.Request) *http.Request { r.Header.Add("X-Auth-Assertion", "x"); return r },
		"as the client's token":    func(r *http.Request) *http.Request { return moved(r, "Bearer ") },
		"as the client's, by DPoP": func(r *http.Request) *http.Request { return moved(r, "DPoP ") },
		"a bit of the signature": func(r *http.Request) *http.Request {
			return edited(r, func(s string) string { return s[:len(s)-5] + flip(s[len(s)-5:]) })
		},
		"another payload": func(r *http.Request) *http.Request {
			return edited(r, func(s string) string { return replacedPart(s, 1, `"orders:read`, `"admin`) })
		},
		"another type": func(r *http.Request) *http.Request {
			return edited(r, func(s string) string { return replacedPart(s, 0, "forwardauth+jwt", "at+jwt") })
		},
		"no signature": func(r *http.Request) *http.Request {
			return edited(r, func(s string) string { return s[:strings.LastIndex(s, ".")+1] })
		},
		"something that is none": func(r *http.Request) *http.Request { r.Header.Set("X-Auth-Assertion", "x"); return r },
		"something very large": func(r *http.Request) *http.Request {
			r.Header.Set("X-Auth-Assertion", strings.Repeat("x.", 20_000))
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(b.handler, change(good()))
			require.GreaterOrEqual(t, a.Code, 400)
			require.Less(t, a.Code, 500)
		})
	}
	require.Equal(t, 200, ask(b.handler, good()).Code)
	require.Equal(t, 401, ask(newBehind(t, "billing", key.Public()).handler, good()).Code, "another service")
	require.Equal(t, 401, ask(newBehind(t, "orders", newKey(t).Public()).handler, good()).Code, "another key")
}

// moved sends the assertion as the client's own token instead.
func moved(r *http.Request, scheme string) *http.Request {
	r.Header.Set("Authorization", scheme+r.Header.Get("X-Auth-Assertion"))
	r.Header.Del("X-Auth-Assertion")
	return r
}

func edited(r *http.Request, edit func(string) string) *http.Request {
	r.Header.Set("X-Auth-Assertion", edit(r.Header.Get("X-Auth-Assertion")))
	return r
}

func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func replacedPart(jws string, part int, old, new string) string {
	parts := strings.Split(jws, ".")
	text, _ := base64.RawURLEncoding.DecodeString(parts[part])
	parts[part] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(text), old, new, 1)))
	return strings.Join(parts, ".")
}

// signedBy makes a JWS of any header and payload.
func signedBy(t testing.TB, key crypto.Signer, typ string, payload map[string]any) string {
	t.Helper()
	k, err := josesign.New(key, "")
	require.NoError(t, err)
	body, err := json.Marshal(payload)
	require.NoError(t, err)
	jws := josesign.AppendPart(nil, fmt.Appendf(nil, `{"typ":%q,"alg":%q,"kid":%q}`, typ, k.Algorithm(), k.Thumbprint()))
	jws, err = k.AppendSignature(josesign.AppendPart(append(jws, '.'), body))
	require.NoError(t, err)
	return string(jws)
}

func TestAnAssertionIsBoundToItsRequestAndToTime(t *testing.T) {
	key := newKey(t)
	b := newBehind(t, "orders", key.Public())
	now := time.Now().Unix()
	payload := func() map[string]any {
		return map[string]any{"aud": "orders", "iat": now, "exp": now + 30, "htm": "GET", "host": "api.example", "target": "/orders",
			"token": map[string]any{"iss": "https://issuer.example", "sub": "alice", "client_id": "app"}}
	}
	status := func(typ string, p map[string]any) int {
		return ask(b.handler, passed("GET", "/orders", signedBy(t, key, typ, p))).Code
	}
	require.Equal(t, 200, status("forwardauth+jwt", payload()))
	for name, change := range map[string]func(map[string]any){
		"expired":                  func(p map[string]any) { p["iat"], p["exp"] = now-31, now-1 },
		"an hour":                  func(p map[string]any) { p["exp"] = now + 3600 },
		"31 s":                     func(p map[string]any) { p["exp"] = now + 31 },
		"from the future":          func(p map[string]any) { p["iat"], p["exp"] = now+60, now+90 },
		"no end":                   func(p map[string]any) { delete(p, "exp") },
		"no beginning":             func(p map[string]any) { delete(p, "iat") },
		"no service":               func(p map[string]any) { delete(p, "aud") },
		"several services":         func(p map[string]any) { p["aud"] = []string{"orders", "billing"} },
		"no method":                func(p map[string]any) { delete(p, "htm") },
		"a method in lower case":   func(p map[string]any) { p["htm"] = "get" },
		"no host":                  func(p map[string]any) { delete(p, "host") },
		"no target":                func(p map[string]any) { delete(p, "target") },
		"a target that is a URL":   func(p map[string]any) { p["target"] = "https://api.example/orders" },
		"a null target":            func(p map[string]any) { p["target"] = nil },
		"no token":                 func(p map[string]any) { delete(p, "token") },
		"a token that is a string": func(p map[string]any) { p["token"] = "x" },
		"a malformed scope":        func(p map[string]any) { p["token"].(map[string]any)["scope"] = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			p := payload()
			change(p)
			require.Equal(t, 401, status("forwardauth+jwt", p))
		})
	}
	for _, typ := range []string{"", "JWT", "at+jwt", "dpop+jwt", "forwardauth"} {
		require.Equal(t, 401, status(typ, payload()), typ)
	}
}

func TestAssertionsLiveThirtySeconds(t *testing.T) {
	w, key := newWorld(t, middleware.AllowUnbound()), newKey(t)
	token := w.issuer.Token(oidctest.ExpiresIn(24 * time.Hour * 365 * 100))
	ask(w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix)), subrequest(dialects[forwardauth.NGINX], "GET", "/orders")) // warm
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithAssertion(forwardauth.NewSigner("orders", key)))
	r := subrequest(dialects[forwardauth.NGINX], "GET", "/orders")
	r.Header.Set("Authorization", "Bearer "+token)
	assertion := ask(h, r).Header().Get("X-Auth-Assertion")
	require.NotEmpty(t, assertion)
	b := newBehind(t, "orders", key.Public())
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock is years behind: an assertion of now is from its future.
		require.Equal(t, 401, ask(b.handler, passed("GET", "/orders", assertion)).Code)
	})
	require.Equal(t, 200, ask(b.handler, passed("GET", "/orders", assertion)).Code)
	require.Contains(t, part(assertion, 1), fmt.Sprintf(`"exp":%d`, issuedAt(t, assertion)+30))
}

func part(jws string, i int) string {
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[i])
	return string(text)
}

func issuedAt(t *testing.T, jws string) int64 {
	var p struct{ Iat int64 }
	require.NoError(t, json.Unmarshal([]byte(part(jws, 1)), &p))
	return p.Iat
}

// No profile takes an assertion for an access token, even if the issuer itself signed it
// and it says all that an access token does.
func TestAnAssertionIsNoAccessToken(t *testing.T) {
	issuer := oidctest.NewIssuer(t)
	for name, profile := range map[string]oidc.Profile{"RFC 9068": oidc.RFC9068, "Keycloak": oidc.Keycloak, "Auth0": oidc.Auth0, "Cognito": oidc.Cognito} {
		v, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithProfile(profile), oidc.WithHTTPClient(issuer.Client()))
		require.NoError(t, err)
		for _, vendor := range []oidctest.Change{oidctest.Keycloak(), oidctest.Auth0(), oidctest.Cognito(), oidctest.Claim("x", 1)} {
			_, err = v.VerifyToken(context.Background(), issuer.Token(vendor, oidctest.Header("typ", "forwardauth+jwt")))
			require.Error(t, err, name)
		}
	}
}

func TestKeysChangeWithoutAGap(t *testing.T) {
	w, old, next := newWorld(t, middleware.AllowUnbound()), newKey(t), ed25519.NewKeyFromSeed(make([]byte, 32))
	receiver, err := forwardauth.NewReceiver("orders", old.Public(), forwardauth.WithTrustedPeers(proxyPrefix), forwardauth.WithPreviousKeys(next.Public()))
	require.NoError(t, err)
	guard, err := middleware.New(middleware.WithTokens(receiver, nil), middleware.AllowUnbound())
	require.NoError(t, err)
	handler := receiver.Wrap(guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for _, key := range []crypto.Signer{old, next} {
		h := w.handler(t, forwardauth.WithProxy(forwardauth.Caddy, proxyPrefix), forwardauth.WithAssertion(forwardauth.NewSigner("orders", key)))
		r := subrequest(dialects[forwardauth.Caddy], "GET", "/orders")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
		require.Equal(t, 200, ask(handler, passed("GET", "/orders", ask(h, r).Header().Get("X-Auth-Assertion"))).Code)
	}
}

// The context of a request with an assertion is lent to nothing else.
func TestAContextStandsForItsOwnAssertionOnly(t *testing.T) {
	w, key := newWorld(t, middleware.AllowUnbound()), newKey(t)
	h := w.handler(t, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithAssertion(forwardauth.NewSigner("orders", key)))
	r := subrequest(dialects[forwardauth.NGINX], "GET", "/orders")
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
	assertion := ask(h, r).Header().Get("X-Auth-Assertion")
	receiver, err := forwardauth.NewReceiver("orders", key.Public(), forwardauth.WithTrustedPeers(proxyPrefix))
	require.NoError(t, err)
	called := false
	receiver.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called = true
		_, err := receiver.VerifyToken(r.Context(), assertion)
		require.NoError(t, err)
		for _, other := range []string{"", "x", assertion + "=", w.issuer.Token()} {
			_, err := receiver.VerifyToken(r.Context(), other)
			require.Equal(t, oidc.ErrType, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), passed("GET", "/orders", assertion))
	require.True(t, called)
}

func TestMistakesOfReceiversAndSigners(t *testing.T) {
	key := newKey(t)
	for want, f := range map[string]func() error{
		"the service has no name": func() error {
			_, err := forwardauth.NewReceiver("", key.Public(), forwardauth.WithTrustedPeers(proxyPrefix))
			return err
		},
		"no peer is trusted": func() error { _, err := forwardauth.NewReceiver("orders", key.Public()); return err },
		"key 1": func() error {
			_, err := forwardauth.NewReceiver("orders", nil, forwardauth.WithTrustedPeers(proxyPrefix))
			return err
		},
		"key 2": func() error {
			_, err := forwardauth.NewReceiver("orders", key.Public(), forwardauth.WithTrustedPeers(proxyPrefix), forwardauth.WithPreviousKeys("x"))
			return err
		},
		"far too wide": func() error {
			_, err := forwardauth.NewReceiver("orders", key.Public(), forwardauth.WithTrustedPeers(netip.MustParsePrefix("::/0")))
			return err
		},
		"option 1 is nil":        func() error { _, err := forwardauth.NewReceiver("orders", key.Public(), nil); return err },
		"NewSigner: the service": func() error { _, err := forwardauth.NewSigner("", key); return err },
		"NewSigner: the signer":  func() error { _, err := forwardauth.NewSigner("orders", nil); return err },
	} {
		require.ErrorContains(t, f(), want)
		require.ErrorContains(t, f(), "forwardauth: ")
	}
	zero := new(forwardauth.Receiver)
	_, err := zero.VerifyToken(context.Background(), "")
	require.Error(t, err)
	called := false
	zero.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called = true
		require.Empty(t, r.Header["X-Auth-Assertion"])
		_, err := zero.VerifyToken(r.Context(), "x")
		require.Error(t, err)
	})).ServeHTTP(httptest.NewRecorder(), passed("GET", "/orders", "x"))
	require.True(t, called)
	require.Panics(t, func() { zero.Wrap(nil) })

	// R10: a Signer does not show its key.
	signer, err := forwardauth.NewSigner("orders", key)
	require.NoError(t, err)
	raw, err := key.Bytes()
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, signer), new(big.Int).SetBytes(raw).String())
	}
}

// Whatever a client or a broken proxy sends, only a signed assertion for the very request
// is accepted.
func FuzzAssertion(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	good := signedBy(f, key, "forwardauth+jwt", map[string]any{"aud": "orders", "iat": 4102444800, "exp": 4102444830, "htm": "GET",
		"host": "api.example", "target": "/orders", "token": map[string]any{"sub": "alice"}}) // of the year 2100
	for _, seed := range []string{"", "x", good, good + "=", good[:len(good)-1], replacedPart(good, 0, "forwardauth+jwt", "at+jwt"), strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	b := newBehind(f, "orders", key.Public())
	f.Fuzz(func(t *testing.T, assertion string) {
		b.seen = nil
		a := ask(b.handler, passed("GET", "/orders", assertion))
		if a.Code != 401 && a.Code != 400 || b.seen != nil { // 400: the client's own token, which two words are not.
			t.Fatalf("%d for %q", a.Code, assertion)
		}
	})
}

// FuzzOriginals: whatever the three fields hold, the answer is one of those that are
// documented, and every identity field is replaced.
func FuzzOriginals(f *testing.F) {
	w := newWorld(f)
	h := w.handler(f, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	for _, seed := range [][3]string{{"GET", "/orders", "api.example"}, {"", "", ""}, {"GET\n", "//x", "a,b"}, {"CONNECT", "api.example:443", ":"}, {"GET", "*", "[::1"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, uri, host string) {
		r := subrequest(dialects[forwardauth.NGINX], "GET", "/orders")
		key := dpoptest.NewKey(t)
		token := w.issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", key.Proof("GET", origin+"/orders", token))
		r.Header["X-Original-Method"], r.Header["X-Original-Uri"], r.Header["X-Original-Host"] = []string{method}, []string{uri}, []string{host}
		a := ask(h, r)
		outcome := "refused"
		path, _, _ := strings.Cut(uri, "?")
		if method == "GET" && path == "/orders" && strings.EqualFold(strings.TrimSuffix(host, ":443"), "api.example") && a.Code == 200 {
			outcome = "pass"
		} else if a.Code < 400 {
			t.Fatalf("%d for %q %q %q", a.Code, method, uri, host)
		}
		replaced(t, a, outcome)
	})
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkHandler is beside the bare guard.
func BenchmarkHandler(b *testing.B) {
	w := newWorld(b, middleware.AllowUnbound())
	token := w.issuer.Token()
	plain := w.handler(b, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix))
	signing := w.handler(b, forwardauth.WithProxy(forwardauth.NGINX, proxyPrefix), forwardauth.WithAssertion(forwardauth.NewSigner("orders", newKey(b))))
	request := func() *http.Request {
		r := subrequest(dialects[forwardauth.NGINX], "GET", "/orders")
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	b.Run("guard", func(b *testing.B) {
		r := request()
		q := middleware.RequestOf(r)
		q.Method, q.Target, q.Host = "GET", "/orders", "api.example"
		for b.Loop() {
			if !w.guard.Judge(context.Background(), q).Pass {
				b.Fatal("refused")
			}
		}
	})
	for name, h := range map[string]*forwardauth.Handler{"handler": plain, "handler with assertion": signing} {
		b.Run(name, func(b *testing.B) {
			r := request()
			for b.Loop() {
				out := discard{http.Header{}}
				if h.ServeHTTP(out, r); out.header["X-Auth-Outcome"][0] != "pass" {
					b.Fatal("refused")
				}
			}
		})
	}
	b.Run("ecdsa.Verify", func(b *testing.B) {
		key := newKey(b)
		digest := make([]byte, 32)
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			ecdsa.VerifyASN1(&key.PublicKey, digest, signature)
		}
	})
}
