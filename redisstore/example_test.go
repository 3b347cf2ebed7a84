package redisstore_test

import (
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/redisstore"
)

// A service of which any number of replicas may run.
func Example() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "redis.internal:6379",
		ContextTimeoutEnabled: true, // or a dead server holds every request for seconds
	})
	issuer, err := oidc.NewIssuer("https://issuer.example")
	if err != nil {
		log.Fatal(err)
	}
	defer issuer.Close()
	guard, err := middleware.New(
		middleware.WithTokens(introspect.New(issuer, "https://api.example",
			clientauth.SecretBasic("orders", os.Getenv("CLIENT_SECRET")),
			introspect.WithStore(redisstore.NewTokenCache(client, []byte(os.Getenv("TOKEN_CACHE_KEY")),
				redisstore.WithErrorReport(func(err error) { log.Print(err) }))))),
		middleware.WithDPoP(dpop.New("https://api.example",
			dpop.WithReplayCache(redisstore.NewReplayCache(client)))),
	)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", guard.Wrap(http.NotFoundHandler())))
}
