package session_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/session"
)

// A rotation of the key: what the previous one has sealed stays good until it is over.
func ExampleWithPreviousKeys() {
	current, previous := make([]byte, 32), make([]byte, 32)
	rand.Read(current)
	rand.Read(previous)
	_, err := session.New(current, session.WithPreviousKeys(previous), session.WithLifetime(8*time.Hour))
	fmt.Println(err)
	// Output: <nil>
}

// Pages of another origin of one's own may send unsafe requests within a session; those
// of all others get 403.
func ExampleWithTrustedOrigins() {
	key := make([]byte, 32)
	rand.Read(key)
	_, err := session.New(key,
		session.WithTrustedOrigins("https://admin.example"),
		session.WithSameSite(http.SameSiteLaxMode),
		session.WithCookieName("__Host-orders"),
	)
	fmt.Println(err)
	// Output: <nil>
}
