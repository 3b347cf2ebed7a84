package oidc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// Token is a verified access token. Code that holds one may rely on its having been
// checked, with one exception: [TokenFromClaims].
//
// Verifiers cache tokens. Each call returns a Token of its own, but its slices
// are shared with other requests: read them, do not write to them. The methods
// may be called concurrently. The zero Token has no claims.
type Token struct {
	Issuer       string
	Subject      string // of client credentials tokens, the client; see SubjectIsClient
	ClientID     string
	ID           string // jti
	Audience     []string
	Scopes       []string
	IssuedAt     time.Time // zero if the token does not say
	NotBefore    time.Time // zero if the token does not say
	Expiry       time.Time // zero if the token does not say, which only an introspected token may
	Confirmation Confirmation

	forClient bool // the profile says so; see SubjectIsClient

	claims  *claimSet
	hash    [sha256.Size]byte // of the token as sent; zero if it is not known
	origins []string          // see Origins
}

// Confirmation is the cnf claim (RFC 7800): what a token is bound to. The zero
// Confirmation is an unbound token. A token whose cnf is malformed, or names no
// method that is known here, is not a Token at all.
//
// The values are canonical whatever the token's spelling was, so that comparing
// strings compares bytes.
type Confirmation struct {
	JKT string // jkt: SHA-256 thumbprint of the DPoP key, canonical base64url (RFC 9449, section 6.1)
	X5T string // x5t#S256: SHA-256 of the certificate, canonical base64url (RFC 8705, section 3.1)
}

// Bound reports whether the token is bound to anything.
func (c Confirmation) Bound() bool { return c != Confirmation{} }

// SubjectIsClient reports whether the token speaks for the client itself, as those of
// the client credentials grant do, and not for a user. It is so if Subject equals
// ClientID, and if the issuer's [Profile] has another sign of it: Auth0, Entra ID and
// Keycloak give clients a sub of another form. Issuers that let a client choose its
// own id can give it the sub of a user (RFC 9068, section 5): a service that looks up
// users by Subject asks this first.
func (t *Token) SubjectIsClient() bool {
	return t.forClient || t.Subject != "" && t.Subject == t.ClientID
}

// CheckTimes compares the times of the token with now; one that the token does not
// state is not compared. A token is good before exp, not at it (RFC 7519, section 4.1.4),
// and from nbf on (section 4.1.5). skew is by how much the issuer's clock may differ from
// ours. The error is [ErrExpired], [ErrNotYetValid] or [ErrIssuedInFuture].
func (t *Token) CheckTimes(now time.Time, skew time.Duration) error {
	switch {
	case !t.Expiry.IsZero() && !now.Before(t.Expiry.Add(skew)):
		return ErrExpired
	case !t.NotBefore.IsZero() && now.Before(t.NotBefore.Add(-skew)):
		return ErrNotYetValid
	case !t.IssuedAt.IsZero() && now.Before(t.IssuedAt.Add(-skew)):
		return ErrIssuedInFuture
	}
	return nil
}

// Hash returns the SHA-256 of the token as the client sent it, which is what the
// ath of a DPoP proof is made of (RFC 9449, section 4.2). ok is false for a Token
// of [TokenFromClaims].
func (t *Token) Hash() (sum [sha256.Size]byte, ok bool) {
	return t.hash, t.hash != [sha256.Size]byte{}
}

// Origins returns the only origins of this service at which the token is good, as
// [WithOrigins] says of its issuer, or nothing if it is good at all of them. They are in
// normal form: scheme and host in lower case, no default port. A guard of package
// middleware compares them with where the request was sent.
func (t *Token) Origins() []string { return t.origins }

// Claims decodes the token's claim set into v, a pointer, by the rules of
// encoding/json: those of a struct match names regardless of case, those of a
// map do not.
func (t *Token) Claims(v any) error {
	if t.claims == nil {
		return errors.New("oidc: the token has no claims")
	}
	return json.Unmarshal(t.claims.raw, v)
}

// Claim returns the values of one claim as text. Each element of path is the
// name of one member, exactly: Claim("realm_access", "roles") is roles within
// realm_access, and a name may hold dots. A string is one value, a list is its
// strings, numbers and booleans, a number or boolean is its JSON text. ok is
// false if there is no such claim, or it is null or an object.
//
// The first call decodes the whole claim set; later ones, also through other
// copies of a cached token, only look it up.
func (t *Token) Claim(path ...string) (values []string, ok bool) {
	if t.claims == nil || len(path) == 0 {
		return nil, false
	}
	var at any = t.claims.tree()
	for _, name := range path {
		members, isObject := at.(map[string]any)
		if !isObject {
			return nil, false
		}
		if at, ok = members[name]; !ok {
			return nil, false
		}
	}
	return claimValues(at)
}

func claimValues(v any) (values []string, ok bool) {
	list, isList := v.([]any)
	if !isList {
		text, ok := claimText(v)
		if !ok {
			return nil, false
		}
		return []string{text}, true
	}
	values = make([]string, 0, len(list))
	for _, e := range list {
		if text, ok := claimText(e); ok {
			values = append(values, text)
		}
	}
	return values, true
}

func claimText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	default:
		return "", false
	}
}

// claimSet is the JSON of a token's claims, decoded when it is first asked for.
//
// Invariant: raw is a single strict JSON object, so that encoding/json cannot
// read it in more than one way.
type claimSet struct {
	raw     []byte
	once    sync.Once
	decoded map[string]any
}

func (c *claimSet) tree() map[string]any {
	c.once.Do(func() {
		d := json.NewDecoder(bytes.NewReader(c.raw))
		d.UseNumber()
		var tree map[string]any
		if d.Decode(&tree) == nil {
			c.decoded = tree
		}
	})
	return c.decoded
}

// TokenFromClaims builds a Token from a claim set (a JSON object) that the caller has
// verified: it is for a token verifier of the caller's own. It checks shapes, cnf above
// all, and neither times nor issuer nor audience; which claims must be there is the
// caller's business too. It keeps no reference to claims. Its errors are [TokenError]
// kinds.
func TokenFromClaims(claims []byte) (*Token, error) {
	t, _, err := newToken(claims, &dialect.Vendors[dialect.RFC9068], nil)
	return t, err
}

// newToken is TokenFromClaims by the given dialect, and what it has read. ignored names
// the cnf members of DangerouslyIgnoreConfirmation.
//
// Invariant: nothing in the token shares memory with raw, which lies next to the very
// token in a parsed message: a cached Token must not keep that alive.
func newToken(raw []byte, d *dialect.Dialect, ignored []string) (*Token, *dialect.Reading, error) {
	r, fault := d.Read(raw)
	if fault != 0 {
		return nil, &r, faults[fault]
	}
	confirmation, err := parseConfirmation(r.Claims.Get(dialect.CNF), ignored)
	if err != nil {
		return nil, &r, err
	}
	return &Token{
		Issuer:       r.Claims.Issuer,
		Subject:      r.Subject,
		ClientID:     r.ClientID,
		ID:           r.ID,
		Audience:     slices.Clip(r.Claims.Audience),
		Scopes:       slices.Clip(r.Scopes),
		IssuedAt:     r.Claims.IssuedAt.Time(),
		NotBefore:    r.Claims.NotBefore.Time(),
		Expiry:       r.Claims.Expiry.Time(),
		Confirmation: confirmation,
		forClient:    r.ForClient,
		claims:       &claimSet{raw: bytes.Clone(raw)},
	}, &r, nil
}

// The confirmation methods that this module enforces.
const (
	memberJKT = "jkt"      // RFC 9449, section 6.1
	memberX5T = "x5t#S256" // RFC 8705, section 3.1
)

// parseConfirmation parses cnf; nil is a token without one.
//
// RFC 7800, section 3.1 lets a recipient ignore members that it does not
// understand. Ignoring the only ones would turn a token that was bound to
// something into a bearer token, so a cnf that leaves nothing to enforce is
// refused, unless each of its members is in ignored.
func parseConfirmation(raw json.RawMessage, ignored []string) (Confirmation, error) {
	if raw == nil {
		return Confirmation{}, nil
	}
	var c Confirmation
	var o strictjson.Object
	none, others := true, false // members, and such that may not be ignored
	for o.Start(raw, dialect.MaxDepth); o.Next(); none = false {
		var err error
		switch name := string(o.Name()); name {
		case memberJKT:
			c.JKT, err = canonicalThumbprint(o.Value())
		case memberX5T:
			c.X5T, err = canonicalThumbprint(o.Value())
		default:
			others = others || !slices.Contains(ignored, name)
		}
		if err != nil {
			return Confirmation{}, err
		}
	}
	if o.Err() != nil || none || others && !c.Bound() {
		return Confirmation{}, ErrConfirmation
	}
	return c, nil
}

// canonicalThumbprint decodes a JSON string of 43 base64url characters to 32
// bytes and encodes them again. The last character carries two bits that mean
// nothing: RFC 8705's own example sets them, so they are tolerated.
func canonicalThumbprint(raw json.RawMessage) (string, error) {
	s, ok := strictjson.Text(raw)
	if !ok {
		return "", ErrConfirmation
	}
	var sum [32]byte
	// Go's decoder skips CR and LF. With one of them, 43 characters are less than 32
	// bytes.
	if len(s) != base64.RawURLEncoding.EncodedLen(len(sum)) {
		return "", ErrConfirmation
	}
	if n, err := base64.RawURLEncoding.Decode(sum[:], []byte(s)); err != nil || n != len(sum) {
		return "", ErrConfirmation
	}
	// Most are canonical already.
	var canonical [43]byte
	if base64.RawURLEncoding.Encode(canonical[:], sum[:]); string(canonical[:]) == s {
		return s, nil
	}
	return string(canonical[:]), nil
}

// Package introspect makes Tokens of the answers that it reads.
func init() {
	issuer.NewToken = func(raw []byte, by *issuer.Checks) (any, *dialect.Reading, error) {
		t, r, err := newToken(raw, by.Dialect, by.IgnoredConfirmation)
		return t, r, err
	}
}
