// Command auth0 is github.com/auth0/go-jwt-middleware in the comparison of bench/peers,
// as its README sets it up: a GET handler, bare and guarded. It takes ISSUER, AUDIENCE
// and PORT from its environment.
package main

import (
	"cmp"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

func main() {
	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	issuer, err := url.Parse(os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	keys := jwks.NewCachingProvider(issuer, 5*time.Minute)
	tokens, err := validator.New(keys.KeyFunc, validator.ES256, issuer.String(), []string{os.Getenv("AUDIENCE")})
	if err != nil {
		log.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux := http.NewServeMux()
	mux.Handle("GET /bare", answer)
	mux.Handle("GET /guarded", jwtmiddleware.New(tokens.ValidateToken).CheckJWT(answer))
	log.Fatal(http.ListenAndServe(address, mux))
}
