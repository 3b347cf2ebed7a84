package connectguard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

func newHandlerForExamples() http.Handler {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithDenyHandler(connectguard.Deny),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard.Wrap(http.NotFoundHandler()) // what ordersconnect.NewOrdersHandler returns
}

// The guard in front of the handlers of connect-go: a refusal has the form of the
// client's protocol.
func ExampleDeny() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithDenyHandler(connectguard.Deny),
	)
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/shop.Orders/List", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connect-Protocol-Version", "1")
	w := httptest.NewRecorder()
	guard.Wrap(http.NotFoundHandler()).ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "unauthenticated"))
	// Output: 401 true
}

// A client of gRPC reads the refusal in the fields that its protocol has for it: the
// status of HTTP is 200.
func ExampleDeny_grpc() {
	r := httptest.NewRequest("POST", "/shop.Orders/List", strings.NewReader("\x00\x00\x00\x00\x00"))
	r.Header.Set("Content-Type", "application/grpc")
	w := httptest.NewRecorder()
	newHandlerForExamples().ServeHTTP(w, r)
	answer := w.Result()
	fmt.Println(answer.StatusCode, "grpc-status", answer.Header.Get("Grpc-Status")+answer.Trailer.Get("Grpc-Status"))
	// Output: 200 grpc-status 16
}

// A request that is no call of an RPC gets the guard's ordinary answer.
func ExampleDeny_plain() {
	w := httptest.NewRecorder()
	newHandlerForExamples().ServeHTTP(w, httptest.NewRequest("GET", "/shop.Orders/List", nil))
	scheme, _, _ := strings.Cut(w.Header().Get("WWW-Authenticate"), " ")
	fmt.Println(w.Code, scheme)
	// Output: 401 DPoP
}
