package issuers_test

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// newOIDCProvider starts oidc-provider.
func newOIDCProvider(t *testing.T, w *world) *issuer {
	program := need(t, "node")
	need(t, "../node_modules/oidc-provider/package.json")
	port := freePort(t)
	settings := oidcProviderSettings(t, w, port)
	var running *process
	start := func(t *testing.T) {
		cmd := exec.Command(program, "oidc-provider/server.mjs", settings)
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+w.files.authority)
		running = launch(t, cmd)
		require.Equal(t, "listening", running.line(t))
	}
	start(t)
	return &issuer{
		url:    "https://localhost:" + port,
		opaque: opaqueAudience,
		user: func(t *testing.T) userTokens {
			tokens := func(resource string) userTokens {
				return w.userTokens(t, url.Values{"resource": {resource}, "prompt": {"consent"}}, map[string]string{"login": "alice", "password": "alice"})
			}
			u := tokens(audience)
			u.opaque = tokens(opaqueAudience).refreshed
			return u
		},
		nonces: "nonces",
		rotate: func(t *testing.T) {
			require.NoError(t, running.cmd.Process.Signal(syscall.SIGHUP))
			require.Equal(t, "rotated", running.line(t))
		},
		stop:  func(*testing.T) { running.stop() },
		start: start,
	}
}

func oidcProviderSettings(t *testing.T, w *world, port string) (path string) {
	secret := func(id string, more map[string]any) map[string]any {
		c := map[string]any{"client_id": id, "client_secret": id + "-secret"}
		for name, value := range more {
			c[name] = value
		}
		return c
	}
	text, err := json.Marshal(map[string]any{
		"port": port, "certificate": w.files.serverCert, "key": w.files.serverKey, "authority": w.files.authority,
		"state":     t.TempDir(),
		"resources": map[string]string{audience: "jwt", opaqueAudience: "opaque", elsewhere: "jwt"},
		"roles":     map[string][]string{"clerk": {"clerk"}},
		"clients": []map[string]any{
			secret("bearer", nil),
			secret("caller", nil),
			secret("clerk", nil),
			secret("dpop", map[string]any{"dpop_bound_access_tokens": true}),
			secret("nonces", map[string]any{"dpop_bound_access_tokens": true}),
			secret("certificate", map[string]any{"tls_client_certificate_bound_access_tokens": true}),
			secret("elsewhere", nil),
			secret("user", map[string]any{"grant_types": []string{"authorization_code", "refresh_token"},
				"response_types": []string{"code"}, "redirect_uris": []string{callback}}),
			{"client_id": "signed", "token_endpoint_auth_method": "private_key_jwt",
				"jwks_uri": w.service.URL + "/signed.json"},
			{"client_id": "api", "token_endpoint_auth_method": "private_key_jwt",
				"jwks_uri": w.service.URL + "/jwks.json"},
			{"client_id": "gateway", "token_endpoint_auth_method": "private_key_jwt",
				"jwks_uri": w.service.URL + gatewayKeys},
		},
	})
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet(t, newOIDCProvider(t, w))
	t.Run("other tokens", w.otherTokens)
	t.Run("page", func(t *testing.T) {
		readPage(t, "oidc-provider.md").inFile(t, "js", "oidc-provider/server.mjs")
		bound, certified := wish{client: "dpop", resource: audience, dpop: true}, wish{client: "certificate", resource: audience}
		w.onThePage(t, oidcProviderLines, &bound, &certified, nil, w.issuer.user(t).id)
	})
	w.run(t)
	if !t.Failed() {
		publish(t, "oidc-provider", &w.results)
		publish(t, "oidc-provider, Kong's configurations", &w.kong)
	}
}
