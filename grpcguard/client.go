package grpcguard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/internal/options"
)

// Client signs the calls of a gRPC client with DPoP. It is made by [NewClient], and safe
// for concurrent use. The zero Client refuses every call.
type Client struct {
	transport *dpopclient.Transport
}

// NewClient returns a Client that signs with the key and the tokens of transport, and
// shares its nonces. It takes what [dpopclient.New] returns:
// NewClient(dpopclient.New(key, dpopclient.WithOrigins("https://api.example"),
// dpopclient.WithTokenSource(tokens))). Only the authorities of WithOrigins get a token.
func NewClient(transport *dpopclient.Transport, err error) (*Client, error) {
	set := options.For("grpcguard")
	options.Part(set, "NewClient", transport, err)
	if err := set.Err(); err != nil {
		return nil, err
	}
	return &Client{transport}, nil
}

// DialOptions returns what [grpc.NewClient] needs: credentials that make a proof for each
// transmission, those of retries too, and interceptors that learn nonces.
//
// If the server refuses a call because it lacks a nonce, the Client makes it once more
// with the nonce of the refusal. It opens a stream once more if no message of the server
// has arrived and the client has sent at most one.
//
// The proof names the authority of the call: with [grpc.WithAuthority], or the host of
// the target. For a server without TLS, see [dpopclient.DangerouslyAllowLoopbackHTTP].
// If the token is bound to a certificate, put that certificate into the transport
// credentials.
func (c *Client) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(perRPC{c}),
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
	}
}

// perRPC are the credentials of a Client. Package grpc asks them once for each attempt of
// a call, its own retries included.
type perRPC struct{ *Client }

// RequireTransportSecurity is true unless plain text to this machine is allowed;
// GetRequestMetadata then checks the address.
func (p perRPC) RequireTransportSecurity() bool {
	return p.transport == nil || !p.transport.AllowsLoopbackHTTP()
}

// GetRequestMetadata makes the proof for one attempt.
func (p perRPC) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	if p.transport == nil || len(uri) != 1 || info.Method == "" {
		return nil, status.Error(codes.Internal, "grpcguard: credentials without a Client, or outside of a call")
	}
	// https, the authority without the default port, and the service.
	authority, _, _ := strings.Cut(strings.TrimPrefix(uri[0], "https://"), "/")
	target := "https://" + authority + info.Method
	if info.AuthInfo == nil || credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity) != nil {
		if !toThisMachine(ctx) {
			return nil, status.Error(codes.Internal, "grpcguard: refusing to send a token over a connection that is not secure")
		}
		target = "http" + strings.TrimPrefix(target, "https")
	}
	header, learn, err := p.transport.Sign(ctx, http.MethodPost, target)
	if err != nil {
		return nil, err
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.answered.Store(&learn)
	}
	return map[string]string{"authorization": header.Get("Authorization"), "dpop": header.Get("DPoP")}, nil
}

// toThisMachine reports whether the connection of ctx ends on this machine. The Transport
// checks only the authority, which can be any name.
func toThisMachine(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return false
	}
	switch addr := p.Addr.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	}
	addr, err := netip.ParseAddrPort(p.Addr.String())
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// attempt records the last transmission of a call.
type attempt struct {
	answered atomic.Pointer[func(http.Header) bool]
}

type attemptKey struct{}

// begin returns a context whose transmissions the attempt records.
func begin(ctx context.Context) (context.Context, *attempt) {
	a := new(attempt)
	return context.WithValue(ctx, attemptKey{}, a), a
}

// learn keeps the nonce of an answer, and reports whether the server asks for it.
func (a *attempt) learn(header, trailer metadata.MD) (again bool) {
	learn := a.answered.Load()
	if learn == nil {
		return false // nothing was sent
	}
	answer := http.Header{}
	for name, key := range map[string]string{"Dpop-Nonce": "dpop-nonce", "Www-Authenticate": "www-authenticate"} {
		if values := header[key]; len(values) > 0 {
			answer[name] = values
		} else if values := trailer[key]; len(values) > 0 {
			answer[name] = values
		}
	}
	return len(answer) > 0 && (*learn)(answer)
}

// unary is the unary interceptor.
func (c *Client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := refuseOwnCredentials(ctx); err != nil {
		return err
	}
	for again := true; ; again = false {
		ctx, a := begin(ctx)
		var header, trailer metadata.MD
		all := append(slices.Clip(opts), grpc.Header(&header), grpc.Trailer(&trailer))
		err := invoke(ctx, method, req, reply, cc, all...)
		if asked := a.learn(header, trailer); !asked || !again || status.Code(err) != codes.Unauthenticated {
			return err
		}
	}
}

// refuseOwnCredentials refuses calls with credentials of their own: every server refuses
// a call with two tokens.
func refuseOwnCredentials(ctx context.Context) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	if len(md["authorization"]) > 0 || len(md["dpop"]) > 0 {
		return status.Error(codes.Internal, "grpcguard: the call has authorization or dpop metadata of its own")
	}
	return nil
}
