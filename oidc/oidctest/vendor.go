package oidctest

// Keycloak makes the token look like Keycloak's: typ JWT in the header and
// "Bearer", or "DPoP" for a token that is bound to a key, in the claims; the
// client in azp. It comes after [BoundToKey].
func Keycloak() Change {
	return func(d *draft) {
		d.header["typ"] = "JWT"
		d.claims["typ"] = "Bearer"
		if cnf, ok := d.claims["cnf"].(map[string]any); ok && cnf["jkt"] != nil {
			d.claims["typ"] = "DPoP"
		}
		d.rename("client_id", "azp")
		d.claims["acr"] = "1"
		d.claims["realm_access"] = map[string]any{"roles": []string{"offline_access", "uma_authorization"}}
	}
}

// Auth0 makes the token look like those of Auth0's own dialect.
func Auth0() Change {
	return func(d *draft) {
		d.header["typ"] = "JWT"
		d.claims["aud"] = []any{d.claims["aud"], d.issuer.URL + "userinfo"}
		d.rename("client_id", "azp")
		delete(d.claims, "jti")
	}
}

// Okta makes the token look like those of Okta's custom authorization servers,
// with the given scopes.
func Okta(scopes ...string) Change {
	return func(d *draft) {
		d.header["typ"] = nil
		d.claims["ver"] = 1
		d.claims["uid"] = "00u1"
		d.claims["scp"] = scopes
		delete(d.claims, "scope")
		d.rename("client_id", "cid")
	}
}

// EntraID makes the token look like those of Microsoft Entra ID, version "1.0"
// or "2.0", with the given scopes.
func EntraID(version, scopes string) Change {
	return func(d *draft) {
		d.header["typ"] = "JWT"
		d.claims["ver"] = version
		d.claims["scp"] = scopes
		delete(d.claims, "scope")
		d.claims["nbf"] = d.claims["iat"]
		d.rename("jti", "uti")
		if version == "1.0" {
			d.rename("client_id", "appid")
		} else {
			d.rename("client_id", "azp")
		}
	}
}

// Cognito makes the token look like those of Amazon Cognito user pools.
func Cognito() Change {
	return func(d *draft) {
		d.header["typ"] = nil
		d.claims["token_use"] = "access"
		d.claims["version"] = 2
		d.claims["origin_jti"] = d.claims["jti"]
		delete(d.claims, "aud")
	}
}

// IDToken makes it an ID token for the given client, as OpenID Connect Core,
// section 2 has it: what must never pass for an access token.
func IDToken(client string) Change {
	return func(d *draft) {
		d.header["typ"] = "JWT"
		d.claims["aud"] = client
		d.claims["azp"] = client
		d.claims["nonce"] = "n-0S6_WzA2Mj"
		d.claims["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ"
		d.claims["auth_time"] = d.claims["iat"]
		for _, name := range []string{"client_id", "jti", "scope"} {
			delete(d.claims, name)
		}
	}
}

func (d *draft) rename(from, to string) {
	if v, ok := d.claims[from]; ok {
		d.claims[to] = v
		delete(d.claims, from)
	}
}
