package middleware_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func (w *world) fapiTokens(opts ...oidc.Option) (*oidc.Verifier, error) {
	return oidc.New(issuerURL, oidctest.Audience, append(opts, oidc.WithHTTPClient(w.issuer.Client()))...)
}

// forAnybody are TokenVerifiers that do not compare aud with their own.
func (w *world) forAnybody(t *testing.T) map[string]middleware.Option {
	t.Helper()
	client, auth := oidc.WithHTTPClient(w.issuer.Client()), clientauth.SecretBasic("client", "secret")
	verifier, err := oidc.New(issuerURL, "", oidc.FAPI2(), oidc.DangerouslyAcceptAnyAudience(), client)
	require.NoError(t, err)
	asking, err := w.introspector("", auth, introspect.DangerouslyAcceptAnyAudience())
	require.NoError(t, err)
	strict, err := w.introspector(oidctest.Audience, auth)
	require.NoError(t, err)
	return map[string]middleware.Option{
		"a Verifier":             middleware.WithTokens(verifier, nil),
		"Issuers":                middleware.WithTokens(oidc.AnyOf(verifier)),
		"an Introspector":        middleware.WithTokens(asking, nil),
		"both":                   middleware.WithTokens(introspect.Then(verifier, asking)),
		"Forms":                  middleware.WithTokens(introspect.OrElse(verifier, asking)),
		"Forms of wrapped JWTs":  middleware.WithTokens(introspect.OrElse(mute{verifier}, strict)),
		"the aud may be missing": middleware.WithTokens(w.introspector(oidctest.Audience, auth, introspect.DangerouslyAllowMissingAudience())),
	}
}

// mute is a TokenVerifier of a user that does not say how strict it is.
type mute struct{ tokens middleware.TokenVerifier }

func (m mute) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	return m.tokens.VerifyToken(ctx, raw)
}

// withStrictVerifier is withVerifier for presets.
func withStrictVerifier(f func() (*oidc.Token, error)) middleware.Option {
	v := tokenVerifierFunc(f)
	return middleware.WithTokens(&strictVerifier{&v, func() oidc.Policy { return oidc.Policy{Algorithms: []string{"ES256"}, ChecksAudience: true} }}, nil)
}

type strictVerifier struct {
	middleware.TokenVerifier
	policy func() oidc.Policy
}

func (s *strictVerifier) Policy() oidc.Policy { return s.policy() }

// R3, G8, D1: a preset accepts a TokenVerifier only on an answer.
func TestPresetsRefuseAVerifierThatCannotSayHowStrictItIs(t *testing.T) {
	w := newWorld(t)
	tokens, err := w.fapiTokens(oidc.FAPI2())
	require.NoError(t, err)
	asking, err := w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))
	require.NoError(t, err)
	loose, err := w.fapiTokens()
	require.NoError(t, err)
	of := func(v middleware.TokenVerifier, err error) middleware.TokenVerifier {
		require.NoError(t, err)
		return v
	}
	presets := map[string]func(middleware.TokenVerifier) error{
		"FAPI2": func(v middleware.TokenVerifier) error {
			_, err := middleware.New(middleware.WithTokens(v, nil), middleware.WithDPoP(dpop.New(origin, dpop.FAPI2())),
				middleware.FAPI2(), middleware.WithRules(middleware.LimitTokenLifetime(time.Minute)))
			return err
		},
		"MCP": func(v middleware.TokenVerifier) error {
			_, err := middleware.New(middleware.WithTokens(v, nil),
				middleware.MCP(middleware.ProtectedResource{Identifier: oidctest.Audience, AuthorizationServers: []string{issuerURL}}))
			return err
		},
	}
	for name, row := range map[string]struct {
		verifier   middleware.TokenVerifier
		fapi2, mcp string // what the preset objects to, "" if it does not
	}{
		"a Verifier":         {tokens, "", ""},
		"Issuers":            {of(oidc.AnyOf(tokens)), "", ""},
		"an Introspector":    {asking, "", ""},
		"Introspected":       {of(introspect.Then(tokens, asking)), "", ""},
		"Forms":              {of(introspect.OrElse(tokens, asking)), "", ""},
		"Forms with RS256":   {of(introspect.OrElse(loose, asking)), "signed with RS256", ""},
		"a wrapper":          {mute{tokens}, "does not say how strict it is", "does not say how strict it is"},
		"Forms of a wrapper": {of(introspect.OrElse(mute{tokens}, asking)), "another audience", "another audience"},
		"no promise":         {&strictVerifier{tokens, func() oidc.Policy { return oidc.Policy{} }}, "neither says by which algorithms", "another audience"},
		"a panic":            {&strictVerifier{tokens, func() oidc.Policy { panic("a secret") }}, "neither says by which algorithms", "another audience"},
	} {
		for preset, want := range map[string]string{"FAPI2": row.fapi2, "MCP": row.mcp} {
			err := presets[preset](row.verifier)
			if want == "" {
				require.NoError(t, err, "%s, %s", preset, name)
			} else {
				require.ErrorContains(t, err, "middleware: "+preset+": ", name)
				require.ErrorContains(t, err, want, name)
			}
		}
	}
}

func TestFAPI2(t *testing.T) {
	w := newWorld(t)
	tokens, err := w.fapiTokens(oidc.FAPI2())
	require.NoError(t, err)
	introspector, err := w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"))
	require.NoError(t, err)
	// A lifetime of 0 is no limit.
	build := func(lifetime time.Duration, opts ...middleware.Option) (*middleware.Guard, error) {
		if lifetime != 0 {
			opts = append(opts, middleware.WithRules(middleware.LimitTokenLifetime(lifetime)))
		}
		return middleware.New(append(opts, middleware.FAPI2(), middleware.RequireTLS(netip.MustParsePrefix("10.0.0.0/24")))...)
	}
	fapiProofs := middleware.WithDPoP(dpop.New(origin, dpop.FAPI2()))
	g, err := build(10*time.Minute, middleware.WithTokens(tokens, nil), fapiProofs, withMTLS())
	require.NoError(t, err)

	t.Run("FAPI-5.3.4-1 FAPI-5.3.4-5 sender-constrained tokens in the header pass, unbound ones do not", func(t *testing.T) {
		serve(g, w.dpopRequest("/r")).accepted(t)
		serve(g, w.certRequest("/r")).accepted(t)
		r := w.certRequest("/r")
		r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
		serve(g, r).refused(t, 401)
		serve(g, get("/r?access_token="+w.dpopToken())).refused(t, 401)
	})
	t.Run("FAPI-5.3.4-3 revocation is checked, or lives are short", func(t *testing.T) {
		_, err := build(0, middleware.WithTokens(tokens, nil), fapiProofs)
		require.ErrorContains(t, err, "does not check for revocation")
		_, err = build(0, middleware.WithTokens(introspect.Then(tokens, introspector)), fapiProofs)
		require.NoError(t, err)
		_, err = build(0, middleware.WithTokens(introspector, nil), fapiProofs)
		require.NoError(t, err)
		_, err = build(-1, middleware.WithTokens(tokens, nil), fapiProofs)
		require.ErrorContains(t, err, "LimitTokenLifetime: -1ns is not a lifetime")
		serve(g, w.dpopRequest("/r", oidctest.ExpiresIn(11*time.Minute))).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
	})
	t.Run("FAPI-5.3.4-4 insufficient scope is 403", func(t *testing.T) {
		serve(g.Require(middleware.Scopes("x")), w.dpopRequest("/r")).refused(t, 403)
	})
	t.Run("FAPI-5.4 other algorithms are refused, in New and on requests", func(t *testing.T) {
		loose, err := w.fapiTokens()
		require.NoError(t, err)
		_, err = build(time.Minute, middleware.WithTokens(loose, nil), withDPoP())
		for _, want := range []string{"tokens may not be signed with RS256", "proofs may not be signed with ES384"} {
			require.ErrorContains(t, err, want)
		}
		v := *w
		v.key = josetest.NewKey("RS256")
		serve(g, v.dpopRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
		v.key = josetest.NewKey("PS256")
		serve(g, v.dpopRequest("/r")).accepted(t)
		v.key = josetest.NewKey("Ed25519")
		serve(g, v.dpopRequest("/r")).accepted(t)
	})
	t.Run("DPOP-11.1-02 FAPI-6.2 the window, and the replay cache", func(t *testing.T) {
		at := func(d time.Duration) *http.Request {
			r := w.dpopRequest("/r")
			r.Header.Set("DPoP", w.proof("GET", origin+"/r", strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "), func(c map[string]any) {
				c["iat"] = time.Now().Add(d).Unix()
			}))
			return r
		}
		serve(g, at(8*time.Second)).accepted(t)
		serve(g, at(61*time.Second)).refused(t, 401)
		r := at(0)
		serve(g, r).accepted(t)
		serve(g, r).refused(t, 401)
		for _, opts := range [][]dpop.Option{
			{dpop.WithLifetime(5 * time.Minute)}, {dpop.WithSkew(time.Minute)}, {dpop.DangerouslyAllowReplay()}, {dpop.DangerouslyFailOpen(func(error) {})},
		} {
			opts = append(opts, dpop.WithAlgorithms("ES256"))
			_, err := build(time.Minute, middleware.WithTokens(tokens, nil), middleware.WithDPoP(dpop.New(origin, opts...)))
			require.ErrorContains(t, err, "middleware: FAPI2: ")
		}
		_, err := dpop.New(origin, dpop.FAPI2(), dpop.WithSkew(time.Minute))
		require.ErrorContains(t, err, "given twice", "what the preset sets cannot be set again")
	})
	t.Run("AT-4-08 a token may be a minute ahead of our clock, and no more", func(t *testing.T) {
		with := func(skew time.Duration) map[string]middleware.Option {
			verifier, err := w.fapiTokens(oidc.FAPI2(), oidc.WithSkew(skew))
			require.NoError(t, err)
			asking, err := w.introspector(oidctest.Audience, clientauth.SecretBasic("client", "secret"), introspect.WithSkew(skew))
			require.NoError(t, err)
			return map[string]middleware.Option{
				"a Verifier":      middleware.WithTokens(verifier, nil),
				"Issuers":         middleware.WithTokens(oidc.AnyOf(verifier)),
				"an Introspector": middleware.WithTokens(asking, nil),
				"both":            middleware.WithTokens(introspect.Then(verifier, asking)),
			}
		}
		for name, tokens := range with(time.Minute) {
			_, err := build(time.Minute, tokens, fapiProofs)
			require.NoError(t, err, name)
		}
		for name, tokens := range with(time.Minute + 1) {
			_, err := build(time.Minute, tokens, fapiProofs)
			require.ErrorContains(t, err, "ahead of our clock", name)
		}
		g, err := build(10*time.Minute, with(time.Minute)["a Verifier"], fapiProofs)
		require.NoError(t, err)
		serve(g, w.dpopRequest("/r", oidctest.Claim("iat", time.Now().Add(59*time.Second).Unix()))).accepted(t)
		serve(g, w.dpopRequest("/r", oidctest.Claim("iat", time.Now().Add(62*time.Second).Unix()))).refused(t, 401)
	})
	t.Run("BCP9700-2.3 a part that does not check the audience is refused", func(t *testing.T) {
		for name, tokens := range w.forAnybody(t) {
			_, err := build(time.Minute, tokens, fapiProofs)
			require.ErrorContains(t, err, "FAPI2: the TokenVerifier accepts tokens that were made for another audience, or for none", name)
		}
	})
	t.Run("what the profile forbids is refused", func(t *testing.T) {
		_, err := build(time.Minute, middleware.WithTokens(tokens, nil), fapiProofs, middleware.AllowUnbound(), w.credentials(), middleware.DangerouslyExemptExchange())
		for _, want := range []string{"forbids AllowUnbound", "forbids WithExchange", "forbids DangerouslyExemptExchange"} {
			require.ErrorContains(t, err, want)
		}
	})
	t.Run("FAPI-5.2 HTTP-09 plain HTTP is refused, unless from a terminator", func(t *testing.T) {
		r := w.dpopRequest("/r")
		r.TLS = nil
		for _, peer := range []string{"192.0.2.1:1", "", "@", "10.0.1.1:1", "[fe80::1%10.0.0.1]:1"} {
			r.RemoteAddr = peer
			serve(g, r).refused(t, 400).challenged(t, "DPoP:invalid_request", "Bearer:invalid_request")
		}
		r.RemoteAddr = "10.0.0.9:1"
		serve(g, r).accepted(t)
	})
	t.Run("FAPI-6.3 AT-X-02 the issuer is pinned", func(t *testing.T) {
		serve(g, w.dpopRequest("/r", oidctest.Claim("iss", "https://other.example"))).refused(t, 401)
	})
	t.Run("HTTP-08 HTTP-09 a preflight that passes has come over TLS, and not in early data", func(t *testing.T) {
		g, err := build(10*time.Minute, middleware.WithTokens(tokens, nil), fapiProofs, middleware.PassPreflights())
		require.NoError(t, err)
		serve(g, preflight()).accepted(t)
		plain := preflight()
		plain.TLS = nil
		serve(g, plain).refused(t, 400)
		early := preflight()
		early.Header.Set("Early-Data", "1")
		serve(g, early).refused(t, 425)
	})
	t.Run("FAPI-5.3.4-3 a token without an end lives too long, and the limit itself is not too long", func(t *testing.T) {
		claims := func(iat, exp string) middleware.Option {
			return withStrictVerifier(func() (*oidc.Token, error) {
				return oidc.TokenFromClaims([]byte(`{"iss":"a","sub":"s","aud":"x","cnf":{"jkt":"` + w.key.Thumbprint() + `"}` + iat + exp + `}`))
			})
		}
		for _, test := range []struct {
			iat, exp string
			want     error
		}{
			{`,"iat":1000`, ``, middleware.ErrLongLived},
			{``, `,"exp":1000`, middleware.ErrLongLived},
			{`,"iat":1000`, `,"exp":1601`, middleware.ErrLongLived},
			{`,"iat":1000`, `,"exp":1600`, nil},
		} {
			g, err := build(10*time.Minute, claims(test.iat, test.exp), fapiProofs)
			require.NoError(t, err)
			_, err = g.Check(w.dpopRequest("/r"))
			require.Equal(t, test.want, err, "%+v", test)
		}
	})
	t.Run("parts that were not made by their constructors promise nothing, and do not panic", func(t *testing.T) {
		for _, zero := range []middleware.TokenVerifier{&oidc.Verifier{}, &oidc.Verifiers{}, &introspect.Revocable{}, &introspect.Introspector{}, &introspect.ByForm{}} {
			_, err := build(time.Minute, middleware.WithTokens(zero, nil), fapiProofs)
			require.ErrorContains(t, err, "FAPI2: the TokenVerifier accepts tokens that were made for another audience, or for none", "%T", zero)
			_, err = build(0, middleware.WithTokens(zero, nil), fapiProofs)
			require.ErrorContains(t, err, "does not check for revocation", "%T", zero)
		}
	})
	t.Run("BCP9700-2.3 a token for another audience is refused", func(t *testing.T) {
		serve(g, w.dpopRequest("/r", oidctest.Claim("aud", "https://other.example"))).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
	})
	t.Run("BCP9700-2.2.1 BCP9700-4.10.1 a token works with its key alone, and a proof once", func(t *testing.T) {
		serve(g, w.bearerRequest("/r")).refused(t, 401).challenged(t, "DPoP", "Bearer:invalid_token")
		r := w.dpopRequest("/r")
		stolen := r.Clone(r.Context())
		stolen.Header.Set("DPoP", newWorld(t).proof("GET", origin+"/r", sent(r)))
		serve(g, stolen).refused(t, 401).challenged(t, "DPoP:invalid_token", "Bearer")
		serve(g, r).accepted(t)
		serve(g, r).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
	})
	t.Run("FAPI-5.3.3-8 a client gets through with a nonce of the server", func(t *testing.T) {
		g, err := build(10*time.Minute, middleware.WithTokens(tokens, nil),
			middleware.WithDPoP(dpop.New(origin, dpop.FAPI2(), dpop.WithNonces(dpop.NewNonces(sessionKey)))))
		require.NoError(t, err)
		r := w.dpopRequest("/r")
		a := serve(g, r).refused(t, 401).challenged(t, "DPoP:use_dpop_nonce")
		r.Header.Set("DPoP", w.proof("GET", origin+"/r", sent(r), func(c map[string]any) { c["nonce"] = a.Header().Get("DPoP-Nonce") }))
		serve(g, r).accepted(t)
	})
	t.Run("FAPI-5.4 tokens and proofs by other algorithms are refused", func(t *testing.T) {
		for _, alg := range []string{"ES384", "ES512", "RS256", "PS384"} {
			key := josetest.NewKey(alg)
			signed := oidctest.NewIssuer(t, oidctest.InMemory(issuerURL), oidctest.WithAlgorithm(alg))
			tokens, err := oidc.New(issuerURL, oidctest.Audience, oidc.FAPI2(), oidc.WithHTTPClient(signed.Client()))
			require.NoError(t, err)
			other, err := build(10*time.Minute, middleware.WithTokens(tokens, nil), fapiProofs)
			require.NoError(t, err)
			v := &world{t, signed, w.key, w.cert}
			serve(other, v.dpopRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_token")
			v = &world{t, w.issuer, key, w.cert}
			serve(g, v.dpopRequest("/r")).refused(t, 401).challenged(t, "DPoP:invalid_dpop_proof", "Bearer")
		}
	})
}

func TestRequireTLSRefusesToTrustALargeShareOfAllAddresses(t *testing.T) {
	w := newWorld(t)
	for _, prefix := range []string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::/1", "8000::/1", "2000::/3", "::ffff:0.0.0.0/96"} {
		for _, preset := range [][]middleware.Option{nil, {middleware.FAPI2()}} {
			_, err := middleware.New(append(preset, w.tokens(), withDPoP(), middleware.RequireTLS(netip.MustParsePrefix(prefix), netip.Prefix{}))...)
			require.ErrorContains(t, err, "RequireTLS: "+prefix)
			require.ErrorContains(t, err, "RequireTLS: invalid Prefix")
		}
	}
	_, err := middleware.New(w.tokens(), withDPoP(), middleware.TrustUnixSocket())
	require.ErrorContains(t, err, "TrustUnixSocket means nothing without RequireTLS")
}

// R9, G14, D2: what a peer on a unix socket calls itself says nothing, and the socket
// can be trusted as such.
func TestRequireTLSJudgesAUnixSocketByTheListener(t *testing.T) {
	t.Chdir(t.TempDir())
	w := newWorld(t)
	terminators, short := netip.MustParsePrefix("10.0.0.0/8"), middleware.WithRules(middleware.LimitTokenLifetime(time.Hour))
	fapi, err := w.fapiTokens(oidc.FAPI2())
	require.NoError(t, err)
	for name, c := range map[string]struct {
		opts []middleware.Option
		want int
	}{
		"RequireTLS":                     {[]middleware.Option{middleware.RequireTLS(terminators)}, 400},
		"RequireTLS and TrustUnixSocket": {[]middleware.Option{middleware.TrustUnixSocket(), middleware.RequireTLS(terminators)}, 200},
		"FAPI2":                          {[]middleware.Option{middleware.FAPI2(), short, middleware.RequireTLS(terminators)}, 400},
		"FAPI2 and TrustUnixSocket":      {[]middleware.Option{middleware.FAPI2(), short, middleware.TrustUnixSocket()}, 200},
	} {
		for i, own := range []string{"", "10.0.0.1:80"} {
			t.Run(name+" "+own, func(t *testing.T) {
				proofs, err := dpop.New(origin, dpop.FAPI2())
				g, err := middleware.New(append(c.opts, middleware.WithTokens(fapi, nil), middleware.WithDPoP(proofs, err))...)
				require.NoError(t, err)
				socket := fmt.Sprint(name, i)
				listener, err := net.Listen("unix", socket)
				require.NoError(t, err)
				server := &http.Server{Handler: g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))}
				go server.Serve(listener)
				defer server.Close()
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
					var d net.Dialer
					if own != "" {
						d.LocalAddr = &net.UnixAddr{Name: own, Net: "unix"}
						defer os.Remove(own)
					}
					return d.Dial("unix", socket)
				}}}
				r := w.dpopRequest("/r")
				r.RequestURI = ""
				r.URL.Scheme, r.URL.Host = "http", r.Host
				resp, err := client.Do(r)
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, c.want, resp.StatusCode)
			})
		}
	}
}

// mcpTokens are those of the tests' MCP server, which is a resource of its own.
func (w *world) mcpTokens() middleware.Option {
	return middleware.WithTokens(w.verifier(oidc.WithAudiences("https://api.example/mcp")), nil)
}

func (w *world) mcpGuard(resource middleware.ProtectedResource, opts ...middleware.Option) *middleware.Guard {
	g, err := middleware.New(append(opts, w.mcpTokens(), middleware.MCP(resource))...)
	require.NoError(w.t, err)
	return g
}

func TestMCP(t *testing.T) {
	w := newWorld(t)
	resource := middleware.ProtectedResource{Identifier: "https://api.example/mcp", AuthorizationServers: []string{issuerURL}}
	g := w.mcpGuard(resource)
	a := serve(g, get("/mcp")).refused(t, 401).challenged(t, "Bearer")
	require.Equal(t, "https://api.example/.well-known/oauth-protected-resource/mcp", a.challenges(t)[0].params["resource_metadata"])
	serve(g, w.bearerRequest("/mcp")).accepted(t)
	r := w.certRequest("/mcp")
	serve(g, r).refused(t, 401)
	d := g.Describe()
	require.Equal(t, []any{"MCP", resource.Identifier, resource.AuthorizationServers}, []any{d.Preset, d.Resource, d.AuthorizationServers})
	_, err := middleware.New(w.tokens(), middleware.MCP(middleware.ProtectedResource{Identifier: "https://api.example/mcp"}))
	require.ErrorContains(t, err, "names no authorization servers")
	_, err = middleware.New(w.mcpTokens(), middleware.MCP(resource), middleware.AllowUnbound())
	require.ErrorContains(t, err, "AllowUnbound is given twice")
	for name, tokens := range w.forAnybody(t) {
		_, err = middleware.New(tokens, middleware.MCP(resource))
		require.ErrorContains(t, err, "MCP: the TokenVerifier accepts tokens that were made for another audience, or for none", name)
	}
	_, err = dpop.New(origin, dpop.MCP(), dpop.WithLifetime(time.Minute))
	require.ErrorContains(t, err, "given twice")
}

// B08: clients of MCP learn from the challenge which scopes to ask for.
func TestMCPNamesScopesInChallenges(t *testing.T) {
	w := newWorld(t)
	resource := middleware.ProtectedResource{Identifier: "https://api.example/mcp", AuthorizationServers: []string{issuerURL}, Scopes: []string{"tools:read", "tools:write"}}
	g := w.mcpGuard(resource, withDPoP())
	for name, row := range map[string]struct {
		guard *middleware.Guard
		r     *http.Request
		code  int
		want  string
	}{
		"no credentials: the resource's":      {g, get("/mcp"), 401, "tools:read tools:write"},
		"a bad token":                         {g, w.bearerRequest("/mcp", oidctest.Claim("aud", "x")), 401, "tools:read tools:write"},
		"no credentials: those of the rules":  {g.Require(middleware.AllOf(middleware.Scopes("a", "b"), middleware.Scopes("b", "c"))), get("/mcp"), 401, "a b c"},
		"a rule that can be met in two ways":  {g.Require(middleware.AnyOf(middleware.Scopes("a"), middleware.Scopes("b"))), get("/mcp"), 401, "tools:read tools:write"},
		"insufficient scope: what is missing": {g.Require(middleware.Scopes("a")), w.bearerRequest("/mcp"), 403, "a"},
	} {
		for _, c := range serve(row.guard, row.r).refused(t, row.code).challenges(t) {
			require.Equal(t, row.want, c.params["scope"], "%s: %v", name, c)
		}
	}
	require.NotContains(t, serve(w.guard(withDPoP(), middleware.AllowUnbound(), middleware.WithProtectedResource(resource)), get("/mcp")).refused(t, 401).challenges(t)[0].params, "scope")
}

// An inner guard relies on what an outer one verified, and on nothing that the
// outer one was told to overlook.
func TestNestedGuardsDoNotInheritWhatWasOverlooked(t *testing.T) {
	w := newWorld(t)
	tokens, err := w.fapiTokens()
	require.NoError(t, err)
	shared := middleware.WithTokens(tokens, nil)
	build := func(opts ...middleware.Option) *middleware.Guard {
		g, err := middleware.New(append(opts, shared)...)
		require.NoError(t, err)
		return g
	}
	nest := func(r *http.Request, outer, inner *middleware.Guard) int {
		rec := httptest.NewRecorder()
		outer.Wrap(inner.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))).ServeHTTP(rec, r)
		return rec.Code
	}
	basic := get("/r")
	basic.SetBasicAuth("client", "secret")
	skipping := build(withDPoP(), w.credentials(), middleware.DangerouslyExemptExchange())
	require.Equal(t, 200, nest(basic, skipping, skipping))
	require.Equal(t, 401, nest(basic, skipping, build(withDPoP())), "a binding that only the outer guard waived")
	require.Equal(t, 200, nest(basic, skipping, build(middleware.AllowUnbound())))
	require.Equal(t, 401, nest(w.bearerRequest("/r"), build(middleware.AllowUnbound()), build(withDPoP())), "an unbound token")
	require.Equal(t, 400, nest(w.dpopRequest("/r?access_token=x"), build(withDPoP(), middleware.IgnoreQueryToken()), build(withDPoP())), "a token in the query")
	r := w.dpopRequest("/r")
	r.TLS = nil
	require.Equal(t, 400, nest(r, build(withDPoP()), build(withDPoP(), middleware.RequireTLS())), "plain HTTP")
	require.Equal(t, 401, nest(w.dpopRequest("/r"), build(withDPoP()), build(middleware.AllowUnbound())), "a binding that the inner guard cannot check")
	require.Equal(t, 200, nest(w.dpopRequest("/r"), build(withDPoP()), build(withDPoP())), "with a replay cache of its own the inner guard verifies the proof itself")
}

// Two guards that share the part for the binding, and ask different verifiers
// what the token is bound to.
func TestNestedGuardsShareAProofOnlyForTheSameBinding(t *testing.T) {
	w := newWorld(t)
	proofs, err := dpop.New(origin)
	require.NoError(t, err)
	certificates, err := mtlspop.New()
	require.NoError(t, err)
	says := func(cnf oidc.Confirmation) *middleware.Guard {
		g, err := middleware.New(middleware.WithDPoP(proofs, nil), middleware.WithMTLS(certificates, nil),
			withVerifier(func() (*oidc.Token, error) { return &oidc.Token{Confirmation: cnf}, nil }))
		require.NoError(t, err)
		return g
	}
	nest := func(r *http.Request, outer, inner oidc.Confirmation) bool {
		called := false
		says(outer).Wrap(says(inner).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))).ServeHTTP(httptest.NewRecorder(), r)
		return called
	}
	key, cert := oidc.Confirmation{JKT: w.key.Thumbprint()}, oidc.Confirmation{X5T: w.cert.Thumbprint()}
	require.True(t, nest(w.dpopRequest("/r"), key, key), "the proof is shared, and not a replay")
	require.False(t, nest(w.dpopRequest("/r"), key, oidc.Confirmation{JKT: josetest.NewKey("ES256").Thumbprint()}))
	require.True(t, nest(w.certRequest("/r"), cert, cert))
	require.False(t, nest(w.certRequest("/r"), cert, oidc.Confirmation{X5T: mtlspoptest.SelfSigned(t, "other").Thumbprint()}))
}

func TestAnInnerGuardAsksMoreOfACertificateThanTheOuterOne(t *testing.T) {
	w := newWorld(t)
	tokens, err := w.fapiTokens()
	require.NoError(t, err)
	build := func(opts ...mtlspop.Option) *middleware.Guard {
		g, err := middleware.New(middleware.WithTokens(tokens, nil), middleware.WithMTLS(mtlspop.New(opts...)))
		require.NoError(t, err)
		return g
	}
	called := false
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })
	plain, rooted := build(), build(mtlspop.WithRoots(mtlspoptest.NewCA(t, "root").Pool()))
	plain.Wrap(rooted.Wrap(handler)).ServeHTTP(httptest.NewRecorder(), w.certRequest("/r"))
	require.False(t, called, "a self-signed certificate is enough for the outer guard only")
	plain.Wrap(plain.Wrap(handler)).ServeHTTP(httptest.NewRecorder(), w.certRequest("/r"))
	require.True(t, called)
}

// Clients go where the metadata sends them.
func TestAuthorizationServersAreIssuers(t *testing.T) {
	w := newWorld(t)
	made := func(server string) error {
		_, err := middleware.New(append(both(middleware.WithProtectedResource(middleware.ProtectedResource{
			Identifier: "https://api.example/r", AuthorizationServers: []string{issuerURL, server},
		})), w.tokens())...)
		return err
	}
	for _, bad := range []string{"", "javascript:alert(1)", "http://plain.example", "https://issuer.example/?x", "https://issuer.example/#y", "https://user@issuer.example", "https:///path", "issuer.example"} {
		require.ErrorContains(t, made(bad), "is no issuer", bad)
	}
	for _, good := range []string{"https://other.example/realms/main", "http://127.0.0.1:9500", "http://localhost:8080/realms/main"} {
		require.NoError(t, made(good), good)
	}
}
