package grpcguard

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// stream is the stream interceptor.
func (c *Client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := refuseOwnCredentials(ctx); err != nil {
		return nil, err
	}
	s := &clientStream{open: func() (grpc.ClientStream, *attempt, error) {
		ctx, a := begin(ctx)
		opened, err := open(ctx, desc, cc, method, opts...)
		return opened, a, err
	}}
	var err error
	if s.current, s.attempt, err = s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// clientStream is a stream that is opened once more if the server refuses it because it
// lacks a nonce. As with every stream of package grpc, one goroutine may send while
// another receives.
type clientStream struct {
	open func() (grpc.ClientStream, *attempt, error)

	mu      sync.Mutex
	current grpc.ClientStream
	attempt *attempt // of current
	first   any      // a copy of the only message that was sent, if settled is false
	sent    bool     // there was a message
	closed  bool     // the client has sent all
	heard   bool     // a message of the server has arrived
	settled bool     // current is the stream for good
}

func (s *clientStream) now() (grpc.ClientStream, *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.attempt
}

func (s *clientStream) Context() context.Context {
	current, _ := s.now()
	return current.Context()
}

func (s *clientStream) Trailer() metadata.MD {
	current, _ := s.now()
	return current.Trailer()
}

func (s *clientStream) Header() (metadata.MD, error) {
	for {
		current, a := s.now()
		header, err := current.Header()
		if err != nil || !a.learn(header, nil) || !s.reopen(current) {
			return header, err
		}
	}
}

func (s *clientStream) CloseSend() error {
	s.mu.Lock()
	s.closed = true
	current := s.current
	s.mu.Unlock()
	return current.CloseSend()
}

func (s *clientStream) SendMsg(m any) error {
	current, kept := s.keep(m)
	err := current.SendMsg(m)
	if err == io.EOF && kept {
		return nil // The stream is over. RecvMsg finds out why, and sends m again if that helps.
	}
	return err
}

// keep returns the stream for the message m, and reports whether m can be sent again.
func (s *clientStream) keep(m any) (current grpc.ClientStream, kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled {
		return s.current, false
	}
	message, ok := m.(proto.Message)
	if s.sent || !ok {
		s.settle()
		return s.current, false
	}
	s.sent, s.first = true, proto.Clone(message) // the caller may change m from now on
	return s.current, true
}

// settle ends the possibility to open the stream once more.
//
// Precondition: the lock is held.
func (s *clientStream) settle() { s.settled, s.first = true, nil }

func (s *clientStream) RecvMsg(m any) error {
	for {
		current, a := s.now()
		err := current.RecvMsg(m)
		if err == nil {
			if s.hear() {
				header, _ := current.Header() // It came before the message.
				a.learn(header, nil)
			}
			return nil
		}
		header, _ := current.Header()
		if asked := a.learn(header, current.Trailer()); !asked || status.Code(err) != codes.Unauthenticated || !s.reopen(current) {
			return err
		}
	}
}

// reopen replaces the refused stream by a new one. It reports false if that is not
// possible.
func (s *clientStream) reopen(refused grpc.ClientStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != refused {
		return true // Header and RecvMsg have both seen the refusal.
	}
	if s.settled {
		return false
	}
	first := s.first
	s.settle()
	opened, a, err := s.open()
	if err != nil {
		return false
	}
	s.current, s.attempt = opened, a
	// If it is over already, RecvMsg says why.
	if first != nil {
		_ = opened.SendMsg(first)
	}
	if s.closed {
		_ = opened.CloseSend()
	}
	return true
}

// hear notes that a message has arrived, and reports whether it is the first.
func (s *clientStream) hear() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.heard
	s.heard = true
	s.settle()
	return first
}
