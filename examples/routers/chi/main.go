// Chi guards a service on chi: a public route, a guarded group, and a route in it
// that demands a scope besides, with CORS for a browser application.
//
//	go run ./chi    with an issuer of its own, and a client that tries every route
//	go run ./chi -issuer https://issuer.example -audience https://api.example -origin https://api.example
package main

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
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
	crossOrigin, err := cors.NewMiddleware(cors.Config{
		Origins:         []string{app},
		Methods:         []string{http.MethodGet, http.MethodPost},
		RequestHeaders:  []string{"Authorization", "DPoP"},
		ResponseHeaders: []string{"DPoP-Nonce", "WWW-Authenticate"}, // a script must see why it was refused
	})
	if err != nil {
		return nil, err
	}
	router := chi.NewRouter()
	// Outermost: a preflight has no credentials, and refusals need CORS fields
	// too. Use runs before chi looks for a route, so that OPTIONS finds it.
	router.Use(crossOrigin.Wrap)
	router.Get("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	router.Group(func(guarded chi.Router) {
		guarded.Use(guard.Wrap)
		guarded.Get("/orders", orders)
		// Nested in the guard above: the request is verified once, the rules add up.
		guarded.With(guard.Require(middleware.Scopes("orders:write")).Wrap).Post("/orders", orders)
	})
	return router, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	fmt.Fprintf(w, "%s the orders of %s\n", r.Method, credential.Token.Subject)
}
