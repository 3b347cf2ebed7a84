package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/dialect"
)

// Dialect is how an issuer spells its access tokens, as its operator describes it:
// see [Described]. The zero value of a field is what RFC 9068 has.
type Dialect struct {
	// Name stands for the dialect in errors and logs.
	Name string

	// Types are the values of the header's typ that access tokens have besides "at+jwt",
	// in any case, with or without "application/". "JWT" and "", which stands for
	// tokens without typ, need Evidence, since ID tokens have them too.
	Types []string

	// ClientID and TokenID name the claims that hold the client's id and the token's
	// id. The first that is a string counts. By default they are client_id and jti.
	ClientID, TokenID []string

	// Scopes names the claims that hold scopes. The first that is there counts. By
	// default it is scope.
	Scopes []string
	// ScopeLists accepts a JSON list of strings beside the string of
	// RFC 6749, section 3.3.
	ScopeLists bool

	// MayLack names the claims that may be missing: any of "sub", "client_id", "iat"
	// and "jti". A token without sub speaks for its client, whose id is its Subject.
	MayLack []string

	// Evidence tells the issuer's access tokens from its ID tokens, refresh tokens and
	// other JWTs. A token whose typ is "JWT" or missing must show all of it.
	Evidence []Evidence
}

// Evidence is a claim that has one of the listed values in access tokens, and no other
// token of the issuer has it with any of them. The issuer must set it itself: a value
// that a user or a client can choose is no evidence. Values are compared exactly; a
// claim that is not a string never matches.
type Evidence struct {
	Claim  string
	Values []string
}

// described is the Profile of a Dialect.
type described struct {
	inside *dialect.Dialect
	err    error // why it is refused
}

func (p *described) String() string                     { return p.inside.Name }
func (p *described) dialect() (*dialect.Dialect, error) { return p.inside, p.err }

// Described returns the profile of an issuer that no [Vendor] stands for, such as
//
//	oidc.WithProfile(oidc.Described(oidc.Dialect{
//		Name:     "our issuer",
//		Types:    []string{"JWT"},
//		Scopes:   []string{"scp"},
//		Evidence: []oidc.Evidence{{Claim: "token_kind", Values: []string{"access"}}},
//	}))
//
// The constructor that is given the profile reports every mistake in it. It refuses a
// dialect that accepts typ "JWT" or none without evidence, and evidence in claims that
// ID tokens have too, that users choose, or that say nothing of the kind of a token:
// aud, azp, sub, scope and their like. Use package oidctest's TestProfile to hold a
// description against tokens of the issuer.
func Described(d Dialect) Profile {
	p := &describing{to: &dialect.Dialect{Name: d.Name, MayLack: slices.Clone(d.MayLack)}}
	p.check(d.Name != "", "Name is missing")
	p.types(d)
	p.to.ClientID = p.refs("ClientID", d.ClientID)
	p.to.TokenID = p.refs("TokenID", d.TokenID)
	form := dialect.Text
	if d.ScopeLists {
		form = dialect.Either
	}
	for _, r := range p.refs("Scopes", d.Scopes) {
		p.to.Scopes = append(p.to.Scopes, dialect.Scoped{Claim: r, Form: form})
	}
	if d.Scopes == nil {
		p.to.Scopes = []dialect.Scoped{{Claim: dialect.Scope, Form: form}}
	}
	for _, claim := range d.MayLack {
		p.check(slices.Contains([]string{"sub", "client_id", "iat", "jti"}, claim), "MayLack: %q may not be missing; only sub, client_id, iat and jti may", claim)
	}
	for _, e := range d.Evidence {
		p.evidence(e)
	}
	p.to.Complete()
	return &described{p.to, errors.Join(p.problems...)}
}

// describing makes a dialect, and collects what is wrong with it.
type describing struct {
	to       *dialect.Dialect
	problems []error
}

func (p *describing) check(ok bool, format string, args ...any) {
	if !ok {
		p.problems = append(p.problems, fmt.Errorf("the dialect %q: "+format, append([]any{p.to.Name}, args...)...))
	}
}

// otherTypes are the explicit types of tokens that are no access tokens, and that no
// description can make one of.
var otherTypes = []string{
	"dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "id_token+jwt", "id+jwt", "entity-statement+jwt",
	"oauth-authz-req+jwt", "client-authentication+jwt", "openid4vci-proof+jwt", "kb+jwt", "passport", "jwk-set+jwt",
	"jose", "jose+json", "jws", "jwe", "json", // of any JWT (RFC 7515, section 4.1.9)
	"trust-mark+jwt", "resolve-response+jwt", "oauth-client-attestation+jwt", "oauth-client-attestation-pop+jwt",
	"rt+jwt", "refresh+jwt", // refresh tokens of WSO2, of AT Protocol servers
	"statuslist+jwt", "vc+jwt", "vp+jwt", "dc+sd-jwt", "vc+sd-jwt",
}

func (p *describing) types(d Dialect) {
	needsEvidence := false
	for _, t := range d.Types {
		normal := strings.TrimPrefix(strings.ToLower(t), "application/")
		needsEvidence = needsEvidence || normal == "jwt" || normal == ""
		p.check(!slices.Contains(otherTypes, normal), "Types: %q is the type of tokens that are no access tokens", t)
		p.check(isSubtype(normal), "Types: %q is no media type", t)
		p.check(!slices.Contains(p.to.Types, normal), "Types: %q is given twice", t)
		p.to.Types = append(p.to.Types, normal)
	}
	p.check(!needsEvidence || len(d.Evidence) > 0, "Types: ID tokens have the typ JWT, or none, too: name the Evidence that tells access tokens from them")
}

// notEvidence are claims that say nothing of the kind of a token: ID tokens have them
// too, or users choose them (OpenID Connect Core, sections 2 and 5.1).
var notEvidence = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "cnf", "scope", "scp", "client_id", "appid", "cid", "uti", "sid",
	"auth_time", "nonce", "acr", "amr", "at_hash", "c_hash", "s_hash", "events", "roles", "groups", "entitlements", "oid",
	"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website",
	"email", "email_verified", "gender", "birthdate", "zoneinfo", "locale", "phone_number", "phone_number_verified", "address",
	"updated_at", "username", "upn", "unique_name",
}

func (p *describing) evidence(e Evidence) {
	p.check(e.Claim != "", "Evidence: a claim without a name")
	p.check(!slices.Contains(notEvidence, e.Claim), "Evidence: the claim %q does not tell access tokens from other tokens", e.Claim)
	p.check(len(e.Values) > 0, "Evidence: no values for the claim %q", e.Claim)
	p.check(!slices.Contains(e.Values, ""), "Evidence: an empty value for the claim %q", e.Claim)
	p.to.Evidence.Values = append(p.to.Evidence.Values, dialect.Valued{Claim: p.to.Ref(e.Claim), Values: slices.Clone(e.Values)})
}

func (p *describing) refs(field string, names []string) (all []dialect.Ref) {
	for _, name := range names {
		p.check(name != "", "%s: a claim without a name", field)
		p.check(!slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat"}, name), "%s: %q has a meaning of its own, and would never be found", field, name)
		all = append(all, p.to.Ref(name))
	}
	return all
}

// isSubtype reports whether t is "" or a restricted name of RFC 6838, section 4.2.
func isSubtype(t string) bool {
	return !strings.ContainsFunc(t, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$&-^_.+", r))
	})
}
