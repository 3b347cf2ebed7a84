package fiber_test

import (
	"net"
	"net/http"
	"testing"

	fiberframework "github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/examples/frameworks/fiber"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc/oidctest"

	"github.com/keybound-go/middleware"
)

// Fiber serves by itself: an http.Handler made of it would lose duplicate fields.
func TestTheService(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	origin := "http://" + l.Addr().String()
	guard, err := middleware.New(w.Options()[0], middleware.WithDPoP(dpop.New(origin)))
	require.NoError(t, err)
	app := fiber.New(guard)
	go app.Listener(l, fiberframework.ListenConfig{DisableStartupMessage: true})
	t.Cleanup(func() { app.Shutdown() })
	client := func(scope string) *http.Client {
		key := dpoptest.NewKey(t)
		return middlewaretest.NewClient(t, nil, key, w.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.Scope(scope)))
	}
	anonymous, reader, writer := http.DefaultClient, client("orders:read"), client("orders:write")
	for _, tc := range []struct {
		client       *http.Client
		method, path string
		status       int
	}{
		{anonymous, "GET", "/health", 204},
		{anonymous, "GET", "/orders", 401},
		{anonymous, "GET", "/orders/1", 401},
		{reader, "GET", "/orders", 204},
		{writer, "GET", "/orders", 403},
		{writer, "GET", "/orders/1", 204},
		{reader, "POST", "/orders", 403},
		{writer, "POST", "/orders", 204},
		{anonymous, "GET", "/unknown", 404},
	} {
		r, err := http.NewRequest(tc.method, origin+tc.path, nil)
		require.NoError(t, err)
		a, err := tc.client.Do(r)
		require.NoError(t, err)
		a.Body.Close()
		require.Equal(t, tc.status, a.StatusCode, "%s %s", tc.method, tc.path)
	}
}
