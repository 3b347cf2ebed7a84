package revocation

import (
	"context"
	"sync"
)

// maxPerHost is how many fetches from one host run at a time.
const maxPerHost = 8

// slots keeps a host that hangs from taking the fetches from all others with it: the
// distribution points have to answer when it is the responder that does not.
//
// Invariant: hosts holds those with a fetch that is running or waiting.
type slots struct {
	mu    sync.Mutex
	hosts map[string]*queue
}

type queue struct {
	running chan struct{}
	users   int
}

// take waits for a turn at host. The caller must call release if err is nil.
func (s *slots) take(ctx context.Context, host string) (release func(), err error) {
	s.mu.Lock()
	q, ok := s.hosts[host]
	if !ok {
		q = &queue{running: make(chan struct{}, maxPerHost)}
		s.hosts[host] = q
	}
	q.users++
	s.mu.Unlock()

	select {
	case q.running <- struct{}{}:
		return func() {
			<-q.running
			s.leave(host, q)
		}, nil
	case <-ctx.Done():
		s.leave(host, q)
		return nil, context.Cause(ctx)
	}
}

func (s *slots) leave(host string, q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(s.hosts, host)
	}
}
