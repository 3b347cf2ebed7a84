package terminators_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// boundTo reads a token as the thumbprint that it is bound to. It plays an issuer whose
// tokens are all good.
type boundTo struct{}

func (boundTo) VerifyToken(_ context.Context, raw string) (*oidc.Token, error) {
	return &oidc.Token{Confirmation: oidc.Confirmation{X5T: raw}}, nil
}

// service is a guarded service behind a terminator.
type service struct {
	*httptest.Server

	passed atomic.Int64 // requests that the guard let through

	mu   sync.Mutex
	seen []string // the values of the forwarded field in the last request
}

func newService(t *testing.T, c configuration, opts ...mtlspop.Option) *service {
	t.Helper()
	opts = append(opts, mtlspop.WithForwardedCertificate(c.header, c.format, netip.MustParsePrefix("127.0.0.1/32")))
	guard, err := middleware.New(
		middleware.WithTokens(&boundTo{}, nil),
		middleware.WithMTLS(mtlspop.New(opts...)),
	)
	require.NoError(t, err)
	s := &service{}
	guarded := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.passed.Add(1)
		credential, ok := middleware.FromContext(r.Context())
		if !ok {
			t.Error("the handler runs without a credential")
			return
		}
		if cert := credential.Certificate; cert != nil && mtlspop.Thumbprint(cert) != credential.Token.Confirmation.X5T {
			t.Error("the credential has another certificate")
		}
		w.WriteHeader(http.StatusOK)
	}))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = r.Header.Values(c.header)
		s.mu.Unlock()
		w.Header().Set("X-Reached", "service")
		guarded.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) address() string { return s.Listener.Addr().String() }

// forwarded returns what the field held in the last request.
func (s *service) forwarded() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}
