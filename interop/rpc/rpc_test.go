package rpc_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const python = "../.cache/rpc/bin/python3"

// need skips the test, loudly, or fails it under INTEROP_REQUIRED.
func need(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if _, err := os.Stat(name); err == nil {
		return name
	}
	missing := "!! NOT TESTED: " + name + " is not on this machine; run interop/run rpc"
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// world is a server that demands DPoP with nonces, and what a client of it needs.
type world struct {
	listener net.Listener
	guard    *middleware.Guard
	tls      *tls.Config
	env      []string
}

func newWorld(t *testing.T, more ...middleware.Option) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	address := "localhost:" + port

	ca := mtlspoptest.NewCA(t, "Servers")
	identity := ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"localhost"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw}), 0o600))

	issuer := oidctest.NewIssuer(t)
	tokens, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	require.NoError(t, err)
	t.Cleanup(func() { tokens.Close() })
	guard, err := middleware.New(append([]middleware.Option{
		middleware.WithTokens(tokens, nil), middleware.RequireTLS(),
		middleware.WithDPoP(dpop.New("https://"+address, dpop.WithNonces(dpop.NewNonces([]byte(rand.Text()+rand.Text()))))),
	}, more...)...)
	require.NoError(t, err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := dpopclient.New(key, dpopclient.WithOrigins("https://"+address))
	require.NoError(t, err)
	return &world{
		listener: listener, guard: guard,
		tls: &tls.Config{Certificates: []tls.Certificate{identity.TLS()}, NextProtos: []string{"h2"}},
		env: append(os.Environ(), "ADDRESS="+address, "CA="+caFile, "JWK="+privateJWK(t, key), "TOKEN="+issuer.Token(oidctest.BoundToKey(signer.Thumbprint()))),
	}
}

func privateJWK(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	public, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	private, err := key.Bytes()
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	text, err := json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "x": b64(public[1:33]), "y": b64(public[33:]), "d": b64(private)})
	require.NoError(t, err)
	return string(text)
}

// step is what a client says that it did.
type step struct {
	Did, Code, Message, Challenge, Nonce string
	Proofs                               int
}

// run runs a client, and returns its steps by name.
func (w *world) run(t *testing.T, env []string, name string, args ...string) map[string]step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(w.env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", out, &stderr)
	steps := make(map[string]step)
	for line := range bytes.Lines(out) {
		var s step
		require.NoError(t, json.Unmarshal(line, &s), "%s", line)
		steps[s.Did] = s
	}
	return steps
}

// TestGRPC has clients whose call credentials make the proofs.
func TestGRPC(t *testing.T) {
	for _, client := range []struct{ name, program, script, module string }{
		{"grpcio", python, "client.py", python},
		{"grpc-js", "node", "client.mjs", "node_modules/@grpc/grpc-js/package.json"},
	} {
		t.Run(client.name, func(t *testing.T) {
			program := need(t, client.program)
			need(t, client.module)
			w := newWorld(t)
			calls, err := grpcguard.New(w.guard)
			require.NoError(t, err)
			server := grpc.NewServer(append(calls.ServerOptions(), grpc.Creds(credentials.NewTLS(w.tls)))...)
			healthpb.RegisterHealthServer(server, health.NewServer())
			go server.Serve(w.listener)
			defer server.Stop()
			got := w.run(t, nil, program, client.script)

			require.Equal(t, "UNAUTHENTICATED", got["plain"].Code)
			require.Equal(t, "authentication required", got["plain"].Message)
			require.Contains(t, got["plain"].Challenge, "DPoP realm=")
			require.Equal(t, "UNAUTHENTICATED", got["first"].Code)
			require.Contains(t, got["first"].Challenge, `error="use_dpop_nonce"`)
			require.NotEmpty(t, got["first"].Nonce)
			require.Equal(t, "OK", got["retry"].Code)
			require.Equal(t, "OK", got["next"].Code)
			require.Equal(t, "UNAUTHENTICATED", got["replay"].Code)
			require.Contains(t, got["replay"].Challenge, `error="invalid_dpop_proof"`)
			require.Equal(t, step{Did: "stream", Code: "OK", Proofs: 4}, got["stream"])
		})
	}
}

// TestConnect has connect-es in each of its protocols, with an interceptor that signs.
func TestConnect(t *testing.T) {
	node := need(t, "node")
	need(t, "node_modules/@connectrpc/connect-node/package.json")
	descriptor := filepath.Join(t.TempDir(), "health.binpb")
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(healthpb.File_grpc_health_v1_health_proto)}}
	// The generated descriptor does not say it, and calls by GET need it.
	for _, m := range set.File[0].Service[0].Method {
		if !m.GetServerStreaming() {
			m.Options = &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}
		}
	}
	bytes, err := proto.Marshal(set)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(descriptor, bytes, 0o600))
	for _, protocol := range []string{"connect", "get", "grpc", "grpc-web"} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, middleware.WithDenyHandler(connectguard.Deny))
			mux := http.NewServeMux()
			mux.Handle(healthpb.Health_Check_FullMethodName, connect.NewUnaryHandler(healthpb.Health_Check_FullMethodName,
				func(context.Context, *connect.Request[healthpb.HealthCheckRequest]) (*connect.Response[healthpb.HealthCheckResponse], error) {
					return connect.NewResponse(new(healthpb.HealthCheckResponse)), nil
				}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
			mux.Handle(healthpb.Health_Watch_FullMethodName, connect.NewServerStreamHandler(healthpb.Health_Watch_FullMethodName,
				func(_ context.Context, _ *connect.Request[healthpb.HealthCheckRequest], s *connect.ServerStream[healthpb.HealthCheckResponse]) error {
					return s.Send(new(healthpb.HealthCheckResponse))
				}))
			server := &http.Server{Handler: w.guard.Wrap(mux), TLSConfig: w.tls}
			go server.ServeTLS(w.listener, "", "")
			defer server.Close()
			got := w.run(t, []string{"PROTOCOL=" + protocol, "DESCRIPTOR=" + descriptor}, node, "connect.mjs")
			require.Equal(t, "Unauthenticated", got["plain"].Code)
			require.Equal(t, "authentication required", got["plain"].Message)
			require.Contains(t, got["plain"].Challenge, "DPoP realm=")
			require.Equal(t, step{Did: "first", Code: "OK", Proofs: 2}, got["first"])
			require.Equal(t, step{Did: "next", Code: "OK", Proofs: 3}, got["next"])
			require.Equal(t, step{Did: "stream", Code: "OK", Proofs: 4}, got["stream"])
		})
	}
}
