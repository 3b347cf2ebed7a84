package oidctest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybound-go/middleware/internal/josetest"
)

// Audience is the aud of an [Issuer]'s tokens, unless [WithAudience] sets another one.
const Audience = "https://api.example"

// Endpoint is one of the issuer's endpoints.
type Endpoint string

// The endpoints.
const (
	OpenIDMetadata Endpoint = "OpenID metadata" // /.well-known/openid-configuration behind the issuer
	OAuthMetadata  Endpoint = "OAuth metadata"  // RFC 8414: /.well-known/oauth-authorization-server before its path
	KeySet         Endpoint = "key set"         // jwks_uri
	TokenEndpoint  Endpoint = "token"           // RFC 6749, section 3.2
	Introspection  Endpoint = "introspection"   // RFC 7662 and RFC 9701
	Device         Endpoint = "device"          // RFC 8628, section 3.1: device authorization
	Verification   Endpoint = "verification"    // RFC 8628, section 3.3: where the user says yes
)

// Issuer is an issuer under the control of a test. Make one with [NewIssuer].
// Its methods may be called concurrently with each other and with requests.
type Issuer struct {
	// URL is the issuer identifier. Read it only.
	URL string

	report   func(format string, args ...any) // of a mistake in an edit
	settings settings
	origin   string // scheme and host of URL
	mtls     string // origin of the mTLS aliases, "" if there are none
	path     string // of URL, without a slash at the end
	tls      *authority

	mu       sync.Mutex
	keys     []*josetest.Key // published; the last one signs
	serial   int             // of the next key
	clients  map[string]Registration
	issued   map[string]map[string]any // token -> what introspection says of it
	used     map[string]bool           // jti of proofs and assertions
	devices  map[string]*device        // device code -> what became of it
	refresh  map[string]grant          // refresh token -> what it stands for
	closers  []func()
	nonce    string // that the token endpoint demands; "" for none
	requests map[Endpoint][]Request
	faults   map[Endpoint]Fault
	edits    map[Endpoint]func(map[string]any)
	editJWT  func(header, claims map[string]any)
	down     bool
	delay    time.Duration
}

// Request is one request that the issuer received.
type Request struct {
	Method      string
	Header      http.Header
	Form        url.Values // of the body
	Query       url.Values
	Certificate *x509.Certificate // the client's, nil if it sent none
}

// Option is a setting of [NewIssuer].
type Option func(*settings)

type settings struct {
	url           string
	path          string
	audience      string
	algorithm     string
	aliases       bool
	opaque        bool
	registrations []Registration
	changes       []Change
}

// InMemory gives the issuer the given identifier and no listener: the client of
// [Issuer.Client] reaches it without a network, whatever the host. It is what a
// test in a synctest bubble needs.
func InMemory(issuer string) Option { return func(s *settings) { s.url = issuer } }

// WithPath adds a path to the issuer identifier, such as /realms/main.
func WithPath(path string) Option { return func(s *settings) { s.path = path } }

// WithAudience sets the aud of the tokens. The default is [Audience].
func WithAudience(audience string) Option { return func(s *settings) { s.audience = audience } }

// WithAlgorithm sets what the tokens are signed with. The default is ES256.
func WithAlgorithm(alg string) Option { return func(s *settings) { s.algorithm = alg } }

// ListMTLSAliases lists mtls_endpoint_aliases (RFC 8705, section 5) on another
// origin. The issuer then asks for a client certificate only there.
func ListMTLSAliases() Option { return func(s *settings) { s.aliases = true } }

// WithChanges changes every token, after the changes that the test asks for with each.
// With oidctest.WithChanges(oidctest.Keycloak()) the issuer makes tokens as Keycloak
// does.
func WithChanges(changes ...Change) Option {
	return func(s *settings) { s.changes = append(s.changes, changes...) }
}

// IssueOpaqueTokens makes the token endpoint give out tokens that only
// introspection can read.
func IssueOpaqueTokens() Option { return func(s *settings) { s.opaque = true } }

// WithClient registers a client. By default there is one, "client", with the secret
// "secret".
func WithClient(r Registration) Option {
	return func(s *settings) { s.registrations = append(s.registrations, r) }
}

// NewIssuer starts an issuer on a loopback address, over TLS with a CA of its
// own, and stops it when the test ends.
func NewIssuer(tb testing.TB, opts ...Option) *Issuer {
	tb.Helper()
	i, err := start(tb.Errorf, opts)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(i.Close)
	return i
}

// Start is [NewIssuer] for a program that is no test: a demonstration, or a
// development issuer. The caller ends the issuer with [Issuer.Close]. An edit that
// is not JSON goes to [slog.Default], since no test is there to fail.
func Start(opts ...Option) (*Issuer, error) {
	return start(func(format string, args ...any) { slog.Error(fmt.Sprintf(format, args...)) }, opts)
}

func start(report func(format string, args ...any), opts []Option) (*Issuer, error) {
	s := settings{audience: Audience, algorithm: "ES256"}
	for _, o := range opts {
		o(&s)
	}
	if len(s.registrations) == 0 {
		s.registrations = []Registration{{ID: "client", Secret: "secret"}}
	}
	i := &Issuer{
		report:   report,
		settings: s,
		clients:  make(map[string]Registration),
		issued:   make(map[string]map[string]any),
		used:     make(map[string]bool),
		devices:  make(map[string]*device),
		refresh:  make(map[string]grant),
		requests: make(map[Endpoint][]Request),
		faults:   make(map[Endpoint]Fault),
		edits:    make(map[Endpoint]func(map[string]any)),
	}
	for _, r := range s.registrations {
		i.clients[r.ID] = r
	}
	i.Rotate()
	if err := i.open(); err != nil {
		i.Close()
		return nil, fmt.Errorf("oidctest: %w", err)
	}
	return i, nil
}

// open makes the CA and the listeners, unless the issuer is in memory.
func (i *Issuer) open() (err error) {
	if i.tls, err = newAuthority(); err != nil {
		return err
	}
	if i.settings.url != "" {
		if err := i.locate(i.settings.url + i.settings.path); err != nil {
			return err
		}
		if i.settings.aliases {
			i.mtls = strings.Replace(i.origin, "://", "://mtls.", 1)
		}
		return nil
	}
	origin, err := i.listen(!i.settings.aliases)
	if err != nil {
		return err
	}
	if err := i.locate(origin + i.settings.path); err != nil {
		return err
	}
	if i.settings.aliases {
		i.mtls, err = i.listen(true)
	}
	return err
}

// Close ends the issuer: its listeners, and the connections of its clients.
// [NewIssuer] calls it at the end of the test. A second call does nothing.
func (i *Issuer) Close() {
	i.mu.Lock()
	closers := i.closers
	i.closers = nil
	i.mu.Unlock()
	for _, f := range slices.Backward(closers) {
		f()
	}
}

func (i *Issuer) onClose(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closers = append(i.closers, f)
}

// locate takes the identifier apart.
func (i *Issuer) locate(identifier string) error {
	u, err := url.Parse(identifier)
	if err != nil {
		return err
	}
	i.URL = identifier
	i.origin = u.Scheme + "://" + u.Host
	i.path = strings.TrimSuffix(u.EscapedPath(), "/")
	return nil
}

// listen starts a server and returns its origin. httptest.NewServer would panic if no
// port is free.
func (i *Issuer) listen(askForCertificate bool) (origin string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &httptest.Server{
		Listener:    listener,
		Config:      &http.Server{Handler: i, ErrorLog: log.New(io.Discard, "", 0)}, // faults make noise
		TLS:         &tls.Config{Certificates: []tls.Certificate{i.tls.server}},
		EnableHTTP2: true,
	}
	if askForCertificate {
		server.TLS.ClientAuth = tls.RequestClientCert
	}
	server.StartTLS()
	i.onClose(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, nil
}

// Endpoint returns the URL of an endpoint.
func (i *Issuer) Endpoint(e Endpoint) string { return i.origin + i.paths()[e] }

func (i *Issuer) paths() map[Endpoint]string {
	return map[Endpoint]string{
		OpenIDMetadata: i.path + "/.well-known/openid-configuration",
		OAuthMetadata:  "/.well-known/oauth-authorization-server" + i.path,
		KeySet:         i.path + "/jwks",
		TokenEndpoint:  i.path + "/token",
		Introspection:  i.path + "/introspect",
		Device:         i.path + "/device_authorization",
		Verification:   i.path + "/device",
	}
}

// ServeHTTP answers as the issuer does, wherever it is mounted.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for e, path := range i.paths() {
		if r.URL.EscapedPath() != path {
			continue
		}
		fault, delay, down := i.record(e, r)
		if down {
			panic(http.ErrAbortHandler)
		}
		if !sleep(r, delay) {
			return
		}
		var h http.Handler = i.handler(e)
		if fault != nil {
			h = fault(h)
		}
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

func (i *Issuer) handler(e Endpoint) http.HandlerFunc {
	switch e {
	case KeySet:
		return i.serveKeySet
	case TokenEndpoint:
		return i.serveToken
	case Introspection:
		return i.serveIntrospection
	case Device:
		return i.serveDevice
	case Verification:
		return i.serveVerification
	default:
		return func(w http.ResponseWriter, r *http.Request) { i.serveMetadata(w, r, e) }
	}
}

// record notes the request and returns what is wrong with the endpoint.
func (i *Issuer) record(e Endpoint, r *http.Request) (fault Fault, delay time.Duration, down bool) {
	_ = r.ParseForm()
	seen := Request{Method: r.Method, Header: r.Header.Clone(), Form: r.PostForm, Query: r.URL.Query()}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		seen.Certificate = r.TLS.PeerCertificates[0]
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests[e] = append(i.requests[e], seen)
	return i.faults[e], i.delay, i.down
}

// Fetches returns how many requests an endpoint has received, refused ones included.
func (i *Issuer) Fetches(e Endpoint) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.requests[e])
}

// Requests returns the requests that an endpoint has received.
func (i *Issuer) Requests(e Endpoint) []Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.requests[e])
}

// Rotate makes a new key, publishes it beside the older ones, and signs with it
// from now on.
func (i *Issuer) Rotate() {
	i.publish(josetest.NewKey(i.settings.algorithm))
}

func (i *Issuer) publish(key *josetest.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serial++
	key.KeyID = "key-" + strconv.Itoa(i.serial)
	i.keys = append(i.keys, key)
}

// SignWith publishes the given key too and signs with it from now on, as alg.
func (i *Issuer) SignWith(alg string, key crypto.Signer) {
	i.publish(josetest.FromSigner(alg, key))
}

// PublicKey returns the key that verifies what is signed now.
func (i *Issuer) PublicKey() crypto.PublicKey { return i.signer().Signer.Public() }

// Retire withdraws every key except the one that signs.
func (i *Issuer) Retire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// signer is the key that signs.
func (i *Issuer) signer() *josetest.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

func (i *Issuer) serveKeySet(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	keys := slices.Clone(i.keys)
	i.mu.Unlock()
	list := []any{}
	for _, k := range keys {
		jwk := k.JWK()
		jwk["kid"], jwk["alg"], jwk["use"] = k.KeyID, k.Algorithm, "sig"
		list = append(list, jwk)
	}
	i.answer(w, KeySet, map[string]any{"keys": list})
}

func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request, e Endpoint) {
	doc := map[string]any{
		"issuer":                                     i.URL,
		"jwks_uri":                                   i.Endpoint(KeySet),
		"token_endpoint":                             i.Endpoint(TokenEndpoint),
		"introspection_endpoint":                     i.Endpoint(Introspection),
		"device_authorization_endpoint":              i.Endpoint(Device),
		"response_types_supported":                   []string{"code"},
		"grant_types_supported":                      []string{"client_credentials", "refresh_token", deviceCodeGrant},
		"subject_types_supported":                    []string{"public"},
		"id_token_signing_alg_values_supported":      []string{i.settings.algorithm},
		"token_endpoint_auth_methods_supported":      methods,
		"dpop_signing_alg_values_supported":          []string{"ES256", "ES384", "ES512", "PS256", "EdDSA", "Ed25519"},
		"tls_client_certificate_bound_access_tokens": true,
	}
	if i.mtls != "" {
		doc["mtls_endpoint_aliases"] = map[string]any{
			"token_endpoint":         i.mtls + i.paths()[TokenEndpoint],
			"introspection_endpoint": i.mtls + i.paths()[Introspection],
		}
	}
	i.answer(w, e, doc)
}

// answer sends doc as JSON, after the test's edits.
func (i *Issuer) answer(w http.ResponseWriter, e Endpoint, doc map[string]any) {
	i.mu.Lock()
	edit := i.edits[e]
	i.mu.Unlock()
	if edit != nil {
		edit(doc)
	}
	writeJSON(w, http.StatusOK, doc)
}

func writeJSON(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // the client went away
}
