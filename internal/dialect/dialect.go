// Package dialect answers: what does a claim set say, and is it of an access token, as
// this issuer spells them?
//
// A [Dialect] is the inside of an oidc.Profile: which claims hold what, and the evidence
// that tells the issuer's access tokens from its ID tokens and others. [Vendors] are the
// dialects of issuers' software. Nothing here verifies a signature, and nothing here is
// exported by package oidc.
package dialect

import (
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// Dialect is how an issuer spells its access tokens.
type Dialect struct {
	Name     string
	Types    []string // accepted values of the header's typ besides at+jwt, normal; "" is none
	ClientID []Ref    // the first that is a string counts
	Scopes   []Scoped // the first that is there counts
	TokenID  []Ref    // the first that is a string counts
	MayLack  []string // claims that may be missing
	Evidence Evidence // of an access token
	Mark     Ref      // a claim by which the software is known; 0: none

	// NeedsAudience says that without comparing aud there is no evidence.
	NeedsAudience bool

	idClaims []Ref    // claims that show an ID token: no other evidence outweighs one of them
	extra    []string // the names of claims that only this dialect reads
	// clientForAudience has the client's id stand for an aud that is missing.
	clientForAudience bool
	// anyAudience reports whether what must be there besides is there if aud is not
	// compared; nil: nothing must.
	anyAudience func(Reading) bool
	// saysKind says that an introspection answer has the evidence too.
	saysKind bool
	// isClient tells tokens that speak for the client itself; nil: by sub and client id.
	isClient func(Reading) bool
}

// Scoped is a claim that holds scopes, in one form or in either.
type Scoped struct {
	Claim Ref
	Form  Form
}

// Form is how a claim holds scopes.
type Form uint8

// The forms of scopes.
const (
	Text   Form = 1 << iota // words in a string (RFC 6749, section 3.3)
	List                    // a JSON list of strings
	Either = Text | List
)

// Evidence is what access tokens show and other tokens of the issuer do not. All of
// it must be there.
type Evidence struct {
	Values []Valued // claims with one of some exact values

	always              bool       // also if the header's typ says that it is an access token
	present             [][]Ref    // of each group, one claim
	clientNotInAudience bool       // as it is in ID tokens
	alternatives        []Evidence // one of them
}

// Valued is a claim with one of some exact values.
type Valued struct {
	Claim  Ref
	Values []string
}

// Complete fills in what RFC 9068 has.
func (d *Dialect) Complete() {
	if d.ClientID == nil {
		d.ClientID = []Ref{ClientID}
	}
	if d.Scopes == nil {
		d.Scopes = []Scoped{{Scope, Text}}
	}
	if d.TokenID == nil {
		d.TokenID = []Ref{JTI}
	}
}

// Ref is the place of a claim, a new one if no vendor's dialect reads it.
func (d *Dialect) Ref(name string) Ref {
	if r, ok := refs[name]; ok {
		return r
	}
	i := slices.Index(d.extra, name)
	if i < 0 {
		i = len(d.extra)
		d.extra = append(d.extra, name)
	}
	return numRefs + Ref(i)
}

// Fault says why a token is none by the dialect. The zero Fault is none.
type Fault uint8

// The faults of tokens.
const (
	Malformed      Fault = iota + 1 // no strict JSON object, or a claim of the wrong type
	TooDeep                         // nested deeper than MaxDepth
	BadScope                        // the scopes have another form
	OtherType                       // the header's typ is that of another kind of token
	TypeJWT                         // the header's typ is "JWT" or missing
	NotAccessToken                  // the evidence is not there, or is that of another kind
	NoKey                           // the token is said to have a key, and names none
	NoExpiry
	NoSubject
	NoClientID
	NoIssuedAt
	NoID
)

// Reading is what a claim set says, by a dialect.
type Reading struct {
	Claims    *Claims
	Subject   string // of a token without sub, where the dialect has such, the client
	ClientID  string
	ID        string
	Scopes    []string
	ForClient bool // the token has the dialect's sign that it speaks for the client itself
}

// Read reads a claim set. The result shares memory with raw.
func (d *Dialect) Read(raw []byte) (Reading, Fault) {
	c := new(Claims)
	if fault := c.read(raw, d.extra); fault != 0 {
		return Reading{Claims: c}, fault
	}
	return d.Interpret(c)
}

// Interpret is Read after the reading of the claims.
func (d *Dialect) Interpret(c *Claims) (r Reading, fault Fault) {
	r = Reading{Claims: c, Subject: c.Subject}
	if r.Scopes, fault = d.scopesOf(c); fault != 0 {
		return r, fault
	}
	r.ClientID, r.ID = c.first(d.ClientID), c.first(d.TokenID)
	r.ForClient = d.isClient != nil && d.isClient(r)
	if r.Subject == "" && slices.Contains(d.MayLack, "sub") {
		r.Subject = r.ClientID
	}
	return r, 0
}

// scopesOf reads the scopes of the first claim that holds any.
// By default these are words in a string (RFC 9068, section 2.2.3).
func (d *Dialect) scopesOf(c *Claims) ([]string, Fault) {
	for _, s := range d.Scopes {
		raw := c.Get(s.Claim)
		if raw == nil {
			continue
		}
		if words, ok := strictjson.Text(raw); ok && s.Form&Text != 0 {
			return strings.FieldsFunc(words, func(r rune) bool { return r == ' ' }), 0
		}
		if scopes, ok := strictjson.Texts(raw); ok && s.Form&List != 0 {
			return scopes, 0
		}
		return nil, BadScope
	}
	return nil, 0
}

// CheckType is RFC 9068, section 4, with the relaxations of the dialect. typed reports
// that the token is explicitly an access token. Its faults are [OtherType] and [TypeJWT].
func (d *Dialect) CheckType(header string) (typed bool, fault Fault) {
	if jose.IsType(header, "at+jwt") {
		return true, 0
	}
	if header != "" && !jose.IsType(header, "jwt") {
		if !slices.ContainsFunc(d.Types, func(t string) bool { return t != "" && jose.IsType(header, t) }) {
			return false, OtherType
		}
		return true, 0
	}
	normal := ""
	if header != "" {
		normal = "jwt"
	}
	if !slices.Contains(d.Types, normal) {
		return false, TypeJWT
	}
	return false, 0
}

// CheckAccess demands the evidence that the token is an access token. typed is whether
// its header says so, hasKey whether its cnf names a key. Its faults are
// [NotAccessToken] and [NoKey].
func (d *Dialect) CheckAccess(r *Reading, typed, hasKey bool) Fault {
	if slices.ContainsFunc(d.idClaims, r.Claims.Has) {
		return NotAccessToken
	}
	if typed && !d.Evidence.always {
		return 0
	}
	if !d.Evidence.shownBy(r) {
		return NotAccessToken
	}
	// Keycloak's name for a token whose key it has checked.
	if d.saysKind && r.Claims.Text(Typ) == "DPoP" && !hasKey {
		return NoKey
	}
	return 0
}

// CheckAnswer is CheckAccess for the claims of an introspection answer, as far as they
// have the evidence.
func (d *Dialect) CheckAnswer(r *Reading, hasKey bool) Fault {
	for _, v := range d.Evidence.Values {
		if r.Claims.Has(v.Claim) && !slices.Contains(v.Values, r.Claims.Text(v.Claim)) {
			return NotAccessToken
		}
	}
	if !d.saysKind {
		return 0
	}
	return d.CheckAccess(r, false, hasKey)
}

func (e *Evidence) shownBy(r *Reading) bool {
	for _, v := range e.Values {
		if !slices.Contains(v.Values, r.Claims.Text(v.Claim)) {
			return false
		}
	}
	for _, group := range e.present {
		if !slices.ContainsFunc(group, r.Claims.Has) {
			return false
		}
	}
	if e.clientNotInAudience && slices.Contains(r.Claims.Audience, r.ClientID) {
		return false
	}
	return len(e.alternatives) == 0 || slices.ContainsFunc(e.alternatives, func(one Evidence) bool { return one.shownBy(r) })
}

// Audience is what is compared with the service's own.
func (d *Dialect) Audience(r *Reading) []string {
	if r.Claims.Audience == nil && d.clientForAudience {
		return []string{r.ClientID}
	}
	return r.Claims.Audience
}

// CheckAnyAudience demands what must be there besides if aud is not compared. Its fault
// is [NotAccessToken].
func (d *Dialect) CheckAnyAudience(r *Reading) Fault {
	if d.anyAudience != nil && !d.anyAudience(*r) {
		return NotAccessToken
	}
	return 0
}

// CheckPresent is RFC 9068, section 2.2, for the claims that no earlier check requires.
func (d *Dialect) CheckPresent(r *Reading) Fault {
	if !r.Claims.Expiry.Present() {
		return NoExpiry
	}
	return d.lacks(r)
}

// lacks is what must be there besides exp.
func (d *Dialect) lacks(r *Reading) Fault {
	missing := func(claim string, absent bool) bool { return absent && !slices.Contains(d.MayLack, claim) }
	switch {
	case r.Subject == "":
		return NoSubject
	case missing("client_id", r.ClientID == ""):
		return NoClientID
	case missing("iat", !r.Claims.IssuedAt.Present()):
		return NoIssuedAt
	case missing("jti", r.ID == ""):
		return NoID
	}
	return 0
}

// Admits reports whether a token is an access token by the dialect, apart from audience,
// times and key. hasKey is as of [Dialect.CheckAccess].
func (d *Dialect) Admits(header string, c *Claims, hasKey bool) bool {
	typed, fault := d.CheckType(header)
	if fault != 0 {
		return false
	}
	r, fault := d.Interpret(c)
	return fault == 0 && d.CheckAccess(&r, typed, hasKey) == 0 && d.lacks(&r) == 0
}
