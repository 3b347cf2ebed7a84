package openapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/openapi"
)

type security = []map[string][]string

func TestSecurityBecomesRules(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	guard := w.Guard()
	const nothing, none, reader = "nothing", "no scopes", "orders:read"
	for name, tc := range map[string]struct {
		security security
		status   map[string]int // by what the client has
	}{
		"no member":     {nil, map[string]int{nothing: 200, none: 200, reader: 200}},
		"an empty list": {security{}, map[string]int{nothing: 200, none: 200, reader: 200}},
		"no scopes":     {security{{"oauth2": {}}}, map[string]int{nothing: 401, none: 200, reader: 200}},
		"nil scopes":    {security{{"oauth2": nil}}, map[string]int{nothing: 401, none: 200, reader: 200}},
		"a scope":       {security{{"oauth2": {"orders:read"}}}, map[string]int{nothing: 401, none: 403, reader: 200}},
		"two scopes":    {security{{"oauth2": {"orders:read", "orders:write"}}}, map[string]int{nothing: 401, none: 403, reader: 403}},
		"optional":      {security{{}, {"oauth2": {"orders:read"}}}, map[string]int{nothing: 200, none: 403, reader: 200}},
		"optional, any": {security{{"oauth2": {}}, {}}, map[string]int{nothing: 200, none: 200, reader: 200}},
		"said twice":    {security{{"oauth2": {"a", "orders:read"}}, {"oauth2": {"orders:read", "a"}}}, map[string]int{nothing: 401, none: 403}},
	} {
		for client, status := range tc.status {
			t.Run(fmt.Sprint(name, ", ", client), func(t *testing.T) {
				operations := openapi.New(guard, "oauth2")
				require.NoError(t, operations.Add("op", tc.security))
				w.Serve(operations.Wrap("op", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
				users := map[string]*http.Client{nothing: w.Anonymous(), none: w.Client(oidctest.Scope("other")), reader: w.Client(oidctest.Scope("orders:read"))}
				resp, err := users[client].Get(w.URL + "/orders")
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, status, resp.StatusCode)
			})
		}
	}
}

func TestAnAnonymousGuardDoesNotOpenAnOperation(t *testing.T) {
	w := middlewaretest.NewWorld(t)
	operations := openapi.New(w.Guard().AllowAnonymous(), "oauth2")
	require.NoError(t, operations.Add("op", security{{"oauth2": {}}}))
	w.Serve(operations.Wrap("op", reached(t)))
	resp, err := w.Anonymous().Get(w.URL + "/")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

func TestWhatTheGuardCannotDecideIsRefusedAtStart(t *testing.T) {
	guard := middlewaretest.NewWorld(t).Guard()
	for name, s := range map[string]security{
		"another scheme":            {{"key": {}}},
		"or another scheme":         {{"oauth2": {}}, {"key": {}}},
		"and another scheme":        {{"oauth2": {}, "key": {}}},
		"one of two scopes":         {{"oauth2": {"a"}}, {"oauth2": {"b"}}},
		"a scope or none":           {{"oauth2": {}}, {"oauth2": {"b"}}},
		"nothing but an empty one":  {{}},
		"a scope that cannot exist": {{"oauth2": {"not a scope"}}},
	} {
		operations := openapi.New(guard, "oauth2")
		require.ErrorContains(t, operations.Add("op", s), `"op"`, name)
		closed(t, operations.Wrap("op", reached(t)))
	}
	operations := openapi.New(guard, "oauth2")
	require.Error(t, operations.Add("", nil))
	require.NoError(t, operations.Add("op", nil))
	require.Error(t, operations.Add("op", nil), "twice")
	require.Error(t, openapi.New(nil, "oauth2").Add("op", nil))
	require.Error(t, openapi.New(guard, "").Add("op", nil))
}

func TestAnUnknownOperationIsClosed(t *testing.T) {
	closed(t, openapi.New(middlewaretest.NewWorld(t).Guard(), "oauth2").Wrap("forgotten", reached(t)))
	closed(t, new(openapi.Operations).Wrap("any", reached(t)))
	require.Error(t, new(openapi.Operations).Add("any", nil))
	zero := openapi.New(&middleware.Guard{}, "oauth2")
	require.NoError(t, zero.Add("op", security{{"oauth2": {"a"}}}))
	closed(t, zero.Wrap("op", reached(t)))
}

func reached(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler runs") })
}

func closed(t *testing.T, h http.Handler) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
}
