package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// parts are what has been made for one plugin and must be fetched for, reported on
// and closed.
type parts struct {
	prefetch  []func(context.Context) error
	reporters []oidc.Reporter
	closers   []func() error
}

func (ps *parts) add(part interface {
	Prefetch(context.Context) error
	Close() error
}) {
	ps.prefetch = append(ps.prefetch, part.Prefetch)
	ps.closers = append(ps.closers, part.Close)
	if reporter, ok := part.(oidc.Reporter); ok {
		ps.reporters = append(ps.reporters, reporter)
	}
}

func (ps *parts) close() {
	for _, c := range ps.closers {
		_ = c() // nothing is lost
	}
}

// tokenMaker makes the token verifier of one plugin.
type tokenMaker struct {
	*parts
	plugin *openIDConnect
	client *http.Client
	auth   clientauth.Method
	made   map[string]*oidc.Issuer // by identifier
}

// from returns an issuer: the same one for all that is made of the plugin, so that
// its metadata and its keys are fetched once.
func (tm *tokenMaker) from(issuer string) (*oidc.Issuer, error) {
	if i := tm.made[issuer]; i != nil {
		return i, nil
	}
	opts := []oidc.IssuerOption{oidc.WithHTTPClient(tm.client)}
	if isPlainLoopback(issuer) {
		opts = append(opts, oidc.DangerouslyAllowLoopbackHTTP())
	}
	if issuer == tm.plugin.issuer && tm.plugin.metadataURL != "" {
		opts = append(opts, oidc.WithMetadataURL(tm.plugin.metadataURL))
	}
	if tm.plugin.cooldown > 0 {
		opts = append(opts, oidc.WithCooldown(tm.plugin.cooldown))
	}
	i, err := oidc.NewIssuer(issuer, opts...)
	if err != nil {
		return nil, err
	}
	if tm.made == nil {
		tm.made = make(map[string]*oidc.Issuer)
	}
	tm.made[issuer] = i
	tm.closers = append(tm.closers, i.Close)
	return i, nil
}

// make returns the verifier: of JWTs, of tokens that the issuer is asked about, or
// of both, told apart by their form. Either way it is the same issuer's word.
func (tm *tokenMaker) make(profiles func(issuer string) []oidc.Profile) (middleware.TokenVerifier, error) {
	p := tm.plugin
	var introspector *introspect.Introspector
	if p.introspection || p.asking.jwts {
		var err error
		if introspector, err = tm.introspector(); err != nil {
			return nil, err
		}
		tm.add(introspector)
		if p.introspection && !p.bearer {
			return &audienceForbidden{introspector}, nil
		}
	}
	most := 0
	for _, issuer := range p.issuers {
		most = max(most, len(profiles(issuer)))
	}
	var alternatives firstOf
	for k := range most {
		reported := len(tm.reporters)
		v, err := tm.jwts(introspector, func(issuer string) oidc.Profile {
			all := profiles(issuer)
			return all[min(k, len(all)-1)]
		})
		if err != nil {
			return nil, err
		}
		if len(alternatives) > 0 { // one report for each issuer
			tm.reporters = tm.reporters[:reported]
		}
		alternatives = append(alternatives, v)
	}
	var v middleware.TokenVerifier = &alternatives
	if len(alternatives) == 1 {
		v = alternatives[0]
	}
	// Of tokens that callers bring, bearer means JWTs. Those that the gateway gets itself are what
	// the issuer makes of them.
	if p.introspection || introspector != nil && !p.bearer {
		v = &byForm{jwt: v, opaque: introspector}
	}
	return &audienceForbidden{v}, nil
}

// isPlainLoopback reports whether a URL is one that the library would refuse
// without an option that exists for development.
func isPlainLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname())
}

// checks are the options of verifiers of JWTs, and the first audience of this
// service, "" if the file does not say what the audience should be.
func (tm *tokenMaker) checks() (audience string, opts []oidc.Option) {
	p := tm.plugin
	if p.leeway >= 0 {
		opts = append(opts, oidc.WithSkew(p.leeway))
	}
	if len(p.audiences) == 0 {
		return "", append(opts, oidc.DangerouslyAcceptAnyAudience())
	}
	if len(p.audiences) > 1 {
		opts = append(opts, oidc.WithAudiences(p.audiences[1:]...))
	}
	return p.audiences[0], opts
}

// introspector makes what asks the issuer.
func (tm *tokenMaker) introspector() (*introspect.Introspector, error) {
	p := tm.plugin
	from, err := tm.from(p.issuer)
	if err != nil {
		return nil, err
	}
	audience, opts := "", p.asking.options()
	if p.leeway >= 0 {
		opts = append(opts, introspect.WithSkew(p.leeway))
	}
	if len(p.audiences) == 0 {
		opts = append(opts, introspect.DangerouslyAcceptAnyAudience(), introspect.DangerouslyAllowMissingAudience())
	} else {
		audience = p.audiences[0]
	}
	if len(p.audiences) > 1 {
		opts = append(opts, introspect.WithAudiences(p.audiences[1:]...))
	}
	return introspect.New(from, audience, tm.auth, opts...)
}

// options are the settings of an introspector.
func (i *asking) options() (opts []introspect.Option) {
	if i.endpoint != "" {
		opts = append(opts, introspect.WithEndpoint(i.endpoint))
	}
	if i.signedAnswers {
		opts = append(opts, introspect.RequireSigned())
	}
	if !i.remember {
		return append(opts, introspect.WithAnswerLifetime(0), introspect.WithRefusalLifetime(0))
	}
	if i.lifetime >= 0 {
		opts = append(opts, introspect.WithAnswerLifetime(i.lifetime))
	}
	if i.refusal >= 0 {
		opts = append(opts, introspect.WithRefusalLifetime(i.refusal))
	}
	if i.stale > 0 {
		opts = append(opts, introspect.WithStaleAnswers(i.stale))
	}
	return opts
}

var errAuth0 = errors.New("audience_required is missing: nothing but the audience tells access tokens of Auth0 from its ID tokens; " +
	"set it, or start with -profile RFC9068 if they are of the RFC 9068 dialect")

// jwts makes the verifier of JWTs by one profile of each issuer.
func (tm *tokenMaker) jwts(introspector *introspect.Introspector, profile func(issuer string) oidc.Profile) (middleware.TokenVerifier, error) {
	p := tm.plugin
	audience, checks := tm.checks()
	var verifiers []*oidc.Verifier
	var problems []error
	for _, issuer := range p.issuers {
		if audience == "" && profile(issuer) == oidc.Auth0 {
			problems = append(problems, errAuth0)
			continue
		}
		from, err := tm.from(issuer)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		v, err := from.Verifier(audience, append(checks[:len(checks):len(checks)], oidc.WithProfile(profile(issuer)))...)
		problems = append(problems, err)
		verifiers = append(verifiers, v)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, v := range verifiers {
		tm.add(v)
	}
	switch {
	case p.asking.jwts:
		return introspect.Then(verifiers[0], introspector)
	case len(verifiers) == 1:
		return verifiers[0], nil
	}
	return oidc.AnyOf(verifiers...)
}

// audienceForbidden answers 403 to a token for another audience, as Kong does,
// and not the 401 of RFC 6750.
type audienceForbidden struct{ middleware.TokenVerifier }

func (v *audienceForbidden) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	token, err := v.TokenVerifier.VerifyToken(ctx, raw)
	if err == oidc.ErrAudience {
		return nil, middleware.ErrClaim
	}
	return token, err
}

// byForm verifies JWTs itself and asks about all other tokens.
type byForm struct{ jwt, opaque middleware.TokenVerifier }

func (v *byForm) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	if strings.Count(raw, ".") == 2 {
		return v.jwt.VerifyToken(ctx, raw)
	}
	return v.opaque.VerifyToken(ctx, raw)
}

// firstOf accepts what one of several profiles of the same issuer accepts. The
// first one is that of RFC 9068, which recognises its tokens by their type: of the
// other tokens, the last one has the say.
type firstOf []middleware.TokenVerifier

func (vs *firstOf) VerifyToken(ctx context.Context, raw string) (token *oidc.Token, err error) {
	var told error
	for _, v := range *vs {
		token, err = v.VerifyToken(ctx, raw)
		if _, refused := err.(oidc.TokenError); err == nil || !refused {
			return token, err
		}
		if told == nil || told == oidc.ErrTypeJWT {
			told = err
		}
	}
	return nil, told
}
