package dpoptest_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
)

func newVerifier() *dpop.Verifier {
	verifier, err := dpop.New("https://api.example")
	if err != nil {
		log.Fatal(err)
	}
	return verifier
}

// Every fault of a proof must be refused. What a client may do differently must pass.
func ExampleBroken() {
	t := new(testing.T) // a test gets its own
	key := dpoptest.NewKey(t)
	verifier := newVerifier()
	accepted := func(proof string) bool {
		r := httptest.NewRequest("GET", "https://api.example/orders", nil)
		r.Header.Set("DPoP", proof)
		_, err := verifier.Verify(r, "token", key.Thumbprint())
		return err == nil
	}
	for _, broken := range dpoptest.Broken() {
		if accepted(broken.Proof(key, "GET", "https://api.example/orders", "token")) {
			fmt.Println("accepted:", broken.Name)
		}
	}
	for _, unusual := range dpoptest.Unusual() {
		if !accepted(unusual.Proof(key, "GET", "https://api.example/orders", "token")) {
			fmt.Println("refused:", unusual.Name)
		}
	}
	// Output:
}

// One thing wrong, on purpose: a proof that is an hour old.
func ExampleKey_Proof() {
	t := new(testing.T) // a test gets its own
	key := dpoptest.NewKey(t)
	r := httptest.NewRequest("GET", "https://api.example/orders", nil)
	r.Header.Set("DPoP", key.Proof("GET", "https://api.example/orders", "token",
		dpoptest.IssuedAt(time.Now().Add(-time.Hour))))
	_, err := newVerifier().Verify(r, "token", key.Thumbprint())
	fmt.Println(err)
	// Output: dpop: DPoP proof is too old
}

// An honest request, and the same once more.
func ExampleKey_Sign() {
	t := new(testing.T) // a test gets its own
	key := dpoptest.NewKey(t)
	verifier := newVerifier()
	r := httptest.NewRequest("GET", "https://api.example/orders", nil)
	key.Sign(r, "token")
	for range 2 {
		_, err := verifier.Verify(r, "token", key.Thumbprint())
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// dpop: DPoP proof has been used before
}
