package connectguard_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jub0bs/cors"
	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

// newHandler guards the handler of a service for a browser application.
func newHandler(tokens middleware.TokenVerifier, err error, path string, handler http.Handler) (http.Handler, error) {
	guard, err := middleware.New(
		middleware.WithTokens(tokens, err),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithDenyHandler(connectguard.Deny),
	)
	if err != nil {
		return nil, err
	}
	browsers, err := cors.NewMiddleware(cors.Config{
		Origins: []string{"https://app.example"},
		Methods: []string{"GET", "POST"},
		RequestHeaders: []string{"Authorization", "DPoP", "Content-Type", "Connect-Protocol-Version", "Connect-Timeout-Ms",
			"X-User-Agent", "X-Grpc-Web", "Grpc-Timeout"},
		ResponseHeaders: []string{"WWW-Authenticate", "DPoP-Nonce", "Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(path, guard.Wrap(handler))
	return browsers.Wrap(mux), nil // outside of the guard: preflights have no credentials
}

func TestBrowsersSeeTheRefusal(t *testing.T) {
	tokens, err := oidc.New("https://issuer.example", "https://api.example")
	h, err := newHandler(tokens, err, unaryCall, http.NotFoundHandler())
	require.NoError(t, err)

	preflight := httptest.NewRequest("OPTIONS", "https://api.example"+unaryCall, nil)
	preflight.Header.Set("Origin", "https://app.example")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	preflight.Header.Set("Access-Control-Request-Headers", "authorization,connect-protocol-version,content-type,dpop")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, preflight)
	require.Less(t, w.Code, 300)
	require.Equal(t, "https://app.example", w.Header().Get("Access-Control-Allow-Origin"))
	require.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), "dpop")

	for mediaType, status := range map[string]int{"application/json": 401, "application/grpc-web+proto": 200} {
		r := httptest.NewRequest("POST", "https://api.example"+unaryCall, nil)
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Content-Type", mediaType)
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
		require.Equal(t, "https://app.example", w.Header().Get("Access-Control-Allow-Origin"))
		exposed := w.Header().Get("Access-Control-Expose-Headers")
		for _, name := range []string{"www-authenticate", "dpop-nonce", "grpc-status"} {
			require.Contains(t, exposed, name)
		}
	}
}
