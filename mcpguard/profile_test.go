package mcpguard_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/mcpguard"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// P3, P2: what the MCP project's scenario for servers with DPoP (SEP-1932) demands, with
// tokens like those of its issuer: they have neither jti nor client_id. 23 probes, and
// one more of a server that demands nonces.
func TestTheProbesOfTheMCPProjectsScenario(t *testing.T) {
	for name, nonces := range map[string]bool{"without nonces": false, "with nonces": true} {
		t.Run(name, func(t *testing.T) { probe(t, nonces) })
	}
}

func probe(t *testing.T, nonces bool) {
	w := newWorld(t)
	settings := []dpop.Option{dpop.MCP()}
	if nonces {
		settings = append(settings, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte{7}, 32))))
	}
	dialect := oidc.Described(oidc.Dialect{Name: "the MCP project's", MayLack: []string{"client_id", "jti"}})
	h, err := mcpguard.New(w.server, mcpguard.WithGuard(middleware.New(
		middleware.WithTokens(oidc.New(w.Issuer.URL, w.resource, oidc.WithHTTPClient(w.Issuer.Client()), oidc.WithProfile(dialect))),
		middleware.WithDPoP(dpop.New(w.URL, settings...)),
		middleware.MCP(middleware.ProtectedResource{Identifier: w.resource, AuthorizationServers: []string{w.Issuer.URL}}))))
	require.NoError(t, err)
	w.Serve(h)

	key, foreign := dpoptest.NewKeyFor(t, "ES256"), dpoptest.NewKeyFor(t, "ES256")
	mint := func(k *dpoptest.Key, more ...oidctest.Change) string {
		return w.Issuer.Token(append(w.changes("conformance-test-subject", "", oidctest.Without("client_id", "jti"), oidctest.BoundToKey(k.Thumbprint())), more...)...)
	}
	token := mint(key)
	nonce := ""
	proof := func(token string, opts ...dpoptest.ProofOption) string {
		if nonce != "" {
			opts = append([]dpoptest.ProofOption{dpoptest.Nonce(nonce)}, opts...)
		}
		return key.Proof("POST", w.resource, token, opts...)
	}
	send := func(scheme, token string, proofs ...string) answer {
		r := w.request("POST", "", initialize)
		r.Header.Set("Authorization", scheme+" "+token)
		r.Header["Dpop"] = proofs
		a := w.do(w.Anonymous(), r)
		if n := a.Header.Get("DPoP-Nonce"); n != "" {
			nonce = n
		}
		return a
	}
	a := send("DPoP", token, proof(token))
	if nonces {
		require.Equal(t, 401, a.StatusCode)
		require.Contains(t, a.Header.Get("WWW-Authenticate"), "use_dpop_nonce")
		a = send("DPoP", token, proof(token))
	}
	require.Equal(t, 200, a.StatusCode, "AcceptsValidProof")

	refused := 0
	refuse := func(name, scheme, token string, proofs ...string) {
		t.Helper()
		a := send(scheme, token, proofs...)
		require.Equal(t, 401, a.StatusCode, name)
		challenges := strings.Join(a.Header.Values("WWW-Authenticate"), ", ")
		require.Contains(t, challenges, "DPoP ", name)
		require.NotContains(t, challenges, "use_dpop_nonce", name)
		refused++
	}
	now := time.Now()
	for name, one := range map[string]string{
		"tampered-signature": tamper(proof(token)),
		"missing-jti":        proof(token, dpoptest.WithoutClaim("jti")),
		"wrong-typ":          proof(token, dpoptest.Header("typ", "jwt")),
		"htu-mismatch":       proof(token, dpoptest.Claim("htu", "https://wrong.example.com/mcp")),
		"htm-mismatch":       proof(token, dpoptest.Claim("htm", "GET")),
		"private-key-in-jwk": proof(token, dpoptest.Header("jwk", withPrivateMember(proof(token)))),
		"wrong-ath":          proof(token, dpoptest.Claim("ath", "not-the-right-hash")),
		"missing-htm":        proof(token, dpoptest.WithoutClaim("htm")),
		"missing-htu":        proof(token, dpoptest.WithoutClaim("htu")),
		"missing-iat":        proof(token, dpoptest.WithoutClaim("iat")),
		"missing-jwk":        proof(token, dpoptest.WithoutHeader("jwk")),
		"ath-absent":         proof(token, dpoptest.WithoutClaim("ath")),
		"malformed":          "this-is-not-a-jwt",
		"iat-stale":          proof(token, dpoptest.IssuedAt(now.Add(-303*time.Second))),
		"iat-future":         proof(token, dpoptest.IssuedAt(now.Add(303*time.Second))),
		"alg-none":           proof(token, dpoptest.Header("alg", "none")),
		"alg-symmetric":      proof(token, dpoptest.Header("alg", "HS256")),
		"challenge format":   tamper(proof(token)),
	} {
		refuse(name, "DPoP", token, one)
	}
	refuse("bearer-scheme", "Bearer", token, proof(token))
	refuse("duplicate-dpop-header", "DPoP", token, proof(token), proof(token))
	bound := mint(foreign)
	refuse("cnf-jkt-mismatch", "DPoP", bound, proof(bound))
	other := mint(key, oidctest.Claim("aud", "https://not-this-server.example.com/mcp"))
	refuse("wrong-audience", "DPoP", other, proof(other))
	require.Equal(t, 22, refused)
	if nonces {
		require.Equal(t, 401, send("DPoP", token, proof(token, dpoptest.Nonce("definitely-not-the-server-nonce"))).StatusCode, "NonceFlow")
		require.Equal(t, 200, send("DPoP", token, proof(token)).StatusCode)
	}
	require.Equal(t, 200, send("DPoP", token, proof(token, dpoptest.IssuedAt(now.Add(-290*time.Second)))).StatusCode, "within five minutes")
	require.Equal(t, http.StatusOK, send("DPoP", token, proof(token, dpoptest.IssuedAt(now.Add(290*time.Second)))).StatusCode)
}

func tamper(proof string) string {
	i := strings.LastIndexByte(proof, '.') + 3
	c := byte('A')
	if proof[i] == c {
		c = 'B'
	}
	return proof[:i] + string(c) + proof[i+1:]
}

// withPrivateMember is the key in the header of a proof with a private member.
func withPrivateMember(proof string) any {
	head, _, _ := strings.Cut(proof, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		panic(err)
	}
	var header struct{ JWK map[string]any }
	if err := json.Unmarshal(raw, &header); err != nil {
		panic(err)
	}
	header.JWK["d"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
	return header.JWK
}
