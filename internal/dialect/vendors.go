package dialect

import (
	"slices"
	"strings"
)

// The places in Vendors, in the order of the constants of oidc.Vendor.
const (
	RFC9068 = iota
	Keycloak
	Auth0
	Okta
	EntraID
	EntraIDAnyApplication
	Cognito
	Duende
	WSO2
	PingOne
	SpringAuthorizationServer
	NumVendors
)

// Vendors is what each oidc.Vendor stands for. Every row but the first has the date and
// the source of its evidence.
var Vendors = completed([NumVendors]Dialect{
	RFC9068: {Name: "RFC9068"},

	// 2026-11: tokens of Keycloak 26 (interop), and its JWT type constants since 20.
	Keycloak: {
		Name:     "Keycloak",
		Mark:     Typ,
		Types:    []string{"jwt"},
		ClientID: []Ref{AZP, ClientID},
		Evidence: Evidence{always: true, Values: []Valued{{Typ, []string{"Bearer", "DPoP"}}}},
		// Keycloak puts nonce into access tokens too: always before version 24, and by
		// a mapper since.
		idClaims: []Ref{AtHash, CHash, SHash},
		isClient: keycloakClient,
		saysKind: true,
	},

	// 2026-11: Auth0's documentation of access token profiles and of ID token claims.
	// OpenID Connect Core, section 2, has azp in ID tokens exactly if the client is not
	// in aud, so that without a checked aud nothing is left to tell them apart.
	Auth0: {
		Name:          "Auth0",
		Types:         []string{"jwt"},
		ClientID:      []Ref{AZP, ClientID},
		MayLack:       []string{"jti"},
		Evidence:      Evidence{present: [][]Ref{{AZP}}, clientNotInAudience: true},
		idClaims:      idClaims,
		NeedsAudience: true,
		isClient:      func(r Reading) bool { return r.ClientID != "" && r.Subject == r.ClientID+"@clients" },
	},

	// 2026-11: Okta's reference of access token and ID token claims.
	Okta: {
		Name:     "Okta",
		Types:    []string{"jwt", ""},
		ClientID: []Ref{CID, ClientID},
		Scopes:   []Scoped{{SCP, List}, {Scope, Text}},
		Evidence: Evidence{present: [][]Ref{{CID}, {SCP}}, clientNotInAudience: true},
		idClaims: idClaims,
	},

	// 2026-11: Microsoft's references of access token claims and of optional claims.
	// The client is not compared with aud: an application may call the API of its own
	// registration. ID tokens have roles, but neither azp, appid nor scp.
	EntraID: {
		Name:        "EntraID",
		Mark:        UTI,
		Types:       []string{"jwt"},
		ClientID:    []Ref{AZP, AppID},
		Scopes:      []Scoped{{SCP, Text}},
		TokenID:     []Ref{JTI, UTI},
		MayLack:     []string{"jti"},
		Evidence:    Evidence{always: true, present: [][]Ref{{AZP, AppID}, {SCP, Roles}}},
		idClaims:    idClaims,
		anyAudience: entraForAnyAudience,
		isClient:    entraClient,
	},
	EntraIDAnyApplication: {
		Name:        "EntraIDAnyApplication",
		Mark:        UTI,
		Types:       []string{"jwt"},
		ClientID:    []Ref{AZP, AppID},
		Scopes:      []Scoped{{SCP, Text}},
		TokenID:     []Ref{JTI, UTI},
		MayLack:     []string{"jti"},
		Evidence:    Evidence{always: true, present: [][]Ref{{AZP, AppID}}, alternatives: []Evidence{{present: [][]Ref{{SCP, Roles}}}, {Values: []Valued{{IDTyp, []string{"app"}}}}}},
		idClaims:    idClaims,
		anyAudience: entraForAnyAudience,
		isClient:    entraClient,
	},

	// 2026-11: Amazon's references of the access token and of the ID token.
	Cognito: {
		Name:              "Cognito",
		Types:             []string{"jwt", ""},
		clientForAudience: true,
		Evidence:          Evidence{always: true, Values: []Valued{{TokenUse, []string{"access"}}}},
		idClaims:          idClaims,
	},
	// The access tokens of the rest are explicitly typed: at+jwt is their evidence.

	// 2026-11: source of Duende IdentityServer of 2026-07 (DefaultTokenCreationService,
	// TokenExtensions, IdentityServerOptions). Logout tokens are logout+jwt there.
	Duende: {
		Name:     "Duende",
		Mark:     IDP,
		Scopes:   []Scoped{{Scope, Either}},
		MayLack:  []string{"sub"},
		idClaims: idClaims,
	},

	// 2026-11: source of WSO2's identity-inbound-auth-oauth of 2026-08 (JWTTokenIssuer).
	WSO2: {
		Name:     "WSO2",
		Mark:     AUT,
		Scopes:   []Scoped{{Scope, Either}},
		idClaims: idClaims,
		isClient: func(r Reading) bool { return r.ClientID != "" && r.Claims.Text(AUT) == "APPLICATION" },
	},

	// 2026-11: PingOne's reference of token claims.
	PingOne: {
		Name:     "PingOne",
		MayLack:  []string{"sub", "jti"},
		idClaims: idClaims,
	},

	// 2026-11: source of Spring Security 7.1 (JwtGenerator,
	// DefaultOAuth2TokenCustomizers), and its tokens (interop).
	SpringAuthorizationServer: {
		Name:     "SpringAuthorizationServer",
		Scopes:   []Scoped{{Scope, Either}},
		idClaims: idClaims,
	},
})

func completed(table [NumVendors]Dialect) [NumVendors]Dialect {
	for i := range table {
		table[i].Complete()
	}
	return table
}

// entraForAnyAudience: without scp only roles marks an access token, and ID tokens
// have roles too. So a token without scp is refused if its client is one of its
// audiences.
func entraForAnyAudience(r Reading) bool {
	return r.Claims.Has(SCP) || !slices.Contains(r.Claims.Audience, r.ClientID)
}

// entraClient: sub is oid in tokens of applications, and a pairwise value in those of
// users.
func entraClient(r Reading) bool {
	return r.Claims.Text(IDTyp) == "app" || !r.Claims.Has(SCP) && r.Claims.Has(OID) && r.Subject == r.Claims.Text(OID)
}

// keycloakClient: sub is the service account of the client, a user that Keycloak made
// for it and that is named after it. A token of the client credentials grant belongs to
// no session of a user, so that it has no sid; where it has one, client_id, which comes
// from that grant alone, must tell.
func keycloakClient(r Reading) bool {
	if !r.Claims.Has(AZP) || r.Claims.Has(ClientID) && r.Claims.Text(ClientID) != r.ClientID {
		return false
	}
	named := strings.EqualFold(r.Claims.Text(Username), "service-account-"+r.ClientID)
	if r.Claims.Has(ClientID) {
		return named || !r.Claims.Has(Username)
	}
	return named && !r.Claims.Has(SID)
}

// Suggest returns the name of the dialect by which a token is an access token, or "".
// hasKey is as of [Dialect.CheckAccess]. Several can read one token. RFC 9068 comes
// first, then software that is known by its mark, then what has none.
func Suggest(header string, c *Claims, hasKey bool) (name string) {
	best := -1
	for i := range Vendors {
		d := &Vendors[i]
		if !d.Admits(header, c, hasKey) {
			continue
		}
		rank := 1
		switch {
		case i == RFC9068:
			rank = 3
		case d.Mark != 0 && c.Has(d.Mark):
			rank = 2
		case d.Mark != 0:
			rank = 0
		}
		if rank > best {
			best, name = rank, d.Name
		}
	}
	return name
}
