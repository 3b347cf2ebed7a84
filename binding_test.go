package middleware_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func TestBindingPolicy(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	lax := w.guard(both(middleware.AllowUnbound())...)

	t.Run("DPOP-7.1-02 AMB-06 an unbound token under the DPoP scheme", func(t *testing.T) {
		for _, g := range []*middleware.Guard{g, lax} {
			r := get("/r")
			token := w.issuer.Token()
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.proof("GET", origin+"/r", token))
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		}
	})
	t.Run("DPOP-7.1-03 the DPoP scheme without a DPoP field", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Del("DPoP")
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("DPOP-4.1-01 the field name is case-insensitive on the wire and canonical in net/http", func(t *testing.T) {
		require.Equal(t, "Dpop", http.CanonicalHeaderKey("DPOP"))
		require.Equal(t, "Dpop", http.CanonicalHeaderKey("dpop"))
	})
	t.Run("DPOP-4.3-01 two DPoP fields", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Add("DPoP", r.Header.Get("DPoP"))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("the shape of the proof is judged before the token is looked at", func(t *testing.T) {
		w := newWorld(t)
		g := w.guard()
		r := w.dpopRequest("/r")
		r.Header.Set("Authorization", "DPoP "+w.dpopToken(oidctest.ExpiresIn(-time.Hour)))
		r.Header.Add("DPoP", r.Header.Get("DPoP"))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
		require.Zero(t, w.issuer.Fetches(oidctest.KeySet))
	})
	t.Run("DPOP-4.3-12b a proof by another key than the token's", func(t *testing.T) {
		r := w.dpopRequest("/r")
		other := *w
		other.key = josetest.NewKey("ES256")
		r.Header.Set("DPoP", other.proof("GET", origin+"/r", strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
	})
	t.Run("DPOP-7.2-01 a DPoP-bound token as Bearer, with and without its proof", func(t *testing.T) {
		for _, g := range []*middleware.Guard{g, lax} {
			r := w.dpopRequest("/r")
			r.Header.Set("Authorization", "Bearer"+strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP"))
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
			r.Header.Del("DPoP")
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
		}
	})
	t.Run("DPOP-7.2-02 an unbound Bearer token where DPoP is required", func(t *testing.T) {
		serve(w.guard(withDPoP()), w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
	})
	t.Run("DPOP-7.2-03 AMB-08 a stray proof beside an unbound token is ignored, or refused where the operator says so", func(t *testing.T) {
		stray := func() *http.Request {
			r := w.bearerRequest("/r")
			r.Header.Set("DPoP", "not a proof")
			return r
		}
		serve(lax, stray()).accepted(t)
		serve(w.guard(both(middleware.AllowUnbound(), middleware.RefuseStrayProofs())...), stray()).
			refused(t, 400).challenged(t, "DPoP", "Bearer:invalid_request")
	})
	t.Run("DPOP-7-01 a proof made for another token", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", w.dpopToken(oidctest.Scope("other"))))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("MTLS-3-01 MTLS-3-02 MTLS-3-03 the right certificate, another one, none", func(t *testing.T) {
		serve(g, w.certRequest("/r")).accepted(t)
		r := w.certRequest("/r")
		r.TLS.PeerCertificates[0] = mtlspoptest.SelfSigned(t, "other").Certificate
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		r = w.certRequest("/r")
		r.TLS.PeerCertificates = nil
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	})
	t.Run("MTLS-3-04 a certificate beside an unbound token proves nothing", func(t *testing.T) {
		r := w.certRequest("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		serve(lax, r).accepted(t)
	})
	t.Run("MTLS-X-01 AMB-14 a token that is bound both ways must prove both, under DPoP", func(t *testing.T) {
		request := func() *http.Request {
			r := w.dpopRequest("/r", oidctest.Claim("cnf", map[string]any{"jkt": w.key.Thumbprint(), "x5t#S256": w.cert.Thumbprint()}))
			r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
			return r
		}
		a := serve(g, request()).accepted(t)
		c, ok := middleware.FromContext(a.seen.Context())
		require.True(t, ok)
		require.NotNil(t, c.Proof)
		require.NotNil(t, c.Certificate)

		r := request() // good proof, bad certificate
		r.TLS.PeerCertificates[0] = mtlspoptest.SelfSigned(t, "other").Certificate
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		r = request() // bad proof, good certificate
		r.Method = "PUT"
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
		r = request()
		r.Header.Set("Authorization", "Bearer"+strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP"))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
	})
	t.Run("MTLS-X-02 a cnf that names nothing known is never an unbound token", func(t *testing.T) {
		for _, cnf := range []any{map[string]any{}, map[string]any{"kid": "k"}, map[string]any{"jwk": map[string]any{}}, "x", nil, []any{}, map[string]any{"JKT": w.key.Thumbprint()}} {
			r := w.bearerRequest("/r", oidctest.Claim("cnf", cnf))
			serve(lax, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		}
	})
	t.Run("MTLS-X-03 a certificate-bound token under the DPoP scheme", func(t *testing.T) {
		r := w.certRequest("/r")
		r.Header.Set("Authorization", "DPoP"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer"))
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", "t"))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
	})
	t.Run("AMB-34 a token bound by a means that the guard has no part for is refused, also where unbound ones pass", func(t *testing.T) {
		onlyDPoP := w.guard(withDPoP(), middleware.AllowUnbound())
		serve(onlyDPoP, w.certRequest("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		onlyMTLS := w.guard(withMTLS(), middleware.AllowUnbound())
		serve(onlyMTLS, w.dpopRequest("/r")).refused(t, 401).challenged(t, "Bearer")
		r := w.dpopRequest("/r")
		r.Header.Set("Authorization", "Bearer"+strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP"))
		serve(onlyMTLS, r).refused(t, 401).challenged(t, "Bearer:invalid_token")
		plain := w.guard(middleware.AllowUnbound())
		serve(plain, r).refused(t, 401).challenged(t, "Bearer:invalid_token")
		serve(plain, w.certRequest("/r")).refused(t, 401).challenged(t, "Bearer:invalid_token")
	})
	t.Run("DPOP-6-01 unbound tokens pass only where they are allowed", func(t *testing.T) {
		serve(g, w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		serve(lax, w.bearerRequest("/r")).accepted(t)
		serve(lax.Require(middleware.Bound()), w.bearerRequest("/r")).refused(t, 401)
	})
	t.Run("DPOP-6.1-01 a malformed jkt makes the token invalid", func(t *testing.T) {
		for _, jkt := range []any{w.key.Thumbprint() + "=", w.key.Thumbprint()[:42], 7, nil, ""} {
			r := w.dpopRequest("/r", oidctest.Claim("cnf", map[string]any{"jkt": jkt}))
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		}
	})
}

// The cnf of an introspection answer binds as that of a JWT does, also when the
// answer comes from the cache.
func TestIntrospectedTokensAreBoundToo(t *testing.T) {
	w := newWorld(t)
	g, err := middleware.New(both(middleware.AllowUnbound(), middleware.WithTokens(w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))))...)
	require.NoError(t, err)
	t.Run("MTLS-3.2-01 DPOP-6-01 INTRO-2.2-04 by certificate", func(t *testing.T) {
		token := w.issuer.OpaqueToken(oidctest.BoundToCertificate(w.cert.Certificate))
		for range 2 {
			r := w.certRequest("/r")
			r.Header.Set("Authorization", "Bearer "+token)
			serve(g, r).accepted(t)
			r.TLS.PeerCertificates[0] = mtlspoptest.SelfSigned(t, "other").Certificate
			serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
			r.TLS.PeerCertificates = nil
			serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		}
		require.Equal(t, 1, w.issuer.Fetches(oidctest.Introspection))
	})
	t.Run("MTLS-3.2-01 DPOP-6-01 INTRO-2.2-04 by key", func(t *testing.T) {
		token := w.issuer.OpaqueToken(oidctest.BoundToKey(w.key.Thumbprint()))
		for range 2 {
			r := get("/r")
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", w.proof("GET", origin+"/r", token))
			serve(g, r).accepted(t)
			other := *w
			other.key = josetest.NewKey("ES256")
			r.Header.Set("DPoP", other.proof("GET", origin+"/r", token))
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
			r.Header.Set("Authorization", "Bearer "+token)
			serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer:invalid_token")
		}
	})
	t.Run("DPOP-6-01 unbound", func(t *testing.T) {
		r := get("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.OpaqueToken())
		serve(g, r).accepted(t)
		serve(g.Require(middleware.Bound()), r).refused(t, 401)
	})
}

func TestAProofIsForTheTokenThatWasSent(t *testing.T) {
	// A verifier of another author stands between the opaque tokens that clients
	// have and the JWTs behind them.
	w := newWorld(t)
	inner, err := oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	jwt := w.dpopToken()
	g, err := middleware.New(withDPoP(), middleware.WithTokens(verifierFunc(func(ctx context.Context, raw string) (*oidc.Token, error) {
		if raw != "opaque" {
			return nil, oidc.ErrInactive
		}
		return inner.VerifyToken(ctx, jwt)
	})))
	require.NoError(t, err)
	r := get("/r")
	r.Header.Set("Authorization", "DPoP opaque")
	r.Header.Set("DPoP", w.proof("GET", origin+"/r", jwt))
	serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof")
	r.Header.Set("DPoP", w.proof("GET", origin+"/r", "opaque"))
	serve(g, r).accepted(t)
}

func TestReplayIsRefusedAndOnlyByWhatPassedEverythingElse(t *testing.T) {
	w := newWorld(t)
	g := w.guard()
	t.Run("DPOP-11.1-03 the same proof twice", func(t *testing.T) {
		r := w.dpopRequest("/r")
		serve(g, r).accepted(t)
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("DPOP-11.1-05 DPOP-4.3-13 a proof that fails another check does not use up its jti", func(t *testing.T) {
		r := w.dpopRequest("/r")
		claims := proofClaims("GET", origin+"/r", strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "))
		sign := func() string {
			return w.key.Sign(map[string]any{"typ": "dpop+jwt", "jwk": w.key.JWK()}, claims)
		}
		ath := claims["ath"]
		claims["ath"] = "wrong"
		r.Header.Set("DPoP", sign())
		serve(g, r).refused(t, 401)
		claims["ath"] = ath
		r.Header.Set("DPoP", sign())
		serve(g, r).accepted(t)
	})
	t.Run("DPOP-11.1-05 nor does one whose certificate is missing", func(t *testing.T) {
		r := w.dpopRequest("/r", boundBothWays(w))
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
		serve(g, r).accepted(t)
	})
	t.Run("DPOP-4.3-13 two faults at once", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Set("DPoP", newWorld(t).proof("PUT", origin+"/x", "another token"))
		serve(g, r).refused(t, 401)
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r)))
		serve(g, r).accepted(t)
	})
	t.Run("DPOP-11.1-07 of 100 at the same time exactly one passes", func(t *testing.T) {
		r := w.dpopRequest("/r")
		var passed atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := g.Check(r.Clone(r.Context())); err == nil {
					passed.Add(1)
				} else if err != dpop.ErrReplayed {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, passed.Load())
	})
	t.Run("DPOP-11.1-08 a store that fails is a refusal without a challenge", func(t *testing.T) {
		g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithReplayCache(brokenStore{}, nil))))
		a := serve(g, w.dpopRequest("/r")).refused(t, 503)
		require.Empty(t, a.Header()["Www-Authenticate"])
	})
}

// boundBothWays makes a token that is bound to the world's key and certificate.
func boundBothWays(w *world) oidctest.Change {
	return oidctest.Claim("cnf", map[string]any{"jkt": w.key.Thumbprint(), "x5t#S256": w.cert.Thumbprint()})
}

type brokenStore struct{}

func (brokenStore) Add(context.Context, string, [32]byte, time.Time) (bool, error) {
	return true, errors.New("store down")
}

func TestNonces(t *testing.T) {
	w := newWorld(t)
	key := bytes.Repeat([]byte{1}, 32)
	g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(key)))), withMTLS())
	withNonce := func(nonce string, edits ...func(map[string]any)) *http.Request {
		r := w.dpopRequest("/r")
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
		edits = append(edits, func(c map[string]any) { c["nonce"] = nonce })
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", token, edits...))
		return r
	}
	t.Run("DPOP-9-01 a good proof without a nonce gets one, and the retry passes", func(t *testing.T) {
		a := serve(g, w.dpopRequest("/r")).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce", "Bearer")
		require.Regexp(t, `^DPoP .*error="use_dpop_nonce"`, a.Header().Get("WWW-Authenticate"), "some clients match just this")
		require.Len(t, a.Header()["Dpop-Nonce"], 1)
		ok := serve(g, withNonce(a.Header().Get("DPoP-Nonce"))).accepted(t)
		require.Empty(t, ok.Header()["Dpop-Nonce"], "a young nonce is not renewed")
	})
	t.Run("DPOP-9-01 also where a certificate is enough, and the token is bound both ways", func(t *testing.T) {
		g := g.Require(middleware.CertificateBound())
		serve(g, get("/r")).refused(t, 401).challenged(t, "Bearer")
		r := w.dpopRequest("/r", boundBothWays(w))
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
		a := serve(g, r).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce", "Bearer")
		require.NotEmpty(t, a.challenges(t)[0].params["algs"])
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = a.Header().Get("DPoP-Nonce") }))
		serve(g, r).accepted(t)
	})
	t.Run("DPOP-9-03 one nonce serves many proofs", func(t *testing.T) {
		nonce := serve(g, get("/r")).Header().Get("DPoP-Nonce")
		serve(g, withNonce(nonce)).accepted(t)
		serve(g, withNonce(nonce)).accepted(t)
	})
	t.Run("DPOP-8-03 DPOP-9-02 foreign, truncated and altered nonces get the same answer", func(t *testing.T) {
		foreign, err := dpop.NewNonces(bytes.Repeat([]byte{2}, 32))
		require.NoError(t, err)
		other, err := foreign.Issue(t.Context())
		require.NoError(t, err)
		own := serve(g, get("/r")).Header().Get("DPoP-Nonce")
		for _, nonce := range []string{other, own[:len(own)-1], own + "A", "", "x"} {
			a := serve(g, withNonce(nonce)).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce", "Bearer")
			require.NotEqual(t, nonce, a.Header().Get("DPoP-Nonce"), "AMB-36")
		}
	})
	t.Run("DPOP-11.3-01 AMB-11 no proof passes without a nonce", func(t *testing.T) {
		serve(g, w.dpopRequest("/r")).refused(t, 401)
		serve(g, w.dpopRequest("/r")).refused(t, 401)
	})
	t.Run("DPOP-7.1-03 without a proof the nonce comes along, so that the next try succeeds", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.Header.Del("DPoP")
		require.NotEmpty(t, serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer").Header().Get("DPoP-Nonce"))
	})
	t.Run("DPOP-8-04 one DPoP-Nonce, whatever an outer handler has set", func(t *testing.T) {
		rec := newRecorderWith("Dpop-Nonce", "outer")
		g.Wrap(http.NotFoundHandler()).ServeHTTP(rec, w.dpopRequest("/r"))
		require.Len(t, rec.Header()["Dpop-Nonce"], 1)
		require.NotEqual(t, "outer", rec.Header().Get("DPoP-Nonce"))
	})
	t.Run("DPOP-8.2-01 DPOP-8.2-02 AMB-13 near the end of its life a nonce is renewed on a success that must not be stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(key)))))
			request := func(nonce string) *http.Request {
				r := w.dpopRequest("/r")
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
				r.Header.Set("DPoP", w.proof("GET", origin+"/r", token, func(c map[string]any) { c["nonce"] = nonce }))
				return r
			}
			old := serve(g, get("/r")).Header().Get("DPoP-Nonce")
			time.Sleep(40 * time.Second)
			a := serve(g, request(old)).accepted(t)
			renewed := a.Header().Get("DPoP-Nonce")
			require.NotEmpty(t, renewed)
			require.NotEqual(t, old, renewed)
			require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
			serve(g, request(old)).accepted(t) // for the rest of its life
			time.Sleep(30 * time.Second)
			serve(g, request(old)).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce")
			require.Empty(t, serve(g, request(renewed)).accepted(t).Header()["Dpop-Nonce"])
		})
	})
	t.Run("DPOP-11.3-01 AMB-31 the nonce's age stands in for iat, which must still be there", func(t *testing.T) {
		nonce := serve(g, get("/r")).Header().Get("DPoP-Nonce")
		hourAgo := func(c map[string]any) { c["iat"] = time.Now().Add(-time.Hour).Unix() }
		serve(g, withNonce(nonce, hourAgo)).accepted(t)
		serve(g, withNonce("", hourAgo)).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce", "Bearer")
		serve(g, withNonce(nonce, func(c map[string]any) { delete(c, "iat") })).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("AMB-32 a nonce is ignored where nonces are off", func(t *testing.T) {
		serve(w.guard(), withNonce("whatever")).accepted(t)
	})
	t.Run("a nonce source that is down is ours", func(t *testing.T) {
		g := w.guard(middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(brokenNonces{}, nil))))
		serve(g, w.dpopRequest("/r")).refused(t, 503)
		serve(g, withNonce("n")).refused(t, 503)
		serve(g, get("/r")).refused(t, 401).challenged(t, "DPoP")
	})
}

type brokenNonces struct{}

func (brokenNonces) Issue(context.Context) (string, error) { return "", errors.New("down") }
func (brokenNonces) IssuedAt(context.Context, string) (time.Time, bool, error) {
	return time.Time{}, true, errors.New("down")
}

func TestForwardedCertificates(t *testing.T) {
	w := newWorld(t)
	g := w.guard(withDPoP(), middleware.WithMTLS(mtlspop.New(
		mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.0.0.0/24")))))
	forwarded := func(peer string) *http.Request {
		r := w.certRequest("/r")
		r.TLS.PeerCertificates = nil
		r.RemoteAddr = peer
		r.Header.Set("Client-Cert", mtlspoptest.RFC9440(w.cert))
		return r
	}
	t.Run("CC-2.4-02 BCP9700-4.13 the terminator's own certificate is never the client's", func(t *testing.T) {
		r := forwarded("10.0.0.7:1234")
		r.Header.Del("Client-Cert")
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	})
	t.Run("CC-2.4-01 from the terminator: accepted, and the response varies with the field", func(t *testing.T) {
		a := serve(g, forwarded("10.0.0.7:1234")).accepted(t)
		require.Contains(t, a.Header()["Vary"], "Client-Cert")
		require.NotEmpty(t, a.seen.Header.Get("Client-Cert"))
	})
	t.Run("CC-4-01 without the setting the field means nothing", func(t *testing.T) {
		serve(w.guard(), forwarded("10.0.0.7:1234")).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	})
	t.Run("CC-4-02 CC-4-03 AMB-18 from any other peer: ignored, removed, reported", func(t *testing.T) {
		r := forwarded("10.0.1.7:1234")
		r.Header.Set("X-Forwarded-For", "10.0.0.7")
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")

		var seen middleware.Outcome
		g := w.guard(withDPoP(), middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { seen = o }),
			middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.0.0.0/24")))))
		r = w.dpopRequest("/r")
		r.Header["X-Client-Cert"] = []string{"forged"}
		r.Header["X_client_cert"] = []string{"forged"}
		r.Header["X-Client_cert"] = []string{"forged"}
		for _, dash := range ".!#$%&'*+^`|~" { // G4: every byte that a name may have.
			r.Header[fmt.Sprintf("X%cClient%cCert", dash, dash)] = []string{"forged"}
		}
		a := serve(g, r).accepted(t)
		require.True(t, seen.UntrustedForward)
		for name := range a.seen.Header {
			require.NotContains(t, strings.ToLower(name), "client", "the handler never sees it, under any spelling")
		}
		require.NotEmpty(t, r.Header["X-Client-Cert"], "the caller's request is not changed")
		require.Empty(t, a.Header()["Vary"])
	})
	t.Run("CC-4-02 a field with underscores in its own name", func(t *testing.T) {
		for _, name := range []string{"SSL_CLIENT_CERT", "X_Client_Cert", "X-Client_Cert"} {
			mtls := func() middleware.Option {
				return middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(name, mtlspop.PEM, netip.MustParsePrefix("10.0.0.0/24"))))
			}
			r := w.dpopRequest("/r")
			r.RemoteAddr = "10.0.1.7:1234"
			r.Header.Set(name, "forged")
			require.Empty(t, serve(w.guard(withDPoP(), mtls()), r).accepted(t).seen.Header.Get(name))
			r = w.dpopRequest("/r")
			r.RemoteAddr = "10.0.0.7:1234"
			r.Header.Set(name, "the terminator's")
			require.Empty(t, serve(w.guard(withDPoP(), mtls(), middleware.HideCredentials()), r).accepted(t).seen.Header.Get(name))
		}
	})
	t.Run("CC-4-02 other spellings are the client's own, also from the terminator", func(t *testing.T) {
		r := forwarded("10.0.0.7:1234")
		r.Header["Client_cert"] = []string{"forged"}
		r.Header["CLIENT-CERT"] = []string{"forged"}
		a := serve(g, r).accepted(t)
		require.NotEmpty(t, a.seen.Header["Client-Cert"])
		require.NotContains(t, a.seen.Header, "Client_cert")
		require.NotContains(t, a.seen.Header, "CLIENT-CERT")
	})
	t.Run("CC-4-02 a terminator's own dialect is kept, and the others are a client's", func(t *testing.T) {
		var seen middleware.Outcome
		g := w.guard(withDPoP(), middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { seen = o }),
			middleware.WithMTLS(mtlspop.New(
				mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.0.0.0/24")),
				mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.0.1.0/24")))))
		r := forwarded("10.0.0.7:1234")
		a := serve(g, r).accepted(t)
		require.False(t, seen.UntrustedForward)
		require.Equal(t, []string{"Client-Cert", "Client-Cert-Chain"}, a.Header()["Vary"])

		r.Header.Set("X-Client-Cert", "forged")
		a = serve(g, r).accepted(t)
		require.True(t, seen.UntrustedForward)
		require.NotContains(t, a.seen.Header, "X-Client-Cert")
		require.NotEmpty(t, a.seen.Header["Client-Cert"])

		r = forwarded("10.0.1.7:1234")
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		require.True(t, seen.UntrustedForward)
		r.Header.Set("X-Client-Cert", mtlspoptest.Nginx(w.cert))
		a = serve(g, r).accepted(t)
		require.NotContains(t, a.seen.Header, "Client-Cert")
		require.NotEmpty(t, a.seen.Header["X-Client-Cert"])
	})
	t.Run("MTLS-7.5-01 a certificate that Go cannot parse passes by its digest, and its DER is at hand", func(t *testing.T) {
		text, err := os.ReadFile("mtlspop/testdata/unparsable/brainpoolP256r1.pem")
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		sum := sha256.Sum256(block.Bytes)
		r := forwarded("10.0.0.7:1234")
		r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(block.Bytes)+":")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.Claim("cnf", map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])})))
		a := serve(g, r).accepted(t)
		credential, ok := middleware.FromContext(a.seen.Context())
		require.True(t, ok)
		require.Nil(t, credential.Certificate)
		require.Equal(t, block.Bytes, credential.CertificateDER)
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.BoundToCertificate(w.cert.Certificate)))
		serve(g, r).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
	})
	t.Run("CC-4-02 a preflight that passes brings no certificate and no session either", func(t *testing.T) {
		g := w.guard(withDPoP(), middleware.PassPreflights(), withSession(), middleware.WithMTLS(mtlspop.New(
			mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.0.0.0/24")))))
		for peer, kept := range map[string]bool{"10.0.0.7:1234": true, "10.0.1.7:1234": false} {
			r := forwarded(peer)
			r.Method = "OPTIONS"
			r.Header = http.Header{
				"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"POST"},
				"Client-Cert": {mtlspoptest.RFC9440(w.cert)}, "Client_cert": {"forged"}, "Cookie": {"__Host-session=1.x"},
				"Authorization": {"Bearer stolen"}, "Dpop": {"x"},
			}
			a := serve(g, r).accepted(t)
			require.Equal(t, kept, a.seen.Header["Client-Cert"] != nil)
			require.NotContains(t, a.seen.Header, "Client_cert")
			for _, name := range []string{"Cookie", "Authorization", "Dpop"} {
				require.NotContains(t, a.seen.Header, name)
				require.Contains(t, r.Header, name, "the caller's request is not changed")
			}
		}
	})
	t.Run("HTTP-13 what is hidden from the handler is hidden in a preflight too", func(t *testing.T) {
		for _, hide := range []middleware.Option{middleware.HideCredentials(), middleware.ForwardBearer()} {
			g := w.guard(withDPoP(), middleware.PassPreflights(), hide, middleware.WithMTLS(mtlspop.New(
				mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.0.0.0/24")))))
			r := forwarded("10.0.0.7:1234")
			r.Method = "OPTIONS"
			r.Header = http.Header{
				"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"POST"}, "Client-Cert": {mtlspoptest.RFC9440(w.cert)},
			}
			require.NotContains(t, serve(g, r).accepted(t).seen.Header, "Client-Cert")
		}
	})
	t.Run("MTLS-6.2-02 AMB-16 the observer is told of a certificate that is out of date, and accepted", func(t *testing.T) {
		var o middleware.Outcome
		g := w.guard(withMTLS(), middleware.WithObserver(func(_ context.Context, told middleware.Outcome) { o = told }))
		ca := mtlspoptest.NewCA(t, "ca")
		for client, want := range map[*mtlspoptest.Client]bool{ca.Expired("client"): true, ca.NotYetValid("client"): true, ca.Issue("client"): false} {
			v := &world{t, w.issuer, w.key, client}
			serve(g, v.certRequest("/r")).accepted(t)
			require.Equal(t, want, o.CertificateOutOfDate)
		}
	})
	t.Run("CC-2.2-03 CC-2.2-02 malformed from the terminator is 400", func(t *testing.T) {
		r := forwarded("10.0.0.7:1234")
		r.Header.Set("Client-Cert", "garbage")
		serve(g, r).refused(t, 400).challenged(t, "DPoP", "Bearer:invalid_request")
		r = forwarded("10.0.0.7:1234")
		r.Header.Add("Client-Cert", r.Header.Get("Client-Cert"))
		serve(g, r).refused(t, 400).challenged(t, "DPoP", "Bearer:invalid_request")
	})
	t.Run("CC-2.2-04 the field is never in a response", func(t *testing.T) {
		require.Empty(t, serve(g, forwarded("10.0.0.7:1234")).Header()["Client-Cert"])
	})
}

// Several dialects in one guard: a peer's own is read, and what it sends in another's
// field is removed and never read.
func TestEachTerminatorIsReadInItsOwnDialectOnly(t *testing.T) {
	w := newWorld(t)
	stranger := mtlspoptest.SelfSigned(t, "stranger")
	g := w.guard(middleware.WithMTLS(mtlspop.New(
		mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.1.0.0/16")),
		mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.2.0.0/16")))))
	rfc9440 := func(c *mtlspoptest.Client) string {
		return ":" + base64.StdEncoding.EncodeToString(c.Certificate.Raw) + ":"
	}
	from := func(peer, pem, dict string) *answer {
		r := w.certRequest("/r")
		r.TLS, r.RemoteAddr = nil, peer
		for name, value := range map[string]string{"X-Client-Cert": pem, "Client-Cert": dict} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		return serve(g, r)
	}
	own, theirs := mtlspoptest.Nginx(w.cert), rfc9440(stranger)
	a := from("10.1.0.1:1", own, theirs).accepted(t)
	require.Equal(t, own, a.seen.Header.Get("X-Client-Cert"))
	require.Empty(t, a.seen.Header["Client-Cert"], "the other dialect is the client's own claim")
	a = from("10.2.0.1:1", mtlspoptest.Nginx(stranger), rfc9440(w.cert)).accepted(t)
	require.Empty(t, a.seen.Header["X-Client-Cert"])
	from("10.1.0.1:1", "", rfc9440(w.cert)).refused(t, 401)
	from("10.2.0.1:1", own, "").refused(t, 401)
	from("10.3.0.1:1", own, rfc9440(w.cert)).refused(t, 401)
	_, err := mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.0.0.0/8")),
		mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, netip.MustParsePrefix("10.2.0.0/16")))
	require.ErrorContains(t, err, "overlap")
}
