package dpopclient_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// guarded is a service behind this library's own Verifier, which requires nonces.
func guarded(t testing.TB, jkt string) *httptest.Server {
	t.Helper()
	var v *dpop.Verifier
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
		p, err := v.Verify(r, got, jkt)
		nonce, nerr := v.NextNonce(r.Context(), p)
		if nerr != nil {
			http.Error(w, nerr.Error(), http.StatusServiceUnavailable)
			return
		}
		if nonce != "" {
			w.Header().Set("DPoP-Nonce", nonce)
		}
		var kind dpop.ProofError
		if errors.As(err, &kind) {
			w.Header().Set("WWW-Authenticate", `DPoP algs="ES256", error="`+kind.Code()+`"`)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Nonce", p.Nonce)
		_, _ = io.Copy(w, r.Body)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	nonceKey := make([]byte, 32)
	_, err := rand.Read(nonceKey)
	require.NoError(t, err)
	v, err = dpop.New(srv.URL, dpop.WithNonces(dpop.NewNonces(nonceKey)),
		dpop.WithAlgorithms("ES256", "ES384", "ES512", "PS256", "RS256", "EdDSA", "Ed25519"))
	require.NoError(t, err)
	return srv
}

func TestTheVerifierOfThisLibraryAccepts(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, c := range []struct {
		alg string
		key crypto.Signer
	}{
		{"ES256", ecKey}, {"ES384", newECKey(elliptic.P384())}, {"ES512", newECKey(elliptic.P521())},
		{"PS256", rsaKey()}, {"RS256", rsaKey()}, {"Ed25519", edKey}, {"EdDSA", edKey},
	} {
		t.Run("CLI-03 "+c.alg, func(t *testing.T) {
			jkt := thumbprintOf(t, c.key)
			srv := guarded(t, jkt)
			tr, err := dpopclient.New(c.key, dpopclient.WithAlgorithm(c.alg), dpopclient.WithOrigins(srv.URL), withToken(),
				dpopclient.WithBase(srv.Client().Transport))
			require.NoError(t, err)
			client := &http.Client{Transport: tr}
			for _, path := range []string{"", "/", "/a%2Fb/%7Ec//d/./e;f=g/%40?q=1&r#f", "/sp ace/é/\"quoted\"\\", "/%2e%2e/x", "/:a=b,c'!$&()*+"} {
				for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
					req := request(t, method, srv.URL+path, strings.NewReader("body"))
					resp, err := client.Do(req)
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Equal(t, 200, resp.StatusCode, "%s %s: %s %s", method, path, body, resp.Header)
					require.Equal(t, "body", string(body))
					require.NotEmpty(t, resp.Header.Get("X-Nonce"), "CLI-04 with the nonce it was given")
				}
			}
		})
	}
}

func thumbprintOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	tr, err := dpopclient.New(key, dpopclient.WithOrigins(api))
	require.NoError(t, err)
	return tr.Thumbprint()
}
