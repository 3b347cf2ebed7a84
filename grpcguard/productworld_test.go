package grpcguard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/grpcguard"
	"github.com/keybound-go/middleware/internal/josetest"
	"github.com/keybound-go/middleware/internal/oracle"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

const (
	productIssuer = "https://issuer.example"
	legacyClient  = "legacy"      // may send bound tokens as Bearer in a rollout
	situationID   = "x-situation" // metadata by which the server finds what the call is
)

// situation is one call, and what comes of it. It travels in the context of the server.
type situation struct {
	config  oracle.Config
	request oracle.Request

	outcome  middleware.Outcome
	ran      bool
	seen     oracle.Handler
	problems []string // only of the server's side, while the call runs
	secrets  []string // that no answer may repeat
}

type situationKey struct{}

func situationOf(ctx context.Context) *situation {
	return ctx.Value(situationKey{}).(*situation)
}

// product has guards for each configuration behind two real servers, with TLS and without
// it.
type product struct {
	t                 *testing.T
	issuer            *oidctest.Issuer
	key, other, rs256 *josetest.Key
	right, wrong      *mtlspoptest.Client
	ca                *mtlspoptest.CA
	verifiers         [2]*oidc.Verifier // the issuer of the second is down
	proofs            [2]*dpop.Verifier // the second wants nonces
	mtls              *mtlspop.Verifier
	nonces            [oracle.NonceCount]string
	prefix            netip.Prefix
	tokens            [2][oracle.TokenCount][oracle.BindingCount]string
	conns             map[connKey]*grpc.ClientConn
	guards            sync.Map // *grpcguard.Server by guardKey
	situations        sync.Map // *situation by ID
	count             atomic.Uint64
}

type guardKey struct {
	config oracle.Config
	down   bool
}

type connKey struct {
	plain, proxy, misdirect bool
	cert                    oracle.Cert // of the connection
}

func newProduct(t *testing.T) *product {
	loud := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // each guard with a rollout warns of it
	t.Cleanup(func() { slog.SetDefault(loud) })
	p := &product{
		t: t, issuer: oidctest.NewIssuer(t, oidctest.InMemory(productIssuer)),
		key: josetest.NewKey("ES256"), other: josetest.NewKey("ES256"), rs256: josetest.NewKey("RS256"),
		right: mtlspoptest.SelfSigned(t, "right"), wrong: mtlspoptest.SelfSigned(t, "wrong"), ca: mtlspoptest.NewCA(t, "Servers"),
		prefix: netip.MustParsePrefix("10.1.2.0/24"), conns: make(map[connKey]*grpc.ClientConn),
	}
	for i, client := range []*http.Client{p.issuer.Client(), {Transport: silence{}}} {
		v, err := oidc.New(productIssuer, oidctest.Audience, oidc.WithHTTPClient(client))
		require.NoError(t, err)
		t.Cleanup(func() { v.Close() })
		p.verifiers[i] = v
	}
	issue := func(letter string) (*dpop.Nonces, string) {
		source, err := dpop.NewNonces([]byte(strings.Repeat(letter, 32)))
		require.NoError(t, err)
		nonce, err := source.Issue(t.Context())
		require.NoError(t, err)
		return source, nonce
	}
	source, nonce := issue("a")
	p.nonces[oracle.FreshNonce] = nonce
	_, p.nonces[oracle.PreviousNonce] = issue("a")
	require.NotEqual(t, nonce, p.nonces[oracle.PreviousNonce])
	_, p.nonces[oracle.ForeignNonce] = issue("b")
	var err error
	p.proofs[0], err = dpop.New(origin, dpop.WithReplayCache(uses{p}, nil))
	require.NoError(t, err)
	p.proofs[1], err = dpop.New(origin, dpop.WithReplayCache(uses{p}, nil), dpop.WithNonces(nonceSource{source, p.nonces[oracle.PreviousNonce]}, nil))
	require.NoError(t, err)
	p.mtls, err = mtlspop.New(mtlspop.WithForwardedCertificate("Client-Cert", mtlspop.RFC9440, p.prefix))
	require.NoError(t, err)
	p.makeTokens()
	p.serve()
	return p
}

// silence is the network of an issuer that is down.
type silence struct{}

func (silence) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// uses is the store of used proofs.
type uses struct{ *product }

func (u uses) Add(ctx context.Context, jkt string, _ [32]byte, until time.Time) (bool, error) {
	s := situationOf(ctx)
	if s.request.Outage == oracle.ReplayStoreDown {
		return true, errors.New("connection refused") // a guard that looks only at the first result would let it pass
	}
	if jkt != u.key.Thumbprint() || time.Until(until) < time.Second {
		s.problems = append(s.problems, "the replay store was asked about another proof, or for no time")
	}
	return s.request.Proof != oracle.Replayed, nil
}

// nonceSource is dpop.Nonces with outages. One of its nonces is past half of its life.
type nonceSource struct {
	*dpop.Nonces
	previous string
}

func (n nonceSource) Issue(ctx context.Context) (string, error) {
	if situationOf(ctx).request.Outage == oracle.NonceSourceDown {
		return "outage", errors.New("connection refused")
	}
	return n.Nonces.Issue(ctx)
}

func (n nonceSource) IssuedAt(ctx context.Context, nonce string) (time.Time, bool, error) {
	if situationOf(ctx).request.Outage == oracle.NonceSourceDown {
		return time.Now(), true, errors.New("connection refused")
	}
	at, ok, err := n.Nonces.IssuedAt(ctx, nonce)
	switch {
	case ok && nonce == n.previous:
		at = time.Now().Add(-40 * time.Second) // of one minute
	case ok:
		at = time.Now() // however slow this machine is
	}
	return at, ok, err
}

func (p *product) makeTokens() {
	sound := func(*oidctest.Draft) {}
	faults := [oracle.TokenCount]oidctest.Change{
		oracle.SoundToken:     sound,
		oracle.OversizedToken: oidctest.Claim("padding", strings.Repeat("x", 40<<10)),
		oracle.GarbledToken:   sound,
		oracle.TokenType:      oidctest.Header("typ", "dpop+jwt"),
		oracle.TokenAlg:       oidctest.Header("alg", "HS256"),
		oracle.OtherIssuer:    oidctest.Claim("iss", productIssuer+"/"),
		oracle.OtherAudience:  oidctest.Claim("aud", "https://other.example"),
		oracle.ExpiredToken:   oidctest.ExpiresIn(-time.Hour),
		oracle.FutureToken:    oidctest.Claim("nbf", time.Now().Add(time.Hour).Unix()),
		oracle.MissingClaim:   oidctest.Without("sub"),
		oracle.TokenSignature: oidctest.SignedBy("ES256", p.other.Signer),
		oracle.InactiveToken:  sound,
	}
	jkt, x5t := p.key.Thumbprint(), p.right.Thumbprint()
	bindings := [oracle.BindingCount]oidctest.Change{
		oracle.Unbound:      sound,
		oracle.ToKey:        oidctest.Claim("cnf", map[string]any{"jkt": jkt}),
		oracle.ToCert:       oidctest.Claim("cnf", map[string]any{"x5t#S256": x5t}),
		oracle.ToBoth:       oidctest.Claim("cnf", map[string]any{"jkt": jkt, "x5t#S256": x5t}),
		oracle.ToUnknown:    oidctest.Claim("cnf", map[string]any{"kid": "k"}),
		oracle.ToKeyUnknown: oidctest.Claim("cnf", map[string]any{"jkt": jkt, "kid": "k"}),
		oracle.NullCnf:      oidctest.Claim("cnf", nil),
	}
	for l, client := range []oidctest.Change{sound, oidctest.Claim("client_id", legacyClient)} {
		for f, fault := range faults {
			for b, binding := range bindings {
				token := p.issuer.Token(oidctest.Scope("read"), client, binding, oidctest.ExpiresIn(time.Hour), fault)
				if oracle.Token(f) == oracle.GarbledToken {
					token = "garbled" + token[len("garbled"):]
				}
				p.tokens[l][f][b] = token
			}
		}
	}
}

// listener accepts connections of a peer at an address of its own.
type listener struct {
	*bufconn.Listener
	from string
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return connection{c, l.from}, err
}

type connection struct {
	net.Conn
	from string
}

func (c connection) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

func (c connection) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.9.9.9:443"))
}

// serve starts the servers and connects to them in every way that a combo can ask for.
func (p *product) serve() {
	identity := p.ca.Issue("server", func(c *x509.Certificate) {
		c.DNSNames = []string{"api.example", "evil.example"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	secure := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{identity.TLS()}, ClientAuth: tls.RequestClientCert})
	for _, plain := range []bool{false, true} {
		creds := secure
		if plain {
			creds = insecure.NewCredentials()
		}
		server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(p.unary), grpc.StreamInterceptor(p.stream))
		pb.RegisterTestServiceServer(server, &service{
			unary:  func(ctx context.Context) error { handle(ctx); return nil },
			stream: func(s pb.TestService_FullDuplexCallServer) error { handle(s.Context()); return nil },
		})
		p.t.Cleanup(server.Stop)
		for _, proxy := range []bool{false, true} {
			from := "192.0.2.1:4567"
			if proxy {
				from = "10.1.2.3:4567"
			}
			l := listener{bufconn.Listen(256 << 10), from}
			go func() { _ = server.Serve(l) }()
			for _, misdirect := range []bool{false, true} {
				for _, cert := range []oracle.Cert{oracle.NoCert, oracle.RightTLS, oracle.WrongTLS} {
					p.connect(connKey{plain, proxy, misdirect, cert}, l)
				}
			}
		}
	}
}

func (p *product) connect(k connKey, l listener) {
	config := &tls.Config{RootCAs: p.ca.Pool()}
	switch k.cert {
	case oracle.RightTLS:
		config.Certificates = []tls.Certificate{p.right.TLS()}
	case oracle.WrongTLS:
		config.Certificates = []tls.Certificate{p.wrong.TLS()}
	}
	creds, host := credentials.NewTLS(config), "api.example"
	if k.plain {
		creds = insecure.NewCredentials()
	}
	if k.misdirect {
		host = "evil.example"
	}
	conn, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(creds), grpc.WithAuthority(host),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { conn.Close() })
	p.conns[k] = conn
}

// find returns the context of a call with its situation, and the guard that it is for.
func (p *product) find(ctx context.Context) (context.Context, *grpcguard.Server) {
	found, _ := p.situations.Load(metadata.ValueFromIncomingContext(ctx, situationID)[0])
	s := found.(*situation)
	return context.WithValue(ctx, situationKey{}, s), p.guard(s.config, s.request.Outage == oracle.IssuerDown)
}

func (p *product) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, calls := p.find(ctx)
	return calls.Unary(ctx, req, info, handler)
}

func (p *product) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, calls := p.find(ss.Context())
	return calls.Stream(srv, contextStream{ss, ctx}, info, handler)
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

// guard makes, or finds, the guard that c describes.
func (p *product) guard(c oracle.Config, down bool) *grpcguard.Server {
	k := guardKey{c, down}
	if s, ok := p.guards.Load(k); ok {
		return s.(*grpcguard.Server)
	}
	verifier, proofs := p.verifiers[0], p.proofs[0]
	if down {
		verifier = p.verifiers[1]
	}
	if c.Nonces {
		proofs = p.proofs[1]
	}
	opts := []middleware.Option{
		middleware.WithTokens(verifier, nil),
		middleware.WithObserver(func(ctx context.Context, o middleware.Outcome) { situationOf(ctx).outcome = o }),
	}
	add := func(when bool, o middleware.Option) {
		if when {
			opts = append(opts, o)
		}
	}
	add(c.DPoP, middleware.WithDPoP(proofs, nil))
	add(c.MTLS, middleware.WithMTLS(p.mtls, nil))
	add(c.AllowUnbound, middleware.AllowUnbound())
	add(c.RefuseStray, middleware.RefuseStrayProofs())
	add(c.RequireTLS, middleware.RequireTLS(p.prefix))
	add(c.Hide == oracle.ForwardBearer, middleware.ForwardBearer())
	add(c.Hide == oracle.HideAll, middleware.HideCredentials())
	add(c.Rule != oracle.NoRule, middleware.WithRules(staged(rules[c.Rule], c.Stage)))
	add(c.Rollout, middleware.DangerouslyAcceptAsBearer(time.Now().Add(30*24*time.Hour), legacyClient))
	guard, err := middleware.New(opts...)
	if err != nil {
		panic(err) // a test's goroutine cannot end the test
	}
	s, err := grpcguard.New(guard)
	if err != nil {
		panic(err)
	}
	found, _ := p.guards.LoadOrStore(k, s)
	return found.(*grpcguard.Server)
}

var rules = [oracle.RuleCount]middleware.Rule{
	oracle.NoRule:      middleware.Scopes("read"), // not used
	oracle.ScopeMet:    middleware.Scopes("read"),
	oracle.ScopeUnmet:  middleware.Scopes("read", "write"),
	oracle.StepUpUnmet: middleware.StepUp(0, "gold"),
	oracle.OwnUnmet:    middleware.RuleFunc("never", func(*http.Request, *middleware.Credential) bool { return false }),
	oracle.KeyWanted:   middleware.DPoPBound(),
	oracle.CertWanted:  middleware.CertificateBound(),
}

// staged is the rule in its stage.
func staged(r middleware.Rule, s oracle.Stage) middleware.Rule {
	if s == oracle.Enforce {
		return r
	}
	stage := new(middleware.Stage)
	stage.Set(map[oracle.Stage]middleware.Level{oracle.Report: middleware.Report, oracle.Off: middleware.Off}[s])
	return middleware.Staged(r, stage)
}

// handle is the handler behind all guards.
func handle(ctx context.Context) {
	s := situationOf(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	s.ran = true
	s.seen = oracle.Handler{Proof: len(md["dpop"]) > 0, CertHeader: len(md["client-cert"]) > 0}
	if a := md["authorization"]; len(a) > 0 {
		s.seen.Scheme, _, _ = strings.Cut(a[0], " ")
	}
	if c, ok := middleware.FromContext(ctx); ok {
		s.seen.Credential, s.seen.Key, s.seen.Cert, s.seen.Unproven = true, c.Proof != nil, c.Certificate != nil, c.KeyUnproven
	}
}

// run makes the call that c describes and returns what came of it.
func (p *product) run(c *combo) (oracle.Verdict, []string) {
	config, q := c.describe()
	method := unaryCall
	if c[fCall] == 1 {
		method = duplexCall
	}
	s := &situation{config: config, request: q}
	id := strconv.FormatUint(p.count.Add(1), 10)
	p.situations.Store(id, s)
	defer p.situations.Delete(id)
	md := p.metadata(q, method)
	for _, fields := range [][]string{md["authorization"], md["dpop"]} {
		for _, field := range fields {
			s.secrets = append(s.secrets, field[max(0, len(field)-40):])
		}
	}
	md.Set(situationID, id)
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(context.Background(), md), time.Minute)
	defer cancel()
	conn := p.conns[connOf(q)]
	var header, trailer metadata.MD
	var err error
	if c[fCall] == 0 {
		err = conn.Invoke(ctx, method, new(pb.SimpleRequest), new(pb.SimpleResponse), grpc.Header(&header), grpc.Trailer(&trailer))
	} else {
		header, err = sendStream(ctx, conn, method)
	}
	return p.observe(s, err, header, trailer, c[fCall] == 0)
}

func connOf(q oracle.Request) connKey {
	k := connKey{plain: q.Plain, proxy: q.Cert >= oracle.RightHeader, misdirect: q.Misdirect}
	switch q.Cert {
	case oracle.RightTLS, oracle.ProxyOwn:
		k.cert = oracle.RightTLS
	case oracle.WrongTLS:
		k.cert = oracle.WrongTLS
	}
	return k
}

// metadata is what the client sends.
func (p *product) metadata(q oracle.Request, method string) metadata.MD {
	listed := 0
	if q.Listed {
		listed = 1
	}
	md, token := metadata.MD{}, p.tokens[listed][q.Token][q.Binding]
	if a := map[oracle.Scheme][]string{
		oracle.Bearer:          {"Bearer " + token},
		oracle.DPoP:            {"DPoP " + token},
		oracle.Unsupported:     {"Digest abc"},
		oracle.MalformedBearer: {"Bearer " + token + " " + token},
		oracle.MalformedDPoP:   {"DPoP " + token + " " + token},
		oracle.TwoFields:       {"DPoP " + token, "Bearer " + token},
	}[q.Scheme]; a != nil {
		md["authorization"] = a
	}
	if field := map[oracle.Cert]string{
		oracle.Forged:       mtlspoptest.RFC9440(p.right),
		oracle.RightHeader:  mtlspoptest.RFC9440(p.right),
		oracle.WrongHeader:  mtlspoptest.RFC9440(p.wrong),
		oracle.BrokenHeader: ":bm8gY2VydGlmaWNhdGU=:",
	}[q.Cert]; field != "" {
		md["client-cert"] = []string{field}
	}
	if q.Early {
		md["early-data"] = []string{"1"} // TLS of Go has none
	}
	if q.Proof != oracle.NoProof {
		md["dpop"] = p.proof(token, q, method)
	}
	return md
}

func (p *product) proof(token string, q oracle.Request, method string) []string {
	ath := sha256.Sum256([]byte(token))
	now := time.Now()
	header := map[string]any{"typ": "dpop+jwt", "jwk": p.key.JWK()}
	claims := map[string]any{
		"jti": fmt.Sprint("jti-", p.count.Add(1)), "htm": "POST", "htu": origin + method, "iat": now.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	}
	if q.Misdirect {
		claims["htu"] = "https://evil.example" + method
	}
	if nonce := p.nonces[q.Nonce]; nonce != "" {
		claims["nonce"] = nonce
	}
	key := p.key
	switch q.Proof {
	case oracle.ProofType:
		header["typ"] = "at+jwt"
	case oracle.ProofAlg: // good in itself, but not accepted here
		key, header["jwk"] = p.rs256, p.rs256.JWK()
	case oracle.PrivateKey:
		jwk := maps.Clone(p.key.JWK())
		d, err := p.key.Signer.(*ecdsa.PrivateKey).Bytes()
		if err != nil {
			panic(err)
		}
		jwk["d"] = base64.RawURLEncoding.EncodeToString(d)
		header["jwk"] = jwk
	case oracle.NoJTI:
		delete(claims, "jti")
	case oracle.ProofMethod:
		claims["htm"] = "post"
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
		key, header["jwk"] = p.other, p.other.JWK()
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
		proof = input + "." + base64.RawURLEncoding.EncodeToString(p.other.SignInput(input))
	case oracle.TwoProofs:
		return []string{proof, proof}
	}
	return []string{proof}
}

// observe is what the client, the operator and the handler have seen, in the words of the
// oracle, and what is wrong with it whatever the oracle says.
func (p *product) observe(s *situation, err error, header, trailer metadata.MD, unary bool) (oracle.Verdict, []string) {
	problems := s.problems
	problem := func(format string, a ...any) { problems = append(problems, fmt.Sprintf(format, a...)) }
	v := oracle.Verdict{Status: s.outcome.Status, Handler: s.seen, WouldDeny: s.outcome.WouldDeny != ""}
	want := map[int]codes.Code{
		400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 425: codes.Unavailable, 431: codes.InvalidArgument, 503: codes.Unavailable,
	}[v.Status]
	if s.ran {
		v.Status, want = http.StatusOK, codes.OK
	} else {
		v.Reason = reasonOf(s.outcome.Err)
	}
	if status.Code(err) != want {
		problem("the status is %v, for %d", err, v.Status)
	}
	answer := fmt.Sprint(header, trailer, err)
	for _, secret := range s.secrets {
		if strings.Contains(answer, secret) {
			problem("a secret in the answer")
		}
	}
	for i, line := range header["www-authenticate"] {
		scheme, params, _ := strings.Cut(line, " ")
		code := "bare"
		if _, after, ok := strings.Cut(params, `error="`); ok {
			code, _, _ = strings.Cut(after, `"`)
		}
		v.Scope = v.Scope || strings.Contains(params, `, scope="read`)
		switch {
		case scheme == "DPoP" && i == 0:
			v.DPoP = code
		case scheme == "Bearer" && v.Bearer == "":
			v.Bearer = code
		default:
			problem("AUTH-19: challenge out of place: %s", line)
		}
	}
	v.Nonce = len(header["dpop-nonce"]) > 0
	v.Cache = strings.Join(header["cache-control"], ", ")
	for _, vary := range header["vary"] {
		v.Vary = v.Vary || strings.Contains(vary, "Client-Cert")
	}
	if unary { // Clients that show only the trailer of a failed call find the same there.
		for _, key := range []string{"www-authenticate", "dpop-nonce"} {
			if fmt.Sprint(trailer[key]) != fmt.Sprint(header[key]) {
				problem("the trailer has another %s than the header", key)
			}
		}
	}
	told := ""
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			told = info.Metadata["error"]
		}
	}
	code := v.DPoP
	if code == "" || code == "bare" {
		code = v.Bearer
	}
	if code == "bare" {
		code = ""
	}
	if told != code {
		problem("the details of the status say %q, the challenges %q", told, code)
	}
	return v, problems
}
