package middlewaretest

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// World has everything around a service for a test of all of it: an issuer, a server
// over TLS, guards for both, and honest clients.
//
//	w := middlewaretest.NewWorld(t)
//	w.Serve(w.Guard().Wrap(orders))
//	resp, err := w.Client(oidctest.Scope("orders:read")).Get(w.URL + "/orders")
//
// Its methods may be called concurrently.
type World struct {
	// Issuer issues the tokens.
	Issuer *oidctest.Issuer
	// URL is the origin of the server, without a slash at the end.
	URL string

	tb      testing.TB
	server  *httptest.Server
	tokens  *oidc.Verifier
	handler atomic.Pointer[http.Handler]
}

// NewWorld starts an issuer and a server, which answers 404 until [World.Serve]. Both
// end with the test.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	w := &World{Issuer: oidctest.NewIssuer(tb), tb: tb}
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if h := w.handler.Load(); h != nil {
			(*h).ServeHTTP(rw, r)
			return
		}
		http.NotFound(rw, r)
	}))
	tb.Cleanup(w.server.Close)
	w.URL = w.server.URL
	var err error
	if w.tokens, err = oidc.New(w.Issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.Issuer.Client())); err != nil {
		tb.Fatalf("middlewaretest: %v", err)
	}
	tb.Cleanup(func() { w.tokens.Close() })
	return w
}

// Serve makes h what the server serves.
func (w *World) Serve(h http.Handler) { w.handler.Store(&h) }

// Guard returns a guard for the world's issuer and server, with DPoP and the given
// options. Guards of one world share the verification of tokens and nothing else.
func (w *World) Guard(opts ...middleware.Option) *middleware.Guard {
	w.tb.Helper()
	g, err := middleware.New(append(w.Options(), opts...)...)
	if err != nil {
		w.tb.Fatalf("middlewaretest: %v", err)
	}
	return g
}

// Options are the WithTokens and WithDPoP of [World.Guard], for a guard that the
// service under test makes itself.
func (w *World) Options() []middleware.Option {
	return []middleware.Option{middleware.WithTokens(w.tokens, nil), middleware.WithDPoP(dpop.New(w.URL))}
}

// Client returns an HTTP client of a new user agent with a key and a token that is bound
// to it: every request has a proof of its own, as of [NewClient]. The changes are those
// of its token.
func (w *World) Client(changes ...oidctest.Change) *http.Client {
	w.tb.Helper()
	key := dpoptest.NewKey(w.tb)
	token := w.Issuer.Token(append([]oidctest.Change{oidctest.BoundToKey(key.Thumbprint())}, changes...)...)
	return NewClient(w.tb, w.server.Client(), key, token)
}

// Anonymous returns an HTTP client that trusts the server and has no credentials.
func (w *World) Anonymous() *http.Client { return w.server.Client() }
