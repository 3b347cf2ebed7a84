package grpcguard

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/keybound-go/middleware"
)

// pass is a call that may reach its handler.
type pass struct {
	ctx    context.Context
	answer metadata.MD // for the client
	ends   time.Time   // the zero Time is never
}

// context returns the handler's context, which is done when the token ends. Call the
// function when the handler is done.
func (p *pass) context() (context.Context, func()) {
	if p.ends.IsZero() {
		return p.ctx, func() {}
	}
	// As in Guard.Wrap, no answer ends before it begins.
	return context.WithDeadlineCause(p.ctx, later(p.ends, time.Now().Add(time.Second)), middleware.ErrTokenEnded)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// serverStream is the stream that the handler sees. Once the token has ended, messages
// pass in neither direction.
type serverStream struct {
	grpc.ServerStream
	ctx  context.Context
	ends bool
}

func (s *serverStream) Context() context.Context { return s.ctx }

// over reports whether the token has ended.
func (s *serverStream) over() bool {
	return s.ends && s.ctx.Err() != nil && context.Cause(s.ctx) == middleware.ErrTokenEnded
}

func (s *serverStream) SendMsg(m any) error {
	if s.over() {
		return errEnded
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg returns at the end of the token even if the client sends nothing.
func (s *serverStream) RecvMsg(m any) error {
	if !s.ends {
		return s.ServerStream.RecvMsg(m)
	}
	if s.over() {
		return errEnded
	}
	received := make(chan error, 1)
	// The goroutine that is left behind returns as soon as the handler does. It may still
	// write to m, which no handler reads after an error.
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		if s.over() {
			return errEnded
		}
		return err
	case <-s.ctx.Done():
		if s.over() {
			return errEnded
		}
		return <-received // the client's call is over: its stream says how
	}
}
