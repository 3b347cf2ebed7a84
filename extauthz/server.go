package extauthz

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/identity"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/peers"
)

// Server answers Envoy's questions; register it with
// authv3.RegisterAuthorizationServer. It is safe for concurrent use. The zero Server
// refuses every request.
type Server struct {
	authv3.UnimplementedAuthorizationServer

	guard  *middleware.Guard
	peers  *peers.Set
	sign   *identity.Signer // nil: no assertion
	logger *slog.Logger
	said   [causes]atomic.Int64 // when each cause was reported last, in Unix seconds
}

// New returns a Server that asks guard, or every mistake in opts joined. [WithEnvoy] or
// [TrustUnixSocket] is required.
func New(guard *middleware.Guard, opts ...Option) (*Server, error) {
	c := &config{Set: options.For("extauthz")}
	options.Value(c.Set, "the Guard", guard)
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	if len(c.prefixes) == 0 && !c.unix {
		c.Problem("no peer is trusted: add WithEnvoy or TrustUnixSocket")
	}
	trusted := peers.New(c.prefixes, c.unix, func(problem string) { c.Problem("WithEnvoy: trusted prefix %s", problem) })
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Server{guard: guard, peers: trusted, sign: c.sign, logger: c.logger}, nil
}

// Check answers one question. The error is always nil: after an error Envoy would let the
// request pass if failure_mode_allow is set. Check denies with 403 if the peer is not
// trusted, with 500 if the question is not about an HTTP request, and with 503 if the
// Guard cannot decide.
func (s *Server) Check(ctx context.Context, question *authv3.CheckRequest) (answer *authv3.CheckResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.report(ctx, panicked, "a panic while answering a question", nil)
			answer, err = denied(middleware.Verdict{Denial: middleware.Denial{Status: http.StatusServiceUnavailable}}), nil
		}
	}()
	from, state := peerOf(ctx)
	if s == nil || s.guard == nil || !s.peers.Trusts(from) {
		s.report(ctx, untrusted, "a peer that is not trusted asks about a request", &from)
		return denied(middleware.Verdict{Denial: middleware.Denial{Status: http.StatusForbidden}}), nil
	}
	q, err := original(question)
	if err != nil {
		s.report(ctx, malformed, "a question without a request: "+err.Error(), &from)
		return denied(middleware.Verdict{Denial: middleware.Denial{Status: http.StatusInternalServerError}}), nil
	}
	q.RemoteAddr, q.LocalAddr = from.RemoteAddr, from.LocalAddr
	q.TLS = state
	v := s.guard.Judge(withCaller(ctx, question), q)
	if !v.Pass {
		return denied(v), nil
	}
	said := identity.Of(v.Credential)
	if s.sign != nil && v.Credential != nil {
		if said.Assertion, err = s.sign.Assert(v.Credential, q); err != nil {
			s.report(ctx, unsigned, "the assertion cannot be signed: "+err.Error(), &from)
			return denied(middleware.Verdict{Denial: middleware.Denial{Status: http.StatusServiceUnavailable}}), nil
		}
	}
	return passed(said, q.Header, v), nil
}

// peerOf returns the other end of the connection that a question came over, and its TLS
// state, or nil. The state is without Envoy's own certificate, which is not the client's.
func peerOf(ctx context.Context) (peers.Peer, *tls.ConnectionState) {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return peers.Peer{}, nil
	}
	from := peers.Peer{RemoteAddr: p.Addr.String(), LocalAddr: p.LocalAddr}
	if from.LocalAddr == nil {
		from.LocalAddr = p.Addr // Its network is that of the connection.
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return from, nil
	}
	state := info.State // a copy
	state.PeerCertificates, state.VerifiedChains = nil, nil
	return from, &state
}

// The causes that the Server reports itself.
const (
	untrusted = iota
	malformed
	unsigned
	panicked
	causes
)

// report logs a line, at most one for each cause in ten seconds.
func (s *Server) report(ctx context.Context, cause int, text string, from *peers.Peer) {
	const pause = 10 // seconds
	if s == nil {
		return
	}
	now := time.Now().Unix()
	last := s.said[cause].Load()
	if now-last < pause || !s.said[cause].CompareAndSwap(last, now) {
		return
	}
	logger := s.logger
	if logger == nil {
		logger = slog.Default()
	}
	var peer []any
	if from != nil {
		peer = []any{"peer", from.RemoteAddr}
	}
	logger.WarnContext(ctx, "extauthz: "+text, peer...)
}

// codeOf is the status of gRPC for one of HTTP. Envoy writes it into its log, and looks
// only at whether it is OK.
func codeOf(status int) codes.Code {
	switch {
	case status == http.StatusUnauthorized:
		return codes.Unauthenticated
	case status == http.StatusForbidden:
		return codes.PermissionDenied
	case status >= 500:
		return codes.Unavailable
	}
	return codes.InvalidArgument
}

var (
	errNoHTTP    = errors.New("attributes.request.http is missing")
	errNoHeaders = errors.New("it has no header fields at all")
	errParts     = errors.New("method, path and host must be there, and query and fragment must not")
	errKey       = errors.New("a header field without a name")
)
