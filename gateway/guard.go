package main

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/internal/peers"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/session"
)

// deployment is what the command line says and Kong's file does not.
type deployment struct {
	origins        []string // what clients call this gateway, the main one first
	internalHosts  []string
	trusted        []netip.Prefix // terminators in front
	audienceless   []string       // clients whose tokens may be without aud
	profile        *oidc.Profile  // of every issuer; nil to go by its URL
	issuerRoots    *x509.CertPool // nil: the system's
	redisRoots     *x509.CertPool // nil: the system's
	nonceKey       []byte
	sharedNonceKey bool // all replicas have it
	log            *slog.Logger
	replay         dpop.ReplayCache // of all guards
	answers        introspect.Store // of introspection; nil: each guard remembers its own

	memory    *sharedMemory  // replay, unless a test says otherwise
	admin     netip.AddrPort // of the admin listener; not valid: none
	generated clientKeyStore
	metrics   *metrics // nil without an admin listener
	issuers   issuerPool

	once  sync.Once
	peers *peers.Set // of trusted
}

// guarded is what has been made of one plugin.
type guarded struct {
	*parts
	users    atomic.Int32 // gateways that have it
	guard    *middleware.Guard
	keys     *clientKeys // nil if none are published
	upstream *kongfile.Upstream
	sessions *session.Sessions // nil if there are none
}

// newGuard makes the guard of one plugin.
func (d *deployment) newGuard(c *kongfile.File, p *kongfile.OpenIDConnect) (*guarded, error) {
	g := &guarded{parts: &parts{}, upstream: &p.Upstream}
	auth, keys, err := d.newClientAuth(p, p.Client.Auth, c.Certificates)
	if err != nil {
		return nil, err
	}
	g.keys = keys
	asking := auth
	if p.Introspect.Auth != "" {
		var more *clientKeys
		if asking, more, err = d.newClientAuth(p, p.Introspect.Auth, c.Certificates); err != nil {
			return nil, err
		}
		g.keys = cmp.Or(keys, more)
	}
	maker := &tokenMaker{parts: g.parts, plugin: p, client: d.issuerClient, pool: &d.issuers, auth: auth, asking: asking, log: d.log, store: d.answers, audienceless: d.audienceless}
	opts := []middleware.Option{
		middleware.WithTokens(maker.make(d.profiles)),
		middleware.ForwardBearer(),
		middleware.WithObserver(d.observe),
		middleware.WithDenyHandler(denial(p)),
	}
	if d.metrics != nil {
		opts = append(opts, middleware.WithObserver(d.metrics.guards.Observe))
	}
	if p.Proof.Mode != "off" {
		opts = append(opts, middleware.WithDPoP(d.newDPoP(p)))
	}
	if p.Certificate.Mode != "off" {
		opts = append(opts, middleware.WithMTLS(d.newMTLS(c, p)))
	}
	if p.Proof.Mode != "strict" && p.Certificate.Mode != "strict" {
		opts = append(opts, middleware.AllowUnbound())
	}
	if p.ClientCredentials {
		opts = append(opts, middleware.WithExchange(maker.credentials()), middleware.WithCallerAddress(d.callerAddress))
		if !p.Bearer && !p.Introspection {
			opts = append(opts, middleware.RequireExchange())
		}
		if !p.ValidateMethods {
			opts = append(opts, middleware.DangerouslyExemptExchange())
		}
	}
	if p.Sessions {
		g.sessions, err = newSessions(p)
		opts = append(opts, middleware.WithSession(g.sessions, err))
	}
	if p.Resource != nil {
		opts = append(opts, middleware.WithProtectedResource(describe(p.Resource)))
	}
	if p.PassPreflights {
		opts = append(opts, middleware.PassPreflights())
	}
	if rules := rulesOf(p); len(rules) > 0 {
		opts = append(opts, middleware.WithRules(rules...))
	}
	if g.guard, err = middleware.New(opts...); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// rules are what a token must satisfy.
func rulesOf(p *kongfile.OpenIDConnect) (rules []middleware.Rule) {
	if p.Proof.Mode == "strict" {
		rules = append(rules, middleware.DPoPBound())
	}
	if p.Certificate.Mode == "strict" {
		rules = append(rules, middleware.CertificateBound())
	}
	for _, d := range p.Demands {
		rules = append(rules, ruleOf(d))
	}
	if len(p.Forbidden) > 0 {
		rules = append(rules, middleware.RuleFunc("claims_forbidden", withoutClaims(p.Forbidden)))
	}
	if p.MaxAge > 0 {
		rules = append(rules, middleware.StepUp(p.MaxAge))
	}
	return rules
}

// withoutClaims is claims_forbidden: a token that has one of them passes nowhere.
func withoutClaims(names []string) func(*http.Request, *middleware.Credential) bool {
	return func(_ *http.Request, c *middleware.Credential) bool {
		var claims map[string]json.RawMessage
		if c.Token.Claims(&claims) != nil {
			return false
		}
		return !slices.ContainsFunc(names, func(name string) bool {
			_, has := claims[name]
			return has
		})
	}
}

func ruleOf(d kongfile.Demand) middleware.Rule {
	var anyOf []middleware.Rule
	for _, words := range d.AnyOf {
		var allOf []middleware.Rule
		for _, word := range words {
			allOf = append(allOf, middleware.Claim(d.Claim, word))
		}
		if d.Scopes {
			allOf = []middleware.Rule{middleware.Scopes(words...)}
		}
		anyOf = append(anyOf, middleware.AllOf(allOf...))
	}
	return middleware.AnyOf(anyOf...)
}

func (d *deployment) newDPoP(p *kongfile.OpenIDConnect) (*dpop.Verifier, error) {
	opts := []dpop.Option{dpop.WithReplayCache(d.replay, nil)}
	if len(d.origins) > 1 {
		opts = append(opts, dpop.WithOrigins(d.origins[1:]...))
	}
	if len(d.internalHosts) > 0 {
		opts = append(opts, dpop.WithInternalHosts(d.internalHosts...))
	}
	if p.Proof.Lifetime > 0 {
		opts = append(opts, dpop.WithLifetime(p.Proof.Lifetime))
	}
	if p.Proof.Nonces {
		opts = append(opts, dpop.WithNonces(dpop.NewNonces(d.nonceKey)))
	}
	return dpop.New(d.origins[0], opts...)
}

func (d *deployment) newMTLS(c *kongfile.File, p *kongfile.OpenIDConnect) (*mtlspop.Verifier, error) {
	var opts []mtlspop.Option
	chain := (*kongfile.Chain)(nil)
	switch {
	case p.Certificate.Header != nil:
		if len(d.trusted) == 0 {
			return nil, errors.New("proof_of_possession_mtls_from_header needs -trusted-proxy: the addresses of the terminator that sends the certificate")
		}
		format := mtlspop.PEM
		if p.Certificate.Header.Format == "base64_encoded" {
			format = mtlspop.DER
		}
		opts = append(opts, mtlspop.WithForwardedCertificate(p.Certificate.Header.Field, format, d.trusted...))
		chain = &p.Certificate.Header.Chain
	case p.Certificate.Chain != nil:
		chain = &p.Certificate.Chain.Chain
	default:
		return mtlspop.New()
	}
	roots := x509.NewCertPool()
	for _, id := range chain.Authorities {
		roots.AddCert(c.Authorities[id])
	}
	opts = append(opts, mtlspop.WithRoots(roots))
	if chain.PartialChains {
		opts = append(opts, mtlspop.AllowPartialChains())
	}
	if chain.Revocation != "SKIP" {
		opts = append(opts, mtlspop.WithRevocation(d.newRevocation(chain)))
	}
	return mtlspop.New(opts...)
}

func (d *deployment) newRevocation(p *kongfile.Chain) (*revocation.Checker, error) {
	var opts []revocation.Option
	if p.Revocation == "IGNORE_CA_ERROR" {
		opts = append(opts, revocation.DangerouslyPassUnknown(), revocation.WithObserver(d.observeRevocation))
	}
	if p.CacheTTL > 0 {
		opts = append(opts, revocation.WithAnswerLifetime(p.CacheTTL))
	}
	if p.FetchTimeout > 0 {
		opts = append(opts, revocation.WithTimeout(p.FetchTimeout))
	}
	if len(p.Proxies) > 0 {
		opts = append(opts, revocation.WithProxy(func(r *http.Request) (*url.URL, error) {
			if address, ok := p.Proxies[r.URL.Scheme]; ok {
				return &url.URL{Scheme: "http", Host: address}, nil
			}
			return nil, nil
		}))
	}
	return revocation.New(opts...)
}

// credentials makes what turns Basic credentials into tokens.
func (tm *tokenMaker) credentials() (*exchange.Exchange, error) {
	p := tm.plugin
	from, err := tm.from(p.Issuer)
	if err != nil {
		return nil, err
	}
	var opts []exchange.Option
	if p.Grant.Endpoint != "" {
		opts = append(opts, exchange.WithEndpoint(p.Grant.Endpoint))
	}
	if len(p.Grant.Scopes) > 0 {
		opts = append(opts, exchange.WithScopes(p.Grant.Scopes...))
	}
	for _, audience := range p.Grant.Audience {
		opts = append(opts, exchange.WithParameter("audience", audience))
	}
	for _, parameter := range p.Grant.Parameters {
		opts = append(opts, exchange.WithParameter(parameter[0], parameter[1]))
	}
	if p.Grant.SecretInBody {
		opts = append(opts, exchange.SendSecretInBody())
	}
	if p.Grant.TokenLifetime > 0 {
		opts = append(opts, exchange.WithTokenLifetime(p.Grant.TokenLifetime))
	}
	x, err := exchange.New(from, opts...)
	if err == nil {
		tm.add(x)
	}
	return x, err
}

// profiles are how the tokens of an issuer may be spelled.
func (d *deployment) profiles(issuer string) []oidc.Profile {
	if d.profile != nil {
		return []oidc.Profile{*d.profile}
	}
	return profilesOf(issuer)
}
