package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// TestThePage runs the service of docs/chi.md and compares what it says with the page: the
// body, the log line, the metrics, and the status of a call that lacks a scope.
func TestThePage(t *testing.T) {
	text, err := os.ReadFile("../../../docs/chi.md")
	require.NoError(t, err)
	page := string(text)
	var lines bytes.Buffer
	log.SetOutput(&lines) // where slog.Default writes, in the form that a reader of the page sees
	t.Cleanup(func() { log.SetOutput(os.Stderr) })

	issuer := oidctest.NewIssuer(t)
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	service, metrics, err := newService(issuer.URL, server.URL, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	server.Config.Handler = service

	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.Keycloak(), oidctest.Claim("typ", "DPoP"), oidctest.BoundToKey(key.Thumbprint()))
	client := middlewaretest.NewClient(t, server.Client(), key, token)
	call := func(client *http.Client, method string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+"/orders", nil)
		require.NoError(t, err)
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, _ := call(server.Client(), "GET")
	require.Equal(t, 401, status)
	status, body := call(client, "GET")
	require.Equal(t, 200, status)
	require.Regexp(t, "^orders of .+\n$", body)

	// The page's log line, part by part, and its metrics, line by line.
	blocks := regexp.MustCompile("(?ms)^```text\n(.*?)^```").FindAllStringSubmatch(page, -1)
	require.Len(t, blocks, 2)
	for part := range strings.SplitSeq(strings.TrimSpace(blocks[0][1]), " ... ") {
		require.Contains(t, lines.String(), part)
	}
	w := httptest.NewRecorder()
	metrics.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for line := range strings.Lines(blocks[1][1]) {
		require.Contains(t, w.Body.String(), line)
	}

	status, _ = call(client, "POST")
	require.Equal(t, 403, status, "the token lacks the scope")
}
