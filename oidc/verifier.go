package oidc

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/options"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/internal/strictjson"
	"github.com/keybound-go/middleware/jwks"
)

// Verifier verifies the JWT access tokens of one issuer for one service. Make one
// with [New] or [Issuer.Verifier]. Its methods may be called concurrently. The zero
// Verifier, and a nil one, accepts nothing.
type Verifier struct {
	issuer *Issuer
	inside issuer.Verifier
	cache  *cache // nil if switched off

	withoutAudience []string // clients whose tokens may be without aud
}

// insides is nil for a Verifier that was not made by New or Issuer.Verifier.
func (v *Verifier) insides() *issuer.Verifier {
	if v == nil || v.inside.Issuer == nil {
		return nil
	}
	return &v.inside
}

var errNoVerifier = errors.New("oidc: this Verifier was not made by New")

// New returns a Verifier of the tokens that issuer makes for audience, with an
// [Issuer] of its own.
//
// issuer is the issuer identifier (RFC 8414, section 2), exactly as the tokens
// and the discovery document have it, a slash at the end included. audience is
// the identifier of this service that a token's aud must contain (but see
// [DangerouslyAcceptAnyAudience]).
//
// New reports every mistake at once. It starts nothing and touches no network:
// discovery document and keys are fetched when the first token comes in (or by
// [Verifier.Prefetch]), so that a service starts, and recovers, while the issuer
// is down.
func New(issuer, audience string, opts ...Option) (*Verifier, error) {
	ic := newIssuerConfig(options.For("oidc"), issuer)
	c := newConfig(ic, opts)
	if c.Given("WithKeys") && (c.Given("WithMetadataURL") || c.Given("WithMetadataIssuer") || c.Given("WithHTTPClient")) {
		c.Problem("with WithKeys nothing is fetched, so WithMetadataURL, WithMetadataIssuer and WithHTTPClient have no meaning")
	}
	if c.Given("WithJWKSURI") && (c.Given("WithMetadataURL") || c.Given("WithMetadataIssuer")) {
		c.Problem("with WithJWKSURI no discovery document is fetched, so WithMetadataURL and WithMetadataIssuer have no meaning")
	}
	i, _ := ic.makeIssuer() // c has its problems too
	v, err := c.verifier(i, audience)
	if err != nil {
		return nil, err
	}
	v.inside.OwnsIssuer = true
	return v, nil
}

// Verifier returns a Verifier of the tokens that the issuer makes for audience. It
// borrows the Issuer, which the caller closes. Otherwise it works as [New], and reports
// an [IssuerOption] as a mistake: those are for NewIssuer.
func (i *Issuer) Verifier(audience string, opts ...Option) (*Verifier, error) {
	c := newConfig(nil, opts)
	if i.insides() == nil {
		c.Join(errNoIssuer)
	}
	return c.verifier(i, audience)
}

// verifier makes the Verifier, or reports every problem of c.
func (c *config) verifier(i *Issuer, audience string) (*Verifier, error) {
	c.SetFirstAudience(c.Set, audience)
	v := &Verifier{issuer: i, withoutAudience: c.withoutAudience}
	if len(c.withoutAudience) > 0 && c.Dialect.NeedsAudience {
		c.Problem("DangerouslyAllowMissingAudience: by the profile %v nothing but aud tells access tokens from ID tokens", c.Dialect.Name)
	}
	if c.AnyAudience && c.Dialect.NeedsAudience {
		c.Problem("DangerouslyAcceptAnyAudience: by the profile %v nothing but aud tells access tokens from ID tokens; name an audience", c.Dialect.Name)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	v.inside.Issuer, v.inside.Checks, v.inside.Origins = i.inside, c.Checks, c.origins
	v.inside.Signers = issuer.SignersOf(i.inside.Keys)
	v.cache = newCache(c.cacheSize, &v.inside.Signers)
	return v, nil
}

// Issuer returns the Issuer whose tokens the Verifier accepts: the one that it
// borrows, or its own, which is closed with the Verifier. It is nil for a Verifier
// that was not made by New or Issuer.Verifier.
func (v *Verifier) Issuer() *Issuer {
	if v == nil {
		return nil
	}
	return v.issuer
}

// Policy says how strict a token verifier is. The presets of package middleware ask
// for it, and refuse a verifier that cannot answer. The zero Policy promises nothing.
type Policy struct {
	// Algorithms are the signatures that tokens may have. It is empty if no
	// signature of a token is verified, because the issuer is asked instead.
	Algorithms []string
	// Skew is by how much the issuer's clock may differ from ours.
	Skew time.Duration
	// ChecksAudience says that every accepted token was made for this service.
	ChecksAudience bool
	// ChecksRevocation says that the issuer is asked about every accepted token.
	ChecksRevocation bool
	// Issuers are those whose tokens can be accepted. It is empty if the verifier cannot
	// list them.
	Issuers []string
	// Audiences are those that a token of any of the Issuers may name: each is accepted,
	// whichever issuer the token is of. It is empty if the verifier cannot list them.
	Audiences []string
}

// With returns the Policy of a verifier that passes some tokens to one of the Policy p
// and the others to one of the Policy q: the laxest value of each, so that what it
// promises holds for every token.
func (p Policy) With(q Policy) Policy {
	union := func(a, b []string) []string {
		return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	}
	both := Policy{
		Algorithms:       union(p.Algorithms, q.Algorithms),
		Skew:             max(p.Skew, q.Skew),
		ChecksAudience:   p.ChecksAudience && q.ChecksAudience,
		ChecksRevocation: p.ChecksRevocation && q.ChecksRevocation,
	}
	if len(p.Issuers) > 0 && len(q.Issuers) > 0 {
		both.Issuers = union(p.Issuers, q.Issuers)
	}
	for _, a := range p.Audiences {
		if slices.Contains(q.Audiences, a) {
			both.Audiences = append(both.Audiences, a)
		}
	}
	return both
}

// Policy returns how strict the Verifier is: it is the zero Policy for one that was
// not made by New. The slices are the caller's.
func (v *Verifier) Policy() Policy {
	if v.insides() == nil {
		return Policy{}
	}
	return Policy{
		Algorithms:     slices.Clone(v.inside.Checks.Algorithms),
		Skew:           v.inside.Checks.Skew,
		ChecksAudience: !v.inside.Checks.AnyAudience && len(v.withoutAudience) == 0,
		Issuers:        []string{v.issuer.URL()},
		Audiences:      slices.Clone(v.inside.Checks.Audiences),
	}
}

// VerifyToken verifies a JWT access token and returns what it says.
//
// If the token is at fault, the error is a [TokenError]. If the keys cannot be
// had, it is an error without a code, which may have a method RetryAfter()
// time.Duration: whether the token is good is not known then.
//
// Checks are in this order: size, cache, form, typ, alg, the types of the claims
// and cnf, iss, the profile's evidence of an access token, aud, the presence of
// the others, times, and then, for whatever is left, key and signature.
func (v *Verifier) VerifyToken(ctx context.Context, raw string) (*Token, error) {
	if v.insides() == nil {
		return nil, errNoVerifier
	}
	if len(raw) > v.inside.Checks.MaxSize {
		return nil, ErrTooLarge
	}
	id := jose.HashOf(raw)
	if t, err, hit := v.cached(id); hit {
		return t, err
	}
	m, err := parse(raw, v.inside.Checks.MaxSize)
	if err != nil {
		return nil, err
	}
	return v.verify(ctx, id, m)
}

// cached looks for a token that has been verified before. A hit is an answer:
// the token, or the reason why it is not good any more.
func (v *Verifier) cached(id [sha256.Size]byte) (t *Token, err error, hit bool) {
	e, ok := v.cache.get(id)
	if !ok {
		return nil, nil, false
	}
	if err := e.token.CheckTimes(time.Now(), v.inside.Checks.Skew); err != nil {
		v.cache.remove(id)
		return nil, err, true
	}
	copied := e.token
	return &copied, nil, true
}

// verify is VerifyToken after the parsing.
func (v *Verifier) verify(ctx context.Context, id [sha256.Size]byte, m *jose.Message) (*Token, error) {
	e := &entry{}
	t, err := v.check(ctx, id, m, &e.signature)
	if err != nil {
		return nil, err
	}
	e.token = *t
	v.cache.add(id, e)
	return t, nil
}

// check verifies a parsed token, and notes in by what signed it.
func (v *Verifier) check(ctx context.Context, id [sha256.Size]byte, m *jose.Message, by *issuer.Signature) (*Token, error) {
	t, err := v.checkClaims(m, time.Now())
	if err != nil {
		return nil, err
	}
	// From before the keys are read: a key that is withdrawn in between makes the first
	// hit in the cache look again.
	generation := v.inside.Signers.Generation()
	key, err := v.checkSignature(ctx, m)
	if err != nil {
		return nil, err
	}
	by.Set(key, generation)
	t.hash, t.origins = id, v.inside.Origins
	return t, nil
}

// checkClaims is everything that takes no key. It comes first because it is
// cheap, and because a token of another issuer must not make us ask ours for
// its key.
func (v *Verifier) checkClaims(m *jose.Message, now time.Time) (*Token, error) {
	checks := &v.inside.Checks
	typed, fault := checks.Dialect.CheckType(m.Header.Type)
	if fault != 0 {
		return nil, faults[fault]
	}
	if !slices.Contains(checks.Algorithms, m.Header.Algorithm) {
		return nil, ErrAlgorithm
	}
	t, r, err := newToken(m.Payload, checks.Dialect, checks.IgnoredConfirmation)
	if err != nil {
		return nil, err
	}
	if t.Issuer != v.inside.Issuer.URL {
		return nil, ErrIssuer
	}
	if fault := checks.Dialect.CheckAccess(r, typed, t.Confirmation.JKT != ""); fault != 0 {
		return nil, faults[fault]
	}
	if err := v.checkAudience(r); err != nil {
		return nil, err
	}
	if fault := checks.Dialect.CheckPresent(r); fault != 0 {
		return nil, faults[fault]
	}
	if err := t.CheckTimes(now, checks.Skew); err != nil {
		return nil, err
	}
	return t, nil
}

// checkAudience is RFC 9068, section 4, and what takes its place if the audience
// does not matter.
func (v *Verifier) checkAudience(r *dialect.Reading) error {
	checks := &v.inside.Checks
	stated := checks.Dialect.Audience(r)
	switch accepted := checks.AcceptsAudience(stated); {
	case accepted && !checks.AnyAudience:
		return nil
	case accepted:
	case stated == nil && slices.Contains(v.withoutAudience, r.ClientID): // an aud that names nothing is there
	default:
		return ErrAudience
	}
	if fault := checks.Dialect.CheckAnyAudience(r); fault != 0 {
		return faults[fault]
	}
	return nil
}

// checkSignature returns the issuer's key that made m's signature.
func (v *Verifier) checkSignature(ctx context.Context, m *jose.Message) (crypto.PublicKey, error) {
	keys, err := v.inside.Issuer.Keys.Keys(ctx, m.Header.Algorithm, m.Header.KeyID)
	switch {
	case errors.Is(err, jwks.ErrNoKey):
		return nil, ErrNoKey
	case err != nil:
		return nil, outage.As(outage.Issuer, fmt.Errorf("oidc: keys of %s: %w", v.issuer.URL(), err))
	case len(keys) == 0 || len(keys) > maxKeys:
		return nil, ErrNoKey
	}
	for _, key := range keys {
		if m.Verify(key) == nil {
			return key, nil
		}
	}
	return nil, ErrSignature
}

// Prefetch fetches what the first token would need, and returns at once if it is
// at hand: for the start of a service and for its readiness probe. An error
// says what is missing; the Verifier works all the same as soon as the issuer
// does.
func (v *Verifier) Prefetch(ctx context.Context) error {
	if v.insides() == nil {
		return errNoVerifier
	}
	return v.issuer.Prefetch(ctx)
}

// Close ends the background refreshes that the first token started, unless the
// Verifier borrows its [Issuer]: that one is closed by its owner. A key source from
// [WithKeys] is not closed. The Verifier may be used afterwards, but what it knows
// grows old. It may be called more than once.
func (v *Verifier) Close() error {
	if v.insides() == nil || !v.inside.OwnsIssuer {
		return nil
	}
	v.inside.Closed.Store(true)
	return v.issuer.Close()
}

// parse parses a JWT whose signature is not checked yet. A nested or encrypted one is
// refused, so that no inner signature goes unchecked (RFC 8725, section 3.3).
func parse(raw string, maxSize int) (*jose.Message, error) {
	m, err := jose.Parse(raw, maxSize)
	if err == nil {
		return m, nil
	}
	if kind, ok := errors.AsType[jose.Error](err); ok {
		switch kind {
		case jose.ErrTooLarge:
			return nil, ErrTooLarge
		case jose.ErrEncrypted:
			return nil, ErrEncrypted
		case jose.ErrCritical:
			return nil, ErrCritical
		case jose.ErrAlgorithm:
			return nil, ErrAlgorithm
		}
	}
	return nil, ErrMalformed
}

// parseToken is parse, and returns the issuer that the claim set names, or nothing if it
// names none. iss lies within m.
func parseToken(raw string, maxSize int) (m *jose.Message, iss []byte, err error) {
	if m, err = parse(raw, maxSize); err != nil {
		return nil, nil, err
	}
	var o strictjson.Object
	for o.StartDocument(m.Payload, dialect.MaxDepth); o.Next(); {
		if string(o.Name()) == "iss" {
			o.Bytes(&iss)
		}
	}
	switch o.Err() {
	case nil:
		return m, iss, nil
	case strictjson.ErrTooDeep:
		return nil, nil, ErrTooDeep
	default:
		return nil, nil, ErrClaims
	}
}

// Package tenants takes Verifiers over.
func init() {
	issuer.InsideVerifier = func(outside any) *issuer.Verifier { return outside.(*Verifier).insides() }
	issuer.ParseToken = parseToken
	issuer.VerifyToken = func(ctx context.Context, v any, id [sha256.Size]byte, m *jose.Message, by *issuer.Signature) (any, error) {
		return v.(*Verifier).check(ctx, id, m, by)
	}
}
