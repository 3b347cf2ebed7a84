package introspect

import (
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/dialect"
	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/oidc"
)

// readToken reads the claims of an answer that says active (RFC 7662, section 2.2). An
// oidc.TokenError is the verdict on the token.
//
// Precondition: raw is one strict JSON object.
func (i *Introspector) readToken(raw []byte) (*oidc.Token, error) {
	made, r, err := issuer.NewToken(raw, &i.checks)
	if err != nil {
		return nil, err
	}
	t := made.(*oidc.Token)
	if err := i.checkKind(t, r); err != nil {
		return nil, err
	}
	if err := i.checkClaims(t, r); err != nil {
		return nil, err
	}
	if err := t.CheckTimes(time.Now(), i.checks.Skew); err != nil {
		return nil, err
	}
	return t, nil
}

// checkKind refuses what is not an access token. Endpoints call refresh tokens, ID
// tokens and logout tokens active too, whatever the hint in the question said.
//
// Nothing in the answer may speak of another kind of token, and something must speak
// of an access token: what the profile goes by, token_type, a claim that names the
// kind, an audience that is this service and not just the client that asks, or a
// scope for such an audience.
func (i *Introspector) checkKind(t *oidc.Token, r *dialect.Reading) error {
	if isOtherKind(r) {
		return oidc.ErrNotAccessToken
	}
	switch i.checks.Dialect.CheckAnswer(r, t.Confirmation.JKT != "") {
	case 0:
	case dialect.NoKey:
		return oidc.ErrConfirmation
	default:
		return oidc.ErrNotAccessToken
	}
	if r.Claims.Has(dialect.TokenType) {
		return checkTokenType(t, r.Claims.Text(dialect.TokenType))
	}
	if namesAccess(r) || !r.Claims.Has(dialect.Nonce) && (i.audienceTells(r) || i.scopeTells(r)) {
		return nil
	}
	return oidc.ErrNotAccessToken
}

// isOtherKind reports whether an answer names another kind of token (in the words of
// Keycloak, Cognito, Hydra, Curity), or has what only ID tokens (OpenID Connect Core,
// section 3.3.2.11) or logout tokens have (OpenID Connect Back-Channel Logout, section
// 2.4; RFC 8417, section 2.2).
func isOtherKind(r *dialect.Reading) bool {
	if r.Claims.Has(dialect.AtHash) || r.Claims.Has(dialect.CHash) || r.Claims.Has(dialect.SHash) || r.Claims.Has(dialect.Events) {
		return true
	}
	switch r.Claims.Text(dialect.Typ) {
	case "ID", "Refresh", "Offline", "Logout":
		return true
	}
	for _, kind := range [...]dialect.Ref{dialect.TokenUse, dialect.Purpose} {
		switch r.Claims.Text(kind) {
		case "", "access", "access_token":
		default:
			return true
		}
	}
	return false
}

// checkTokenType compares token_type with what the token is bound to.
func checkTokenType(t *oidc.Token, tokenType string) error {
	switch strings.ToLower(tokenType) {
	case "bearer": // With cnf.jkt, the binding wins: it takes a proof all the same.
		return nil
	case "dpop": // RFC 9449, section 6.2
		if t.Confirmation.JKT == "" {
			return oidc.ErrTokenType
		}
		return nil
	default: // A kind whose demands are not known here, or "N_A" (RFC 8693, section 2.2.1).
		return oidc.ErrNotAccessToken
	}
}

// namesAccess reports whether an answer without token_type is about an access token in
// the words of Keycloak, Hydra or Curity.
//
// Precondition: isOtherKind is false.
func namesAccess(r *dialect.Reading) bool {
	kind := r.Claims.Text(dialect.Typ)
	return kind == "Bearer" || kind == "DPoP" || r.Claims.Text(dialect.TokenUse) != "" || r.Claims.Text(dialect.Purpose) != ""
}

// isForService reports whether an audience is more than the client that asks, which is
// the audience of its ID tokens, refresh tokens and logout tokens.
func (i *Introspector) isForService(r *dialect.Reading, is func(audience string) bool) bool {
	clients := []string{"", i.checks.ClientID, r.ClientID, r.Claims.Text(dialect.AZP), r.Claims.Text(dialect.ClientID)}
	return slices.ContainsFunc(r.Claims.Audience, func(s string) bool { return !slices.Contains(clients, s) && is(s) })
}

// audienceTells reports whether aud is going to be compared with what this service is
// called, and no client is.
func (i *Introspector) audienceTells(r *dialect.Reading) bool {
	return !i.checks.AnyAudience && i.isForService(r, func(s string) bool { return slices.Contains(i.checks.Audiences, s) })
}

// scopeTells reports whether there is a scope, which no ID token has. Refresh tokens
// do: oidc-provider answers to one with a scope, and neither token_type nor aud.
func (i *Introspector) scopeTells(r *dialect.Reading) bool {
	return r.Claims.Has(dialect.Scope) && i.isForService(r, func(string) bool { return true })
}

// checkClaims compares iss and aud, which an answer may leave out
// (RFC 7662, section 2.2): iss because the endpoint is the issuer's, aud by option.
func (i *Introspector) checkClaims(t *oidc.Token, r *dialect.Reading) error {
	if t.Issuer == "" {
		t.Issuer = i.inside.URL
	}
	if t.Issuer != i.inside.URL {
		return oidc.ErrIssuer
	}
	audiences := i.checks.Dialect.Audience(r)
	if audiences == nil && i.checks.MissingAudience { // An aud that names no audience is there.
		return nil
	}
	if !i.checks.AcceptsAudience(audiences) {
		return oidc.ErrAudience
	}
	return nil
}
