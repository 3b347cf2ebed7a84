package redisstore_test

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybound-go/middleware/redisstore"
)

// Two services on one Redis do not see each other's proofs.
func ExampleWithPrefix() {
	client := redis.NewClient(&redis.Options{Addr: "redis.internal:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	_, err := redisstore.NewReplayCache(client, redisstore.WithPrefix("orders:"), redisstore.WithTimeout(200*time.Millisecond))
	fmt.Println(err)
	// Output: <nil>
}

// A rotation of the key that seals answers: what the previous one has sealed stays
// readable.
func ExampleWithPreviousKeys() {
	client := redis.NewClient(&redis.Options{Addr: "redis.internal:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	current, previous := []byte("0123456789abcdef0123456789abcdef"), []byte("fedcba9876543210fedcba9876543210")
	_, err := redisstore.NewTokenCache(client, current, redisstore.WithPreviousKeys(previous))
	fmt.Println(err)
	// Output: <nil>
}

// Every mistake is found before the service starts.
func ExampleNewTokenCache_mistakes() {
	client := redis.NewClient(&redis.Options{Addr: "redis.internal:6379"})
	defer client.Close()
	_, err := redisstore.NewTokenCache(client, []byte("short"))
	fmt.Println(err)
	// Output:
	// redisstore: NewTokenCache: the client does not stop at deadlines: set ContextTimeoutEnabled in its options
	// redisstore: NewTokenCache: key 1 has 5 bytes, not 32 or more
}
