package oidc

import (
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
)

// readAnswer reads the claims of an introspection answer that says active
// (RFC 7662, section 2.2), from the issuer with the identifier iss. A [TokenError] is the
// verdict on the token.
//
// Precondition: raw is one strict JSON object.
func readAnswer(iss string, raw []byte, by *issuer.Checks) (*Token, error) {
	d, err := by.Profile.(Profile).dialect()
	if err != nil {
		return nil, err
	}
	a := answer{by, d}
	t, c, err := newToken(raw, d, by.IgnoredConfirmation)
	if err != nil {
		return nil, err
	}
	if err := a.checkKind(t, c); err != nil {
		return nil, err
	}
	if err := a.checkClaims(t, iss); err != nil {
		return nil, err
	}
	if err := t.CheckTimes(time.Now(), by.Skew); err != nil {
		return nil, err
	}
	return t, nil
}

// answer reads one answer.
type answer struct {
	*issuer.Checks
	dialect *dialect
}

// checkKind refuses what is not an access token. Endpoints call refresh tokens, ID
// tokens and logout tokens active too, whatever the hint in the question said.
//
// Nothing in the answer may speak of another kind of token, and something must speak
// of an access token: what the profile goes by, token_type, a claim that names the
// kind, an audience that is this service and not just the client that asks, or a
// scope for such an audience.
func (a *answer) checkKind(t *Token, c *claims) error {
	if isOtherKind(c) {
		return ErrNotAccessToken
	}
	for _, v := range a.dialect.evidence.values {
		if c.has(v.claim) && !slices.Contains(v.values, c.text(v.claim)) {
			return ErrNotAccessToken
		}
	}
	if a.dialect.typNeeded {
		if err := a.dialect.checkAccess(t, c, false); err != nil {
			return err
		}
	}
	if c.has(tokenType) {
		return checkTokenType(t, c.text(tokenType))
	}
	if namesAccess(c) || !c.has(nonce) && (a.audienceTells(t, c) || a.scopeTells(t, c)) {
		return nil
	}
	return ErrNotAccessToken
}

// isOtherKind reports whether an answer names another kind of token (in the words of
// Keycloak, Cognito, Hydra, Curity), or has what only ID tokens (OpenID Connect Core,
// section 3.3.2.11) or logout tokens have (OpenID Connect Back-Channel Logout, section
// 2.4; RFC 8417, section 2.2).
func isOtherKind(c *claims) bool {
	if c.has(atHash) || c.has(cHash) || c.has(sHash) || c.has(events) {
		return true
	}
	switch c.text(typ) {
	case "ID", "Refresh", "Offline", "Logout":
		return true
	}
	for _, kind := range [...]ref{tokenUse, purpose} {
		switch c.text(kind) {
		case "", "access", "access_token":
		default:
			return true
		}
	}
	return false
}

// checkTokenType compares token_type with what the token is bound to.
func checkTokenType(t *Token, tokenType string) error {
	switch strings.ToLower(tokenType) {
	case "bearer": // With cnf.jkt, the binding wins: it takes a proof all the same.
		return nil
	case "dpop": // RFC 9449, section 6.2
		if t.Confirmation.JKT == "" {
			return ErrTokenType
		}
		return nil
	default: // A kind whose demands are not known here, or "N_A" (RFC 8693, section 2.2.1).
		return ErrNotAccessToken
	}
}

// namesAccess reports whether an answer without token_type is about an access token in
// the words of Keycloak, Hydra or Curity.
//
// Precondition: isOtherKind is false.
func namesAccess(c *claims) bool {
	kind := c.text(typ)
	return kind == "Bearer" || kind == "DPoP" || c.text(tokenUse) != "" || c.text(purpose) != ""
}

// isForService reports whether an audience is more than the client that asks, which is
// the audience of its ID tokens, refresh tokens and logout tokens.
func (a *answer) isForService(t *Token, c *claims, is func(audience string) bool) bool {
	clients := []string{"", a.ClientID, t.ClientID, c.text(azp), c.text(clientID)}
	return slices.ContainsFunc(t.Audience, func(s string) bool { return !slices.Contains(clients, s) && is(s) })
}

// audienceTells reports whether aud is going to be compared with what this service is
// called, and no client is.
func (a *answer) audienceTells(t *Token, c *claims) bool {
	return !a.AnyAudience && a.isForService(t, c, func(s string) bool { return slices.Contains(a.Audiences, s) })
}

// scopeTells reports whether there is a scope, which no ID token has. Refresh tokens
// do: oidc-provider answers to one with a scope, and neither token_type nor aud.
func (a *answer) scopeTells(t *Token, c *claims) bool {
	return c.has(scope) && a.isForService(t, c, func(string) bool { return true })
}

// checkClaims compares iss and aud, which an answer may leave out
// (RFC 7662, section 2.2): iss because the endpoint is the issuer's, aud by option.
func (a *answer) checkClaims(t *Token, iss string) error {
	if t.Issuer == "" {
		t.Issuer = iss
	}
	if t.Issuer != iss {
		return ErrIssuer
	}
	audiences := a.dialect.audience(t)
	switch {
	case audiences == nil && a.MissingAudience: // An aud that names no audience is there.
	case a.AnyAudience && namesAny(audiences):
	case !a.AnyAudience && intersects(audiences, a.Audiences):
	default:
		return ErrAudience
	}
	return nil
}
