package middleware_test

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// Two tenants of a service, each with an issuer and a host of its own.
const (
	acme     = "https://id.acme.example"
	umbrella = "https://id.umbrella.example"
)

// withTenants are the tenants acme and umbrella, whose issuers have the world's key.
func (w *world) withTenants(opts ...tenants.Option) (*tenants.Tenants, error) {
	hosts := map[string][]string{
		acme:     {"https://acme.example", "https://acme.api.example:8443"},
		umbrella: {"https://umbrella.example"},
	}
	return tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		origins, ok := hosts[iss]
		if !ok {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(iss, oidctest.Audience, oidc.WithOrigins(origins...), oidc.FAPI2(), oidc.WithHTTPClient(w.issuer.Client()),
			oidc.WithJWKSURI(w.issuer.Endpoint(oidctest.KeySet)))
	}, append(opts, tenants.RequireOrigins())...)
}

// anyTenant are tenants of which the world's issuer is the only one; first is called when
// resolve is.
func (w *world) anyTenant(first func()) (*tenants.Tenants, error) {
	return tenants.New(func(context.Context, string) (*oidc.Verifier, error) {
		if first != nil {
			first()
		}
		return oidc.New(issuerURL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	})
}

// One tenant's token at another's origin is 401, bound or not, and no Host counts but
// those that resolve has named.
func TestATokenIsGoodAtTheOriginsOfItsTenant(t *testing.T) {
	w := newWorld(t)
	s, err := w.withTenants()
	require.NoError(t, err)
	var last middleware.Outcome
	// An internal host stands for the service's own origin, and for none of a tenant.
	proofs := middleware.WithDPoP(dpop.New(origin, dpop.WithInternalHosts("backend.internal")))
	orElse, err := introspect.OrElse(s, mustIntrospector(t, w))
	require.NoError(t, err)
	for verifier, tokens := range map[string]middleware.TokenVerifier{"Tenants": s, "OrElse": orElse} {
		g, err := middleware.New(middleware.WithTokens(tokens, nil), proofs, withMTLS(), middleware.AllowUnbound(),
			middleware.WithObserver(func(_ context.Context, o middleware.Outcome) { last = o }))
		require.NoError(t, err)
		for _, kind := range []string{"DPoP", "certificate", "bearer"} {
			for name, tc := range map[string]struct {
				iss, host, target, htu string
				want                   string // a reason; "": it passes
			}{
				"its host":                          {acme, "acme.example", "/r", "https://acme.example/r", ""},
				"its host, spelt otherwise":         {acme, "ACME.example:443", "/r", "https://acme.example/r", ""},
				"its other host":                    {acme, "acme.api.example:8443", "/r", "https://acme.api.example:8443/r", ""},
				"the other tenant's":                {acme, "umbrella.example", "/r", "https://umbrella.example/r", "token_origin"},
				"the other tenant's, proof for own": {acme, "umbrella.example", "/r", "https://acme.example/r", "token_origin"},
				"the other one's token":             {umbrella, "acme.example", "/r", "https://acme.example/r", "token_origin"},
				"the service's own origin":          {acme, "api.example", "/r", origin + "/r", "token_origin"},
				"an internal host":                  {acme, "backend.internal", "/r", "https://acme.example/r", "token_origin"},
				"another port":                      {acme, "acme.example:8443", "/r", "https://acme.example:8443/r", "token_origin"},
				"the port of plain http":            {acme, "acme.example:80", "/r", "https://acme.example/r", "token_origin"},
				"no host":                           {acme, "", "/r", "https://acme.example/r", "token_origin"},
				"a host with a user":                {acme, "acme.example@umbrella.example", "/r", "https://acme.example/r", "token_origin"},
				"brackets":                          {acme, "[acme.example]", "/r", "https://acme.example/r", "token_origin"},
				"a dot at the end":                  {acme, "acme.example.", "/r", "https://acme.example/r", "token_origin"},
				"two ports":                         {acme, "acme.example:443:443", "/r", "https://acme.example/r", "token_origin"},
				"the absolute form":                 {acme, "acme.example", "https://acme.example/r", "https://acme.example/r", ""},
				"the absolute form of another":      {acme, "acme.example", "https://umbrella.example/r", "https://umbrella.example/r", "token_origin"},
				"the absolute form, another Host":   {acme, "umbrella.example", "https://acme.example/r", "https://acme.example/r", "token_origin"},
				"the absolute form of plain http":   {acme, "acme.example", "http://acme.example/r", "http://acme.example/r", "token_origin"},
				"no tenant":                         {"https://id.evil.example", "acme.example", "/r", "https://acme.example/r", "token_issuer"},
			} {
				t.Run(verifier+", "+kind+", "+name, func(t *testing.T) {
					r := get("/r")
					changes := []oidctest.Change{oidctest.Claim("iss", tc.iss)}
					scheme := "Bearer "
					switch kind {
					case "DPoP":
						scheme = "DPoP "
						changes = append(changes, oidctest.BoundToKey(w.key.Thumbprint()))
					case "certificate":
						changes = append(changes, oidctest.BoundToCertificate(w.cert.Certificate))
						r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, w.cert.Certificate)
					}
					raw := w.issuer.Token(changes...)
					r.Header.Set("Authorization", scheme+raw)
					if kind == "DPoP" {
						r.Header.Set("DPoP", w.proof("GET", tc.htu, raw))
					}
					r.Host, r.RequestURI = tc.host, tc.target
					q := middleware.RequestOf(r)
					v := g.Judge(t.Context(), q)
					require.Equal(t, tc.want == "", v.Pass, "%v", v.Err)
					require.Equal(t, tc.want, last.Reason)
					if tc.want != "" {
						require.Equal(t, http.StatusUnauthorized, v.Denial.Status)
						require.Equal(t, "invalid_token", v.Denial.Code)
						require.NotContains(t, v.Denial.Description, "acme")
						require.NotEmpty(t, last.Hint)
					}
					if tc.want == "token_origin" {
						require.Contains(t, last.Hint, tc.iss)
					}
				})
			}
		}
		t.Run(verifier+", a message with a URL", func(t *testing.T) {
			for url, want := range map[string]error{
				"https://acme.example/r": nil, "https://acme.example?page=2": nil, "https://umbrella.example/r": oidc.ErrOrigin, "http://acme.example/r": oidc.ErrOrigin,
				"https://acme.example@umbrella.example/r": oidc.ErrOrigin, "https://umbrella.example?https://acme.example/r": oidc.ErrOrigin,
			} {
				raw := w.issuer.Token(oidctest.Claim("iss", acme), oidctest.BoundToKey(w.key.Thumbprint()))
				v := g.Judge(t.Context(), middleware.Request{Method: "GET", URL: url, Header: http.Header{
					"Authorization": {"DPoP " + raw}, "Dpop": {w.proof("GET", url, raw)},
				}})
				require.Equal(t, want, v.Err, url)
			}
		})
	}
	t.Run("a proof for another origin of the service", func(t *testing.T) {
		g, err := middleware.New(middleware.WithTokens(s, nil), proofs)
		require.NoError(t, err)
		for _, htu := range []string{origin + "/r", "https://umbrella.example/r", "https://acme.api.example:8443/r"} {
			r := get("/r")
			raw := w.issuer.Token(oidctest.Claim("iss", acme), oidctest.BoundToKey(w.key.Thumbprint()))
			r.Header.Set("Authorization", "DPoP "+raw)
			r.Header.Set("DPoP", w.proof("GET", htu, raw))
			r.Host = "acme.example"
			_, err := g.Check(r)
			require.Equal(t, dpop.ErrTarget, err, htu)
		}
	})
}

// Tenants without a policy promise nothing about clocks, and responses end with the token
// all the same.
func TestResponsesEndWithTheTokenOfATenant(t *testing.T) {
	w := newWorld(t)
	s, err := w.anyTenant(nil)
	require.NoError(t, err)
	orElse, err := introspect.OrElse(s, mustIntrospector(t, w))
	require.NoError(t, err)
	for _, tokens := range []middleware.TokenVerifier{s, orElse} {
		g, err := middleware.New(middleware.WithTokens(tokens, nil), middleware.AllowUnbound(), middleware.EndResponsesWithToken())
		require.NoError(t, err)
		r := get("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
		v := g.Judge(t.Context(), middleware.RequestOf(r))
		require.NoError(t, v.Err)
		require.Equal(t, v.Credential.Token.Expiry.Add(30*time.Second), v.Ends)
	}
}

func mustIntrospector(t *testing.T, w *world) *introspect.Introspector {
	t.Helper()
	i, err := w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))
	require.NoError(t, err)
	return i
}

func TestPresetsSeeThePolicyOfTenants(t *testing.T) {
	w := newWorld(t)
	strict := oidc.Policy{Algorithms: []string{"PS256", "ES256", "EdDSA", "Ed25519"}, Skew: 30 * time.Second, ChecksAudience: true}
	lax, skewed := strict, strict
	lax.Algorithms, lax.ChecksAudience = []string{"RS256", "ES256"}, false
	skewed.Skew = 2 * time.Minute
	for name, tc := range map[string]struct {
		opts []tenants.Option
		want string
	}{
		"none is declared":  {nil, "the tenants have no policy in common; declare one with tenants.WithPolicy"},
		"a strict one":      {[]tenants.Option{tenants.WithPolicy(strict)}, ""},
		"a lax one":         {[]tenants.Option{tenants.WithPolicy(lax)}, "another audience"},
		"one with algs":     {[]tenants.Option{tenants.WithPolicy(lax)}, "tokens may not be signed with RS256"},
		"one with the skew": {[]tenants.Option{tenants.WithPolicy(skewed)}, "ahead of our clock"},
	} {
		s, err := w.withTenants(tc.opts...)
		require.NoError(t, err)
		g, err := middleware.New(middleware.FAPI2(), middleware.WithTokens(s, nil), middleware.WithDPoP(dpop.New(origin, dpop.FAPI2())),
			middleware.WithRules(middleware.LimitTokenLifetime(time.Hour)))
		if tc.want == "" {
			require.NoError(t, err, name)
			raw := w.issuer.Token(oidctest.Claim("iss", acme), oidctest.BoundToKey(w.key.Thumbprint()))
			r := get("/r")
			r.Host = "acme.example"
			r.Header.Set("Authorization", "DPoP "+raw)
			r.Header.Set("DPoP", w.proof("GET", "https://acme.example/r", raw))
			_, err := g.Check(r)
			require.NoError(t, err)
			require.Equal(t, strict, *g.Describe().Tokens)
			continue
		}
		require.ErrorContains(t, err, tc.want, name)
	}
	resource := middleware.ProtectedResource{Identifier: oidctest.Audience, AuthorizationServers: []string{acme}}
	s, err := w.withTenants()
	require.NoError(t, err)
	_, err = middleware.New(middleware.MCP(resource), middleware.WithTokens(s, nil))
	require.ErrorContains(t, err, "declare one with tenants.WithPolicy")
	s, err = w.withTenants(tenants.WithPolicy(strict))
	require.NoError(t, err)
	_, err = middleware.New(middleware.MCP(resource), middleware.WithTokens(s, nil))
	require.NoError(t, err)
	_, err = middleware.New(middleware.MCP(resource), middleware.WithTokens(new(tenants.Tenants), nil))
	require.ErrorContains(t, err, "declare one with tenants.WithPolicy")
}

// What resolve does wrong is a 503 with its reason, and the operator is told how to mend
// it.
func TestAGuardWithTenantsIsOperated(t *testing.T) {
	w := newWorld(t)
	before := runtime.NumGoroutine()
	var log strings.Builder
	s, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		if iss != acme {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(iss, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	}, tenants.WithPolicy(oidc.Policy{Algorithms: []string{"ES256"}}))
	require.NoError(t, err)
	g, err := middleware.New(middleware.WithTokens(s, nil), middleware.AllowUnbound(), middleware.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	require.NoError(t, g.Ready(t.Context()))
	send := func(iss string) *http.Request {
		r := get("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token(oidctest.Claim("iss", iss)))
		return r
	}
	require.Equal(t, http.StatusServiceUnavailable, serve(g, send(acme)).Code)
	require.Contains(t, log.String(), "reason=unavailable_tenants")
	require.Contains(t, log.String(), "oidc.WithAlgorithms")
	require.Equal(t, "unavailable_tenants", g.Status().Failures[0].Reason)
	log.Reset()
	require.Equal(t, http.StatusUnauthorized, serve(g, send(umbrella)).Code)
	require.Contains(t, log.String(), "reason=token_issuer")
	require.Contains(t, log.String(), "resolve of tenants.New")
	require.Contains(t, log.String(), umbrella)
	require.NoError(t, g.Close())
	require.ErrorContains(t, g.Ready(t.Context()), "closed")
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 5*time.Second, 10*time.Millisecond)
}
