package remote_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/remote"
)

// server is a RoundTripper without a network, so that time in a synctest
// bubble moves only by sleeping.
type server struct {
	mu     sync.Mutex
	hits   int
	answer func(*http.Request) (*http.Response, error)
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.hits++
	answer := s.answer
	s.mu.Unlock()
	return answer(r)
}

func (s *server) set(f func(*http.Request) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

func says(body string, header ...string) func(*http.Request) (*http.Response, error) {
	return status(http.StatusOK, body, header...)
}

func status(code int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Add(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func fails(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// slowly answers after d, or when the request ends.
func slowly(d time.Duration, then func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func text(body []byte, _ http.Header) (string, error) {
	if len(body) == 0 {
		return "", errors.New("empty")
	}
	return string(body), nil
}

// start makes a Resource on a fresh server.
func start(t *testing.T, change func(*remote.Config[string])) (*remote.Resource[string], *server) {
	t.Helper()
	s := &server{answer: says("one")}
	cfg := remote.Config[string]{
		Locate: remote.At("https://issuer.example/doc?tenant=7"),
		Decode: text,
		Client: &http.Client{Transport: s},
	}
	if change != nil {
		change(&cfg)
	}
	r, err := remote.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r, s
}

func get(t *testing.T, r *remote.Resource[string]) string {
	t.Helper()
	s, err := r.Get(context.Background())
	require.NoError(t, err)
	return s.Value
}

// quiet is for servers whose handshakes are meant to fail.
var quiet = log.New(io.Discard, "", 0)
