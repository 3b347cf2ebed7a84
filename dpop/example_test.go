package dpop_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/dpop"
)

func ExampleNew() {
	verifier, err := dpop.New("https://api.example/v1", // what clients call it; a proxy strips /v1
		dpop.WithInternalHosts("orders:8080"), // and writes its own Host
		dpop.WithLifetime(30*time.Second),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verifier.Settings().Origins)
	// Output: [https://api.example/v1]
}

func ExampleNew_mistakes() {
	_, err := dpop.New("http://api.example", dpop.WithAlgorithms("HS256"), dpop.WithLifetime(0))
	fmt.Println(err)
	// Output:
	// dpop: WithAlgorithms: "HS256" is not an algorithm for proofs
	// dpop: WithLifetime: 0s is not between 0 and 1h0m0s
	// dpop: origin "http://api.example": not https (see DangerouslyAllowPlainHTTP)
}

func ExampleVerifier_Verify() {
	verifier, err := dpop.New("https://api.example")
	if err != nil {
		log.Fatal(err)
	}
	// The token is verified elsewhere; thumbprint is the jkt of its cnf claim.
	handler := func(w http.ResponseWriter, r *http.Request, token, thumbprint string) {
		_, err := verifier.Verify(r, token, thumbprint)
		switch err := err.(type) {
		case nil:
			fmt.Fprintln(w, "hello")
		case dpop.ProofError:
			http.Error(w, err.Description(), http.StatusUnauthorized)
		default:
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	}
	_ = handler
}

func ExampleWithNonces() {
	key := []byte("32 bytes from crypto/rand, shared by all replicas")
	_, err := dpop.New("https://api.example", dpop.WithNonces(dpop.NewNonces(key)))
	fmt.Println(err)
	// Output: <nil>
}
