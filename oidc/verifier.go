package oidc

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/jwks"
)

// Verifier verifies the JWT access tokens of one issuer for one service. Make
// one with [New]. Its methods may be called concurrently. The zero Verifier, and
// a nil one, accepts nothing.
type Verifier struct {
	issuer     string
	audiences  []string
	profile    *profile
	algorithms []string
	skew       time.Duration
	maxSize    int
	ignoredCnf []string

	anyAudience bool // audiences is empty then

	keys     KeySource
	source   *jwks.Source // keys, if this Verifier made it
	provider *provider    // nil if no discovery document is needed
	cache    *cache       // nil if switched off
}

var errNoVerifier = errors.New("oidc: this Verifier was not made by New")

// New returns a Verifier of the tokens that issuer makes for audience.
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
	c := newConfig(forVerifier, issuer, opts)
	c.setAudience(audience)
	v := &Verifier{
		issuer:     issuer,
		audiences:  c.audiences,
		profile:    c.profile.rules(),
		algorithms: c.algorithms,
		skew:       c.skew,
		maxSize:    c.maxSize,
		ignoredCnf: c.ignoredCnf,

		anyAudience: c.anyAudience,
	}
	if c.anyAudience && v.profile.forAnyAudience == nil {
		c.problem("DangerouslyAcceptAnyAudience: by the profile %v nothing but aud tells access tokens from ID tokens; name an audience", c.profile)
	}
	if c.given["WithKeys"] && (c.given["WithJWKSURI"] || c.given["WithMetadataURL"] || c.given["WithHTTPClient"] || c.given["WithCooldown"]) {
		c.problem("with WithKeys nothing is fetched, so WithJWKSURI, WithMetadataURL, WithHTTPClient and WithCooldown have no meaning")
	}
	if c.given["WithJWKSURI"] && c.given["WithMetadataURL"] {
		c.problem("with WithJWKSURI no discovery document is fetched, so WithMetadataURL has no meaning")
	}
	if c.err() == nil {
		if err := v.findKeys(c); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	v.cache = newCache(c.cacheSize, v.keys)
	return v, nil
}

// findKeys sets v.keys, and what it takes to get them.
func (v *Verifier) findKeys(c *config) (err error) {
	switch {
	case c.keys != nil:
		v.keys = c.keys
		return nil
	case c.provider.jwksURI != "":
		if v.source, err = jwks.New(c.provider.jwksURI, keyOptions(c)...); err != nil {
			return fmt.Errorf("oidc: WithJWKSURI: %w", err)
		}
	default:
		if v.provider, err = newProvider(c.issuer, c.provider); err != nil {
			return err
		}
		v.source, err = jwks.NewLocated(v.provider.jwksURI, keyOptions(c)...)
	}
	v.keys = v.source
	return err
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
	if v == nil || v.keys == nil {
		return nil, errNoVerifier
	}
	if len(raw) > v.maxSize {
		return nil, ErrTooLarge
	}
	id := hashOf(raw)
	if t, err, hit := v.cached(id); hit {
		return t, err
	}
	m, err := parse(raw, v.maxSize)
	if err != nil {
		return nil, err
	}
	return v.verify(ctx, id, m)
}

// hashOf is the SHA-256 of a token. It hashes a copy that the stack has room for,
// if the token is of an ordinary size: a conversion would allocate one.
func hashOf(raw string) [sha256.Size]byte {
	var buf [2048]byte
	return sha256.Sum256(append(buf[:0], raw...))
}

// cached looks for a token that has been verified before. A hit is an answer:
// the token, or the reason why it is not good any more.
func (v *Verifier) cached(id [sha256.Size]byte) (t *Token, err error, hit bool) {
	e, ok := v.cache.get(id)
	if !ok {
		return nil, nil, false
	}
	if err := checkTimes(e.token.Expiry, e.begin, e.token.IssuedAt, time.Now(), v.skew); err != nil {
		v.cache.remove(id)
		return nil, err, true
	}
	copied := e.token
	return &copied, nil, true
}

// verify is VerifyToken after the parsing.
func (v *Verifier) verify(ctx context.Context, id [sha256.Size]byte, m *jose.Message) (*Token, error) {
	t, c, err := v.checkClaims(m, time.Now())
	if err != nil {
		return nil, err
	}
	// Before the keys are read: a key that is withdrawn in between makes the entry's first hit look again.
	generation := v.cache.generation()
	key, err := v.checkSignature(ctx, m)
	if err != nil {
		return nil, err
	}
	t.hash = id
	e := &entry{token: *t, begin: c.Begin.Time(), key: key}
	e.generation.Store(generation)
	v.cache.add(id, e)
	return t, nil
}

// checkClaims is everything that takes no key. It comes first because it is
// cheap, and because a token of another issuer must not make us ask ours for
// its key.
func (v *Verifier) checkClaims(m *jose.Message, now time.Time) (*Token, *claims, error) {
	typed, err := v.profile.checkType(m.Header.Type)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(v.algorithms, m.Header.Algorithm) {
		return nil, nil, ErrAlgorithm
	}
	t, c, err := newToken(m.Payload, v.profile, v.ignoredCnf)
	if err != nil {
		return nil, nil, err
	}
	if t.Issuer != v.issuer {
		return nil, nil, ErrIssuer
	}
	if err := v.profile.access(t, c, typed); err != nil {
		return nil, nil, err
	}
	if err := v.checkAudience(t, c); err != nil {
		return nil, nil, err
	}
	if err := v.profile.checkPresent(t); err != nil {
		return nil, nil, err
	}
	if err := checkTimes(t.Expiry, c.Begin.Time(), t.IssuedAt, now, v.skew); err != nil {
		return nil, nil, err
	}
	return t, c, nil
}

// checkAudience is RFC 9068, section 4, and what takes its place if the audience
// does not matter.
func (v *Verifier) checkAudience(t *Token, c *claims) error {
	stated := v.profile.audience(t)
	switch {
	case v.anyAudience && namesAny(stated):
		return v.profile.forAnyAudience(t, c)
	case !v.anyAudience && intersects(stated, v.audiences):
		return nil
	}
	return ErrAudience
}

// checkSignature returns the issuer's key that made m's signature.
func (v *Verifier) checkSignature(ctx context.Context, m *jose.Message) (crypto.PublicKey, error) {
	keys, err := v.keys.Keys(ctx, m.Header.Algorithm, m.Header.KeyID)
	switch {
	case errors.Is(err, jwks.ErrNoKey):
		return nil, ErrNoKey
	case err != nil:
		return nil, fmt.Errorf("oidc: keys of %s: %w", v.issuer, err)
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

// checkPresent is RFC 9068, section 2.2, for what no other check has missed.
func (p *profile) checkPresent(t *Token) error {
	switch {
	case t.Expiry.IsZero():
		return ErrNoExpiry
	case t.Subject == "":
		return ErrNoSubject
	case t.ClientID == "":
		return ErrNoClientID
	case t.IssuedAt.IsZero():
		return ErrNoIssuedAt
	case t.ID == "" && !p.noID:
		return ErrNoID
	}
	return nil
}

// checkTimes compares the times of a token with now; a zero time is not
// compared. A token is good before exp, not at it (RFC 7519, section 4.1.4),
// and from nbf on (section 4.1.5).
func checkTimes(expiry, begin, issuedAt, now time.Time, skew time.Duration) error {
	switch {
	case !expiry.IsZero() && !now.Before(expiry.Add(skew)):
		return ErrExpired
	case !begin.IsZero() && now.Before(begin.Add(-skew)):
		return ErrNotYetValid
	case !issuedAt.IsZero() && now.Before(issuedAt.Add(-skew)):
		return ErrIssuedInFuture
	}
	return nil
}

// namesAny reports whether a token's audiences are more than nothing at all.
func namesAny(audiences []string) bool {
	return slices.ContainsFunc(audiences, func(s string) bool { return s != "" })
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
