package oidc

import (
	"errors"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/issuer"
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
	dialect() (*dialect.Dialect, error)
}

// Vendor is a [Profile] for the tokens of one issuer's software, whose deviations
// from RFC 9068 it names. What it does not mention is checked as by [RFC9068]: iss,
// aud, exp, nbf, iat, sub, the client's id, jti, cnf.
type Vendor uint8

const (
	// RFC9068 is the default: RFC 9068, section 4, to the letter. The header's typ is
	// at+jwt; iss, exp, aud, sub, client_id, iat and jti are present; scope is a
	// string.
	RFC9068 Vendor = dialect.RFC9068

	// Keycloak accepts the access tokens of Keycloak 20 and later:
	//   - the header's typ may be JWT. In its place the claim typ must be "Bearer" or
	//     "DPoP"; it is "ID" in ID tokens and "Refresh" or "Offline" in refresh tokens. A
	//     "DPoP" token must have cnf.jkt;
	//   - the client's id is in azp (client_id is used if there is no azp).
	// Its aud is often only "account": the service's own audience needs an audience
	// mapper.
	Keycloak Vendor = dialect.Keycloak

	// Auth0 accepts both token dialects of Auth0. Tokens of the RFC 9068 dialect have
	// typ at+jwt. For the others:
	//   - the header's typ may be JWT. In its place the client's id must be in azp, and
	//     not be in aud as it is in ID tokens, and there must be none of nonce, at_hash
	//     and c_hash;
	//   - jti may be missing.
	Auth0 Vendor = dialect.Auth0

	// Okta accepts the access tokens of Okta's custom authorization servers (those of
	// the org server are not meant to be verified by others):
	//   - the header's typ may be JWT or missing. In its place the client's id must be in
	//     cid, and not be in aud as it is in ID tokens, scp must be there, and none of
	//     nonce, at_hash and c_hash;
	//   - scopes are a list in scp.
	Okta Vendor = dialect.Okta

	// EntraID accepts the v1.0 and v2.0 access tokens of Microsoft Entra ID for an API
	// of one's own:
	//   - the header's typ may be JWT. In its place the client's id must be in azp (v2.0)
	//     or appid (v1.0), and scp or roles must be there, while none of nonce, at_hash
	//     and c_hash may be;
	//   - scopes are a string in scp;
	//   - jti may be missing; Token.ID is uti then.
	// The issuer of v1.0 tokens is https://sts.windows.net/{tenant}/, whose discovery
	// document is found with WithMetadataURL.
	EntraID Vendor = dialect.EntraID

	// EntraIDAnyApplication is EntraID, and accepts the tokens of applications that
	// have been assigned no role of this API: Entra ID gives them to every application
	// of the tenant. In the place of scp and roles the claim idtyp must be "app", an
	// optional claim that the API's registration asks for. Authorize such clients by
	// their id.
	EntraIDAnyApplication Vendor = dialect.EntraIDAnyApplication

	// Cognito accepts the access tokens of Amazon Cognito user pools:
	//   - the header's typ may be JWT or missing. In its place the claim token_use must
	//     be "access"; it is "id" in ID tokens;
	//   - aud may be missing, which it is unless the client used resource binding. In its
	//     place client_id must be one of the audiences: give New the app client's id as
	//     the audience, and those of further clients to WithAudiences.
	Cognito Vendor = dialect.Cognito

	// Duende accepts the access tokens of Duende IdentityServer 6 and later:
	//   - the header's typ is at+jwt, which they have unless AccessTokenJwtType is
	//     changed;
	//   - scope is a list, or a string with EmitScopesAsSpaceDelimitedStringInJwt;
	//   - sub may be missing, as it is in tokens of the client credentials grant, which
	//     speak for the client.
	Duende Vendor = dialect.Duende

	// WSO2 accepts the access tokens of WSO2 Identity Server, API Manager and Asgardeo:
	//   - the header's typ is at+jwt. It is rt+jwt in refresh tokens, and JWT or missing
	//     in ID tokens and in the subject tokens of impersonation;
	//   - scope is a string, or a list by an option of the application;
	//   - the claim aut is "APPLICATION" in tokens that speak for the client.
	WSO2 Vendor = dialect.WSO2

	// PingOne accepts the access tokens of PingOne for custom resources:
	//   - the header's typ is at+jwt: always from 2027-03-02 on, and before that by an
	//     option;
	//   - sub may be missing, in which case the token speaks for the client; so may jti.
	PingOne Vendor = dialect.PingOne

	// SpringAuthorizationServer accepts the access tokens of Spring Authorization Server,
	// if its operator has them typed:
	//   - the header's typ is at+jwt. As it comes, the server gives access tokens and ID
	//     tokens the same header, the same aud and almost the same claims: an
	//     OAuth2TokenCustomizer must set the type and client_id, and the service's own
	//     audience;
	//   - scope is a list.
	SpringAuthorizationServer Vendor = dialect.SpringAuthorizationServer
)

var errNoVendor = errors.New("not a profile of this package")

// String is the name of the constant.
func (v Vendor) String() string {
	if v >= dialect.NumVendors {
		return "unknown"
	}
	return dialect.Vendors[v].Name
}

func (v Vendor) dialect() (*dialect.Dialect, error) {
	if v >= dialect.NumVendors {
		return nil, errNoVendor
	}
	return &dialect.Vendors[v], nil
}

// Package introspect has an option of its own for a Profile.
func init() {
	issuer.DialectOf = func(profile any) (*dialect.Dialect, error) { return profile.(Profile).dialect() }
}
