package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/internal/options"
)

// Server guards the calls of a gRPC server. It is made by [New], never changes, and is
// safe for concurrent use. The zero Server refuses every call.
type Server struct {
	guard  *middleware.Guard
	guards map[string]*middleware.Guard // by full method, and by service as "/pkg.Service/"
	exempt map[string]bool
	choose func(string) *middleware.Guard
}

// New returns a Server that asks guard about each call. The error joins every mistake in
// opts.
func New(guard *middleware.Guard, opts ...Option) (*Server, error) {
	c := &config{Set: options.For("grpcguard"), rules: make(map[string][]middleware.Rule), exempt: make(map[string]bool)}
	options.Each(c.Set, opts, func(o Option) { o.apply(c) })
	s := &Server{guard: guard, exempt: c.exempt, choose: c.choose}
	if options.Value(c.Set, "the Guard", guard) {
		s.guards = c.guards(guard)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// ServerOptions returns both interceptors, for [grpc.NewServer]. They guard the calls of
// every service, those of reflection, health and channelz too, and those that go to
// [grpc.UnknownServiceHandler]. Interceptors before these options see calls that are not
// judged yet.
func (s *Server) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.Unary), grpc.ChainStreamInterceptor(s.Stream)}
}

// CheckMethods reports each method or service named in [Require] or [Exempt] that server,
// a *[grpc.Server], does not have: rules for a misspelt name guard nothing. Call it once
// all services are registered.
func (s *Server) CheckMethods(server interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
}) error {
	has := make(map[string]bool)
	for service, info := range server.GetServiceInfo() {
		has["/"+service+"/"] = true
		for _, m := range info.Methods {
			has["/"+service+"/"+m.Name] = true
		}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.guards)) {
		if !has[name] {
			problems = append(problems, fmt.Errorf("grpcguard: Require: the server has no %s", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.exempt)) {
		if !has[name] {
			problems = append(problems, fmt.Errorf("grpcguard: Exempt: the server has no %s", name))
		}
	}
	return errors.Join(problems...)
}

// Unary is a [grpc.UnaryServerInterceptor]: one half of [Server.ServerOptions].
func (s *Server) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	p, err := s.judge(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if len(p.answer) > 0 {
		// Errors say that the headers are sent already, or that the transport has none.
		_ = grpc.SetHeader(ctx, p.answer)
		_ = grpc.SetTrailer(ctx, repeated(ctx, p.answer))
	}
	passed, end := p.context()
	defer end()
	return handler(passed, req)
}

// Stream is a [grpc.StreamServerInterceptor]: one half of [Server.ServerOptions].
func (s *Server) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	p, err := s.judge(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if len(p.answer) > 0 {
		// Not in the trailer: a nonce would be old by then.
		_ = ss.SetHeader(p.answer)
	}
	ctx, end := p.context()
	defer end()
	guarded := &serverStream{ServerStream: ss, ctx: ctx, ends: !p.ends.IsZero()}
	err = handler(srv, guarded)
	if guarded.over() {
		return errEnded
	}
	return err
}

// judge asks the Guard. The error is a status for the client. A panic in it, such as in
// an observer, becomes such an error: package grpc would end the process.
func (s *Server) judge(ctx context.Context, method string) (p pass, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			// Without the value of the panic: it may hold what the client has sent.
			slog.ErrorContext(ctx, fmt.Sprintf("grpcguard: a panic of type %T while a call was judged", panicked))
			p, err = pass{}, errNoDecision
		}
	}()
	if s == nil || s.guard == nil {
		return p, errNoDecision
	}
	if s.exempt[method] {
		return pass{ctx: middleware.NewContext(ctx, nil)}, nil
	}
	guard := s.guardFor(method)
	md, _ := metadata.FromIncomingContext(ctx)
	q := request(ctx, method, md)
	v := guard.Judge(ctx, q)
	answer := metadataOf(v.Header)
	if !v.Pass {
		_ = grpc.SetHeader(ctx, beside(ctx, answer))
		_ = grpc.SetTrailer(ctx, beside(ctx, repeated(ctx, answer)))
		return p, refusal(v)
	}
	answer = beside(ctx, answer)
	p = pass{ctx: middleware.NewContext(withAnswer(ctx, answer), v.Credential), answer: answer, ends: v.Ends}
	if changed, ok := forwarded(md, q.Header, v.Forward); ok {
		p.ctx = metadata.NewIncomingContext(p.ctx, changed)
	}
	return p, nil
}

// guardFor returns the Guard for calls of the method.
func (s *Server) guardFor(method string) *middleware.Guard {
	if s.choose != nil {
		if guard := s.choose(method); guard != nil {
			return guard
		}
	}
	if guard := s.guards[method]; guard != nil {
		return guard
	}
	if guard := s.guards[serviceOf(method)]; guard != nil {
		return guard
	}
	return s.guard
}
