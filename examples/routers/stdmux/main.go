// Stdmux guards a service on the standard library's mux: a public route, a
// guarded one, and one that demands a scope besides, with CORS for a browser
// application.
//
//	go run ./stdmux    with an issuer of its own, and a client that tries every route
//	go run ./stdmux -issuer https://issuer.example -audience https://api.example -origin https://api.example
package main

import (
	"fmt"
	"net/http"

	"github.com/jub0bs/cors"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/examples/routers/demo"
)

func main() { demo.Serve(newService) }

// newService is everything that a real service would write.
func newService(tokens middleware.TokenVerifier, err error, origin, app string) (http.Handler, error) {
	guard, err := middleware.New(
		middleware.WithTokens(tokens, err),
		middleware.WithDPoP(dpop.New(origin)),
	)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	mux.Handle("GET /orders", guard.Wrap(http.HandlerFunc(orders)))
	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(http.HandlerFunc(orders)))

	crossOrigin, err := cors.NewMiddleware(cors.Config{
		Origins:         []string{app},
		Methods:         []string{http.MethodGet, http.MethodPost},
		RequestHeaders:  []string{"Authorization", "DPoP"},
		ResponseHeaders: []string{"DPoP-Nonce", "WWW-Authenticate"}, // a script must see why it was refused
	})
	if err != nil {
		return nil, err
	}
	// Outermost: a preflight has no credentials, and refusals need CORS fields too.
	return crossOrigin.Wrap(mux), nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	fmt.Fprintf(w, "%s the orders of %s\n", r.Method, credential.Token.Subject)
}
