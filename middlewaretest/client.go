package middlewaretest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// NewClient returns an HTTP client that holds an access token which is
// bound to key: every request that it sends through base carries the token and
// a proof of its own. If the service asks for a nonce, it tries once more, as
// clients do, provided that the body can be sent again. A nil base is
// [http.DefaultClient]; the client of an [httptest.Server] is what it usually is.
//
// It sends the token to whatever host it is pointed at: it is for tests.
//
// [httptest.Server]: https://pkg.go.dev/net/http/httptest#Server
func NewClient(tb testing.TB, base *http.Client, key *dpoptest.Key, token string) *http.Client {
	tb.Helper()
	if base == nil {
		base = http.DefaultClient
	}
	next := base.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	client := *base
	client.Transport = &signer{next: next, key: key, token: token}
	return &client
}

// signer is safe for concurrent use, as a RoundTripper must be.
type signer struct {
	next  http.RoundTripper
	key   *dpoptest.Key
	token string

	mu    sync.Mutex
	nonce string // the last one from the service, "" before the first
}

func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(s.signed(r))
	if err != nil || !s.learn(resp) || !asksForNonce(resp) || r.Body != nil && r.GetBody == nil {
		return resp, err
	}
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	resp, err = s.next.RoundTrip(s.signed(again))
	if err == nil {
		s.learn(resp)
	}
	return resp, err
}

// signed returns a copy of r with token and proof.
func (s *signer) signed(r *http.Request) *http.Request {
	s.mu.Lock()
	nonce := s.nonce
	s.mu.Unlock()
	var opts []dpoptest.ProofOption
	if nonce != "" {
		opts = append(opts, dpoptest.Nonce(nonce))
	}
	r = r.Clone(r.Context())
	s.key.Sign(r, s.token, opts...)
	return r
}

// learn keeps the nonce of a response and reports whether there was one.
func (s *signer) learn(resp *http.Response) bool {
	nonce := resp.Header.Get("DPoP-Nonce")
	if nonce == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce = nonce
	return true
}

func asksForNonce(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized &&
		strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ","), `error="use_dpop_nonce"`)
}
