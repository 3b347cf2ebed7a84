package producttest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
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
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/session"
)

// The addresses of the world.
const (
	Origin      = "https://api.example"
	Host        = "api.example"
	OtherHost   = "other.example"            // of the service, and of another tenant
	TenantHost  = "tenant.example"           // of the tenant, and not of the service
	StrangeHost = "api.example.evil.example" // of misdirected requests
	IssuerURL   = "https://issuer.example"

	ProxyAddr    = "10.1.2.3:4567"     // may forward certificates, and end TLS
	PeerAddr     = "192.0.2.1:4567"    // may do neither
	StrangerAddr = "198.51.100.1:4567" // is trusted by no guard and no door
	RightProxy   = "10.1.2.0/24"       // has ProxyAddr
	OtherProxy   = "192.0.2.1/32"      // has PeerAddr
	ListedClient = "legacy"            // may send bound tokens as Bearer in a rollout
	AnyClient    = "client"            // what oidctest says if no Change does
	Subject      = "user-1"            // the same
	defaultPath  = "/orders"
)

// Certificates is how a trusted proxy passes a client's certificate on.
type Certificates struct {
	Field  string
	Format mtlspop.Format
	Write  func(*mtlspoptest.Client) string
	Broken string // what holds no certificate
}

// RFC9440 is the form of that RFC.
var RFC9440 = Certificates{"Client-Cert", mtlspop.RFC9440, mtlspoptest.RFC9440, ":bm8gY2VydGlmaWNhdGU=:"}

// A World makes real guards and real requests from their descriptions. It is the one
// place that names the guard's functions. Everything in it is made once and shared. Make
// one with [NewWorld], in a bubble of package synctest: time must not pass.
type World struct {
	// Options are for every guard, beside those of the Combo.
	Options []middleware.Option

	t                 testing.TB
	certs             Certificates
	issuer            *oidctest.Issuer
	tenants           [oracle.TenantCount]*oidctest.Issuer
	key, other, rs256 *josetest.Key
	right, wrong      *mtlspoptest.Client
	nonceKey          [2][]byte
	tokens            [3][oracle.TenantCount][2][oracle.TokenCount][oracle.BindingCount]string // by form; of any client and the listed one
	cookies           map[string]string                                                        // by the session's scheme and token
	forged            string                                                                   // a cookie of another service
	nonces            [2][oracle.NonceCount]string
	verifiers         map[verifierKey]middleware.TokenVerifier
	proofs, opened    sync.Map
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

type dpopKey struct {
	parts, preset int
	nonces        bool
}

// NewWorld makes a world in which proxies pass certificates on as certs says.
func NewWorld(t testing.TB, certs Certificates) *World {
	w := &World{
		t: t, certs: certs, issuer: oidctest.NewIssuer(t, oidctest.InMemory(IssuerURL)),
		key: josetest.NewKey("ES256"), other: josetest.NewKey("ES256"), rs256: josetest.NewKey("RS256"),
		right: mtlspoptest.SelfSigned(t, "right"), wrong: mtlspoptest.SelfSigned(t, "wrong"),
		nonceKey:    [2][]byte{[]byte(strings.Repeat("0", 32)), []byte(strings.Repeat("1", 32))},
		cookies:     make(map[string]string),
		verifiers:   make(map[verifierKey]middleware.TokenVerifier),
		dpops:       make(map[dpopKey]*dpop.Verifier),
		proxyPrefix: netip.MustParsePrefix(RightProxy),
		resource:    middleware.ProtectedResource{Identifier: Origin, AuthorizationServers: []string{IssuerURL}},
	}
	loud := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // each guard with a rollout warns of it
	t.Cleanup(func() { slog.SetDefault(loud) })
	w.makeNonces()
	w.makeVerifiers()
	w.makeParts()
	w.makeTokens()
	w.makeCookies()
	w.makeCertificates()
	return w
}

// Right is the client whose certificate tokens are bound to, Wrong another one.
func (w *World) Right() *mtlspoptest.Client { return w.right }

// Wrong is another client than Right.
func (w *World) Wrong() *mtlspoptest.Client { return w.wrong }

// makeNonces takes a minute: a nonce that is past half of its life, for each lifetime.
func (w *World) makeNonces() {
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

func (w *World) makeParts() {
	for parts := range 2 {
		for preset := range 3 {
			for _, nonces := range []bool{false, true} {
				opts := []dpop.Option{dpop.WithReplayCache(memory{w, parts}, nil), dpop.WithOrigins("https://" + OtherHost)}
				switch preset {
				case PresetFAPI2:
					opts = append(opts, dpop.FAPI2())
				case PresetMCP:
					opts = append(opts, dpop.MCP())
				}
				if nonces {
					source, err := dpop.NewNonces(w.nonceKey[parts])
					opts = append(opts, dpop.WithNonces(nonceSource{source}, err))
				}
				v, err := dpop.New(Origin, opts...)
				w.must(err)
				w.dpops[dpopKey{parts, preset, nonces}] = v
			}
		}
		v, err := mtlspop.New(mtlspop.WithForwardedCertificate(w.certs.Field, w.certs.Format, w.proxyPrefix))
		w.must(err)
		w.mtls[parts] = v
		s, err := session.New([]byte(strings.Repeat(string(rune('a'+parts)), 32)))
		w.must(err)
		w.sessions[parts] = s
	}
}

func (w *World) makeCertificates() {
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
	w.forward[oracle.Forged] = w.certs.Write(w.right)
	w.forward[oracle.RightHeader] = w.certs.Write(w.right)
	w.forward[oracle.WrongHeader] = w.certs.Write(w.wrong)
	w.forward[oracle.BrokenHeader] = w.certs.Broken
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// A Situation is the state of the world for one request, and what comes of it. It travels
// in the request's context, so that stores and handlers that all requests share know it.
type Situation struct {
	Config  oracle.Config
	Request oracle.Request
	Sampled bool // look at what is slow to look at

	Outcome  middleware.Outcome // of the guard that decided last
	Ran      bool               // the handler
	Seen     oracle.Handler     // by the handler
	Problems []string           // what is wrong whatever the oracle says

	proof  string
	field  string          // of certificates
	used   [2]bool         // the proof, by the parts that have recorded it
	passed context.Context // that the handler was given
}

// Problem adds one.
func (s *Situation) Problem(format string, a ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, a...))
}

type situationKey struct{}

// WithSituation returns a context that carries s.
func WithSituation(ctx context.Context, s *Situation) context.Context {
	return context.WithValue(ctx, situationKey{}, s)
}

// SituationOf returns what [WithSituation] has put into ctx.
func SituationOf(ctx context.Context) *Situation {
	return ctx.Value(situationKey{}).(*Situation)
}

var errDown = errors.New("connection refused")

// memory is the store of used proofs at the other end of the network.
type memory struct {
	w     *World
	parts int
}

func (m memory) Add(ctx context.Context, jkt string, id [32]byte, until time.Time) (bool, error) {
	s := SituationOf(ctx)
	if s.Request.Outage == oracle.ReplayStoreDown {
		return true, errDown // a guard that looks only at the first result would let it pass
	}
	if want, _ := m.w.ids.Load(s.proof); id != want || jkt != m.w.key.Thumbprint() {
		s.Problem("the replay store was asked about another proof")
	}
	if time.Until(until) < time.Second {
		s.Problem("a used proof is not remembered")
	}
	again := s.used[m.parts]
	s.used[m.parts] = true
	return !again && (s.Request.Proof != oracle.Replayed || m.parts == innerParts), nil
}

// nonceSource is dpop.Nonces with outages.
type nonceSource struct{ *dpop.Nonces }

func (n nonceSource) Issue(ctx context.Context) (string, error) {
	if SituationOf(ctx).Request.Outage == oracle.NonceSourceDown {
		return "outage", errDown
	}
	return n.Nonces.Issue(ctx)
}

func (n nonceSource) IssuedAt(ctx context.Context, nonce string) (time.Time, bool, error) {
	if SituationOf(ctx).Request.Outage == oracle.NonceSourceDown {
		return time.Now(), true, errDown
	}
	return n.Nonces.IssuedAt(ctx, nonce)
}

// guard makes the guard that c describes.
func (w *World) guard(c oracle.Config, preset, parts int, outage oracle.Outage) *middleware.Guard {
	fapi2 := preset == PresetFAPI2
	opts := []middleware.Option{
		middleware.WithTokens(w.verifierFor(c, fapi2, parts, outage), nil),
		middleware.WithObserver(func(ctx context.Context, o middleware.Outcome) { SituationOf(ctx).Outcome = o }),
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
	add(preset == PresetMCP, middleware.MCP(w.resource))
	add(c.AllowUnbound && preset != PresetMCP, middleware.AllowUnbound())
	add(c.RequireTLS, middleware.RequireTLS(w.proxyPrefix))
	if c.Rule != oracle.NoRule {
		// Nothing may depend on how a rule came into its stage. A staged rule is absent to
		// New, so that a guard without a part for an enforced one can be made.
		opts = append(opts, middleware.WithRules(staged(c.Rule, c.Stage, c.IgnoreQuery)))
	}
	if c.Rollout {
		opts = append(opts, middleware.DangerouslyAcceptAsBearer(time.Now().Add(30*24*time.Hour), ListedClient))
	}
	g, err := middleware.New(append(opts, w.Options...)...)
	w.must(err)
	if c.Anonymous {
		return g.AllowAnonymous()
	}
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

type openedKey struct {
	config oracle.Config
	preset uint8
	nest   uint8
	door   uint8
	outage oracle.Outage // as far as verifiers differ by it
}

// opened is a door with guards behind it.
type opened struct {
	guards []*middleware.Guard
	ask    func(*http.Request, *Situation) oracle.Verdict
}

// open makes, or finds, the guards of c behind its door.
func (w *World) open(p *Product, c *Combo) *opened {
	config, request := c.Describe()
	k := openedKey{config, c[FPreset], c[FNest], c[FDoor], 0}
	if request.Outage == oracle.IssuerDown || request.Outage == oracle.IntrospectionDown {
		k.outage = request.Outage
	}
	if o, ok := w.opened.Load(k); ok {
		return o.(*opened)
	}
	o := new(opened)
	if k.nest == NoNest {
		o.guards = []*middleware.Guard{w.guard(config, int(k.preset), outerParts, k.outage)}
	} else {
		outer, inner := Nested(config)
		parts := outerParts
		if k.nest == OtherParts {
			parts = innerParts
		}
		o.guards = []*middleware.Guard{w.guard(outer, int(k.preset), outerParts, k.outage), w.guard(inner, int(k.preset), parts, k.outage)}
	}
	o.ask = p.Doors[k.door].Open(w, o.guards)
	found, _ := w.opened.LoadOrStore(k, o)
	return found.(*opened)
}

// Nested divides a configuration: the outer guard hides, the inner one has the rules.
func Nested(c oracle.Config) (outer, inner oracle.Config) {
	outer, inner = c, c
	outer.Rule, inner.Hide = oracle.NoRule, oracle.HideNothing
	return outer, inner
}
