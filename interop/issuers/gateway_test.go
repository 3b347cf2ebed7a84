package issuers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"github.com/stretchr/testify/require"
)

const gatewayModule = "../../gateway"

// gatewayProgram builds the gateway, once.
func (w *world) gatewayProgram(t *testing.T) string {
	if w.gateway == "" {
		w.gateway = w.program(t, gatewayModule)
	}
	return w.gateway
}

// program builds the program of a module of this repository.
func (w *world) program(t *testing.T, module string) string {
	program := filepath.Join(w.files.dir, filepath.Base(module))
	build := exec.Command(need(t, "go"), "build", "-o", program, ".")
	build.Dir = module
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// startGateway runs the gateway with httpbin behind it.
func (w *world) startGateway(t *testing.T, f *flow) *place {
	at := &place{backend: &backend{handler: httpbin.New()}}
	upstream := httptest.NewServer(at.backend)
	t.Cleanup(upstream.Close)

	cmd := exec.Command(w.gatewayProgram(t), append([]string{
		"-config", filepath.Join(gatewayModule, "testdata", f.file), "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0",
		"-tls-cert", w.files.serverCert, "-tls-key", w.files.serverKey, "-issuer-ca", w.files.authority,
	}, f.flags...)...)
	cmd.Env = append(append(os.Environ(), w.ownKey(t)...),
		"DECK_ISSUER="+w.issuer.url, "DECK_UPSTREAM="+upstream.URL, "DECK_CLIENT_ID=bearer", "DECK_CLIENT_SECRET=bearer-secret",
		"DECK_CA_CERT_ID=a1b2c3d4-0000-4000-8000-000000000001",
		"DECK_CA_CERT="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.files.ca.Certificate.Raw})))
	running := launch(t, cmd)
	t.Cleanup(func() {
		running.stop()
		require.Zero(t, running.cmd.ProcessState.ExitCode(), "the gateway does not stop gracefully:\n%s", running.log)
		for _, secret := range at.secrets {
			require.NotContains(t, running.log.String(), secret)
		}
	})
	admin, ok := strings.CutPrefix(running.line(t), "gateway: admin on ")
	require.True(t, ok, running.log)
	at.guard, ok = strings.CutPrefix(running.line(t), "gateway: listening on ")
	require.True(t, ok, running.log)
	at.log = running.log

	adminURL, err := url.Parse(admin)
	require.NoError(t, err)
	w.service.gateway.Store(adminURL)
	t.Cleanup(func() { w.service.gateway.Store(nil) })
	resp, err := w.files.client(nil).Get(at.guard + "/-/readyz")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, running.log)
	return at
}

// ownKey is a new key for the gateway, as client-credentials.yaml reads it.
func (w *world) ownKey(t *testing.T) (env []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	d, err := key.Bytes()
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	for name, n := range map[string][]byte{"D": d, "X": point[1:33], "Y": point[33:]} {
		env = append(env, "DECK_JWK_"+name+"="+base64.RawURLEncoding.EncodeToString(n))
	}
	return env
}
