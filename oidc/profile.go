package oidc

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/jose"
)

// Profile is how an issuer spells its access tokens. [RFC9068] is the default.
// The others are named after the issuer whose deviations they accept, and each
// says below which those are; whatever it does not mention is checked as by
// RFC9068: iss, aud, exp, nbf, iat, sub, the client's id, jti, cnf.
//
// Accepting typ "JWT" gives up the check that tells access tokens from ID
// tokens (RFC 9068, section 5; RFC 8725, section 3.12). So each profile that
// does has other evidence, which the issuer's access tokens show and its ID
// tokens do not. No profile accepts a token of another explicit type: a proof
// (dpop+jwt), a logout token, an introspection response, a security event.
type Profile uint8

const (
	// RFC9068 is the default: RFC 9068, section 4, to the letter. The header's typ is at+jwt;
	// iss, exp, aud, sub, client_id, iat and jti are present; scope is a string.
	RFC9068 Profile = iota

	// Keycloak accepts the access tokens of Keycloak 20 and later:
	//   - the header's typ may be JWT. In its place the claim typ must be "Bearer" or "DPoP"; it is
	//     "ID" in ID tokens and "Refresh" or "Offline" in refresh tokens. A "DPoP" token must have cnf.jkt;
	//   - the client's id is in azp (client_id is used if there is no azp).
	// Its aud is often only "account": the service's own audience needs an audience mapper.
	Keycloak

	// Auth0 accepts both token dialects of Auth0. Tokens of the RFC 9068 dialect have typ at+jwt. For
	// the others:
	//   - the header's typ may be JWT. In its place the client's id must be in azp, and not be in aud
	//     as it is in ID tokens, and there must be none of nonce, at_hash and c_hash;
	//   - jti may be missing.
	Auth0

	// Okta accepts the access tokens of Okta's custom authorization servers (those of the org server
	// are not meant to be verified by others):
	//   - the header's typ may be JWT or missing. In its place the client's id must be in cid, and not
	//     be in aud as it is in ID tokens, scp must be there, and none of nonce, at_hash and c_hash;
	//   - scopes are a list in scp.
	Okta

	// EntraID accepts the v1.0 and v2.0 access tokens of Microsoft Entra ID for an API of one's own:
	//   - the header's typ may be JWT. In its place the client's id must be in azp (v2.0) or appid
	//     (v1.0), and scp or roles must be there, while none of nonce, at_hash and c_hash may be;
	//   - scopes are a string in scp;
	//   - jti may be missing; Token.ID is uti then.
	// The issuer of v1.0 tokens is https://sts.windows.net/{tenant}/, whose discovery document is
	// found with WithMetadataURL.
	EntraID

	// Cognito accepts the access tokens of Amazon Cognito user pools:
	//   - the header's typ may be JWT or missing. In its place the claim token_use must be "access"; it
	//     is "id" in ID tokens;
	//   - aud may be missing, which it is unless the client used resource binding. In its place
	//     client_id must be one of the audiences: give New the app client's id as the audience, and
	//     those of further clients to WithAudiences.
	Cognito

	profiles // the number of profiles
)

// String is the name of the constant.
func (p Profile) String() string {
	names := [profiles]string{"RFC9068", "Keycloak", "Auth0", "Okta", "EntraID", "Cognito"}
	if !p.valid() {
		return "unknown"
	}
	return names[p]
}

func (p Profile) valid() bool { return p < profiles }

// profile is what a Profile stands for.
type profile struct {
	jwt     bool // typ may be JWT
	untyped bool // typ may be missing
	noID    bool // jti may be missing

	client   func(*claims) string
	scope    func(*claims) ([]string, error)
	id       func(*claims) string
	audience func(t *Token) []string
	// access looks for the evidence that a token of typ JWT is an access token; typed is whether it
	// is of typ at+jwt.
	access func(t *Token, c *claims, typed bool) error
	// answer looks for what the issuer's introspection answers about access tokens show. It is nil
	// if there is nothing in particular.
	answer func(t *Token, c *claims) error
	// forAnyAudience looks for what must be there besides if no audience is checked. It is nil if
	// access relies on aud, so that there is nothing to look for.
	forAnyAudience func(t *Token, c *claims) error
}

func (p Profile) rules() *profile {
	r := &profile{
		client:   func(c *claims) string { return optionalString(c.ClientID) },
		scope:    func(c *claims) ([]string, error) { return splitScope(c.Scope) },
		id:       func(c *claims) string { return c.ID },
		audience: func(t *Token) []string { return t.Audience },
		access:   func(*Token, *claims, bool) error { return nil }, // typ is at+jwt

		forAnyAudience: func(*Token, *claims) error { return nil },
	}
	switch p {
	case Keycloak:
		r.jwt = true
		r.client = func(c *claims) string { return firstString(c.AZP, c.ClientID) }
		r.access = keycloakAccess
		r.answer = func(t *Token, c *claims) error { return keycloakAccess(t, c, false) }
	case Auth0:
		r.jwt, r.noID = true, true
		r.client = func(c *claims) string { return firstString(c.AZP, c.ClientID) }
		r.access = auth0Access
		// OpenID Connect Core, section 2, has azp in ID tokens, and that just if it is not in aud.
		r.forAnyAudience = nil
	case Okta:
		r.jwt, r.untyped = true, true
		r.client = func(c *claims) string { return firstString(c.CID, c.ClientID) }
		r.scope = oktaScope
		r.access = oktaAccess
	case EntraID:
		r.jwt, r.noID = true, true
		r.client = func(c *claims) string { return firstString(c.AZP, c.AppID) }
		r.scope = func(c *claims) ([]string, error) { return splitScope(c.SCP) }
		r.id = func(c *claims) string { return cmp.Or(c.ID, optionalString(c.UTI)) }
		r.access = entraAccess
		r.forAnyAudience = entraForAnyAudience
	case Cognito:
		r.jwt, r.untyped = true, true
		r.audience = cognitoAudience
		r.access = cognitoAccess
	}
	return r
}

// checkType is RFC 9068, section 4, with the relaxations of the profile. typed
// reports that the token is explicitly an access token.
func (p *profile) checkType(typ string) (typed bool, err error) {
	switch {
	case jose.IsType(typ, "at+jwt"):
		return true, nil
	case jose.IsType(typ, "jwt"):
		if p.jwt {
			return false, nil
		}
		return false, ErrTypeJWT
	case typ == "":
		if p.untyped {
			return false, nil
		}
		return false, ErrTypeJWT
	default:
		return false, ErrType
	}
}

// hasIDTokenClaims reports whether the token has a claim that only ID tokens
// have (OpenID Connect Core, sections 2 and 3.3.2.11).
func (c *claims) hasIDTokenClaims() bool {
	return c.Nonce != nil || c.AtHash != nil || c.CHash != nil || c.SHash != nil
}

// keycloakAccess does not go by nonce: Keycloak puts it into access tokens too,
// always before version 24 and by a mapper since.
func keycloakAccess(t *Token, c *claims, _ bool) error {
	if c.AtHash != nil || c.CHash != nil || c.SHash != nil {
		return ErrNotAccessToken
	}
	switch optionalString(c.Typ) {
	case "Bearer":
		return nil
	case "DPoP":
		if t.Confirmation.JKT == "" {
			return ErrConfirmation
		}
		return nil
	default:
		return ErrNotAccessToken
	}
}

func auth0Access(t *Token, c *claims, typed bool) error {
	switch {
	case c.hasIDTokenClaims():
		return ErrNotAccessToken
	case typed:
		return nil
	case c.AZP == nil || slices.Contains(t.Audience, t.ClientID):
		return ErrNotAccessToken
	default:
		return nil
	}
}

func oktaAccess(t *Token, c *claims, typed bool) error {
	switch {
	case c.hasIDTokenClaims():
		return ErrNotAccessToken
	case typed:
		return nil
	case c.CID == nil || c.SCP == nil || slices.Contains(t.Audience, t.ClientID):
		return ErrNotAccessToken
	default:
		return nil
	}
}

// entraAccess does not compare the client with aud: an application may call the
// API of its own registration. ID tokens have roles, but neither azp, appid nor scp.
func entraAccess(_ *Token, c *claims, _ bool) error {
	if c.hasIDTokenClaims() || c.AZP == nil && c.AppID == nil || c.SCP == nil && c.Roles == nil {
		return ErrNotAccessToken
	}
	return nil
}

// entraForAnyAudience leaves no more to roles, which ID tokens have too, than to
// applications that call the API of another registration.
func entraForAnyAudience(t *Token, c *claims) error {
	if c.SCP == nil && slices.Contains(t.Audience, t.ClientID) {
		return ErrNotAccessToken
	}
	return nil
}

func cognitoAccess(_ *Token, c *claims, _ bool) error {
	if c.hasIDTokenClaims() || optionalString(c.TokenUse) != "access" {
		return ErrNotAccessToken
	}
	return nil
}

func cognitoAudience(t *Token) []string {
	if t.Audience != nil {
		return t.Audience
	}
	return []string{t.ClientID}
}

// oktaScope reads scp, a list of scopes, or the scope string of a typed token.
func oktaScope(c *claims) ([]string, error) {
	if c.SCP == nil {
		return splitScope(c.Scope)
	}
	scopes, err := stringList(c.SCP)
	if err != nil {
		return nil, ErrScope
	}
	return scopes, nil
}

// splitScope splits a scope string (RFC 6749, section 3.3); nil has none.
func splitScope(raw json.RawMessage) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	s, err := jsonString(raw)
	if err != nil {
		return nil, ErrScope
	}
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), nil
}
