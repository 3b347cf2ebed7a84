package oidc

import (
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
)

// readAnswer reads the claims of an introspection answer that says active (RFC
// 7662, section 2.2), from the issuer with the identifier iss. A [TokenError] is
// the verdict on the token.
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

// checkKind refuses what is not an access token. Endpoints call refresh tokens and
// ID tokens active too, whatever the hint in the question said.
func (a *answer) checkKind(t *Token, c *claims) error {
	if c.has(atHash) || c.has(cHash) || c.has(sHash) || c.has(events) {
		return ErrNotAccessToken
	}
	switch c.text(typ) {
	case "ID", "Refresh", "Offline", "Logout": // as Keycloak names them
		return ErrNotAccessToken
	}
	switch c.text(tokenUse) {
	case "", "access", "access_token":
	default:
		return ErrNotAccessToken
	}
	if a.dialect.typNeeded {
		if err := a.dialect.checkAccess(t, c, false); err != nil {
			return err
		}
	}
	if !c.has(tokenType) {
		if !a.audienceTells(t) && !namesAccess(c) && (c.Audience == nil || !scopeTells(c)) {
			return ErrNotAccessToken
		}
		return nil
	}
	return checkTokenType(t, c.text(tokenType))
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

// audienceTells reports whether aud is going to be compared with ours, which no ID
// token and no refresh token has.
func (a *answer) audienceTells(t *Token) bool {
	return !a.AnyAudience && !(a.MissingAudience && a.dialect.audience(t) == nil)
}

// namesAccess reports whether an answer without token_type is about an access token
// as Keycloak and Hydra name the kinds.
//
// Precondition, also of scopeTells: checkKind has refused the names of other kinds.
func namesAccess(c *claims) bool {
	kind := c.text(typ)
	return kind == "Bearer" || kind == "DPoP" || c.text(tokenUse) != ""
}

// scopeTells reports whether there is a scope, which no ID token has. Refresh tokens
// do: oidc-provider answers to one with a scope, and neither token_type nor aud.
func scopeTells(c *claims) bool { return c.has(scope) && !c.has(nonce) }

// checkClaims compares iss and aud, which an answer may leave out (RFC 7662,
// section 2.2): iss because the endpoint is the issuer's, aud by option.
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
