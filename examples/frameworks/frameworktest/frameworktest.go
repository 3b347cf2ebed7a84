// Package frameworktest is the test of the examples: the same service behaves alike on
// every framework, and decides as its guard does.
package frameworktest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/middlewaretest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// Run tries the service.
func Run(t *testing.T, service func(*middleware.Guard) http.Handler, opts ...middleware.Option) {
	w := middlewaretest.NewWorld(t)
	w.Serve(service(w.Guard(opts...)))
	anonymous := w.Anonymous()
	reader, writer := w.Client(oidctest.Scope("orders:read")), w.Client(oidctest.Scope("orders:write"))
	thief := w.Client(oidctest.BoundToKey(dpoptest.NewKey(t).Thumbprint()))
	for _, tc := range []struct {
		name         string
		client       *http.Client
		method, path string
		status       int
	}{
		{"the public route takes no token", anonymous, "GET", "/health", 204},
		{"orders take a token", anonymous, "GET", "/orders", 401},
		{"a client with a token and its key reads orders", reader, "GET", "/orders", 204},
		{"reading needs a scope", writer, "GET", "/orders", 403},
		{"one order needs none", writer, "GET", "/orders/1", 204},
		{"one order takes a token", anonymous, "GET", "/orders/1", 401},
		{"the guard comes before the parameters", anonymous, "GET", "/orders/not-a-number", 401},
		{"a stolen token is refused", thief, "GET", "/orders", 401},
		{"writing needs a scope", reader, "POST", "/orders", 403},
		{"with the scope, writing works", writer, "POST", "/orders", 204},
		{"an unknown path has no handler", writer, "GET", "/unknown", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := http.NewRequest(tc.method, w.URL+tc.path, nil)
			require.NoError(t, err)
			a, err := tc.client.Do(r)
			require.NoError(t, err)
			a.Body.Close()
			require.Equal(t, tc.status, a.StatusCode)
		})
	}
	t.Run("no spelling of a path goes around the guard", func(t *testing.T) {
		handler := service(w.Guard(opts...))
		for _, target := range []string{
			"/orders/", "//orders", "/./orders", "/x/../orders", "/%6frders", "/orders%2f1", "/orders;x", "/ORDERS", "/orders//1", "/orders/%31",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "get"} {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, httptest.NewRequest(method, target, nil))
				require.False(t, method != "OPTIONS" && rec.Code/100 == 2, "%s %s is %d", method, target, rec.Code)
			}
		}
	})
}

// Door is the service as a door: one order needs a token without scopes. Place and Open
// are set.
func Door(name, folder string, service func(*middleware.Guard) http.Handler, opts ...middleware.Option) doors.Door {
	return doors.Door{
		Name: name, Folder: "examples/frameworks/" + folder, Options: opts,
		Place: corpus.Place{Origin: "https://api.example", Method: "GET", Target: "/orders/1"},
		Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
			handler := service(g)
			return func(q doors.Question) doors.Answer {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, q.Request)
				return doors.Answer{Passed: rec.Code == 204, Status: rec.Code, Header: rec.Header()}
			}
		},
	}
}

// Must is for services whose document can be wrong.
func Must(t *testing.T, service func(*middleware.Guard) (http.Handler, error)) func(*middleware.Guard) http.Handler {
	return func(g *middleware.Guard) http.Handler {
		h, err := service(g)
		require.NoError(t, err)
		return h
	}
}
