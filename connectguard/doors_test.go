package connectguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// TestDoors sends the corpus by a client of connect-go in each protocol.
func TestDoors(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			method := http.MethodPost
			if name == "Connect, by GET" {
				method = http.MethodGet
			}
			doors.Run(t, doors.Door{
				Name: "connect-go, " + name, Folder: "connectguard",
				Options: []middleware.Option{middleware.WithDenyHandler(connectguard.Deny)},
				Place:   corpus.Place{Origin: "https://api.example", Method: method, Target: unaryCall},
				Cannot: func(c corpus.Case) string {
					if c.HTTPOnly {
						return "The client of connect-go chooses target and host itself."
					}
					return ""
				},
				Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
					return func(q doors.Question) doors.Answer { return ask(t, g, q, opts) }
				},
			})
		})
	}
}

func ask(t *testing.T, g *middleware.Guard, q doors.Question, opts []connect.ClientOption) (a doors.Answer) {
	ca := mtlspoptest.NewCA(t, "Servers")
	identity := ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"api.example"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	handler := connect.NewUnaryHandler(unaryCall, func(context.Context, *connect.Request[pb.SimpleRequest]) (*connect.Response[pb.SimpleResponse], error) {
		a.Passed = true
		return connect.NewResponse(new(pb.SimpleResponse)), nil
	}, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	server := &http.Server{
		Handler: g.Wrap(handler), Protocols: new(http.Protocols),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{identity.TLS()}, ClientAuth: tls.RequestClientCert},
	}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	base := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, Protocols: server.Protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		},
	}
	defer base.CloseIdleConnections()
	if q.Client != nil {
		base.TLSClientConfig.Certificates = []tls.Certificate{q.Client.TLS()}
	}
	scheme := "https"
	if q.Request.TLS == nil {
		scheme = "http"
		go server.Serve(listener)
	} else {
		go server.ServeTLS(listener, "", "")
	}
	defer server.Close()
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		for name, values := range q.Request.Header {
			r.Header[name] = values
		}
		if q.Case.Request.Early {
			r.Header.Set("Early-Data", "1") // TLS of Go has none
		}
		resp, err := base.RoundTrip(r)
		if err == nil {
			a.Header = resp.Header.Clone()
		}
		return resp, err
	})}
	opts = append(opts[:len(opts):len(opts)], connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	_, err = connect.NewClient[pb.SimpleRequest, pb.SimpleResponse](client, scheme+"://api.example"+unaryCall, opts...).CallUnary(t.Context(), connect.NewRequest(new(pb.SimpleRequest)))
	if !a.Passed {
		require.Equal(t, map[int]connect.Code{
			400: connect.CodeInvalidArgument, 401: connect.CodeUnauthenticated, 403: connect.CodePermissionDenied,
			425: connect.CodeUnavailable, 431: connect.CodeInvalidArgument, 503: connect.CodeUnavailable,
		}[q.Case.Verdict.Status], connect.CodeOf(err), "%v", err)
	}
	return a
}
