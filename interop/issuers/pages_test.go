package issuers_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// page is a page of docs/issuers, whose blocks the tests run.
type page struct{ name, text string }

func readPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile("../../docs/issuers/" + name)
	require.NoError(t, err)
	return page{name, string(text)}
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)[^\n]*\n(.*?)^```")

// blocks are the blocks of a language that have a text in them.
func (p page) blocks(language, with string) (all []string) {
	for _, m := range fenced.FindAllStringSubmatch(p.text, -1) {
		if m[1] == language && strings.Contains(m[2], with) {
			all = append(all, m[2])
		}
	}
	return all
}

// block is the one of them.
func (p page) block(t *testing.T, language, with string) string {
	t.Helper()
	all := p.blocks(language, with)
	require.Len(t, all, 1, "%s: blocks of %s with %q", p.name, language, with)
	return all[0]
}

// What follows are the lines of Go of the pages.

var hydraProfile = oidc.Described(oidc.Dialect{
	Name:       "Hydra",
	Types:      []string{"JWT"},
	Scopes:     []string{"scp"},
	ScopeLists: true,
	Evidence:   []oidc.Evidence{{Claim: "token_kind", Values: []string{"access"}}},
})

// lines make the guard of a page.
type lines func(issuer, origin string, trust oidc.Option) (*middleware.Guard, error)

func hydraLines(issuer, _ string, trust oidc.Option) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New(issuer, "https://api.example", oidc.WithProfile(hydraProfile), trust)),
		middleware.AllowUnbound(),
	)
}

func springLines(issuer, origin string, trust oidc.Option) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New(issuer, "https://api.example", oidc.WithProfile(oidc.SpringAuthorizationServer), trust)),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithMTLS(mtlspop.New()),
	)
}

func oidcProviderLines(issuer, origin string, trust oidc.Option) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New(issuer, "https://api.example", trust)),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithMTLS(mtlspop.New()),
	)
}

func keycloakLines(issuer, origin string, trust oidc.Option) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(oidc.New(issuer, "https://api.example", oidc.WithProfile(oidc.Keycloak), trust)),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithMTLS(mtlspop.New()),
	)
}

// onThePage serves the guard of a page, and calls it as the page promises: with a token
// that is bound to a key, with one that is bound to a certificate, or with a bearer
// token; and with what must not pass.
func (w *world) onThePage(t *testing.T, guarded lines, key, cert, unbound *wish, others ...string) {
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.TLS = mtlspop.RequestClientCert(&tls.Config{Certificates: []tls.Certificate{*certificate(w.files.server)}})
	origin := "https://localhost" + strings.TrimPrefix(s.Listener.Addr().String(), "127.0.0.1")
	guard, err := guarded(w.issuer.url, origin, w.trust())
	require.NoError(t, err)
	defer guard.Close()
	s.Config.Handler = guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.StartTLS()
	defer s.Close()
	w.origins = append(w.origins, origin)
	thief, plain, url := thief{w}, w.files.client(nil), origin+"/orders"
	if key != nil {
		session := own{}.open(t, w, *key)
		require.Equal(t, 200, statusOf(t, session, url, 2), "a token that is bound to a key")
		require.Equal(t, 401, thief.proves(t, session.token(), url), "that token and another key")
		require.Equal(t, 401, thief.send(t, plain, url, bearer(session.token())), "that token as a bearer token")
	}
	if cert != nil {
		session := curl{}.open(t, w, *cert)
		require.Equal(t, 200, statusOf(t, session, url, 2), "a token that is bound to a certificate")
		require.Equal(t, 401, thief.send(t, w.files.client(w.files.another), url, bearer(session.token())), "that token and another certificate")
		require.Equal(t, 401, thief.send(t, plain, url, bearer(session.token())), "that token without a certificate")
	}
	if unbound != nil {
		require.Equal(t, 200, statusOf(t, curl{}.open(t, w, *unbound), url, 2), "a bearer token")
	}
	for _, token := range others {
		require.Equal(t, 401, thief.send(t, plain, url, bearer(token)))
	}
}

// inFile demands that the blocks of a language on a page are lines of the file that the
// test runs.
func (p page) inFile(t *testing.T, language, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	blocks := p.blocks(language, "")
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Contains(t, unindented(string(text)), unindented(block), "%s: these lines are not in %s", p.name, file)
	}
}

func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// keycloakPage does what the page says in a realm of its own.
func (w *world) keycloakPage(t *testing.T) {
	page := readPage(t, "keycloak.md")
	base := strings.TrimSuffix(w.issuer.url, "/realms/interop")
	k := &keycloak{world: w, base: base, url: base + "/realms/main"}
	k.administer(t, "/admin/realms", map[string]any{"realm": "main", "enabled": true})
	dir := t.TempDir()
	for file, with := range map[string]string{"orders-api.json": `"name": "orders-api"`, "app.json": `"clientId": "app"`, "machine.json": `"clientId": "machine"`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(page.block(t, "json", with)), 0o600))
	}
	trust := filepath.Join(dir, "trust.p12")
	out, err := exec.Command(need(t, "keytool"), "-importcert", "-noprompt", "-alias", "interop", "-file", w.files.authority, "-keystore", trust, "-storepass", "changeit").CombinedOutput()
	require.NoError(t, err, string(out))
	bin, err := filepath.Abs(keycloakHome + "/bin")
	require.NoError(t, err)
	cmd := exec.Command("bash", "-euc", "kcadm.sh config truststore --trustpass changeit "+trust+"\n"+page.block(t, "sh", "kcadm.sh"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+bin+":"+os.Getenv("PATH"), "KEYCLOAK="+base, "PASSWORD=admin", "KC_OPTS=-Duser.home="+dir)
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	own := *w
	own.issuer = &issuer{url: k.url, tokenEndpoint: k.url + "/protocol/openid-connect/token"}
	own.onThePage(t, keycloakLines, &wish{client: "app", scope: "openid"}, &wish{client: "machine", scope: "openid"}, nil)
}
