package issuers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// What the service is called by issuers: for tokens that it verifies itself, and for
// those that it has to ask about.
const (
	audience       = "https://api.example"
	opaqueAudience = "https://opaque.api.example"
)

// service is one service behind several guards, each under a path of its own.
type service struct {
	*httptest.Server
	keys *clientauth.Keys // with which it authenticates itself to the issuer

	gateway      atomic.Pointer[url.URL] // the admin address of the gateway that runs, if one does
	gatewayAsked atomic.Int32            // how often its keys were fetched

	mu         sync.Mutex
	preflights int
	seen       http.Header // of the last request
	outcome    middleware.Outcome
}

const (
	verified = "/verified" // JWTs, bound ones only
	asked    = "/asked"    // tokens by introspection, bound ones only
	reported = "/reported" // the same, bound or not
	signed   = "/signed"   // the same, with signed answers
	nonces   = "/nonces"   // JWTs, and proofs with nonces
	hidden   = "/hidden"   // the same, but scripts of other origins do not see the nonces
	behind   = "/behind"   // JWTs, with the certificate in certificateField
	unbound  = "/unbound"  // JWTs, bound or not
	basic    = "/basic"    // client id and secret as well

	certificateField = "X-Client-Cert" // of a terminator on the loopback interface

	gatewayKeys = "/openid-connect/jwks" // as at the gateway itself
)

// newService starts a service whose guards do not know the issuer yet.
func newService(t *testing.T, f *files) *service {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys, err := clientauth.NewKeys(clientauth.Key{Signer: key})
	require.NoError(t, err)
	s := &service{keys: keys}
	s.Server = httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.TLS = mtlspop.RequestClientCert(&tls.Config{Certificates: []tls.Certificate{*certificate(f.server)}})
	s.Server.URL = "https://localhost" + strings.TrimPrefix(s.Listener.Addr().String(), "127.0.0.1")
	return s
}

// guard starts the service, with guards that accept the issuer's tokens.
func (s *service) guard(t *testing.T, w *world) {
	i := w.issuer
	from, err := oidc.NewIssuer(i.url, w.trust())
	require.NoError(t, err)
	jwts, err := from.Verifier(audience, i.profile...)
	require.NoError(t, err)
	ask := func(opts ...introspect.Option) *introspect.Introspector {
		// A second is short enough for the tests to see what happens when the issuer has
		// to be asked again.
		opts = append(opts, introspect.WithAnswerLifetime(time.Second), introspect.WithAudiences(audience))
		opts = append(opts, i.introspect...)
		answers, err := introspect.New(from, opaqueAudience, clientauth.PrivateKeyJWT("api", s.keys), opts...)
		require.NoError(t, err)
		t.Cleanup(func() { answers.Close() })
		return answers
	}
	parameter := "resource"
	if i.byAudience {
		parameter = "audience"
	}
	callers, err := exchange.New(from, exchange.WithScopes("orders"), exchange.WithParameter(parameter, audience))
	require.NoError(t, err)
	t.Cleanup(func() { callers.Close(); from.Close() })

	nonceKey := make([]byte, 32)
	_, _ = rand.Read(nonceKey)
	proofs := middleware.WithDPoP(dpop.New(s.URL))
	certificates := middleware.WithMTLS(mtlspop.New())
	mux := http.NewServeMux()
	mux.Handle("/jwks.json", s.keys) // of the client "api", the service itself
	mux.HandleFunc(gatewayKeys, s.serveGatewayKeys)
	mux.HandleFunc("/signed.json", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(rw).Encode(map[string]any{"keys": []any{w.signedPublicKey()}})
	})
	for path, page := range i.pages {
		mux.Handle(path, page)
	}
	for path, opts := range map[string][]middleware.Option{
		reported: {middleware.WithTokens(ask(), nil), proofs, certificates, middleware.AllowUnbound()},
		verified: {middleware.WithTokens(jwts, nil), proofs, certificates},
		asked:    {middleware.WithTokens(ask(), nil), proofs, certificates},
		signed:   {middleware.WithTokens(ask(introspect.RequireSigned()), nil), proofs, certificates},
		nonces: {middleware.WithTokens(jwts, nil), certificates, middleware.ExposeHeaders(),
			middleware.WithDPoP(dpop.New(s.URL, dpop.WithNonces(dpop.NewNonces(nonceKey))))},
		hidden: {middleware.WithTokens(jwts, nil),
			middleware.WithDPoP(dpop.New(s.URL, dpop.WithNonces(dpop.NewNonces(nonceKey))))},
		behind: {middleware.WithTokens(jwts, nil), middleware.WithMTLS(mtlspop.New(
			mtlspop.WithForwardedCertificate(certificateField, mtlspop.PEM, netip.MustParsePrefix("127.0.0.0/8"))))},
		unbound: {middleware.WithTokens(jwts, nil), proofs, certificates, middleware.AllowUnbound()},
		basic:   {middleware.WithTokens(jwts, nil), middleware.WithExchange(callers, nil), middleware.AllowUnbound()},
	} {
		guard, err := middleware.New(append(opts, middleware.WithObserver(s.observe))...)
		require.NoError(t, err)
		guarded := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := middleware.FromContext(r.Context()); !ok {
				t.Error("the handler runs without a credential")
			}
		}))
		mux.Handle(path, guarded)
		mux.Handle(path+"/other", guarded)
	}
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if allowOrigins(w, r) {
			s.preflights++
			s.mu.Unlock()
			return
		}
		s.seen = r.Header.Clone()
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
	own := s.URL
	s.Server.URL = ""
	s.StartTLS()
	s.Server.URL = own
	t.Cleanup(s.Close)
}

// serveGatewayKeys passes on the keys of the gateway, whose admin address is only for the
// operator.
func (s *service) serveGatewayKeys(rw http.ResponseWriter, r *http.Request) {
	admin := s.gateway.Load()
	if admin == nil {
		http.Error(rw, "there is no gateway", http.StatusServiceUnavailable)
		return
	}
	s.gatewayAsked.Add(1)
	httputil.NewSingleHostReverseProxy(admin).ServeHTTP(rw, r)
}

// allowOrigins lets scripts of every origin call the service, as the CORS middleware of
// an application would, and reports whether that was all there is to answer.
func allowOrigins(w http.ResponseWriter, r *http.Request) (preflight bool) {
	if r.Header.Get("Origin") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodOptions {
		return false
	}
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, DPoP")
	return true
}

func (s *service) observe(_ context.Context, o middleware.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome = o
}

func (s *service) countPreflights() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.preflights
}

// last returns the header of the last request, and what was decided.
func (s *service) last() (http.Header, middleware.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.outcome
}
