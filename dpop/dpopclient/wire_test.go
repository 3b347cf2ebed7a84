package dpopclient_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

const (
	api      = "https://api.example"
	endpoint = "https://as.example/token"
	token    = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU" // RFC 9449, figure 13,
	tokenATH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" // and the ath in its proof.
)

var (
	ecKey  = newECKey(elliptic.P256())
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func newECKey(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A network is a base RoundTripper that records what reaches the wire, and answers
// with the handler. It checks the contract of a RoundTripper's caller on the way.
type network struct {
	handler http.HandlerFunc
	mu      sync.Mutex
	seen    []*http.Request
	bodies  []string
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body := ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
		req.Body.Close()
	}
	n.mu.Lock()
	n.seen = append(n.seen, req)
	n.bodies = append(n.bodies, body)
	n.mu.Unlock()
	w := httptest.NewRecorder()
	n.handler(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (n *network) last(t testing.TB) *http.Request {
	t.Helper()
	require.NotEmpty(t, n.seen, "nothing was sent")
	return n.seen[len(n.seen)-1]
}

func ok(http.ResponseWriter, *http.Request) {}

// newTransport makes a Transport for api with a static token, over a network with
// the handler.
func newTransport(t testing.TB, handler http.HandlerFunc, opts ...dpopclient.Option) (*dpopclient.Transport, *network) {
	t.Helper()
	n := &network{handler: handler}
	opts = append([]dpopclient.Option{dpopclient.WithBase(n), dpopclient.WithOrigins(api),
		dpopclient.WithTokenEndpoint(endpoint)}, opts...)
	tr, err := dpopclient.New(ecKey, opts...)
	require.NoError(t, err)
	return tr, n
}

func static(accessToken, tokenType string) dpopclient.Option {
	return dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(
		func(context.Context) (string, string, error) { return accessToken, tokenType, nil }))
}

func withToken() dpopclient.Option { return static(token, "DPoP") }

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	return req
}

// send passes the request to the Transport itself and reads the whole response.
func send(t testing.TB, tr http.RoundTripper, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(b)
}

func get(t testing.TB, tr http.RoundTripper, url string) int {
	t.Helper()
	status, _ := send(t, tr, request(t, "GET", url, nil))
	return status
}

// A proof is what a server reads out of one DPoP field, its signature verified.
type proof struct {
	Header map[string]any
	JWK    map[string]any
	Claims map[string]any
	Raw    string
}

func (p proof) claim(name string) string { s, _ := p.Claims[name].(string); return s }

// proofIn plays the server: it reads the one proof of a request and verifies it with
// nothing but the standard library.
func proofIn(t testing.TB, req *http.Request) proof {
	t.Helper()
	fields := fieldsOf(req.Header, "DPoP")
	require.Len(t, fields, 1, "one DPoP field")
	parts := strings.Split(fields[0], ".")
	require.Len(t, parts, 3)
	p := proof{Raw: fields[0]}
	require.NoError(t, json.Unmarshal(decode(t, parts[0]), &p.Header))
	require.NoError(t, json.Unmarshal(decode(t, parts[1]), &p.Claims))
	require.Equal(t, "dpop+jwt", p.Header["typ"])
	p.JWK, _ = p.Header["jwk"].(map[string]any)
	require.True(t, verifies(t, p.Header["alg"].(string), p.JWK, parts[0]+"."+parts[1], decode(t, parts[2])), "signature")
	return p
}

// fieldsOf finds a field under every spelling, as the other end of the wire would.
func fieldsOf(h http.Header, name string) []string {
	var all []string
	for key, values := range h {
		if strings.EqualFold(key, name) {
			all = append(all, values...)
		}
	}
	return all
}

func verifies(t testing.TB, alg string, jwk map[string]any, input string, sig []byte) bool {
	t.Helper()
	member := func(name string) []byte { return decode(t, jwk[name].(string)) }
	hashes := map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512,
		"PS256": crypto.SHA256, "RS256": crypto.SHA256}
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	var sum []byte
	if hash, ok := hashes[alg]; ok {
		h := hash.New()
		h.Write([]byte(input))
		sum = h.Sum(nil)
	}
	switch jwk["kty"] {
	case "EC":
		curve := curves[jwk["crv"].(string)]
		width := (curve.Params().BitSize + 7) / 8
		require.Len(t, sig, 2*width)
		key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, member("x")...), member("y")...))
		require.NoError(t, err)
		return ecdsa.Verify(key, sum, new(big.Int).SetBytes(sig[:width]), new(big.Int).SetBytes(sig[width:]))
	case "RSA":
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(member("n")), E: int(new(big.Int).SetBytes(member("e")).Int64())}
		if alg == "RS256" {
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, sig) == nil
		}
		return rsa.VerifyPSS(key, crypto.SHA256, sum, sig, &rsa.PSSOptions{SaltLength: 32}) == nil
	case "OKP":
		require.Equal(t, "Ed25519", jwk["crv"])
		return ed25519.Verify(member("x"), []byte(input), sig)
	}
	return false
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	require.NoError(t, err)
	return b
}

// athOf is RFC 9449, section 4.2, from the words of the RFC.
func athOf(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// challenge is a resource server's demand for the nonce.
func challenge(w http.ResponseWriter, nonce string) {
	w.Header().Set("DPoP-Nonce", nonce)
	w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"`)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "nonce, please")
}

// tokenChallenge is an authorization server's (RFC 9449, figure 20).
func tokenChallenge(w http.ResponseWriter, nonce string) {
	w.Header().Set("DPoP-Nonce", nonce)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, `{"error": "use_dpop_nonce", "error_description": "Authorization server requires nonce in DPoP proof"}`)
}

func issuedAt(p proof) time.Time { return time.Unix(int64(p.Claims["iat"].(float64)), 0) }
