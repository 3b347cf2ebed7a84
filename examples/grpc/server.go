package main

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	pb "github.com/keybound-go/middleware/examples/grpc/orderspb"
	"github.com/keybound-go/middleware/grpcguard"
)

// newServer makes the server: every call needs a token that is bound to a key, and a
// proof of that key. Delete needs a scope besides, and health checks need nothing.
func newServer(tokens middleware.TokenVerifier, err error, origin string, nonceKey []byte, creds credentials.TransportCredentials) (*grpc.Server, error) {
	guard, err := middleware.New(
		middleware.WithTokens(tokens, err),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(nonceKey)))),
		middleware.RequireTLS(),
		middleware.EndResponsesWithToken(), // streams end with their token
	)
	if err != nil {
		return nil, err
	}
	calls, err := grpcguard.New(guard,
		grpcguard.Require(pb.Orders_Delete_FullMethodName, middleware.Scopes("orders:delete")),
		grpcguard.Exempt(healthpb.Health_Check_FullMethodName, healthpb.Health_Watch_FullMethodName),
	)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(append(calls.ServerOptions(), grpc.Creds(creds))...)
	pb.RegisterOrdersServer(server, new(orders))
	healthpb.RegisterHealthServer(server, health.NewServer())
	return server, calls.CheckMethods(server) // no name above is misspelt
}

// orders are the orders of all customers.
type orders struct {
	pb.UnimplementedOrdersServer

	mu  sync.Mutex
	all []*pb.Order
}

// customer is who calls: the guard has verified it.
func customer(ctx context.Context) string {
	credential, ok := middleware.FromContext(ctx)
	if !ok {
		return "" // no handler of Orders is reached without
	}
	return credential.Token.Subject
}

func (o *orders) Place(ctx context.Context, r *pb.PlaceRequest) (*pb.Order, error) {
	order := &pb.Order{Id: rand.Text(), Item: r.Item, Customer: customer(ctx)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, order)
	return order, nil
}

func (o *orders) Delete(ctx context.Context, r *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.all, func(order *pb.Order) bool { return order.Id == r.Id && order.Customer == customer(ctx) })
	if i < 0 {
		return nil, status.Error(codes.NotFound, "you have no such order")
	}
	o.all = slices.Delete(o.all, i, i+1)
	return new(pb.DeleteResponse), nil
}

func (o *orders) Watch(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.Order]) error {
	for _, order := range o.of(customer(stream.Context())) {
		if err := stream.Send(order); err != nil {
			return err
		}
	}
	return nil
}

// of returns the orders of a customer.
func (o *orders) of(customer string) (own []*pb.Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, order := range o.all {
		if order.Customer == customer {
			own = append(own, order)
		}
	}
	return own
}
