package grpcguard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const origin = "https://api.example"

// world has both sides of a gRPC server.
type world struct {
	t      testing.TB
	issuer *oidctest.Issuer
	tokens *oidc.Verifier
	key    *dpoptest.Key
	ca     *mtlspoptest.CA
	client *mtlspoptest.Client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, issuer: oidctest.NewIssuer(t), key: dpoptest.NewKey(t), ca: mtlspoptest.NewCA(t, "Servers"), client: mtlspoptest.SelfSigned(t, "client")}
	var err error
	w.tokens, err = oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { w.tokens.Close() })
	return w
}

// guard returns one for DPoP, with more options.
func (w *world) guard(more ...middleware.Option) *middleware.Guard {
	w.t.Helper()
	return w.guardFor(origin, nil, more...)
}

func (w *world) guardFor(origin string, proofs []dpop.Option, more ...middleware.Option) *middleware.Guard {
	w.t.Helper()
	g, err := middleware.New(append([]middleware.Option{middleware.WithTokens(w.tokens, nil), middleware.WithDPoP(dpop.New(origin, proofs...))}, more...)...)
	require.NoError(w.t, err)
	return g
}

// service answers with the subject of its caller, and counts calls.
type service struct {
	pb.UnimplementedTestServiceServer
	calls  atomic.Int32
	unary  func(ctx context.Context) error
	stream func(s pb.TestService_FullDuplexCallServer) error
}

func (s *service) UnaryCall(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	s.calls.Add(1)
	if s.unary != nil {
		if err := s.unary(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.SimpleResponse{Username: subject(ctx)}, nil
}

func (s *service) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) {
	s.calls.Add(1)
	return new(pb.Empty), nil
}

func (s *service) FullDuplexCall(stream pb.TestService_FullDuplexCallServer) error {
	s.calls.Add(1)
	if s.stream != nil {
		return s.stream(stream)
	}
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: m.Payload}); err != nil {
			return err
		}
	}
}

func (s *service) StreamingOutputCall(m *pb.StreamingOutputCallRequest, stream pb.TestService_StreamingOutputCallServer) error {
	s.calls.Add(1)
	for range m.ResponseParameters {
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: m.Payload}); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) StreamingInputCall(stream pb.TestService_StreamingInputCallServer) error {
	s.calls.Add(1)
	n := int32(0)
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: n})
		}
		if err != nil {
			return err
		}
		n += int32(len(m.Payload.GetBody()))
	}
}

// subject is that of the credential in ctx, or "".
func subject(ctx context.Context) string {
	c, ok := middleware.FromContext(ctx)
	if !ok {
		return ""
	}
	return c.Token.Subject
}

// host is a server that listens.
type host struct {
	*service
	addr   string
	server *grpc.Server
}

// serve starts a server with TLS, behind the guard.
func (w *world) serve(calls *grpcguard.Server, more ...grpc.ServerOption) *host {
	w.t.Helper()
	identity := w.ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"api.example", "other.example"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{identity.TLS()}, ClientAuth: tls.RequestClientCert})
	return w.servePlain(calls, append([]grpc.ServerOption{grpc.Creds(creds)}, more...)...)
}

func (w *world) servePlain(calls *grpcguard.Server, more ...grpc.ServerOption) *host {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	h := &host{service: new(service), addr: listener.Addr().String()}
	h.server = grpc.NewServer(append(calls.ServerOptions(), more...)...)
	pb.RegisterTestServiceServer(h.server, h.service)
	healthpb.RegisterHealthServer(h.server, health.NewServer())
	reflection.Register(h.server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.server.Serve(listener)
	}()
	w.t.Cleanup(func() {
		h.server.Stop()
		<-done
	})
	return h
}

func (w *world) server(guard *middleware.Guard, opts ...grpcguard.Option) *grpcguard.Server {
	w.t.Helper()
	s, err := grpcguard.New(guard, opts...)
	require.NoError(w.t, err)
	return s
}

// transportCredentials are those of a client, with its certificate if it is to show it.
func (w *world) transportCredentials(withCertificate bool) credentials.TransportCredentials {
	config := &tls.Config{RootCAs: w.ca.Pool()}
	if withCertificate {
		config.Certificates = []tls.Certificate{w.client.TLS()}
	}
	return credentials.NewTLS(config)
}

func (w *world) dial(h *host, more ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	return w.dialTo(h, append([]grpc.DialOption{grpc.WithTransportCredentials(w.transportCredentials(false)), grpc.WithAuthority("api.example")}, more...)...)
}

func (w *world) dialPlain(h *host, more ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	return w.dialTo(h, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, more...)...)
}

func (w *world) dialTo(h *host, opts ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+h.addr, opts...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) token(changes ...oidctest.Change) string {
	return w.issuer.Token(append([]oidctest.Change{oidctest.BoundToKey(w.key.Thumbprint())}, changes...)...)
}

// with returns a context whose calls of the method carry the token and a proof.
func (w *world) with(method, token string, opts ...dpoptest.ProofOption) context.Context {
	return metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", w.key.Proof("POST", origin+method, token, opts...))
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// signing returns a grpcguard.Client with a token for its own key.
func (w *world) signing(origin string, more ...dpopclient.Option) *grpcguard.Client {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	var transport *dpopclient.Transport
	tokens := dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
		return w.issuer.Token(oidctest.BoundToKey(transport.Thumbprint())), "DPoP", nil
	})
	transport, err = dpopclient.New(key, append([]dpopclient.Option{dpopclient.WithOrigins(origin), dpopclient.WithTokenSource(tokens)}, more...)...)
	c, err := grpcguard.NewClient(transport, err)
	require.NoError(w.t, err)
	return c
}
