package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// collector is where spans go.
type collector struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.Copy(&c.text, r.Body)
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// The whole service: one request passes, one is refused, and all three tell of it.
func TestLogsMetricsAndTraces(t *testing.T) {
	spans := &collector{}
	sink := httptest.NewServer(spans)
	defer sink.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.URL)
	var lines bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&lines, nil)))
	defer slog.SetDefault(before)

	issuer := oidctest.NewIssuer(t)
	var public http.Handler
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { public.ServeHTTP(w, r) }))
	defer server.Close()
	public, admin, err := service(t.Context(), issuer.URL, server.URL, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Claim("aud", server.URL))
	client := middlewaretest.NewClient(t, server.Client(), key, token)

	resp, err := client.Get(server.URL + "/orders")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode, "%s", lines.String())
	require.Contains(t, string(body), "orders of")
	resp, err = server.Client().Get(server.URL + "/orders")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 401, resp.StatusCode)

	var line struct{ Msg, Reason string }
	all := strings.Split(strings.TrimSpace(lines.String()), "\n")
	require.NoError(t, json.Unmarshal([]byte(all[len(all)-1]), &line))
	require.Equal(t, "no_credentials", line.Reason)

	rec := httptest.NewRecorder()
	admin.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, rec.Body.String(), `keybound_decisions_total{binding="key",guard="default",scheme="DPoP",verdict="passed"} 1`)
	require.Contains(t, rec.Body.String(), `keybound_refusals_total{guard="default",reason="no_credentials"} 1`)
	require.Contains(t, rec.Body.String(), `keybound_issuer_keys{guard="default",issuer="`+issuer.URL+`"} `)

	require.NoError(t, otel.GetTracerProvider().(*trace.TracerProvider).Shutdown(context.Background()))
	for _, want := range []string{"orders", "keybound keys", "keybound.verdict", "passed", "refused", "no_credentials"} {
		require.Contains(t, spans.String(), want)
	}
	require.NotContains(t, spans.String(), token)
}

// All three take ten lines: those that are marked, and the rest of the program has none
// of the packages that they use.
func TestTenLinesAreEnough(t *testing.T) {
	text, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(text), "\n)\n") // the end of the imports
	require.True(t, ok)
	marked := regexp.MustCompile(`// \d+: `)
	count := 0
	for _, l := range strings.Split(code, "\n") {
		if marked.MatchString(l) {
			count++
			continue
		}
		require.NotRegexp(t, `otel|prom|traces|metrics|slog|WithLogger|WithObserver`, l)
	}
	require.Equal(t, 10, count)
}
