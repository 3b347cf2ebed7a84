// The example of package grpcguard: a gRPC server behind a guard, and a client that signs
// its calls. An issuer runs in the same process.
//
//	go run .
//
// server.go and client.go are what a service of your own has; main.go puts them together.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware/dpop/dpopclient"
	pb "github.com/keybound-go/middleware/examples/grpc/orderspb"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

//go:generate protoc --go_out=orderspb --go_opt=paths=source_relative --go-grpc_out=orderspb --go-grpc_opt=paths=source_relative orders.proto

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts issuer and server, and makes some calls.
func run(ctx context.Context, out io.Writer) error {
	issuer, err := oidctest.Start()
	if err != nil {
		return err
	}
	defer issuer.Close()
	tokens, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		return err
	}
	defer tokens.Close()

	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	origin := fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	identity, roots, err := selfSigned("localhost")
	if err != nil {
		return err
	}
	server, err := newServer(tokens, nil, origin, []byte(rand.Text()+rand.Text()), credentials.NewServerTLSFromCert(identity))
	if err != nil {
		return err
	}
	go server.Serve(listener)
	defer server.Stop()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// In place of a token source that asks the issuer with a proof of the key.
	jkt := dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
		return issuer.Token(oidctest.BoundToKey(thumbprint(key)), oidctest.Claim("scope", "orders")), "DPoP", nil
	})
	conn, err := newClient(origin[len("https://"):], origin, key, jkt, credentials.NewClientTLSFromCert(roots, ""))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewOrdersClient(conn)

	order, err := client.Place(ctx, &pb.PlaceRequest{Item: "tea"})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Place: %s for %s\n", order.Item, order.Customer)
	stream, err := client.Watch(ctx, new(pb.WatchRequest))
	if err != nil {
		return err
	}
	if order, err = stream.Recv(); err != nil {
		return err
	}
	fmt.Fprintf(out, "Watch: %s\n", order.Item)
	_, err = client.Delete(ctx, &pb.DeleteRequest{Id: order.Id})
	fmt.Fprintf(out, "Delete, without its scope: %s\n", status.Convert(err).Message())

	// Without credentials.
	other, err := newPlainClient(origin[len("https://"):], credentials.NewClientTLSFromCert(roots, ""))
	if err != nil {
		return err
	}
	defer other.Close()
	_, err = pb.NewOrdersClient(other).Place(ctx, new(pb.PlaceRequest))
	fmt.Fprintf(out, "Place, without a token: %s\n", status.Code(err))
	health, err := healthpb.NewHealthClient(other).Check(ctx, new(healthpb.HealthCheckRequest))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Health, without a token: %s\n", health.Status)
	return nil
}

// thumbprint is that of the key, by which the issuer binds tokens to it.
func thumbprint(key *ecdsa.PrivateKey) string {
	t, err := dpopclient.New(key, dpopclient.WithOrigins("https://localhost"))
	if err != nil {
		return ""
	}
	return t.Thumbprint()
}

// selfSigned makes a certificate for a host, and the pool that trusts it.
func selfSigned(host string) (*tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots, nil
}
