package producttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/internal/oracle"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
	"github.com/keybound-go/middleware/session"
)

const (
	origin = "https://api.example"
	// Of the service, but not of the tenant; and of the tenant, but not of the service.
	otherHost, tenantHost = "other.example", "tenant.example"
	issuerURL             = "https://issuer.example"
	path                  = "/orders"
	proxyAddr             = "10.1.2.3:4567"
	peerAddr              = "192.0.2.1:4567"
	certField             = "Client-Cert"

	listedClient = "legacy" // may send bound tokens as Bearer in a rollout

	// What oidctest says of a token if no Change does.
	defaultClient, defaultSubject = "client", "user-1"
)

// A world makes real guards and real requests from their descriptions. It is the one
// place that names the guard's functions. Everything in it is made once and shared.
type world struct {
	t                 testing.TB
	issuer            *oidctest.Issuer
	key, other, rs256 *josetest.Key
	right, wrong      *mtlspoptest.Client
	nonceKey          [2][]byte
	tokens            [2][2][oracle.TokenCount][oracle.BindingCount]string // JWTs and opaque ones; of any client and the listed one
	cookies           map[string]string                                    // by the session's scheme and token
	forged            string                                               // a cookie of another service
	nonces            [2][oracle.NonceCount]string
	verifiers         map[verifierKey]middleware.TokenVerifier
	proofs, chains    sync.Map
	count             atomic.Uint64 // of requests
	ids               sync.Map      // of proofs: what a replay store is asked about
	dpops             map[dpopKey]*dpop.Verifier
	mtls              [2]*mtlspop.Verifier
	sessions          [2]*session.Sessions
	proxyPrefix       netip.Prefix
	resource          middleware.ProtectedResource
	tlsStates         [oracle.CertCount][2]*tls.ConnectionState
	forward           [oracle.CertCount]string
}

// The parts that a nested guard has of its own, and those that both share.
const (
	outerParts = 0
	innerParts = 1
)

type verifierKey struct {
	parts                        int
	fapi2, opaque, tenants, down bool
}

type dpopKey struct {
	parts, preset int
	nonces        bool
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, issuer: oidctest.NewIssuer(t, oidctest.InMemory(issuerURL)),
		key: josetest.NewKey("ES256"), other: josetest.NewKey("ES256"), rs256: josetest.NewKey("RS256"),
		right: mtlspoptest.SelfSigned(t, "right"), wrong: mtlspoptest.SelfSigned(t, "wrong"),
		nonceKey:    [2][]byte{[]byte(strings.Repeat("0", 32)), []byte(strings.Repeat("1", 32))},
		cookies:     make(map[string]string),
		verifiers:   make(map[verifierKey]middleware.TokenVerifier),
		dpops:       make(map[dpopKey]*dpop.Verifier),
		proxyPrefix: netip.MustParsePrefix("10.1.2.0/24"),
		resource:    middleware.ProtectedResource{Identifier: origin, AuthorizationServers: []string{issuerURL}},
	}
	loud := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // each guard with a rollout warns of it
	t.Cleanup(func() { slog.SetDefault(loud) })
	w.makeNonces()
	w.makeParts()
	w.makeTokens()
	w.makeCookies()
	w.makeCertificates()
	return w
}

// makeNonces takes a minute: a nonce that is past half of its life, for each lifetime.
func (w *world) makeNonces() {
	issue := func(key []byte) string {
		source, err := dpop.NewNonces(key)
		w.must(err)
		nonce, err := source.Issue(context.Background())
		w.must(err)
		return nonce
	}
	const fresh, previous, foreign = oracle.FreshNonce, oracle.PreviousNonce, oracle.ForeignNonce
	w.nonces[1][previous] = issue(w.nonceKey[0])
	time.Sleep(200 * time.Second) // of five minutes
	w.nonces[0][previous] = issue(w.nonceKey[0])
	time.Sleep(40 * time.Second) // of one minute
	for i := range w.nonces {
		w.nonces[i][fresh] = issue(w.nonceKey[0])
		w.nonces[i][foreign] = issue([]byte(strings.Repeat("2", 32)))
	}
}

func (w *world) makeParts() {
	for parts := range 2 {
		for _, fapi2 := range []bool{false, true} {
			for _, down := range []bool{false, true} {
				client := w.issuer.Client()
				if down {
					client = &http.Client{Transport: silence{}}
				}
				opts := []oidc.Option{oidc.WithHTTPClient(client)}
				if fapi2 {
					opts = append(opts, oidc.FAPI2())
				}
				v, err := oidc.New(issuerURL, oidctest.Audience, opts...)
				w.must(err)
				w.t.Cleanup(func() { v.Close() })
				w.verifiers[verifierKey{parts, fapi2, false, false, down}] = v
				w.verifiers[verifierKey{parts, fapi2, true, false, down}] = w.introspector(client)
				w.verifiers[verifierKey{parts, fapi2, false, true, down}] = w.tenants(v.Policy(), opts)
			}
		}
		for preset := range 3 {
			for _, nonces := range []bool{false, true} {
				opts := []dpop.Option{dpop.WithReplayCache(memory{w, parts}, nil), dpop.WithOrigins("https://" + otherHost)}
				switch preset {
				case presetFAPI2:
					opts = append(opts, dpop.FAPI2())
				case presetMCP:
					opts = append(opts, dpop.MCP())
				}
				if nonces {
					source, err := dpop.NewNonces(w.nonceKey[parts])
					opts = append(opts, dpop.WithNonces(nonceSource{source}, err))
				}
				v, err := dpop.New(origin, opts...)
				w.must(err)
				w.dpops[dpopKey{parts, preset, nonces}] = v
			}
		}
		v, err := mtlspop.New(mtlspop.WithForwardedCertificate(certField, mtlspop.RFC9440, w.proxyPrefix))
		w.must(err)
		w.mtls[parts] = v
		s, err := session.New([]byte(strings.Repeat(string(rune('a'+parts)), 32)))
		w.must(err)
		w.sessions[parts] = s
	}
}

// tenants has one tenant: the issuer, with hosts of its own.
func (w *world) tenants(policy oidc.Policy, opts []oidc.Option) middleware.TokenVerifier {
	opts = append(slices.Clone(opts), oidc.WithOrigins(origin, "https://"+tenantHost), oidc.WithCacheSize(0))
	v, err := tenants.New(func(_ context.Context, iss string) (*oidc.Verifier, error) {
		if iss != issuerURL {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(iss, oidctest.Audience, opts...)
	}, tenants.WithPolicy(policy), tenants.RequireOrigins())
	w.must(err)
	w.t.Cleanup(func() { v.Close() })
	return v
}

// introspector asks the issuer about tokens, by way of client.
func (w *world) introspector(client *http.Client) middleware.TokenVerifier {
	issuer, err := oidc.NewIssuer(issuerURL, oidc.WithHTTPClient(client))
	w.must(err)
	w.t.Cleanup(func() { issuer.Close() })
	v, err := introspect.New(issuer, oidctest.Audience, clientauth.SecretBasic("client", "secret"), introspect.WithEndpoint(issuerURL+"/introspect"))
	w.must(err)
	return v
}

func (w *world) makeTokens() {
	faults := [oracle.TokenCount]oidctest.Change{
		oracle.SoundToken:     func(*oidctest.Draft) {},
		oracle.OversizedToken: oidctest.Claim("padding", strings.Repeat("x", 40<<10)),
		oracle.GarbledToken:   func(*oidctest.Draft) {},
		oracle.TokenType:      oidctest.Header("typ", "dpop+jwt"),
		oracle.TokenAlg:       oidctest.Header("alg", "HS256"),
		oracle.OtherIssuer:    oidctest.Claim("iss", issuerURL+"/"),
		oracle.OtherAudience:  oidctest.Claim("aud", "https://other.example"),
		oracle.ExpiredToken:   oidctest.ExpiresIn(-time.Hour),
		oracle.FutureToken:    oidctest.Claim("nbf", time.Now().Add(time.Hour).Unix()),
		oracle.MissingClaim:   oidctest.Without("sub"),
		oracle.TokenSignature: oidctest.SignedBy("ES256", w.other.Signer),
		oracle.InactiveToken:  func(*oidctest.Draft) {},
	}
	jkt, x5t := w.key.Thumbprint(), w.right.Thumbprint()
	bindings := [oracle.BindingCount]oidctest.Change{
		oracle.Unbound:      func(*oidctest.Draft) {},
		oracle.ToKey:        oidctest.Claim("cnf", map[string]any{"jkt": jkt}),
		oracle.ToCert:       oidctest.Claim("cnf", map[string]any{"x5t#S256": x5t}),
		oracle.ToBoth:       oidctest.Claim("cnf", map[string]any{"jkt": jkt, "x5t#S256": x5t}),
		oracle.ToUnknown:    oidctest.Claim("cnf", map[string]any{"kid": "k"}),
		oracle.ToKeyUnknown: oidctest.Claim("cnf", map[string]any{"jkt": jkt, "kid": "k"}),
		oracle.NullCnf:      oidctest.Claim("cnf", nil),
	}
	for l, client := range []oidctest.Change{func(*oidctest.Draft) {}, oidctest.Claim("client_id", listedClient)} {
		for f, fault := range faults {
			for b, binding := range bindings {
				token := w.issuer.Token(oidctest.Scope("read"), client, binding, fault)
				if oracle.Token(f) == oracle.GarbledToken {
					token = "garbled" + token[len("garbled"):]
				}
				w.tokens[0][l][f][b] = token
				w.tokens[1][l][f][b] = w.opaque(oracle.Token(f), client, binding, fault)
			}
		}
	}
}

// opaque makes a token of which the issuer says the same.
func (w *world) opaque(f oracle.Token, changes ...oidctest.Change) string {
	switch f {
	case oracle.GarbledToken, oracle.TokenType, oracle.TokenAlg, oracle.ExpiredToken, oracle.MissingClaim, oracle.TokenSignature:
		return "" // see cannotExist
	case oracle.OversizedToken:
		return strings.Repeat("x", 40<<10)
	}
	token := w.issuer.OpaqueToken(append(changes, oidctest.Scope("read"))...)
	if f == oracle.InactiveToken {
		w.issuer.Revoke(token)
	}
	return token
}

// token returns the token that a request carries.
func (w *world) token(c *oracle.Config, q *oracle.Request) string {
	form, client := 0, 0
	if c.Opaque {
		form = 1
	}
	if q.Listed {
		client = 1
	}
	return w.tokens[form][client][q.Token][q.Binding]
}

func (w *world) makeCookies() {
	seal := func(s *session.Sessions, scheme, token string) string {
		h := make(http.Header)
		if !s.Save(h, &http.Request{Header: http.Header{}, URL: &url.URL{}}, session.Session{Scheme: scheme, Token: token}) {
			return ""
		}
		var pairs []string
		for _, line := range h["Set-Cookie"] {
			pair, _, _ := strings.Cut(line, ";")
			if !strings.HasSuffix(pair, "=") {
				pairs = append(pairs, pair)
			}
		}
		return strings.Join(pairs, "; ")
	}
	for _, form := range w.tokens {
		for _, client := range form {
			for _, tokens := range client {
				for _, token := range tokens {
					for _, scheme := range []string{"Bearer", "DPoP"} {
						w.cookies[scheme+token] = seal(w.sessions[outerParts], scheme, token)
					}
				}
			}
		}
	}
	stranger, err := session.New([]byte(strings.Repeat("z", 32)))
	w.must(err)
	w.forged = seal(stranger, "Bearer", w.tokens[0][0][0][0])
}

func (w *world) makeCertificates() {
	for c := range oracle.CertCount {
		for early := range 2 {
			state := &tls.ConnectionState{HandshakeComplete: early == 0}
			switch c {
			case oracle.RightTLS, oracle.ProxyOwn:
				state.PeerCertificates = []*x509.Certificate{w.right.Certificate}
			case oracle.WrongTLS:
				state.PeerCertificates = []*x509.Certificate{w.wrong.Certificate}
			}
			w.tlsStates[c][early] = state
		}
	}
	w.forward[oracle.Forged] = mtlspoptest.RFC9440(w.right)
	w.forward[oracle.RightHeader] = mtlspoptest.RFC9440(w.right)
	w.forward[oracle.WrongHeader] = mtlspoptest.RFC9440(w.wrong)
	w.forward[oracle.BrokenHeader] = ":bm8gY2VydGlmaWNhdGU=:"
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// silence is the network of an issuer that is down.
type silence struct{}

func (silence) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// situation is the state of the world for one request, and what comes of it. It travels
// in the request's context, so that stores and handlers that all requests share know it.
type situation struct {
	config   oracle.Config
	request  oracle.Request
	proof    string
	outcome  middleware.Outcome // of the guard that decided last
	ran      bool
	passed   context.Context // that the handler was given
	sampled  bool            // look at what is slow to look at
	seen     oracle.Handler
	problems []string // of invariants
}

type situationKey struct{}

func of(ctx context.Context) *situation { return ctx.Value(situationKey{}).(*situation) }

var errStore = errors.New("connection refused")

// memory is the store of used proofs at the other end of the network.
type memory struct {
	w     *world
	parts int
}

func (m memory) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	s := of(ctx)
	if s.request.Outage == oracle.ReplayStoreDown {
		return true, errStore // a guard that looks at the first result alone lets it pass
	}
	if want, _ := m.w.ids.Load(s.proof); id != want || jkt != m.w.key.Thumbprint() {
		s.problems = append(s.problems, "the replay store was asked about another proof")
	}
	if time.Until(until) < time.Second {
		s.problems = append(s.problems, "a used proof is not remembered")
	}
	return s.request.Proof != oracle.Replayed || m.parts == innerParts, nil
}

// nonceSource is dpop.Nonces with outages.
type nonceSource struct{ *dpop.Nonces }

func (n nonceSource) Issue(ctx context.Context) (string, error) {
	if of(ctx).request.Outage == oracle.NonceSourceDown {
		return "outage", errStore
	}
	return n.Nonces.Issue(ctx)
}

func (n nonceSource) IssuedAt(ctx context.Context, nonce string) (time.Time, bool, error) {
	if of(ctx).request.Outage == oracle.NonceSourceDown {
		return time.Now(), true, errStore
	}
	return n.Nonces.IssuedAt(ctx, nonce)
}

// guard makes the guard that c describes.
func (w *world) guard(c oracle.Config, preset, parts int, issuerDown bool) *middleware.Guard {
	fapi2 := preset == presetFAPI2
	opts := []middleware.Option{
		middleware.WithTokens(w.verifiers[verifierKey{parts, fapi2, c.Opaque, c.Tenants, issuerDown}], nil),
		middleware.WithObserver(func(ctx context.Context, o middleware.Outcome) { of(ctx).outcome = o }),
	}
	add := func(when bool, o middleware.Option) {
		if when {
			opts = append(opts, o)
		}
	}
	add(c.DPoP, middleware.WithDPoP(w.dpops[dpopKey{parts, preset, c.Nonces}], nil))
	add(c.MTLS, middleware.WithMTLS(w.mtls[parts], nil))
	add(c.Session, middleware.WithSession(w.sessions[parts], nil))
	add(c.RefuseStray, middleware.RefuseStrayProofs())
	add(c.IgnoreQuery, middleware.IgnoreQueryToken())
	add(c.PassPreflights, middleware.PassPreflights())
	add(c.Hide == oracle.ForwardBearer, middleware.ForwardBearer())
	add(c.Hide == oracle.HideAll, middleware.HideCredentials())
	add(fapi2, middleware.FAPI2())
	add(fapi2, middleware.WithRules(middleware.LimitTokenLifetime(time.Hour)))
	add(preset == presetMCP, middleware.MCP(w.resource))
	add(c.AllowUnbound && preset != presetMCP, middleware.AllowUnbound())
	add(c.RequireTLS, middleware.RequireTLS(w.proxyPrefix))
	if c.Rule != oracle.NoRule {
		// Nothing may depend on how a rule came into its stage. A staged rule is absent to
		// New, so that a guard without a part for an enforced one can be made.
		opts = append(opts, middleware.WithRules(staged(c.Rule, c.Stage, c.IgnoreQuery)))
	}
	if c.Rollout {
		opts = append(opts, middleware.DangerouslyAcceptAsBearer(time.Now().Add(30*24*time.Hour), listedClient))
	}
	g, err := middleware.New(opts...)
	w.must(err)
	return g
}

// staged is the rule in its stage. With chosen, a function chooses the stage once there
// is a credential, and where it fails the rule is enforced. If no challenge depends on
// the rule, what holds without a credential is something else then.
func staged(of oracle.Rule, s oracle.Stage, chosen bool) middleware.Rule {
	r := rule(of)
	if s == oracle.Enforce && !chosen {
		return r
	}
	level := map[oracle.Stage]middleware.Level{oracle.Report: middleware.Report, oracle.Off: middleware.Off}[s]
	stage := new(middleware.Stage)
	stage.Set(level)
	if chosen && (of == oracle.StepUpUnmet || of == oracle.OwnUnmet) {
		stage.Set(middleware.Off - level)
	}
	if chosen {
		stage.Choose(func(*middleware.Credential) middleware.Level {
			if s == oracle.Enforce {
				panic("no stage")
			}
			return level
		})
	}
	return middleware.Staged(r, stage)
}

func rule(r oracle.Rule) middleware.Rule {
	switch r {
	case oracle.ScopeMet:
		return middleware.Scopes("read")
	case oracle.ScopeUnmet:
		return middleware.Scopes("read", "write")
	case oracle.StepUpUnmet:
		return middleware.StepUp(0, "gold")
	case oracle.KeyWanted:
		return middleware.DPoPBound()
	case oracle.CertWanted:
		return middleware.CertificateBound()
	default:
		return middleware.RuleFunc("never", func(*http.Request, *middleware.Credential) bool { return false })
	}
}

// setup is what a combo's requests are sent to.
type setup struct {
	guard   *middleware.Guard
	handler http.Handler
	forward http.Handler // that answers a proxy; nil for nested guards
}

type setupKey struct {
	config     oracle.Config
	preset     int
	nest       uint8
	issuerDown bool
}

// setup makes, or finds, the guards of c with a handler behind them.
func (w *world) setup(c *combo) *setup {
	config, request := c.describe()
	k := setupKey{config, int(c[fPreset]), c[fNest], request.Outage == oracle.IssuerDown}
	if s, ok := w.chains.Load(k); ok {
		return s.(*setup)
	}
	outer, inner := nested(config)
	var s *setup
	switch c[fNest] {
	case noNest:
		g := w.guard(config, k.preset, outerParts, k.issuerDown)
		s = &setup{g, g.Wrap(http.HandlerFunc(handle)), w.forwardAuth(g)}
	default:
		parts := outerParts
		if c[fNest] == otherParts {
			parts = innerParts
		}
		g := w.guard(outer, k.preset, outerParts, k.issuerDown)
		s = &setup{g, g.Wrap(w.guard(inner, k.preset, parts, k.issuerDown).Wrap(http.HandlerFunc(handle))), nil}
	}
	found, _ := w.chains.LoadOrStore(k, s)
	return found.(*setup)
}

// nested divides a configuration: the outer guard hides, the inner one has the rules.
func nested(c oracle.Config) (outer, inner oracle.Config) {
	outer, inner = c, c
	outer.Rule, inner.Hide = oracle.NoRule, oracle.HideNothing
	return outer, inner
}

// handle is the handler behind all guards.
func handle(_ http.ResponseWriter, r *http.Request) {
	s := of(r.Context())
	s.ran, s.passed = true, r.Context()
	s.seen = oracle.Handler{Proof: len(r.Header["Dpop"]) > 0, CertHeader: len(r.Header[certField]) > 0}
	if a := r.Header["Authorization"]; len(a) > 0 {
		s.seen.Scheme, _, _ = strings.Cut(a[0], " ")
	}
	if c, ok := middleware.FromContext(r.Context()); ok {
		saw(&s.seen, c)
	}
	if s.config.Session && strings.Contains(strings.Join(r.Header["Cookie"], ""), "session") {
		s.problems = append(s.problems, "the handler sees the session's cookie")
	}
}

func saw(h *oracle.Handler, c *middleware.Credential) {
	h.Credential = true
	h.Key, h.Cert, h.Unproven = c.Proof != nil, c.Certificate != nil, c.KeyUnproven
}

func hostOf(q oracle.Request) string {
	switch {
	case q.Misdirect:
		return "api.example.evil.example"
	case q.At == oracle.OtherHost:
		return otherHost
	case q.At == oracle.TenantHost:
		return tenantHost
	}
	return "api.example"
}

var requestURL = &url.URL{Path: path}

// request makes the request that c describes.
func (w *world) request(c *combo) (*http.Request, *situation) {
	config, q := c.describe()
	r := &http.Request{
		Method: http.MethodGet, URL: requestURL, RequestURI: path, RemoteAddr: peerAddr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, 6), Body: http.NoBody,
	}
	token := w.token(&config, &q)
	switch q.Scheme {
	case oracle.Bearer:
		r.Header["Authorization"] = []string{"Bearer " + token}
	case oracle.DPoP:
		r.Header["Authorization"] = []string{"DPoP " + token}
	case oracle.Unsupported:
		r.Header["Authorization"] = []string{"Digest abc"}
	case oracle.MalformedBearer:
		r.Header["Authorization"] = []string{"Bearer " + token + " " + token}
	case oracle.MalformedDPoP:
		r.Header["Authorization"] = []string{"DPoP " + token + " " + token}
	case oracle.TwoFields:
		r.Header["Authorization"] = []string{"DPoP " + token, "Bearer " + token}
	}
	switch q.Cookie {
	case oracle.BearerCookie, oracle.CrossCookie:
		r.Header["Cookie"] = []string{w.cookies["Bearer"+token]}
	case oracle.DPoPCookie:
		r.Header["Cookie"] = []string{w.cookies["DPoP"+token]}
	case oracle.ForgedCookie:
		r.Header["Cookie"] = []string{w.forged}
	}
	if q.Cookie == oracle.CrossCookie {
		r.Method = http.MethodPost
		r.Header["Origin"], r.Header["Sec-Fetch-Site"] = []string{"https://evil.example"}, []string{"cross-site"}
	}
	if q.Query {
		r.URL = &url.URL{Path: path, RawQuery: "access_token=t"}
		r.RequestURI += "?access_token=t"
	}
	if q.Preflight {
		r.Method = http.MethodOptions
		r.Header["Origin"], r.Header["Access-Control-Request-Method"] = []string{"https://app.example"}, []string{"GET"}
	}
	r.Host = hostOf(q)
	w.transport(r, q)
	s := &situation{config: config, request: q}
	if q.Proof != oracle.NoProof {
		r.Header["Dpop"] = w.proof(token, q, r.Method, int(c[fPreset]))
		s.proof = r.Header["Dpop"][0]
	}
	return r.WithContext(context.WithValue(context.Background(), situationKey{}, s)), s
}

// transport adds what the connection brings.
func (w *world) transport(r *http.Request, q oracle.Request) {
	early := 0
	if q.Early {
		early = 1
	}
	if !q.Plain {
		r.TLS = w.tlsStates[q.Cert][early]
	} else if q.Early {
		r.Header["Early-Data"] = []string{"1"}
	}
	if q.Cert >= oracle.RightHeader {
		r.RemoteAddr = proxyAddr
	}
	if field := w.forward[q.Cert]; field != "" {
		r.Header[certField] = []string{field}
	}
}

type proofKey struct {
	token   string
	request oracle.Request
	method  string
	mcp     bool
}

// proof returns the DPoP fields. Each proof is signed once: what the guard thinks of its
// first use does not depend on how often others have been sent, as the store says so.
func (w *world) proof(token string, q oracle.Request, method string, preset int) []string {
	k := proofKey{token, oracle.Request{Proof: q.Proof, Nonce: q.Nonce, Misdirect: q.Misdirect, At: q.At}, method, preset == presetMCP}
	if p, ok := w.proofs.Load(k); ok {
		return p.([]string)
	}
	p, id := w.makeProof(token, q, method, k.mcp)
	w.ids.Store(p[0], id)
	found, _ := w.proofs.LoadOrStore(k, p)
	if &found.([]string)[0] != &p[0] {
		w.ids.Delete(p[0])
	}
	return found.([]string)
}

func (w *world) makeProof(token string, q oracle.Request, method string, mcp bool) (fields []string, id [32]byte) {
	ath := sha256.Sum256([]byte(token))
	now := time.Now()
	header := map[string]any{"typ": "dpop+jwt", "jwk": w.key.JWK()}
	claims := map[string]any{
		"jti": "jti-" + now.String(), "htm": method, "htu": "https://" + hostOf(q) + path, "iat": now.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}
	lifetimes := 0
	if mcp {
		lifetimes = 1
	}
	if nonce := w.nonces[lifetimes][q.Nonce]; nonce != "" {
		claims["nonce"] = nonce
	}
	key := w.key
	switch q.Proof {
	case oracle.ProofType:
		header["typ"] = "at+jwt"
	case oracle.ProofAlg: // good in itself, but not accepted here
		key, header["jwk"] = w.rs256, w.rs256.JWK()
	case oracle.PrivateKey:
		jwk := maps.Clone(w.key.JWK())
		d, err := w.key.Signer.(*ecdsa.PrivateKey).Bytes()
		w.must(err)
		jwk["d"] = base64.RawURLEncoding.EncodeToString(d)
		header["jwk"] = jwk
	case oracle.NoJTI:
		delete(claims, "jti")
	case oracle.ProofMethod:
		claims["htm"] = strings.ToLower(method)
	case oracle.ProofURI:
		claims["htu"] = claims["htu"].(string) + "/"
	case oracle.StaleProof:
		claims["iat"] = now.Add(-10 * time.Minute).Unix()
	case oracle.FutureProof:
		claims["iat"] = now.Add(10 * time.Minute).Unix()
	case oracle.ProofHash:
		other := sha256.Sum256([]byte("another token"))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(other[:])
	case oracle.OtherKey:
		key, header["jwk"] = w.other, w.other.JWK()
	}
	proof := key.Sign(header, claims)
	switch q.Proof {
	case oracle.OversizedProof:
		proof += strings.Repeat("x", 9<<10)
	case oracle.UnfitProof:
		proof += `"`
	case oracle.GarbledProof:
		proof = "garbled" + proof[len("garbled"):]
	case oracle.ProofSignature:
		input := proof[:strings.LastIndexByte(proof, '.')]
		proof = input + "." + base64.RawURLEncoding.EncodeToString(w.other.SignInput(input))
	case oracle.TwoProofs:
		return []string{proof, proof}, id
	}
	if jti, ok := claims["jti"].(string); ok {
		id = sha256.Sum256([]byte(w.key.Thumbprint() + jti))
	}
	return []string{proof}, id
}

// response is a ResponseWriter that keeps what is written.
type response struct {
	header http.Header
	status int
	body   []byte
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

// run sends c through its door and returns what came of it in the words of the oracle.
func (w *world) run(c *combo) (oracle.Verdict, *situation) {
	r, s := w.request(c)
	chain := w.setup(c)
	if c[fDoor] == doorCheck {
		return check(chain.guard, r, s), s
	}
	s.sampled = w.count.Add(1)%64 == 0
	if c[fDoor] == doorJudge {
		return w.judge(chain.guard, r, s), s
	}
	if c[fDoor] == doorForward {
		return w.ask(chain.forward, r, s), s
	}
	rec := &response{header: make(http.Header, 6)}
	chain.handler.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	v := w.observe(rec, s)
	if s.sampled && s.ran {
		lend(chain.guard, s)
	}
	return v, s
}

// lend makes another request with the context of one that passed, as handlers do that
// call others in process. It must bring a credential of its own.
func lend(g *middleware.Guard, s *situation) {
	other := &http.Request{
		Method: http.MethodDelete, Host: "api.example", URL: &url.URL{Path: "/other"}, RequestURI: "/other", Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, TLS: &tls.ConnectionState{HandshakeComplete: true},
	}
	if _, err := g.Check(other.WithContext(s.passed)); err == nil {
		s.problems = append(s.problems, "a credential counts for another request")
	}
}

// check is Guard.Check: a verdict without a response.
func check(g *middleware.Guard, r *http.Request, s *situation) oracle.Verdict {
	credential, err := g.Check(r)
	if err != nil {
		return oracle.Verdict{Status: s.outcome.Status, Reason: reason(err)}
	}
	v := oracle.Verdict{Status: http.StatusOK, WouldDeny: s.outcome.WouldDeny != ""}
	saw(&v.Handler, credential)
	return v
}

// judge is Guard.Judge: a verdict for a transport that is not net/http.
func (w *world) judge(g *middleware.Guard, r *http.Request, s *situation) oracle.Verdict {
	if s.sampled { // a transport may spell the names as HTTP/2 does
		lower := make(http.Header, len(r.Header))
		for name, values := range r.Header {
			lower[strings.ToLower(name)] = values
		}
		r.Header = lower
	}
	before := fmt.Sprint(r.Header)
	got := g.Judge(r.Context(), middleware.Request{
		Method: r.Method, Host: r.Host, Target: r.RequestURI, Header: r.Header, TLS: r.TLS, RemoteAddr: r.RemoteAddr,
	})
	if fmt.Sprint(r.Header) != before {
		s.problems = append(s.problems, "Judge changes the request")
	}
	if got.Pass {
		passed := &http.Request{Header: got.Forward}
		ctx := r.Context()
		if got.Credential != nil {
			ctx = middleware.NewContext(ctx, got.Credential)
		}
		handle(nil, passed.WithContext(ctx))
		got.Denial.Status = http.StatusOK
	}
	if got.Pass != (got.Err == nil) || got.Pass && got.Body != nil {
		s.problems = append(s.problems, "the parts of the verdict disagree")
	}
	return w.observe(&response{header: got.Header, status: got.Denial.Status, body: got.Body}, s)
}

func (w *world) observe(rec *response, s *situation) oracle.Verdict {
	h := rec.header
	v := oracle.Verdict{Status: rec.status, Handler: s.seen, WouldDeny: s.outcome.WouldDeny != ""}
	if !s.ran {
		v.Reason = reason(s.outcome.Err)
		if s.outcome.Status != rec.status {
			s.problems = append(s.problems, "the observer is told another status than the client")
		}
	}
	for _, line := range h["Www-Authenticate"] {
		w.challenge(line, &v, s)
	}
	v.Nonce = len(h["Dpop-Nonce"]) > 0
	if len(h["Dpop-Nonce"]) > 1 {
		s.problems = append(s.problems, "DPOP-8-04: two nonces")
	}
	if cache := h["Cache-Control"]; len(cache) > 0 {
		v.Cache = strings.Join(cache, ", ")
	}
	for _, vary := range h["Vary"] {
		v.Vary = v.Vary || strings.Contains(vary, certField)
		v.VaryCookie = v.VaryCookie || strings.Contains(vary, "Cookie")
	}
	for _, cookie := range h["Set-Cookie"] {
		if strings.Contains(cookie, "Max-Age=0") {
			v.Session = "ends"
		} else {
			v.Session = "begins"
		}
	}
	w.scan(rec, &v, s)
	return v
}

// challenge reads one line of WWW-Authenticate.
func (w *world) challenge(line string, v *oracle.Verdict, s *situation) {
	scheme, params, _ := strings.Cut(line, " ")
	code := "bare"
	if _, after, ok := strings.Cut(params, `error="`); ok {
		code, _, _ = strings.Cut(after, `"`)
	}
	v.Scope = v.Scope || strings.Contains(params, `, scope="read`)
	switch {
	case scheme == "DPoP" && v.DPoP == "" && v.Bearer == "":
		v.DPoP = code
		if !strings.Contains(params, `algs="`) {
			s.problems = append(s.problems, "AUTH-12: no algs")
		}
	case scheme == "Bearer" && v.Bearer == "":
		v.Bearer = code
		if params == "" {
			s.problems = append(s.problems, "AUTH-16: no parameter")
		}
	default:
		s.problems = append(s.problems, "AUTH-19: challenge out of place: "+line)
	}
}

// scan looks for what must never leave the service, and for a body that says something
// else than the header.
func (w *world) scan(rec *response, v *oracle.Verdict, s *situation) {
	secrets := [...]string{lastOf(w.token(&s.config, &s.request)), lastOf(s.proof), w.nonceClaim(s)}
	for name, values := range rec.header {
		for _, value := range values {
			for _, secret := range secrets {
				if secret != "" && strings.Contains(value, secret) && name != "Set-Cookie" {
					s.problems = append(s.problems, "a secret in "+name)
				}
			}
		}
	}
	if s.sampled {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			told := fmt.Sprintf(verb, s.outcome) + fmt.Sprint(s.outcome.Err)
			for _, secret := range secrets {
				if secret != "" && strings.Contains(told, secret) {
					s.problems = append(s.problems, "a secret in the outcome")
				}
			}
		}
	}
	if len(rec.body) == 0 {
		return
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(string(rec.body), secret) {
			s.problems = append(s.problems, "a secret in the body")
		}
	}
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(rec.body, &body) != nil || body.Error != v.DPoP && body.Error != v.Bearer {
		s.problems = append(s.problems, "the body says another code than the challenges: "+string(rec.body))
	}
}

func lastOf(secret string) string {
	return secret[max(0, len(secret)-40):]
}

// nonceClaim is the nonce that the client sent: a challenge never has the same (decision
// 36).
func (w *world) nonceClaim(s *situation) string {
	if s.request.Proof == oracle.NoProof {
		return ""
	}
	if s.config.MCP {
		return w.nonces[1][s.request.Nonce]
	}
	return w.nonces[0][s.request.Nonce]
}

// reason translates an error of the guard into the oracle's classes.
func reason(err error) string {
	class, ok := reasons[err]
	switch {
	case err == nil:
		return ""
	case ok:
		return class
	}
	return oracle.Unavailable
}

func tokenFault(t oracle.Token) string { return oracle.TokenRefused + oracle.TokenFaults[t] }
func proofFault(p oracle.Proof) string { return oracle.ProofRefused + oracle.ProofFaults[p] }

var reasons = map[error]string{
	middleware.ErrTooEarly:                   oracle.EarlyData,
	middleware.ErrPlainHTTP:                  oracle.PlainHTTP,
	middleware.ErrNoCredentials:              oracle.NoToken,
	middleware.ErrUnsupportedScheme:          oracle.SchemeRefused,
	middleware.ErrMalformedAuthorization:     oracle.Malformed,
	middleware.ErrSeveralTokens:              oracle.TwoTokens,
	middleware.ErrQueryToken:                 oracle.TwoTokens,
	middleware.ErrCrossOrigin:                oracle.CrossOrigin,
	middleware.ErrStrayProof:                 oracle.Stray,
	middleware.ErrUnbound:                    oracle.NotBound,
	middleware.ErrNotBound:                   oracle.NotBound,
	middleware.ErrBindingNotConfigured:       oracle.NoMechanism,
	middleware.ErrDowngrade:                  oracle.Downgrade,
	middleware.ErrNotForDPoP:                 oracle.NotBoundToKey,
	middleware.ErrNotDPoPBound:               oracle.NotBoundToKey,
	middleware.ErrNotCertificateBound:        oracle.NotBoundToCert,
	middleware.ErrInsufficientScope:          oracle.ScopeWanted,
	middleware.ErrClaim:                      oracle.RuleRefused,
	middleware.ErrInsufficientAuthentication: oracle.StepUpWanted,
	middleware.ErrRule:                       oracle.RuleRefused,
	oidc.ErrTooLarge:                         tokenFault(oracle.OversizedToken),
	oidc.ErrMalformed:                        tokenFault(oracle.GarbledToken),
	oidc.ErrType:                             tokenFault(oracle.TokenType),
	oidc.ErrAlgorithm:                        tokenFault(oracle.TokenAlg),
	oidc.ErrIssuer:                           tokenFault(oracle.OtherIssuer),
	oidc.ErrAudience:                         tokenFault(oracle.OtherAudience),
	oidc.ErrExpired:                          tokenFault(oracle.ExpiredToken),
	oidc.ErrNotYetValid:                      tokenFault(oracle.FutureToken),
	oidc.ErrNoSubject:                        tokenFault(oracle.MissingClaim),
	oidc.ErrSignature:                        tokenFault(oracle.TokenSignature),
	oidc.ErrInactive:                         tokenFault(oracle.InactiveToken),
	oidc.ErrConfirmation:                     oracle.CnfRefused,
	oidc.ErrOrigin:                           oracle.HostRefused,
	mtlspop.ErrNoCertificate:                 oracle.CertMissing,
	mtlspop.ErrPeerNotTrusted:                oracle.CertMissing,
	mtlspop.ErrMismatch:                      oracle.CertMismatch,
	mtlspop.ErrMalformed:                     oracle.CertMalformed,
	dpop.ErrMissing:                          proofFault(oracle.NoProof),
	dpop.ErrMultiple:                         proofFault(oracle.TwoProofs),
	dpop.ErrTooLarge:                         proofFault(oracle.OversizedProof),
	dpop.ErrMalformed:                        proofFault(oracle.GarbledProof),
	dpop.ErrType:                             proofFault(oracle.ProofType),
	dpop.ErrAlgorithm:                        proofFault(oracle.ProofAlg),
	dpop.ErrPrivateKey:                       proofFault(oracle.PrivateKey),
	dpop.ErrClaims:                           proofFault(oracle.NoJTI),
	dpop.ErrMethod:                           proofFault(oracle.ProofMethod),
	dpop.ErrTarget:                           proofFault(oracle.ProofURI),
	dpop.ErrMisdirected:                      oracle.Misdirected,
	dpop.ErrExpired:                          proofFault(oracle.StaleProof),
	dpop.ErrNotYetValid:                      proofFault(oracle.FutureProof),
	dpop.ErrTokenHash:                        proofFault(oracle.ProofHash),
	dpop.ErrKeyMismatch:                      proofFault(oracle.OtherKey),
	dpop.ErrSignature:                        proofFault(oracle.ProofSignature),
	dpop.ErrReplayed:                         proofFault(oracle.Replayed),
	dpop.ErrNonceMissing:                     oracle.NonceWanted,
	dpop.ErrNonceUnknown:                     oracle.NonceWanted,
	dpop.ErrNonceExpired:                     oracle.NonceWanted,
}
