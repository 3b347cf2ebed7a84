package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/jwks"
	"github.com/keybound-go/middleware/oidc"
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
	auth   oidc.ClientAuth
}

// make returns the verifier: of JWTs, of tokens that the issuer is asked about, or
// of both, told apart by their form. Either way it is the same issuer's word.
func (tm *tokenMaker) make(profiles []oidc.Profile) (middleware.TokenVerifier, error) {
	p := tm.plugin
	var introspector *oidc.Introspector
	if p.introspection || p.introspect.jwts {
		var err error
		if introspector, err = tm.introspector(); err != nil {
			return nil, err
		}
		tm.add(introspector)
		if p.introspection && !p.bearer && !p.credentials {
			return &audienceForbidden{introspector}, nil
		}
	}
	var alternatives firstOf
	for _, profile := range profiles {
		reported := len(tm.reporters)
		v, err := tm.jwts(introspector, oidc.WithProfile(profile))
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

// common are the options of everything that talks to an issuer.
func (tm *tokenMaker) common(issuer string, client *http.Client) []oidc.Option {
	opts := []oidc.Option{oidc.WithHTTPClient(client)}
	if isPlainLoopback(issuer) {
		opts = append(opts, oidc.DangerouslyAllowLoopbackHTTP())
	}
	if issuer == tm.plugin.issuer && tm.plugin.metadataURL != "" {
		opts = append(opts, oidc.WithMetadataURL(tm.plugin.metadataURL))
	}
	return opts
}

// isPlainLoopback reports whether a URL is one that the library would refuse
// without an option that exists for development.
func isPlainLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname())
}

func (tm *tokenMaker) skew() (opts []oidc.Option) {
	if tm.plugin.leeway >= 0 {
		opts = append(opts, oidc.WithSkew(tm.plugin.leeway))
	}
	return opts
}

// introspector makes what asks the issuer. Without audience_required nobody says
// what the audience should be, so what the issuer says of it is left out.
func (tm *tokenMaker) introspector() (*oidc.Introspector, error) {
	p, client := tm.plugin, tm.client
	audiences := p.audiences
	var opts []oidc.Option
	if len(audiences) == 0 {
		if p.signedAnswers || strings.HasSuffix(p.auth, "tls_client_auth") {
			return nil, errors.New("audience_required is needed for introspection with signed answers or a client certificate")
		}
		client = &http.Client{Transport: withoutAudience{client.Transport}, Timeout: client.Timeout}
		audiences = []string{p.clientID}
		opts = append(opts, oidc.DangerouslyAllowMissingAudience())
	}
	opts = append(append(opts, tm.common(p.issuer, client)...), tm.skew()...)
	opts = append(append(opts, p.introspect.options()...), moreAudiences(audiences)...)
	return oidc.NewIntrospector(p.issuer, audiences[0], tm.auth, opts...)
}

// options are the settings of an introspector.
func (i *introspect) options() (opts []oidc.Option) {
	if i.endpoint != "" {
		opts = append(opts, oidc.WithIntrospectionEndpoint(i.endpoint))
	}
	if i.signedAnswers {
		opts = append(opts, oidc.WithSignedAnswers())
	}
	if !i.remember {
		return append(opts, oidc.WithAnswerLifetime(0), oidc.WithRefusalLifetime(0))
	}
	if i.lifetime >= 0 {
		opts = append(opts, oidc.WithAnswerLifetime(i.lifetime))
	}
	if i.refusal >= 0 {
		opts = append(opts, oidc.WithRefusalLifetime(i.refusal))
	}
	if i.stale > 0 {
		opts = append(opts, oidc.WithStaleAnswers(i.stale))
	}
	return opts
}

func moreAudiences(audiences []string) (opts []oidc.Option) {
	if len(audiences) > 1 {
		opts = append(opts, oidc.WithAudiences(audiences[1:]...))
	}
	return opts
}

// jwts makes the verifier of JWTs by one profile.
func (tm *tokenMaker) jwts(introspector *oidc.Introspector, profile oidc.Option) (middleware.TokenVerifier, error) {
	p := tm.plugin
	if len(p.audiences) == 0 {
		return tm.anyAudience(introspector, profile)
	}
	var verifiers []*oidc.Verifier
	var problems []error
	for _, issuer := range p.issuers {
		opts := append(tm.common(issuer, tm.client), tm.skew()...)
		opts = append(append(opts, profile), moreAudiences(p.audiences)...)
		v, err := oidc.New(issuer, p.audiences[0], opts...)
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
	case p.introspect.jwts:
		return oidc.VerifyThenIntrospect(verifiers[0], introspector)
	case len(verifiers) == 1:
		return verifiers[0], nil
	}
	return oidc.ByIssuer(verifiers...)
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

// anyAudience verifies the JWTs of an issuer whatever their audience is: Kong's
// default. The library does not do that: each of its verifiers is for stated
// audiences. So the audience that a token states, unverified, does nothing but
// choose the verifier, which checks everything; its answer to the question of the
// audience is then yes, and that is what the warning at the start is about.
type anyAudience struct {
	metadata *oidc.Verifier // finds the keys; verifies nothing
	keys     *jwks.Source
	make     func(audience string, opts ...oidc.Option) (middleware.TokenVerifier, error)

	mu    sync.RWMutex
	known map[string]middleware.TokenVerifier // of audiences that the issuer has signed
}

// maxAudiences bounds how many audiences have a verifier that remembers tokens.
const maxAudiences = 64

func (tm *tokenMaker) anyAudience(introspector *oidc.Introspector, profile oidc.Option) (middleware.TokenVerifier, error) {
	p := tm.plugin
	issuer := p.issuers[0]
	metadata, err := oidc.New(issuer, "urn:none", append(append(tm.common(issuer, tm.client), tm.skew()...), profile)...)
	if err != nil {
		return nil, err
	}
	locate := func(ctx context.Context) (string, error) {
		if err := metadata.Prefetch(ctx); err != nil {
			return "", err
		}
		status := metadata.Status()
		if status.Metadata == nil || status.Metadata.JWKSURI == "" {
			return "", fmt.Errorf("%s has told of no jwks_uri", issuer)
		}
		return status.Metadata.JWKSURI, nil
	}
	opts := []jwks.Option{jwks.WithHTTPClient(tm.client)}
	if isPlainLoopback(issuer) {
		opts = append(opts, jwks.DangerouslyAllowLoopbackHTTP())
	}
	keys, err := jwks.NewLocated(locate, opts...)
	if err != nil {
		return nil, err
	}
	tm.add(metadata)
	tm.closers = append(tm.closers, keys.Close)
	tm.prefetch = append(tm.prefetch, keys.Prefetch)
	own := append(tm.skew(), profile, oidc.WithKeys(keys, nil))
	if isPlainLoopback(issuer) {
		own = append(own, oidc.DangerouslyAllowLoopbackHTTP())
	}
	return &anyAudience{
		metadata: metadata, keys: keys, known: make(map[string]middleware.TokenVerifier),
		make: func(audience string, opts ...oidc.Option) (middleware.TokenVerifier, error) {
			v, err := oidc.New(issuer, audience, append(opts, own...)...)
			if err == nil && p.introspect.jwts {
				return oidc.VerifyThenIntrospect(v, introspector)
			}
			return v, err
		},
	}, nil
}

func (v *anyAudience) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	audience, err := statedAudience(raw)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	verifier := v.known[audience]
	full := len(v.known) >= maxAudiences
	v.mu.RUnlock()
	if verifier != nil {
		return verifier.VerifyToken(ctx, raw)
	}
	once, err := v.make(audience, oidc.WithTokenCache(0))
	if err != nil {
		return nil, oidc.ErrAudience // it is the audience that cannot be one
	}
	token, err := once.VerifyToken(ctx, raw)
	if err != nil || full {
		return token, err
	}
	if kept, err := v.make(audience); err == nil {
		v.mu.Lock()
		v.known[audience] = kept
		v.mu.Unlock()
	}
	return token, nil
}

// statedAudience returns the first audience that an unverified JWT states.
func statedAudience(raw string) (string, error) {
	const most = 16 << 10 // as oidc.WithMaxTokenSize
	if len(raw) > most {
		return "", oidc.ErrTooLarge
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", oidc.ErrMalformed
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", oidc.ErrMalformed
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return "", oidc.ErrClaims
	}
	var one string
	var many []string
	if json.Unmarshal(claims["aud"], &one) == nil {
		return one, nil
	}
	if json.Unmarshal(claims["aud"], &many) == nil && len(many) > 0 {
		return many[0], nil
	}
	return "", oidc.ErrAudience
}
