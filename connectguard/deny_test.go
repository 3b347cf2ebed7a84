package connectguard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	unaryCall  = pb.TestService_UnaryCall_FullMethodName
	streamCall = pb.TestService_StreamingOutputCall_FullMethodName
	duplexCall = pb.TestService_FullDuplexCall_FullMethodName
)

// world has a server of connect-go behind a guard.
type world struct {
	t      *testing.T
	issuer *oidctest.Issuer
	server *httptest.Server
	calls  atomic.Int32
}

func subject(ctx context.Context) string {
	if c, ok := middleware.FromContext(ctx); ok {
		return c.Token.Subject
	}
	return ""
}

func newWorld(t *testing.T, proofs []dpop.Option, more ...middleware.Option) *world {
	t.Helper()
	w := &world{t: t, issuer: oidctest.NewIssuer(t)}
	mux := http.NewServeMux()
	mux.Handle(unaryCall, connect.NewUnaryHandler(unaryCall, func(ctx context.Context, _ *connect.Request[pb.SimpleRequest]) (*connect.Response[pb.SimpleResponse], error) {
		w.calls.Add(1)
		return connect.NewResponse(&pb.SimpleResponse{Username: subject(ctx)}), nil
	}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	mux.Handle(streamCall, connect.NewServerStreamHandler(streamCall, func(ctx context.Context, _ *connect.Request[pb.StreamingOutputCallRequest], s *connect.ServerStream[pb.StreamingOutputCallResponse]) error {
		w.calls.Add(1)
		return s.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: []byte(subject(ctx))}})
	}))
	mux.Handle(duplexCall, connect.NewBidiStreamHandler(duplexCall, func(ctx context.Context, s *connect.BidiStream[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
		w.calls.Add(1)
		return s.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: []byte(subject(ctx))}})
	}))
	var guarded http.Handler
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(rw, r) }))
	w.server.EnableHTTP2 = true
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	tokens, err := oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { tokens.Close() })
	guard, err := middleware.New(append([]middleware.Option{
		middleware.WithTokens(tokens, nil),
		middleware.WithDPoP(dpop.New(w.server.URL, proofs...)),
		middleware.WithDenyHandler(connectguard.Deny),
	}, more...)...)
	require.NoError(t, err)
	guarded = guard.Wrap(mux)
	return w
}

// signing is a client whose requests have a token and proofs.
func (w *world) signing() *http.Client {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	var transport *dpopclient.Transport
	transport, err = dpopclient.New(key, dpopclient.WithOrigins(w.server.URL), dpopclient.WithBase(w.server.Client().Transport),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
			return w.issuer.Token(oidctest.BoundToKey(transport.Thumbprint())), "DPoP", nil
		})))
	require.NoError(w.t, err)
	return &http.Client{Transport: transport}
}

// protocols are those that a client of connect-go speaks.
var protocols = map[string][]connect.ClientOption{
	"Connect":         nil,
	"Connect, JSON":   {connect.WithProtoJSON()},
	"Connect, by GET": {connect.WithHTTPGet()},
	"gRPC":            {connect.WithGRPC()},
	"gRPC-Web":        {connect.WithGRPCWeb()},
}

func (w *world) unary(client connect.HTTPClient, opts []connect.ClientOption) (string, error) {
	opts = append(opts[:len(opts):len(opts)], connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	c := connect.NewClient[pb.SimpleRequest, pb.SimpleResponse](client, w.server.URL+unaryCall, opts...)
	resp, err := c.CallUnary(w.t.Context(), connect.NewRequest(new(pb.SimpleRequest)))
	if err != nil {
		return "", err
	}
	return resp.Msg.Username, nil
}

func (w *world) stream(client connect.HTTPClient, opts []connect.ClientOption) (string, error) {
	c := connect.NewClient[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse](client, w.server.URL+streamCall, opts...)
	s, err := c.CallServerStream(w.t.Context(), connect.NewRequest(new(pb.StreamingOutputCallRequest)))
	if err != nil {
		return "", err
	}
	defer s.Close()
	if !s.Receive() {
		return "", s.Err()
	}
	return string(s.Msg().Payload.Body), nil
}

func (w *world) duplex(client connect.HTTPClient, opts []connect.ClientOption) (string, error) {
	c := connect.NewClient[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse](client, w.server.URL+duplexCall, opts...)
	s := c.CallBidiStream(w.t.Context())
	_ = s.Send(nil)
	_ = s.CloseRequest()
	m, err := s.Receive()
	defer s.CloseResponse()
	if err != nil {
		return "", err
	}
	return string(m.Payload.Body), nil
}

// requireRefused looks at an error as a client of connect-go gets it.
func requireRefused(t *testing.T, err error, code connect.Code, oauth string) *connect.Error {
	t.Helper()
	var refused *connect.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code(), "%v", err)
	require.NotEmpty(t, refused.Message())
	require.NotEmpty(t, refused.Meta().Values("Www-Authenticate"))
	var got string
	for _, d := range refused.Details() {
		value, err := d.Value()
		require.NoError(t, err)
		if info, ok := value.(*errdetails.ErrorInfo); ok {
			got = info.Metadata["error"]
			require.Equal(t, strings.ToUpper(got), info.Reason)
		}
	}
	require.Equal(t, oauth, got)
	return refused
}

func TestEveryProtocol(t *testing.T) {
	w := newWorld(t, nil)
	for name, opts := range protocols {
		for kind, call := range map[string]func(connect.HTTPClient, []connect.ClientOption) (string, error){"unary": w.unary, "stream": w.stream, "duplex": w.duplex} {
			if strings.Contains(name, "GET") && kind != "unary" {
				continue
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				reached := w.calls.Load()
				_, err := call(w.server.Client(), opts)
				refused := requireRefused(t, err, connect.CodeUnauthenticated, "")
				require.Equal(t, "authentication required", refused.Message())
				_, err = call(bearer(w, w.issuer.Token()), opts)
				refused = requireRefused(t, err, connect.CodeUnauthenticated, "invalid_token")
				require.Equal(t, "token is not sender-constrained", refused.Message())
				require.Equal(t, reached, w.calls.Load(), "a refused call reached its handler")
				got, err := call(w.signing(), opts)
				require.NoError(t, err)
				require.NotEmpty(t, got)
			})
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func bearer(w *world, token string) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
		return w.server.Client().Transport.RoundTrip(r)
	})}
}

// A client that calls by GET makes proofs for GET. A proof for POST is refused.
func TestGETHasAProofForGET(t *testing.T) {
	w := newWorld(t, nil)
	key := dpoptest.NewKey(t)
	token := w.issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	by := func(method string) *http.Client {
		return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "GET", r.Method)
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", key.Proof(method, w.server.URL+unaryCall, token))
			return w.server.Client().Transport.RoundTrip(r)
		})}
	}
	_, err := w.unary(by("POST"), protocols["Connect, by GET"])
	requireRefused(t, err, connect.CodeUnauthenticated, "invalid_dpop_proof")
	_, err = w.unary(by("GET"), protocols["Connect, by GET"])
	require.NoError(t, err)
}

// CLI-04 in every protocol: one more call with the nonce, if it can be sent again.
func TestNonces(t *testing.T) {
	w := newWorld(t, []dpop.Option{dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32))))})
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			_, err := w.unary(w.signing(), opts)
			require.NoError(t, err)
			if strings.Contains(name, "GET") {
				return
			}
			_, err = w.stream(w.signing(), opts)
			require.NoError(t, err)
			client := w.signing()
			_, err = w.duplex(client, opts)
			refused := requireRefused(t, err, connect.CodeUnauthenticated, "use_dpop_nonce")
			require.NotEmpty(t, refused.Meta().Values("Dpop-Nonce"))
			_, err = w.duplex(client, opts)
			require.NoError(t, err)
		})
	}
}

func TestCodes(t *testing.T) {
	w := newWorld(t, nil, middleware.WithRules(middleware.Scopes("admin")))
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			_, err := w.unary(w.signing(), opts)
			requireRefused(t, err, connect.CodePermissionDenied, "insufficient_scope")
			_, err = w.unary(bearer(w, "a b"), opts)
			requireRefused(t, err, connect.CodeInvalidArgument, "invalid_request")
		})
	}
	down := newWorld(t, nil)
	down.issuer.SetDown(true)
	for name, opts := range protocols {
		t.Run(name+", an outage", func(t *testing.T) {
			_, err := down.unary(down.signing(), opts)
			require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
		})
	}
}

// A client of grpc-go sees code, description, details, challenge and nonce.
func TestGRPCGo(t *testing.T) {
	w := newWorld(t, []dpop.Option{dpop.WithNonces(dpop.NewNonces([]byte(strings.Repeat("n", 32))))})
	host := strings.TrimPrefix(w.server.URL, "https://")
	roots := w.server.Client().Transport.(*http.Transport).TLSClientConfig
	conn, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(credentials.NewTLS(roots)))
	require.NoError(t, err)
	defer conn.Close()
	client := pb.NewTestServiceClient(conn)
	key := dpoptest.NewKey(t)
	token := w.issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	with := func(nonce ...dpoptest.ProofOption) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "DPoP "+token, "dpop", key.Proof("POST", w.server.URL+unaryCall, token, nonce...))
	}
	var header, trailer metadata.MD
	_, err = client.UnaryCall(with(), new(pb.SimpleRequest), grpc.Header(&header), grpc.Trailer(&trailer))
	require.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
	require.NotEmpty(t, header["www-authenticate"])
	require.Len(t, header["dpop-nonce"], 1)
	require.Empty(t, trailer["dpop-nonce"])
	info, ok := status.Convert(err).Details()[0].(*errdetails.ErrorInfo)
	require.True(t, ok)
	require.Equal(t, "USE_DPOP_NONCE", info.Reason)
	resp, err := client.UnaryCall(with(dpoptest.Nonce(header["dpop-nonce"][0])), new(pb.SimpleRequest))
	require.NoError(t, err)
	require.NotEmpty(t, resp.Username)
}

// answer is how Deny writes a refusal to a request of the given form.
func (w *world) raw(method, path, mediaType string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.server.URL+path, nil)
	require.NoError(w.t, err)
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	r.Header.Set("Authorization", "Bearer "+w.issuer.Token())
	resp, err := w.server.Client().Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp, string(body)
}

func TestForms(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		method, path, mediaType string
		status                  int
		body, grpcStatus        string
	}{
		{"POST", unaryCall, "application/proto", 401, `"code":"unauthenticated"`, ""},
		{"POST", unaryCall, "application/json; charset=utf-8", 401, `"code":"unauthenticated"`, ""},
		{"GET", unaryCall + "?connect=v1&encoding=json&message=%7b%7d", "", 401, `"code":"unauthenticated"`, ""},
		{"GET", unaryCall + "?encoding=json&message=%7b%7d", "", 401, `"code":"unauthenticated"`, ""},
		{"POST", streamCall, "application/connect+json", 200, `"code":"unauthenticated"`, ""},
		{"POST", streamCall, "application/connect+proto", 200, `"metadata":{"Www-Authenticate":["DPoP realm=`, ""},
		{"POST", unaryCall, "application/grpc", 200, "", "trailer"},
		{"POST", unaryCall, "application/grpc+proto", 200, "", "trailer"},
		{"POST", unaryCall, "application/grpc-web", 200, "", "header"},
		{"POST", unaryCall, "application/grpc-web+proto", 200, "", "header"},
		{"POST", unaryCall, "application/grpc-web-text+proto", 200, "", "header"},
		{"POST", unaryCall, "APPLICATION/GRPC-WEB-TEXT", 200, "", "header"},
		{"GET", "/", "", 401, `{"error":"invalid_token","error_description":"token is not sender-constrained"}`, ""},
		{"PUT", "/", "application/grpc", 401, `"error":"invalid_token"`, ""},
		{"POST", "/", "text/plain", 401, `"error":"invalid_token"`, ""},
		{"HEAD", "/", "", 401, "", ""},
		{"OPTIONS", "/", "", 401, `"error":"invalid_token"`, ""},
	} {
		t.Run(c.method+" "+c.path+" "+c.mediaType, func(t *testing.T) {
			resp, body := w.raw(c.method, c.path, c.mediaType)
			require.Equal(t, c.status, resp.StatusCode)
			require.Contains(t, body, c.body)
			if c.body == "" {
				require.Empty(t, body)
			}
			require.Len(t, resp.Header.Values("Www-Authenticate"), 1)
			require.Equal(t, []string{"no-store"}, resp.Header.Values("Cache-Control"))
			require.Equal(t, c.grpcStatus == "trailer", resp.Trailer.Get("Grpc-Status") == "16")
			require.Equal(t, c.grpcStatus == "header", resp.Header.Get("Grpc-Status") == "16")
		})
	}
	require.Zero(t, w.calls.Load())
}
