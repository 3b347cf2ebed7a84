package grpcguard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"

	"google.golang.org/grpc"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/oidc"
)

func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// A server whose every call is guarded, health excepted.
func ExampleNew() {
	guarded, err := grpcguard.New(newGuard(), grpcguard.Exempt("/grpc.health.v1.Health/Check"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(guarded.ServerOptions()...)
	defer server.Stop()
	fmt.Println("ready")
	// Output: ready
}

// Rules for the methods of a service, and more for one of them. A misspelt name is found
// once the services are registered.
func ExampleRequire() {
	guarded, err := grpcguard.New(newGuard(),
		grpcguard.Require("/shop.Orders/*", middleware.Scopes("orders:read")),
		grpcguard.Require("/shop.Orders/Delete", middleware.Scopes("orders:write")),
	)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(guarded.ServerOptions()...)
	defer server.Stop()
	fmt.Println(guarded.CheckMethods(server))
	// Output:
	// grpcguard: Require: the server has no /shop.Orders/
	// grpcguard: Require: the server has no /shop.Orders/Delete
}

// A client that makes a proof for each transmission of a call.
func ExampleNewClient() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	client, err := grpcguard.NewClient(dpopclient.New(key, dpopclient.WithOrigins("https://api.example")))
	if err != nil {
		log.Fatal(err)
	}
	// grpc.NewClient("api.example:443", append(client.DialOptions(), transportCredentials)...)
	fmt.Println(len(client.DialOptions()) > 0)
	// Output: true
}
