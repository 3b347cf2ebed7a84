// Stdmux guards a service on the standard library's mux: a public route, a
// guarded one, and one that demands a scope besides, with CORS for a browser
// application.
//
//	go run .                                                  with an issuer of its own, and a client that tries every route
//	go run . -issuer https://issuer.example -audience https://api.example -origin https://api.example
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/jub0bs/cors"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

func main() {
	issuer := flag.String("issuer", "", "issuer of the access tokens; without it, one that runs in this process")
	audience := flag.String("audience", "", "what the tokens call this service; by default its origin")
	listen := flag.String("listen", "localhost:8080", "address to serve plain HTTP on, behind a proxy that ends TLS")
	origin := flag.String("origin", "", "what clients call this service; by default http:// and the address")
	app := flag.String("app", "https://app.example", "origin of the browser application that may call this service")
	flag.Parse()
	if *origin == "" {
		*origin = "http://" + *listen
	}
	if *audience == "" {
		*audience = *origin
	}
	tokens, err := oidc.New(*issuer, *audience)
	if *issuer == "" {
		tokens, err = demonstrate(*origin, *audience)
	}
	service, err := newService(tokens, err, *origin, *app)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving %s", *origin)
	log.Fatal(http.ListenAndServe(*listen, service))
}

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
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello, whoever you are") })
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
