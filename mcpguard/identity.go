package mcpguard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/keybound-go/middleware"
)

// callKey is the key of a *call in the Extra of a TokenInfo.
const callKey = "mcpguard"

// call is the credential of a message, and the Handler that it came through.
type call struct {
	handler    *Handler
	credential *middleware.Credential
}

// callOf returns the call of the TokenInfo in ctx.
func callOf(ctx context.Context) (*call, bool) { return callFrom(auth.TokenInfoFromContext(ctx)) }

func callFrom(info *auth.TokenInfo) (*call, bool) {
	if info == nil {
		return nil, false
	}
	c, ok := info.Extra[callKey].(*call)
	return c, ok && c != nil
}

// identify gives the SDK the TokenInfo of the credential that the guard has verified. It
// removes the credential itself from the context, since the SDK gives the context of a
// session's first message to all later ones. For each message, receive adds the message's
// own.
func (h *Handler) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, ok := middleware.FromContext(r.Context())
		if !ok { // Invariant: a guard with the preset MCP lets no anonymous request pass.
			h.guard.Refuse(w, r, errNoCredential)
			return
		}
		info := h.tokenInfo(credential)
		if info.UserID == "" && !h.transport.Stateless {
			http.Error(w, "Forbidden: the token names neither user nor client, and a session needs an owner", http.StatusForbidden)
			return
		}
		ctx, err := withTokenInfo(middleware.NewContext(r.Context(), nil), info)
		if err != nil {
			h.guard.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

var errNoCredential = errors.New("mcpguard: the guard let a request without a credential pass")

func (h *Handler) tokenInfo(c *middleware.Credential) *auth.TokenInfo {
	return &auth.TokenInfo{
		Scopes:     slices.Clone(c.Token.Scopes),
		Expiration: c.Token.Expiry,
		UserID:     h.owner(c),
		Extra: map[string]any{
			"iss": c.Token.Issuer, "sub": c.Token.Subject, "client_id": c.Token.ClientID,
			callKey: &call{h, c},
		},
	}
}

// owner is the owner of a session, or "" if the token does not say. Two owners never have
// the same text: an issuer has no fragment, and an escaped part has no slash.
func (h *Handler) owner(c *middleware.Credential) string {
	t := c.Token
	key := t.Confirmation.JKT + t.Confirmation.X5T
	if t.Subject == "" && t.ClientID == "" && key == "" {
		return ""
	}
	owner := t.Issuer + "#" + url.QueryEscape(t.Subject) + "/" + url.QueryEscape(t.ClientID)
	if h.bindsToKey || t.Subject == "" && t.ClientID == "" {
		owner += "/" + t.Confirmation.JKT + "/" + t.Confirmation.X5T
	}
	return owner
}

// withTokenInfo returns ctx with info where the SDK looks for it. Only the SDK's own
// middleware can put it there, for a bearer token that a verifier has accepted. So
// withTokenInfo gives that middleware a request that it makes for this: the guard has
// judged the token by then, whatever its scheme, and the client's request keeps its
// fields.
func withTokenInfo(ctx context.Context, info *auth.TokenInfo) (context.Context, error) {
	var got captured
	accept.ServeHTTP(&got, accepted.WithContext(context.WithValue(ctx, infoKey{}, info)))
	if got.ctx == nil {
		return nil, errNotTaken
	}
	return got.ctx, nil
}

var errNotTaken = errors.New("mcpguard: the SDK did not take the TokenInfo")

type infoKey struct{}

var (
	accepted = &http.Request{Header: http.Header{"Authorization": {"Bearer judged-by-the-guard"}}}
	accept   = auth.RequireBearerToken(
		func(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
			info, _ := ctx.Value(infoKey{}).(*auth.TokenInfo)
			return info, nil
		},
		// The guard decides when a token ends: it allows for the issuer's clock.
		&auth.RequireBearerTokenOptions{AllowMissingExpiration: true, ClockSkew: 100 * 365 * 24 * time.Hour},
	)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.(*captured).ctx = r.Context() }))
)

// captured takes the context of the request that reached the end of accept.
type captured struct {
	ctx    context.Context
	header http.Header
}

func (c *captured) Header() http.Header {
	if c.header == nil {
		c.header = make(http.Header)
	}
	return c.header
}
func (c *captured) Write(b []byte) (int, error) { return len(b), nil }
func (c *captured) WriteHeader(int)             {}
