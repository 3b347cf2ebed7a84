// Gorilla guards a service on gorilla/mux: a public route, a guarded one, and one
// that demands a scope besides, with CORS for a browser application.
//
//	go run ./gorilla    with an issuer of its own, and a client that tries every route
//	go run ./gorilla -issuer https://issuer.example -audience https://api.example -origin https://api.example
package main

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
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
	router := mux.NewRouter()
	router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }).Methods("GET")
	guarded := router.PathPrefix("/orders").Subrouter()
	guarded.Use(guard.Wrap)
	guarded.HandleFunc("", orders).Methods("GET")
	// Nested in the guard above: the request is verified once, the rules add up.
	guarded.Handle("", guard.Require(middleware.Scopes("orders:write")).Wrap(http.HandlerFunc(orders))).Methods("POST")

	crossOrigin, err := cors.NewMiddleware(cors.Config{
		Origins:         []string{app},
		Methods:         []string{http.MethodGet, http.MethodPost},
		RequestHeaders:  []string{"Authorization", "DPoP"},
		ResponseHeaders: []string{"DPoP-Nonce", "WWW-Authenticate"}, // a script must see why it was refused
	})
	if err != nil {
		return nil, err
	}
	// Around the router, not in its Use: gorilla runs what is in Use only for
	// requests that match a route and its method, and preflights match none.
	return crossOrigin.Wrap(router), nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	fmt.Fprintf(w, "%s the orders of %s\n", r.Method, credential.Token.Subject)
}
