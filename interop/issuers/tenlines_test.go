package issuers_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// What follows are services of ten lines, guarded as Kong's configurations say.

func (w *world) dpopService(t *testing.T, origin string) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(w.jwts(t)),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithRules(middleware.DPoPBound()),
		middleware.ForwardBearer(),
	)
}

func (w *world) bearerService(t *testing.T, _ string) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(w.jwts(t)),
		middleware.AllowUnbound(),
		middleware.WithRules(
			middleware.AnyOf(middleware.Scopes("orders:read", "orders:write"), middleware.Scopes("admin")),
			middleware.Claim([]string{"realm_access", "roles"}, "clerk"),
		),
		middleware.ForwardBearer(),
	)
}

func (w *world) headerService(t *testing.T, _ string) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(w.jwts(t)),
		middleware.WithMTLS(mtlspop.New(
			mtlspop.WithForwardedCertificate(certificateField, mtlspop.DER, netip.MustParsePrefix(terminatorAddress+"/32")),
			mtlspop.WithRoots(w.files.ca.Pool()),
		)),
		middleware.WithRules(middleware.CertificateBound()),
		middleware.ForwardBearer(),
	)
}

func (w *world) handshakeService(t *testing.T, _ string) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(w.jwts(t)),
		middleware.WithMTLS(mtlspop.New()),
		middleware.WithRules(middleware.CertificateBound()),
		middleware.ForwardBearer(),
	)
}

func (w *world) credentialsService(t *testing.T, _ string) (*middleware.Guard, error) {
	return middleware.New(
		middleware.WithTokens(w.answers(t)),
		middleware.WithExchange(exchange.New(w.from(t),
			exchange.WithScopes("orders:read"), exchange.WithParameter("resource", w.issuer.opaque))),
		middleware.AllowUnbound(),
		middleware.ForwardBearer(),
	)
}

// jwts verifies the issuer's JWTs.
func (w *world) jwts(t *testing.T) (*oidc.Verifier, error) {
	v, err := oidc.New(w.issuer.url, audience, append(w.issuer.profile, w.trust())...)
	if err == nil {
		t.Cleanup(func() { v.Close() })
	}
	return v, err
}

// answers asks the issuer about tokens.
func (w *world) answers(t *testing.T) (*introspect.Introspector, error) {
	return introspect.New(w.from(t), w.issuer.opaque, clientauth.PrivateKeyJWT("api", w.service.keys))
}

// from is the issuer, closed with the test.
func (w *world) from(t *testing.T) *oidc.Issuer {
	i, err := oidc.NewIssuer(w.issuer.url, w.trust())
	require.NoError(t, err)
	t.Cleanup(func() { i.Close() })
	return i
}

func (w *world) trust() oidc.IssuerOption { return oidc.WithHTTPClient(w.files.client(nil)) }

// startTenLines serves one of them.
func (w *world) startTenLines(t *testing.T, f *flow) *place {
	at := &place{backend: &backend{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, _ := middleware.FromContext(r.Context())
		fmt.Fprintln(w, "Hello,", credential.Token.Subject)
	})}}
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	at.guard = "https://" + server.Listener.Addr().String()
	guard, err := f.tenLines(w, t, at.guard)
	require.NoError(t, err)
	server.Config.Handler = guard.Wrap(at.backend)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate(w.files.server)}}
	if f.handshake {
		server.TLS = mtlspop.RequestClientCert(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return at
}
