package session_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
)

// A browser application presents its token once. After that its cookie stands for
// the token; the proofs that the token calls for come with every request.
func Example() {
	key := make([]byte, 32) // in production the same on every replica, from where secrets are kept
	rand.Read(key)
	sessions, err := session.New(key, session.WithIdleTimeout(10*time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://app.example")),
		middleware.WithDPoP(dpop.New("https://app.example")),
		middleware.WithSession(sessions, nil),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Wrap(http.NotFoundHandler()))
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		sessions.End(w.Header(), r)
		w.WriteHeader(http.StatusNoContent)
	})
	fmt.Println("ready")
	// Output: ready
}
