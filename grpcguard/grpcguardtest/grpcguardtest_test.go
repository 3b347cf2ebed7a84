package grpcguardtest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/grpcguard/grpcguardtest"
	"github.com/keybound-go/middleware/oidc"
)

const check = "/grpc.health.v1.Health/Check"

func guarded(t *testing.T, opts ...grpcguard.Option) []grpc.ServerOption {
	t.Helper()
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://issuer.example", "https://api.example")),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.RequireTLS(),
	)
	require.NoError(t, err)
	calls, err := grpcguard.New(guard, opts...)
	require.NoError(t, err)
	return calls.ServerOptions()
}

func server(opts ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(opts...)
	pb.RegisterTestServiceServer(s, pb.UnimplementedTestServiceServer{})
	healthpb.RegisterHealthServer(s, health.NewServer())
	reflection.Register(s)
	return s
}

func TestAllGuarded(t *testing.T) {
	grpcguardtest.AllGuarded(t, server(guarded(t)...))
	grpcguardtest.AllGuarded(t, server(guarded(t, grpcguard.Exempt(check))...), check)
}

// fake records the failures of a test.
type fake struct {
	testing.TB
	problems []string
}

func (f *fake) Helper() {}
func (f *fake) Errorf(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

func problems(s *grpc.Server, exempt ...string) string {
	var f fake
	grpcguardtest.AllGuarded(&f, s, exempt...)
	return strings.Join(f.problems, "\n")
}

func TestWhatIsNotGuardedIsFound(t *testing.T) {
	require.Contains(t, problems(server()), "/grpc.testing.TestService/UnaryCall is not guarded")
	require.Contains(t, problems(server(guarded(t, grpcguard.Exempt(check))...)), check+" is not guarded: a call without credentials ends with status OK")
	require.Contains(t, problems(server(guarded(t)...), "/grpc.health.v1.Health/Chek"), "no exempt method")
	require.Contains(t, problems(grpc.NewServer()), "no methods")
	unary := guarded(t)[0]
	require.Contains(t, problems(server(unary)), "FullDuplexCall is not guarded")
	require.NotContains(t, problems(server(unary)), "UnaryCall")
	other := server(grpc.ChainUnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(16, "by something else")
	}))
	require.Contains(t, problems(other), "UnaryCall refuses a call without credentials, but not by a Guard")
}

// Package grpc calls the interceptors for neither of these.
func TestHandWrittenServicesAreFound(t *testing.T) {
	s := server(guarded(t)...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "hand.Written", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Ignores", Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
			return new(pb.Empty), nil
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "NeitherWay", Handler: func(any, grpc.ServerStream) error { return nil }},
			{StreamName: "Streams", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }},
		},
	}, nil)
	found := problems(s)
	require.Contains(t, found, "/hand.Written/Ignores is not guarded")
	require.Contains(t, found, "/hand.Written/NeitherWay is not guarded")
	require.NotContains(t, found, "/hand.Written/Streams")
}
