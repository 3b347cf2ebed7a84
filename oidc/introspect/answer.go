package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/strictjson"
	"github.com/keybound-go/middleware/oidc"
)

const (
	// maxDepth limits how deep the objects and lists of an answer are nested.
	maxDepth = 32
	// acceptedFor is how long an answer shows that the endpoint accepts our credentials.
	acceptedFor = 30 * time.Second
	// activeFor is how long a token that was called active is not refused by a reply
	// that does not speak of it.
	activeFor = 5 * time.Minute
)

// ask asks the issuer about a token (RFC 7662, section 2.1), of which old is what is
// known. r is nil if there was no reply. An oidc.TokenError is the issuer's verdict
// on the token, any other error our verdict on the issuer, or on our own settings.
func (i *Introspector) ask(ctx context.Context, raw string, old *answer, asked time.Time) (a *answer, r *issuer.Reply, err error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	accept := "application/json"
	if i.signed != nil {
		accept = "application/" + introspectionJWT // RFC 9701, section 4
	}
	if r, _, err = i.endpoint.Post(ctx, i.auth, accept, form, true); err != nil {
		return nil, nil, err
	}
	if r.Status != http.StatusOK {
		return nil, r, i.refusal(r, old, asked)
	}
	claims, err := i.open(ctx, r, asked)
	if err == nil {
		a, err = i.judge(claims, asked)
	}
	if _, refused := err.(oidc.TokenError); err == nil || refused {
		i.accepted.Store(time.Now().UnixNano())
		return a, r, err
	}
	return nil, r, noAnswer{i.endpoint.Outage(r.RetryAfter, err)}
}

// noAnswer is a reply that is neither an answer nor an outage: a stale answer does not
// outlive it.
type noAnswer struct{ error }

func (n noAnswer) Unwrap() error { return n.error }

func endsStale(err error) bool {
	_, ends := err.(noAnswer)
	return ends
}

// oauthErrors are those that speak of this service, or of its request. invalid_token
// is not among them.
var oauthErrors = [...]string{
	"access_denied", "insufficient_scope", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope",
	"invalid_target", "server_error", "temporarily_unavailable", "unauthorized_client", "unsupported_grant_type",
	"unsupported_response_type", "unsupported_token_type",
}

// refusal tells what a reply with a status other than 200 means: see [Introspector].
func (i *Introspector) refusal(r *issuer.Reply, old *answer, asked time.Time) error {
	if r.Outage() {
		return i.endpoint.Outage(r.RetryAfter, fmt.Errorf("status %d", r.Status))
	}
	code := r.OAuthError()
	accepted := asked.UnixNano()-i.accepted.Load() < int64(acceptedFor)
	switch {
	case r.Status != http.StatusBadRequest && r.Status != http.StatusUnauthorized && r.Status != http.StatusNotFound:
	case code == "invalid_token" && (accepted || !r.Bearer):
		return oidc.ErrUnknown
	case code == "invalid_token" || slices.Contains(oauthErrors[:], code):
	case accepted && (old == nil || asked.Sub(old.asked) >= activeFor):
		return oidc.ErrUnknown
	}
	return noAnswer{i.endpoint.Outage(r.RetryAfter, i.blame(r, code, accepted))}
}

// blame words a reply that is not about the token. What the issuer says is repeated
// only where it is one of the known codes.
func (i *Introspector) blame(r *issuer.Reply, code string, accepted bool) error {
	switch known := slices.Contains(oauthErrors[:], code); {
	case code == "invalid_client", code == "unauthorized_client":
		return fmt.Errorf("status %d, %s: the issuer does not accept %v here", r.Status, code, i.auth)
	case known:
		return fmt.Errorf("status %d, %s", r.Status, code)
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		return fmt.Errorf("status %d: the issuer may not accept %v here", r.Status, i.auth)
	case accepted:
		return fmt.Errorf("status %d for a token that was active within %v", r.Status, activeFor)
	case r.Status == http.StatusNotFound:
		return fmt.Errorf("status %d: is this the introspection endpoint? It has not answered us within %v", r.Status, acceptedFor)
	}
	return fmt.Errorf("status %d", r.Status)
}

// refusalFor is how long a refusal is remembered: one by an error only briefly.
func (i *Introspector) refusalFor(r *issuer.Reply) time.Duration {
	if r != nil && r.Status != http.StatusOK {
		return min(i.refusalLifetime, restAfterError)
	}
	return i.refusalLifetime
}

// open returns the claims that a reply with status 200 holds. Its errors say nothing
// about the token.
func (i *Introspector) open(ctx context.Context, r *issuer.Reply, asked time.Time) ([]byte, error) {
	switch {
	case r.Err != nil:
		return nil, r.Err
	case i.signed != nil:
		return i.signed.open(ctx, r, asked)
	case r.MediaType != "application/json":
		return nil, fmt.Errorf("the answer is %.50q, not application/json", r.MediaType)
	}
	return strictjson.WithoutBOM(r.Body), nil
}

// state is what an answer says besides the token's claims (RFC 7662, section 2.2).
type state struct {
	Active json.RawMessage // active
}

func (s *state) read(raw []byte) error {
	var o strictjson.Object
	for o.StartDocument(raw, maxDepth); o.Next(); {
		if string(o.Name()) == "active" {
			s.Active = o.Value()
		}
	}
	return o.Err()
}

// judge turns claims, which the issuer sent, into an answer.
func (i *Introspector) judge(raw []byte, asked time.Time) (*answer, error) {
	var s state
	if err := s.read(raw); err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	switch string(s.Active) {
	case "true":
	case "false":
		return nil, oidc.ErrInactive // RFC 7662, section 2.2: nothing else in the answer matters.
	default:
		return nil, errors.New("the answer's active is neither true nor false")
	}
	t, err := i.readToken(raw)
	if err != nil {
		return nil, err
	}
	return i.newAnswer(t, raw, asked), nil
}
