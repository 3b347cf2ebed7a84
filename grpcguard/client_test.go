package grpcguard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/grpcguard"
)

func withNonces() []dpop.Option {
	return []dpop.Option{dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32))))}
}

// sent counts the transmissions that reach a server, and keeps their proofs.
type sent struct {
	mu     sync.Mutex
	proofs []string
}

func (s *sent) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	s.note(ctx)
	return handler(ctx, req)
}

func (s *sent) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	s.note(ss.Context())
	return handler(srv, ss)
}

func (s *sent) note(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs = append(s.proofs, md["dpop"]...)
}

func (s *sent) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.proofs)
}

func (s *sent) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream)}
}

func TestCallsAreSigned(t *testing.T) {
	w := newWorld(t)
	var s sent
	h := w.serve(w.server(w.guard()), s.options()...)
	conn := w.dial(h, w.signing(origin).DialOptions()...)
	for range 3 {
		a := call(w.ctx(), conn)
		require.NoError(t, a.err)
		require.NotEmpty(t, a.Username)
	}
	body, err := duplex(w.ctx(), conn)
	require.NoError(t, err)
	require.Equal(t, "hello", body)
	require.Equal(t, 4, s.count())
}

// CLI-04: one more call, with the nonce; CLI-06: the newest is used next.
func TestNoncesAreLearnt(t *testing.T) {
	w := newWorld(t)
	var s sent
	h := w.serve(w.server(w.guardFor(origin, withNonces())), s.options()...)
	client := func() pb.TestServiceClient {
		return pb.NewTestServiceClient(w.dial(h, w.signing(origin).DialOptions()...))
	}
	count := func() int {
		n := s.count()
		s.proofs = nil
		return n
	}
	t.Run("unary", func(t *testing.T) {
		c := client()
		_, err := c.UnaryCall(w.ctx(), new(pb.SimpleRequest))
		require.NoError(t, err)
		require.Equal(t, 2, count())
		_, err = c.UnaryCall(w.ctx(), new(pb.SimpleRequest))
		require.NoError(t, err)
		require.Equal(t, 1, count())
	})
	t.Run("server stream", func(t *testing.T) {
		stream, err := client().StreamingOutputCall(w.ctx(), &pb.StreamingOutputCallRequest{ResponseParameters: make([]*pb.ResponseParameters, 3), Payload: &pb.Payload{Body: []byte("x")}})
		require.NoError(t, err)
		for range 3 {
			m, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, "x", string(m.Payload.Body))
		}
		_, err = stream.Recv()
		require.Equal(t, io.EOF, err)
		require.Equal(t, 2, count())
	})
	t.Run("both ways, receiving while sending", func(t *testing.T) {
		stream, err := client().FullDuplexCall(w.ctx())
		require.NoError(t, err)
		message := &pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: []byte("first")}}
		require.NoError(t, stream.Send(message))
		message.Payload.Body = []byte("changed by the caller")
		header, err := stream.Header()
		require.NoError(t, err)
		require.Empty(t, header["www-authenticate"])
		for _, want := range []string{"first", "second", "third"} {
			if want != "first" {
				require.NoError(t, stream.Send(&pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: []byte(want)}}))
			}
			m, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, want, string(m.Payload.Body))
		}
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.Equal(t, io.EOF, err)
		require.Equal(t, 2, count())
	})
	t.Run("nothing sent yet", func(t *testing.T) {
		stream, err := client().FullDuplexCall(w.ctx())
		require.NoError(t, err)
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.Equal(t, io.EOF, err)
		require.Equal(t, 2, count())
	})
	t.Run("client stream of one message", func(t *testing.T) {
		stream, err := client().StreamingInputCall(w.ctx())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: []byte("four")}}))
		m, err := stream.CloseAndRecv()
		require.NoError(t, err)
		require.EqualValues(t, 4, m.AggregatedPayloadSize)
		require.Equal(t, 2, count())
	})
	t.Run("after several messages the caller is told, and the nonce is known", func(t *testing.T) {
		c := client()
		stream, err := c.StreamingInputCall(w.ctx())
		require.NoError(t, err)
		for range 3 {
			if err := stream.Send(new(pb.StreamingInputCallRequest)); err != nil {
				require.Equal(t, io.EOF, err)
			}
		}
		_, err = stream.CloseAndRecv()
		requireRefused(t, err, codes.Unauthenticated, "use_dpop_nonce")
		require.Equal(t, 1, count())
		_, err = c.UnaryCall(w.ctx(), new(pb.SimpleRequest))
		require.NoError(t, err)
		require.Equal(t, 1, count())
	})
}

// A server that asks for another nonce each time gets two calls, and no third.
func TestOneRetry(t *testing.T) {
	w := newWorld(t)
	n := atomic.Int32{}
	var s sent
	refuse := func(ctx context.Context) error {
		md := metadata.Pairs("www-authenticate", `DPoP error="use_dpop_nonce"`, "dpop-nonce", "n"+string('0'+rune(n.Add(1))))
		_ = grpc.SetTrailer(ctx, md)
		return status.Error(codes.Unauthenticated, "nonce, please")
	}
	h := w.serve(w.server(w.guard()), append(s.options(),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			return nil, refuse(ctx)
		}), grpc.ChainStreamInterceptor(func(_ any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
			return refuse(ss.Context())
		}))...)
	conn := w.dial(h, w.signing(origin).DialOptions()...)
	require.Equal(t, codes.Unauthenticated, status.Code(call(w.ctx(), conn).err))
	require.Equal(t, 2, s.count())
	_, err := duplex(w.ctx(), conn)
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, 4, s.count())
}

// A refusal because of a missing nonce is final once the server has sent a message.
func TestNoRetryAfterAMessage(t *testing.T) {
	w := newWorld(t)
	var s sent
	h := w.serve(w.server(w.guard()), s.options()...)
	h.stream = func(stream pb.TestService_FullDuplexCallServer) error {
		_ = stream.Send(new(pb.StreamingOutputCallResponse))
		stream.SetTrailer(metadata.Pairs("www-authenticate", `DPoP error="use_dpop_nonce"`, "dpop-nonce", "n"))
		return status.Error(codes.Unauthenticated, "nonce, please")
	}
	stream, err := pb.NewTestServiceClient(w.dial(h, w.signing(origin).DialOptions()...)).FullDuplexCall(w.ctx())
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, 1, s.count())
}

func TestTokensGoNowhereElse(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard()))
	signing := w.signing(origin).DialOptions()
	t.Run("CLI-10 another authority", func(t *testing.T) {
		conn := w.dialTo(h, append(signing, grpc.WithTransportCredentials(w.transportCredentials(false)), grpc.WithAuthority("other.example"))...)
		require.ErrorContains(t, call(w.ctx(), conn).err, dpopclient.ErrOrigin.Error())
	})
	t.Run("CLI-11 no TLS", func(t *testing.T) {
		_, err := grpc.NewClient("passthrough:///"+h.addr, append(signing, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		require.ErrorContains(t, err, "transport")
	})
	t.Run("CLI-11 loopback without TLS is for loopback", func(t *testing.T) {
		local := "http://localhost:9"
		opts := w.signing(local, dpopclient.DangerouslyAllowLoopbackHTTP()).DialOptions()
		plain := w.servePlain(w.server(w.guardFor(local, nil)))
		require.NoError(t, call(w.ctx(), w.dialPlain(plain, append(opts, grpc.WithAuthority("localhost:9"))...)).err)
		// The connection ends elsewhere, whatever the authority is.
		elsewhere := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", plain.addr)
			return faraway{conn}, err
		})
		err := call(w.ctx(), w.dialPlain(plain, append(opts, elsewhere, grpc.WithAuthority("localhost:9"))...)).err
		require.ErrorContains(t, err, "not secure")
	})
	t.Run("a call that has credentials of its own", func(t *testing.T) {
		conn := w.dial(h, signing...)
		require.Equal(t, codes.Internal, status.Code(call(metadata.AppendToOutgoingContext(w.ctx(), "Authorization", "Bearer x"), conn).err))
		_, err := duplex(metadata.AppendToOutgoingContext(w.ctx(), "dpop", "x"), conn)
		require.Equal(t, codes.Internal, status.Code(err))
	})
	require.Zero(t, h.calls.Load())
}

type faraway struct{ net.Conn }

func (faraway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func TestClientMistakes(t *testing.T) {
	broken := errors.New("no key")
	for _, c := range []struct {
		transport *dpopclient.Transport
		err       error
		text      string
	}{{nil, nil, "NewClient: nil"}, {nil, broken, "no key"}} {
		client, err := grpcguard.NewClient(c.transport, c.err)
		require.ErrorContains(t, err, c.text)
		require.Nil(t, client)
	}
	w := newWorld(t)
	h := w.serve(w.server(w.guard()))
	require.Equal(t, codes.Internal, status.Code(call(w.ctx(), w.dial(h, new(grpcguard.Client).DialOptions()...)).err))
}

// refusing is a server that refuses the first stream of each connection, as a server does
// that has too many streams or is about to stop. It proxies nothing.
func refusing(t *testing.T, refuse func(f *http2.Framer, id uint32)) (addr string, proofs func() []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	var mu sync.Mutex
	var seen []string
	streams := 0
	serve := func(conn net.Conn) {
		defer conn.Close()
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					_ = f.WritePing(true, frame.Data)
				}
			case *http2.MetaHeadersFrame:
				mu.Lock()
				for _, field := range frame.Fields {
					if field.Name == "dpop" {
						seen = append(seen, field.Value)
					}
				}
				streams++
				first := streams == 1
				mu.Unlock()
				if first {
					refuse(f, frame.StreamID)
					continue
				}
				var b strings.Builder
				e := hpack.NewEncoder(&b)
				for _, field := range [][2]string{{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}} {
					_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
				}
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: []byte(b.String()), EndHeaders: true, EndStream: true})
			}
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return listener.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

// CLI-01: package grpc by itself sends once more what a server has not processed. The
// repetition has a proof of its own: the server may have read the first one.
func TestTransparentRetriesHaveProofsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	for name, refuse := range map[string]func(f *http2.Framer, id uint32){
		"REFUSED_STREAM": func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY":         func(f *http2.Framer, id uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, proofs := refusing(t, refuse)
			local := "http://" + addr
			conn := w.dialPlain(&host{addr: addr}, w.signing(local, dpopclient.DangerouslyAllowLoopbackHTTP()).DialOptions()...)
			err := call(w.ctx(), conn).err
			require.Equal(t, codes.NotFound, status.Code(err), "%v", err)
			got := proofs()
			require.Len(t, got, 2)
			require.NotEqual(t, got[0], got[1])
		})
	}
}

// The retries of a retry policy have proofs of their own too.
func TestRetriesOfAPolicy(t *testing.T) {
	w := newWorld(t)
	var s sent
	h := w.serve(w.server(w.guard()), s.options()...)
	n := 0
	h.unary = func(context.Context) error {
		if n++; n < 3 {
			return status.Error(codes.Unavailable, "busy")
		}
		return nil
	}
	conn := w.dial(h, append(w.signing(origin).DialOptions(), grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`))...)
	require.NoError(t, call(w.ctx(), conn).err)
	require.Equal(t, 3, s.count())
	require.Equal(t, 3, n)
}

func TestConcurrentCalls(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guardFor(origin, withNonces())))
	conn := w.dial(h, w.signing(origin).DialOptions()...)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 5 {
				if err := call(w.ctx(), conn).err; err != nil {
					t.Error(err)
				}
				if _, err := duplex(w.ctx(), conn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
