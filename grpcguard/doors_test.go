package grpcguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// TestDoors sends the corpus over the wire. Cases with a target of their own go to the
// handler for unknown services.
func TestDoors(t *testing.T) {
	for name, d := range map[string]struct {
		method    string
		send      func(context.Context, *grpc.ClientConn, string) (metadata.MD, error)
		byNetHTTP bool
	}{
		"gRPC, unary":     {unaryCall, sendUnary, false},
		"gRPC, stream":    {duplexCall, sendStream, false},
		"gRPC, ServeHTTP": {unaryCall, sendUnary, true},
	} {
		t.Run(name, func(t *testing.T) {
			doors.Run(t, doors.Door{
				Name: name, Folder: "grpcguard",
				Place: corpus.Place{Origin: origin, Method: http.MethodPost, Target: d.method},
				Cannot: func(c corpus.Case) string {
					if d.byNetHTTP && strings.Contains(c.Request.Target, "?") {
						return "`ServeHTTP` of package grpc cuts the query off; a token in it is not used."
					}
					return ""
				},
				Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
					calls, err := grpcguard.New(g)
					require.NoError(t, err)
					return func(q doors.Question) doors.Answer {
						return ask(t, calls, q, d.byNetHTTP, d.send)
					}
				},
			})
		})
	}
}

// ask sends the question over a connection of its own.
func ask(t *testing.T, calls *grpcguard.Server, q doors.Question, byNetHTTP bool, send func(context.Context, *grpc.ClientConn, string) (metadata.MD, error)) doors.Answer {
	host := q.Request.Host
	ca := mtlspoptest.NewCA(t, "Servers")
	identity := ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{host}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	serverTLS := &tls.Config{Certificates: []tls.Certificate{identity.TLS()}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"}}
	clientTLS := &tls.Config{RootCAs: ca.Pool()}
	if q.Client != nil {
		clientTLS.Certificates = []tls.Certificate{q.Client.TLS()}
	}
	toServer, toClient := credentials.NewTLS(clientTLS), credentials.NewTLS(serverTLS)
	if q.Request.TLS == nil {
		toServer, toClient = insecure.NewCredentials(), insecure.NewCredentials()
	}
	behind := new(service)
	unknown := false
	server := grpc.NewServer(append(calls.ServerOptions(), grpc.Creds(toClient), grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		unknown = true
		return nil
	}))...)
	pb.RegisterTestServiceServer(server, behind)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if byNetHTTP {
		h := &http.Server{Handler: server, TLSConfig: serverTLS, Protocols: new(http.Protocols)}
		h.Protocols.SetHTTP2(true)
		h.Protocols.SetUnencryptedHTTP2(true)
		if q.Request.TLS == nil {
			go h.Serve(listener)
		} else {
			go h.ServeTLS(listener, "", "")
		}
		defer h.Close()
	} else {
		go server.Serve(listener)
		defer server.Stop()
	}
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(toServer), grpc.WithAuthority(host))
	require.NoError(t, err)
	defer conn.Close()
	header := q.Request.Header.Clone()
	if q.Case.Request.Early {
		header.Set("Early-Data", "1") // TLS of Go has none
	}
	md := metadata.MD{}
	for name, values := range header {
		md[strings.ToLower(name)] = values
	}
	got, err := send(metadata.NewOutgoingContext(t.Context(), md), conn, q.Request.RequestURI)
	passed := behind.calls.Load() > 0 || unknown
	if passed {
		return doors.Answer{Passed: true}
	}
	code := status.Code(err)
	require.Equal(t, map[int]codes.Code{
		400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 425: codes.Unavailable, 431: codes.InvalidArgument, 503: codes.Unavailable,
	}[q.Case.Verdict.Status], code, "%v", err)
	h := http.Header{}
	for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce", "Cache-Control"} {
		for _, value := range got[strings.ToLower(name)] {
			h.Add(name, value)
		}
	}
	return doors.Answer{Header: h}
}

func sendUnary(ctx context.Context, conn *grpc.ClientConn, method string) (header metadata.MD, err error) {
	err = conn.Invoke(ctx, method, new(pb.SimpleRequest), new(pb.SimpleResponse), grpc.Header(&header))
	return header, err
}

func sendStream(ctx context.Context, conn *grpc.ClientConn, method string) (header metadata.MD, err error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return nil, err
	}
	_ = s.CloseSend()
	err = s.RecvMsg(new(pb.StreamingOutputCallResponse))
	if err == io.EOF {
		err = nil
	}
	header, _ = s.Header()
	return header, err
}
