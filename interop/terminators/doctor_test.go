package terminators_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jub0bs/cors"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	//lint:ignore SA1019 net/http has no upgrade to h2c, and services that have it are what is attacked here
	"golang.org/x/net/http2/h2c"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

var keyboundDir string // "" if it was not built

// keybound builds the command, once.
var keybound = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "keybound")
	if err != nil {
		return "", err
	}
	keyboundDir = dir
	path := filepath.Join(dir, "keybound")
	out, err := exec.Command("go", "-C", "../../cmd/keybound", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(string(out)))
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(keyboundDir) // nothing for ""
	os.Exit(code)
}

// boundToKey reads a token that begins with "key-" as bound to that key, and any other
// as boundTo does.
type boundToKey struct{ boundTo }

func (b boundToKey) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	if jkt, ok := strings.CutPrefix(raw, "key-"); ok {
		return &oidc.Token{Confirmation: oidc.Confirmation{JKT: jkt}}, nil
	}
	return b.boundTo.VerifyToken(ctx, raw)
}

// patient is a client of keybound doctor: what it has, in files.
type patient struct {
	*cast
	dir string
	jkt string
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	command, err := keybound()
	require.NoError(t, err)
	p := &patient{cast: newCast(t), dir: t.TempDir()}
	out, err := exec.Command(command, "key", "--key", p.file("key.jwk"), "--make-key", "ES256").CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(p.file("key.jwk"))
	require.NoError(t, err)
	var jwk struct{ X, Y string }
	require.NoError(t, json.Unmarshal(text, &jwk))
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, jwk.X, jwk.Y)) // RFC 7638, section 3.1
	p.jkt = base64.RawURLEncoding.EncodeToString(sum[:])
	for name, text := range map[string]string{
		"ca.pem": p.site.certPEM(), "client.pem": p.right.certPEM() + p.right.keyPEM(t), "token": "key-" + p.jkt, "certificate-token": p.right.x5t(),
	} {
		require.NoError(t, os.WriteFile(p.file(name), []byte(text), 0o600))
	}
	return p
}

func (p *patient) file(name string) string { return filepath.Join(p.dir, name) }

// examine runs keybound doctor and returns its findings: ID -> message and fix.
func (p *patient) examine(t *testing.T, address string, more ...string) map[string]string {
	t.Helper()
	command, err := keybound()
	require.NoError(t, err)
	cmd := exec.Command(command, append([]string{"doctor", "https://api.example/orders", "--connect", address, "--cacert", p.file("ca.pem"),
		"--key", p.file("key.jwk"), "--token-file", p.file("token"), "--cert", p.file("client.pem"), "--certificate-token-file", p.file("certificate-token"),
		"--app-origin", "https://app.example", "--connections", "8", "--json", "-"}, more...)...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("%v\n%s\n%s", err, out, log.String())
	}
	var report struct {
		Items []struct{ ID, Status, Message, Fix string }
	}
	require.NoError(t, json.Unmarshal(out, &report), string(out))
	require.Greater(t, len(report.Items), 10)
	findings := make(map[string]string)
	for _, i := range report.Items {
		if i.Status == "fail" {
			findings[i.ID] += i.Message + " | " + i.Fix + "\n"
		}
	}
	require.Equal(t, len(findings) > 0, err != nil, "the exit status says whether there are findings")
	return findings
}

// behind is how the service behind a terminator is set up. Its zero value is correct.
type behind struct {
	replicas     int // 1 if 0
	ownMemories  bool
	ownNonceKeys bool // with nonces
	noCORS       bool
	nonces       bool
}

// serve starts the service, and returns the addresses of its replicas.
func (b behind) serve(t *testing.T, c configuration) (addresses []string) {
	t.Helper()
	shared, err := dpop.NewMemoryCache()
	require.NoError(t, err)
	for i := range max(b.replicas, 1) {
		var opts []dpop.Option
		if !b.ownMemories {
			opts = append(opts, dpop.WithReplayCache(shared, nil))
		}
		if b.nonces {
			key := []byte("0123456789abcdef0123456789abcdef")
			if b.ownNonceKeys {
				key[0] = byte('a' + i)
			}
			opts = append(opts, dpop.WithNonces(dpop.NewNonces(key)))
		}
		guard, err := middleware.New(middleware.WithTokens(&boundToKey{}, nil),
			middleware.WithDPoP(dpop.New("https://api.example", opts...)),
			middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(c.header, c.format, netip.MustParsePrefix("127.0.0.1/32")))))
		require.NoError(t, err)
		routes := http.NewServeMux()
		routes.Handle("/orders", guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "orders") })))
		routes.Handle("/", guard.Wrap(http.NotFoundHandler()))
		var handler http.Handler = routes
		if !b.noCORS {
			outside, err := cors.NewMiddleware(cors.Config{Origins: []string{"https://app.example"}, Methods: []string{"GET"},
				RequestHeaders: []string{"Authorization", "DPoP"}, ResponseHeaders: []string{"DPoP-Nonce", "WWW-Authenticate"}})
			require.NoError(t, err)
			handler = outside.Wrap(handler)
		}
		//lint:ignore SA1019 see the import
		server := httptest.NewServer(lenient(h2c.NewHandler(handler, &http2.Server{})))
		t.Cleanup(server.Close)
		addresses = append(addresses, server.Listener.Addr().String())
	}
	return addresses
}

// mistake is a mistake of docs/terminators.md, made in the recommended file, and what
// doctor says of it.
type mistake struct {
	name    string
	of      string // the configuration's name
	edits   []string
	finding string
	fix     string // in the finding
	also    string // other findings that it causes
}

func mistakes() []mistake {
	const (
		nginxFix   = "nginx: put proxy_set_header X-Client-Cert $ssl_client_escaped_cert; into every location that has a proxy_set_header of its own"
		haproxyFix = "HAProxy: http-request del-header Client-Cert above the http-request set-header"
		apacheFix  = "Apache: RequestHeader set (not add, append or merge), without a condition and outside of any <Location>"
		caddyFix   = "Caddy: header_up Client-Cert (not +Client-Cert) in every reverse_proxy"
		pathFix    = "nginx: proxy_pass without a URI part"
		rewritten  = "Apache: ProxyPass with nocanon"
		hostFix    = "let the proxy keep Host"
	)
	return []mistake{
		{name: "nginx: a location with a proxy_set_header of its own", of: "nginx", finding: "forged-certificate/X-Client-Cert", fix: nginxFix, also: "good-request/certificate",
			edits: []string{nginxLine, "", "    location / {\n", "    " + nginxLine + "\n    location / {\n"}},
		{name: "nginx: the certificate as it is", of: "nginx", finding: "good-request/certificate", fix: "$ssl_client_raw_cert",
			edits: []string{nginxLine, "proxy_set_header X-Client-Cert $ssl_client_raw_cert;"}},
		{name: "nginx: the SHA-1 digest", of: "nginx", finding: "good-request/certificate", fix: "$ssl_client_fingerprint",
			edits: []string{nginxLine, "proxy_set_header X-Client-Cert $ssl_client_fingerprint;"}},
		{name: "nginx: no Host", of: "nginx", finding: "good-request/dpop", fix: hostFix,
			edits: []string{"proxy_set_header Host $host;", ""}},
		{name: "nginx: proxy_pass with a path", of: "nginx", finding: "paths", fix: pathFix, also: "paths/rewritten",
			edits: []string{"proxy_pass http://127.0.0.1:8080;", "proxy_pass http://127.0.0.1:8080/;"}},

		{name: "HAProxy: the condition without del-header", of: "HAProxy", finding: "forged-certificate/Client-Cert", fix: haproxyFix,
			edits: []string{"http-request del-header Client-Cert\n", "\n"}},
		{name: "HAProxy: add-header", of: "HAProxy", finding: "forged-certificate/Client-Cert", fix: haproxyFix,
			edits: []string{"http-request del-header Client-Cert\n", "\n", haproxyLine, strings.Replace(haproxyLine, "set-header", "add-header", 1)}},
		{name: "HAProxy: normalize-uri", of: "HAProxy", finding: "paths", fix: pathFix,
			edits: []string{haproxyNoUpgrade, haproxyNoUpgrade + "\n    http-request normalize-uri path-strip-dotdot", "defaults\n", "global\n    expose-experimental-directives\ndefaults\n"}},
		{name: "HAProxy: replace-path", of: "HAProxy", finding: "good-request/dpop", fix: "The service takes itself for another URL", also: "good-request/certificate",
			edits: []string{haproxyNoUpgrade, haproxyNoUpgrade + "\n    http-request replace-path (.*) /v1\\1"}},

		{name: "Apache: RequestHeader add", of: "Apache", finding: "forged-certificate/X-Client-Cert", fix: apacheFix,
			edits: []string{apacheLine, strings.Replace(apacheLine, "set", "add", 1)}},
		{name: "Apache: RequestHeader append", of: "Apache", finding: "forged-certificate/X-Client-Cert", fix: apacheFix,
			edits: []string{apacheLine, strings.Replace(apacheLine, "set", "append", 1)}},
		{name: "Apache: RequestHeader merge", of: "Apache", finding: "forged-certificate/X-Client-Cert", fix: apacheFix,
			edits: []string{apacheLine, strings.Replace(apacheLine, "set", "merge", 1)}},
		{name: "Apache: a condition without unset", of: "Apache", finding: "forged-certificate/X-Client-Cert", fix: apacheFix,
			edits: []string{apacheLine, apacheLine + ` "expr=-n %{SSL_CLIENT_CERT}"`}},
		{name: "Apache: a Location that does not cover the path", of: "Apache", finding: "forged-certificate/X-Client-Cert", fix: apacheFix, also: "good-request/certificate",
			edits: []string{apacheLine, "<Location /v2>\n" + apacheLine + "\n</Location>"}},
		{name: "Apache: no ProxyPreserveHost", of: "Apache", finding: "good-request/dpop", fix: hostFix,
			edits: []string{"ProxyPreserveHost On", ""}},
		{name: "Apache: no nocanon", of: "Apache", finding: "paths/rewritten", fix: rewritten, also: "paths",
			edits: []string{apachePass, "AllowEncodedSlashes On\n    ProxyPass / http://127.0.0.1:8080/"}},

		{name: "Caddy: +Client-Cert", of: "Caddy", finding: "forged-certificate/Client-Cert", fix: caddyFix,
			edits: []string{caddyLine, strings.Replace(caddyLine, "header_up ", "header_up +", 1)}},
		{name: "Caddy: a second reverse_proxy", of: "Caddy", finding: "forged-certificate/Client-Cert", fix: caddyFix, also: "good-request/certificate",
			edits: []string{"	reverse_proxy 127.0.0.1:8080 {\n", "	reverse_proxy /orders* 127.0.0.1:8080\n	reverse_proxy 127.0.0.1:8080 {\n"}},
		{name: "Caddy: the certificate as PEM", of: "Caddy", finding: "good-request/certificate", fix: "certificate_pem", also: "challenge good-request/dpop",
			edits: []string{caddyLine, `header_up Client-Cert {http.request.tls.client.certificate_pem}`}},
		{name: "Caddy: uri", of: "Caddy", finding: "paths", fix: pathFix,
			edits: []string{caddyNoUpgrade, caddyNoUpgrade + "\n	uri strip_prefix /."}},
	}
}

// Each mistake of docs/terminators.md that can be made in a terminator that runs here is
// found, with the sentence that mends it. Those of Envoy, AWS, Traefik, Kong, Azure,
// Cloudflare, Google Cloud and F5 are played, in cmd/keybound.
func TestDoctorFindsEachMistakeOfARealTerminator(t *testing.T) {
	p := newPatient(t)
	all := mistakes()
	for _, u := range upgradings() {
		if u.open {
			all = append(all, mistake{name: u.name, of: u.of, edits: u.edits, finding: "upgrade", fix: "Let the terminator remove Upgrade unless it is websocket"})
		}
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			c := named(t, m.of)
			c.edits = m.edits
			find(t, c.server)
			found := p.examine(t, start(t, c, behind{}.serve(t, c)[0], p.site))
			require.Contains(t, found[m.finding], m.fix, "%v", found)
			for id := range found {
				id = strings.TrimSuffix(id, "@h2")
				require.True(t, id == m.finding || slices.Contains(strings.Fields(m.also), id), "nothing else is wrong, and it says %s: %s", id, found[id])
			}
		})
	}
}

func TestDoctorFindsNothingBehindARecommendedTerminator(t *testing.T) {
	p := newPatient(t)
	for _, c := range configurations() {
		if c.mistake {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			find(t, c.server)
			require.Empty(t, p.examine(t, start(t, c, behind{nonces: true}.serve(t, c)[0], p.site)))
		})
	}
	for _, u := range upgradings() {
		if u.open || !u.webSockets {
			continue
		}
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			c := named(t, u.of)
			c.edits = u.edits
			find(t, c.server)
			require.Empty(t, p.examine(t, start(t, c, behind{}.serve(t, c)[0], p.site)))
		})
	}
}

// The mistakes that no replica can see of itself, behind terminators that spread
// requests over three of them.
func TestDoctorFindsTheInvisibleMistakesBehindRealTerminators(t *testing.T) {
	p := newPatient(t)
	spread := map[string]func(addresses []string) []string{
		"nginx": func(a []string) []string {
			return []string{"server {\n", "upstream replicas { server " + strings.Join(a, "; server ") + "; }\nserver {\n",
				"proxy_pass http://127.0.0.1:8080;", "proxy_pass http://replicas; # 127.0.0.1:8080"}
		},
		"HAProxy": func(a []string) []string {
			lines := "balance roundrobin # 127.0.0.1:8080"
			for i, address := range a {
				lines += fmt.Sprintf("\n    server replica%d %s", i, address)
			}
			return []string{"server service 127.0.0.1:8080", lines}
		},
		"Caddy": func(a []string) []string {
			return []string{"reverse_proxy 127.0.0.1:8080 {\n", "reverse_proxy " + strings.Join(a, " ") + " {\n		lb_policy round_robin # 127.0.0.1:8080\n"}
		},
	}
	for name, m := range map[string]struct {
		service behind
		finding string
		fix     string
	}{
		"no shared memory": {behind{replicas: 3, ownMemories: true}, "replay", "Give every replica one replay cache: dpop.WithReplayCache(redisstore.NewReplayCache(client))"},
		"mixed nonce keys": {behind{replicas: 3, nonces: true, ownNonceKeys: true}, "nonces", "Give every replica the same nonce key: dpop.NewNonces(key)"},
		"no CORS":          {behind{replicas: 3, noCORS: true}, "cors/preflight", "Put a CORS middleware outside of the guard"},
		"no mistake":       {behind{replicas: 3, nonces: true}, "", ""},
	} {
		for of, edits := range spread {
			t.Run(name+", "+of, func(t *testing.T) {
				t.Parallel()
				c := named(t, of)
				find(t, c.server)
				addresses := m.service.serve(t, c)
				c.edits = edits(addresses)
				found := p.examine(t, start(t, c, addresses[0], p.site))
				if m.finding == "" {
					require.Empty(t, found)
					return
				}
				require.Contains(t, found[m.finding], m.fix, "%v", found)
			})
		}
	}
}
