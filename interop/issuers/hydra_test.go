package issuers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// hydra is Ory Hydra, and the login and consent that it leaves to others.
type hydra struct {
	world      *world
	url, admin string
	hook       string // what the token hook answers
}

// newHydra starts Ory Hydra with what the page about it says.
func newHydra(t *testing.T, w *world) *issuer {
	program, err := filepath.Abs(need(t, "../.cache/hydra"))
	require.NoError(t, err)
	page := readPage(t, "hydra.md")
	port, admin := freePort(t), freePort(t)
	h := &hydra{world: w, url: "https://localhost:" + port, admin: "https://localhost:" + admin, hook: page.block(t, "json", "access_token")}
	settings := page.block(t, "yaml", "token_hook") + fmt.Sprintf(`
dsn: memory
sqa: {opt_out: true}
secrets: {system: [%q]}
urls: {self: {issuer: %q}, login: %q, consent: %q}
serve:
  tls: {enabled: true, cert: {path: %q}, key: {path: %q}}
  public: {host: 127.0.0.1, port: %s}
  admin: {host: 127.0.0.1, port: %s}
`, "a-secret-of-more-than-32-characters", h.url+"/", w.service.URL+"/login", w.service.URL+"/consent", w.files.serverCert, w.files.serverKey, port, admin)
	settings = string(bytes.ReplaceAll([]byte(settings), []byte("https://login.example/token-hook"), []byte(w.service.URL+"/token-hook")))
	file := filepath.Join(w.files.dir, "hydra.yml")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	cmd := exec.Command(program, "serve", "all", "-c", file)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+w.files.authority) // of the service, whose hook and keys it asks for
	running := launch(t, cmd)
	w.waitFor(t, running, h.admin+"/health/ready")

	both := []string{audience, elsewhere}
	for id, more := range map[string]map[string]any{
		"bearer": {}, "caller": {}, "elsewhere": {},
		"signed": {"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "jwks_uri": w.service.URL + "/signed.json"},
		"user": {"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
			"redirect_uris": []string{callback}, "scope": "openid offline_access orders", "userinfo_signed_response_alg": "RS256"},
	} {
		client := map[string]any{"client_id": id, "client_secret": id + "-secret", "grant_types": []string{"client_credentials"}, "scope": "orders orders:read", "audience": both}
		for name, value := range more {
			client[name] = value
		}
		if id == "signed" {
			delete(client, "client_secret")
		}
		h.ask(t, http.MethodPost, "/admin/clients", client)
	}
	return &issuer{
		url: h.url + "/", opaque: audience, byAudience: true,
		profile:    []oidc.Option{oidc.WithProfile(hydraProfile)},
		introspect: []introspect.Option{introspect.WithEndpoint(h.admin + "/admin/oauth2/introspect")},
		clients:    []string{"oauth4webapi", "openid-client", "curl"},
		// Assertions must name its token endpoint in aud, and today's clients name the
		// issuer.
		skip:         append(slices.Clone(dpopKinds), certificateJWT, certificateAsked, certificateHeader, privateKeyJWT),
		pages:        map[string]http.Handler{"/login": h.accept("login"), "/consent": h.accept("consent"), "/token-hook": http.HandlerFunc(h.answerHook)},
		descriptions: map[string]oidc.Profile{"Hydra, described": hydraProfile},
		user: func(t *testing.T) userTokens {
			return w.userTokens(t, url.Values{"audience": {audience}}, nil)
		},
	}
}

// answerHook is the token hook of the page.
func (h *hydra) answerHook(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(h.hook))
}

// accept is a login page, or a page for consent, on which every user is alice and agrees.
func (h *hydra) accept(what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := map[string]any{"subject": "alice"}
		if what == "consent" {
			body = map[string]any{"grant_scope": []string{"openid", "offline_access", "orders"}, "grant_access_token_audience": []string{audience},
				"session": map[string]any{"id_token": map[string]any{"scp": []string{"orders"}, "client_id": "user"}}} // that an ID token has too
		}
		at := "/admin/oauth2/auth/requests/" + what + "/accept?" + what + "_challenge=" + url.QueryEscape(r.URL.Query().Get(what+"_challenge"))
		answer, err := h.send(http.MethodPut, at, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, fmt.Sprint(answer["redirect_to"]), http.StatusFound)
	})
}

func (h *hydra) ask(t *testing.T, method, path string, body any) {
	t.Helper()
	_, err := h.send(method, path, body)
	require.NoError(t, err)
}

func (h *hydra) send(method, path string, body any) (answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(method, h.admin+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := h.world.files.client(nil).Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %v", method, path, resp.Status, answer)
	}
	return answer, nil
}

// waitFor waits until a page of a program is there.
func (w *world) waitFor(t *testing.T, running *process, page string) {
	t.Helper()
	client := w.files.client(nil)
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		select {
		case <-running.ended:
			t.Fatalf("%s ended:\n%s", running.cmd.Path, running.log)
		default:
		}
		resp, err := client.Get(page)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s does not start:\n%s", running.cmd.Path, running.log)
}

func TestHydra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet(t, newHydra(t, w))
	t.Run("other tokens", w.otherTokens)
	t.Run("page", func(t *testing.T) {
		u := w.issuer.user(t)
		w.onThePage(t, hydraLines, nil, nil, &wish{client: "bearer", resource: audience}, u.id, u.refresh, u.userinfo)
	})
	w.run(t)
	if !t.Failed() {
		publish(t, "Hydra", &w.results)
	}
}
