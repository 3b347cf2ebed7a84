package check_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/cmd/keybound/internal/check"
	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// All uses of the library by the tests of check are in this file.

const audience = "https://api.example/orders"

// lab is an issuer, and a TLS server with nothing behind it yet.
type lab struct {
	issuer  *check.Issuer
	issuing *httptest.Server
	server  *httptest.Server
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{}
	l.issuing = httptest.NewUnstartedServer(nil)
	l.issuing.StartTLS()
	t.Cleanup(l.issuing.Close)
	issuer, err := check.NewIssuer(l.issuing.URL, false)
	require.NoError(t, err)
	l.issuer = issuer
	l.issuing.Config.Handler = issuer
	l.server = httptest.NewUnstartedServer(nil)
	l.server.EnableHTTP2 = true
	l.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	l.server.StartTLS()
	t.Cleanup(l.server.Close)
	return l
}

// config is what the command line would say of a server at path.
func (l *lab) config(t testing.TB, profile check.Profile, path string) *check.Config {
	t.Helper()
	target, err := url.Parse(l.server.URL + path)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(l.server.Certificate())
	client, err := wire.NewClient(target, "", &tls.Config{RootCAs: pool})
	require.NoError(t, err)
	return &check.Config{Profile: profile, Target: target, Client: client, Issuer: l.issuer, Audience: audience, Scope: "orders:read"}
}

func overHTTP2(c *check.Config) *check.Config {
	c.Client = c.Client.Over2()
	return c
}

func (l *lab) tokens(t testing.TB, opts ...oidc.Option) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(l.issuer.URL, audience, append([]oidc.Option{oidc.WithHTTPClient(l.issuing.Client())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func (l *lab) introspector(t testing.TB) *introspect.Introspector {
	t.Helper()
	issuer, err := oidc.NewIssuer(l.issuer.URL, oidc.WithHTTPClient(l.issuing.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	v, err := introspect.New(issuer, audience, clientauth.SecretBasic("api", "secret"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// serve puts a guard in front of everything at the server.
func (l *lab) serve(t testing.TB, opts ...middleware.Option) *middleware.Guard {
	t.Helper()
	guard, err := middleware.New(append(opts, middleware.WithRules(middleware.Scopes("orders:read")))...)
	require.NoError(t, err)
	// A guard within a guard, as with a router's groups: a request is verified once. The
	// hint before the answer must not take anything of what the guard sets.
	inner := guard.Require(middleware.Scopes("orders:read"))
	l.server.Config.Handler = guard.Wrap(inner.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
		_, _ = w.Write([]byte("orders"))
	})))
	return guard
}

func withNonces() dpop.Option {
	return dpop.WithNonces(dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef")))
}

// ours are the servers that must pass, by name.
func ours(t testing.TB) map[string]func() *check.Config {
	edges := func(c *check.Config) *check.Config {
		c.Window, c.Ahead, c.Leeway = time.Minute, 30*time.Second, 30*time.Second
		return c
	}
	return map[string]func() *check.Config{
		"rfc9449": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			return edges(l.config(t, check.RFC9449, "/orders"))
		},
		"rfc9449 over HTTP/2": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			return overHTTP2(edges(l.config(t, check.RFC9449, "/orders")))
		},
		"rfc8705 over HTTP/2": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithMTLS(mtlspop.New()))
			c := overHTTP2(edges(l.config(t, check.RFC8705, "/orders")))
			c.MTLS = true
			return c
		},
		"rfc9449 with certificates and bearer tokens": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)), middleware.WithMTLS(mtlspop.New()), middleware.AllowUnbound())
			return edges(l.config(t, check.RFC9449, "/orders"))
		},
		"rfc9449 at an IPv6 address": func() *check.Config {
			l := newLab(t)
			listener, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				t.Logf("NOT TESTED at ::1, but at another address: %v", err)
			} else {
				// The certificate of httptest names ::1 too.
				l.server = &httptest.Server{Listener: listener, Config: &http.Server{}, TLS: &tls.Config{ClientAuth: tls.RequestClientCert}}
				l.server.StartTLS()
				t.Cleanup(l.server.Close)
			}
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			c := l.config(t, check.RFC9449, "/orders")
			c.Only = func(id string) bool { return strings.HasPrefix(id, "URI-") || strings.HasPrefix(id, "DPOP-4.3-09") }
			return c
		},
		"rfc9449 with nonces": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL, withNonces())))
			return l.config(t, check.RFC9449, "/orders")
		},
		"rfc9449 with introspection": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.introspector(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			c := l.config(t, check.RFC9449, "/orders")
			c.Opaque = true
			return c
		},
		"rfc8705": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithMTLS(mtlspop.New()))
			c := edges(l.config(t, check.RFC8705, "/orders"))
			c.MTLS = true
			return c
		},
		"rfc8705 behind a terminator": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithMTLS(mtlspop.New(
				mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix("10.9.8.7/32")))))
			guarded := l.server.Config.Handler
			l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r = r.Clone(r.Context())
				r.Header.Del("X-Client-Cert")
				if certs := r.TLS.PeerCertificates; len(certs) > 0 {
					r.Header.Set("X-Client-Cert", url.PathEscape(string(pen.CertificatePEM(certs[0].Raw))))
				}
				r.TLS, r.RemoteAddr = nil, "10.9.8.7:4711"
				guarded.ServeHTTP(w, r)
			})
			c := edges(l.config(t, check.RFC8705, "/orders"))
			c.MTLS = true
			return c
		},
		"fapi2": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t, oidc.FAPI2()), nil), middleware.WithDPoP(dpop.New(l.server.URL, dpop.FAPI2())), middleware.WithMTLS(mtlspop.New()), middleware.FAPI2(), middleware.WithRules(middleware.LimitTokenLifetime(time.Hour)))
			return edges(l.config(t, check.FAPI2, "/orders"))
		},
		"fapi2 with certificates": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t, oidc.FAPI2()), nil), middleware.WithMTLS(mtlspop.New()), middleware.FAPI2(), middleware.WithRules(middleware.LimitTokenLifetime(time.Hour)))
			c := edges(l.config(t, check.FAPI2, "/orders"))
			c.MTLS = true
			return c
		},
		"mcp": func() *check.Config {
			l := newLab(t)
			resource := middleware.ProtectedResource{Identifier: l.server.URL + "/mcp", AuthorizationServers: []string{l.issuer.URL}, Scopes: []string{"orders:read"}}
			v, err := oidc.New(l.issuer.URL, resource.Identifier, oidc.WithHTTPClient(l.issuing.Client()))
			require.NoError(t, err)
			t.Cleanup(func() { _ = v.Close() })
			guard := l.serve(t, middleware.WithTokens(v, nil), middleware.WithDPoP(dpop.New(l.server.URL, dpop.MCP())), middleware.MCP(resource))
			guarded := l.server.Config.Handler
			path, document := guard.Metadata()
			l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					document.ServeHTTP(w, r)
					return
				}
				guarded.ServeHTTP(w, r)
			})
			c := l.config(t, check.MCP, "/mcp")
			c.Audience = resource.Identifier
			return c
		},
	}
}

func run(t testing.TB, c *check.Config) []check.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	results, err := check.Run(ctx, c)
	require.NoError(t, err)
	return results
}

func failures(results []check.Result) []string {
	var all []string
	for _, r := range results {
		if r.Status == check.Failed {
			all = append(all, r.Row.ID+" ["+r.Row.Level.String()+"]: "+r.Reason)
		}
	}
	return all
}

func TestOurGuardPasses(t *testing.T) {
	for name, server := range ours(t) {
		t.Run(name, func(t *testing.T) {
			c := server()
			if testing.Short() { // for mutants: whether a row fails, not which ones
				c.FailFast = true
				if c.Only == nil {
					c.Only = func(id string) bool { return !strings.HasPrefix(id, "DPOP-11.1-03/after-") }
				}
			}
			results := run(t, c)
			counts := map[check.Status]int{}
			for _, r := range results {
				counts[r.Status]++
			}
			t.Logf("%d pass, %d fail, %d skip", counts[check.Passed], counts[check.Failed], counts[check.Skipped])
			if f := failures(results); len(f) > 0 {
				t.Error(strings.Join(f, "\n"))
			}
		})
	}
}

func TestThereAreAtLeastThreeHundredRows(t *testing.T) {
	ids := make(map[string]bool)
	for _, profile := range check.Profiles {
		rows := check.Rows(profile)
		t.Logf("%s: %d rows", profile, len(rows))
		for _, r := range rows {
			ids[r.ID] = true
			require.NotEmpty(t, r.Section, r.ID)
			require.Greater(t, len(r.Sentence), 10, r.ID)
		}
	}
	t.Logf("%d rows in all", len(ids))
	require.GreaterOrEqual(t, len(ids), 300)
}
