package check_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
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

// issuerKeys are those of every issuer of the tests: they take long to make.
var issuerKeys = sync.OnceValues(func() (*check.Issuer, error) { return check.NewIssuer("https://keys.example", false) })

// serverTLS is the configuration of the servers: with the certificate of httptest, an RSA
// key, and a key exchange of two kinds, most of the time of a run would go there.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"api.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return &tls.Config{
		ClientAuth: tls.RequestClientCert, CurvePreferences: []tls.CurveID{tls.CurveP256},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{}
	l.issuing = httptest.NewUnstartedServer(nil)
	l.issuing.StartTLS()
	t.Cleanup(l.issuing.Close)
	keys, err := issuerKeys()
	require.NoError(t, err)
	l.issuer = keys.At(l.issuing.URL)
	l.issuing.Config.Handler = l.issuer
	l.server = httptest.NewUnstartedServer(nil)
	l.server.EnableHTTP2 = true
	l.server.TLS = serverTLS(t)
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
	client, err := wire.NewClient(target, "", &tls.Config{RootCAs: pool, CurvePreferences: []tls.CurveID{tls.CurveP256}})
	require.NoError(t, err)
	return &check.Config{Profile: profile, Target: target, Client: client, Issuer: l.issuer, Audience: audience, Scope: "orders:read", AnyTokenAlg: true}
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

func (l *lab) introspector(t testing.TB, opts ...introspect.Option) *introspect.Introspector {
	t.Helper()
	issuer, err := oidc.NewIssuer(l.issuer.URL, oidc.WithHTTPClient(l.issuing.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	v, err := introspect.New(issuer, audience, clientauth.SecretBasic("api", "secret"), opts...)
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
		// What a handler says of its response does not outweigh what the guard must say.
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("CDN-Cache-Control", "max-age=60")
		_, _ = w.Write([]byte("orders"))
	})))
	return guard
}

func withNonces() dpop.Option {
	return dpop.WithNonces(dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef")))
}

func aboutTargets(id string) bool {
	return strings.HasPrefix(id, "URI-") || strings.HasPrefix(id, "DPOP-4.3-09")
}

// ours are the servers that must pass, by name.
func ours(t testing.TB) map[string]*check.Config {
	edges := func(c *check.Config) *check.Config {
		c.Window, c.Ahead, c.Leeway = time.Minute, 30*time.Second, 30*time.Second
		return c
	}
	servers := map[string]func() *check.Config{
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
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)), middleware.WithMTLS(mtlspop.New()), middleware.AllowUnbound(), middleware.PassPreflights(), middleware.ExposeHeaders())
			c := edges(l.config(t, check.RFC9449, "/orders"))
			c.Browsers = true
			return c
		},
		"rfc9449 at an IPv6 address": func() *check.Config {
			l := newLab(t)
			listener, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				t.Logf("NOT TESTED at ::1, but at another address: %v", err)
			} else {
				l.server = &httptest.Server{Listener: listener, Config: &http.Server{}, TLS: serverTLS(t)}
				l.server.StartTLS()
				t.Cleanup(l.server.Close)
			}
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			c := l.config(t, check.RFC9449, "/orders")
			c.Only = aboutTargets
			return c
		},
		"rfc9449 at the root of a name": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New("https://api.example")))
			c := l.config(t, check.RFC9449, "/")
			c.Target = &url.URL{Scheme: "https", Host: "api.example", Path: "/"}
			c.Client.Host, c.Client.TLS.ServerName = "api.example", "api.example"
			c.Only = aboutTargets
			return c
		},
		"rfc9449 behind a prefix": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t), nil), middleware.WithDPoP(dpop.New(l.server.URL+"/shop")))
			guarded := l.server.Config.Handler
			l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r = r.Clone(r.Context())
				r.TLS = nil // the proxy has terminated it
				guarded.ServeHTTP(w, r)
			})
			c := l.config(t, check.RFC9449, "/orders")
			c.Origin = l.server.URL + "/shop"
			c.Only = aboutTargets
			return c
		},
		"rfc9449 with short times": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.tokens(t, oidc.WithSkew(time.Second)), nil), middleware.WithDPoP(dpop.New(l.server.URL, withNonces(), dpop.WithLifetime(10*time.Second))))
			c := l.config(t, check.RFC9449, "/orders")
			c.Window, c.Leeway = 10*time.Second, time.Second
			c.Only = func(id string) bool {
				return strings.HasPrefix(id, "AT-4-06") || strings.HasPrefix(id, "DPOP-8") || strings.HasPrefix(id, "DPOP-9") || id == "DPOP-11.1-03/at-the-end-of-the-window"
			}
			return c
		},
		"rfc9449 with introspection and remembered answers": func() *check.Config {
			l := newLab(t)
			l.serve(t, middleware.WithTokens(l.introspector(t, introspect.WithAnswerLifetime(2*time.Second), introspect.WithSkew(time.Second)), nil), middleware.WithDPoP(dpop.New(l.server.URL)))
			c := l.config(t, check.RFC9449, "/orders")
			c.Opaque, c.Leeway, c.Answers = true, time.Second, 2*time.Second
			c.Only = func(id string) bool { return strings.HasPrefix(id, "INTRO-") || strings.HasPrefix(id, "AT-4-06") }
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
	made := make(map[string]*check.Config)
	for name, f := range servers {
		made[name] = f()
	}
	return made
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
	servers := ours(t)
	for name, c := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// TestServersAreMade does no more than that: what it executes is what no row can judge
// (internal/mutate).
func TestServersAreMade(t *testing.T) { require.NotEmpty(t, ours(t)) }

// TestVerdictOnOurGuard is TestOurGuardPasses for a guard with a fault in it: it ends at
// the first row that fails, and says in one line for internal/mutate what came of it. A
// server that cannot be made, or does not answer, has no verdict.
func TestVerdictOnOurGuard(t *testing.T) {
	servers := ours(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	found, down := "", ""
	judge := func(name string) {
		c := servers[name]
		c.FailFast = true
		results, err := check.Run(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		switch f := failures(results); {
		case found != "" || ctx.Err() != nil && err != nil:
		case len(f) > 0:
			found = name + ": " + f[0]
		case errors.Is(err, check.ErrRefusesAll):
			found = name + ": " + err.Error()
		case err != nil:
			down = name + ": " + err.Error()
		}
		if found != "" {
			cancel()
		}
	}
	// Those that wait most of the time run beside the others. These run one after the
	// other, those first that execute most of the guard: most faults are found there.
	waiting := []string{"rfc9449 with short times", "rfc9449 with introspection and remembered answers"}
	for _, name := range waiting {
		wg.Go(func() { judge(name) })
	}
	delete(servers, "rfc9449 over HTTP/2") // all rows once more, of the same guard
	first := []string{"rfc9449 with certificates and bearer tokens", "rfc8705", "rfc9449 with nonces", "rfc9449 with introspection"}
	order := slices.DeleteFunc(slices.Sorted(maps.Keys(servers)), func(name string) bool { return slices.Contains(waiting, name) || slices.Contains(first, name) })
	wg.Go(func() {
		for _, name := range slices.Concat(first, order) {
			if ctx.Err() == nil {
				judge(name)
			}
		}
	})
	wg.Wait()
	switch {
	case found != "":
		t.Logf("verdict on the guard: found by %s", strings.Join(strings.Fields(found), " "))
	case down != "":
		t.Logf("verdict on the guard: none, since %s", strings.Join(strings.Fields(down), " "))
	case ctx.Err() != nil:
		// Not without a verdict: mutants that no row finds take longest.
		t.Logf("verdict on the guard: passes, as far as the time went")
	default:
		t.Logf("verdict on the guard: passes")
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
