package issuers_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/oidc"
)

// newSpring starts Spring Authorization Server.
func newSpring(t *testing.T, w *world) *issuer {
	java := need(t, "java")
	program, err := filepath.Abs(need(t, "../.cache/spring/spring-1.jar"))
	require.NoError(t, err)
	trust := filepath.Join(w.files.dir, "trust.p12") // of the service, whose clients' keys it fetches
	out, err := exec.Command(need(t, "keytool"), "-importcert", "-noprompt", "-alias", "interop", "-file", w.files.authority, "-keystore", trust, "-storepass", "changeit").CombinedOutput()
	require.NoError(t, err, string(out))
	port := freePort(t)
	at := "https://localhost:" + port
	cmd := exec.Command(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Djavax.net.ssl.trustStore="+trust, "-Djavax.net.ssl.trustStorePassword=changeit", "-jar", program)
	cmd.Env = append(os.Environ(), "ISSUER="+at, "INTEROP_SERVICE="+w.service.URL, "SERVER_ADDRESS=127.0.0.1", "SERVER_PORT="+port,
		"SERVER_SSL_CERTIFICATE="+w.files.serverCert, "SERVER_SSL_CERTIFICATEPRIVATEKEY="+w.files.serverKey,
		"SERVER_SSL_TRUSTCERTIFICATE="+w.files.authority, "SERVER_SSL_CLIENTAUTH=want",
		"SPRING_SECURITY_USER_NAME=alice", "SPRING_SECURITY_USER_PASSWORD=alice-password")
	running := launch(t, cmd)
	w.waitFor(t, running, at+"/.well-known/openid-configuration")
	return &issuer{
		url: at, opaque: audience, nonces: "dpop", tlsClient: true,
		profile: []oidc.Option{oidc.WithProfile(oidc.SpringAuthorizationServer)},
		clients: []string{"oauth4webapi", "openid-client", "dpop", "dpopclient", "curl"},
		skip:    []kind{dpopSigned},
		user: func(t *testing.T) userTokens {
			return w.userTokens(t, url.Values{"scope": {"openid orders"}}, map[string]string{"username": "alice", "password": "alice-password"})
		},
	}
}

func TestSpring(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet(t, newSpring(t, w))
	t.Run("other tokens", w.otherTokens)
	t.Run("page", func(t *testing.T) {
		readPage(t, "spring.md").inFile(t, "java", "spring/src/main/java/example/Server.java")
		w.onThePage(t, springLines, &wish{client: "dpop", dpop: true}, &wish{client: "certificate"}, nil, w.issuer.user(t).id)
	})
	w.run(t)
	if !t.Failed() {
		publish(t, "Spring", &w.results)
	}
}
