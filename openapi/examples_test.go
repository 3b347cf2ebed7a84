package openapi_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/openapi"
)

func newOperations() *openapi.Operations {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	return openapi.New(guard, "oauth2")
}

func status(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Code
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })

// The security of an operation becomes rules.
func ExampleOperations_Add() {
	operations := newOperations()
	for name, security := range map[string][]map[string][]string{
		"health":     nil, // open
		"listOrders": {{"oauth2": {"orders:read"}}},
	} {
		if err := operations.Add(name, security); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(status(operations.Wrap("health", hello)), status(operations.Wrap("listOrders", hello)))
	// Output: 200 401
}

// An operation that the document lacks is refused, whatever the request has.
func ExampleOperations_Wrap() {
	fmt.Println(status(newOperations().Wrap("deleteOrders", hello)))
	// Output: 503
}

// What the guard cannot decide is refused at start.
func ExampleNew() {
	err := newOperations().Add("admin", []map[string][]string{{"apiKey": {}}})
	fmt.Println(err != nil)
	// Output: true
}
