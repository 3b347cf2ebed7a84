package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc"
)

// audienceForbidden answers 403 to a token for another audience, as Kong does, and
// not the 401 of RFC 6750. A token without any aud is told what it is: not for
// anything. Either way the log says what the token has and which client it is of.
type audienceForbidden struct {
	middleware.TokenVerifier
	log    *slog.Logger
	wanted []string // none: any
}

func (v *audienceForbidden) VerifyToken(ctx context.Context, raw string) (*oidc.Token, error) {
	token, err := v.TokenVerifier.VerifyToken(ctx, raw)
	if err != oidc.ErrAudience {
		return token, err
	}
	c, isJWT := claimsOf(raw)
	attrs := []any{"audience_required", v.wanted, "issuer", c.Issuer, "client_id", c.client()}
	if isJWT && len(c.Audience) == 0 {
		v.log.InfoContext(ctx, "a token has no aud, which is refused whatever audience_required says: have the issuer put this service's name there; "+hintMapper, attrs...)
		return nil, err
	}
	v.log.InfoContext(ctx, "a token is for another audience", append(attrs, "aud", string(c.Audience))...)
	return nil, middleware.ErrClaim
}

// Statuses are those of the verifier that it stands before.
func (v *audienceForbidden) Statuses() []oidc.Status { return statusesOf(v.TokenVerifier) }

// Explain says what the verifier that it stands before expected.
func (v *audienceForbidden) Explain(raw string) oidc.Explanation {
	return explainedBy(v.TokenVerifier, raw)
}

// explainedBy is what a refused token says, beside what v expected.
func explainedBy(v middleware.TokenVerifier, raw string) oidc.Explanation {
	if e, ok := v.(interface {
		Explain(raw string) oidc.Explanation
	}); ok {
		return e.Explain(raw)
	}
	return oidc.ExplainToken(raw)
}

func statusesOf(v middleware.TokenVerifier) []oidc.Status {
	if r, ok := v.(oidc.Reporter); ok {
		return r.Statuses()
	}
	return nil
}

// told is what a refused token says of itself. Only the log is told of it.
type told struct {
	Issuer   string          `json:"iss"`
	Audience json.RawMessage `json:"aud"`
	ClientID string          `json:"client_id"`
	AZP      string          `json:"azp"`
}

func (c *told) client() string {
	if c.ClientID != "" {
		return c.ClientID
	}
	return c.AZP
}

// claimsOf reads what a JWT says, cut to what a log can hold.
func claimsOf(raw string) (c told, ok bool) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return c, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return told{}, false
	}
	const most = 200
	c.Issuer, c.ClientID, c.AZP = c.Issuer[:min(most, len(c.Issuer))], c.ClientID[:min(most, len(c.ClientID))], c.AZP[:min(most, len(c.AZP))]
	c.Audience = c.Audience[:min(most, len(c.Audience))]
	if text := string(c.Audience); text == "null" || text == "[]" || text == `""` {
		c.Audience = nil
	}
	return c, true
}
