package issuers_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// flow is one of the configurations that Kong's pages show.
type flow struct {
	file                  string   // of gateway/testdata
	flags                 []string // of the gateway, beside those that all have
	terminator, handshake bool     // how the client's certificate comes, if it does
	clients               []string // those that can do this
	tenLines              func(w *world, t *testing.T, origin string) (*middleware.Guard, error)
	cell                  func(w *world, t *testing.T, c client, at *place) string
}

var flows = []*flow{
	{
		file: "dpop-strict.yaml", clients: []string{"oauth4webapi", "openid-client", "dpop", "dpopclient"},
		tenLines: (*world).dpopService, cell: (*world).kongDPoP,
	},
	{
		file: "bearer.yaml", clients: []string{"oauth4webapi", "openid-client", "curl"},
		tenLines: (*world).bearerService, cell: (*world).kongBearer,
	},
	{
		file: "mtls-header.yaml", clients: []string{"curl"}, terminator: true, flags: []string{"-trusted-proxy", terminatorAddress + "/32"},
		tenLines: (*world).headerService, cell: (*world).kongHeader,
	},
	{
		file: "mtls-handshake.yaml", clients: []string{"curl"}, handshake: true,
		tenLines: (*world).handshakeService, cell: (*world).kongHandshake,
	},
	{
		file: "client-credentials.yaml", clients: []string{"curl"},
		tenLines: (*world).credentialsService, cell: (*world).kongCredentials,
	},
}

// guards are who does what a configuration says.
var guards = []struct {
	name  string
	start func(*world, *testing.T, *flow) *place
}{
	{"gateway", (*world).startGateway},
	{"ten lines", (*world).startTenLines},
}

func kongRow(f *flow, guard string) kind { return kind("`" + f.file + "`, " + guard) }

func kongRows() (rows []kind) {
	for _, f := range flows {
		for _, guard := range guards {
			rows = append(rows, kongRow(f, guard.name))
		}
	}
	return rows
}

// kongsConfigurations runs each configuration with each client.
func (w *world) kongsConfigurations(t *testing.T) {
	for _, f := range flows {
		for _, guard := range guards {
			row := kongRow(f, guard.name)
			for _, name := range f.clients {
				w.kong.expect(name)
			}
			t.Run("Kong/"+guard.name+"/"+f.file, func(t *testing.T) {
				at := guard.start(w, t, f)
				at.url = at.guard
				if f.terminator {
					at.url = w.startTerminator(t, at.guard)
				}
				w.origins = append(w.origins, at.url)
				for _, c := range clients {
					if slices.Contains(f.clients, c.name()) {
						t.Run(c.name(), func(t *testing.T) { w.kong.set(c.name(), row, f.cell(w, t, c, at)) })
					}
				}
			})
		}
	}
}

// place is something guarded.
type place struct {
	url     string // for clients
	guard   string // the same, unless there is a terminator in front
	backend *backend
	reached int      // how many requests have been expected behind
	log     *output  // of the gateway, or nil
	secrets []string // that the log must not have
}

// backend is a service that leaves everything to the guard in front of it.
type backend struct {
	handler http.Handler

	mu   sync.Mutex
	seen []http.Header // of each request
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.seen = append(b.seen, r.Header.Clone())
	b.mu.Unlock()
	b.handler.ServeHTTP(w, r)
}

func (b *backend) requests() []http.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

// expect checks what requests came to: whether they got through, and if so, as what. It
// returns a part of a cell.
func (at *place) expect(t *testing.T, want, got int, what, token string) string {
	t.Helper()
	require.Equal(t, want, got, "%s: %s", what, at.said())
	all := at.backend.requests()
	through := all[at.reached:]
	at.reached = len(all)
	require.Equal(t, want == http.StatusOK, len(through) > 0, "%s: what got through", what)
	for _, header := range through {
		require.Len(t, header["Authorization"], 1, what)
		if token == "" { // The guard has got it itself.
			require.True(t, strings.HasPrefix(header.Get("Authorization"), "Bearer "), what)
		} else {
			require.Equal(t, "Bearer "+token, header.Get("Authorization"), what)
		}
		for name := range header {
			require.NotContains(t, []string{"dpop", "x-client-cert"}, strings.ToLower(strings.ReplaceAll(name, "_", "-")), what)
		}
	}
	if token != "" {
		at.secrets = append(at.secrets, token)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d", what, got))
}

// said is the last of what the gateway has logged.
func (at *place) said() string {
	if at.log == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(at.log.String()), "\n")
	return lines[len(lines)-1]
}

func (w *world) kongDPoP(t *testing.T, c client, at *place) string {
	s, ok := c.open(t, w, wish{client: "dpop", resource: audience, dpop: true}).(prover)
	require.True(t, ok)
	unbound := curl{}.open(t, w, wish{client: "bearer", resource: audience}).token()
	address, thief, plain, token := at.url+"/anything", thief{w}, w.files.client(nil), s.token()
	good := at.expect(t, 200, statusOf(t, s, address, 3), "", token)
	sent := s.sent()
	require.Len(t, sent["Dpop"], 1)

	replay := at.expect(t, 401, thief.send(t, plain, address, sent), "replay", token)
	at.expect(t, 401, thief.send(t, plain, address+"/other", sent), "the proof for another URL", token)
	stolen := at.expect(t, 401, thief.proves(t, token, address), "stolen", token)
	at.expect(t, 401, thief.send(t, plain, address, bearer(token)), "as a bearer token", token)
	at.expect(t, 401, thief.send(t, plain, address, http.Header{"Authorization": {"DPoP " + token}}), "without a proof", token)
	notBound := at.expect(t, 401, thief.send(t, plain, address, bearer(unbound)), "unbound", unbound)
	at.expect(t, 401, thief.proves(t, unbound, address), "an unbound token with a proof", unbound)
	at.expect(t, 200, s.call(t, address), "again", token)
	return strings.Join([]string{good, stolen, replay, notBound}, ", ")
}

func (w *world) kongBearer(t *testing.T, c client, at *place) string {
	const both = "orders:read orders:write"
	s := c.open(t, w, wish{client: "clerk", scope: both, resource: audience})
	address, thief, plain, token := at.url+"/api/anything", thief{w}, w.files.client(nil), s.token()
	good := at.expect(t, 200, statusOf(t, s, address, 2), "", token)
	if at.log != nil {
		var claims struct{ Sub string }
		part(t, token, 1, &claims)
		require.Equal(t, []string{claims.Sub}, at.backend.requests()[at.reached-1]["X-User"])
	}

	little := c.open(t, w, wish{client: "clerk", scope: "orders:read", resource: audience})
	scope := at.expect(t, 403, little.call(t, address), "scope", little.token())
	visitor := c.open(t, w, wish{client: "bearer", scope: both, resource: audience})
	role := at.expect(t, 403, visitor.call(t, address), "role", visitor.token())
	forged := token[:strings.LastIndexByte(token, '.')+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 256))
	at.expect(t, 401, thief.send(t, plain, address, bearer(forged)), "forged", token)
	at.expect(t, 401, thief.send(t, plain, address, nil), "no token", token)
	bound := own{}.open(t, w, wish{client: "dpop", scope: both, resource: audience, dpop: true}).token()
	stolen := at.expect(t, 401, thief.send(t, plain, address, bearer(bound)), "stolen", bound)
	return strings.Join([]string{good, stolen, scope, role}, ", ")
}

func (w *world) kongHeader(t *testing.T, c client, at *place) string {
	s := c.open(t, w, wish{client: "certificate", resource: audience})
	unbound := curl{}.open(t, w, wish{client: "bearer", resource: audience}).token()
	address, thief, token := at.url+"/anything", thief{w}, s.token()
	good := at.expect(t, 200, statusOf(t, s, address, 3), "", token)

	claimed := bearer(token)
	mtlspoptest.Forward(claimed, certificateField, mtlspoptest.HAProxy(w.files.machine))
	stolen := at.expect(t, 401, thief.send(t, w.files.client(nil), address, bearer(token)), "stolen", token)
	wrong := at.expect(t, 401, thief.send(t, w.files.client(w.files.another), address, bearer(token)), "wrong certificate", token)
	at.expect(t, 401, thief.send(t, w.files.client(nil), address, claimed), "a certificate that the client claims to have", token)
	at.expect(t, 401, thief.send(t, w.files.client(nil), at.guard+"/anything", claimed), "the same past the terminator", token)
	if at.log != nil {
		require.Eventually(t, func() bool { return strings.Contains(at.said(), "untrusted_forward=true") },
			time.Minute, 10*time.Millisecond, "the log does not say why")
	}
	at.expect(t, 401, s.call(t, at.guard+"/anything"), "the certificate of the connection", token)
	notBound := at.expect(t, 401, thief.send(t, w.files.client(w.files.machine), address, bearer(unbound)), "unbound", unbound)
	at.expect(t, 200, s.call(t, address), "again", token)
	return strings.Join([]string{good, stolen, wrong, notBound}, ", ")
}

func (w *world) kongHandshake(t *testing.T, c client, at *place) string {
	s := c.open(t, w, wish{client: "certificate", resource: audience})
	unbound := curl{}.open(t, w, wish{client: "bearer", resource: audience}).token()
	address, thief, token := at.url+"/anything", thief{w}, s.token()
	good := at.expect(t, 200, statusOf(t, s, address, 3), "", token)

	claimed := bearer(token)
	mtlspoptest.Forward(claimed, certificateField, mtlspoptest.HAProxy(w.files.machine))
	stolen := at.expect(t, 401, thief.send(t, w.files.client(nil), address, bearer(token)), "stolen", token)
	wrong := at.expect(t, 401, thief.send(t, w.files.client(w.files.another), address, bearer(token)), "wrong certificate", token)
	at.expect(t, 401, thief.send(t, w.files.client(nil), address, claimed), "a certificate that the client claims to have", token)
	at.expect(t, 401, thief.proves(t, token, address), "a proof", token)
	notBound := at.expect(t, 401, thief.send(t, w.files.client(w.files.machine), address, bearer(unbound)), "unbound", unbound)
	at.expect(t, 200, s.call(t, address), "again", token)
	return strings.Join([]string{good, stolen, wrong, notBound}, ", ")
}

func (w *world) kongCredentials(t *testing.T, c client, at *place) string {
	fetched := w.service.gatewayAsked.Load()
	s := c.open(t, w, wish{client: "caller"})
	address, thief, plain := at.url+"/anything", thief{w}, w.files.client(nil)
	good := at.expect(t, 200, statusOf(t, s, address, 2), "", "")
	seen := at.backend.requests()
	require.Equal(t, seen[0]["Authorization"], seen[1]["Authorization"], "the second call is served from memory")

	wrong := at.expect(t, 401, thief.send(t, plain, address, basicAuth("caller", "guessed")), "wrong secret", "")
	at.expect(t, 401, thief.send(t, plain, address, basicAuth("nobody", "caller-secret")), "an unknown client", "")
	at.expect(t, 200, s.call(t, address), "again", "")
	if at.log != nil {
		require.Greater(t, w.service.gatewayAsked.Load(), fetched, "the issuer has not fetched the gateway's keys")
		token, _ := strings.CutPrefix(seen[0].Get("Authorization"), "Bearer ")
		at.expect(t, 401, thief.send(t, plain, address, bearer(token)), "the token, which no auth_method allows", token)
		at.secrets = append(at.secrets, "caller-secret", strings.TrimPrefix(basicAuth("caller", "caller-secret").Get("Authorization"), "Basic "))
	}
	return strings.Join([]string{good, wrong}, ", ")
}

func basicAuth(id, secret string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}}
}

// terminatorAddress is where requests of the terminator come from. The clients' come from
// 127.0.0.1.
const terminatorAddress = "127.0.0.2"

// startTerminator ends TLS in front of a guard, as HAProxy would: it asks for a
// certificate, and passes it on in certificateField.
func (w *world) startTerminator(t *testing.T, to string) string {
	target, err := url.Parse(to)
	require.NoError(t, err)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(terminatorAddress)}}
	transport := &http.Transport{TLSClientConfig: w.files.config(nil), DialContext: dialer.DialContext, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			mtlspoptest.Forward(r.Out.Header, certificateField, forwarded(r.In.TLS))
		},
	})
	server.EnableHTTP2 = true
	server.TLS = mtlspop.RequestClientCert(&tls.Config{Certificates: []tls.Certificate{*certificate(w.files.server)}})
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func forwarded(state *tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return mtlspoptest.HAProxy(nil)
	}
	return mtlspoptest.HAProxy(&mtlspoptest.Client{Certificate: state.PeerCertificates[0]})
}
