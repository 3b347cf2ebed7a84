package redisstore_test

import (
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/redisstore"
)

// A service of which any number of replicas may run.
func Example() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "redis.internal:6379",
		ContextTimeoutEnabled: true, // or a dead server holds every request for seconds
	})
	proofs, err := redisstore.NewReplayCache(client)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := redisstore.NewTokenCache(client, []byte(os.Getenv("TOKEN_CACHE_KEY")),
		redisstore.WithErrorReport(func(err error) { log.Print(err) }))
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(
		middleware.WithTokens(oidc.NewIntrospector("https://issuer.example", "https://api.example",
			oidc.ClientSecretBasic("orders", os.Getenv("CLIENT_SECRET")), oidc.WithSharedCache(tokens))),
		middleware.WithDPoP(dpop.New("https://api.example", dpop.WithReplayCache(proofs, nil))),
	)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", guard.Wrap(http.NotFoundHandler())))
}
