package grpcguard_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	unaryCall  = pb.TestService_UnaryCall_FullMethodName
	duplexCall = pb.TestService_FullDuplexCall_FullMethodName
)

// answer is what a client gets.
type answer struct {
	*pb.SimpleResponse
	err             error
	header, trailer metadata.MD
}

func call(ctx context.Context, conn grpc.ClientConnInterface, opts ...grpc.CallOption) (a answer) {
	a.SimpleResponse, a.err = pb.NewTestServiceClient(conn).UnaryCall(ctx, new(pb.SimpleRequest), append(opts, grpc.Header(&a.header), grpc.Trailer(&a.trailer))...)
	return a
}

// refused demands a refusal with the code and the RFC's error code.
func (a answer) refused(t testing.TB, code codes.Code, oauth string) answer {
	t.Helper()
	requireRefused(t, a.err, code, oauth)
	require.Equal(t, a.header["www-authenticate"], a.trailer["www-authenticate"])
	require.Equal(t, a.header["dpop-nonce"], a.trailer["dpop-nonce"])
	return a
}

func requireRefused(t testing.TB, err error, code codes.Code, oauth string) {
	t.Helper()
	st := status.Convert(err)
	require.Equal(t, code, st.Code(), "%v", err)
	require.NotEmpty(t, st.Message())
	var got string
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			got = info.Metadata["error"]
			require.Equal(t, strings.ToUpper(got), info.Reason)
			require.Equal(t, grpcguard.Domain, info.Domain)
			require.Len(t, info.Metadata, 1)
		}
	}
	require.Equal(t, oauth, got)
}

func TestCallsAreGuarded(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard()))
	conn := w.dial(h)
	token := w.token()

	t.Run("a good call", func(t *testing.T) {
		a := call(w.with(unaryCall, token), conn)
		require.NoError(t, a.err)
		require.NotEmpty(t, a.Username)
	})
	reached := h.calls.Load()
	t.Run("without a token", func(t *testing.T) {
		a := call(w.ctx(), conn).refused(t, codes.Unauthenticated, "")
		require.Contains(t, a.header["www-authenticate"][0], "DPoP ")
		require.Equal(t, "authentication required", status.Convert(a.err).Message())
	})
	t.Run("AUTH-08 a bound token as Bearer", func(t *testing.T) {
		call(metadata.AppendToOutgoingContext(w.ctx(), "authorization", "Bearer "+token), conn).refused(t, codes.Unauthenticated, "invalid_token")
	})
	t.Run("a proof that was used", func(t *testing.T) {
		ctx := w.with(unaryCall, token)
		require.NoError(t, call(ctx, conn).err)
		reached++
		call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("a proof for another method", func(t *testing.T) {
		call(w.with("/grpc.testing.TestService/EmptyCall", token), conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("a proof for another origin", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", w.key.Proof("POST", "https://other.example"+unaryCall, token))
		call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("a proof for GET", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", w.key.Proof("GET", origin+unaryCall, token))
		call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("two proofs", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.with(unaryCall, token), "dpop", w.key.Proof("POST", origin+unaryCall, token))
		call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("two proofs with a comma", func(t *testing.T) {
		proofs := w.key.Proof("POST", origin+unaryCall, token) + "," + w.key.Proof("POST", origin+unaryCall, token)
		call(metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", proofs), conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	})
	t.Run("two tokens", func(t *testing.T) {
		call(metadata.AppendToOutgoingContext(w.with(unaryCall, token), "authorization", "Bearer "+w.issuer.Token()), conn).refused(t, codes.InvalidArgument, "invalid_request")
	})
	t.Run("two tokens with a comma", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token+", DPoP "+token, "dpop", w.key.Proof("POST", origin+unaryCall, token))
		call(ctx, conn).refused(t, codes.InvalidArgument, "invalid_request")
	})
	t.Run("names in upper case are the same", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "Authorization", "DPoP "+token, "DPoP", w.key.Proof("POST", origin+unaryCall, token))
		require.NoError(t, call(ctx, conn).err)
		reached++
	})
	t.Run("values of bytes are no fields", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization-bin", "DPoP "+token, "dpop-bin", w.key.Proof("POST", origin+unaryCall, token))
		call(ctx, conn).refused(t, codes.Unauthenticated, "")
		require.NoError(t, call(metadata.AppendToOutgoingContext(w.with(unaryCall, token), "dpop-bin", "\x00\xff"), conn).err)
		reached++
	})
	t.Run("early data", func(t *testing.T) {
		call(metadata.AppendToOutgoingContext(w.with(unaryCall, token), "early-data", "1"), conn).refused(t, codes.Unavailable, "")
	})
	t.Run("a proof that is too large", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", strings.Repeat("x", 60_000))
		call(ctx, conn).refused(t, codes.InvalidArgument, "")
	})
	t.Run("a call that is over before it is judged", func(t *testing.T) {
		ctx, cancel := context.WithCancel(w.with(unaryCall, token))
		cancel()
		require.Error(t, call(ctx, conn).err)
	})
	t.Run("compressed", func(t *testing.T) {
		call(w.ctx(), conn, grpc.UseCompressor("gzip")).refused(t, codes.Unauthenticated, "")
		require.NoError(t, call(w.with(unaryCall, token), conn, grpc.UseCompressor("gzip")).err)
		reached++
	})
	t.Run("a stream", func(t *testing.T) {
		_, err := duplex(w.ctx(), conn)
		requireRefused(t, err, codes.Unauthenticated, "")
		_, err = duplex(w.with(unaryCall, token), conn)
		requireRefused(t, err, codes.Unauthenticated, "invalid_dpop_proof")
		body, err := duplex(w.with(duplexCall, token), conn)
		require.NoError(t, err)
		reached++
		require.Equal(t, "hello", body)
	})
	t.Run("health and reflection", func(t *testing.T) {
		_, err := healthpb.NewHealthClient(conn).Check(w.ctx(), new(healthpb.HealthCheckRequest))
		requireRefused(t, err, codes.Unauthenticated, "")
		watch, err := healthpb.NewHealthClient(conn).Watch(w.ctx(), new(healthpb.HealthCheckRequest))
		require.NoError(t, err)
		_, err = watch.Recv()
		requireRefused(t, err, codes.Unauthenticated, "")
		info, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(w.ctx())
		require.NoError(t, err)
		_, err = info.Recv()
		requireRefused(t, err, codes.Unauthenticated, "")
	})
	require.Equal(t, reached, h.calls.Load(), "a refused call reached its handler")
}

// duplex sends one message and returns the one that comes back.
func duplex(ctx context.Context, conn grpc.ClientConnInterface) (string, error) {
	s, err := pb.NewTestServiceClient(conn).FullDuplexCall(ctx)
	if err != nil {
		return "", err
	}
	if err := s.Send(&pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: []byte("hello")}}); err != nil && err != io.EOF {
		return "", err
	}
	_ = s.CloseSend()
	m, err := s.Recv()
	if err != nil {
		return "", err
	}
	if _, err := s.Recv(); err != io.EOF {
		return "", errors.New("no end")
	}
	return string(m.Payload.Body), nil
}

// The configuration must name the authority of a call, and the proof an origin of it.
func TestTheAuthorityIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard()))
	conn := w.dialTo(h, grpc.WithTransportCredentials(w.transportCredentials(false)), grpc.WithAuthority("other.example"))
	token := w.token()
	call(w.with(unaryCall, token), conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP "+token, "dpop", w.key.Proof("POST", "https://other.example"+unaryCall, token))
	call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
	require.Zero(t, h.calls.Load())

	h = w.serve(w.server(w.guardFor(origin, []dpop.Option{dpop.WithInternalHosts("other.example")})))
	conn = w.dialTo(h, grpc.WithTransportCredentials(w.transportCredentials(false)), grpc.WithAuthority("other.example"))
	require.NoError(t, call(w.with(unaryCall, token), conn).err)
	call(ctx, conn).refused(t, codes.Unauthenticated, "invalid_dpop_proof")
}

func TestCertificatesOfTheConnection(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard(middleware.WithMTLS(mtlspop.New()), middleware.RequireTLS())))
	bearer := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "Bearer "+w.issuer.Token(oidctest.BoundToCertificate(w.client.Certificate)))
	with := w.dialTo(h, grpc.WithTransportCredentials(w.transportCredentials(true)), grpc.WithAuthority("api.example"))
	require.NoError(t, call(bearer, with).err)
	call(bearer, w.dial(h)).refused(t, codes.Unauthenticated, "invalid_token")
	other := *w
	other.client = newWorld(t).client
	call(bearer, w.dialTo(h, grpc.WithTransportCredentials(other.transportCredentials(true)), grpc.WithAuthority("api.example"))).refused(t, codes.Unauthenticated, "invalid_token")
}

// The address and our end of the connection decide whose certificates count.
func TestForwardedCertificates(t *testing.T) {
	w := newWorld(t)
	forwarded := func(prefix string) answer {
		h := w.servePlain(w.server(w.guard(middleware.WithMTLS(mtlspop.New(mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, netip.MustParsePrefix(prefix)))))))
		h.unary = func(ctx context.Context) error {
			md, _ := metadata.FromIncomingContext(ctx)
			if len(md["x_client_cert"]) > 0 {
				return errors.New("a claim of the client")
			}
			return nil
		}
		ctx := metadata.AppendToOutgoingContext(w.ctx(), "authorization", "Bearer "+w.issuer.Token(oidctest.BoundToCertificate(w.client.Certificate)), "x-client-cert", mtlspoptest.Nginx(w.client), "x_client_cert", "a claim")
		return call(ctx, w.dialPlain(h))
	}
	require.NoError(t, forwarded("127.0.0.0/8").err)
	forwarded("10.0.0.0/8").refused(t, codes.Unauthenticated, "invalid_token")
}

func TestPlainTextIsRefused(t *testing.T) {
	w := newWorld(t)
	h := w.servePlain(w.server(w.guard(middleware.RequireTLS())))
	conn := w.dialPlain(h, grpc.WithAuthority("api.example"))
	call(w.with(unaryCall, w.token()), conn).refused(t, codes.InvalidArgument, "invalid_request")
	_, err := duplex(w.with(duplexCall, w.token()), conn)
	requireRefused(t, err, codes.InvalidArgument, "invalid_request")
	require.Zero(t, h.calls.Load())
}

func TestRulesByMethod(t *testing.T) {
	w := newWorld(t)
	calls := w.server(w.guard(),
		grpcguard.Require("/grpc.testing.TestService/*", middleware.Scopes("test")),
		grpcguard.Require(unaryCall, middleware.Scopes("unary")),
		grpcguard.Exempt(healthpb.Health_Check_FullMethodName))
	h := w.serve(calls)
	require.NoError(t, calls.CheckMethods(h.server))
	conn := w.dial(h)
	scope := func(s string) string { return w.token(oidctest.Claim("scope", s)) }

	a := call(w.with(unaryCall, scope("test")), conn).refused(t, codes.PermissionDenied, "insufficient_scope")
	require.Contains(t, a.header["www-authenticate"][0], `scope="unary"`)
	call(w.with(unaryCall, scope("unary")), conn).refused(t, codes.PermissionDenied, "insufficient_scope")
	require.NoError(t, call(w.with(unaryCall, scope("unary test")), conn).err)
	_, err := duplex(w.with(duplexCall, scope("unary")), conn)
	requireRefused(t, err, codes.PermissionDenied, "insufficient_scope")
	_, err = duplex(w.with(duplexCall, scope("test")), conn)
	require.NoError(t, err)

	check := healthpb.NewHealthClient(conn)
	_, err = check.Check(w.ctx(), new(healthpb.HealthCheckRequest))
	require.NoError(t, err, "it is exempt")
	_, err = check.List(w.ctx(), new(healthpb.HealthListRequest))
	requireRefused(t, err, codes.Unauthenticated, "")
}

func TestGuardsByMethod(t *testing.T) {
	w := newWorld(t)
	guard := w.guard()
	admin := guard.Require(middleware.Scopes("admin"))
	h := w.serve(w.server(guard, grpcguard.WithGuardFor(func(method string) *middleware.Guard {
		switch method {
		case unaryCall:
			return admin
		case "/grpc.testing.TestService/EmptyCall":
			panic("a bug")
		}
		return nil
	})))
	conn := w.dial(h)
	call(w.with(unaryCall, w.token()), conn).refused(t, codes.PermissionDenied, "insufficient_scope")
	_, err := duplex(w.with(duplexCall, w.token()), conn)
	require.NoError(t, err)
	_, err = pb.NewTestServiceClient(conn).EmptyCall(w.with("/grpc.testing.TestService/EmptyCall", w.token()), new(pb.Empty))
	requireRefused(t, err, codes.Unavailable, "")
	require.EqualValues(t, 1, h.calls.Load())
}

// Calls for unregistered services go through the same door.
func TestUnknownMethods(t *testing.T) {
	w := newWorld(t)
	reached := 0
	h := w.serve(w.server(w.guard()), grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		reached++
		return nil
	}))
	conn := w.dial(h)
	for _, method := range []string{"/unknown.Service/Method", "/grpc.testing.TestService/Unknown", "//grpc.testing.TestService/UnaryCall"} {
		err := conn.Invoke(w.ctx(), method, new(pb.Empty), new(pb.Empty))
		requireRefused(t, err, codes.Unauthenticated, "")
	}
	err := conn.Invoke(w.ctx(), "/unknown.Service/Method?access_token="+w.token(), new(pb.Empty), new(pb.Empty))
	requireRefused(t, err, codes.Unauthenticated, "")
	require.Zero(t, reached)
	_ = conn.Invoke(w.with("/unknown.Service/Method", w.token()), "/unknown.Service/Method", new(pb.Empty), new(pb.Empty))
	require.Equal(t, 1, reached)
}

func TestNonces(t *testing.T) {
	w := newWorld(t)
	nonces := dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32))))
	h := w.serve(w.server(w.guardFor(origin, []dpop.Option{nonces})))
	conn := w.dial(h)
	token := w.token()
	a := call(w.with(unaryCall, token), conn).refused(t, codes.Unauthenticated, "use_dpop_nonce")
	require.Len(t, a.header["dpop-nonce"], 1)
	require.Contains(t, strings.Join(a.trailer["www-authenticate"], " "), `error="use_dpop_nonce"`)
	require.NoError(t, call(w.with(unaryCall, token, dpoptest.Nonce(a.trailer["dpop-nonce"][0])), conn).err)
}

// Options that hide credentials hide them here too.
func TestHandlersSeeWhatTheGuardForwards(t *testing.T) {
	w := newWorld(t)
	var seen metadata.MD
	h := w.serve(w.server(w.guard(middleware.HideCredentials())))
	h.unary = func(ctx context.Context) error {
		seen, _ = metadata.FromIncomingContext(ctx)
		return nil
	}
	ctx := metadata.AppendToOutgoingContext(w.with(unaryCall, w.token()), "x-request-id", "7", "trace-bin", "\x01")
	require.NoError(t, call(ctx, w.dial(h)).err)
	require.Empty(t, seen["authorization"])
	require.Empty(t, seen["dpop"])
	require.Equal(t, []string{"7"}, seen["x-request-id"])
	require.Equal(t, []string{"\x01"}, seen["trace-bin"])
	require.Equal(t, []string{"api.example"}, seen[":authority"])
}

// Rules see a request of HTTP, and the call by its context.
func TestRulesSeeTheCall(t *testing.T) {
	w := newWorld(t)
	seen := make(chan *http.Request, 1)
	h := w.serve(w.server(w.guard(middleware.WithRules(middleware.RuleFunc("see", func(r *http.Request, _ *middleware.Credential) bool {
		seen <- r
		return true
	})))))
	ctx := metadata.AppendToOutgoingContext(w.with(unaryCall, w.token()), "x-request-id", "7", "trace-bin", "\x01", "x-request-id", "8")
	require.NoError(t, call(ctx, w.dial(h)).err)
	r := <-seen
	require.Equal(t, "POST", r.Method)
	require.Equal(t, unaryCall, r.URL.Path)
	require.Equal(t, "api.example", r.Host)
	require.Equal(t, []string{"7", "8"}, r.Header["X-Request-Id"])
	require.Empty(t, r.Header["Trace-Bin"])
	md, _ := metadata.FromIncomingContext(r.Context())
	require.Equal(t, []string{"\x01"}, md["trace-bin"])
	require.NotNil(t, r.TLS)
}

func TestAnonymousCallsBringNoCredential(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard().AllowAnonymous()))
	a := call(w.ctx(), w.dial(h))
	require.NoError(t, a.err)
	require.Empty(t, a.Username)
	call(metadata.AppendToOutgoingContext(w.ctx(), "authorization", "DPoP bad", "dpop", "bad"), w.dial(h)).refused(t, codes.Unauthenticated, "invalid_token")
}

// Exempt calls get no credential from another guard's interceptor in front.
func TestExemptCallsBringNoCredential(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard(), grpcguard.Exempt(unaryCall)), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return handler(middleware.NewContext(ctx, &middleware.Credential{}), req)
		}))
	a := call(w.ctx(), w.dial(h))
	require.NoError(t, a.err)
	require.Empty(t, a.Username)
}

func TestAnOutageIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.issuer.SetDown(true)
	h := w.serve(w.server(w.guard()))
	call(w.with(unaryCall, w.token()), w.dial(h)).refused(t, codes.Unavailable, "")
	require.Zero(t, h.calls.Load())
}

// Package grpc would end the process.
func TestAPanicOfAnObserverIsARefusal(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard(middleware.WithObserver(func(context.Context, middleware.Outcome) { panic("a bug") }))))
	call(w.with(unaryCall, w.token()), w.dial(h)).refused(t, codes.Unavailable, "")
	_, err := duplex(w.with(duplexCall, w.token()), w.dial(h))
	requireRefused(t, err, codes.Unavailable, "")
	require.Zero(t, h.calls.Load())
}

// A panic of a handler is for the interceptors around.
func TestAPanicOfAHandlerPassesThrough(t *testing.T) {
	w := newWorld(t)
	recovered := make(chan any, 1)
	h := w.serve(w.server(w.guard()), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
			defer func() {
				recovered <- recover()
				err = status.Error(codes.Internal, "panic")
			}()
			return handler(ctx, req)
		}))
	h.unary = func(context.Context) error { panic("handler") }
	require.Equal(t, codes.Internal, status.Code(call(w.with(unaryCall, w.token()), w.dial(h)).err))
	require.Equal(t, "handler", <-recovered)
}

func TestTheZeroServerRefuses(t *testing.T) {
	w := newWorld(t)
	for _, s := range []*grpcguard.Server{nil, {}} {
		h := w.serve(s)
		call(w.with(unaryCall, w.token()), w.dial(h)).refused(t, codes.Unavailable, "")
		_, err := duplex(w.with(duplexCall, w.token()), w.dial(h))
		requireRefused(t, err, codes.Unavailable, "")
		require.Zero(t, h.calls.Load())
	}
	h := w.serve(w.server(&middleware.Guard{}))
	call(w.with(unaryCall, w.token()), w.dial(h)).refused(t, codes.Unavailable, "")
}

func TestEveryMistakeIsReported(t *testing.T) {
	w := newWorld(t)
	for text, opt := range map[string]grpcguard.Option{
		"option 1 is nil":           nil,
		"neither a full method":     grpcguard.Require("pkg.Orders/List", middleware.Bound()),
		"no rules":                  grpcguard.Require("/pkg.Orders/List"),
		"rule 1 is nil":             grpcguard.Require("/pkg.Orders/List", nil),
		"no method":                 grpcguard.Exempt(),
		"is not a full method":      grpcguard.Exempt("/pkg.Orders/*"),
		"WithGuardFor: nil":         grpcguard.WithGuardFor(nil),
		"could satisfy the rules":   grpcguard.Require("/pkg.Orders/List", middleware.CertificateBound()),
		`"/pkg.Orders"`:             grpcguard.Exempt("/pkg.Orders"),
		`"/pkg.Orders/a/b"`:         grpcguard.Exempt("/pkg.Orders/a/b"),
		`Exempt: "" is not a full `: grpcguard.Exempt(""),
	} {
		s, err := grpcguard.New(w.guard(), opt)
		require.ErrorContains(t, err, text)
		require.Nil(t, s)
	}
	_, err := grpcguard.New(nil)
	require.ErrorContains(t, err, "the Guard: nil")
	_, err = grpcguard.New(w.guard(), grpcguard.Require(unaryCall, middleware.Bound()), grpcguard.Exempt(unaryCall), grpcguard.WithGuardFor(func(string) *middleware.Guard { return nil }))
	require.ErrorContains(t, err, "exclude each other")
	require.ErrorContains(t, err, "both Require and Exempt")
	calls := w.server(w.guard(), grpcguard.Require("/grpc.testing.TestService/UnaryCal", middleware.Bound()), grpcguard.Require("/grpc.testing.Test/*", middleware.Bound()), grpcguard.Exempt("/grpc.health.v1.Health/Chek"))
	err = calls.CheckMethods(w.serve(calls).server)
	require.ErrorContains(t, err, "UnaryCal")
	require.ErrorContains(t, err, "/grpc.testing.Test/")
	require.ErrorContains(t, err, "Chek")
}

// A stream ends with its token, whatever its handler waits for.
func TestStreamsEndWithTheToken(t *testing.T) {
	w := newWorld(t)
	guard := w.guard(middleware.EndResponsesWithToken())
	// The verifier's skew counts: the token has expired for the issuer.
	skew := w.tokens.Policy().Skew
	soon := func() string { return w.token(oidctest.ExpiresIn(1200*time.Millisecond - skew)) }
	for name, handler := range map[string]func(pb.TestService_FullDuplexCallServer) error{
		"receiving": func(s pb.TestService_FullDuplexCallServer) error { _, err := s.Recv(); return err },
		"waiting":   func(s pb.TestService_FullDuplexCallServer) error { <-s.Context().Done(); return nil },
		"sending": func(s pb.TestService_FullDuplexCallServer) error {
			for {
				if err := s.Send(new(pb.StreamingOutputCallResponse)); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := w.serve(w.server(guard))
			cause := make(chan error, 1)
			h.stream = func(s pb.TestService_FullDuplexCallServer) error {
				defer func() { cause <- context.Cause(s.Context()) }()
				return handler(s)
			}
			began := time.Now()
			s, err := pb.NewTestServiceClient(w.dial(h)).FullDuplexCall(w.with(duplexCall, soon()))
			require.NoError(t, err)
			for err == nil {
				_, err = s.Recv()
			}
			requireRefused(t, err, codes.Unauthenticated, "invalid_token")
			require.Less(t, time.Since(began), 5*time.Second)
			require.ErrorIs(t, <-cause, middleware.ErrTokenEnded)
		})
	}
	t.Run("a call that its client ends has that end", func(t *testing.T) {
		h := w.serve(w.server(guard))
		ended := make(chan error, 1)
		h.stream = func(s pb.TestService_FullDuplexCallServer) error {
			_, err := s.Recv()
			ended <- err
			return err
		}
		ctx, cancel := context.WithCancel(w.with(duplexCall, w.token()))
		s, err := pb.NewTestServiceClient(w.dial(h)).FullDuplexCall(ctx)
		require.NoError(t, err)
		require.NoError(t, s.Send(new(pb.StreamingOutputCallRequest)))
		require.NoError(t, <-ended)
		cancel()
		h.stream = func(s pb.TestService_FullDuplexCallServer) error {
			_, _ = s.Recv()
			_, err := s.Recv()
			ended <- err
			return err
		}
		ctx, cancel = context.WithCancel(w.with(duplexCall, w.token()))
		s, err = pb.NewTestServiceClient(w.dial(h)).FullDuplexCall(ctx)
		require.NoError(t, err)
		require.NoError(t, s.Send(new(pb.StreamingOutputCallRequest)))
		time.Sleep(50 * time.Millisecond)
		cancel()
		require.Equal(t, codes.Canceled, status.Code(<-ended))
	})
}

// grpc.Server is an http.Handler as well.
func TestServeHTTPIsGuardedToo(t *testing.T) {
	w := newWorld(t)
	h := w.serve(w.server(w.guard(middleware.RequireTLS())))
	conn := w.serveHTTP(h.server)
	token := w.token()
	require.NoError(t, call(w.with(unaryCall, token), conn).err)
	a := call(w.ctx(), conn)
	requireRefused(t, a.err, codes.Unauthenticated, "")
	require.NotEmpty(t, a.header["www-authenticate"])
	require.Empty(t, a.trailer["www-authenticate"])
	requireRefused(t, call(w.with("/grpc.testing.TestService/EmptyCall", token), conn).err, codes.Unauthenticated, "invalid_dpop_proof")
	require.EqualValues(t, 1, h.calls.Load())
}
