package oidctest

import "strings"

// Keycloak makes the token look like Keycloak's: typ JWT in the header and
// "Bearer", or "DPoP" for a token that is bound to a key, in the claims; the
// client in azp. It comes after [BoundToKey].
func Keycloak() Change {
	return func(d *Draft) {
		d.Header["typ"] = "JWT"
		d.Claims["typ"] = "Bearer"
		if cnf, ok := d.Claims["cnf"].(map[string]any); ok && cnf["jkt"] != nil {
			d.Claims["typ"] = "DPoP"
		}
		d.Rename("client_id", "azp")
		d.Claims["acr"] = "1"
		d.Claims["realm_access"] = map[string]any{"roles": []string{"offline_access", "uma_authorization"}}
	}
}

// Auth0 makes the token look like those of Auth0's own dialect.
func Auth0() Change {
	return func(d *Draft) {
		d.Header["typ"] = "JWT"
		d.Claims["aud"] = []any{d.Claims["aud"], strings.TrimSuffix(d.issuer.URL, "/") + "/userinfo"}
		d.Rename("client_id", "azp")
		delete(d.Claims, "jti")
	}
}

// Okta makes the token look like those of Okta's custom authorization servers,
// with the given scopes.
func Okta(scopes ...string) Change {
	return func(d *Draft) {
		d.Header["typ"] = nil
		d.Claims["ver"] = 1
		d.Claims["uid"] = "00u1"
		d.Claims["scp"] = scopes
		delete(d.Claims, "scope")
		d.Rename("client_id", "cid")
	}
}

// EntraID makes the token look like those of Microsoft Entra ID, version "1.0"
// or "2.0", with the given scopes.
func EntraID(version, scopes string) Change {
	return func(d *Draft) {
		d.Header["typ"] = "JWT"
		d.Claims["ver"] = version
		d.Claims["scp"] = scopes
		delete(d.Claims, "scope")
		d.Claims["nbf"] = d.Claims["iat"]
		d.Rename("jti", "uti")
		if version == "1.0" {
			d.Rename("client_id", "appid")
		} else {
			d.Rename("client_id", "azp")
		}
	}
}

// Cognito makes the token look like those of Amazon Cognito user pools.
func Cognito() Change {
	return func(d *Draft) {
		d.Header["typ"] = nil
		d.Claims["token_use"] = "access"
		d.Claims["version"] = 2
		d.Claims["origin_jti"] = d.Claims["jti"]
		delete(d.Claims, "aud")
	}
}

// Duende makes the token look like those of Duende IdentityServer, with the given
// scopes as a list.
func Duende(scopes ...string) Change {
	return func(d *Draft) {
		d.Header["typ"] = "at+jwt"
		d.Claims["scope"] = scopes
		d.Claims["nbf"] = d.Claims["iat"]
		d.Claims["idp"] = "local"
		d.Claims["amr"] = []string{"pwd"}
	}
}

// WSO2 makes the token look like those of WSO2 Identity Server for a user. [ForClient],
// which comes after it, makes it one of the client credentials grant.
func WSO2() Change {
	return func(d *Draft) {
		d.Header["typ"] = "at+jwt"
		d.Claims["azp"] = d.Claims["client_id"]
		d.Claims["nbf"] = d.Claims["iat"]
		d.Claims["aut"] = "APPLICATION_USER"
		d.Claims["binding_type"] = "sso-session"
	}
}

// PingOne makes the token look like those of PingOne for custom resources.
func PingOne() Change {
	return func(d *Draft) {
		d.Header["typ"] = "at+jwt"
		d.Claims["aud"] = []any{d.Claims["aud"]}
		d.Claims["env"] = "1b0b4f1c"
		d.Claims["org"] = "a4f0d5c3"
		d.Claims["sid"] = "c2b1"
	}
}

// SpringAuthorizationServer makes the token look like those of Spring Authorization
// Server whose customizer sets typ, client_id and the audience, with the given scopes as
// a list.
func SpringAuthorizationServer(scopes ...string) Change {
	return func(d *Draft) {
		d.Header["typ"] = "at+jwt"
		d.Claims["scope"] = scopes
		d.Claims["nbf"] = d.Claims["iat"]
	}
}

// IDToken makes it an ID token for the given client (OpenID Connect Core, section 2),
// which must never pass for an access token.
func IDToken(client string) Change {
	return func(d *Draft) {
		d.Header["typ"] = "JWT"
		d.Claims["aud"] = client
		d.Claims["azp"] = client
		d.Claims["nonce"] = "n-0S6_WzA2Mj"
		d.Claims["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ"
		d.Claims["auth_time"] = d.Claims["iat"]
		for _, name := range []string{"client_id", "jti", "scope"} {
			delete(d.Claims, name)
		}
	}
}
