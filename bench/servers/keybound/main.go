// Command keybound is this module in the comparison of bench/peers: a GET handler,
// bare and guarded. It takes ISSUER, AUDIENCE and PORT from its environment.
package main

import (
	"cmp"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

func main() {
	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(os.Getenv("ISSUER"), os.Getenv("AUDIENCE"), oidc.DangerouslyAllowLoopbackHTTP())),
		middleware.WithDPoP(dpop.New("http://"+address)),
		middleware.AllowUnbound(), // as the others do by default
	)
	if err != nil {
		log.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux := http.NewServeMux()
	mux.Handle("GET /bare", answer)
	mux.Handle("GET /guarded", guard.Wrap(answer))
	log.Fatal(http.ListenAndServe(address, mux))
}
