package extauthz_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/oidc"
)

func newGuard() *middleware.Guard {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithCallerAddress(extauthz.CallerAddress), // the client's, and not Envoy's
	)
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

// Envoy on the same machine, over a unix socket.
func ExampleTrustUnixSocket() {
	_, err := extauthz.New(newGuard(), extauthz.TrustUnixSocket(), extauthz.WithLogger(slog.Default()))
	fmt.Println(err)
	// Output: <nil>
}

// The service behind gets a signed assertion, which forwardauth.NewReceiver reads.
func ExampleWithAssertion() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	_, err = extauthz.New(newGuard(),
		extauthz.WithEnvoy(netip.MustParsePrefix("10.1.2.3/32")),
		extauthz.WithAssertion(extauthz.NewSigner("orders", key)))
	fmt.Println(err)
	// Output: <nil>
}

// What Envoy asks and what it is told: a request without a token is denied with the
// challenges that the client needs.
func ExampleServer_Check() {
	server, err := extauthz.New(newGuard(), extauthz.TrustUnixSocket())
	if err != nil {
		log.Fatal(err)
	}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.UnixAddr{Name: "/run/guard.sock", Net: "unix"}})
	answer, err := server.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Host: "api.example", Path: "/orders", Scheme: "https", Protocol: "HTTP/2",
			Headers: map[string]string{":authority": "api.example", "user-agent": "curl"},
		}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.GetDeniedResponse().GetStatus().GetCode())
	// Output: Unauthorized
}
