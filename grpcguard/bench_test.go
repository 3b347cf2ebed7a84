package grpcguard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// BenchmarkDoor compares the interceptor with the guard alone, and with an interceptor
// that does nothing, beside one raw signature verification of the same run. The tokens
// are bound to a certificate, so that the door is most of a call's cost.
func BenchmarkDoor(b *testing.B) {
	w := newWorld(b)
	guard, err := middleware.New(middleware.WithTokens(w.tokens, nil), middleware.WithMTLS(mtlspop.New()), middleware.WithDPoP(dpop.New(origin)))
	if err != nil {
		b.Fatal(err)
	}
	token := "Bearer " + w.issuer.Token(oidctest.BoundToCertificate(w.client.Certificate))
	state := tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{w.client.Certificate}}
	md := metadata.MD{
		":authority": {"api.example"}, "content-type": {"application/grpc"}, "user-agent": {"grpc-go/1.85.0"}, "grpc-accept-encoding": {"gzip"},
		"authorization": {token}, "x-request-id": {"0123456789"}, "traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	ctx := metadata.NewIncomingContext(context.Background(), md)
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: local, LocalAddr: local, AuthInfo: credentials.TLSInfo{State: state}})
	info := &grpc.UnaryServerInfo{FullMethod: unaryCall}
	handler := func(context.Context, any) (any, error) { return nil, nil }

	b.Run("raw ecdsa.VerifyASN1", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		hash := sha256.Sum256([]byte(token))
		sig, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, hash[:], sig) {
				b.Fatal("not verified")
			}
		}
	})
	b.Run("bare interceptor", func(b *testing.B) {
		bare := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return handler(ctx, req)
		}
		for b.Loop() {
			if _, err := bare(ctx, nil, info, handler); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("guard alone", func(b *testing.B) {
		b.ReportAllocs()
		h := http.Header{"Content-Type": {"application/grpc"}, "User-Agent": {"grpc-go/1.85.0"}, "Authorization": {token}}
		q := middleware.Request{Method: "POST", Host: "api.example", Target: unaryCall, Header: h, TLS: &state, RemoteAddr: local.String(), LocalAddr: local}
		for b.Loop() {
			if v := guard.Judge(ctx, q); !v.Pass {
				b.Fatal(v.Err)
			}
		}
	})
	b.Run("door", func(b *testing.B) {
		b.ReportAllocs()
		s := w.server(guard)
		for b.Loop() {
			if _, err := s.Unary(ctx, nil, info, handler); err != nil {
				b.Fatal(err)
			}
		}
	})
}
