package issuers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

const keycloakHome = "../.cache/keycloak"

// newKeycloak starts Keycloak with the realm of keycloak/realm.json and a new database.
func newKeycloak(t *testing.T, w *world) *issuer {
	need(t, "java")
	program, err := filepath.Abs(need(t, keycloakHome+"/bin/kc.sh"))
	require.NoError(t, err)
	realm, err := os.ReadFile("keycloak/realm.json")
	require.NoError(t, err)
	imports := filepath.Join(keycloakHome, "data", "import")
	require.NoError(t, os.MkdirAll(imports, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(imports, "realm.json"), realm, 0o644))
	require.NoError(t, os.RemoveAll(filepath.Join(keycloakHome, "data", "h2")))

	port, plain := freePort(t), freePort(t)
	base := "https://localhost:" + port
	k := &keycloak{world: w, base: base, url: base + "/realms/interop"}
	var running *process
	start := func(t *testing.T) {
		cmd := exec.Command(program, "start-dev", "--import-realm",
			"--http-host=127.0.0.1", "--https-port="+port, "--http-port="+plain, "--hostname="+base,
			"--https-client-auth=request", // and any certificate of the truststore will do
			"--truststore-paths="+w.files.authority,
			"--https-certificate-file="+w.files.serverCert, "--https-certificate-key-file="+w.files.serverKey)
		cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin",
			"INTEROP_SERVICE="+w.service.URL, "JAVA_OPTS_APPEND=-Xmx768m -XX:TieredStopAtLevel=1") // It lives for minutes.
		running = launch(t, cmd)
		k.waitFor(t, running)
	}
	start(t)
	return &issuer{
		url:     k.url,
		opaque:  audience, // It has no opaque tokens; its JWTs can be introspected all the same.
		nonces:  "dpop",   // It asks for no nonces itself.
		profile: []oidc.Option{oidc.WithProfile(oidc.Keycloak)},
		skip:    []kind{dpopSigned},
		user: func(t *testing.T) userTokens {
			form := url.Values{
				"grant_type": {"password"}, "client_id": {"user"}, "client_secret": {"user-secret"},
				"username": {"alice"}, "password": {"alice-password"}, "scope": {"openid"},
			}
			first := k.grant(t, w.files.client(nil), "interop", form)
			again := k.grant(t, w.files.client(nil), "interop", url.Values{
				"grant_type": {"refresh_token"}, "client_id": {"user"}, "client_secret": {"user-secret"}, "refresh_token": {first.RefreshToken},
			})
			return userTokens{access: first.AccessToken, refreshed: again.AccessToken, id: first.IDToken, refresh: first.RefreshToken, userinfo: k.userinfo(t, first.AccessToken)}
		},
		rotate: k.rotate,
		stop:   func(*testing.T) { running.stop() },
		start:  start,
	}
}

type keycloak struct {
	world     *world
	base, url string
}

// waitFor waits until Keycloak answers; its first start of all builds it, and takes
// minutes.
func (k *keycloak) waitFor(t *testing.T, running *process) {
	t.Helper()
	client := k.world.files.client(nil)
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		select {
		case <-running.ended:
			t.Fatalf("Keycloak ended:\n%s", running.log)
		default:
		}
		resp, err := client.Get(k.url + "/.well-known/openid-configuration")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("Keycloak does not start:\n%s", running.log)
}

// grant is what the token endpoint of a realm answers.
type grant struct {
	AccessToken  string `json:"access_token"`
	IDToken      string `json:"id_token"`
	RefreshToken string `json:"refresh_token"`
}

func (k *keycloak) grant(t *testing.T, client *http.Client, realm string, form url.Values) (answer grant) {
	t.Helper()
	resp, err := client.PostForm(k.base+"/realms/"+realm+"/protocol/openid-connect/token", form)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer
}

// userinfo returns what the user's client is told of the user: a JWT.
func (k *keycloak) userinfo(t *testing.T, accessToken string) string {
	r, err := http.NewRequest(http.MethodGet, k.url+"/protocol/openid-connect/userinfo", nil)
	require.NoError(t, err)
	r.Header = bearer(accessToken)
	resp, err := k.world.files.client(nil).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(text))
	require.Equal(t, "application/jwt", strings.Split(resp.Header.Get("Content-Type"), ";")[0])
	return string(text)
}

// rotate adds a key with a higher priority, as an administrator would.
func (k *keycloak) rotate(t *testing.T) {
	t.Helper()
	k.administer(t, "/admin/realms/interop/components", map[string]any{
		"name": "next", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": map[string][]string{"priority": {"200"}, "algorithm": {"RS256"}, "keySize": {"2048"}},
	})
}

// administer creates something by the admin API.
func (k *keycloak) administer(t *testing.T, path string, what map[string]any) {
	t.Helper()
	client := k.world.files.client(nil)
	admin := k.grant(t, client, "master", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"},
	})
	body, err := json.Marshal(what)
	require.NoError(t, err)
	r, err := http.NewRequest(http.MethodPost, k.base+path, bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+admin.AccessToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusCreated, resp.StatusCode)
}

func TestKeycloak(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet(t, newKeycloak(t, w))
	t.Run("profile", w.keycloakProfile)
	t.Run("other tokens", w.otherTokens)
	t.Run("page", w.keycloakPage)
	t.Run("spellings", w.spelt)
	t.Run("rollout", w.rollout)
	t.Run("the pages of Kong", w.pages)
	w.run(t)
	if !t.Failed() {
		publish(t, "Keycloak", &w.results)
		publish(t, "Keycloak, Kong's configurations", &w.kong)
	}
}

// keycloakProfile: oidc.Keycloak accepts all of Keycloak's access tokens and nothing else
// of what it signs, and each of the profile's relaxations is one that they need.
func (w *world) keycloakProfile(t *testing.T) {
	k := &keycloak{world: w, base: w.issuer.url[:len(w.issuer.url)-len("/realms/interop")], url: w.issuer.url}
	trust := oidc.WithHTTPClient(w.files.client(nil))
	verifier := func(t *testing.T, audience string, opts ...oidc.Option) *oidc.Verifier {
		v, err := oidc.New(w.issuer.url, audience, append(opts, trust)...)
		require.NoError(t, err)
		t.Cleanup(func() { v.Close() })
		return v
	}
	user := k.grant(t, w.files.client(nil), "interop", url.Values{
		"grant_type": {"password"}, "client_id": {"user"}, "client_secret": {"user-secret"},
		"username": {"alice"}, "password": {"alice-password"}, "scope": {"openid"},
	})
	tokens := map[string]struct{ raw, typ string }{
		"bearer":      {curl{}.open(t, w, wish{client: "bearer"}).token(), "Bearer"},
		"certificate": {curl{}.open(t, w, wish{client: "certificate"}).token(), "Bearer"},
		"dpop":        {own{}.open(t, w, wish{client: "dpop", dpop: true}).token(), "DPoP"},
		"user":        {user.AccessToken, "Bearer"},
	}
	for name, token := range tokens {
		t.Run("an access token: "+name, func(t *testing.T) {
			var header struct{ Typ string }
			var claims struct {
				Typ, Azp string
				ClientID string `json:"client_id"`
			}
			part(t, token.raw, 0, &header)
			part(t, token.raw, 1, &claims)
			require.Equal(t, "JWT", header.Typ, "the profile need not accept it any more")
			require.Equal(t, token.typ, claims.Typ)
			require.Equal(t, name, claims.Azp)
			require.Empty(t, claims.ClientID, "the profile need not read azp any more")

			verified, err := verifier(t, audience, oidc.WithProfile(oidc.Keycloak)).VerifyToken(context.Background(), token.raw)
			require.NoError(t, err)
			require.Equal(t, name, verified.ClientID)
			require.Contains(t, verified.Audience, audience)

			_, err = verifier(t, audience).VerifyToken(context.Background(), token.raw)
			require.ErrorIs(t, err, oidc.ErrTypeJWT, "RFC 9068")
			require.Contains(t, oidc.ErrTypeJWT.Hint(), "WithProfile")
		})
	}
	for name, raw := range map[string]string{
		"an ID token": user.IDToken, "a refresh token": user.RefreshToken, "what userinfo signs": k.userinfo(t, user.AccessToken),
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEmpty(t, raw)
			var claims struct{ Aud any }
			part(t, raw, 1, &claims)
			aud, ok := claims.Aud.(string)
			require.True(t, ok, "%v", claims.Aud)
			_, err := verifier(t, aud, oidc.WithProfile(oidc.Keycloak)).VerifyToken(context.Background(), raw)
			var kind oidc.TokenError
			require.ErrorAs(t, err, &kind)
			if name == "an ID token" { // The other one is signed with a MAC.
				require.Equal(t, oidc.ErrNotAccessToken, kind)
			}
		})
	}
}
