package oidc

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/internal/jose"
)

// Profile is how an issuer spells its access tokens: one of the constants of type
// [Vendor], or what [Described] returns. [RFC9068] is the default.
//
// Accepting typ "JWT" gives up the check that tells access tokens from ID tokens
// (RFC 9068, section 5; RFC 8725, section 3.12). So each profile that does so has
// other evidence, which the issuer's access tokens show and its ID tokens do not. No
// profile accepts a token of another explicit type: a proof (dpop+jwt), a logout
// token, an introspection response, a security event.
type Profile interface {
	// String is the name of the profile.
	String() string

	// dialect is what the profile stands for, or what is wrong with it.
	dialect() (*dialect, error)
}

// Vendor is a [Profile] for the tokens of one issuer's software, whose deviations
// from RFC 9068 it names. What it does not mention is checked as by [RFC9068]: iss,
// aud, exp, nbf, iat, sub, the client's id, jti, cnf.
type Vendor uint8

const (
	// RFC9068 is the default: RFC 9068, section 4, to the letter. The header's typ is
	// at+jwt; iss, exp, aud, sub, client_id, iat and jti are present; scope is a
	// string.
	RFC9068 Vendor = iota

	// Keycloak accepts the access tokens of Keycloak 20 and later:
	//   - the header's typ may be JWT. In its place the claim typ must be "Bearer" or
	//     "DPoP"; it is "ID" in ID tokens and "Refresh" or "Offline" in refresh tokens. A
	//     "DPoP" token must have cnf.jkt;
	//   - the client's id is in azp (client_id is used if there is no azp).
	// Its aud is often only "account": the service's own audience needs an audience
	// mapper.
	Keycloak

	// Auth0 accepts both token dialects of Auth0. Tokens of the RFC 9068 dialect have
	// typ at+jwt. For the others:
	//   - the header's typ may be JWT. In its place the client's id must be in azp, and
	//     not be in aud as it is in ID tokens, and there must be none of nonce, at_hash
	//     and c_hash;
	//   - jti may be missing.
	Auth0

	// Okta accepts the access tokens of Okta's custom authorization servers (those of
	// the org server are not meant to be verified by others):
	//   - the header's typ may be JWT or missing. In its place the client's id must be in
	//     cid, and not be in aud as it is in ID tokens, scp must be there, and none of
	//     nonce, at_hash and c_hash;
	//   - scopes are a list in scp.
	Okta

	// EntraID accepts the v1.0 and v2.0 access tokens of Microsoft Entra ID for an API
	// of one's own:
	//   - the header's typ may be JWT. In its place the client's id must be in azp (v2.0)
	//     or appid (v1.0), and scp or roles must be there, while none of nonce, at_hash
	//     and c_hash may be;
	//   - scopes are a string in scp;
	//   - jti may be missing; Token.ID is uti then.
	// The issuer of v1.0 tokens is https://sts.windows.net/{tenant}/, whose discovery
	// document is found with WithMetadataURL.
	EntraID

	// EntraIDAnyApplication is EntraID, and accepts the tokens of applications that
	// have been assigned no role of this API: Entra ID gives them to every application
	// of the tenant. In the place of scp and roles the claim idtyp must be "app", an
	// optional claim that the API's registration asks for. Authorize such clients by
	// their id.
	EntraIDAnyApplication

	// Cognito accepts the access tokens of Amazon Cognito user pools:
	//   - the header's typ may be JWT or missing. In its place the claim token_use must
	//     be "access"; it is "id" in ID tokens;
	//   - aud may be missing, which it is unless the client used resource binding. In its
	//     place client_id must be one of the audiences: give New the app client's id as
	//     the audience, and those of further clients to WithAudiences.
	Cognito

	// Duende accepts the access tokens of Duende IdentityServer 6 and later:
	//   - the header's typ is at+jwt, which they have unless AccessTokenJwtType is
	//     changed;
	//   - scope is a list, or a string with EmitScopesAsSpaceDelimitedStringInJwt;
	//   - sub may be missing, as it is in tokens of the client credentials grant, which
	//     speak for the client.
	Duende

	// WSO2 accepts the access tokens of WSO2 Identity Server, API Manager and Asgardeo:
	//   - the header's typ is at+jwt. It is rt+jwt in refresh tokens, and JWT or missing
	//     in ID tokens and in the subject tokens of impersonation;
	//   - scope is a string, or a list by an option of the application;
	//   - the claim aut is "APPLICATION" in tokens that speak for the client.
	WSO2

	// PingOne accepts the access tokens of PingOne for custom resources:
	//   - the header's typ is at+jwt: always from 2027-03-02 on, and before that by an
	//     option;
	//   - sub may be missing, in which case the token speaks for the client; so may jti.
	PingOne

	// SpringAuthorizationServer accepts the access tokens of Spring Authorization Server,
	// if its operator has them typed:
	//   - the header's typ is at+jwt. As it comes, the server gives access tokens and ID
	//     tokens the same header, the same aud and almost the same claims: an
	//     OAuth2TokenCustomizer must set the type and client_id, and the service's own
	//     audience;
	//   - scope is a list.
	SpringAuthorizationServer

	numVendors // the number of vendors
)

var errNoVendor = errors.New("not a profile of this package")

// vendors is what each Vendor stands for. Every row but the first has the date and
// the source of its evidence.
var vendors = completed([numVendors]dialect{
	RFC9068: {name: "RFC9068"},

	// 2026-11: tokens of Keycloak 26 (interop), and its JWT type constants since 20.
	Keycloak: {
		name:     "Keycloak",
		mark:     typ,
		types:    []string{"jwt"},
		clientID: []ref{azp, clientID},
		evidence: evidence{always: true, values: []valued{{typ, []string{"Bearer", "DPoP"}}}},
		// Keycloak puts nonce into access tokens too: always before version 24, and by
		// a mapper since.
		idClaims:  []ref{atHash, cHash, sHash},
		isClient:  keycloakClient,
		typNeeded: true,
	},

	// 2026-11: Auth0's documentation of access token profiles and of ID token claims.
	// OpenID Connect Core, section 2, has azp in ID tokens exactly if the client is not
	// in aud, so that without a checked aud nothing is left to tell them apart.
	Auth0: {
		name:          "Auth0",
		types:         []string{"jwt"},
		clientID:      []ref{azp, clientID},
		mayLack:       []string{"jti"},
		evidence:      evidence{present: [][]ref{{azp}}, clientNotInAudience: true},
		idClaims:      idClaims,
		needsAudience: true,
		isClient:      func(t *Token, _ *claims) bool { return t.ClientID != "" && t.Subject == t.ClientID+"@clients" },
	},

	// 2026-11: Okta's reference of access token and ID token claims.
	Okta: {
		name:     "Okta",
		types:    []string{"jwt", ""},
		clientID: []ref{cid, clientID},
		scopes:   []scoped{{scp, list}, {scope, text}},
		evidence: evidence{present: [][]ref{{cid}, {scp}}, clientNotInAudience: true},
		idClaims: idClaims,
	},

	// 2026-11: Microsoft's references of access token claims and of optional claims.
	// The client is not compared with aud: an application may call the API of its own
	// registration. ID tokens have roles, but neither azp, appid nor scp.
	EntraID: {
		name:        "EntraID",
		mark:        uti,
		types:       []string{"jwt"},
		clientID:    []ref{azp, appID},
		scopes:      []scoped{{scp, text}},
		tokenID:     []ref{jti, uti},
		mayLack:     []string{"jti"},
		evidence:    evidence{always: true, present: [][]ref{{azp, appID}, {scp, roles}}},
		idClaims:    idClaims,
		anyAudience: entraForAnyAudience,
		isClient:    entraClient,
	},
	EntraIDAnyApplication: {
		name:        "EntraIDAnyApplication",
		mark:        uti,
		types:       []string{"jwt"},
		clientID:    []ref{azp, appID},
		scopes:      []scoped{{scp, text}},
		tokenID:     []ref{jti, uti},
		mayLack:     []string{"jti"},
		evidence:    evidence{always: true, present: [][]ref{{azp, appID}}, alternatives: []evidence{{present: [][]ref{{scp, roles}}}, {values: []valued{{idtyp, []string{"app"}}}}}},
		idClaims:    idClaims,
		anyAudience: entraForAnyAudience,
		isClient:    entraClient,
	},

	// 2026-11: Amazon's references of the access token and of the ID token.
	Cognito: {
		name:              "Cognito",
		types:             []string{"jwt", ""},
		clientForAudience: true,
		evidence:          evidence{always: true, values: []valued{{tokenUse, []string{"access"}}}},
		idClaims:          idClaims,
	},
	// The access tokens of the rest are explicitly typed: at+jwt is their evidence.

	// 2026-11: source of Duende IdentityServer of 2026-07 (DefaultTokenCreationService,
	// TokenExtensions, IdentityServerOptions). Logout tokens are logout+jwt there.
	Duende: {
		name:     "Duende",
		mark:     idp,
		scopes:   []scoped{{scope, either}},
		mayLack:  []string{"sub"},
		idClaims: idClaims,
	},

	// 2026-11: source of WSO2's identity-inbound-auth-oauth of 2026-08 (JWTTokenIssuer).
	WSO2: {
		name:     "WSO2",
		mark:     aut,
		scopes:   []scoped{{scope, either}},
		idClaims: idClaims,
		isClient: func(t *Token, c *claims) bool { return t.ClientID != "" && c.text(aut) == "APPLICATION" },
	},

	// 2026-11: PingOne's reference of token claims.
	PingOne: {
		name:     "PingOne",
		mayLack:  []string{"sub", "jti"},
		idClaims: idClaims,
	},

	// 2026-11: source of Spring Security 7.1 (JwtGenerator,
	// DefaultOAuth2TokenCustomizers), and its tokens (interop).
	SpringAuthorizationServer: {
		name:     "SpringAuthorizationServer",
		scopes:   []scoped{{scope, either}},
		idClaims: idClaims,
	},
})

func completed(table [numVendors]dialect) [numVendors]dialect {
	for i := range table {
		table[i].complete()
	}
	return table
}

// String is the name of the constant.
func (v Vendor) String() string {
	if v >= numVendors {
		return "unknown"
	}
	return vendors[v].name
}

func (v Vendor) dialect() (*dialect, error) {
	if v >= numVendors {
		return nil, errNoVendor
	}
	return &vendors[v], nil
}

// dialect is what a Profile stands for.
type dialect struct {
	name     string
	types    []string // accepted values of the header's typ besides at+jwt, normal; "" is none
	clientID []ref    // the first that is a string counts
	scopes   []scoped // the first that is there counts
	tokenID  []ref    // the first that is a string counts
	mayLack  []string // claims that may be missing
	evidence evidence // of an access token
	idClaims []ref    // claims that show an ID token: no other evidence outweighs one of them
	extra    []string // the names of claims that only this dialect reads
	mark     ref      // a claim by which the software is known; 0: none

	// clientForAudience has the client's id stand for an aud that is missing.
	clientForAudience bool
	// needsAudience says that without comparing aud there is no evidence.
	needsAudience bool
	// anyAudience looks for what must be there besides if aud is not compared; nil:
	// nothing.
	anyAudience func(*Token, *claims) error
	// typNeeded says that an introspection answer has the evidence too.
	typNeeded bool
	// isClient tells tokens that speak for the client itself; nil: by sub and client id.
	isClient func(*Token, *claims) bool
}

// scoped is a claim that holds scopes, in one form or in either.
type scoped struct {
	claim ref
	form  form
}

type form uint8

const (
	text   form = 1 << iota // words in a string (RFC 6749, section 3.3)
	list                    // a JSON list of strings
	either = text | list
)

// evidence is what access tokens show and other tokens of the issuer do not. All of
// it must be there.
type evidence struct {
	always              bool       // also if the header's typ says that it is an access token
	values              []valued   // claims with one of some exact values
	present             [][]ref    // of each group, one claim
	clientNotInAudience bool       // as it is in ID tokens
	alternatives        []evidence // one of them
}

type valued struct {
	claim  ref
	values []string
}

// complete fills in what RFC 9068 has.
func (d *dialect) complete() {
	if d.clientID == nil {
		d.clientID = []ref{clientID}
	}
	if d.scopes == nil {
		d.scopes = []scoped{{scope, text}}
	}
	if d.tokenID == nil {
		d.tokenID = []ref{jti}
	}
}

// checkType is RFC 9068, section 4, with the relaxations of the dialect. typed
// reports that the token is explicitly an access token.
func (d *dialect) checkType(header string) (typed bool, err error) {
	if jose.IsType(header, "at+jwt") {
		return true, nil
	}
	if header != "" && !jose.IsType(header, "jwt") {
		if !slices.ContainsFunc(d.types, func(t string) bool { return t != "" && jose.IsType(header, t) }) {
			return false, ErrType
		}
		return true, nil
	}
	normal := ""
	if header != "" {
		normal = "jwt"
	}
	if !slices.Contains(d.types, normal) {
		return false, ErrTypeJWT
	}
	return false, nil
}

// checkAccess demands the evidence that the token is an access token. typed is
// whether its header says so.
func (d *dialect) checkAccess(t *Token, c *claims, typed bool) error {
	if slices.ContainsFunc(d.idClaims, c.has) {
		return ErrNotAccessToken
	}
	if typed && !d.evidence.always {
		return nil
	}
	if !d.evidence.shownBy(t, c) {
		return ErrNotAccessToken
	}
	// Keycloak's name for a token whose key it has checked.
	if d.typNeeded && c.text(typ) == "DPoP" && t.Confirmation.JKT == "" {
		return ErrConfirmation
	}
	return nil
}

func (e *evidence) shownBy(t *Token, c *claims) bool {
	for _, v := range e.values {
		if !slices.Contains(v.values, c.text(v.claim)) {
			return false
		}
	}
	for _, group := range e.present {
		if !slices.ContainsFunc(group, c.has) {
			return false
		}
	}
	if e.clientNotInAudience && slices.Contains(t.Audience, t.ClientID) {
		return false
	}
	return len(e.alternatives) == 0 || slices.ContainsFunc(e.alternatives, func(one evidence) bool { return one.shownBy(t, c) })
}

// audience is what is compared with the service's own.
func (d *dialect) audience(t *Token) []string {
	if t.Audience == nil && d.clientForAudience {
		return []string{t.ClientID}
	}
	return t.Audience
}

// checkPresent is RFC 9068, section 2.2, for the claims that no earlier check requires.
func (d *dialect) checkPresent(t *Token) error {
	if t.Expiry.IsZero() {
		return ErrNoExpiry
	}
	return d.lacks(t)
}

// lacks is what must be there besides exp.
func (d *dialect) lacks(t *Token) error {
	missing := func(claim string, absent bool) bool { return absent && !slices.Contains(d.mayLack, claim) }
	switch {
	case t.Subject == "":
		return ErrNoSubject
	case missing("client_id", t.ClientID == ""):
		return ErrNoClientID
	case missing("iat", t.IssuedAt.IsZero()):
		return ErrNoIssuedAt
	case missing("jti", t.ID == ""):
		return ErrNoID
	}
	return nil
}

// scopesOf reads the scopes of the first claim that holds any.
// By default these are words in a string (RFC 9068, section 2.2.3).
func (d *dialect) scopesOf(c *claims) ([]string, error) {
	for _, s := range d.scopes {
		raw := c.get(s.claim)
		if raw == nil {
			continue
		}
		if words, err := jsonString(raw); err == nil && s.form&text != 0 {
			return strings.FieldsFunc(words, func(r rune) bool { return r == ' ' }), nil
		}
		if scopes, err := stringList(raw); err == nil && s.form&list != 0 {
			return scopes, nil
		}
		return nil, ErrScope
	}
	return nil, nil
}

// entraForAnyAudience: without scp only roles marks an access token, and ID tokens
// have roles too. So a token without scp is refused if its client is one of its
// audiences.
func entraForAnyAudience(t *Token, c *claims) error {
	if !c.has(scp) && slices.Contains(t.Audience, t.ClientID) {
		return ErrNotAccessToken
	}
	return nil
}

// entraClient: sub is oid in tokens of applications, and a pairwise value in those of
// users.
func entraClient(t *Token, c *claims) bool {
	return c.text(idtyp) == "app" || !c.has(scp) && c.has(oid) && t.Subject == c.text(oid)
}

// keycloakClient: sub is the service account of the client, a user that Keycloak made
// for it and that is named after it. A token of the client credentials grant belongs to
// no session of a user, so that it has no sid; where it has one, client_id, which comes
// from that grant alone, must tell.
func keycloakClient(t *Token, c *claims) bool {
	if !c.has(azp) || c.has(clientID) && c.text(clientID) != t.ClientID {
		return false
	}
	named := strings.EqualFold(c.text(username), "service-account-"+t.ClientID)
	if c.has(clientID) {
		return named || !c.has(username)
	}
	return named && !c.has(sid)
}

// ref names a claim of a claim set: one of the constants, or, from numRefs on, one
// that only a described dialect reads.
type ref int

// The claims whose form or meaning depends on the profile, or that tell the kinds of
// tokens apart.
const (
	cnf ref = iota
	jti
	uti
	clientID
	azp
	appID
	cid
	scope
	scp
	roles
	typ
	tokenUse
	purpose
	tokenType // of an introspection answer
	idtyp
	aut
	idp
	oid
	username
	sid
	nonce
	atHash
	cHash
	sHash
	events
	numRefs
)

var refNames = [numRefs]string{
	"cnf", "jti", "uti", "client_id", "azp", "appid", "cid", "scope", "scp", "roles", "typ", "token_use", "purpose", "token_type",
	"idtyp", "aut", "idp", "oid", "preferred_username", "sid", "nonce", "at_hash", "c_hash", "s_hash", "events",
}

var refs = func() map[string]ref {
	m := make(map[string]ref, numRefs)
	for i, name := range refNames {
		m[name] = ref(i)
	}
	return m
}()

// idClaims are what only ID tokens have (OpenID Connect Core, sections 2 and
// 3.3.2.11), and events, which only security events have (RFC 8417, section 2.2).
var idClaims = []ref{nonce, atHash, cHash, sHash, events}

// get returns the JSON of a claim, or nil: one that is null is not there.
func (c *claims) get(r ref) json.RawMessage {
	if r < numRefs {
		return c.raw[r]
	}
	return c.more[r-numRefs]
}

// has reports whether the token has the claim.
func (c *claims) has(r ref) bool { return c.get(r) != nil }

// text is the string of a claim, or "" if it holds none.
func (c *claims) text(r ref) string {
	s, _ := jsonString(c.get(r))
	return s
}

// first is the first string of some claims that is not empty.
func (c *claims) first(of []ref) string {
	for _, r := range of {
		if s := c.text(r); s != "" {
			return s
		}
	}
	return ""
}
