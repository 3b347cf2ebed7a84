package terminators_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	//lint:ignore SA1019 net/http has no upgrade to h2c, and services that have it are what is attacked here
	"golang.org/x/net/http2/h2c"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// guarding is a recommended configuration in which the terminator asks a guard.
type guarding struct {
	configuration
	dialect forwardauth.Dialect
}

func guardings() []guarding {
	return []guarding{
		{configuration{name: "nginx", server: nginx{}, file: "nginx-guard.conf", line: "proxy_set_header X-Client-Cert     $ssl_client_escaped_cert;",
			header: "X-Client-Cert", format: mtlspop.PEM}, forwardauth.NGINX},
		{configuration{name: "HAProxy", server: haproxy{}, file: "haproxy-guard.cfg", line: haproxyLine,
			header: "Client-Cert", format: mtlspop.RFC9440}, forwardauth.HAProxy},
		{configuration{name: "Caddy", server: caddy{}, file: "Caddyfile.guard", line: `request_header Client-Cert ":{http.request.tls.client.certificate_der_base64}:"`,
			header: "Client-Cert", format: mtlspop.RFC9440}, forwardauth.Caddy},
	}
}

// named tokens: "cert.X5T", "key.JKT" and "open.NAME", all of them good.
type namedTokens struct{}

func (namedTokens) VerifyToken(_ context.Context, raw string) (*oidc.Token, error) {
	kind, rest, ok := strings.Cut(raw, ".")
	token := &oidc.Token{Issuer: "https://issuer.example", Subject: "alice", ClientID: "app", Scopes: []string{"orders:read", "orders:write"}}
	switch kind {
	case "cert":
		token.Confirmation.X5T = rest
	case "key":
		token.Confirmation.JKT = rest
	case "open":
		token.Subject = rest
	default:
		ok = false
	}
	if !ok {
		return nil, oidc.ErrMalformed
	}
	return token, nil
}

// arrival is one request at the service behind.
type arrival struct {
	method, target, host string
	header               http.Header
	body                 []byte
}

// fort is a terminator with a guard beside it and a service behind it.
type fort struct {
	*stage
	key     *dpoptest.Key
	signing ed25519.PrivateKey
	guard   *httptest.Server
	asked   atomic.Int64
	hints   bool // the service sends 103 first
	mu      sync.Mutex
	arrived []arrival
}

func newFort(t *testing.T, all *cast, g guarding, opts ...dpop.Option) *fort {
	find(t, g.server)
	f := &fort{key: dpoptest.NewKey(t), signing: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))}
	local := netip.MustParsePrefix("127.0.0.1/32")
	guard, err := middleware.New(middleware.WithTokens(&namedTokens{}, nil), middleware.AllowUnbound(), middleware.PassPreflights(),
		middleware.WithDPoP(dpop.New("https://api.example", opts...)), middleware.RequireTLS(local),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(g.header, g.format, local))))
	require.NoError(t, err)
	handler, err := forwardauth.New(guard, forwardauth.WithProxy(g.dialect, local),
		forwardauth.WithAssertion(forwardauth.NewSigner("orders", f.signing)))
	require.NoError(t, err)
	f.guard = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(f.guard.Close)
	//lint:ignore SA1019 see the import
	service := httptest.NewServer(lenient(h2c.NewHandler(http.HandlerFunc(f.serve), &http2.Server{})))
	t.Cleanup(service.Close)

	c := g.configuration
	c.edits = []string{"127.0.0.1:9090", f.guard.Listener.Addr().String()}
	if g.dialect == forwardauth.HAProxy {
		lua, err := filepath.Abs("guard.lua")
		require.NoError(t, err)
		c.edits = append(c.edits, "/etc/haproxy/guard.lua", lua)
	}
	f.stage = &stage{cast: all, configuration: c}
	f.address = start(t, c, service.Listener.Addr().String(), all.site)
	return f
}

func (f *fort) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.arrived = append(f.arrived, arrival{r.Method, r.RequestURI, r.Host, r.Header.Clone(), body})
	hints := f.hints && r.ProtoAtLeast(1, 1) // RFC 9110, section 15.2; nginx speaks HTTP/1.0 here.
	f.mu.Unlock()
	if hints {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	}
	w.Header().Set("X-Reached", "service")
	w.WriteHeader(http.StatusOK)
}

// got returns what has arrived at the service since the last time.
func (f *fort) got() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	arrived := f.arrived
	f.arrived = nil
	return arrived
}

// call is a request of the client with the certificate own.
func (f *fort) call(t *testing.T, own *identity, raw string) *http.Response {
	t.Helper()
	conn, err := tls.Dial("tcp", f.address, &tls.Config{ServerName: "api.example", RootCAs: f.roots, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.tls(), nil }})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, raw)
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	method, _, _ := strings.Cut(raw, " ")
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: method})
		require.NoError(t, err, raw)
		if resp.StatusCode >= 200 {
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			return resp
		}
	}
}

// line is the head of a request with these lines.
func line(method, target string, lines ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n", method, target) + strings.Join(append(lines, "", ""), "\r\n")
}

// dpop is the lines of a token bound to the key, and of a proof.
func (f *fort) dpop(method, target string, opts ...dpoptest.ProofOption) []string {
	token := "key." + f.key.Thumbprint()
	path, _, _ := strings.Cut(target, "?")
	return []string{"Authorization: DPoP " + token, "DPoP: " + f.key.Proof(method, "https://api.example"+path, token, opts...)}
}

func onEachGuarding(t *testing.T, test func(t *testing.T, f *fort), opts ...dpop.Option) {
	all := newCast(t)
	for _, g := range guardings() {
		t.Run(g.name, func(t *testing.T) { test(t, newFort(t, all, g, opts...)) })
	}
}

func TestTheGuardDecidesForTheTerminator(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for _, target := range []string{"/orders", "/orders?page=2&q=100%25", "/orders/%7E1", "/a%2Fb", "/a//b", "/x;y=1"} {
				resp := f.call(t, nil, line(method, target, f.dpop(method, target)...))
				require.Equal(t, 200, resp.StatusCode, "%s %s", method, target)
				arrived := f.got()
				require.Len(t, arrived, 1)
				require.Equal(t, method, arrived[0].method)
				require.Equal(t, target, arrived[0].target, "what was judged is what arrives")
				require.Equal(t, "api.example", arrived[0].host)
				for name, want := range map[string]string{
					"X-Auth-Outcome": "pass", "X-Auth-Issuer": "https://issuer.example", "X-Auth-Subject": "alice", "X-Auth-Client": "app",
					"X-Auth-Scope": "orders:read orders:write", "X-Auth-Binding": "dpop",
				} {
					require.Equal(t, []string{want}, arrived[0].header[name], name)
				}
			}
		}
	})
}

// A Go service behind the terminator has a guard of its own, which knows the client by
// the assertion.
func TestAssertionsReachTheServiceAsTheyWereSigned(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		receiver, err := forwardauth.NewReceiver("orders", f.signing.Public(), forwardauth.WithTrustedPeers(netip.MustParsePrefix("127.0.0.1/32")))
		require.NoError(t, err)
		guard, err := middleware.New(middleware.WithTokens(receiver, nil), middleware.AllowUnbound(), middleware.WithRules(middleware.Scopes("orders:read")))
		require.NoError(t, err)
		handler := receiver.Wrap(guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			credential, _ := middleware.FromContext(r.Context())
			io.WriteString(w, credential.Token.Subject)
		})))
		for _, target := range []string{"/orders", "/orders/%7E1?page=2&q=100%25"} {
			require.Equal(t, 200, f.call(t, nil, line("POST", target, append(f.dpop("POST", target), "Content-Length: 0")...)).StatusCode)
			arrived := f.got()
			require.Len(t, arrived, 1)
			for name, want := range map[string]int{target: 200, "/admin": 401} {
				r := httptest.NewRequest(arrived[0].method, name, nil)
				r.Host, r.Header, r.RemoteAddr = arrived[0].host, arrived[0].header, "127.0.0.1:1"
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				require.Equal(t, want, w.Code, w.Body)
				if want == 200 {
					require.Equal(t, "alice", w.Body.String())
				}
			}
		}
	})
}

func TestWhatTheGuardRefusesNeverReachesTheService(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		replayed := f.dpop("GET", "/orders")
		require.Equal(t, 200, f.call(t, nil, line("GET", "/orders", replayed...)).StatusCode)
		f.got()
		for name, c := range map[string]struct {
			raw  string
			want int
		}{
			"no token":                  {line("GET", "/orders"), 401},
			"a token that is none":      {line("GET", "/orders", "Authorization: Bearer x"), 401},
			"a bound token as Bearer":   {line("GET", "/orders", "Authorization: Bearer key."+f.key.Thumbprint()), 401},
			"no proof":                  {line("GET", "/orders", "Authorization: DPoP key."+f.key.Thumbprint()), 401},
			"a proof for another path":  {line("GET", "/admin", f.dpop("GET", "/orders")...), 401},
			"a proof for another verb":  {line("DELETE", "/orders", f.dpop("GET", "/orders")...), 401},
			"a proof twice":             {line("GET", "/orders", replayed...), 401},
			"dot segments":              {line("GET", "/admin/../orders", f.dpop("GET", "/orders")...), 401},
			"another spelling":          {line("GET", "/%6frders", f.dpop("GET", "/orders")...), 401},
			"a token in the query":      {line("GET", "/orders?access_token=x", f.dpop("GET", "/orders")...), 400},
			"two tokens":                {line("GET", "/orders", append(f.dpop("GET", "/orders"), "Authorization: Bearer open.mallory")...), 400},
			"two proofs":                {line("GET", "/orders", append(f.dpop("GET", "/orders"), f.dpop("GET", "/orders")[1])...), 401},
			"early data":                {line("GET", "/orders", append(f.dpop("GET", "/orders"), "Early-Data: 1")...), 425},
			"another host":              {strings.Replace(line("GET", "/orders", f.dpop("GET", "/orders")...), "Host: api.example", "Host: other.example", 1), 0},
			"a method that is forged":   {line("DELETE", "/orders", append(f.dpop("GET", "/orders"), "X-Original-Method: GET", "X-Forwarded-Method: GET", "X-HTTP-Method-Override: GET")...), 401},
			"a target that is forged":   {line("GET", "/admin", append(f.dpop("GET", "/orders"), "X-Original-Uri: /orders", "X-Forwarded-Uri: /orders", "X-Rewrite-Url: /orders")...), 401},
			"a host that is forged":     {strings.Replace(line("GET", "/orders", append(f.dpop("GET", "/orders"), "X-Original-Host: api.example", "X-Forwarded-Host: api.example")...), "Host: api.example", "Host: other.example", 1), 0},
			"originals in Connection":   {line("GET", "/admin", append(f.dpop("GET", "/orders"), "Connection: X-Original-Uri, X-Forwarded-Uri, X-Original-Method, X-Forwarded-Method", "X-Original-Uri: /orders")...), 401},
			"originals twice":           {line("GET", "/admin", append(f.dpop("GET", "/orders"), "X-Original-Uri: /orders", "X-Original-Uri: /orders")...), 401},
			"originals with underscore": {line("GET", "/admin", append(f.dpop("GET", "/orders"), "X_Original_Uri: /orders", "X_Forwarded_Uri: /orders")...), 401},
		} {
			t.Run(name, func(t *testing.T) {
				resp := f.call(t, nil, c.raw)
				if c.want != 0 {
					require.Equal(t, c.want, resp.StatusCode)
				}
				require.NotEqual(t, 200, resp.StatusCode)
				require.Empty(t, f.got(), "the request has reached the service")
				if resp.StatusCode == 401 {
					require.NotEmpty(t, resp.Header["Www-Authenticate"])
				}
				for name := range resp.Header {
					require.False(t, strings.HasPrefix(name, "X-Auth-"), "the client has no business with %s", name)
				}
			})
		}
	})
}

// The client sends what only the guard may say, with a request that passes, that is
// anonymous, or that is refused.
func TestIdentityIsReplacedInEveryRequest(t *testing.T) {
	names := []string{"X-Auth-Outcome", "X-Auth-Issuer", "X-Auth-Subject", "X-Auth-Client", "X-Auth-Scope", "X-Auth-Binding", "X-Auth-Assertion"}
	var forged []string
	for _, name := range names {
		forged = append(forged, name+": root", strings.ToLower(name)+": root", strings.ReplaceAll(name, "-", "_")+": root")
	}
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for name, raw := range map[string]string{
			"pass":          line("GET", "/orders", slices.Concat(forged, f.dpop("GET", "/orders"))...),
			"pass, behind":  line("GET", "/orders", slices.Concat(f.dpop("GET", "/orders"), forged)...),
			"in Connection": line("GET", "/orders", slices.Concat(forged, f.dpop("GET", "/orders"), []string{"Connection: " + strings.Join(names, ", ")})...),
			"unbound":       line("GET", "/orders", slices.Concat(forged, []string{"Authorization: Bearer open.bob"})...),
			"anonymous": line("OPTIONS", "/orders", slices.Concat(forged,
				[]string{"Origin: https://app.example", "Access-Control-Request-Method: POST"})...),
			"refused": line("GET", "/orders", forged...),
		} {
			t.Run(name, func(t *testing.T) {
				resp := f.call(t, nil, raw)
				arrived := f.got()
				if name == "refused" {
					require.Equal(t, 401, resp.StatusCode)
					require.Empty(t, arrived)
					return
				}
				require.Equal(t, 200, resp.StatusCode)
				require.Len(t, arrived, 1)
				for field, values := range arrived[0].header {
					dashed := strings.ReplaceAll(strings.ToLower(field), "_", "-")
					if strings.HasPrefix(dashed, "x-auth-") {
						require.NotContains(t, strings.Join(values, ","), "root", field)
						require.Len(t, values, 1, field)
					}
				}
				want := "pass"
				if name == "anonymous" {
					want = "anonymous"
				}
				require.Equal(t, want, arrived[0].header.Get("X-Auth-Outcome"))
			})
		}
	})
}

// What was judged is what the service sees, in whatever form the target comes.
func TestTargetsInOtherForms(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for _, form := range []string{
			"https://api.example/orders", "http://api.example/orders", "https://other.example/orders", "http://other.example:80/orders", "https://api.example:8443/orders",
			"HTTPS://API.EXAMPLE/orders", "https://user@api.example/orders", "//api.example/orders", "//other.example/orders", "*", "orders", "/orders#fragment", "/orders\\x", "/../orders", "/orders/%00", "/orders%0d%0aX-Auth-Subject:root",
		} {
			for _, method := range []string{"GET", "CONNECT"} {
				for _, proof := range []string{"/orders", form} {
					token := "key." + f.key.Thumbprint()
					url := "https://api.example" + proof
					if strings.Contains(proof, "://") {
						url = proof
					}
					resp, err := f.client(nil).try(line(method, form, "Authorization: DPoP "+token, "DPoP: "+f.key.Proof(method, url, token)))
					arrived := f.got()
					if err != nil || resp.status != 200 {
						require.Empty(t, arrived, "%s %s", method, form)
						continue
					}
					require.Len(t, arrived, 1)
					require.Equal(t, "api.example", strings.ToLower(arrived[0].host), "%s %s", method, form)
					require.Contains(t, []string{"/orders", form}, arrived[0].target)
				}
			}
		}
	})
}

// Only a request without a body is a preflight, which passes without a token.
func TestABodyMakesAPreflightAnOrdinaryRequest(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		preflight := []string{"Origin: https://app.example", "Access-Control-Request-Method: POST"}
		require.Equal(t, 200, f.call(t, nil, line("OPTIONS", "/orders", preflight...)).StatusCode)
		require.Len(t, f.got(), 1)
		require.Equal(t, 200, f.call(t, nil, line("OPTIONS", "/orders", append(preflight, "Content-Length: 0")...)).StatusCode)
		require.Len(t, f.got(), 1)
		for name, raw := range map[string]string{
			"a length": line("OPTIONS", "/orders", append(preflight, "Content-Length: 5")...) + "hello",
			"chunks":   line("OPTIONS", "/orders", append(preflight, "Transfer-Encoding: chunked")...) + "5\r\nhello\r\n0\r\n\r\n",
		} {
			resp := f.call(t, nil, raw)
			require.NotEqual(t, 200, resp.StatusCode, name)
			for _, a := range f.got() {
				require.LessOrEqual(t, len(a.body), 1, name)
			}
		}
	})
}

func TestCertificatesThroughTheGuard(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		bound := "Authorization: Bearer cert." + f.right.x5t()
		require.Equal(t, 200, f.call(t, f.right, line("GET", "/orders", bound)).StatusCode)
		arrived := f.got()
		require.Len(t, arrived, 1)
		require.Equal(t, "certificate", arrived[0].header.Get("X-Auth-Binding"))
		require.Empty(t, arrived[0].header.Get(f.header), "the service has no use for it")
		victims := valueOf(t, named(t, map[string]string{"nginx": "nginx", "HAProxy": "HAProxy", "Caddy": "Caddy"}[f.name]), f.stage)
		for name, own := range map[string]*identity{"none": nil, "wrong": f.wrong, "self-signed": f.selfSigned} {
			for _, forgery := range forgeries(f.header, victims) {
				t.Run(name+" and "+forgery.name, func(t *testing.T) {
					raw := strings.Replace(forgery.raw("cert."+f.right.x5t()), "Host: api.example\r\n", "Host: api.example\r\nConnection: close\r\n", 1)
					_, _ = f.client(own).try(raw)
					require.Empty(t, f.got(), "the forgery has reached the service")
				})
			}
		}
	})
}

func TestNoncesReachTheClient(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		resp := f.call(t, nil, line("GET", "/orders", f.dpop("GET", "/orders")...))
		require.Equal(t, 401, resp.StatusCode)
		nonce := resp.Header.Get("DPoP-Nonce")
		require.NotEmpty(t, nonce)
		require.Contains(t, strings.Join(resp.Header["Www-Authenticate"], ", "), "use_dpop_nonce")
		require.Empty(t, f.got())

		require.Equal(t, 200, f.call(t, nil, line("GET", "/orders", f.dpop("GET", "/orders", dpoptest.Nonce(nonce))...)).StatusCode)
		time.Sleep(3100 * time.Millisecond) // The nonce is past half of its life, so the guard gives out the next.
		for _, hints := range []bool{false, true} {
			f.mu.Lock()
			f.hints = hints
			f.mu.Unlock()
			resp = f.call(t, nil, line("GET", "/orders", f.dpop("GET", "/orders", dpoptest.Nonce(nonce))...))
			require.Equal(t, 200, resp.StatusCode, "hints: %t", hints)
			require.Len(t, resp.Header["Dpop-Nonce"], 1, "hints: %t", hints)
			require.NotEqual(t, nonce, resp.Header.Get("DPoP-Nonce"))
			require.Contains(t, strings.Join(resp.Header["Cache-Control"], ","), "no-store")
		}
	}, dpop.WithNonces(dpop.NewNonces(bytes.Repeat([]byte{7}, 32))), dpop.WithLifetime(6*time.Second))
}

func TestBodiesGoToTheServiceAlone(t *testing.T) {
	body := strings.Repeat("x", 300_000)
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for name, raw := range map[string]string{
			"a length": line("POST", "/orders", append(f.dpop("POST", "/orders"), fmt.Sprint("Content-Length: ", len(body)))...) + body,
			"chunks": line("POST", "/orders", append(f.dpop("POST", "/orders"), "Transfer-Encoding: chunked")...) +
				fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body),
			"Expect": line("POST", "/orders", append(f.dpop("POST", "/orders"), "Expect: 100-continue", fmt.Sprint("Content-Length: ", len(body)))...) + body,
		} {
			t.Run(name, func(t *testing.T) {
				asked := f.asked.Load()
				require.Equal(t, 200, f.call(t, nil, raw).StatusCode)
				arrived := f.got()
				require.Len(t, arrived, 1)
				require.Equal(t, len(body), len(arrived[0].body))
				require.Equal(t, asked+1, f.asked.Load(), "each request is asked about, once")
			})
		}
		t.Run("a request inside of a body is none", func(t *testing.T) {
			inner := line("GET", "/admin", "X-Auth-Outcome: pass")
			raw := line("POST", "/orders", append(f.dpop("POST", "/orders"), fmt.Sprint("Content-Length: ", len(inner)))...) + inner
			require.Equal(t, 200, f.call(t, nil, raw).StatusCode)
			require.Len(t, f.got(), 1)
		})
	})
}

func TestAGuardThatIsDownLetsNothingThrough(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		f.guard.Close()
		resp := f.call(t, nil, line("GET", "/orders", f.dpop("GET", "/orders")...))
		require.GreaterOrEqual(t, resp.StatusCode, 500)
		require.Empty(t, f.got())
	})
}

func TestTheGuardIsNotForClients(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for _, target := range []string{"/.guard", "/.guard/", "/%2eguard", "//.guard", "/x/../.guard"} {
			resp := f.call(t, nil, line("GET", target, "X-Original-Method: GET", "X-Original-Uri: /orders", "X-Original-Host: api.example"))
			require.NotEqual(t, 200, resp.StatusCode, target)
			require.Empty(t, f.got(), target)
		}
	})
}

// G2: behind a change of protocols, the client would write the X-Auth fields itself.
func TestNoChangeOfProtocolsPassesTheGuard(t *testing.T) {
	onEachGuarding(t, func(t *testing.T, f *fort) {
		for name, raw := range switches() {
			if raw == "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				raw = strings.Replace(raw, "Host: api.example\r\n", "Host: api.example\r\nAuthorization: Bearer open.mallory\r\n", 1)
				tn := open(t, f.stage, nil, raw)
				require.NotEqual(t, http.StatusSwitchingProtocols, tn.status)
				if tn.status == http.StatusSwitchingProtocols {
					tn.smuggle("X-Auth-Subject", "root", "open.mallory")
				}
				for _, a := range f.got() {
					require.NotEqual(t, "root", a.header.Get("X-Auth-Subject"))
				}
			})
		}
	})
}
