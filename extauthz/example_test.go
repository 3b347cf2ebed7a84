package extauthz_test

import (
	"log"
	"net"
	"net/netip"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// The whole program beside Envoy.
func Example() {
	envoy := netip.MustParsePrefix("10.1.2.3/32")
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate(extauthz.CertificateField, mtlspop.PEM, envoy))),
		middleware.RequireTLS(envoy),
	)
	if err != nil {
		log.Fatal(err)
	}
	server, err := extauthz.New(guard, extauthz.WithEnvoy(envoy))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "10.1.2.4:9090")
	if err != nil {
		log.Fatal(err)
	}
	rpc := grpc.NewServer()
	authv3.RegisterAuthorizationServer(rpc, server)
	log.Fatal(rpc.Serve(listener))
}
