package oidctest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// recorded is a request of oauth2c to a token endpoint.
type recorded struct {
	Alg    string
	Args   []string
	Header http.Header
	Body   string
	Key    map[string]string // the public half, as a JWK
}

// oauth2c are the requests that oauth2c, a command for OAuth, sent: five algorithms,
// three methods of client authentication. Each has a key of its own.
func oauth2c(t *testing.T) []*recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/oauth2c.json")
	require.NoError(t, err)
	var file struct{ Requests []*recorded }
	require.NoError(t, json.Unmarshal(text, &file))
	require.Len(t, file.Requests, 15)
	return file.Requests
}

// method is the client authentication that it was told to use.
func (r *recorded) method() string {
	for i, arg := range r.Args {
		if arg == "--auth-method" {
			return r.Args[i+1]
		}
	}
	return ""
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

func (r *recorded) publicKey(t *testing.T) crypto.PublicKey {
	t.Helper()
	number := func(name string) *big.Int { return new(big.Int).SetBytes(decoded(t, r.Key[name])) }
	switch r.Key["kty"] {
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[r.Key["crv"]]
		key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, decoded(t, r.Key["x"])...), decoded(t, r.Key["y"])...))
		require.NoError(t, err)
		return key
	case "OKP":
		return ed25519.PublicKey(decoded(t, r.Key["x"]))
	}
	return &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
}

// claims are what the proof says.
func (r *recorded) claims(t *testing.T) (claims struct {
	HTU string
	IAT int64
	JTI string
}) {
	t.Helper()
	require.NoError(t, json.Unmarshal(decoded(t, strings.Split(r.Header.Get("Dpop"), ".")[1]), &claims))
	return claims
}

// send sends the request to an issuer whose token endpoint has the URL that the proof
// names.
func (r *recorded) send(to http.Handler, at, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, at, strings.NewReader(body))
	request.Header = r.Header.Clone()
	request.ContentLength = int64(len(body))
	w := httptest.NewRecorder()
	to.ServeHTTP(w, request)
	return w
}

// then runs f when the request was recorded.
func (r *recorded) then(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(r.claims(t).IAT, 0)))
		f(t)
	})
}

func TestTheDevelopmentIssuerTakesWhatOauth2cSends(t *testing.T) {
	for _, r := range oauth2c(t) {
		t.Run(r.Alg+" "+r.method(), func(t *testing.T) {
			r.then(t, func(t *testing.T) {
				at := r.claims(t).HTU
				registered := oidctest.Registration{ID: "client-dpop-auth", Method: r.method()}
				if r.method() == "private_key_jwt" {
					registered.Keys = []crypto.PublicKey{r.publicKey(t)}
				} else {
					registered.Secret = "secret"
				}
				issuer := oidctest.NewIssuer(t, oidctest.InMemory(strings.TrimSuffix(at, "/token")), oidctest.WithClient(registered))
				w := r.send(issuer, at, r.Body)
				require.Equal(t, 200, w.Code, w.Body.String())
				var granted struct {
					Type  string `json:"token_type"`
					Token string `json:"access_token"`
				}
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &granted))
				require.Equal(t, "DPoP", granted.Type)
				var token struct {
					Scope        string
					Confirmation struct{ JKT string } `json:"cnf"`
				}
				require.NoError(t, json.Unmarshal(decoded(t, strings.Split(granted.Token, ".")[1]), &token))
				require.Equal(t, "openid", token.Scope)
				require.Equal(t, r.thumbprint(t), token.Confirmation.JKT)

				require.NotEqual(t, 200, r.send(issuer, at, r.Body).Code, "the same again: its proof, and its assertion, were used")
				forged := *r
				forged.Header = r.Header.Clone()
				forged.Header.Set("Dpop", r.Header.Get("Dpop")[:len(r.Header.Get("Dpop"))-8]+"AAAAAAAA")
				require.NotEqual(t, 200, forged.send(issuer, at, r.Body).Code)
			})
		})
	}
}

// thumbprint is RFC 7638.
func (r *recorded) thumbprint(t *testing.T) string {
	t.Helper()
	required := map[string]string{}
	for _, name := range map[string][]string{"EC": {"crv", "kty", "x", "y"}, "OKP": {"crv", "kty", "x"}, "RSA": {"e", "kty", "n"}}[r.Key["kty"]] {
		required[name] = r.Key[name]
	}
	text, err := json.Marshal(required) // in the order of the names
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Form, type, algorithm and key are checked before the claims, of which a proof for a
// token endpoint lacks ath. The signature is the issuer's to check, above.
func TestTheKeysOfOauth2csProofsAreGoodForServices(t *testing.T) {
	for _, r := range oauth2c(t) {
		t.Run(r.Alg+" "+r.method(), func(t *testing.T) {
			r.then(t, func(t *testing.T) {
				at := r.claims(t).HTU
				v, err := dpop.New(strings.TrimSuffix(at, "/token"))
				require.NoError(t, err)
				request := httptest.NewRequest(http.MethodPost, at, nil)
				request.Header = r.Header.Clone()
				_, err = v.Verify(request, "token", r.thumbprint(t))
				want := dpop.ErrClaims
				if r.Alg == "RS256" {
					want = dpop.ErrAlgorithm // which is for tokens, and takes WithAlgorithms
				}
				require.ErrorIs(t, err, want)
			})
		})
	}
}

// What oauth2c and this library send to prove a client is the same.
func TestOurClientAuthenticationIsThatOfOauth2c(t *testing.T) {
	methods := map[string]clientauth.Method{
		"client_secret_basic": clientauth.SecretBasic("client-dpop-auth", "secret"),
		"client_secret_post":  clientauth.SecretPost("client-dpop-auth", "secret"),
	}
	for _, r := range oauth2c(t) {
		method := methods[r.method()]
		if method == nil {
			continue
		}
		header, form := make(http.Header), url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}
		require.NoError(t, method.Authenticate(t.Context(), "https://issuer.example", header, form))
		require.Equal(t, r.Body, form.Encode(), r.method())
		require.Equal(t, r.Header["Authorization"], header["Authorization"], r.method())
	}
}
