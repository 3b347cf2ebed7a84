package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// parts are what has been made for one plugin and must be fetched for, reported on
// and closed.
type parts struct {
	prefetch []func(context.Context) error
	issuers  []*reported
	closers  []func() error
}

func (ps *parts) add(part interface {
	Prefetch(context.Context) error
	Close() error
}) {
	ps.prefetch = append(ps.prefetch, part.Prefetch)
	ps.closers = append(ps.closers, part.Close)
}

func (ps *parts) close() {
	for _, c := range ps.closers {
		_ = c() // nothing is lost
	}
}

// tokenMaker makes the token verifier of one plugin.
type tokenMaker struct {
	*parts
	plugin       *kongfile.OpenIDConnect
	client       func(*kongfile.OpenIDConnect) (*http.Client, *published)
	pool         *issuerPool
	auth         clientauth.Method
	made         map[string]*oidc.Issuer // by identifier
	log          *slog.Logger
	audienceless []string          // clients whose tokens may be without aud
	store        introspect.Store  // nil: none
	asking       clientauth.Method // at the introspection endpoint
}

// from returns an issuer: the same one for all that is made of the plugin, so that
// its metadata and its keys are fetched once.
func (tm *tokenMaker) from(issuer string) (*oidc.Issuer, error) {
	if i := tm.made[issuer]; i != nil {
		return i, nil
	}
	p, key := tm.plugin, keyOf(tm.plugin, issuer)
	i, err := tm.pool.take(key, func() (*oidc.Issuer, *published, error) { return tm.newIssuer(issuer) })
	if err != nil {
		return nil, err
	}
	if tm.made == nil {
		tm.made = make(map[string]*oidc.Issuer)
	}
	tm.made[issuer] = i.Issuer
	main := issuer == p.Issuer
	tm.issuers = append(tm.issuers, &reported{i.Issuer, i.published, main && p.ClientCredentials, main && (p.Introspection || p.Introspect.JWTs)})
	tm.closers = append(tm.closers, func() error { return tm.pool.release(key, i) })
	return i.Issuer, nil
}

// newIssuer makes an issuer, and what keeps its documents for operators.
func (tm *tokenMaker) newIssuer(issuer string) (*oidc.Issuer, *published, error) {
	p, key := tm.plugin, keyOf(tm.plugin, issuer)
	client, published := tm.client(p)
	urls := []string{issuer, key.metadata, key.keys}
	var opts []oidc.IssuerOption
	if slices.ContainsFunc(urls, kongfile.IsForDevelopment) {
		opts = append(opts, oidc.DangerouslyAllowLoopbackHTTP())
	}
	if !slices.ContainsFunc(urls, kongfile.IsDevelopmentName) {
		opts = append(opts, oidc.WithHTTPClient(client)) // else the library sees to it what such a name stands for
	}
	if key.metadata != "" {
		opts = append(opts, oidc.WithMetadataURL(key.metadata))
	}
	if key.metadataIssuer != "" {
		opts = append(opts, oidc.WithMetadataIssuer(key.metadataIssuer))
	}
	if key.keys != "" {
		opts = append(opts, oidc.WithJWKSURI(key.keys))
	}
	if key.cooldown > 0 {
		opts = append(opts, oidc.WithCooldown(key.cooldown))
	}
	i, err := oidc.NewIssuer(issuer, opts...)
	return i, published, err
}

// make returns the verifier: of JWTs, of tokens that the issuer is asked about, or
// of both, told apart by their form. Either way it is the same issuer's word.
func (tm *tokenMaker) make(profiles func(issuer string) []oidc.Profile) (middleware.TokenVerifier, error) {
	p := tm.plugin
	var introspector *introspect.Introspector
	if p.Introspection || p.Introspect.JWTs {
		var err error
		if introspector, err = tm.introspector(); err != nil {
			return nil, err
		}
		tm.add(introspector)
		if p.Introspection && !p.Bearer {
			return tm.finish(introspector), nil
		}
	}
	most := 0
	for _, issuer := range p.Issuers {
		most = max(most, len(profiles(issuer)))
	}
	var alternatives firstOf
	for k := range most {
		v, err := tm.jwts(introspector, func(issuer string) oidc.Profile {
			all := profiles(issuer)
			return all[min(k, len(all)-1)]
		})
		if err != nil {
			return nil, err
		}
		alternatives = append(alternatives, v)
	}
	var v middleware.TokenVerifier = &alternatives
	if len(alternatives) == 1 {
		v = alternatives[0]
	}
	// Of tokens that callers bring, bearer means JWTs. Those that the gateway gets itself
	// are what the issuer makes of them.
	if p.Introspection || introspector != nil && !p.Bearer {
		either, err := introspect.OrElse(v, introspector)
		if err != nil {
			return nil, err
		}
		v = either
	}
	return tm.finish(v), nil
}

// finish adds what no option of the library says.
func (tm *tokenMaker) finish(v middleware.TokenVerifier) middleware.TokenVerifier {
	return &audienceForbidden{v, tm.log, tm.plugin.Audiences}
}

// checks are the options of verifiers of JWTs, and the first audience of this
// service, "" if none is demanded.
func (tm *tokenMaker) checks() (audience string, opts []oidc.Option) {
	p := tm.plugin
	if p.Leeway >= 0 {
		opts = append(opts, oidc.WithSkew(p.Leeway))
	}
	if len(p.Audiences) == 0 {
		return "", append(opts, oidc.DangerouslyAcceptAnyAudience())
	}
	if len(p.Audiences) > 1 {
		opts = append(opts, oidc.WithAudiences(p.Audiences[1:]...))
	}
	return p.Audiences[0], opts
}

// introspector makes what asks the issuer.
func (tm *tokenMaker) introspector() (*introspect.Introspector, error) {
	p := tm.plugin
	from, err := tm.from(p.Issuer)
	if err != nil {
		return nil, err
	}
	audience, opts := "", introspectOptions(&p.Introspect)
	if p.Leeway >= 0 {
		opts = append(opts, introspect.WithSkew(p.Leeway))
	}
	if len(p.Audiences) == 0 {
		opts = append(opts, introspect.DangerouslyAcceptAnyAudience(), introspect.DangerouslyAllowMissingAudience())
	} else {
		audience = p.Audiences[0]
	}
	if len(p.Audiences) > 1 {
		opts = append(opts, introspect.WithAudiences(p.Audiences[1:]...))
	}
	if tm.store != nil && p.Redis != nil && p.Introspect.Remember {
		opts = append(opts, introspect.WithStore(tm.store, nil))
	}
	return introspect.New(from, audience, tm.asking, opts...)
}

// introspectOptions are the settings of an introspector.
func introspectOptions(i *kongfile.Introspect) (opts []introspect.Option) {
	if i.Endpoint != "" {
		opts = append(opts, introspect.WithEndpoint(i.Endpoint))
	}
	if i.SignedAnswers {
		opts = append(opts, introspect.RequireSigned())
	}
	if !i.Remember {
		return append(opts, introspect.WithAnswerLifetime(0), introspect.WithRefusalLifetime(0))
	}
	if i.Lifetime >= 0 {
		opts = append(opts, introspect.WithAnswerLifetime(i.Lifetime))
	}
	if i.Refusal >= 0 {
		opts = append(opts, introspect.WithRefusalLifetime(i.Refusal))
	}
	if i.Stale > 0 {
		opts = append(opts, introspect.WithStaleAnswers(i.Stale))
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
	for _, issuer := range p.Issuers {
		if audience == "" && profile(issuer) == oidc.Auth0 {
			problems = append(problems, errAuth0)
			continue
		}
		from, err := tm.from(issuer)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		opts := append(checks[:len(checks):len(checks)], oidc.WithProfile(profile(issuer)))
		if len(tm.audienceless) > 0 {
			opts = append(opts, oidc.DangerouslyAllowMissingAudience(tm.audienceless...))
		}
		v, err := from.Verifier(audience, opts...)
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
	case p.Introspect.JWTs:
		return introspect.Then(verifiers[0], introspector)
	case len(verifiers) == 1:
		return verifiers[0], nil
	}
	return oidc.AnyOf(verifiers...)
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

// Explain says what the last one expected, which has the say.
func (vs *firstOf) Explain(raw string) oidc.Explanation {
	if len(*vs) == 0 {
		return oidc.ExplainToken(raw)
	}
	return explainedBy((*vs)[len(*vs)-1], raw)
}

// Statuses are those of all of them.
func (vs *firstOf) Statuses() (all []oidc.Status) {
	for _, v := range *vs {
		all = append(all, statusesOf(v)...)
	}
	return all
}
