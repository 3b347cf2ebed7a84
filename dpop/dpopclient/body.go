package dpopclient

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxCloseTime is how long a retry waits for the base to close the body that it has sent.
const maxCloseTime = time.Second

// bodies are the bodies of one request, one for each transmission.
type bodies struct {
	req  *http.Request
	last *sentBody // nil if the request has no body, or one that cannot be sent again
}

// first returns the body of the request itself.
func (b *bodies) first() io.ReadCloser {
	if !hasBody(b.req) || b.req.GetBody == nil {
		return b.req.Body
	}
	return b.watch(b.req.Body)
}

// again returns the body from its beginning. Some clients, such as connect-go, give the
// same body once more, wound back. So the base must be done with it.
//
// Precondition: isReplayable(b.req).
func (b *bodies) again() (io.ReadCloser, error) {
	if b.last == nil {
		return b.req.Body, nil
	}
	late := time.NewTimer(maxCloseTime)
	defer late.Stop()
	select {
	case <-b.last.done:
	case <-late.C:
	case <-b.req.Context().Done():
	}
	body, err := b.req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("dpopclient: body for the retry: %w", err)
	}
	return b.watch(body), nil
}

func (b *bodies) watch(body io.ReadCloser) io.ReadCloser {
	b.last = &sentBody{body: body, done: make(chan struct{})}
	return b.last
}

// sentBody tells when the base is done with it. A base may go on reading after RoundTrip
// has returned (see [http.RoundTripper]), and that of net/http may read and close at the
// same time.
type sentBody struct {
	body io.ReadCloser
	done chan struct{} // closed once no Read can reach body any more

	mu      sync.Mutex
	reading int
	closing bool // no Read may begin
	closed  bool // body.Close has returned
}

func (s *sentBody) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	s.reading++
	s.mu.Unlock()
	defer s.change(func() { s.reading-- })
	return s.body.Read(p)
}

func (s *sentBody) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	defer s.change(func() { s.closed = true })
	return s.body.Close()
}

// change makes a change that may be the last.
func (s *sentBody) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.reading == 0 && s.closed
	f()
	if s.reading == 0 && s.closed && !before {
		close(s.done)
	}
}
