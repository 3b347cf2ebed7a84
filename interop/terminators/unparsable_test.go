package terminators_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// openssl runs the program, which makes and uses what Go's libraries refuse.
func openssl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("INTEROP_REQUIRED") == "" {
		t.Skip("!! NOT TESTED: openssl is not on this machine")
	}
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, _ := cmd.CombinedOutput() // The status of s_client says little.
	return string(out)
}

// Certificates that crypto/x509 cannot parse, from a client that speaks TLS with them.
// Caddy is a Go program and ends the handshake; where the others forward the certificate,
// its digest decides. (For brainpool curves, they need a setting of
// their own, such as nginx's ssl_ecdh_curve.)
func TestCertificatesThatGoCannotParse(t *testing.T) {
	ec := func(curve string, more ...string) []string {
		return append([]string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve}, more...)
	}
	kinds := map[string]struct{ key, more []string }{
		"negative serial": {ec("P-256"), []string{"-set_serial", "-7"}},
		"odd name":        {ec("P-256"), []string{"-addext", "subjectAltName=DER:30:07:87:05:0a:00:00:01:00"}},
	}
	onEach(t, func(t *testing.T, s *stage) {
		for name, kind := range kinds {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
				openssl(t, "", append(kind.key, "-out", key)...)
				openssl(t, "", append([]string{"req", "-x509", "-new", "-key", key, "-days", "1", "-subj", "/CN=client", "-out", cert}, kind.more...)...)
				text, err := os.ReadFile(cert)
				require.NoError(t, err)
				block, _ := pem.Decode(text)
				sum := sha256.Sum256(block.Bytes)

				for bound, want := range map[string]int{base64.RawURLEncoding.EncodeToString(sum[:]): 200, s.right.x5t(): 401} {
					raw := fmt.Sprintf("GET /orders HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", bound)
					out := openssl(t, raw, "s_client", "-connect", s.address, "-servername", "api.example", "-cert", cert, "-key", key,
						"-tls1_2", "-quiet", "-ign_eof", "-sigalgs", "ECDSA+SHA256:RSA+SHA256")
					if _, ok := s.server.(caddy); ok {
						require.NotContains(t, out, "HTTP/1.1 200")
						continue
					}
					require.Contains(t, out, fmt.Sprintf("HTTP/1.1 %d", want), "the field held %q", s.service.forwarded())
				}
			})
		}
	})
}
