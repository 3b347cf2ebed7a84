package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// world is the issuer, the service and the clients that take part.
type world struct {
	*demo
	issuer  *oidctest.Issuer
	service *httptest.Server

	key     *dpoptest.Key       // of the client that uses DPoP
	machine *mtlspoptest.Client // the client that has a certificate
	thief   *mtlspoptest.Client // an attacker with another certificate

	held struct { // the token that the wallet holds
		sync.Mutex
		token string
		since time.Time
	}
}

func newWorld(d *demo) *world {
	w := &world{
		demo:    d,
		key:     dpoptest.NewKey(d),
		machine: mtlspoptest.SelfSigned(d, "machine"),
		thief:   mtlspoptest.SelfSigned(d, "thief"),
	}
	w.issuer = oidctest.NewIssuer(d,
		oidctest.WithClient(oidctest.Registration{ID: "app", Secret: "app-secret"}),
		oidctest.WithClient(oidctest.Registration{
			ID: "machine", Method: "self_signed_tls_client_auth", Certificate: w.machine.Certificate, CertificateBound: true,
		}),
	)
	w.service = w.startService(func(origin string) http.Handler { return w.routes(origin) })
	return w
}

// startService starts a TLS service that asks its clients for certificates.
func (w *world) startService(routes func(origin string) http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(nil)
	s.TLS = mtlspop.RequestClientCert(nil)
	s.StartTLS()
	w.Cleanup(s.Close)
	s.Config.Handler = routes(s.URL)
	return s
}

// routes is what a service writes. Its two guards differ in one thing: one asks
// for nonces.
func (w *world) routes(origin string, more ...middleware.Option) http.Handler {
	tokens, err := oidc.New(w.issuer.URL, oidctest.Audience, oidc.WithHTTPClient(w.issuer.Client()))
	w.check(err)
	guard, err := middleware.New(append([]middleware.Option{
		middleware.WithTokens(tokens, nil),
		middleware.WithDPoP(dpop.New(origin)),
		middleware.WithMTLS(mtlspop.New()),
	}, more...)...)
	w.check(err)
	nonceKey := []byte(rand.Text() + rand.Text())
	withNonces, err := middleware.New(append([]middleware.Option{
		middleware.WithTokens(tokens, nil),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(dpop.NewNonces(nonceKey)))),
	}, more...)...)
	w.check(err)

	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Wrap(http.HandlerFunc(orders)))
	mux.Handle("POST /orders", guard.Require(middleware.Scopes("orders:write")).Wrap(http.HandlerFunc(orders)))
	mux.Handle("GET /payments", withNonces.Wrap(http.HandlerFunc(orders)))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	c, _ := middleware.FromContext(r.Context())
	by := "the key " + c.Token.Confirmation.JKT
	if c.Certificate != nil {
		by = "the certificate of " + c.Certificate.Subject.CommonName
	}
	fmt.Fprintf(w, "client %s, bound to %s\n", c.Token.ClientID, by)
}

// client is an HTTP client of the service, with a certificate or without one.
func (w *world) client(cert *mtlspoptest.Client) *http.Client { return w.clientOf(w.service, cert) }

func (w *world) clientOf(service *httptest.Server, cert *mtlspoptest.Client) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(service.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if cert != nil {
		config.Certificates = []tls.Certificate{cert.TLS()}
	}
	transport := &http.Transport{TLSClientConfig: config}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// token obtains a token from the issuer's token endpoint by the client
// credentials grant.
func (w *world) token(client *http.Client, edit func(*http.Request), form url.Values) string {
	form.Set("grant_type", "client_credentials")
	r, err := http.NewRequest("POST", w.issuer.Endpoint(oidctest.TokenEndpoint), strings.NewReader(form.Encode()))
	w.check(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if edit != nil {
		edit(r)
	}
	resp, err := client.Do(r)
	w.check(err)
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	}
	w.check(json.NewDecoder(resp.Body).Decode(&answer))
	if answer.AccessToken == "" {
		w.Fatalf("the issuer answered %s without a token", resp.Status)
	}
	return answer.AccessToken
}

// dpopToken is a token for the client app, bound to its key by the proof that
// goes along with the request.
func (w *world) dpopToken() string {
	return w.token(w.issuer.Client(), func(r *http.Request) {
		r.SetBasicAuth("app", "app-secret")
		r.Header.Set("DPoP", w.key.Proof("POST", r.URL.String(), ""))
	}, url.Values{"scope": {"orders:read"}})
}

// certificateToken is a token for the client machine, bound to the certificate
// that it authenticates with.
func (w *world) certificateToken() string {
	return w.token(w.issuer.ClientWithCertificate(w.machine.TLS()), nil, url.Values{"client_id": {"machine"}, "scope": {"orders:read"}})
}
