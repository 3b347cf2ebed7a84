package grpcguardtest_test

import (
	"fmt"
	"log"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/grpcguard/grpcguardtest"
	"github.com/keybound-go/middleware/oidc"
)

// newServer is the server of the service, with the health service besides.
func newServer(opts ...grpcguard.Option) *grpc.Server {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
	)
	if err != nil {
		log.Fatal(err)
	}
	guarded, err := grpcguard.New(guard, opts...)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(guarded.ServerOptions()...)
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server
}

// Every method of a server refuses a call without credentials.
func ExampleAllGuarded() {
	t := new(testing.T) // a test gets its own
	grpcguardtest.AllGuarded(t, newServer())
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// Methods that are open on purpose are named.
func ExampleAllGuarded_exempt() {
	t := new(testing.T) // a test gets its own
	server := newServer(grpcguard.Exempt("/grpc.health.v1.Health/Check"))
	grpcguardtest.AllGuarded(t, server, "/grpc.health.v1.Health/Check")
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// A server whose interceptors were forgotten fails the test.
func ExampleAllGuarded_forgotten() {
	t := new(testing.T) // a test gets its own
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	grpcguardtest.AllGuarded(t, server)
	fmt.Println("failed:", t.Failed())
	// Output: failed: true
}
