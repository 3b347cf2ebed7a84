package main

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/session"
)

// deployment is what the command line says and Kong's file does not.
type deployment struct {
	origins       []string // what clients call this gateway, the main one first
	internalHosts []string
	trusted       []netip.Prefix // terminators in front
	profile       *oidc.Profile  // of every issuer; nil to go by its URL
	issuerRoots   *x509.CertPool // nil: the system's
	nonceKey      []byte
	log           *slog.Logger
	replay        dpop.ReplayCache // of all guards
}

// guarded is what has been made of one plugin.
type guarded struct {
	*parts
	guard    *middleware.Guard
	keys     *clientKeys // nil if none are published
	upstream *upstream
	sessions *session.Sessions // nil if there are none
}

// newGuard makes the guard of one plugin.
func (d *deployment) newGuard(c *configuration, p *openIDConnect) (*guarded, error) {
	g := &guarded{parts: &parts{}, upstream: &p.upstream}
	auth, keys, err := newClientAuth(p, c.certificates)
	if err != nil {
		return nil, err
	}
	g.keys = keys
	maker := &tokenMaker{parts: g.parts, plugin: p, client: d.issuerClient(p), auth: auth}
	opts := []middleware.Option{
		middleware.WithTokens(maker.make(d.profiles)),
		middleware.ForwardBearer(),
		middleware.WithObserver(d.observe),
		middleware.WithDenyHandler(p.deny),
	}
	if p.dpop != "off" {
		opts = append(opts, middleware.WithDPoP(d.newDPoP(p)))
	}
	if p.mtls != "off" {
		opts = append(opts, middleware.WithMTLS(d.newMTLS(c, p)))
	}
	if p.dpop != "strict" && p.mtls != "strict" {
		opts = append(opts, middleware.AllowUnbound())
	}
	if p.credentials {
		opts = append(opts, middleware.WithExchange(maker.credentials()), middleware.WithCallerAddress(d.callerAddress))
		if !p.bearer && !p.introspection {
			opts = append(opts, middleware.RequireExchange())
		}
		if !p.validateMethods {
			opts = append(opts, middleware.DangerouslyExemptExchange())
		}
	}
	if p.cookies.session {
		g.sessions, err = p.newSessions()
		opts = append(opts, middleware.WithSession(g.sessions, err))
	}
	if p.resource != nil {
		opts = append(opts, middleware.WithProtectedResource(*p.resource))
	}
	if p.passPreflights {
		opts = append(opts, middleware.PassPreflights())
	}
	if rules := p.rules(); len(rules) > 0 {
		opts = append(opts, middleware.WithRules(rules...))
	}
	if g.guard, err = middleware.New(opts...); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// rules are what a token must satisfy.
func (p *openIDConnect) rules() (rules []middleware.Rule) {
	if p.dpop == "strict" {
		rules = append(rules, middleware.DPoPBound())
	}
	if p.mtls == "strict" {
		rules = append(rules, middleware.CertificateBound())
	}
	for _, d := range p.demands {
		rules = append(rules, d.rule())
	}
	return rules
}

func (d *demand) rule() middleware.Rule {
	var anyOf []middleware.Rule
	for _, words := range d.elements {
		var allOf []middleware.Rule
		for _, word := range words {
			allOf = append(allOf, middleware.Claim(d.claim, word))
		}
		if d.scopes {
			allOf = []middleware.Rule{middleware.Scopes(words...)}
		}
		anyOf = append(anyOf, middleware.AllOf(allOf...))
	}
	return middleware.AnyOf(anyOf...)
}

func (d *deployment) newDPoP(p *openIDConnect) (*dpop.Verifier, error) {
	opts := []dpop.Option{dpop.WithReplayCache(d.replay, nil)}
	if len(d.origins) > 1 {
		opts = append(opts, dpop.WithOrigins(d.origins[1:]...))
	}
	if len(d.internalHosts) > 0 {
		opts = append(opts, dpop.WithInternalHosts(d.internalHosts...))
	}
	if p.proof.lifetime > 0 {
		opts = append(opts, dpop.WithLifetime(p.proof.lifetime))
	}
	if p.nonces {
		opts = append(opts, dpop.WithNonces(dpop.NewNonces(d.nonceKey)))
	}
	return dpop.New(d.origins[0], opts...)
}

func (d *deployment) newMTLS(c *configuration, p *openIDConnect) (*mtlspop.Verifier, error) {
	if p.header == nil {
		return mtlspop.New()
	}
	if len(d.trusted) == 0 {
		return nil, errors.New("proof_of_possession_mtls_from_header needs -trusted-proxy: the addresses of the terminator that sends the certificate")
	}
	format := mtlspop.PEM
	if p.format == "base64_encoded" {
		format = mtlspop.DER
	}
	roots := x509.NewCertPool()
	for _, id := range p.authorities {
		roots.AddCert(c.authorities[id])
	}
	opts := []mtlspop.Option{mtlspop.WithForwardedCertificate(p.field, format, d.trusted...), mtlspop.WithRoots(roots)}
	if p.partialChains {
		opts = append(opts, mtlspop.AllowPartialChains())
	}
	if p.revocation != "SKIP" {
		opts = append(opts, mtlspop.WithRevocation(d.newRevocation(p)))
	}
	return mtlspop.New(opts...)
}

func (d *deployment) newRevocation(p *openIDConnect) (*revocation.Checker, error) {
	var opts []revocation.Option
	if p.revocation == "IGNORE_CA_ERROR" {
		opts = append(opts, revocation.DangerouslyPassUnknown(), revocation.WithObserver(d.observeRevocation))
	}
	if p.cacheTTL > 0 {
		opts = append(opts, revocation.WithAnswerLifetime(p.cacheTTL))
	}
	if p.fetchTimeout > 0 {
		opts = append(opts, revocation.WithTimeout(p.fetchTimeout))
	}
	if len(p.proxies) > 0 {
		opts = append(opts, revocation.WithProxy(func(r *http.Request) (*url.URL, error) {
			if address, ok := p.proxies[r.URL.Scheme]; ok {
				return &url.URL{Scheme: "http", Host: address}, nil
			}
			return nil, nil
		}))
	}
	return revocation.New(opts...)
}

// credentials makes what turns Basic credentials into tokens.
func (tm *tokenMaker) credentials() (*oidc.ClientCredentials, error) {
	p := tm.plugin
	opts := tm.common(p.issuer)
	if p.grant.endpoint != "" {
		opts = append(opts, oidc.WithTokenEndpoint(p.grant.endpoint))
	}
	if len(p.grant.scopes) > 0 {
		opts = append(opts, oidc.WithScopes(p.grant.scopes...))
	}
	for _, audience := range p.grant.audience {
		opts = append(opts, oidc.WithTokenParameter("audience", audience))
	}
	if p.secretInBody {
		opts = append(opts, oidc.WithSecretInBody())
	}
	if p.tokenLifetime > 0 {
		opts = append(opts, oidc.WithTokenLifetime(p.tokenLifetime))
	}
	c, err := oidc.NewClientCredentials(p.issuer, opts...)
	if err == nil {
		tm.add(c)
	}
	return c, err
}

// profiles are how the tokens of an issuer may be spelled.
func (d *deployment) profiles(issuer string) []oidc.Profile {
	if d.profile != nil {
		return []oidc.Profile{*d.profile}
	}
	return profilesOf(issuer)
}
